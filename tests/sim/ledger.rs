//! The oracle's own reading of one instance's durable records, independent of the core's fold.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use verbale::exchange::{Act, Drop, Place, Record, Stowed};
use verbale::merkle::{CompactRange, leaf_hash};
use verbale::name::{EntryId, Hash, Kind, Millis, NodeName, Origin, Volume};
use verbale::note::{Checkpoint, Head, KeyAlgorithm, PublicKeys, Verifier, judge_log_lines, judge_receipt_lines};
use verbale::wire::{Absent, Header, Leaf, Span, VolumeBody, VolumeReason};

use super::keys::open;

/// One volume of a log, own or held, as its durable records have it.
#[derive(Clone, Default)]
pub struct Copy {
    pub leaves: Vec<Leaf>,
    pub hashes: Vec<Hash>,
    /// The root at each size, from 0 on.
    roots: Vec<Hash>,
    range: CompactRange,
    pub body: Option<VolumeBody>,
    /// Signed (own) or stored (held) heads: size → root and author's lines.
    pub heads: BTreeMap<u64, (Hash, Vec<String>)>,
    /// Receipts: size → lines.
    pub receipts: BTreeMap<u64, Vec<String>>,
    /// Indices whose body is not there, with the stated reason.
    pub bodiless: BTreeMap<u64, Option<Absent>>,
    /// Indices fetched from the holder or otherwise not written by this journal.
    pub fetched: BTreeSet<u64>,
}

impl Copy {
    fn push(&mut self, leaf: &Leaf) {
        if self.roots.is_empty() {
            self.roots.push(self.range.root());
        }
        let hash = leaf_hash(leaf.bytes());
        self.range.push(hash);
        self.roots.push(self.range.root());
        self.hashes.push(hash);
        self.leaves.push(leaf.clone());
    }

    /// Goes back to an earlier size (a branch is replaced by the holder's).
    fn truncate(&mut self, size: u64) {
        let leaves: Vec<Leaf> = self.leaves.drain(..).take(size as usize).collect();
        let (body, fetched) = (self.body.take(), std::mem::take(&mut self.fetched));
        *self = Self { body, fetched, ..Self::default() };
        leaves.iter().for_each(|leaf| self.push(leaf));
    }

    pub fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    pub fn root_at(&self, size: u64) -> Option<Hash> {
        if size == 0 { Some(CompactRange::default().root()) } else { self.roots.get(size as usize).copied() }
    }

    /// The newest size with a receipt; 0 for none.
    pub fn receipted(&self) -> u64 {
        self.receipts.last_key_value().map_or(0, |(size, _)| *size)
    }

    /// The note of the newest head, with every line.
    pub fn note(&self, origin: Origin) -> Bytes {
        let Some((size, (root, lines))) = self.heads.last_key_value() else { return Bytes::new() };
        let lines = lines.iter().chain(self.receipts.get(size).into_iter().flatten());
        let lines = lines.filter_map(|line| line.parse().ok()).collect();
        match Checkpoint::new(Head { origin, size: *size, root: *root }, lines) {
            Ok(note) => note.to_bytes().into(),
            Err(_) => Bytes::new(),
        }
    }
}

/// An item that was durably queued.
#[derive(Clone)]
pub struct Item {
    pub peer: NodeName,
    pub record: u64,
    pub header: Header,
    pub dropped: Option<Drop>,
    /// Every place where it was ever appended or found.
    pub places: Vec<Place>,
    /// Stood in the log before, perhaps in a branch that was given up.
    stood: bool,
    /// Queued, and not appended or found in a log since.
    waits: bool,
}

/// A volume that is being got back from its holder.
#[derive(Clone)]
struct Fetching {
    first: u64,
    leaves: Vec<Leaf>,
    body: Option<VolumeBody>,
}

/// Who is who, for judging lines.
pub struct Known<'a> {
    pub keys: &'a BTreeMap<NodeName, PublicKeys>,
    pub judge: &'a dyn Verifier,
    /// Windows announced to this instance per peer, where one is known.
    pub windows: &'a BTreeMap<NodeName, u64>,
    /// Peers that contradict themselves: liars, and nodes that ran twice.
    pub unsteady: &'a BTreeSet<NodeName>,
}

/// What one instance durably knows.
#[derive(Clone, Default)]
pub struct Ledger {
    pub me: Option<NodeName>,
    pub own: BTreeMap<Origin, Copy>,
    pub held: BTreeMap<Origin, Copy>,
    pub items: BTreeMap<EntryId, Item>,
    /// Ids of peers' entries that were shown as new.
    pub news: BTreeMap<(NodeName, EntryId), u32>,
    pub repeats: u64,
    pub lines: BTreeSet<String>,
    pub fenced: bool,
    /// (peer, own log) → the volume that is frozen.
    pub frozen: BTreeMap<(NodeName, bool), Volume>,
    pub suspended: BTreeSet<NodeName>,
    peers: BTreeSet<NodeName>,
    /// Peers towards which this node doubts its memory: nothing is signed until the next volume is open.
    doubts: BTreeSet<NodeName>,
    fetching: BTreeMap<Origin, Fetching>,
    next: u64,
}

type Verdict = Result<(), String>;

fn check(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what()) }
}

impl Ledger {
    pub fn origin(&self, place: &Place, own: bool) -> Origin {
        let me = self.me.expect("a journal begins with OPENED");
        let (from, to) = if own { (me, place.peer) } else { (place.peer, me) };
        Origin { from, to, volume: place.volume }
    }

    /// The newest volume of a direction by number.
    pub fn newest(&self, peer: NodeName, own: bool) -> Option<Origin> {
        let volumes = if own { &self.own } else { &self.held };
        let of_peer = volumes.keys().filter(|origin| if own { origin.to == peer } else { origin.from == peer });
        of_peer.max_by_key(|origin| origin.volume.number).copied()
    }

    /// Whether an own entry stands in the chain of volumes that ends with the newest.
    pub fn is_live(&self, place: &Place) -> bool {
        let (mut at, mut limit) = (self.newest(place.peer, true), u64::MAX);
        while let Some(origin) = at {
            if origin.volume == place.volume {
                return place.index < limit;
            }
            let before = self.own.get(&origin).and_then(|copy| copy.body.as_ref()).and_then(|body| body.before);
            (at, limit) = (before.map(|head| head.origin), before.map_or(0, |head| head.size));
        }
        false
    }

    /// Whether a live own entry is covered by a receipt, in its volume or in a later one of the chain.
    pub fn is_receipted(&self, place: &Place) -> bool {
        if !self.is_live(place) {
            return false;
        }
        let mut at = self.newest(place.peer, true);
        let mut covered = false;
        while let Some(origin) = at {
            let Some(copy) = self.own.get(&origin) else { return false };
            if origin.volume == place.volume {
                return covered || copy.receipted() > place.index;
            }
            covered |= copy.receipted() > 0;
            at = copy.body.as_ref().and_then(|body| body.before).map(|head| head.origin);
        }
        false
    }

    /// Reads the next record and says what is wrong with it.
    pub fn apply(&mut self, record: &Record, known: &Known<'_>) -> Verdict {
        let number = self.next;
        self.next += 1;
        match &record.act {
            Act::Opened { node, .. } => self.me = Some(*node),
            Act::Started { doubt: Some(_), .. } => self.doubts.extend(self.peers.iter().copied()),
            Act::Recovering { .. } => {
                self.fenced = false;
                self.doubts.extend(self.peers.iter().copied());
            }
            Act::PeerAdded { peer, .. } => {
                self.peers.insert(*peer);
            }
            Act::Fenced { .. } => self.fenced = true,
            Act::PeerChanged { peer, change, .. } => {
                use verbale::exchange::Change;
                match change {
                    Change::Resumed => self.suspended.remove(peer),
                    Change::Suspended | Change::Removed => self.suspended.insert(*peer),
                };
            }
            Act::Queued { peer, header, .. } => {
                self.queued(*peer, number, header, known)?;
            }
            Act::Dropped { id, why, .. } => self.dropped(id, *why)?,
            Act::VolumeOpened { place, leaf, body, .. } => self.volume_opened(place, leaf, body)?,
            Act::Appended { place, leaf, queued } => self.appended(place, leaf, *queued, record.time, known)?,
            Act::Signed { place, root, lines } => self.signed(place, root, lines)?,
            Act::Receipt { place, lines } => {
                let origin = self.origin(place, true);
                self.lines.extend(lines.iter().cloned());
                let copy = self.own.entry(origin).or_default();
                check(place.index <= copy.size(), || format!("a receipt beyond the log: {place:?}"))?;
                let root = copy.root_at(place.index).unwrap_or_default();
                check(self.lines_hold(origin, place.index, root, lines, known), || {
                    format!("a receipt was recorded whose lines do not hold: {place:?}")
                })?;
                let copy = self.own.get_mut(&origin).expect("just made");
                copy.receipts.entry(place.index).or_default().extend(lines.iter().cloned());
            }
            Act::Stored { place, leaf, payload, repeat, .. } => self.stored(place, leaf, payload, *repeat)?,
            Act::Cosigned { place, root, author_lines, lines } => {
                self.cosigned(place, root, author_lines, lines, known)?;
            }
            Act::Fetched { place, leaf, payload } => self.fetched(place, leaf, payload)?,
            Act::FetchedHead { place, root, lines } => self.fetched_head(place, root, lines, known)?,
            Act::Frozen { peer, own_log, proof, .. } => {
                for note in [&proof.ours, &proof.theirs] {
                    let Ok(note) = Checkpoint::<Origin>::parse(note) else { continue };
                    self.lines.extend(note.lines().iter().map(ToString::to_string));
                }
                if let Some(origin) = self.newest(*peer, *own_log) {
                    self.frozen.insert((*peer, *own_log), origin.volume);
                }
            }
            Act::ReopenAgreed { peer, .. } => {
                self.frozen.remove(&(*peer, true));
                self.frozen.remove(&(*peer, false));
            }
            _ => {}
        }
        Ok(())
    }

    /// An id is queued once; again only where its entry stands in a dead volume.
    fn queued(&mut self, peer: NodeName, record: u64, header: &Header, known: &Known<'_>) -> Verdict {
        let mut item =
            Item { peer, record, header: header.clone(), dropped: None, places: vec![], stood: false, waits: true };
        if let Some(old) = self.items.get(&header.id) {
            let dead = old.stood && !old.waits && !old.places.iter().any(|place| self.is_live(place));
            check(dead && old.dropped.is_none() || known.unsteady.contains(&peer), || {
                format!("{} was queued twice: {:?}, stood at {:?}", header.id, old.dropped, old.places)
            })?;
            item.places.clone_from(&old.places);
            item.stood = true;
        }
        self.items.insert(header.id, item);
        Ok(())
    }

    fn dropped(&mut self, id: &EntryId, why: Drop) -> Verdict {
        let live = self.items.get(id).is_some_and(|item| item.places.iter().any(|place| self.is_live(place)));
        check(!live, || format!("{id} was dropped ({why:?}) though it stands in the log"))?;
        let item = self.items.get_mut(id).ok_or_else(|| format!("{id} was dropped and never queued"))?;
        check(item.dropped.replace(why).is_none(), || format!("{id} was dropped twice"))
    }

    fn volume_opened(&mut self, place: &Place, leaf: &Leaf, body: &Bytes) -> Verdict {
        let origin = self.origin(place, true);
        let newest = self.newest(place.peer, true);
        check(newest.is_none_or(|newest| newest.volume.number < origin.volume.number), || {
            format!("volume {origin} was opened after {newest:?}")
        })?;
        let body = VolumeBody::decode(body.clone()).map_err(|error| format!("{origin}: {error}"))?;
        if body.reason != VolumeReason::Contradiction {
            check(!self.frozen.contains_key(&(place.peer, true)), || format!("{origin} opened while frozen"))?;
        }
        self.doubts.remove(&place.peer);
        let copy = self.own.entry(origin).or_default();
        copy.body = Some(body);
        copy.push(leaf);
        Ok(())
    }

    fn appended(&mut self, place: &Place, leaf: &Leaf, queued: u64, time: Millis, known: &Known<'_>) -> Verdict {
        let origin = self.origin(place, true);
        check(self.newest(place.peer, true) == Some(origin), || format!("{place:?} is not in the newest volume"))?;
        check(self.own[&origin].size() == place.index, || format!("{place:?} does not follow"))?;
        let header = leaf.header().map_err(|error| format!("own header: {error}"))?;
        let item = self.items.get(&header.id).ok_or_else(|| format!("{} appended, never queued", header.id))?;
        check(item.record == queued, || format!("{place:?} refers to record {queued}"))?;
        check(item.dropped.is_none(), || format!("{} appended after it was dropped", header.id))?;
        let lives = item.places.iter().find(|earlier| self.is_live(earlier)).copied();
        check(lives.is_none() || known.unsteady.contains(&place.peer), || {
            format!("{} appended twice: {lives:?} and {place:?}", header.id)
        })?;
        check(item.header.expires.is_none_or(|at| at > time), || format!("{} appended after it expired", header.id))?;
        self.check_order(item, time)?;
        self.check_window(place, leaf, &header, known)?;
        self.own.get_mut(&origin).expect("checked").push(leaf);
        let item = self.items.get_mut(&header.id).expect("checked");
        item.places.push(*place);
        item.stood = true;
        item.waits = false;
        Ok(())
    }

    /// Precedence, then real before exercise, then age; machines and what once stood in a dead volume aside.
    fn check_order(&self, item: &Item, time: Millis) -> Verdict {
        let rank = |item: &Item| (std::cmp::Reverse(item.header.precedence), item.header.exercise, item.record);
        if item.header.is_machine() || item.stood {
            return Ok(());
        }
        let waits = |other: &&Item| {
            other.peer == item.peer
                && !other.stood
                && other.dropped.is_none()
                && !other.header.is_machine()
                && other.header.expires.is_none_or(|at| at > time)
        };
        match self.items.values().filter(waits).find(|other| rank(other) < rank(item)) {
            None => Ok(()),
            Some(other) => Err(format!("order: {} was appended before {}", item.header.id, other.header.id)),
        }
    }

    /// I9, as far as the announced windows go.
    fn check_window(&self, place: &Place, leaf: &Leaf, header: &Header, known: &Known<'_>) -> Verdict {
        let exempt = |kind: Option<Kind>| matches!(kind, Some(Kind::Void | Kind::Volume));
        let Some(window) = known.windows.get(&place.peer).filter(|_| !exempt(header.known_kind())) else {
            return Ok(());
        };
        let bytes = |leaf: &Leaf| (leaf.bytes().len().min(160) + leaf.body_len()) as u64;
        let copy = &self.own[&self.origin(place, true)];
        let open = copy.leaves.iter().skip(copy.receipted() as usize);
        let open: Vec<u64> =
            open.filter(|leaf| !exempt(leaf.header().ok().and_then(|header| header.known_kind()))).map(bytes).collect();
        let sum = open.iter().sum::<u64>() + bytes(leaf);
        check(open.is_empty() || sum <= *window, || format!("I9: {sum} bytes unreceipted, window {window}: {place:?}"))
    }

    fn signed(&mut self, place: &Place, root: &Hash, lines: &[String]) -> Verdict {
        let origin = self.origin(place, true);
        check(!self.fenced, || format!("signed while fenced: {place:?}"))?;
        let known = self.own.get(&origin).is_some_and(|copy| copy.heads.contains_key(&place.index));
        check(known || !self.doubts.contains(&place.peer), || format!("signed {place:?} in doubt about its memory"))?;
        check(self.frozen.get(&(place.peer, true)) != Some(&place.volume), || {
            format!("signed while frozen: {place:?}")
        })?;
        self.lines.extend(lines.iter().cloned());
        let is_newest = self.newest(place.peer, true) == Some(origin);
        let copy = self.own.get_mut(&origin).ok_or_else(|| format!("signed an unknown volume: {place:?}"))?;
        check(copy.root_at(place.index) == Some(*root), || format!("signed another root than the log's: {place:?}"))?;
        let before = copy.heads.last_key_value().map_or(0, |(size, _)| *size);
        // In a refill heads in between are signed, also of older volumes; those never grow.
        check(is_newest || before >= place.index, || format!("signed on in an old volume: {place:?}"))?;
        let head = copy.heads.entry(place.index).or_insert_with(|| (*root, Vec::new()));
        let known: BTreeMap<_, _> = head.1.iter().map(|line| (key_of(line), line)).collect();
        let changed = lines.iter().any(|line| known.get(&key_of(line)).is_some_and(|known| *known != line));
        check(!changed, || format!("signed another line by one key for one size: {place:?}"))?;
        head.1.extend(lines.iter().filter(|line| !head.1.contains(line)).cloned().collect::<Vec<_>>());
        Ok(())
    }

    fn stored(&mut self, place: &Place, leaf: &Leaf, payload: &Stowed, repeat: bool) -> Verdict {
        let origin = self.origin(place, false);
        let copy = self.held.entry(origin).or_default();
        check(copy.size() == place.index, || format!("stored {place:?} at size {}", copy.size()))?;
        let header = leaf.header().ok();
        match open(payload) {
            Some((salt, body)) => {
                check(leaf.is_opened_by(&salt, &body), || format!("I2: {place:?} does not open"))?;
                if place.index == 0 {
                    copy.body = VolumeBody::decode(body).ok();
                }
            }
            None => {
                let Stowed::Absent(reason) = payload else { return Err(format!("{place:?} cannot be opened")) };
                copy.bodiless.insert(place.index, Some(*reason));
            }
        }
        copy.push(leaf);
        let Some(header) = header else { return Ok(()) };
        if repeat {
            self.repeats += 1;
            return Ok(());
        }
        let times = self.news.entry((place.peer, header.id)).or_default();
        *times += 1;
        check(*times == 1, || format!("I4: {} of {} stored as new {times} times", header.id, place.peer))
    }

    fn cosigned(
        &mut self,
        place: &Place,
        root: &Hash,
        author_lines: &[String],
        lines: &[String],
        known: &Known<'_>,
    ) -> Verdict {
        let origin = self.origin(place, false);
        check(!self.fenced || lines.is_empty(), || format!("cosigned while fenced: {place:?}"))?;
        self.lines.extend(author_lines.iter().chain(lines).cloned());
        let copy = self.held.get(&origin).ok_or_else(|| format!("cosigned {place:?} without an entry"))?;
        check(copy.size() == place.index, || format!("I2: cosigned {place:?} over {} entries", copy.size()))?;
        check(copy.root_at(place.index) == Some(*root), || format!("I2: cosigned another root: {place:?}"))?;
        let known_head =
            copy.heads.get(&place.index).is_some_and(|(_, known)| author_lines.iter().all(|line| known.contains(line)));
        let receipt = copy.receipts.get(&place.index);
        let nothing_new = known_head && lines.iter().all(|line| receipt.is_some_and(|known| known.contains(line)));
        check(!nothing_new, || format!("a head of which all was here is recorded once more: {place:?}"))?;
        let before = copy.heads.last_key_value().map_or(0, |(size, _)| *size);
        check(before <= place.index, || format!("I5: cosigned {place:?} after {before}"))?;
        check(self.author_signed(origin, place.index, *root, author_lines, known), || {
            format!("stored a head that its author did not sign: {place:?}")
        })?;
        if !lines.is_empty() {
            check(self.lines_hold(origin, place.index, *root, lines, known), || {
                format!("own receipt does not hold: {place:?}")
            })?;
            let frozen = self.frozen.get(&(place.peer, false));
            check(frozen != Some(&place.volume), || format!("cosigned while frozen: {place:?}"))?;
            let newer = self.held.iter().find(|(other, copy)| {
                other.from == origin.from && other.volume.number > origin.volume.number && copy.receipted() > 0
            });
            check(newer.is_none(), || format!("cosigned {place:?} after {:?}", newer.map(|(origin, _)| origin)))?;
            self.check_bodies(origin, place)?;
        }
        let copy = self.held.get_mut(&origin).expect("checked");
        let head = copy.heads.entry(place.index).or_insert_with(|| (*root, Vec::new()));
        head.1.extend(author_lines.iter().filter(|line| !head.1.contains(line)).cloned().collect::<Vec<_>>());
        if !lines.is_empty() {
            let receipt = copy.receipts.entry(place.index).or_default();
            receipt.extend(lines.iter().filter(|line| !receipt.contains(line)).cloned().collect::<Vec<_>>());
        }
        Ok(())
    }

    /// I2: every body below the receipt, here and in earlier volumes, is there or accounted for.
    fn check_bodies(&self, origin: Origin, place: &Place) -> Verdict {
        let withdrawn = self.withdrawn(origin.from);
        let (mut at, mut size) = (origin, place.index);
        loop {
            let copy = self.held.get(&at).ok_or_else(|| format!("I2: {place:?} covers {at}, which is not here"))?;
            check(copy.size() >= size, || format!("I2: {place:?} covers {at} up to {size}, {} are here", copy.size()))?;
            for (index, _) in copy.bodiless.range(..size) {
                let kind = copy.leaves[*index as usize].header().ok().and_then(|header| header.known_kind());
                let excused = kind == Some(Kind::Seal)
                    || copy.receipted() > *index
                    || withdrawn
                        .iter()
                        .any(|span| span.volume == at.volume.number && (span.from..span.to).contains(index));
                check(excused, || format!("I2: {place:?} covers {at} index {index}, whose body is not here"))?;
            }
            let Some(before) = copy.body.as_ref().and_then(|body| body.before) else { return Ok(()) };
            let earlier = self.held.get(&before.origin);
            check(earlier.is_some_and(|copy| copy.root_at(before.size) == Some(before.root)), || {
                format!("I2: {at} names {before:?}, which is not what is held")
            })?;
            (at, size) = (before.origin, before.size);
        }
    }

    /// What the author withdrew by VOID or by the list of a VOLUME.
    fn withdrawn(&self, author: NodeName) -> Vec<Span> {
        let mut spans = Vec::new();
        for (_, copy) in self.held.iter().filter(|(origin, _)| origin.from == author) {
            spans.extend(copy.body.iter().flat_map(|body| body.unavailable.iter().copied()));
            for header in copy.leaves.iter().filter_map(|leaf| leaf.header().ok()) {
                let Some(target) = header.target.filter(|_| header.known_kind() == Some(Kind::Void)) else { continue };
                spans.push(Span { volume: target.volume, from: target.index, to: target.index + 1 });
            }
        }
        spans
    }

    /// Fetched entries count only when a head over them is recorded.
    fn fetched(&mut self, place: &Place, leaf: &Leaf, payload: &Stowed) -> Verdict {
        let origin = self.origin(place, true);
        let size = self.own.get(&origin).map_or(0, Copy::size);
        if place.index == 0 || !self.fetching.contains_key(&origin) {
            check(place.index == 0 || place.index == size, || format!("fetched {place:?} at size {size}"))?;
            self.fetching.insert(origin, Fetching { first: place.index, leaves: Vec::new(), body: None });
        }
        let fetching = self.fetching.get_mut(&origin).expect("just made");
        let next = fetching.first + fetching.leaves.len() as u64;
        if place.index != next {
            // A fetch that was cut off begins again where the own copy ends.
            check(place.index == size, || format!("fetched {place:?}, {next} follows"))?;
            *fetching = Fetching { first: size, leaves: Vec::new(), body: None };
        }
        if place.index == 0 {
            fetching.body = open(payload).and_then(|(_, body)| VolumeBody::decode(body).ok());
        }
        fetching.leaves.push(leaf.clone());
        Ok(())
    }

    fn fetched_head(&mut self, place: &Place, root: &Hash, lines: &[String], known: &Known<'_>) -> Verdict {
        let origin = self.origin(place, true);
        self.lines.extend(lines.iter().cloned());
        let Some(fetching) = self.fetching.remove(&origin) else { return Ok(()) };
        let old = self.own.remove(&origin).unwrap_or_default();
        let mut copy = old.clone();
        let shared = old.leaves.iter().skip(fetching.first as usize).zip(&fetching.leaves);
        let same = fetching.first + shared.take_while(|(old, new)| old == new).count() as u64;
        if same < old.size() {
            copy.truncate(same);
        }
        for leaf in fetching.leaves.iter().skip((same - fetching.first) as usize) {
            copy.fetched.insert(copy.size());
            copy.push(leaf);
        }
        copy.body = fetching.body.or(copy.body);
        check(copy.size() == place.index && copy.root_at(place.index) == Some(*root), || {
            format!("a fetched head of another tree: {place:?}")
        })?;
        copy.heads.entry(place.index).or_insert_with(|| (*root, lines.to_vec()));
        if self.lines_hold(origin, place.index, *root, lines, known) {
            copy.receipts.entry(place.index).or_default().extend(lines.iter().cloned());
        }
        for item in self.items.values_mut().filter(|item| item.peer == place.peer) {
            item.places.retain(|at| at.volume != place.volume || at.index < same);
        }
        for (index, leaf) in copy.leaves.iter().enumerate().skip(same as usize) {
            if let Some(item) = leaf.header().ok().and_then(|header| self.items.get_mut(&header.id)) {
                item.places.push(Place { index: index as u64, ..*place });
                item.stood = true;
                item.waits = false;
            }
        }
        self.own.insert(origin, copy);
        Ok(())
    }

    fn author_signed(&self, origin: Origin, size: u64, root: Hash, lines: &[String], known: &Known<'_>) -> bool {
        let lines: Vec<_> = lines.iter().filter_map(|line| line.parse().ok()).collect();
        let Ok(note) = Checkpoint::new(Head { origin, size, root }, lines) else { return false };
        let keys = known.keys.get(&origin.from).cloned().into_iter().collect::<Vec<_>>();
        judge_log_lines(&note, &keys, known.judge).is_ok_and(|judged| judged.has(KeyAlgorithm::Ed25519))
    }

    fn lines_hold(&self, origin: Origin, size: u64, root: Hash, lines: &[String], known: &Known<'_>) -> bool {
        let lines: Vec<_> = lines.iter().filter_map(|line| line.parse().ok()).collect();
        let Ok(note) = Checkpoint::new(Head { origin, size, root }, lines) else { return false };
        let keys = known.keys.get(&origin.to).cloned().into_iter().collect::<Vec<_>>();
        judge_receipt_lines(&note, origin.to, &keys, known.judge).is_ok_and(|judged| judged.has(KeyAlgorithm::Ed25519))
    }

    /// Items for `peer` that have no end yet.
    pub fn waiting(&self, peer: NodeName) -> Vec<EntryId> {
        let waits = |item: &&Item| {
            item.peer == peer && item.dropped.is_none() && !item.places.iter().any(|place| self.is_receipted(place))
        };
        self.items.values().filter(waits).map(|item| item.header.id).collect()
    }

    /// Ids in own logs, those fetched from holders included.
    pub fn own_ids(&self) -> impl Iterator<Item = EntryId> + '_ {
        self.own.values().flat_map(|copy| &copy.leaves).filter_map(|leaf| Some(leaf.header().ok()?.id))
    }
}

/// Which key made a line.
fn key_of(line: &str) -> Option<(String, [u8; 4])> {
    line.parse::<verbale::note::Line>().ok().map(|line| (line.name().to_owned(), line.key_id()))
}
