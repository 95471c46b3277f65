//! Every act in order, as JSON objects; the fields stand in `docs/REPLAY.md`.

use std::collections::VecDeque;
use std::path::Path;

use data_encoding::BASE64;
use serde::Serialize;

use crate::exchange::{Act, Change, Doubt, Drop, Place, Record, Stowed};
use crate::journal::{Damage, Record as Raw, Scan, Witness};
use crate::merkle::leaf_hash;
use crate::name::{CaseId, EntryId, Hash, Millis, NodeName, Origin, Volume};
use crate::note::{Checkpoint, Exclusion};
use crate::wire::{Absent, Body, Header, Leaf, Target, VolumeReason};

use super::fault::file_name;
use super::opener::{Opener, Unsealed};

/// One act.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReplayLine {
    /// Its number in the journal.
    pub record: u64,
    /// When, by the node's clock: milliseconds since 1970, UTC.
    pub time_ms: u64,
    /// The same in RFC 3339.
    pub time: String,
    /// What happened: the word of the act.
    pub act: &'static str,
    /// The file of the journal.
    pub file: String,
    /// The byte at which the record begins.
    pub offset: u64,
    /// The journal leaf of the record, hexadecimal.
    pub leaf: String,
    /// The other State's node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<NodeName>,
    /// Who: a number of the node's own list; 0 is the node itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub officer: Option<u32>,
    /// The id of the message that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<EntryId>,
    /// The volume of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<Volume>,
    /// An entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryLine>,
    /// A head or a receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadLine>,
    /// The header of a queued item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderLine>,
    /// Salt and body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<PayloadLine>,
    /// How many files follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enclosures: Option<u32>,
    /// Which file, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u32>,
    /// Why, as a word or a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Anything else, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EntryLine {
    /// Its index in the volume.
    pub index: u64,
    /// The hash of its leaf in the log's tree, hexadecimal.
    #[serde(serialize_with = "hex")]
    pub leaf_hash: Hash,
    /// The commitment to salt and body, hexadecimal.
    #[serde(serialize_with = "hex")]
    pub commitment: Hash,
    /// Bytes of the body.
    pub body_len: u64,
    /// The record of its item, for own entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued: Option<u64>,
    /// Received before under the same id.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repeat: bool,
    /// The header, where it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderLine>,
}

/// A head or a receipt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeadLine {
    /// Entries below it.
    pub size: u64,
    /// The root, hexadecimal; a receipt's is that of the head of the same size.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hex_if_any")]
    pub root: Option<Hash>,
    /// The author's signature lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub author_lines: Vec<String>,
    /// The holder's signature lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holder_lines: Vec<String>,
}

/// A header, which stays in the log for ever.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeaderLine {
    /// The entry's id.
    pub id: EntryId,
    /// The kind's word, or its number where it is unknown.
    pub kind: String,
    /// The author's time: milliseconds since 1970, UTC.
    pub time_ms: u64,
    /// The case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
    /// The entry answered or acknowledged. An acknowledgement does not mean agreement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<EntryId>,
    /// How fast to handle it.
    pub precedence: &'static str,
    /// The handling label.
    pub tlp: &'static str,
    /// The permissible actions.
    pub pap: &'static str,
    /// Drill traffic.
    pub exercise: bool,
    /// The desk that wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_desk: Option<&'static str>,
    /// The desk written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_desk: Option<&'static str>,
    /// When it leaves the queue unsent: milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// The volume of the other direction that the author had.
    pub seen_volume: u32,
    /// How much of it.
    pub seen: u64,
    /// The entry that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// REFUSED: the reason's number.
    #[serde(skip_serializing_if = "is_zero")]
    pub code: u32,
}

fn hex<S: serde::Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(hash)
}

fn hex_if_any<S: serde::Serializer>(hash: &Option<Hash>, serializer: S) -> Result<S::Ok, S::Error> {
    match hash {
        Some(hash) => serializer.collect_str(hash),
        None => serializer.serialize_none(),
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A payload: in clear, opened, or why not.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PayloadLine {
    /// `clear`, `opened`, `sealed`, `erased`, `damaged`, `withdrawn`, `not-available`, `seal`.
    pub state: &'static str,
    /// The slot of the key file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<u64>,
    /// The salt, hexadecimal, where the body is shown.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hex_if_any")]
    pub salt: Option<Hash>,
    /// The body's bytes in base64, where they are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The subject of the first text, where the body is a message's and is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The first text, where the body is a message's and is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Why it cannot be opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The acts of a journal in order. A stretch that cannot be read is an item of its own, and reading goes on behind it.
pub struct Replay<'a> {
    scan: Scan,
    from: u64,
    opener: Option<&'a dyn Opener>,
    waiting: VecDeque<Raw>,
    witness: Option<Witness>,
}

/// Replays the journal in a folder from a record on. Sealed bodies are shown only where an opener is given.
///
/// # Errors
/// The folder cannot be listed.
pub fn replay<'a>(folder: &Path, from: u64, opener: Option<&'a dyn Opener>) -> std::io::Result<Replay<'a>> {
    // Asked before the scan begins: a daemon may write meanwhile.
    let witness = Witness::of_end_mark(folder);
    Ok(Replay { scan: crate::journal::scan(folder, from)?, from, opener, waiting: VecDeque::new(), witness })
}

impl Iterator for Replay<'_> {
    type Item = Result<ReplayLine, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(raw) = self.waiting.pop_front() {
                return Some(Ok(ReplayLine::new(&raw, &Record::decode(&raw.bytes), self.opener)));
            }
            match self.scan.next() {
                Some(Ok(group)) => {
                    self.waiting.extend(group.records.into_iter().filter(|raw| raw.number >= self.from));
                }
                Some(Err(damage)) => return Some(Err(damage)),
                // An end that is lost is told once, at the end.
                None => return self.witness.take().and_then(|witness| self.scan.lost_end(&[witness])).map(Err),
            }
        }
    }
}

impl ReplayLine {
    /// Tells one act.
    pub fn new(raw: &Raw, record: &Record, opener: Option<&dyn Opener>) -> Self {
        let mut line = Self {
            record: raw.number,
            time_ms: record.time.0,
            time: record.time.to_string(),
            file: file_name(raw.position),
            offset: raw.position.offset,
            leaf: Hash(raw.leaf).to_string(),
            ..Self::default()
        };
        if !line.of_node(&record.act, opener) {
            line.of_log(&record.act, opener);
        }
        line
    }

    /// Acts of the node as a whole, and of a peer as a whole.
    fn of_node(&mut self, act: &Act, opener: Option<&dyn Opener>) -> bool {
        match act {
            Act::Opened { journal, node } => {
                self.act = "opened";
                self.text = Some(format!("journal {journal} of {node}"));
            }
            Act::Started { boot, doubt, version } => {
                self.act = "started";
                self.why = doubt.map(|doubt| doubt_word(doubt).to_owned());
                self.text = Some(format!("version {version}, boot {boot}"));
            }
            Act::PeerAdded { peer, fingerprint, ceremony, officer, .. } => {
                self.about("peer-added", *peer, Some(*officer));
                self.text = Some(fingerprint.clone());
                self.payload = Some(payload(ceremony, opener));
            }
            Act::PeerChanged { peer, change, officer } => {
                self.about(change_word(*change), *peer, Some(*officer));
            }
            Act::BodiesLost { peer, volume, spans } => {
                self.about("bodies-lost", *peer, None);
                let spans = spans.iter().map(|span| format!("{}-{}", span.from, span.to.saturating_sub(1)));
                self.text = Some(format!("volume {volume}, entries {}", spans.collect::<Vec<_>>().join(", ")));
            }
            Act::Fenced { peer, origin } => {
                self.about("fenced", *peer, None);
                self.text = origin.map(|origin| origin.to_string());
            }
            Act::Recovering { officer } => {
                self.act = "recovering";
                self.officer = Some(*officer);
            }
            Act::Frozen { peer, own_log, reason, proof } => {
                self.about("frozen", *peer, None);
                self.why = Some(reason_word(*reason).to_owned());
                let whose = if *own_log { "own log" } else { "peer's log" };
                let heads = [&proof.ours, &proof.theirs].map(|note| Checkpoint::<Origin>::parse(note).ok());
                let [ours, theirs] = heads.map(|note| note.map(|note| note.head().clone()));
                let excluded = ours.zip(theirs).and_then(|(one, other)| Exclusion::of(&one, &other, &proof.hashes));
                self.text = Some(excluded.map_or(whose.to_owned(), |excluded| format!("{whose}: {excluded}")));
            }
            Act::ReopenAgreed { peer, officer } => self.about("reopen-agreed", *peer, Some(*officer)),
            Act::Noted { subject, peer, text, officer } => {
                self.act = "noted";
                self.peer = *peer;
                self.officer = Some(*officer);
                self.why = Some(subject.clone());
                self.text = Some(text.clone());
            }
            Act::Unknown(bytes) => {
                self.act = "unknown";
                self.text = Some(BASE64.encode(bytes));
            }
            _ => return false,
        }
        true
    }

    fn of_log(&mut self, act: &Act, opener: Option<&dyn Opener>) {
        match act {
            Act::Queued { peer, header, payload: stowed, enclosures, officer, .. } => {
                self.about("queued", *peer, Some(*officer));
                self.message = Some(header.id);
                self.header = Some(HeaderLine::new(header));
                self.payload = Some(payload(stowed, opener));
                self.enclosures = Some(*enclosures);
            }
            Act::Dropped { peer, id, why, officer } => {
                let word = match why {
                    Drop::Cancelled => "cancelled",
                    Drop::Expired => "expired",
                };
                self.about(word, *peer, Some(*officer));
                self.message = Some(*id);
            }
            Act::VolumeOpened { place, leaf, salt, body } => {
                self.entry("volume-opened", place, leaf, None);
                self.payload = Some(payload(&Stowed::Clear { salt: *salt, body: body.clone() }, opener));
            }
            Act::Appended { place, leaf, queued } => self.entry("appended", place, leaf, Some(*queued)),
            Act::Stored { place, leaf, payload: stowed, enclosures, repeat, .. } => {
                self.entry("stored", place, leaf, None);
                self.payload = Some(payload(stowed, opener));
                self.enclosures = Some(*enclosures);
                if let Some(entry) = &mut self.entry {
                    entry.repeat = *repeat;
                }
            }
            Act::Fetched { place, leaf, payload: stowed } => {
                self.entry("fetched", place, leaf, None);
                self.payload = Some(payload(stowed, opener));
            }
            Act::Signed { place, root, lines } => self.head("signed", place, Some(*root), lines, &[]),
            Act::Receipt { place, lines } => self.head("receipt", place, None, &[], lines),
            Act::Cosigned { place, root, author_lines, lines } => {
                self.head("cosigned", place, Some(*root), author_lines, lines);
            }
            Act::FetchedHead { place, root, lines } => self.head("fetched-head", place, Some(*root), lines, &[]),
            Act::EnclosureHeld { peer, entry, ordinal, .. } => {
                self.about("enclosure-held", *peer, None);
                (self.message, self.ordinal) = (Some(*entry), Some(*ordinal));
            }
            Act::EnclosureEnded { peer, entry, ordinal, code } => {
                self.about("enclosure-ended", *peer, None);
                (self.message, self.ordinal) = (Some(*entry), Some(*ordinal));
                self.why = Some(code.to_string());
            }
            Act::Read { place, officer } => {
                self.about("read", place.peer, Some(*officer));
                self.volume = Some(place.volume);
                self.text = Some(format!("entry {}", place.index));
            }
            _ => {}
        }
    }

    fn about(&mut self, act: &'static str, peer: NodeName, officer: Option<u32>) {
        self.act = act;
        self.peer = Some(peer);
        self.officer = officer;
    }

    fn entry(&mut self, act: &'static str, place: &Place, leaf: &Leaf, queued: Option<u64>) {
        self.about(act, place.peer, None);
        self.volume = Some(place.volume);
        let header = leaf.header().ok();
        self.message = header.as_ref().map(|header| header.id);
        self.entry = Some(EntryLine {
            index: place.index,
            leaf_hash: leaf_hash(leaf.bytes()),
            commitment: leaf.commitment(),
            body_len: leaf.body_len() as u64,
            queued,
            repeat: false,
            header: header.as_ref().map(HeaderLine::new),
        });
    }

    fn head(&mut self, act: &'static str, place: &Place, root: Option<Hash>, author: &[String], holder: &[String]) {
        self.about(act, place.peer, None);
        self.volume = Some(place.volume);
        let (author_lines, holder_lines) = (author.to_vec(), holder.to_vec());
        self.head = Some(HeadLine { size: place.index, root, author_lines, holder_lines });
    }
}

impl HeaderLine {
    /// Tells a header.
    pub fn new(header: &Header) -> Self {
        let kind = header.known_kind();
        Self {
            id: header.id,
            kind: kind.map_or_else(|| format!("kind {}", header.kind), |kind| kind.word().to_owned()),
            time_ms: header.time.0,
            case: header.case,
            in_reply_to: header.in_reply_to,
            precedence: header.precedence.word(),
            tlp: header.tlp.word(),
            pap: header.pap.word(),
            exercise: header.exercise,
            from_desk: header.from_desk.map(|desk| desk.word()),
            to_desk: header.to_desk.map(|desk| desk.word()),
            expires_ms: header.expires.map(|Millis(time)| time),
            seen_volume: header.seen_volume,
            seen: header.seen,
            target: header.target,
            code: header.code,
        }
    }
}

fn payload(stowed: &Stowed, opener: Option<&dyn Opener>) -> PayloadLine {
    let state = |state| PayloadLine { state, ..PayloadLine::default() };
    match stowed {
        Stowed::Clear { salt, body } => shown("clear", None, salt, body),
        Stowed::Absent(Absent::Sealed) => state("seal"),
        Stowed::Absent(Absent::Voided) => state("withdrawn"),
        Stowed::Absent(Absent::Erased) => state("erased"),
        Stowed::Absent(Absent::Unavailable) => state("not-available"),
        Stowed::Sealed { slot, bytes } => match opener.map(|opener| opener.open(*slot, bytes)) {
            None => PayloadLine { slot: Some(*slot), ..state("sealed") },
            Some(Unsealed::Body { salt, body }) => shown("opened", Some(*slot), &salt, &body),
            Some(Unsealed::Erased) => PayloadLine { slot: Some(*slot), ..state("erased") },
            Some(Unsealed::Damaged(why)) => PayloadLine { slot: Some(*slot), why: Some(why), ..state("damaged") },
        },
    }
}

fn shown(state: &'static str, slot: Option<u64>, salt: &[u8; 32], body: &[u8]) -> PayloadLine {
    let message = slot.and_then(|_| Body::decode(body.to_vec().into()).ok());
    let first = message.and_then(|message| message.texts.into_iter().next());
    PayloadLine {
        state,
        slot,
        salt: Some(Hash(*salt)),
        body: Some(BASE64.encode(body)),
        subject: first.as_ref().map(|text| text.subject.clone()),
        text: first.map(|text| text.text),
        why: None,
    }
}

fn doubt_word(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::Sentinel => "sentinel",
        Doubt::Restored => "restored",
        Doubt::Person => "person",
        Doubt::Behind => "behind",
    }
}

fn change_word(change: Change) -> &'static str {
    match change {
        Change::Suspended => "peer-suspended",
        Change::Resumed => "peer-resumed",
        Change::Removed => "peer-removed",
    }
}

fn reason_word(reason: VolumeReason) -> &'static str {
    match reason {
        VolumeReason::First => "first",
        VolumeReason::Restored => "restored",
        VolumeReason::LostDisk => "lost-disk",
        VolumeReason::Failover => "failover",
        VolumeReason::Fault => "fault",
        VolumeReason::Contradiction => "contradiction",
        VolumeReason::NewKeys => "new-keys",
        VolumeReason::NewRoot => "new-root",
        VolumeReason::HolderLost => "holder-lost",
        VolumeReason::PeerAddedAgain => "peer-added-again",
        VolumeReason::Carriage => "carriage",
        VolumeReason::NewHash => "new-hash",
        VolumeReason::Unknown => "unknown",
    }
}
