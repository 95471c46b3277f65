//! The state in memory as a fold over journal records.
//!
//! [`Fold::apply`] is total: a record that cannot be understood, or that does not fit, changes nothing. Recovery, the
//! live path, verification and the simulator run the same code. What is here is bounded by what is open, not by
//! history: compact ranges, the newest heads, items that wait, the newest ids.

mod author;
mod holder;
mod lines;
mod lost;
mod missing;
mod recent;
mod usage;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::mutant::{self, Mutant};
use super::record::{Act, Change, Doubt, Record, Stowed};
use crate::name::{BootNonce, EntryId, JournalId, Millis, NodeName, Origin};
use crate::note::PublicKeys;
use crate::wire::{Contradiction, Header, Leaf, VolumeReason};

pub(super) use author::window_bytes;
pub use author::{Author, Fetching, Item, OwnHead, OwnVolume, QueueKey};
use holder::Files;
pub use holder::{HELD_VOLUMES, Holder, PeerHead, PeerVolume, Wanted};
pub(super) use holder::{case_tag, tag};
pub(super) use lines::{fits_side, unknown_lines};
pub use lost::LostBodies;
pub use missing::{MISSING_SPANS, Missing};
pub use recent::{RECENT_IDS, Recent};
pub(super) use usage::entry_cost;
pub use usage::{DAY_MS, ENTRY_COST, HEAD_COST, Usage};

/// Whether a peer is a correspondent now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerStatus {
    /// Messages pass.
    #[default]
    Active,
    /// No connection, no entry, until resumed.
    Suspended,
    /// No longer a correspondent; its logs are kept.
    Removed,
}

/// A direction that waits for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// Why: CONTRADICTION, NEW-ROOT or HOLDER-LOST.
    pub reason: VolumeReason,
    /// A person here agreed to go on.
    pub agreed: bool,
    /// What excludes each other, or what asked for people.
    pub proof: Contradiction,
}

/// What a node knows about a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Whether it is a correspondent.
    pub status: PeerStatus,
    /// Its signing keys, newest last.
    pub keys: Vec<PublicKeys>,
    /// The log that this node writes to it.
    pub own: Author,
    /// The log that it writes to this node.
    pub theirs: Holder,
    /// The cases of the newest entries of both logs, the first eight bytes of each; an entry without a case is not here.
    pub cases: Recent<u64>,
}

impl Peer {
    /// Remembers to which case an entry belongs. What came first counts.
    fn note_case(&mut self, leaf: &Leaf) {
        let Ok(Header { id, case: Some(case), .. }) = leaf.header() else { return };
        if self.cases.get(&id).is_none() {
            self.cases.insert(id, case_tag(&case));
        }
    }
}

/// The state of a node, as its journal tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fold {
    next: u64,
    slots: u64,
    /// This node.
    pub me: Option<NodeName>,
    /// The journal.
    pub journal: Option<JournalId>,
    /// The boot nonce of the newest start.
    pub boot: Option<BootNonce>,
    /// The node met a volume under its own key that it did not open: it neither signs nor cosigns.
    pub fenced: Option<Fence>,
    /// The peers.
    pub peers: BTreeMap<NodeName, Peer>,
}

/// Why a node is fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// Which peer showed it.
    pub peer: NodeName,
    /// Which volume; `None` for a second instance.
    pub origin: Option<Origin>,
}

impl Fold {
    /// The number that the next record will have.
    pub fn next_record(&self) -> u64 {
        self.next
    }

    /// One more than the highest key slot that any record names.
    pub fn slots_used(&self) -> u64 {
        self.slots
    }

    /// Files of peers' messages that are still to come: peer, message, ordinal.
    pub fn wanted(&self) -> impl Iterator<Item = (NodeName, EntryId, u32)> + '_ {
        self.peers.iter().flat_map(|(name, peer)| {
            let wanted = peer.theirs.wanted.iter();
            wanted.flat_map(|(id, wanted)| wanted.left.iter().map(|ordinal| (*name, *id, *ordinal)))
        })
    }

    /// Takes in the record with this number.
    pub fn apply(&mut self, number: u64, record: &Record) {
        self.next = self.next.max(number.saturating_add(1));
        match &record.act {
            Act::Opened { journal, node } => {
                self.me = Some(*node);
                self.journal = Some(*journal);
            }
            Act::Started { boot, doubt, .. } => {
                self.boot = Some(*boot);
                if let Some(doubt) = doubt {
                    self.doubt(*doubt);
                }
            }
            Act::Fenced { peer, origin } => self.fenced = Some(Fence { peer: *peer, origin: *origin }),
            Act::Recovering { officer } => {
                self.fenced = None;
                self.doubt(if *officer == 0 { Doubt::Behind } else { Doubt::Person });
            }
            Act::PeerAdded { peer, keys, ceremony, .. } => {
                self.note_slot(ceremony);
                self.add_peer(*peer, keys);
            }
            Act::Noted { .. } | Act::Read { .. } | Act::Unknown(_) => {}
            act => self.apply_to_peer(number, record.time, act),
        }
    }

    fn doubt(&mut self, doubt: Doubt) {
        if mutant::active(Mutant::IgnoreDoubt) {
            return;
        }
        for peer in self.peers.values_mut() {
            peer.own.doubt = Some(doubt);
            // What people have agreed to is not forgotten over a doubt: the next volume says so.
            let agreed = peer.own.frozen.as_ref().filter(|frozen| frozen.agreed).map(|frozen| frozen.reason);
            peer.own.reopen = Some(agreed.unwrap_or(VolumeReason::Restored));
        }
    }

    fn add_peer(&mut self, name: NodeName, keys: &[PublicKeys]) {
        let peer = self.peers.entry(name).or_default();
        if peer.status == PeerStatus::Removed && peer.own.current.is_some() {
            peer.own.reopen = peer.own.reopen.or(Some(VolumeReason::PeerAddedAgain));
        }
        if peer.status == PeerStatus::Removed {
            // A new ceremony: only the keys that it covers count for new volumes.
            peer.keys.clear();
        }
        peer.status = PeerStatus::Active;
        for key in keys {
            peer.keys.retain(|known| known != key);
            peer.keys.push(key.clone());
        }
    }

    fn note_slot(&mut self, payload: &Stowed) {
        if let Stowed::Sealed { slot, .. } = payload {
            self.slots = self.slots.max(slot.saturating_add(1));
        }
    }

    fn apply_to_peer(&mut self, number: u64, at: Millis, act: &Act) {
        match act {
            Act::Queued { payload, .. } | Act::Stored { payload, .. } | Act::Fetched { payload, .. } => {
                self.note_slot(payload);
            }
            Act::EnclosureHeld { slot, .. } => self.slots = self.slots.max(slot.saturating_add(1)),
            _ => {}
        }
        let Some(peer) = peer_of(act).and_then(|name| self.peers.get_mut(&name)) else { return };
        match act {
            Act::PeerChanged { change, .. } => {
                peer.status = match change {
                    Change::Suspended => PeerStatus::Suspended,
                    Change::Resumed => PeerStatus::Active,
                    Change::Removed => PeerStatus::Removed,
                };
            }
            Act::Queued { header, commitment, body_len, enclosures, .. } => {
                let item = Item {
                    queued: number,
                    header: header.clone(),
                    commitment: *commitment,
                    body_len: *body_len,
                    enclosures: *enclosures,
                };
                peer.own.queue(item);
            }
            Act::Dropped { id, why, .. } => peer.own.drop(id, *why),
            Act::VolumeOpened { place, leaf, body, .. } => peer.own.open(number, place.volume, leaf, body),
            Act::Appended { place, leaf, queued } => {
                peer.note_case(leaf);
                peer.own.append(place.volume, place.index, leaf, *queued);
            }
            Act::Signed { place, root, lines } => peer.own.sign(place.volume, place.index, *root, lines),
            Act::Receipt { place, lines } => peer.own.receipt(place.volume, place.index, lines),
            Act::Fetched { place, leaf, payload } => {
                peer.note_case(leaf);
                peer.own.fetched(number, place.volume, place.index, leaf, payload);
            }
            Act::FetchedHead { place, root, lines } => peer.own.fetched_head(place.volume, place.index, *root, lines),
            Act::Stored { place, leaf, payload, enclosures, file_bytes, repeat } => {
                peer.note_case(leaf);
                let count = if *repeat { 0 } else { *enclosures };
                peer.theirs.store(at, *place, leaf, payload, Files { count, bytes: *file_bytes });
            }
            Act::Cosigned { place, root, author_lines, lines } => {
                peer.theirs.head(at, *place, *root, author_lines, lines);
            }
            Act::BodiesLost { volume, spans, .. } => peer.own.bodies_lost(*volume, spans),
            Act::Frozen { own_log, reason, proof, .. } => {
                let frozen = Some(Frozen { reason: *reason, agreed: false, proof: proof.clone() });
                if *own_log {
                    peer.own.frozen = frozen;
                } else {
                    peer.theirs.frozen = frozen;
                }
            }
            Act::ReopenAgreed { .. } => {
                for frozen in [&mut peer.own.frozen, &mut peer.theirs.frozen].into_iter().flatten() {
                    frozen.agreed = true;
                }
                if let Some(frozen) = &peer.own.frozen {
                    peer.own.reopen = Some(frozen.reason);
                }
            }
            Act::EnclosureHeld { entry, ordinal, .. } => peer.theirs.file_settled(entry, *ordinal, None),
            Act::EnclosureEnded { entry, ordinal, code, .. } => {
                peer.theirs.file_settled(entry, *ordinal, Some(*code));
            }
            _ => {}
        }
    }
}

fn peer_of(act: &Act) -> Option<NodeName> {
    Some(match act {
        Act::PeerChanged { peer, .. }
        | Act::Queued { peer, .. }
        | Act::Dropped { peer, .. }
        | Act::BodiesLost { peer, .. }
        | Act::Frozen { peer, .. }
        | Act::ReopenAgreed { peer, .. }
        | Act::EnclosureHeld { peer, .. }
        | Act::EnclosureEnded { peer, .. } => *peer,
        Act::VolumeOpened { place, .. }
        | Act::Appended { place, .. }
        | Act::Signed { place, .. }
        | Act::Receipt { place, .. }
        | Act::Stored { place, .. }
        | Act::Cosigned { place, .. }
        | Act::Fetched { place, .. }
        | Act::FetchedHead { place, .. } => place.peer,
        _ => return None,
    })
}

/// The signing keys that a VOLUME entry lists, as far as both algorithms are there and well-formed.
pub(super) fn keys_of(keys: &[crate::wire::SigningKey]) -> Vec<PublicKeys> {
    let of = |number| keys.iter().filter(move |key| key.algorithm == number);
    of(1)
        .zip(of(6))
        .filter_map(|(classical, quantum)| PublicKeys::from_parts(&classical.public_key, &quantum.public_key).ok())
        .collect()
}

/// The hash of a leaf in the tree.
pub(super) fn hash_of(leaf: &Leaf) -> crate::name::Hash {
    crate::merkle::leaf_hash(leaf.bytes())
}
