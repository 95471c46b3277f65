//! `log verify` while the daemon runs: the same audit that an outsider runs on the files, with the keys at hand, and the
//! index held against the journal.
use super::inventory::Inventory;
use super::order::Node;
use crate::api::VerifyView;
use crate::audit::{FileFound, FileName, Opener, Unsealed, VerifyOptions, VerifyReport, verify_groups};
use crate::journal::{Condition, EnclosureError, SlotError};
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
            return missing(&self.enclosures.why_no_slot(&name.entry, name.ordinal));
        };
        let key = match self.vault.key(slot) {
            Ok(key) => key,
            Err(SlotError::Destroyed(_)) => return FileFound::Erased,
            Err(error) => return missing(&error),
        };
        match self.enclosures.read(&name.entry, name.ordinal, &key).and_then(|mut file| file.verify()) {
            Ok(found) => FileFound::Present { size: found.size, sha256: found.sha256 },
            Err(EnclosureError::Absent(_)) => missing(&self.enclosures.why_no_slot(&name.entry, name.ordinal)),
            Err(error) => missing(&format_args!("{}.{}: {error}", name.entry, name.ordinal)),
        }
    }
}

/// How many faults `status` lists of what a verification found.
const MAX_FOUND: usize = 20;

/// Every group, tree, signature, receipt, text and file up to what is durable now, every row of the index, and what lies
/// beside them. What is found is kept for `status` until a verification finds nothing.
///
/// # Errors
/// The folder of the journal cannot be listed.
pub(super) fn verify(node: &Node) -> std::io::Result<VerifyView> {
    let options = VerifyOptions { opener: Some(node), own_keys: own_keys(node), ..VerifyOptions::default() };
    let scan = node.journal.scan(0)?;
    let report = verify_groups(scan, options);
    let journal = report.journal.map(|journal| journal.0);
    let mut view = verify_view(report);
    let inventory = Inventory::of(&node.folder, journal, Some(node));
    view.faults.extend(inventory.faults);
    view.remarks.extend(inventory.remarks);
    slots(node, &mut view);
    let no_room = matches!(node.standing().disk, Some((_, Condition::OnReserve | Condition::DiskFull)));
    node.index.verify_into(&mut view, no_room);
    view.good = view.faults.is_empty();
    node.upkeep.was_verified(node.clock.now(), &view);
    Ok(view)
}

/// Every key slot in both copies; the daemon makes one whole from the other and says so.
fn slots(node: &Node, view: &mut VerifyView) {
    match node.vault.verify(MAX_FOUND) {
        Ok(damaged) => view.faults.extend(damaged.iter().map(|slot| {
            format!("key slot {slot} is damaged in both copies: what was sealed under it cannot be read any more")
        })),
        Err(error) => view.faults.push(format!("key slots: {error}")),
    }
    for repair in node.vault.take_repairs() {
        tracing::warn!("{repair}");
        view.remarks.push(format!("repaired: {repair}"));
    }
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
