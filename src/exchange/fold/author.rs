//! The log that this node writes to a peer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::lines::add_lines;
use super::{Frozen, LostBodies, RECENT_IDS, Recent, hash_of, keys_of};
use crate::exchange::mutant::{self, Mutant};
use crate::exchange::record::{Doubt, Drop, Stowed};
use crate::merkle::CompactRange;
use crate::name::{EntryId, Hash, Kind, NodeName, Origin, Precedence, Volume};
use crate::note::PublicKeys;
use crate::wire::{HeadRef, Header, Leaf, MAX_PUSH_ENTRIES, Span, Target, VolumeBody, VolumeReason};

/// An item that waits, or an entry that has no receipt yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The record number of its Queued record.
    pub queued: u64,
    /// Its header, but for time and `seen`.
    pub header: Header,
    /// The commitment to salt and body.
    pub commitment: Hash,
    /// Bytes of the body.
    pub body_len: u32,
    /// How many files follow.
    pub enclosures: u32,
}

/// The order of the queue: VOIDs (nothing can be pushed before them), then precedence, then real before exercise, then
/// age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QueueKey {
    slowness: u32,
    exercise: bool,
    queued: u64,
}

impl QueueKey {
    fn of(item: &Item) -> Self {
        let mut slowness = Precedence::Flash.number() + 1 - item.header.precedence.number();
        if mutant::active(Mutant::WrongOrder) {
            slowness = 5 - slowness;
        }
        Self { slowness: if is_void(item) { 0 } else { slowness }, exercise: item.header.exercise, queued: item.queued }
    }
}

/// A head that this node signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnHead {
    /// Entries.
    pub size: u64,
    /// Root.
    pub root: Hash,
    /// The author's lines.
    pub lines: Vec<String>,
    /// The holder's lines, where there is a receipt.
    pub receipt: Vec<String>,
}

/// A volume of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnVolume {
    /// The tree.
    pub range: CompactRange,
    /// The keys that entry 0 lists.
    pub keys: Vec<PublicKeys>,
    /// The volume before.
    pub before: Option<HeadRef>,
    /// Why it was opened.
    pub reason: VolumeReason,
    /// The newest head with a receipt, and all later ones.
    pub heads: VecDeque<OwnHead>,
    /// Size of the newest receipt.
    pub receipted: u64,
    /// The first index that was fetched from the holder.
    pub fetched_from: Option<u64>,
    /// The record number of entry 0.
    pub opened: u64,
}

impl OwnVolume {
    fn new(opened: u64, body: VolumeBody) -> Self {
        Self {
            range: CompactRange::default(),
            keys: keys_of(&body.keys),
            before: body.before,
            reason: body.reason,
            heads: VecDeque::new(),
            receipted: 0,
            fetched_from: None,
            opened,
        }
    }

    /// Entries.
    pub fn size(&self) -> u64 {
        self.range.size()
    }

    /// The root at `size`, where it is at hand.
    pub fn root_at(&self, size: u64) -> Option<Hash> {
        if size == self.size() {
            return Some(self.range.root());
        }
        if size == 0 {
            return Some(crate::merkle::empty_root());
        }
        self.head_at(size).map(|head| head.root)
    }

    /// The signed head of exactly this size, where it is kept.
    pub fn head_at(&self, size: u64) -> Option<&OwnHead> {
        self.heads.iter().find(|head| head.size == size)
    }
}

/// A volume that is being got back from its holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetching {
    /// The tree so far.
    pub range: CompactRange,
    /// The first index that was fetched.
    pub first: u64,
    /// The ids that were found, with their indices and records.
    pub found: Vec<(EntryId, u64, u64)>,
    /// What entry 0 says, where it was fetched.
    pub opening: Option<(Vec<PublicKeys>, Option<HeadRef>, VolumeReason, u64)>,
}

/// The log that this node writes to one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// Every volume, dead ones included.
    pub volumes: BTreeMap<Volume, OwnVolume>,
    /// The volume that is open.
    pub current: Option<Volume>,
    /// The highest number ever seen.
    pub highest: u32,
    /// This node doubts its memory of this log.
    pub doubt: Option<Doubt>,
    /// The next volume is due, for this reason.
    pub reopen: Option<VolumeReason>,
    /// Waits for people.
    pub frozen: Option<Frozen>,
    /// Items not yet in the log.
    pub queue: BTreeMap<QueueKey, Item>,
    /// Where each waiting item stands.
    pub waiting: BTreeMap<EntryId, QueueKey>,
    /// Entries of the current volume without a receipt: index and item (none where the header cannot be read).
    pub unreceipted: VecDeque<(u64, Option<Item>)>,
    /// Ids in the log: volume number, index, Queued record.
    pub recent: Recent<(Volume, u64, u64)>,
    /// Entries of the current volume that a VOID withdraws and that have no receipt yet.
    pub voided: BTreeSet<u64>,
    /// Volumes that are being got back.
    pub fetching: BTreeMap<Volume, Fetching>,
    /// Receipted items that the holder's chain lacks, to be read again (at this record) and queued again.
    pub lost: BTreeMap<EntryId, u64>,
    /// Entries of volumes that were left, until the next receipt: the holder may have taken them after all. Id, place,
    /// record.
    pub left: Vec<(EntryId, Volume, u64, u64)>,
    /// Bodies that are no longer available here, and which volume lists them.
    pub lost_bodies: LostBodies,
    /// Ids that left the queue unsent, so that a repeated command gets the same answer.
    pub dropped: Recent<Drop>,
}

impl Author {
    /// The open volume.
    pub fn volume(&self) -> Option<(Volume, &OwnVolume)> {
        let volume = self.current?;
        self.volumes.get(&volume).map(|own| (volume, own))
    }

    /// The volumes that the open one stands on, oldest first, itself last: each with the size that the next one names
    /// (for the open one: its own size).
    pub fn chain(&self) -> Vec<(Volume, u64)> {
        let mut chain = Vec::new();
        let mut next = self.volume().map(|(volume, own)| (volume, own.size()));
        while let Some((volume, size)) = next {
            if chain.iter().any(|(known, _)| *known == volume) {
                break;
            }
            chain.push((volume, size));
            let before = self.volumes.get(&volume).and_then(|own| own.before);
            next = before.map(|before| (before.origin.volume, before.size));
        }
        chain.reverse();
        chain
    }

    /// Bytes in the log without a receipt, as the window counts them (entry 0 and VOIDs are exempt).
    pub fn unreceipted_bytes(&self) -> u64 {
        self.unreceipted.iter().filter_map(|(_, item)| item.as_ref()).map(window_bytes).sum()
    }

    /// The earlier volumes of this log, with the first index that was fetched from the holder.
    pub fn fetched_from(&self) -> Vec<Target> {
        let first = |(volume, own): (&Volume, &OwnVolume)| {
            own.fetched_from.map(|index| Target { volume: volume.number, index })
        };
        self.volumes.iter().filter_map(first).collect()
    }

    /// The origin of a volume of this log.
    pub fn origin(me: NodeName, peer: NodeName, volume: Volume) -> Origin {
        Origin { from: me, to: peer, volume }
    }

    pub(super) fn queue(&mut self, item: Item) {
        let id = item.header.id;
        self.lost.remove(&id);
        if !self.waiting.contains_key(&id) && self.recent.get(&id).is_none() {
            self.enqueue(item);
        }
    }

    fn enqueue(&mut self, item: Item) {
        let key = QueueKey::of(&item);
        self.waiting.insert(item.header.id, key);
        self.queue.insert(key, item);
    }

    pub(super) fn drop(&mut self, id: &EntryId, why: Drop) {
        self.unqueue(id);
        self.dropped.insert(*id, why);
    }

    /// Takes in bodies that a piece of a refill could not be given.
    pub(super) fn bodies_lost(&mut self, volume: Volume, spans: &[Span]) {
        for span in spans {
            // A piece holds no more; a longer span is no record of this node.
            let to = span.to.min(span.from.saturating_add(MAX_PUSH_ENTRIES as u64));
            (span.from..to).for_each(|index| self.lost_bodies.insert(volume.number, index));
        }
    }

    /// Lost bodies that no volume of the living chain lists yet.
    pub fn unlisted_bodies(&self) -> Vec<Span> {
        self.lost_bodies.unlisted(&self.chain())
    }

    fn unqueue(&mut self, id: &EntryId) {
        if let Some(key) = self.waiting.remove(id) {
            self.queue.remove(&key);
        }
    }

    pub(super) fn open(&mut self, number: u64, volume: Volume, leaf: &Leaf, body: &bytes::Bytes) {
        let Ok(body) = VolumeBody::decode(body.clone()) else { return };
        self.highest = self.highest.max(volume.number);
        self.lost_bodies.list(volume, &body.unavailable);
        let mut opened = OwnVolume::new(number, body);
        opened.range.push(hash_of(leaf));
        self.volumes.insert(volume, opened);
        self.settle_on(volume, None);
        let item = leaf.header().ok().map(|header| Item {
            queued: number,
            commitment: leaf.commitment(),
            body_len: u32::try_from(leaf.body_len()).unwrap_or(u32::MAX),
            enclosures: 0,
            header,
        });
        self.unreceipted.push_back((0, item));
        self.voided.clear();
        self.fetching.clear();
        self.doubt = None;
        self.reopen = None;
    }

    /// A planted bug: what is in the log already waits once more.
    pub(in crate::exchange) fn queue_unreceipted_again(&mut self) {
        let items: Vec<Item> = self.unreceipted.iter().filter_map(|(_, item)| item.clone()).collect();
        items.into_iter().for_each(|item| self.enqueue(item));
    }

    /// Makes `volume` the open one. Entries outside the chain that it stands on are dead: their items queue again under
    /// their ids. Entries of volumes that were left, and that the chain contains after all, leave the queue.
    fn settle_on(&mut self, volume: Volume, replaced: Option<&BTreeSet<EntryId>>) {
        let old = self.current.replace(volume);
        let chain: BTreeMap<Volume, u64> = self.chain().into_iter().collect();
        let alive = |id: &EntryId, at: Volume, index: u64| match replaced {
            Some(found) if at == volume => found.contains(id),
            _ => chain.get(&at).is_some_and(|size| index < *size),
        };
        // Places of a branch that the holder's replaced are gone for good: nothing revives them.
        let revivable = |at: Volume| replaced.is_none() || at != volume;
        let entries: Vec<(u64, Option<Item>)> = self.unreceipted.drain(..).collect();
        for (index, item) in entries {
            let (Some(item), Some(old)) = (item, old) else { continue };
            let forgotten = mutant::active(Mutant::ForgetRequeue);
            if !alive(&item.header.id, old, index) && !is_of_the_volume(&item) && !forgotten {
                if revivable(old) {
                    self.left.push((item.header.id, old, index, item.queued));
                }
                let elsewhere = self.recent.get(&item.header.id).filter(|place| (place.0, place.1) != (old, index));
                if !elsewhere.is_some_and(|(at, index, _)| alive(&item.header.id, at, index)) {
                    self.enqueue(item);
                }
            }
        }
        // `extract` borrows nothing of the ids, so the dead are judged by place first and by id afterwards.
        let dead = self
            .recent
            .extract(|(at, index, _)| replaced.is_none() && chain.get(at).is_some_and(|size| *index < *size));
        for (id, (at, index, queued)) in dead {
            if alive(&id, at, index) {
                self.recent.insert(id, (at, index, queued));
            } else if !self.waiting.contains_key(&id) && !mutant::active(Mutant::ForgetRequeue) {
                if revivable(at) {
                    self.left.push((id, at, index, queued));
                }
                self.lost.insert(id, queued);
            }
        }
        let left = std::mem::take(&mut self.left);
        let oldest = left.len().saturating_sub(RECENT_IDS);
        for (id, at, index, queued) in left.into_iter().skip(oldest) {
            if alive(&id, at, index) {
                self.unqueue(&id);
                self.lost.remove(&id);
                self.recent.insert(id, (at, index, queued));
            } else if revivable(at) {
                self.left.push((id, at, index, queued));
            }
        }
    }

    pub(super) fn append(&mut self, volume: Volume, index: u64, leaf: &Leaf, queued: u64) {
        let Some(own) = self.volumes.get_mut(&volume) else { return };
        if own.size() != index || self.current != Some(volume) {
            return;
        }
        own.range.push(hash_of(leaf));
        let Ok(header) = leaf.header() else {
            self.unreceipted.push_back((index, None));
            return;
        };
        let waiting = self.waiting.remove(&header.id).and_then(|key| self.queue.remove(&key));
        if header.known_kind() == Some(Kind::Void)
            && let Some(target) = header.target.filter(|target| target.volume == volume.number)
        {
            self.voided.insert(target.index);
        }
        self.recent.insert(header.id, (volume, index, queued));
        let item = waiting.unwrap_or_else(|| Item {
            queued,
            commitment: leaf.commitment(),
            body_len: u32::try_from(leaf.body_len()).unwrap_or(u32::MAX),
            enclosures: 0,
            header,
        });
        self.unreceipted.push_back((index, Some(item)));
    }

    pub(super) fn sign(&mut self, volume: Volume, size: u64, root: Hash, lines: &[String]) {
        let Some(own) = self.volumes.get_mut(&volume) else { return };
        let at = own.heads.partition_point(|head| head.size < size);
        match own.heads.get_mut(at) {
            Some(head) if head.size == size => add_lines(&mut head.lines, lines),
            _ => own.heads.insert(at, OwnHead { size, root, lines: lines.to_vec(), receipt: Vec::new() }),
        }
    }

    pub(super) fn receipt(&mut self, volume: Volume, size: u64, lines: &[String]) {
        let Some(own) = self.volumes.get_mut(&volume) else { return };
        let Some(head) = own.heads.iter_mut().find(|head| head.size == size) else { return };
        add_lines(&mut head.receipt, lines);
        own.receipted = own.receipted.max(size);
        let receipted = own.receipted;
        while own.heads.front().is_some_and(|head| head.size < receipted) {
            own.heads.pop_front();
        }
        let reason = own.reason;
        if self.current == Some(volume) {
            while self.unreceipted.front().is_some_and(|(index, _)| *index < size) {
                self.unreceipted.pop_front();
            }
            self.voided = self.voided.split_off(&size);
            self.left.clear();
            if self.frozen.as_ref().is_some_and(|frozen| frozen.reason == reason && frozen.agreed) {
                self.frozen = None;
            }
        }
    }

    pub(super) fn fetched(&mut self, number: u64, volume: Volume, index: u64, leaf: &Leaf, payload: &Stowed) {
        self.highest = self.highest.max(volume.number);
        if index == 0 {
            let start = Fetching { range: CompactRange::default(), first: 0, found: Vec::new(), opening: None };
            self.fetching.insert(volume, start);
        } else if self.fetching.get(&volume).is_none_or(|fetching| fetching.range.size() != index) {
            // A fetch that was cut off begins again where the own copy ends.
            let Some(own) = self.volumes.get(&volume).filter(|own| own.size() == index) else { return };
            let start = Fetching { range: own.range.clone(), first: index, found: Vec::new(), opening: None };
            self.fetching.insert(volume, start);
        }
        let Some(fetching) = self.fetching.get_mut(&volume).filter(|fetching| fetching.range.size() == index) else {
            return;
        };
        fetching.range.push(hash_of(leaf));
        if let Ok(header) = leaf.header() {
            if index > 0 {
                fetching.found.push((header.id, index, number));
            } else if let Stowed::Clear { body, .. } = payload
                && let Ok(body) = VolumeBody::decode(body.clone())
            {
                fetching.opening = Some((keys_of(&body.keys), body.before, body.reason, number));
            }
        }
    }

    pub(super) fn fetched_head(&mut self, volume: Volume, size: u64, root: Hash, lines: &[String]) {
        let known = self.fetching.remove(&volume);
        let Some(fetching) = known.filter(|f| f.range.size() == size && f.range.root() == root) else { return };
        // The author's lines bear the origin, which ends in the volume; the others are the holder's.
        let author = format!("/{volume} ");
        let (own_lines, receipt) = lines.iter().cloned().partition(|line: &String| line.contains(&author));
        let head = OwnHead { size, root, lines: own_lines, receipt };
        let old = self.volumes.get(&volume);
        let (keys, before, reason, opened) = match (fetching.opening, old) {
            (Some(opening), _) => opening,
            (None, Some(old)) => (old.keys.clone(), old.before, old.reason, old.opened),
            (None, None) => return,
        };
        let fetched_from = old.and_then(|old| old.fetched_from).unwrap_or(fetching.first).min(fetching.first);
        let own = OwnVolume {
            range: fetching.range,
            keys,
            before,
            reason,
            heads: VecDeque::from([head]),
            receipted: size,
            fetched_from: Some(fetched_from),
            opened,
        };
        self.volumes.insert(volume, own);
        if fetching.first == 0 {
            // The holder's branch: what the own branch had at these places is not there.
            let found: BTreeSet<EntryId> = fetching.found.iter().map(|(id, _, _)| *id).collect();
            self.left.retain(|(id, at, _, _)| *at != volume || found.contains(id));
        }
        // A fetched volume of the same number is the holder's: the own one of that number was never taken.
        if self.current.is_none_or(|current| current.number <= volume.number) {
            let found: BTreeSet<EntryId> = fetching.found.iter().map(|(id, _, _)| *id).collect();
            let replaced = (fetching.first == 0).then_some(&found);
            self.settle_on(volume, replaced);
        } else if fetching.first == 0 {
            // The holder's branch of an earlier volume: what the own branch had beside it queues again.
            let places = self.recent.extract(|(at, _, _)| *at != volume);
            let found: BTreeSet<EntryId> = fetching.found.iter().map(|(id, _, _)| *id).collect();
            let gone = places.into_iter().filter(|(id, _)| !found.contains(id) && !self.waiting.contains_key(id));
            self.lost.extend(gone.map(|(id, (_, _, queued))| (id, queued)));
        }
        for (id, index, number) in fetching.found {
            self.unqueue(&id);
            self.lost.remove(&id);
            self.recent.insert(id, (volume, index, number));
        }
        self.reopen = self.reopen.or(Some(VolumeReason::Restored));
    }
}

/// What an entry weighs in the window: its leaf and its body. VOLUME and VOID are exempt.
pub(in crate::exchange) fn window_bytes(item: &Item) -> u64 {
    if is_of_the_volume(item) { 0 } else { u64::from(item.body_len) + ENTRY_WEIGHT }
}

/// What a leaf weighs in the window, whatever its header: one number for both sides of a sum.
const ENTRY_WEIGHT: u64 = 160;

/// Whether the entry belongs to its volume alone and never queues again: VOLUME and VOID.
fn is_of_the_volume(item: &Item) -> bool {
    is_void(item) || item.header.known_kind() == Some(Kind::Volume)
}

fn is_void(item: &Item) -> bool {
    item.header.known_kind() == Some(Kind::Void)
}
