//! Makes the journals of two exercise States that write to each other, record by record, with real keys and trees.
//!
//! Bodies are "sealed" by turning every bit: what is tested here is who asks for them to be opened, and when.

#![allow(dead_code, reason = "each test file uses a part of the rig")]

use std::path::Path;

use bytes::Bytes;
use verbale::audit::{FileFound, FileName, Opener, Unsealed};
use verbale::exchange::{Act, Place, Record, Stowed};
use verbale::journal::{Journal, Options};
use verbale::merkle::{CompactRange, leaf_hash};
use verbale::name::{
    BootNonce, CaseId, Desk, EntryId, Hash, JournalId, Kind, Millis, NodeName, Origin, Pap, Precedence, Tlp, Volume,
};
use verbale::note::{Head, KeyAlgorithm, PublicKeys, Seeds, Signer, SigningKeys, sign_log_line, sign_receipt_line};
use verbale::wire::{
    Absent, Body, Enclosure, HeadRef, Header, Leaf, SigningKey, Text, VolumeBody, VolumeReason, commitment,
};

/// The first moment of every journal made here.
pub const START: u64 = 1_772_366_400_000;

/// One of the two nodes.
pub struct Side {
    pub me: NodeName,
    pub keys: SigningKeys,
    pub records: Vec<Record>,
    clock: u64,
    slots: u64,
}

/// The open volume of one direction.
#[derive(Clone)]
pub struct Written {
    pub volume: Volume,
    pub range: CompactRange,
    pub leaves: Vec<Hash>,
}

/// Two nodes and the two logs between them; `logs[0]` is written by `sides[0]`.
pub struct Pair {
    pub sides: [Side; 2],
    pub logs: [Written; 2],
    ids: u64,
}

/// What a message has beside its text.
#[derive(Clone)]
pub struct Draft {
    pub kind: Kind,
    pub text: String,
    pub case: Option<CaseId>,
    pub in_reply_to: Option<EntryId>,
    pub files: Vec<Vec<u8>>,
}

impl Draft {
    pub fn of(kind: Kind) -> Self {
        Self { kind, text: "Ports 4444 are scanned.".to_owned(), case: None, in_reply_to: None, files: Vec::new() }
    }
}

impl Side {
    fn new(name: &str, seed: u8) -> Self {
        let keys = SigningKeys::from_seeds(&Seeds::from_bytes(&[seed; 64])).unwrap();
        let mut side =
            Self { me: name.parse().unwrap(), keys, records: Vec::new(), clock: START, slots: u64::from(seed) << 20 };
        let node = side.me;
        side.act(Act::Opened { journal: JournalId([seed; 16]), node });
        side.act(Act::Started { boot: BootNonce([seed; 16]), doubt: None, version: "0.1.0".to_owned() });
        side
    }

    /// Records an act and gives its number.
    pub fn act(&mut self, act: Act) -> u64 {
        self.clock += 7;
        self.records.push(Record { time: Millis(self.clock), act });
        self.records.len() as u64 - 1
    }

    pub fn public(&self) -> PublicKeys {
        self.keys.public_keys().clone()
    }

    fn meets(&mut self, other: NodeName, keys: PublicKeys) {
        let ceremony = self.seal(&[1; 32], b"{}");
        self.act(Act::PeerAdded {
            peer: other,
            introduction: Bytes::from_static(b"introduction"),
            fingerprint: "0000".to_owned(),
            keys: vec![keys],
            ceremony,
            officer: 1,
        });
    }

    /// Seals a body under a fresh slot.
    pub fn seal(&mut self, salt: &[u8; 32], body: &[u8]) -> Stowed {
        self.slots += 1;
        let bytes: Vec<u8> = salt.iter().chain(body).map(|byte| !byte).collect();
        Stowed::Sealed { slot: self.slots, bytes: bytes.into() }
    }
}

fn clear(salt: [u8; 32], body: &Bytes) -> Stowed {
    Stowed::Clear { salt, body: body.clone() }
}

/// A bare header.
pub fn header(id: EntryId, kind: Kind, time: Millis) -> Header {
    let desk = (!kind.is_machine()).then_some(Desk::Technical);
    Header {
        id,
        kind: kind.number(),
        time,
        case: None,
        in_reply_to: None,
        precedence: Precedence::Routine,
        tlp: Tlp::AmberStrict,
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

pub fn listed_keys(keys: &PublicKeys) -> Vec<SigningKey> {
    let key = |algorithm, key: &[u8]| SigningKey {
        algorithm,
        public_key: Bytes::copy_from_slice(key),
        certificate: Bytes::new(),
    };
    vec![key(1, &keys.ed25519), key(6, &keys.ml_dsa_44)]
}

pub fn sha256(bytes: &[u8]) -> Hash {
    Hash::from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref()).unwrap()
}

impl Pair {
    /// XA and XB, introduced to each other, each with the first volume of its log opened and receipted.
    pub fn new() -> Self {
        let volume = |number, byte| Volume { number, random: [byte; 8] };
        let written = |volume| Written { volume, range: CompactRange::default(), leaves: Vec::new() };
        let mut pair = Self {
            sides: [Side::new("XA", 1), Side::new("XB", 2)],
            logs: [written(volume(1, 0xa1)), written(volume(1, 0xb1))],
            ids: 0,
        };
        for me in 0..2 {
            let (peer, keys) = (pair.sides[1 - me].me, pair.sides[1 - me].public());
            pair.sides[me].meets(peer, keys);
        }
        for from in 0..2 {
            pair.open(from, VolumeReason::First, None);
            pair.head(from, true);
        }
        pair
    }

    pub fn fresh_id(&mut self) -> EntryId {
        self.ids += 1;
        let hash = sha256(&self.ids.to_be_bytes());
        EntryId(*hash.0.first_chunk().unwrap())
    }

    pub fn place(&self, from: usize, index: u64) -> [Place; 2] {
        let volume = self.logs[from].volume;
        let mut places = [Place { peer: self.sides[1 - from].me, volume, index }; 2];
        places[1 - from].peer = self.sides[from].me;
        if from == 1 {
            places[from] = Place { peer: self.sides[0].me, volume, index };
        }
        places
    }

    /// Entry 0 of the open volume.
    pub fn open(&mut self, from: usize, reason: VolumeReason, before: Option<HeadRef>) {
        let id = self.fresh_id();
        let body = VolumeBody {
            keys: listed_keys(&self.sides[from].public()),
            before,
            reason,
            journal: JournalId([from as u8 + 1; 16]),
            unavailable: Vec::new(),
            fetched_from: Vec::new(),
        }
        .encode();
        let salt = [9; 32];
        let header = header(id, Kind::Volume, Millis(START)).encode();
        let leaf = Leaf::new(commitment(&salt, &body), body.len(), &header).unwrap();
        let places = self.place(from, 0);
        self.logs[from].push(&leaf);
        self.sides[from].act(Act::VolumeOpened { place: places[from], leaf: leaf.clone(), salt, body: body.clone() });
        self.sides[1 - from].act(Act::Stored {
            place: places[1 - from],
            leaf,
            payload: clear(salt, &body),
            enclosures: 0,
            file_bytes: 0,
            repeat: false,
        });
    }

    /// Opens the next volume after the present one.
    pub fn next_volume(&mut self, from: usize, reason: VolumeReason) {
        let before = self.head_ref(from);
        let number = self.logs[from].volume.number + 1;
        let volume = Volume { number, random: [0xc0 + number as u8; 8] };
        self.logs[from] = Written { volume, range: CompactRange::default(), leaves: Vec::new() };
        self.open(from, reason, Some(before));
    }

    pub fn head_ref(&self, from: usize) -> HeadRef {
        let log = &self.logs[from];
        HeadRef { origin: self.origin(from), size: log.range.size(), root: log.range.root() }
    }

    pub fn origin(&self, from: usize) -> Origin {
        Origin { from: self.sides[from].me, to: self.sides[1 - from].me, volume: self.logs[from].volume }
    }

    /// Queues an item only.
    pub fn queue(&mut self, from: usize, draft: &Draft) -> (EntryId, u64) {
        let id = self.fresh_id();
        let (header, salt, body) = self.written(from, id, draft);
        let peer = self.sides[1 - from].me;
        let payload = if draft.kind.is_machine() { clear(salt, &body) } else { self.sides[from].seal(&salt, &body) };
        let queued = self.sides[from].act(Act::Queued {
            peer,
            commitment: commitment(&salt, &body),
            body_len: body.len() as u32,
            header,
            payload,
            enclosures: draft.files.len() as u32,
            officer: 1,
        });
        (id, queued)
    }

    fn written(&mut self, from: usize, id: EntryId, draft: &Draft) -> (Header, [u8; 32], Bytes) {
        let files = draft.files.iter().map(|file| Enclosure {
            name: "scan.csv".to_owned(),
            media_type: "text/csv".to_owned(),
            size: file.len() as u64,
            sha256: sha256(file),
        });
        let text = Text { language: "en".to_owned(), subject: "Scan".to_owned(), text: draft.text.clone() };
        let body = Body { texts: vec![text], enclosures: files.collect(), ..Body::default() };
        let body = if draft.kind.is_machine() { Bytes::new() } else { body.encode().unwrap() };
        let header = Header {
            case: draft.case,
            in_reply_to: draft.in_reply_to,
            ..header(id, draft.kind, Millis(self.sides[from].clock))
        };
        (header, sha256(&id.0).0, body)
    }

    /// Appends a queued item, and the other side stores it. Gives the index.
    pub fn append(&mut self, from: usize, queued: u64) -> u64 {
        let Act::Queued { header, commitment, body_len, payload, enclosures, .. } =
            self.sides[from].records[queued as usize].act.clone()
        else {
            panic!("record {queued} is no item");
        };
        let header = Header { time: Millis(header.time.0 + 1), ..header };
        let leaf = Leaf::new(commitment, body_len as usize, &header.encode()).unwrap();
        let index = self.logs[from].range.size();
        let places = self.place(from, index);
        self.logs[from].push(&leaf);
        self.sides[from].act(Act::Appended { place: places[from], leaf: leaf.clone(), queued });
        self.sides[1 - from].act(Act::Stored {
            place: places[1 - from],
            leaf,
            payload,
            enclosures,
            file_bytes: 0,
            repeat: false,
        });
        index
    }

    /// Queues, appends and stores.
    pub fn send(&mut self, from: usize, draft: &Draft) -> (EntryId, u64) {
        let (id, queued) = self.queue(from, draft);
        (id, self.append(from, queued))
    }

    /// A machine's entry about an entry of the other log.
    pub fn send_about(&mut self, from: usize, kind: Kind, target: verbale::wire::Target, code: u32) -> u64 {
        let (_, queued) = self.queue(from, &Draft::of(kind));
        if let Act::Queued { header, .. } = &mut self.sides[from].records[queued as usize].act {
            header.target = Some(target);
            header.code = code;
        }
        self.append(from, queued)
    }

    /// Signs the head of a log on one side, cosigns on the other, and takes the receipt.
    pub fn head(&mut self, from: usize, full: bool) {
        self.sign(from, full);
        self.cosign(from, full);
    }

    fn algorithms(full: bool) -> &'static [KeyAlgorithm] {
        if full { &KeyAlgorithm::ALL } else { &KeyAlgorithm::ALL[..1] }
    }

    pub fn note_head(&self, from: usize) -> Head {
        let HeadRef { origin, size, root } = self.head_ref(from);
        Head { origin, size, root }
    }

    pub fn author_lines(&self, from: usize, full: bool) -> Vec<String> {
        let head = self.note_head(from);
        let line = |algorithm: &KeyAlgorithm| sign_log_line(&head, *algorithm, &self.sides[from].keys).to_string();
        Self::algorithms(full).iter().map(line).collect()
    }

    /// The author's half of a head.
    pub fn sign(&mut self, from: usize, full: bool) {
        let lines = self.author_lines(from, full);
        let HeadRef { size, root, .. } = self.head_ref(from);
        let place = self.place(from, size)[from];
        self.sides[from].act(Act::Signed { place, root, lines });
    }

    /// The holder's half of a head, and its receipt at the author. ML-DSA is not deterministic: the holder stores the
    /// very lines that the author made.
    pub fn cosign(&mut self, from: usize, full: bool) {
        let author_lines = self.sides[from].records.iter().rev().find_map(|record| match &record.act {
            Act::Signed { lines, .. } => Some(lines.clone()),
            _ => None,
        });
        let holder = &self.sides[1 - from];
        let head = self.note_head(from);
        let time = (START + 5_000) / 1000 + head.size;
        let line =
            |algorithm: &KeyAlgorithm| sign_receipt_line(&head, holder.me, *algorithm, time, &holder.keys).to_string();
        let lines: Vec<String> = Self::algorithms(full).iter().map(line).collect();
        let places = self.place(from, head.size);
        self.sides[1 - from].act(Act::Cosigned {
            place: places[1 - from],
            root: head.root,
            author_lines: author_lines.expect("a head was signed"),
            lines: lines.clone(),
        });
        self.sides[from].act(Act::Receipt { place: places[from], lines });
    }

    /// Messages in both directions, a head after each batch.
    pub fn talk(&mut self, rounds: usize, batch: usize) {
        for round in 0..rounds {
            for from in 0..2 {
                for _ in 0..batch {
                    self.send(from, &Draft::of(Kind::Notification));
                }
                self.head(from, round % 2 == 1);
            }
        }
    }

    /// Where the last entry with a head ends, with everything settled.
    pub fn encoded(&self, side: usize) -> Vec<Bytes> {
        self.sides[side].records.iter().map(Record::encode).collect()
    }
}

impl Written {
    fn push(&mut self, leaf: &Leaf) {
        let hash = leaf_hash(leaf.bytes());
        self.range.push(hash);
        self.leaves.push(hash);
    }
}

/// Options for small journals of tests.
pub fn options() -> Options {
    Options { create: true, segment_bytes: 64 * 1024, reserve_bytes: 0, ..Options::default() }
}

/// Records in one group of the journals made here.
const GROUP: usize = 40;

/// Writes records through the journal, in groups of a few, and leaves it open.
pub fn write_journal(folder: &Path, records: &[Bytes]) -> Journal {
    let (journal, _) = Journal::open(folder, options()).unwrap();
    for group in records.chunks(GROUP) {
        journal.append_and_wait(group.to_vec()).unwrap();
    }
    journal
}

/// Opens what the rig sealed; knows no files but those it is given.
#[derive(Default)]
pub struct Keys {
    pub files: Vec<(EntryId, u32, Vec<u8>)>,
    pub erased: Vec<u64>,
}

impl Opener for Keys {
    fn open(&self, slot: u64, sealed: &[u8]) -> Unsealed {
        if self.erased.contains(&slot) {
            return Unsealed::Erased;
        }
        let plain: Vec<u8> = sealed.iter().map(|byte| !byte).collect();
        match plain.split_first_chunk::<32>() {
            Some((salt, body)) => Unsealed::Body { salt: *salt, body: body.to_vec() },
            None => Unsealed::Damaged("too short".to_owned()),
        }
    }

    fn file(&self, name: &FileName) -> FileFound {
        let is_it = |(entry, ordinal, _): &&(EntryId, u32, Vec<u8>)| *entry == name.entry && *ordinal == name.ordinal;
        match self.files.iter().find(is_it) {
            Some((_, _, bytes)) => FileFound::Present { size: bytes.len() as u64, sha256: sha256(bytes).0 },
            None => FileFound::Missing("no such file".to_owned()),
        }
    }
}

/// The key of a signer, to sign what it should not have signed.
pub fn line_of(head: &Head, keys: &dyn Signer) -> String {
    sign_log_line(head, KeyAlgorithm::Ed25519, keys).to_string()
}

/// A body that is not here.
pub const UNAVAILABLE: Stowed = Stowed::Absent(Absent::Unavailable);
