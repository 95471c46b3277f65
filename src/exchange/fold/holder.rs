//! The log that a peer writes to this node.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::lines::add_lines;
use super::{Frozen, Recent, hash_of, keys_of};
use crate::exchange::record::Stowed;
use crate::merkle::CompactRange;
use crate::name::{EntryId, Hash, Kind, Volume};
use crate::note::PublicKeys;
use crate::wire::{Absent, Leaf, Span, Target, VolumeBody, VolumeReason};

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
    /// Entries whose bodies are missing and that nothing accounts for yet.
    pub missing: BTreeSet<u64>,
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
    /// Every volume that was met and stored.
    pub volumes: BTreeMap<Volume, PeerVolume>,
    /// The newest one.
    pub current: Option<Volume>,
    /// Waits for people.
    pub frozen: Option<Frozen>,
    /// Ids received: the first sixteen bytes of the commitment.
    pub recent: Recent<u128>,
    /// Messages whose files are still to come.
    pub wanted: BTreeMap<EntryId, Wanted>,
}

/// What stands for a commitment in the memory of ids.
pub(in crate::exchange) fn tag(commitment: &Hash) -> u128 {
    u128::from_be_bytes(commitment.0[..16].try_into().expect("sixteen of 32 bytes"))
}

impl Holder {
    /// The newest volume.
    pub fn volume(&self) -> Option<(Volume, &PeerVolume)> {
        let volume = self.current?;
        self.volumes.get(&volume).map(|held| (volume, held))
    }

    /// Whether a body is missing anywhere that nothing accounts for.
    pub fn has_missing(&self) -> bool {
        self.volumes.values().any(|volume| !volume.missing.is_empty())
    }

    pub(super) fn store(&mut self, volume: Volume, index: u64, leaf: &Leaf, payload: &Stowed, enclosures: u32) {
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
                held.missing.insert(index);
            }
        }
        let Some(header) = header else { return };
        self.recent.insert(header.id, tag(&leaf.commitment()));
        match (kind, header.target) {
            (Some(Kind::Void), Some(target)) => {
                self.excuse(Span { volume: target.volume, from: target.index, to: target.index.saturating_add(1) });
            }
            _ if enclosures > 0 => {
                let target = Target { volume: volume.number, index };
                let wanted = Wanted { target, left: (0..enclosures).collect(), ended: BTreeMap::new() };
                self.wanted.insert(header.id, wanted);
            }
            _ => {}
        }
    }

    fn open(&mut self, volume: Volume, payload: &Stowed) {
        let Stowed::Clear { body, .. } = payload else { return };
        let Ok(body) = VolumeBody::decode(body.clone()) else { return };
        for span in &body.unavailable {
            self.excuse(*span);
        }
        let opened = PeerVolume {
            range: CompactRange::default(),
            keys: keys_of(&body.keys),
            reason: body.reason,
            head: None,
            cosigned: 0,
            missing: BTreeSet::new(),
        };
        self.volumes.insert(volume, opened);
    }

    /// The author accounts for missing bodies.
    fn excuse(&mut self, span: Span) {
        for (volume, held) in &mut self.volumes {
            if volume.number == span.volume {
                held.missing.retain(|index| *index < span.from || *index >= span.to);
            }
        }
    }

    pub(super) fn head(&mut self, volume: Volume, size: u64, root: Hash, author_lines: &[String], lines: &[String]) {
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
        }
    }

    pub(super) fn file_settled(&mut self, entry: &EntryId, ordinal: u32, ended: Option<u32>) {
        let Some(wanted) = self.wanted.get_mut(entry) else { return };
        if wanted.left.remove(&ordinal)
            && let Some(code) = ended
        {
            wanted.ended.insert(ordinal, code);
        }
        if wanted.left.is_empty() {
            self.wanted.remove(entry);
        }
    }
}
