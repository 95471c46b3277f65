//! Two cores on a desk, without disk and network: what each decides is carried to the other by hand.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use verbale::exchange::*;
use verbale::merkle::{CompactRange, Growth, leaf_hash};
use verbale::name::*;
use verbale::note::{
    Checkpoint, Crypto, KeyAlgorithm, PublicKeys, Seeds, Signer, SigningKeys, Verifier, sign_log_line,
};
use verbale::wire::{Contradiction, EntryFrame, FaultCode, Hello, Leaf, LogState, Payload};

/// Keys, randomness and sealing of one node. Bodies are "sealed" in clear: what is tested here is the exchange.
pub struct Desk {
    keys: SigningKeys,
    counter: u64,
    slots: u64,
}

impl Desk {
    fn new(seed: u8) -> Self {
        let keys = SigningKeys::from_seeds(&Seeds::from_bytes(&[seed; 64])).expect("seeds make keys");
        Self { keys, counter: u64::from(seed) << 32, slots: 0 }
    }
}

impl Env for Desk {
    fn random(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            self.counter = self.counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.counter ^ (self.counter >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            chunk.copy_from_slice(&mixed.to_be_bytes()[..chunk.len()]);
        }
    }
    fn signer(&self) -> &dyn Signer {
        &self.keys
    }
    fn verifier(&self) -> &dyn Verifier {
        &Crypto
    }
    fn seal(&mut self, salt: &[u8; 32], body: &[u8]) -> Option<Sealed> {
        self.slots += 1;
        Some(Sealed { slot: self.slots, bytes: [&salt[..], body].concat().into() })
    }
}

/// One node: a core, its journal as a list of records, and what it did.
pub struct Node {
    pub name: NodeName,
    pub env: Desk,
    pub core: Core,
    pub journal: Vec<Record>,
    pub shown: Vec<Shown>,
    pub delivered: Vec<EntryId>,
    pub answers: Vec<(Token, Answer)>,
    pub notices: Vec<Notice>,
    pub settings: Settings,
    /// The newest HELLO that it sent, and the contradictions that it showed.
    pub hello: Option<Box<Hello>>,
    pub greeted: Vec<ConnId>,
    pub contradictions: Vec<Contradiction>,
    boots: u8,
}

impl Node {
    fn new(name: &str, seed: u8) -> Self {
        let name = name.parse().expect("a node name");
        let settings = Settings::default();
        let core = start(name, Fold::default(), &settings, seed, 0, None);
        Self {
            name,
            env: Desk::new(seed),
            core,
            journal: Vec::new(),
            shown: Vec::new(),
            delivered: Vec::new(),
            answers: Vec::new(),
            notices: Vec::new(),
            settings,
            hello: None,
            greeted: Vec::new(),
            contradictions: Vec::new(),
            boots: 0,
        }
    }

    /// A head of its own log under its own keys, whatever the root.
    pub fn sign(&self, origin: Origin, size: u64, root: Hash) -> Bytes {
        let head = verbale::note::Head { origin, size, root };
        let lines =
            KeyAlgorithm::ALL.iter().map(|algorithm| sign_log_line(&head, *algorithm, &self.env.keys)).collect();
        Checkpoint::new(head, lines).expect("two lines fit").to_bytes().into()
    }

    /// The node's public keys.
    pub fn keys(&self) -> PublicKeys {
        self.env.keys.public_keys().clone()
    }

    /// Starts again from the first `records` of its journal.
    pub fn restart(&mut self, records: usize, doubt: Option<Doubt>) {
        self.journal.truncate(records);
        let mut fold = Fold::default();
        for (number, record) in self.journal.iter().enumerate() {
            fold.apply(number as u64, record);
        }
        self.boots += 1;
        self.core = start(self.name, fold, &self.settings, self.env.keys.public_keys().ed25519[0], self.boots, doubt);
    }

    /// Starts again with other keys, as after a new `init`; on `records` of its journal.
    pub fn rekey(&mut self, seed: u8, records: usize) {
        self.env.keys = Desk::new(seed).keys;
        self.restart(records, None);
    }

    /// The ids of its peers' entries that people made, in the order in which they were shown, repeats left out.
    pub fn inbox(&self) -> Vec<EntryId> {
        let human = self.shown.iter().filter(|shown| !shown.repeat && shown.refused.is_none());
        human.filter_map(|shown| shown.header.as_ref()).filter(|h| !h.is_machine()).map(|h| h.id).collect()
    }

    fn entries(&self, origin: Origin, from: u64, to: u64) -> Vec<EntryFrame> {
        (from..to).map(|index| self.entry(origin, index)).collect()
    }

    fn entry(&self, origin: Origin, index: u64) -> EntryFrame {
        let is = |place: &Place| place.volume == origin.volume && place.index == index;
        let other = if origin.from == self.name { origin.to } else { origin.from };
        let found = self.journal.iter().rev().find_map(|record| match &record.act {
            Act::VolumeOpened { place, leaf, salt, body } if is(place) && place.peer == other => {
                Some((leaf.clone(), Payload::Present { salt: *salt, body: body.clone() }))
            }
            Act::Appended { place, leaf, queued } if is(place) && place.peer == other => {
                Some((leaf.clone(), self.payload(*queued)))
            }
            Act::Stored { place, leaf, payload, .. } | Act::Fetched { place, leaf, payload }
                if is(place) && place.peer == other =>
            {
                Some((leaf.clone(), open(payload)))
            }
            _ => None,
        });
        let (leaf, payload) = found.expect("the entry is in the journal");
        EntryFrame { index, leaf, payload }
    }

    /// Every head that was ever recorded over entries of an own log.
    fn heads(&self, origin: Origin, from: u64, to: u64) -> Vec<StoredHead> {
        let head = |record: &Record| match &record.act {
            Act::Signed { place, root, lines } | Act::FetchedHead { place, root, lines } => {
                let here = place.volume == origin.volume && place.index > from && place.index <= to;
                here.then(|| StoredHead { size: place.index, root: *root, lines: lines.clone() })
            }
            _ => None,
        };
        self.journal.iter().filter_map(head).collect()
    }

    fn payload(&self, record: u64) -> Payload {
        match &self.journal[record as usize].act {
            Act::Queued { payload, .. } | Act::Fetched { payload, .. } => open(payload),
            Act::VolumeOpened { salt, body, .. } => Payload::Present { salt: *salt, body: body.clone() },
            other => panic!("no payload in {other:?}"),
        }
    }

    fn leaf(&self, origin: Origin, index: u64) -> Leaf {
        self.entry(origin, index).leaf
    }
}

fn start(name: NodeName, fold: Fold, settings: &Settings, seed: u8, boots: u8, doubt: Option<Doubt>) -> Core {
    let boot = BootNonce([seed ^ boots.wrapping_mul(31); 16]);
    Core::new(name, fold, settings.clone(), boot, JournalId([seed; 16]), doubt, "0", Millis(1))
}

fn open(payload: &Stowed) -> Payload {
    match payload {
        Stowed::Clear { salt, body } => Payload::Present { salt: *salt, body: body.clone() },
        Stowed::Sealed { bytes, .. } => {
            Payload::Present { salt: bytes[..32].try_into().expect("a salt"), body: bytes.slice(32..) }
        }
        Stowed::Absent(reason) => Payload::Absent(*reason),
    }
}

/// Two nodes, one clock, and the connections between them.
pub struct Pair {
    pub a: Node,
    pub b: Node,
    pub now: Millis,
    next_conn: u64,
    /// Connections: the same number at both ends.
    open: Vec<u64>,
    /// Inputs on their way: `true` for A.
    wire: VecDeque<(bool, Input)>,
    /// Whether a dial comes through.
    pub plugged: bool,
    /// Whether B takes A's certificate for expired, and A not.
    pub restricted_at_b: bool,
}

impl Pair {
    /// Two nodes that have accepted each other.
    pub fn new() -> Self {
        let mut pair = Self {
            a: Node::new("XA", 1),
            b: Node::new("XB", 2),
            now: Millis(1_772_366_400_000),
            next_conn: 1,
            open: Vec::new(),
            wire: VecDeque::new(),
            plugged: true,
            restricted_at_b: false,
        };
        let (a, b) = ((pair.a.name, pair.a.keys()), (pair.b.name, pair.b.keys()));
        pair.command(true, add(b.0, b.1));
        pair.command(false, add(a.0, a.1));
        pair
    }

    pub fn node(&mut self, is_a: bool) -> &mut Node {
        if is_a { &mut self.a } else { &mut self.b }
    }

    pub fn command(&mut self, is_a: bool, command: Command) {
        self.wire.push_back((is_a, Input::Command(command, None)));
    }

    /// Lets something happen to a node.
    #[allow(dead_code, reason = "it serves other tests too")]
    pub fn feed(&mut self, is_a: bool, input: Input) {
        self.wire.push_back((is_a, input));
    }

    /// Queues a message of `text` and returns its id.
    pub fn send(&mut self, is_a: bool, text: &str, precedence: Precedence) -> EntryId {
        let mut id = [0; 16];
        self.node(is_a).env.random(&mut id);
        let id = EntryId(id);
        let peer = if is_a { self.b.name } else { self.a.name };
        let item = Box::new(item(id, text, precedence));
        let token = Some(Token(u64::from_be_bytes(id.0[..8].try_into().expect("eight bytes"))));
        let command = Command::Send { peer, item, officer: 1, wait: Wait::Receipt };
        self.wire.push_back((is_a, Input::Command(command, token)));
        id
    }

    pub fn unplug(&mut self) {
        self.plugged = false;
        for conn in std::mem::take(&mut self.open) {
            self.wire.retain(|(_, input)| conn_of(input) != Some(conn));
            for is_a in [true, false] {
                self.wire.push_back((is_a, Input::Closed { conn: ConnId(conn) }));
            }
        }
    }

    /// Lets B hear a HELLO of A's that shows another head of A's log than A has; the connection ends at once.
    pub fn show_forged(&mut self, size: u64, root: Hash) -> Bytes {
        let (origin, _) = self.own_log();
        let note = self.a.sign(origin, size, root);
        let mut hello = self.a.hello.clone().expect("A has said HELLO");
        hello.mine = LogState { origin: Some(origin), size, note: note.clone() };
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        self.open.push(conn.0);
        let (peer, dialler) = (self.a.name, Dialler::Them);
        self.wire.push_back((false, Input::Connected { conn, peer, dialler, restricted: false }));
        self.wire.push_back((false, Input::Hello { conn, hello }));
        self.run(1);
        self.open.retain(|open| *open != conn.0);
        self.wire.push_back((false, Input::Closed { conn }));
        note
    }

    /// Another instance of A dials B while the first is connected, and says HELLO.
    pub fn second_instance_dials(&mut self) -> ConnId {
        let mut hello = self.a.hello.clone().expect("A has said HELLO");
        hello.boot = BootNonce([0xc0; 16]);
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        let (peer, dialler) = (self.a.name, Dialler::Them);
        self.wire.push_back((false, Input::Connected { conn, peer, dialler, restricted: false }));
        self.wire.push_back((false, Input::Hello { conn, hello }));
        conn
    }

    /// A's log: its origin and size.
    pub fn own_log(&self) -> (Origin, u64) {
        let (volume, own) = self.a.core.fold().peers[&self.b.name].own.volume().expect("a volume");
        (Origin { from: self.a.name, to: self.b.name, volume }, own.size())
    }

    /// The root of A's log at a size.
    pub fn root_of_own(&self, size: u64) -> Hash {
        let (origin, _) = self.own_log();
        let mut range = CompactRange::default();
        (0..size).for_each(|index| range.push(leaf_hash(self.a.leaf(origin, index).bytes())));
        range.root()
    }

    pub fn plug(&mut self) {
        self.plugged = true;
    }

    /// Delivers one input, or lets the time pass to the next timer.
    pub fn step(&mut self) {
        self.drain(true);
        self.drain(false);
        if let Some((is_a, input)) = self.wire.pop_front() {
            let now = self.now;
            let node = self.node(is_a);
            node.core.handle(now, &mut node.env, input);
            return;
        }
        let next = [self.a.core.poll_timeout(), self.b.core.poll_timeout()].into_iter().flatten().min();
        self.now = next.map_or(self.now, |at| self.now.max(at));
        let now = self.now;
        for is_a in [true, false] {
            let node = self.node(is_a);
            node.core.handle_timeout(now, &mut node.env);
        }
    }

    /// Delivers and performs everything until nothing happens any more for `seconds`.
    pub fn run(&mut self, seconds: u64) {
        let end = self.now.after(Duration::from_secs(seconds));
        for _ in 0..100_000 {
            self.drain(true);
            self.drain(false);
            if let Some((is_a, input)) = self.wire.pop_front() {
                let now = self.now;
                let node = self.node(is_a);
                if std::env::var_os("VERBALE_TRACE").is_some() {
                    println!("{} {} <- {input:.200?}", now, node.name);
                }
                node.core.handle(now, &mut node.env, input);
                continue;
            }
            let next = [self.a.core.poll_timeout(), self.b.core.poll_timeout()].into_iter().flatten().min();
            match next.filter(|at| *at <= end) {
                None => {
                    self.now = end;
                    return;
                }
                Some(at) => self.now = self.now.max(at),
            }
            let now = self.now;
            for is_a in [true, false] {
                let node = self.node(is_a);
                node.core.handle_timeout(now, &mut node.env);
            }
        }
        panic!("the two nodes do not come to rest");
    }

    fn drain(&mut self, is_a: bool) {
        loop {
            let now = self.now;
            let node = self.node(is_a);
            let Some(action) = node.core.poll_action(now, &mut node.env) else { return };
            self.perform(is_a, action);
        }
    }

    fn perform(&mut self, is_a: bool, action: Action) {
        match action {
            Action::Write(group) => {
                let node = self.node(is_a);
                assert_eq!(group.first, node.journal.len() as u64, "records are numbered without gaps");
                let read_back = |record: Record| Record::decode(&record.encode());
                node.journal.extend(group.records.into_iter().map(read_back));
                self.wire.push_back((is_a, Input::Durable { group: group.number }));
            }
            Action::Release(effect) => self.effect(is_a, effect.into_inner()),
            Action::Dial { peer } => self.dial(is_a, peer),
            Action::Close { conn, .. } => {
                self.open.retain(|open| *open != conn.0);
                self.wire.retain(|(_, input)| conn_of(input) != Some(conn.0));
                self.wire.push_back((!is_a, Input::Closed { conn }));
            }
            Action::Probe { conn } => {
                let alive = self.open.contains(&conn.0);
                let boot = if is_a { self.b.core.fold().boot } else { self.a.core.fold().boot };
                self.wire.push_back((is_a, Input::Probed { conn, boot: boot.filter(|_| alive) }));
            }
            Action::NotNow { conn, reason, retry_after } => {
                self.carry(!is_a, conn, Input::NotNow { conn, reason, retry_after });
            }
            Action::Fetch { conn, origin, from, to } => {
                let holder = self.node(!is_a);
                let state = holder.core.fold().peers[&origin.from].theirs.volumes[&origin.volume].clone();
                let head = state.head.expect("the holder has a head");
                let note = note_of(origin, &head);
                let entries = holder.entries(origin, from, to);
                let result = Ok(Pushed { entries, note });
                self.carry(is_a, conn, Input::Fetched { conn, origin, from, result });
            }
            Action::RangeAt { origin, size } => {
                let node = self.node(is_a);
                let mut range = CompactRange::default();
                (0..size).for_each(|index| range.push(leaf_hash(node.leaf(origin, index).bytes())));
                self.wire.push_back((is_a, Input::Range { origin, size, range: Some(range) }));
            }
            Action::PrefixOf { origin, size, upto } => {
                let node = self.node(is_a);
                let mut range = CompactRange::default();
                (0..size).for_each(|index| range.push(leaf_hash(node.leaf(origin, index).bytes())));
                let mut growth = Growth::of(range);
                (size..upto).for_each(|index| growth.push(leaf_hash(node.leaf(origin, index).bytes())));
                self.wire.push_back((is_a, Input::Prefix { origin, size, upto, growth: Some(growth) }));
            }
            Action::Load { origin, from, to, bytes_max } => {
                let node = self.node(is_a);
                let mut entries = node.entries(origin, from, to);
                let mut bytes = 0;
                let beyond = entries.iter().position(|entry| {
                    bytes += (entry.leaf.bytes().len() + entry.leaf.body_len()) as u64;
                    bytes > bytes_max
                });
                entries.truncate(beyond.unwrap_or(entries.len()).max(1));
                let heads = node.heads(origin, from, from + entries.len() as u64);
                self.wire.push_back((is_a, Input::Loaded { origin, from, entries, heads }));
            }
            Action::CheckBody { origin, index } => {
                let entry = self.node(is_a).entry(origin, index);
                let kept =
                    matches!(&entry.payload, Payload::Present { salt, body } if entry.leaf.is_opened_by(salt, body));
                let input = if kept { Input::BodyKept { origin, index } } else { Input::BodyLost { origin, index } };
                self.wire.push_back((is_a, input));
            }
            Action::Reread { records } => {
                for number in records {
                    let record = Box::new(self.node(is_a).journal[number as usize].clone());
                    self.wire.push_back((is_a, Input::Reread { record }));
                }
            }
            Action::Notice(notice) => self.node(is_a).notices.push(notice),
        }
    }

    fn dial(&mut self, is_a: bool, peer: NodeName) {
        if !self.plugged {
            self.wire.push_back((is_a, Input::DialFailed { peer }));
            return;
        }
        let conn = self.next_conn;
        self.next_conn += 1;
        self.open.push(conn);
        for end in [true, false] {
            let peer = if end { self.b.name } else { self.a.name };
            let dialler = if end == is_a { Dialler::Us } else { Dialler::Them };
            let restricted = self.restricted_at_b && !end;
            self.wire.push_back((end, Input::Connected { conn: ConnId(conn), peer, dialler, restricted }));
        }
    }

    fn carry(&mut self, is_a: bool, conn: ConnId, input: Input) {
        if self.open.contains(&conn.0) {
            self.wire.push_back((is_a, input));
        }
    }

    fn effect(&mut self, is_a: bool, effect: Effect) {
        match effect {
            Effect::Restricted { conn } => {
                let (reason, retry_after) = (verbale::wire::NotNowReason::Restricted, Duration::from_secs(300));
                self.carry(!is_a, conn, Input::NotNow { conn, reason, retry_after });
            }
            Effect::Hello { conn, hello } => {
                self.node(is_a).hello = Some(hello.clone());
                self.node(is_a).greeted.push(conn);
                self.carry(!is_a, conn, Input::Hello { conn, hello });
            }
            Effect::Push { conn, origin, entries, note } => {
                let node = self.node(is_a);
                let resolve = |entry: EntryRef| EntryFrame {
                    index: entry.index,
                    leaf: entry.leaf.unwrap_or_else(|| node.leaf(origin, entry.index)),
                    payload: entry.payload.unwrap_or_else(|| node.payload(entry.record.expect("a record"))),
                };
                let entries = entries.into_iter().map(resolve).collect();
                self.carry(!is_a, conn, Input::Pushed { conn, pushed: Pushed { entries, note } });
            }
            Effect::Cosigned { conn, origin, size, lines, window } => {
                self.carry(!is_a, conn, Input::Cosigned { conn, origin, size, lines, window });
            }
            Effect::Shows { conn, state } => self.carry(!is_a, conn, Input::Shows { conn, state }),
            Effect::Fault { conn, code, origin, index, proof } => {
                if code == FaultCode::Contradiction {
                    self.node(is_a).contradictions.push(proof.clone());
                }
                self.carry(!is_a, conn, Input::Fault { conn, code, origin, index, proof });
            }
            Effect::Show(shown) => self.node(is_a).shown.extend(shown),
            Effect::Delivered { entries, .. } => {
                self.node(is_a).delivered.extend(entries.into_iter().map(|(id, _)| id));
            }
            Effect::Answer { token, answer } => self.node(is_a).answers.push((token, answer)),
        }
    }
}

fn note_of(origin: Origin, head: &PeerHead) -> Bytes {
    let mut text = verbale::note::Head { origin, size: head.size, root: head.root }.text();
    for line in [&[String::new()][..], &head.author_lines, &head.lines].concat() {
        text.push_str(&line);
        text.push('\n');
    }
    text.into()
}

fn conn_of(input: &Input) -> Option<u64> {
    match input {
        Input::Hello { conn, .. }
        | Input::Pushed { conn, .. }
        | Input::Cosigned { conn, .. }
        | Input::Shows { conn, .. }
        | Input::Fault { conn, .. }
        | Input::NotNow { conn, .. }
        | Input::Fetched { conn, .. } => Some(conn.0),
        _ => None,
    }
}

/// Accepts a peer with these keys.
pub fn add(peer: NodeName, keys: PublicKeys) -> Command {
    Command::AddPeer {
        peer,
        introduction: Bytes::new(),
        fingerprint: String::new(),
        keys: vec![keys],
        ceremony: Bytes::from_static(b"{}"),
        officer: 1,
    }
}

pub fn item(id: EntryId, text: &str, precedence: Precedence) -> NewItem {
    let text = verbale::wire::Text { language: "en".into(), subject: text.into(), text: text.into() };
    let body = verbale::wire::Body { texts: vec![text], ..Default::default() };
    NewItem {
        id,
        kind: Kind::Notification,
        case: None,
        in_reply_to: None,
        precedence,
        tlp: Tlp::Green,
        pap: Pap::None,
        exercise: true,
        from_desk: Some(verbale::name::Desk::Technical),
        to_desk: Some(verbale::name::Desk::Technical),
        expires: None,
        target: None,
        code: 0,
        body: body.encode().expect("a small body"),
        enclosures: 0,
    }
}
