//! One real core, XA, and a peer XB that has valid keys and says what the test wants.

use bytes::Bytes;
use verbale::exchange::*;
use verbale::merkle::{CompactRange, Growth, leaf_hash};
use verbale::name::*;
use verbale::note::{
    Checkpoint, Crypto, Head, KeyAlgorithm, PublicKeys, Seeds, Signer, SigningKeys, Verifier, sign_log_line,
    sign_receipt_line,
};
use verbale::wire::*;

/// Noon of a day.
pub const NOON: Millis = Millis(1_772_366_400_000);

pub struct Desk {
    keys: SigningKeys,
    counter: u64,
    slots: u64,
    /// No slot is ready: the disk is full.
    pub full: bool,
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
        (!self.full).then(|| Sealed { slot: self.slots, bytes: [&salt[..], body].concat().into() })
    }
}

/// What XA said to XB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Cosigned(u64),
    Shows(u64),
    Fault(FaultCode, u64),
    NotNow(NotNowReason, u64),
    /// A push of XA's own log: kinds and codes of its entries, and the note.
    Push(Vec<(u32, u32)>, Bytes),
    /// XA looks through its journal up to this size, or from this index on.
    Range(u64),
    Load(u64),
    Close(CloseCode),
}

/// The log of XB towards XA.
pub struct Log {
    pub origin: Origin,
    pub entries: Vec<EntryFrame>,
    range: CompactRange,
    before: Option<HeadRef>,
}

pub struct Rig {
    pub now: Millis,
    pub core: Core,
    pub env: Desk,
    pub journal: Vec<Record>,
    pub settings: Settings,
    pub said: Vec<Said>,
    /// What XA told its operator that it says to XB, on change.
    pub told: Vec<NotNowReason>,
    /// The disk: `false`, while groups wait.
    pub disk: bool,
    waiting: Option<u64>,
    conn: u64,
    keys: SigningKeys,
    ids: u64,
    pub log: Log,
}

pub fn xa() -> NodeName {
    "XA".parse().unwrap()
}

pub fn xb() -> NodeName {
    "XB".parse().unwrap()
}

fn keys(seed: u8) -> SigningKeys {
    SigningKeys::from_seeds(&Seeds::from_bytes(&[seed; 64])).unwrap()
}

impl Log {
    fn new(number: u32, before: Option<HeadRef>) -> Self {
        let volume = Volume { number, random: [number as u8; 8] };
        let origin = Origin { from: xb(), to: xa(), volume };
        Self { origin, entries: Vec::new(), range: CompactRange::default(), before }
    }

    pub fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    pub fn root(&self) -> Hash {
        self.range.root()
    }

    pub fn head_ref(&self) -> HeadRef {
        HeadRef { origin: self.origin, size: self.size(), root: self.root() }
    }
}

impl Rig {
    pub fn new(settings: Settings) -> Self {
        let env = Desk { keys: keys(1), counter: 7, slots: 0, full: false };
        let boot = BootNonce([1; 16]);
        let fold = Fold::default();
        let core = Core::new(xa(), fold, settings.clone(), boot, JournalId([1; 16]), None, "0", NOON);
        let mut rig = Self {
            now: NOON,
            core,
            env,
            journal: Vec::new(),
            settings,
            said: Vec::new(),
            told: Vec::new(),
            disk: true,
            waiting: None,
            conn: 0,
            keys: keys(2),
            ids: 0,
            log: Log::new(1, None),
        };
        let add = Command::AddPeer {
            peer: xb(),
            introduction: Bytes::new(),
            fingerprint: String::new(),
            keys: vec![rig.public()],
            ceremony: Bytes::from_static(b"{}"),
            officer: 1,
        };
        rig.feed(Input::Command(add, None));
        rig.connect(LogState::default(), LogState::default());
        rig.open_volume(Vec::new());
        rig
    }

    pub fn public(&self) -> PublicKeys {
        self.keys.public_keys().clone()
    }

    pub fn conn(&self) -> ConnId {
        ConnId(self.conn)
    }

    pub fn peer(&self) -> &Peer {
        &self.core.fold().peers[&xb()]
    }

    /// A new connection on which XB shows these states.
    pub fn connect(&mut self, mine: LogState, yours: LogState) {
        if self.conn > 0 {
            let conn = self.conn();
            self.feed(Input::Closed { conn });
        }
        self.conn += 1;
        let conn = self.conn();
        self.feed(Input::Connected { conn, peer: xb(), dialler: Dialler::Them, restricted: false });
        let hello = Hello {
            version_min: 1,
            version_max: 1,
            boot: BootNonce([2; 16]),
            last_boot: None,
            last_heard: None,
            clock: self.now,
            window: 8 << 20,
            enclosure_max: 64 << 20,
            enclosures_total_max: 256 << 20,
            kinds: vec![1],
            crl_number: 0,
            certificate_digests: Vec::new(),
            mine,
            yours,
        };
        self.feed(Input::Hello { conn, hello: Box::new(hello) });
    }

    pub fn feed(&mut self, input: Input) {
        let now = self.now;
        self.core.handle(now, &mut self.env, input);
        self.drain();
    }

    pub fn later(&mut self, seconds: u64) {
        self.now = self.now.after(std::time::Duration::from_secs(seconds));
        let now = self.now;
        self.core.handle_timeout(now, &mut self.env);
        self.drain();
    }

    pub fn drain(&mut self) {
        while let Some(action) = self.core.poll_action(self.now, &mut self.env) {
            match action {
                Action::Write(group) => {
                    self.journal.extend(group.records.iter().map(|record| Record::decode(&record.encode())));
                    self.waiting = Some(group.number);
                    self.sync();
                }
                Action::Release(effect) => self.effect(effect.into_inner()),
                Action::NotNow { reason, retry_after, .. } => {
                    self.said.push(Said::NotNow(reason, retry_after.as_secs()));
                }
                Action::RangeAt { origin, size } => {
                    self.said.push(Said::Range(size));
                    let mut range = CompactRange::default();
                    self.own_entries(origin, 0, size)
                        .iter()
                        .for_each(|entry| range.push(leaf_hash(entry.leaf.bytes())));
                    let now = self.now;
                    self.core.handle(now, &mut self.env, Input::Range { origin, size, range: Some(range) });
                }
                Action::PrefixOf { origin, size, upto } => {
                    self.said.push(Said::Range(upto));
                    let mut range = CompactRange::default();
                    let hash = |entry: &EntryFrame| leaf_hash(entry.leaf.bytes());
                    self.own_entries(origin, 0, size).iter().for_each(|entry| range.push(hash(entry)));
                    let mut growth = Growth::of(range);
                    self.own_entries(origin, size, upto).iter().for_each(|entry| growth.push(hash(entry)));
                    let now = self.now;
                    let input = Input::Prefix { origin, size, upto, growth: Some(growth) };
                    self.core.handle(now, &mut self.env, input);
                }
                Action::Load { origin, from, to, .. } => {
                    self.said.push(Said::Load(from));
                    let (now, entries) = (self.now, self.own_entries(origin, from, to));
                    self.core.handle(now, &mut self.env, Input::Loaded { origin, from, entries, heads: Vec::new() });
                }
                // The disk has lost every body that it is asked for.
                Action::CheckBody { origin, index } => {
                    let now = self.now;
                    self.core.handle(now, &mut self.env, Input::BodyLost { origin, index });
                }
                Action::Notice(Notice::SaidNotNow { reason, .. }) => self.told.push(reason),
                Action::Close { code, .. } => self.said.push(Said::Close(code)),
                _ => {}
            }
        }
    }

    /// Entries of XA's own log, from its journal.
    fn own_entries(&self, origin: Origin, from: u64, to: u64) -> Vec<EntryFrame> {
        let payload = |record: u64| match &self.journal[record as usize].act {
            Act::Queued { payload: Stowed::Sealed { bytes, .. }, .. } => {
                Payload::Present { salt: bytes[..32].try_into().unwrap(), body: bytes.slice(32..) }
            }
            Act::Queued { payload: Stowed::Clear { salt, body }, .. } => {
                Payload::Present { salt: *salt, body: body.clone() }
            }
            other => panic!("no payload in {other:?}"),
        };
        let entry = |record: &Record| match &record.act {
            Act::VolumeOpened { place, leaf, salt, body } if place.volume == origin.volume => {
                let payload = Payload::Present { salt: *salt, body: body.clone() };
                Some(EntryFrame { index: 0, leaf: leaf.clone(), payload })
            }
            Act::Appended { place, leaf, queued } if place.volume == origin.volume => {
                Some(EntryFrame { index: place.index, leaf: leaf.clone(), payload: payload(*queued) })
            }
            _ => None,
        };
        let all = self.journal.iter().filter_map(entry);
        all.filter(|entry| (from..to).contains(&entry.index)).collect()
    }

    /// The disk has taken what waits, if it takes anything.
    pub fn sync(&mut self) {
        if let Some(group) = self.waiting.take_if(|_| self.disk) {
            let now = self.now;
            self.core.handle(now, &mut self.env, Input::Durable { group });
        }
    }

    fn effect(&mut self, effect: Effect) {
        self.said.push(match effect {
            Effect::Cosigned { size, .. } => Said::Cosigned(size),
            Effect::Shows { state, .. } => Said::Shows(state.size),
            Effect::Fault { code, index, .. } => Said::Fault(code, index),
            Effect::Push { entries, note, .. } => {
                let header = |entry: &EntryRef| entry.leaf.as_ref().and_then(|leaf| leaf.header().ok());
                let kinds = entries.iter().filter_map(header).map(|header| (header.kind, header.code));
                Said::Push(kinds.collect(), note)
            }
            _ => return,
        });
    }

    /// What was said since the last look.
    pub fn heard(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }

    /// What came back on the push stream or as NOT_NOW since the last look; pushes of XA left out.
    pub fn answers(&mut self) -> Vec<Said> {
        self.heard().into_iter().filter(|said| !matches!(said, Said::Push(..))).collect()
    }

    pub fn header(&mut self, kind: Kind) -> Header {
        self.ids += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.ids.to_be_bytes());
        let desk = (!kind.is_machine()).then_some(Desk_::Technical);
        Header {
            id: EntryId(id),
            kind: kind.number(),
            time: self.now,
            case: None,
            in_reply_to: None,
            precedence: Precedence::Routine,
            tlp: Tlp::Green,
            pap: Pap::None,
            exercise: true,
            from_desk: desk,
            to_desk: desk,
            expires: None,
            seen_volume: 0,
            seen: 0,
            target: None,
            code: 0,
        }
    }

    /// Adds an entry to XB's log.
    pub fn write(&mut self, header: &[u8], body: Bytes) -> EntryFrame {
        let salt = [3; 32];
        let leaf = Leaf::new(commitment(&salt, &body), body.len(), header).unwrap();
        self.log.range.push(leaf_hash(leaf.bytes()));
        let entry = EntryFrame { index: self.log.size(), leaf, payload: Payload::Present { salt, body } };
        self.log.entries.push(entry.clone());
        entry
    }

    /// A message of so many bytes of text.
    pub fn message(&mut self, precedence: Precedence, bytes: usize) -> EntryFrame {
        let header = Header { precedence, ..self.header(Kind::Notification) };
        self.write(&header.encode(), text(bytes, &[]))
    }

    pub fn note(&self) -> Bytes {
        self.note_of(self.log.origin, self.log.size(), self.log.root())
    }

    pub fn note_of(&self, origin: Origin, size: u64, root: Hash) -> Bytes {
        let head = Head { origin, size, root };
        let lines = KeyAlgorithm::ALL.iter().map(|algorithm| sign_log_line(&head, *algorithm, &self.keys)).collect();
        Checkpoint::new(head, lines).unwrap().to_bytes().into()
    }

    /// Pushes these entries under the head over the whole log.
    pub fn push(&mut self, entries: Vec<EntryFrame>) -> Vec<Said> {
        let (conn, note) = (self.conn(), self.note());
        self.said.clear();
        self.feed(Input::Pushed { conn, pushed: Pushed { entries, note } });
        self.answers()
    }

    /// Takes back what was written and not taken.
    pub fn forget(&mut self, size: u64) {
        let kept: Vec<_> = self.log.entries.drain(..).take(size as usize).collect();
        self.log.range = CompactRange::default();
        kept.iter().for_each(|entry| self.log.range.push(leaf_hash(entry.leaf.bytes())));
        self.log.entries = kept;
    }

    /// Begins the next volume without telling anybody.
    pub fn next_volume(&mut self) {
        let before = (self.log.size() > 0).then(|| self.log.head_ref());
        let number = if before.is_some() { self.log.origin.volume.number + 1 } else { 1 };
        self.log = Log::new(number, before);
    }

    pub fn volume_entry(&mut self, unavailable: Vec<Span>) -> EntryFrame {
        let public = self.public();
        let key = |algorithm: KeyAlgorithm, number| SigningKey {
            algorithm: number,
            public_key: Bytes::copy_from_slice(public.get(algorithm)),
            certificate: Bytes::new(),
        };
        let first = self.log.before.is_none();
        let body = VolumeBody {
            keys: vec![key(KeyAlgorithm::Ed25519, 1), key(KeyAlgorithm::MlDsa44, 6)],
            before: self.log.before,
            reason: if first { VolumeReason::First } else { VolumeReason::Restored },
            journal: JournalId([2; 16]),
            unavailable,
            fetched_from: Vec::new(),
        };
        let header = self.header(Kind::Volume);
        self.write(&header.encode(), body.encode())
    }

    /// Opens a volume and pushes its entry 0.
    pub fn open_volume(&mut self, unavailable: Vec<Span>) -> Vec<Said> {
        self.next_volume();
        let entry = self.volume_entry(unavailable);
        self.push(vec![entry])
    }

    /// XB gives a receipt for a head that XA has pushed.
    pub fn receipt(&mut self, note: &Bytes) {
        let head = Checkpoint::<Origin>::parse(note).unwrap().head().clone();
        let line = |algorithm: &KeyAlgorithm| {
            sign_receipt_line(&head, xb(), *algorithm, self.now.seconds(), &self.keys).to_string()
        };
        let lines = KeyAlgorithm::ALL.iter().map(line).collect();
        let conn = self.conn();
        self.feed(Input::Cosigned { conn, origin: head.origin, size: head.size, lines, window: 8 << 20 });
    }

    /// XA's own log at a head, as a holder shows it.
    pub fn shown(&self, note: &Bytes) -> LogState {
        let head = Checkpoint::<Origin>::parse(note).unwrap().head().clone();
        LogState { origin: Some(head.origin), size: head.size, note: note.clone() }
    }

    /// XA sends a message.
    pub fn send(&mut self, precedence: Precedence, bytes: usize) -> EntryId {
        let header = self.header(Kind::Notification);
        let id = EntryId({
            let mut id = header.id.0;
            id[15] = 0xa;
            id
        });
        let item = NewItem {
            id,
            kind: Kind::Notification,
            case: None,
            in_reply_to: None,
            precedence,
            tlp: Tlp::Green,
            pap: Pap::None,
            exercise: true,
            from_desk: header.from_desk,
            to_desk: header.to_desk,
            expires: None,
            target: None,
            code: 0,
            body: text(bytes, &[]),
            enclosures: 0,
        };
        let command = Command::Send { peer: xb(), item: Box::new(item), officer: 1, wait: Wait::Queued };
        self.feed(Input::Command(command, None));
        id
    }

    /// The REFUSED entries that wait for XB or are on their way: codes, in order.
    pub fn refused(&self) -> Vec<u32> {
        let own = &self.peer().own;
        let open = own.unreceipted.iter().filter_map(|(_, item)| item.as_ref());
        let refused = |item: &&Item| item.header.kind == Kind::Refused.number();
        let mut items: Vec<&Item> = own.queue.values().chain(open).filter(refused).collect();
        items.sort_by_key(|item| item.queued);
        items.into_iter().map(|item| item.header.code).collect()
    }

    /// Restarting on what the journal says gives the live state.
    pub fn survives_a_restart(&self) {
        let mut fold = Fold::default();
        for (number, record) in self.journal.iter().enumerate() {
            fold.apply(number as u64, record);
        }
        assert_eq!(fold.peers, self.core.fold().peers, "I11");
    }
}

use verbale::name::Desk as Desk_;

/// A body with files of these sizes.
pub fn text(bytes: usize, files: &[u64]) -> Bytes {
    let text = Text { language: "en".into(), subject: "exercise".into(), text: "x".repeat(bytes) };
    let file =
        |size: &u64| Enclosure { name: "f".into(), media_type: String::new(), size: *size, sha256: Hash::default() };
    let body = Body { texts: vec![text], enclosures: files.iter().map(file).collect(), ..Body::default() };
    body.encode().unwrap()
}
