//! A peer with valid keys that says anything: mostly near the truth, which is where lies do harm.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use verbale::exchange::Pushed;
use verbale::merkle::{CompactRange, leaf_hash};
use verbale::name::{
    BootNonce, EntryId, Hash, JournalId, Kind, Millis, NodeName, Origin, Pap, Precedence, Tlp, Volume,
};
use verbale::note::{Checkpoint, Head, KeyAlgorithm, Line, sign_log_line, sign_receipt_line};
use verbale::wire::{
    Absent, Contradiction, EntryFrame, FaultCode, HeadRef, Header, Hello, Leaf, LogState, NotNowReason, Payload,
    SigningKey, VolumeBody, VolumeReason, commitment,
};

use super::bounds::Greed;
use super::keys::Keys;
use super::rng::Rng;
use super::wire::{End, Message};
use super::world::{Event, Verdict, World};

/// One log as the liar keeps it: its own towards a peer, or the peer's.
#[derive(Clone, Default)]
struct Kept {
    origin: Option<Origin>,
    entries: Vec<EntryFrame>,
    note: Bytes,
    older_notes: Vec<Bytes>,
}

impl Kept {
    fn root(&self, size: u64) -> Hash {
        let mut range = CompactRange::default();
        self.entries.iter().take(size as usize).for_each(|entry| range.push(leaf_hash(entry.leaf.bytes())));
        range.root()
    }

    fn size(&self) -> u64 {
        self.entries.len() as u64
    }
}

/// The lying peer.
pub struct Liar {
    me: NodeName,
    keys: Keys,
    boot: BootNonce,
    mine: BTreeMap<NodeName, Kept>,
    /// Own volumes that were left for newer ones.
    left: BTreeMap<NodeName, Kept>,
    theirs: BTreeMap<NodeName, Kept>,
    /// How far a peer holds the own log, as it last said.
    held: BTreeMap<Origin, u64>,
    greed: Rng,
}

impl Liar {
    pub fn new(me: NodeName, keys: Keys, greed: Rng) -> Self {
        let (mine, left, theirs, held) = Default::default();
        Self { me, keys, boot: BootNonce([7; 16]), mine, left, theirs, held, greed }
    }

    fn log_lines(&self, head: &Head) -> Vec<Line> {
        KeyAlgorithm::ALL.iter().map(|algorithm| sign_log_line(head, *algorithm, self.keys.signer())).collect()
    }

    fn note(&self, origin: Origin, size: u64, root: Hash) -> Bytes {
        let head = Head { origin, size, root };
        Checkpoint::new(head.clone(), self.log_lines(&head)).map(|note| note.to_bytes().into()).unwrap_or_default()
    }

    fn receipt(&self, origin: Origin, size: u64, root: Hash) -> Vec<String> {
        let head = Head { origin, size, root };
        let line = |algorithm: &KeyAlgorithm| {
            sign_receipt_line(&head, self.me, *algorithm, 1_772_366_400, self.keys.signer()).to_string()
        };
        KeyAlgorithm::ALL.iter().map(line).collect()
    }

    /// Opens the next volume of the own log, or the first one.
    fn open(&mut self, peer: NodeName, rng: &mut Rng) {
        let old = self.mine.remove(&peer).unwrap_or_default();
        let number = old.origin.map_or(1, |origin| origin.volume.number + 1);
        let mut random = [0; 8];
        rng.fill(&mut random);
        let origin = Origin { from: self.me, to: peer, volume: Volume { number, random } };
        let size = if rng.chance(700) { old.size() } else { rng.below(old.size() + 3) };
        let before = old.origin.map(|origin| HeadRef { origin, size, root: old.root(size) });
        let key = |algorithm: KeyAlgorithm, number| SigningKey {
            algorithm: number,
            public_key: Bytes::copy_from_slice(self.keys.public.get(algorithm)),
            certificate: Bytes::new(),
        };
        let reasons =
            [VolumeReason::First, VolumeReason::Restored, VolumeReason::Contradiction, VolumeReason::Carriage];
        let body = VolumeBody {
            keys: vec![key(KeyAlgorithm::Ed25519, 1), key(KeyAlgorithm::MlDsa44, 6)],
            before,
            reason: if number == 1 { VolumeReason::First } else { *rng.pick(&reasons).expect("four") },
            journal: JournalId([9; 16]),
            unavailable: Vec::new(),
            fetched_from: Vec::new(),
        };
        let first = entry(rng, 0, Kind::Volume, body.encode());
        let older_notes = vec![old.note.clone()];
        self.left.insert(peer, old);
        self.mine.insert(peer, Kept { origin: Some(origin), entries: vec![first], note: Bytes::new(), older_notes });
    }

    fn say_hello(&self, peer: NodeName, rng: &mut Rng) -> Hello {
        let state = |kept: Option<&Kept>| {
            kept.map(|kept| LogState {
                origin: kept.origin.filter(|_| !kept.note.is_empty()),
                size: kept.size(),
                note: kept.note.clone(),
            })
        };
        let mut mine = state(self.mine.get(&peer)).unwrap_or_default();
        let mut yours = state(self.theirs.get(&peer)).unwrap_or_default();
        if mine.note.is_empty() {
            mine = LogState::default();
        }
        if yours.note.is_empty() {
            yours = LogState::default();
        }
        for (state, kept) in [(&mut mine, self.mine.get(&peer)), (&mut yours, self.theirs.get(&peer))] {
            if rng.chance(250) {
                self.bend(state, kept, peer, rng);
            }
        }
        Hello {
            version_min: 1,
            version_max: 1,
            boot: self.boot,
            last_boot: None,
            last_heard: None,
            clock: Millis(if rng.chance(100) { rng.next() } else { 1_772_366_400_000 }),
            window: if rng.chance(200) { rng.below(10) } else { 1 << 20 },
            enclosure_max: rng.next(),
            enclosures_total_max: rng.next(),
            kinds: vec![1, 64, 4_711],
            crl_number: 0,
            certificate_digests: Vec::new(),
            mine,
            yours,
        }
    }

    /// Makes a state untrue.
    fn bend(&self, state: &mut LogState, kept: Option<&Kept>, peer: NodeName, rng: &mut Rng) {
        let kept = kept.cloned().unwrap_or_default();
        match rng.below(8) {
            0 => *state = LogState::default(),
            1 => state.size = state.size.saturating_add(rng.below(5)),
            2 => state.size = u64::MAX,
            3 => state.note = Bytes::from_static(b"no note at all"),
            4 => {
                let note = rng.pick(&kept.older_notes).cloned().unwrap_or_default();
                if let Ok(old) = Checkpoint::<Origin>::parse(&note) {
                    *state = LogState { origin: Some(old.head().origin), size: old.head().size, note };
                }
            }
            5 | 6 => {
                // Another tree under its own name, with valid signatures of its own.
                let mut random = [0; 8];
                rng.fill(&mut random);
                let volume = kept.origin.map_or(Volume { number: 1, random }, |origin| origin.volume);
                let volume = if rng.chance(500) { volume } else { Volume { number: volume.number + 1, random } };
                let origin = Origin { from: self.me, to: peer, volume };
                let size = rng.between(1, kept.size() + 2);
                *state = LogState { origin: Some(origin), size, note: self.note(origin, size, Hash([3; 32])) };
            }
            _ => {
                // The peer's log under the liar's signature.
                let Some(origin) = kept.origin else { return };
                let size = kept.size() + rng.below(3);
                *state = LogState { origin: Some(origin), size, note: self.note(origin, size, Hash([4; 32])) };
            }
        }
    }

    /// The next entries of the own log with a head, true or bent.
    fn push(&mut self, peer: NodeName, rng: &mut Rng) -> Pushed {
        if !self.mine.contains_key(&peer) || rng.chance(60) {
            self.open(peer, rng);
        }
        let taken = self.mine[&peer].origin.is_some_and(|origin| self.held.get(&origin).is_some_and(|size| *size > 0));
        let again = rng.chance(if taken { 450 } else { 150 });
        if let Some(other) = self.left.get_mut(&peer).filter(|old| !old.note.is_empty() && again) {
            // For once it goes on with the volume before.
            std::mem::swap(self.mine.get_mut(&peer).expect("just opened"), other);
        }
        let kept = self.mine.get_mut(&peer).expect("just opened");
        let held = kept.origin.and_then(|origin| self.held.get(&origin)).copied();
        let from = held.unwrap_or(0).min(kept.size());
        for _ in 0..rng.below(4) {
            let index = kept.size();
            let body = vec![5; rng.below(200) as usize];
            let next = if rng.chance(50) && index > 1 {
                // The same id again, with the same or with other bytes.
                let again = rng.below(index) as usize;
                EntryFrame { index, ..kept.entries[again].clone() }
            } else {
                entry(rng, index, Kind::Notification, body.into())
            };
            kept.entries.push(next);
        }
        let greed = Greed::draw(&mut self.greed);
        for (body, precedence, more) in greed.messages(&mut self.greed) {
            kept.entries.push(greedy(&mut self.greed, kept.size(), body, precedence, more));
        }
        if matches!(greed, Greed::KnownHead) && from > 0 && kept.size() == held.unwrap_or(0) {
            let (origin, size) = (kept.origin.expect("open"), kept.size());
            let root = kept.root(size);
            return Pushed { entries: Vec::new(), note: self.note(origin, size, root) };
        }
        let (origin, size) = (kept.origin.expect("open"), kept.size());
        let from = if rng.chance(50) { rng.below(size + 1) } else { from };
        let mut pushed = Pushed { entries: kept.entries[from as usize..].to_vec(), note: Bytes::new() };
        let root = kept.root(size);
        let note = self.note(origin, size, root);
        let kept = self.mine.get_mut(&peer).expect("open");
        kept.older_notes.push(std::mem::replace(&mut kept.note, note.clone()));
        pushed.note = note;
        if rng.chance(300) {
            self.bend_push(&mut pushed, origin, size, root, rng);
        }
        pushed
    }

    fn bend_push(&self, pushed: &mut Pushed, origin: Origin, size: u64, root: Hash, rng: &mut Rng) {
        let at = rng.below(pushed.entries.len().max(1) as u64) as usize;
        match rng.below(14) {
            12 | 13 => {
                // Another head of the very size that it has signed before.
                let before = size - pushed.entries.len() as u64;
                *pushed = Pushed { entries: Vec::new(), note: self.note(origin, before, Hash([7; 32])) };
            }
            0 => pushed.note = self.note(origin, size, Hash([1; 32])),
            1 => {
                let shorter = rng.below(size);
                let kept = &self.mine[&origin.to];
                *pushed = Pushed { entries: Vec::new(), note: self.note(origin, shorter, kept.root(shorter)) };
            }
            2 => pushed.note = self.note(origin, size + rng.between(1, 9), root),
            3 => pushed.note = self.note(origin, u64::MAX / 2, root),
            4 if !pushed.entries.is_empty() => {
                pushed.entries.remove(at);
            }
            5 if !pushed.entries.is_empty() => {
                pushed.entries[at].payload =
                    Payload::Present { salt: [9; 32], body: vec![6; pushed.entries[at].leaf.body_len()].into() };
            }
            6 if !pushed.entries.is_empty() => {
                let reasons = [Absent::Sealed, Absent::Voided, Absent::Erased, Absent::Unavailable];
                pushed.entries[at].payload = Payload::Absent(*rng.pick(&reasons).expect("four"));
            }
            7 => {
                // A signature that does not hold, under the right name and key.
                let text = String::from_utf8_lossy(&pushed.note).into_owned();
                let other = self.note(origin, size + 1, root);
                let lines = String::from_utf8_lossy(&other).split_once("\n\n").map(|(_, lines)| lines.to_owned());
                let head = text.split_once("\n\n").map(|(head, _)| head.to_owned());
                if let (Some(head), Some(lines)) = (head, lines) {
                    pushed.note = format!("{head}\n\n{lines}").into();
                }
            }
            8 => {
                let swapped = Origin { from: origin.to, to: origin.from, ..origin };
                pushed.note = self.note(swapped, size, root);
            }
            9 => pushed.note = Bytes::from(vec![0xff; 70]),
            10 if pushed.entries.len() > 1 => pushed.entries.swap(0, at),
            _ if !pushed.entries.is_empty() => {
                let header = vec![0xfe; rng.below(40) as usize];
                let leaf = Leaf::new(commitment(&[1; 32], b""), 0, &header).expect("small");
                pushed.entries[at].leaf = leaf;
                pushed.entries[at].payload = Payload::Present { salt: [1; 32], body: Bytes::new() };
            }
            _ => {}
        }
    }

    /// Takes what was pushed, and says something about it.
    fn take(&mut self, peer: NodeName, pushed: &Pushed, rng: &mut Rng) -> Vec<Message> {
        let Ok(note) = Checkpoint::<Origin>::parse(&pushed.note) else { return Vec::new() };
        let head = note.head().clone();
        let kept = self.theirs.entry(peer).or_default();
        if kept.origin != Some(head.origin) {
            *kept = Kept { origin: Some(head.origin), older_notes: kept.older_notes.clone(), ..Kept::default() };
        }
        for entry in &pushed.entries {
            if entry.index == kept.size() {
                kept.entries.push(entry.clone());
            }
        }
        kept.older_notes.push(std::mem::replace(&mut kept.note, pushed.note.clone()));
        let root = if kept.size() == head.size { kept.root(head.size) } else { head.root };
        let kept = kept.clone();
        let state = LogState { origin: Some(head.origin), size: head.size, note: pushed.note.clone() };
        let lines = self.receipt(head.origin, head.size, root);
        let cosigned = |size, lines| Message::Cosigned { origin: head.origin, size, lines, window: 1 << 20 };
        match rng.below(20) {
            0 => vec![],
            1 => vec![cosigned(head.size + 1, self.receipt(head.origin, head.size + 1, root))],
            2 => vec![cosigned(head.size, self.receipt(head.origin, head.size, Hash([2; 32])))],
            3 => vec![cosigned(head.size, vec!["— nobody AAAAAAA=".into(), "no line".into()])],
            4 => vec![cosigned(u64::MAX, lines)],
            5 => vec![cosigned(head.size.saturating_sub(1), lines)],
            6 => {
                let mut state = state;
                self.bend(&mut state, Some(&kept), peer, rng);
                vec![Message::Shows(state)]
            }
            7 => vec![Message::Shows(LogState { origin: None, size: 0, note: Bytes::new() })],
            8 => {
                let codes = [
                    FaultCode::Gap,
                    FaultCode::BadRoot,
                    FaultCode::CommitmentMismatch,
                    FaultCode::Contradiction,
                    FaultCode::Poison,
                    FaultCode::Size,
                ];
                let code = *rng.pick(&codes).expect("six");
                let ours = if rng.chance(500) { pushed.note.clone() } else { Bytes::new() };
                let proof = Contradiction { ours, ..Contradiction::default() };
                vec![Message::Fault { code, origin: Some(head.origin), index: rng.below(head.size + 2), proof }]
            }
            9 => vec![not_now(rng)],
            _ => vec![cosigned(head.size, lines)],
        }
    }
}

fn not_now(rng: &mut Rng) -> Message {
    let reasons = [
        NotNowReason::Disk,
        NotNowReason::Busy,
        NotNowReason::Frozen,
        NotNowReason::SecondInstance,
        NotNowReason::Behind,
        NotNowReason::Quota,
    ];
    let millis = if rng.chance(100) { u64::MAX } else { rng.below(20_000) };
    Message::NotNow { reason: *rng.pick(&reasons).expect("six"), retry_after: Duration::from_millis(millis) }
}

fn entry(rng: &mut Rng, index: u64, kind: Kind, body: Bytes) -> EntryFrame {
    let (mut id, mut salt) = ([0; 16], [0; 32]);
    rng.fill(&mut id);
    rng.fill(&mut salt);
    let header = Header {
        id: EntryId(id),
        kind: if rng.chance(30) && kind != Kind::Volume { rng.below(100) as u32 } else { kind.number() },
        time: Millis(1_772_366_400_000),
        case: None,
        in_reply_to: None,
        precedence: Precedence::Routine,
        tlp: Tlp::Green,
        pap: Pap::None,
        exercise: true,
        from_desk: None,
        to_desk: None,
        expires: None,
        seen_volume: rng.below(3) as u32,
        seen: rng.below(9),
        target: rng.chance(100).then(|| verbale::wire::Target { volume: 1, index: rng.below(5) }),
        code: 0,
    };
    let leaf = Leaf::new(commitment(&salt, &body), body.len(), &header.encode()).expect("small");
    EntryFrame { index, leaf, payload: Payload::Present { salt, body } }
}

/// A message that asks for more than its share.
fn greedy(rng: &mut Rng, index: u64, body: Bytes, precedence: Precedence, more: &[u8]) -> EntryFrame {
    let plain = entry(rng, index, Kind::Notification, body);
    let header = plain.leaf.header().expect("just written");
    let header = Header { precedence, kind: Kind::Notification.number(), ..header };
    let leaf = Leaf::new(plain.leaf.commitment(), plain.leaf.body_len(), &[&header.encode()[..], more].concat());
    EntryFrame { leaf: leaf.expect("small"), ..plain }
}

impl World {
    fn with_liar<T>(&mut self, who: usize, act: impl FnOnce(&mut Liar, &mut Rng) -> T) -> T {
        let mut liar = self.instances[who].liar.take().expect("a liar");
        let result = act(&mut liar, &mut self.rng);
        self.instances[who].liar = Some(liar);
        result
    }

    pub fn liar_connected(&mut self, link: usize, end: End) -> Verdict {
        let (who, peer) = (self.links[link].halves[end].instance, self.peer_of(link, end));
        if self.rng.chance(950) {
            let hello = self.with_liar(who, |liar, rng| liar.say_hello(peer, rng));
            self.send(link, end, Message::Hello(Box::new(hello)));
        }
        Ok(())
    }

    pub fn liar_receives(&mut self, link: usize, end: End, message: Message) -> Verdict {
        let (who, peer) = (self.links[link].halves[end].instance, self.peer_of(link, end));
        self.note(|| format!("liar #{who} hears from {peer}"));
        let said = match &message {
            Message::Hello(hello) => Some((hello.yours.origin, hello.yours.size)),
            Message::Shows(state) => Some((state.origin, state.size)),
            Message::Cosigned { origin, size, .. } => Some((Some(*origin), *size)),
            _ => None,
        };
        if let Some((Some(origin), size)) = said {
            self.with_liar(who, |liar, _| liar.held.insert(origin, size));
        }
        let answers = match message {
            Message::Push { pushed, .. } => self.with_liar(who, |liar, rng| liar.take(peer, &pushed, rng)),
            Message::Probe => {
                let boot =
                    self.with_liar(who, |liar, rng| if rng.chance(800) { liar.boot } else { BootNonce([8; 16]) });
                vec![Message::ProbeReply { boot }]
            }
            Message::Fetch { number, origin, from, to } => {
                let result = self.with_liar(who, |liar, rng| {
                    let kept = liar.theirs.get(&peer).filter(|kept| kept.origin == Some(origin) && rng.chance(800));
                    let kept = kept.ok_or(verbale::exchange::FetchFault::Ended)?;
                    let to = to.min(kept.size()).max(from.min(kept.size()));
                    let entries = kept.entries[from.min(to) as usize..to as usize].to_vec();
                    Ok(Pushed { entries, note: kept.note.clone() })
                });
                vec![Message::Fetched { number, result }]
            }
            _ => vec![],
        };
        for answer in answers {
            self.send(link, end, answer);
        }
        Ok(())
    }

    /// The liar does something of its own accord.
    pub fn lie(&mut self, who: usize) -> Verdict {
        let pause = if self.troubled { self.rng.between(20, 4_000) } else { self.rng.between(1_000, 60_000) };
        self.after(pause, Event::Lie { who });
        let open = |(link, end): &(usize, End)| {
            let half = &self.links[*link].halves[*end];
            half.instance == who && half.open && half.told
        };
        let ends: Vec<(usize, End)> =
            (0..self.links.len()).flat_map(|link| [(link, 0), (link, 1)]).filter(open).collect();
        let Some((link, end)) = self.rng.pick(&ends).copied().filter(|_| self.rng.chance(900)) else {
            let me = self.instances[who].name;
            let peers: Vec<NodeName> = self.names.iter().filter(|name| **name != me).copied().collect();
            let peer = *self.rng.pick(&peers).expect("at least one");
            self.dial(who, peer);
            return Ok(());
        };
        let peer = self.peer_of(link, end);
        let stream = self.links[link].halves[1 - end].reads;
        let message = match self.rng.below(10) {
            0 => Message::Hello(Box::new(self.with_liar(who, |liar, rng| liar.say_hello(peer, rng)))),
            1 => not_now(&mut self.rng),
            2 => {
                self.after(0, Event::Closed { link, end });
                return Ok(());
            }
            3 => {
                let origin = self.with_liar(who, |liar, _| liar.theirs.get(&peer).and_then(|kept| kept.origin));
                let Some(origin) = origin else { return Ok(()) };
                Message::Fetch { number: self.number(), origin, from: 0, to: u64::MAX }
            }
            _ => Message::Push { stream, pushed: self.with_liar(who, |liar, rng| liar.push(peer, rng)) },
        };
        self.note(|| format!("liar #{who} says to {peer}: {}", super::shell::brief(&message)));
        self.send(link, end, message);
        Ok(())
    }
}
