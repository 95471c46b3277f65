//! The checker that ships, over the disks of simulated nodes: what `verbale log verify` says of them is what counts.

use verbale::audit::{FileFound, FileName, Opener, Unsealed, VerifyOptions, VerifyReport, verify_records};
use verbale::exchange::Stowed;

use super::keys::open;
use super::world::World;

/// Opens what simulated nodes sealed.
struct Unveiled<'a> {
    lost: &'a std::collections::BTreeSet<u64>,
}

impl Opener for Unveiled<'_> {
    fn open(&self, slot: u64, sealed: &[u8]) -> Unsealed {
        let bytes = bytes::Bytes::copy_from_slice(sealed);
        match open(&Stowed::Sealed { slot, bytes }).filter(|_| !self.lost.contains(&slot)) {
            Some((salt, body)) => Unsealed::Body { salt, body: body.to_vec() },
            None => Unsealed::Erased,
        }
    }

    fn file(&self, _: &FileName) -> FileFound {
        FileFound::Erased
    }
}

impl World {
    /// Audits the disk of every honest node that is still there.
    pub fn audits(&self) -> Vec<(String, VerifyReport)> {
        let honest = self.instances.iter().enumerate().filter(|(_, node)| !node.gone && node.liar.is_none());
        let audit = |(who, node): (usize, &super::world::Instance)| {
            let opener = Unveiled { lost: &node.disk.lost_slots };
            let options =
                VerifyOptions { verifier: node.env.keys.judge(), opener: Some(&opener), ..VerifyOptions::default() };
            let records = node.disk.records.iter().map(|record| record.encode());
            (format!("{}#{who}", node.name), verify_records(records, options))
        };
        honest.map(audit).collect()
    }
}
