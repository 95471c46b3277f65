//! The log that a peer writes to this node.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::lines::add_lines;
use super::usage::{entry_cost, head_cost};
use super::{Frozen, Missing, Recent, Usage, hash_of, keys_of};
use crate::exchange::record::{Place, Stowed};
use crate::merkle::CompactRange;
use crate::name::{CaseId, EntryId, Hash, Kind, Millis, Volume};
use crate::note::PublicKeys;
use crate::wire::{Absent, Leaf, Span, Target, VolumeBody, VolumeReason};

/// Volumes of one peer's log that are kept in memory, each with its keys and its newest head, some 10 KiB. A node opens
/// one after a doubt or a fault, a few in a bad year. What an older one holds stays in the journal, from where a FETCH
/// of it is answered.
pub const HELD_VOLUMES: usize = 256;

/// The newest head of a peer's volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerHead {
    /// Entries.
    pub size: u64,
    /// Root.
    pub root: Hash,
    /// The author's lines.
    pub author_lines: Vec<String>,
    /// The own receipt; empty in a refill over missing bodies.
    pub lines: Vec<String>,
}

/// A volume of a peer's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerVolume {
    /// The tree.
    pub range: CompactRange,
    /// The keys that entry 0 lists.
    pub keys: Vec<PublicKeys>,
    /// Why it was opened.
    pub reason: VolumeReason,
    /// The newest head.
    pub head: Option<PeerHead>,
    /// Size of the newest own receipt.
    pub cosigned: u64,
}

impl PeerVolume {
    /// Entries held.
    pub fn size(&self) -> u64 {
        self.range.size()
    }
}

/// Files of a message that are still to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Where the message stands.
    pub target: Target,
    /// Ordinals that are not settled.
    pub left: BTreeSet<u32>,
    /// Ordinals that will not come, with the code.
    pub ended: BTreeMap<u32, u32>,
}

/// The log that one peer writes to this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The newest [`HELD_VOLUMES`] volumes that were met and stored.
    pub volumes: BTreeMap<Volume, PeerVolume>,
    /// The newest one.
    pub current: Option<Volume>,
    /// Waits for people.
    pub frozen: Option<Frozen>,
    /// Ids received: the first sixteen bytes of the commitment.
    pub recent: Recent<u128>,
    /// Messages whose files are still to come.
    pub wanted: BTreeMap<EntryId, Wanted>,
    /// How many files those are.
    pub wanted_files: u32,
    /// Entries of all volumes whose bodies are missing and that nothing accounts for yet.
    pub missing: Missing,
    /// What it has had stored here today.
    pub usage: Usage,
}

/// What stands for a commitment in the memory of ids.
pub(in crate::exchange) fn tag(commitment: &Hash) -> u128 {
    u128::from_be_bytes(commitment.0[..16].try_into().expect("sixteen of 32 bytes"))
}

/// What stands for a case in the memory of cases.
pub(in crate::exchange) fn case_tag(case: &CaseId) -> u64 {
    u64::from_be_bytes(case.as_bytes()[..8].try_into().expect("eight of sixteen bytes"))
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The files that follow an entry.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Files {
    /// How many; none for a repeat.
    pub count: u32,
    /// Bytes of those for which there is room here.
    pub bytes: u64,
}

impl Holder {
    /// The newest volume.
    pub fn volume(&self) -> Option<(Volume, &PeerVolume)> {
        let volume = self.current?;
        self.volumes.get(&volume).map(|held| (volume, held))
    }

    pub(super) fn store(&mut self, at: Millis, place: Place, leaf: &Leaf, payload: &Stowed, files: Files) {
        let (volume, index) = (place.volume, place.index);
        self.usage.charge(at, entry_cost(leaf, !matches!(payload, Stowed::Absent(_))).saturating_add(files.bytes));
        if index == 0 && !self.volumes.contains_key(&volume) {
            self.open(volume, payload);
        }
        let Some(held) = self.volumes.get_mut(&volume).filter(|held| held.size() == index) else { return };
        held.range.push(hash_of(leaf));
        let header = leaf.header().ok();
        let kind = header.as_ref().and_then(|header| header.known_kind());
        if let Stowed::Absent(reason) = payload {
            let lawful = *reason == Absent::Sealed && kind == Some(Kind::Seal) || *reason == Absent::Erased;
            if !lawful {
                self.missing.insert(volume.number, index);
            }
        }
        let Some(header) = header else { return };
        if self.recent.get(&header.id).is_none() {
            // An id belongs to the bytes with which it came first.
            self.recent.insert(header.id, tag(&leaf.commitment()));
        }
        match (kind, header.target) {
            (Some(Kind::Void), Some(target)) => {
                let to = target.index.saturating_add(1);
                self.missing.excuse(Span { volume: target.volume, from: target.index, to });
            }
            _ if files.count > 0 => {
                let target = Target { volume: volume.number, index };
                let wanted = Wanted { target, left: (0..files.count).collect(), ended: BTreeMap::new() };
                let replaced = self.wanted.insert(header.id, wanted);
                let before = replaced.map_or(0, |replaced| replaced.left.len());
                self.wanted_files = self.wanted_files.saturating_add(files.count).saturating_sub(number(before));
            }
            _ => {}
        }
    }

    fn open(&mut self, volume: Volume, payload: &Stowed) {
        let Stowed::Clear { body, .. } = payload else { return };
        let Ok(body) = VolumeBody::decode(body.clone()) else { return };
        for span in &body.unavailable {
            self.missing.excuse(*span);
        }
        let opened = PeerVolume {
            range: CompactRange::default(),
            keys: keys_of(&body.keys),
            reason: body.reason,
            head: None,
            cosigned: 0,
        };
        self.volumes.insert(volume, opened);
    }

    pub(super) fn head(&mut self, at: Millis, place: Place, root: Hash, author_lines: &[String], lines: &[String]) {
        let (volume, size) = (place.volume, place.index);
        self.usage.charge(at, head_cost(author_lines, lines));
        let Some(held) = self.volumes.get_mut(&volume).filter(|held| held.size() == size) else { return };
        match &mut held.head {
            Some(head) if head.size == size && head.root == root => {
                add_lines(&mut head.author_lines, author_lines);
                add_lines(&mut head.lines, lines);
            }
            head => {
                let (author_lines, lines) = (author_lines.to_vec(), lines.to_vec());
                *head = Some(PeerHead { size, root, author_lines, lines });
            }
        }
        if !lines.is_empty() {
            held.cosigned = size;
            // The volume that people agreed to, or a later one than a volume that only asked for them.
            let newer = self.current.is_none_or(|current| current.number < volume.number);
            if self.frozen.as_ref().is_some_and(|frozen| frozen.agreed && (newer || frozen.reason == held.reason)) {
                self.frozen = None;
            }
        }
        if self.current.is_none_or(|current| current.number < volume.number) {
            self.current = Some(volume);
            // The newest is the last by its number, so it is never the one that is forgotten.
            while self.volumes.len() > HELD_VOLUMES {
                self.volumes.pop_first();
            }
        }
    }

    /// Whether a receipt of this node covers an entry. That of a volume covers the earlier ones; one that is not in memory
    /// any more was covered long ago.
    pub fn is_receipted(&self, target: Target) -> bool {
        let covers = |(volume, held): (&Volume, &PeerVolume)| match volume.number.cmp(&target.volume) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => target.index < held.cosigned,
            std::cmp::Ordering::Greater => held.cosigned > 0,
        };
        self.volumes.keys().next().is_some_and(|oldest| target.volume < oldest.number)
            || self.volumes.iter().any(covers)
    }

    pub(super) fn file_settled(&mut self, entry: &EntryId, ordinal: u32, ended: Option<u32>) {
        let Some(wanted) = self.wanted.get_mut(entry) else { return };
        if wanted.left.remove(&ordinal) {
            self.wanted_files = self.wanted_files.saturating_sub(1);
            if let Some(code) = ended {
                wanted.ended.insert(ordinal, code);
            }
        }
        if wanted.left.is_empty() {
            self.wanted.remove(entry);
        }
    }
}
