//! `log verify` while the daemon runs: the same audit that an outsider runs on the files, with the keys at hand, and the
//! index held against the journal.

use super::order::Node;
use crate::api::VerifyView;
use crate::audit::{FileFound, FileName, Opener, Unsealed, VerifyOptions, VerifyReport, verify_groups};
use crate::journal::{EnclosureError, SlotError};
use crate::note::PublicKeys;

impl Opener for Node {
    fn open(&self, slot: u64, sealed: &[u8]) -> Unsealed {
        match self.vault.open_sealed(slot, sealed) {
            Ok((salt, body)) => Unsealed::Body { salt, body: body.to_vec() },
            Err(SlotError::Destroyed(_)) => Unsealed::Erased,
            Err(error) => Unsealed::Damaged(error.to_string()),
        }
    }

    fn file(&self, name: &FileName) -> FileFound {
        let missing = |why: &dyn std::fmt::Display| FileFound::Missing(why.to_string());
        let Some(slot) = self.enclosures.slot_of(&name.entry, name.ordinal).or(name.slot) else {
            return missing(&"it is not in the folder");
        };
        let key = match self.vault.key(slot) {
            Ok(key) => key,
            Err(SlotError::Destroyed(_)) => return FileFound::Erased,
            Err(error) => return missing(&error),
        };
        match self.enclosures.read(&name.entry, name.ordinal, &key).and_then(|mut file| file.verify()) {
            Ok(found) => FileFound::Present { size: found.size, sha256: found.sha256 },
            Err(EnclosureError::Absent(_)) => missing(&"it is not in the folder"),
            Err(error) => missing(&error),
        }
    }
}

/// Every group, tree, signature, receipt, text and file up to what is durable now, and every row of the index.
///
/// # Errors
/// The folder of the journal cannot be listed.
pub(super) fn verify(node: &Node) -> std::io::Result<VerifyView> {
    let options = VerifyOptions { opener: Some(node), own_keys: own_keys(node), ..VerifyOptions::default() };
    let report = verify_groups(node.journal.scan(0)?, options);
    let mut view = verify_view(report);
    node.index.verify_into(&mut view);
    view.good = view.faults.is_empty();
    node.upkeep.was_verified(node.clock.now(), &view);
    Ok(view)
}

/// An audit's report as the local interface and the commands show it; sled is not in it yet.
pub fn verify_view(report: VerifyReport) -> VerifyView {
    let good = report.is_good();
    let mut faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    if report.more_faults > 0 {
        faults.push(format!("and {} more faults", report.more_faults));
    }
    let mut remarks = report.remarks;
    if report.bodies_not_opened > 0 {
        remarks.push(format!("{} sealed texts are there and were not opened", report.bodies_not_opened));
    }
    VerifyView {
        good,
        groups: report.groups,
        records: report.records,
        entries: report.entries,
        heads: report.heads,
        receipts: report.receipts,
        bodies: report.bodies,
        enclosures: report.enclosures,
        rows: None,
        faults,
        remarks,
    }
}

/// The signing keys that the own introduction holds.
fn own_keys(node: &Node) -> Vec<PublicKeys> {
    let keys = node.introduction.node(node.me).into_iter().flat_map(|own| &own.signing);
    keys.filter_map(|keys| PublicKeys::from_parts(&keys.public.ed25519, keys.public.ml_dsa_44.as_slice()).ok())
        .collect()
}
