//! A second look at the journal, for the few roots whose size lay too far back when they were met: which is rare, and
//! keeps the memory of the first pass flat.

use std::collections::BTreeMap;

use crate::exchange::{Act, Place, Record};
use crate::journal::{Damage, Group};
use crate::merkle::{CompactRange, leaf_hash};
use crate::name::{Hash, NodeName, Volume};
use crate::wire::Leaf;

use super::fault::{At, FaultKind, VerifyReport};

/// How many roots are left to the second look.
pub(super) const MAX_AGAIN: usize = 4_096;

/// A volume of a log: the peer, whether it is the own log, the volume.
pub(super) type LogName = (NodeName, bool, Volume);

/// A root that is still to be compared.
pub(super) struct Again {
    pub at: At,
    pub log: LogName,
    pub size: u64,
    pub root: Hash,
    /// What it is if it does not hold.
    pub kind: FaultKind,
    pub what: String,
    pub whose: String,
}

impl Again {
    /// Says that it was not compared.
    pub(super) fn remark(&self, report: &mut VerifyReport) {
        let (record, size) = (self.at.record, self.size);
        report.remark(format!(
            "record {record}: the root at size {size} lies too far back and was not compared ({})",
            self.whose
        ));
    }
}

/// The copies of a volume: the node's own, and one that was got back from the holder.
#[derive(Default)]
struct Copies {
    copies: Vec<CompactRange>,
}

impl Copies {
    /// Appends a leaf where it belongs, and gives the root if it is now of a size that is wanted.
    fn push(&mut self, index: u64, leaf: &Leaf) -> Option<Hash> {
        if index == 0 {
            self.copies.push(CompactRange::default());
        }
        let range = self.copies.iter_mut().rev().find(|range| range.size() == index)?;
        range.push(leaf_hash(leaf.bytes()));
        Some(range.root())
    }
}

/// Rebuilds the volumes in question and compares.
pub(super) fn look(
    report: &mut VerifyReport,
    mut again: Vec<Again>,
    groups: impl IntoIterator<Item = Result<Group, Damage>>,
) {
    let mut logs: BTreeMap<LogName, Copies> = again.iter().map(|again| (again.log, Copies::default())).collect();
    let records = groups.into_iter().flatten().flat_map(|group| group.records);
    for raw in records {
        let record = Record::decode(&raw.bytes);
        let Some((name, index, leaf)) = leaf_of(&record) else { continue };
        let Some(root) = logs.get_mut(&name).and_then(|copies| copies.push(index, leaf)) else { continue };
        again.retain(|again| again.log != name || again.size != index + 1 || again.root != root);
    }
    for again in again {
        report.fault(again.kind, again.at, again.what, again.whose);
    }
}

fn leaf_of(record: &Record) -> Option<(LogName, u64, &Leaf)> {
    let name = |place: &Place, own| ((place.peer, own, place.volume), place.index);
    let ((log, index), leaf) = match &record.act {
        Act::VolumeOpened { place, leaf, .. }
        | Act::Appended { place, leaf, .. }
        | Act::Fetched { place, leaf, .. } => (name(place, true), leaf),
        Act::Stored { place, leaf, .. } => (name(place, false), leaf),
        _ => return None,
    };
    Some((log, index, leaf))
}
