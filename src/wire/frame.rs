//! Frames: u32be length ‖ u8 type ‖ protobuf.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use super::{
    Absent, Contradiction, Leaf, MAX_CERTIFICATE_DIGESTS, MAX_FRAME, MAX_KINDS, MAX_LINES, MAX_NOTE, MAX_TRUST_PART,
    Payload, WireError, proto,
};
use crate::name::{BootNonce, EntryId, Hash, Millis, Origin};

/// The log of one direction as one side has it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LogState {
    /// `None` where there is no volume yet.
    pub origin: Option<Origin>,
    /// Entries.
    pub size: u64,
    /// The newest checkpoint with every line; empty where there is none.
    pub note: Bytes,
}

/// The first frame of a connection, both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Lowest protocol version spoken.
    pub version_min: u32,
    /// Highest protocol version spoken.
    pub version_max: u32,
    /// Drawn at this start of the sender.
    pub boot: BootNonce,
    /// The last boot nonce that the sender heard from the receiver.
    pub last_boot: Option<BootNonce>,
    /// When that was, by the sender's clock.
    pub last_heard: Option<Millis>,
    /// The sender's clock now.
    pub clock: Millis,
    /// Unreceipted bytes that the sender takes at once.
    pub window: u64,
    /// Largest enclosure taken, in bytes.
    pub enclosure_max: u64,
    /// Largest sum of the enclosures of one message, in bytes.
    pub enclosures_total_max: u64,
    /// Kinds understood.
    pub kinds: Vec<u32>,
    /// Number of the newest CRL issued; 0 for none.
    pub crl_number: u64,
    /// SHA-256 of the current certificates.
    pub certificate_digests: Vec<Hash>,
    /// The log that the sender writes.
    pub mine: LogState,
    /// The log that the sender holds.
    pub yours: LogState,
}

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal,)* } else $other:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$vdoc])* $variant = $number,)* /** A number that this version does not know. */ $other = 0, }

        impl $name {
            /// The value for a number from the wire.
            pub fn from_number(number: i32) -> Self {
                match number { $($number => Self::$variant,)* _ => Self::$other }
            }
        }
    };
}

numbered! {
    /// Why something is not possible now.
    NotNowReason {
        /// The disk is full.
        Disk = 1,
        /// A quota is used up.
        Quota = 2,
        /// Another connection is being chosen, or too much is under way.
        Busy = 3,
        /// The sender is behind its own history and is fetching it.
        Behind = 4,
        /// A certificate or CRL has expired: trust material only.
        Restricted = 5,
        /// This direction waits for people on both sides.
        Frozen = 6,
        /// Another instance of the same node is alive.
        SecondInstance = 7,
        /// The sender's clock cannot be right.
        Clock = 8,
    } else Unknown
}

numbered! {
    /// What is wrong with a push.
    FaultCode {
        /// An entry or a body is missing.
        Gap = 1,
        /// The entries do not hash to the head's root.
        BadRoot = 2,
        /// A line of a known key does not verify, or one that is due is missing.
        BadSignature = 3,
        /// The head is of another log.
        WrongOrigin = 4,
        /// Salt and body do not open the commitment.
        CommitmentMismatch = 5,
        /// Sizes or indices do not follow.
        Size = 6,
        /// Two histories; the proof is attached.
        Contradiction = 7,
        /// An entry that can never be stored.
        Poison = 8,
    } else Unknown
}

numbered! {
    /// What TRUST material is.
    TrustKind {
        /// A CRL of the State's root.
        Crl = 1,
        /// A certificate.
        Certificate = 2,
        /// An introduction.
        Introduction = 3,
    } else Unknown
}

numbered! {
    /// Why an enclosure is not to be had; 0 means that it is.
    EnclosureAbsent {
        /// No such entry or ordinal between the two.
        NoSuch = 1,
        /// No longer held.
        Gone = 2,
        /// Not here yet.
        NotYet = 3,
    } else Present
}

/// One part of root-signed material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustPart {
    /// What it is.
    pub kind: TrustKind,
    /// Counts from 0.
    pub part: u32,
    /// How many parts there are.
    pub parts: u32,
    /// The bytes of this part.
    pub data: Bytes,
}

/// An entry on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryFrame {
    /// Its index.
    pub index: u64,
    /// Its leaf.
    pub leaf: Leaf,
    /// Its body, or why there is none.
    pub payload: Payload,
}

/// A frame of any type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// First frame of a connection.
    Hello(Box<Hello>),
    /// Root-signed material.
    Trust(TrustPart),
    /// A sign of life is asked for.
    Probe {
        /// Returned in the reply.
        nonce: u64,
    },
    /// A sign of life.
    ProbeReply {
        /// That of the probe.
        nonce: u64,
        /// The answering node's boot nonce.
        boot: BootNonce,
        /// Its clock.
        clock: Millis,
    },
    /// Not possible now.
    NotNow {
        /// Why.
        reason: NotNowReason,
        /// When to try again, in milliseconds from now.
        retry_after_ms: u64,
    },
    /// The sender closes in order.
    Bye,
    /// An entry.
    Entry(Box<EntryFrame>),
    /// A signed note over the entries before it.
    Checkpoint {
        /// The note's bytes.
        note: Bytes,
    },
    /// A receipt.
    Cosigned {
        /// Of which volume.
        origin: Origin,
        /// Up to which size.
        size: u64,
        /// The signature lines.
        lines: Vec<String>,
        /// The holder's window now, in bytes.
        window: u64,
    },
    /// What the holder has.
    Shows(LogState),
    /// What is wrong with a push.
    Fault {
        /// The kind of fault.
        code: FaultCode,
        /// Of which volume; `None` where it could not be read.
        origin: Option<Origin>,
        /// At which index.
        index: u64,
        /// With a contradiction: what proves it.
        proof: Contradiction,
    },
    /// Asks for entries.
    Fetch {
        /// Of which volume.
        origin: Origin,
        /// First index.
        from: u64,
        /// First index that is not wanted.
        to: u64,
    },
    /// Asks for a file.
    EnclosureRequest {
        /// The message.
        entry: EntryId,
        /// Which file.
        ordinal: u32,
        /// From which byte on.
        offset: u64,
    },
    /// The file follows, or why not.
    EnclosureReply {
        /// Its size in bytes.
        size: u64,
        /// Why it does not follow.
        absent: EnclosureAbsent,
    },
}

/// Length and type of a frame, read from its first five bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// The type.
    pub kind: u8,
    /// Bytes of the message that follows.
    pub length: usize,
}

/// Bytes in front of a frame's message.
pub const FRAME_HEAD: usize = 5;

/// Reads length and type.
///
/// # Errors
/// A length of zero or over [`MAX_FRAME`].
pub fn frame_head(bytes: [u8; FRAME_HEAD]) -> Result<FrameHead, WireError> {
    let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    if length > MAX_FRAME {
        return Err(WireError::TooLarge { what: "frame", size: length, limit: MAX_FRAME });
    }
    if length == 0 {
        return Err(WireError::Length("frame"));
    }
    Ok(FrameHead { kind: bytes[4], length: length - 1 })
}

fn contradiction(ours: Bytes, theirs: Bytes, hashes: &[u8]) -> Result<Contradiction, WireError> {
    let field = |field| WireError::Field { what: "FAULT", field };
    if ours.len() > MAX_NOTE || theirs.len() > MAX_NOTE {
        return Err(field("proof"));
    }
    let hashes = Contradiction::hashes_from(hashes).ok_or_else(|| field("hashes"))?;
    Ok(Contradiction { ours, theirs, hashes })
}

fn log_state_to_proto(state: &LogState) -> proto::LogState {
    proto::LogState {
        origin: state.origin.map(|origin| origin.to_string()).unwrap_or_default(),
        size: state.size,
        note: state.note.clone(),
    }
}

fn log_state_from_proto(state: proto::LogState) -> Result<LogState, WireError> {
    if state.note.len() > MAX_NOTE {
        return Err(WireError::TooLarge { what: "note", size: state.note.len(), limit: MAX_NOTE });
    }
    let origin = match state.origin.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| WireError::Field { what: "log state", field: "origin" })?),
    };
    Ok(LogState { origin, size: state.size, note: state.note })
}

fn hello_to_proto(hello: &Hello) -> proto::Hello {
    proto::Hello {
        version_min: hello.version_min,
        version_max: hello.version_max,
        boot: Bytes::copy_from_slice(hello.boot.as_bytes()),
        last_boot: hello.last_boot.map(|boot| Bytes::copy_from_slice(boot.as_bytes())).unwrap_or_default(),
        last_heard_ms: hello.last_heard.map_or(0, |time| time.0),
        clock_ms: hello.clock.0,
        window: hello.window,
        enclosure_max: hello.enclosure_max,
        enclosures_total_max: hello.enclosures_total_max,
        kinds: hello.kinds.clone(),
        crl_number: hello.crl_number,
        certificate_digests: hello.certificate_digests.iter().map(|hash| Bytes::copy_from_slice(&hash.0)).collect(),
        mine: Some(log_state_to_proto(&hello.mine)),
        yours: Some(log_state_to_proto(&hello.yours)),
    }
}

fn hello_from_proto(hello: proto::Hello) -> Result<Hello, WireError> {
    let field = |field| WireError::Field { what: "HELLO", field };
    if hello.kinds.len() > MAX_KINDS {
        return Err(field("kinds"));
    }
    if hello.certificate_digests.len() > MAX_CERTIFICATE_DIGESTS {
        return Err(field("certificate_digests"));
    }
    let digest = |bytes: &Bytes| Hash::from_slice(bytes).ok_or_else(|| field("certificate_digests"));
    Ok(Hello {
        version_min: hello.version_min,
        version_max: hello.version_max,
        boot: BootNonce::from_slice(&hello.boot).ok_or_else(|| field("boot"))?,
        last_boot: match &hello.last_boot[..] {
            [] => None,
            bytes => Some(BootNonce::from_slice(bytes).ok_or_else(|| field("last_boot"))?),
        },
        last_heard: (hello.last_heard_ms != 0).then_some(Millis(hello.last_heard_ms)),
        clock: Millis(hello.clock_ms),
        window: hello.window,
        enclosure_max: hello.enclosure_max,
        enclosures_total_max: hello.enclosures_total_max,
        kinds: hello.kinds,
        crl_number: hello.crl_number,
        certificate_digests: hello.certificate_digests.iter().map(digest).collect::<Result<_, _>>()?,
        mine: log_state_from_proto(hello.mine.unwrap_or_default())?,
        yours: log_state_from_proto(hello.yours.unwrap_or_default())?,
    })
}

fn entry_to_proto(entry: &EntryFrame) -> proto::Entry {
    let (salt, body, absent) = match &entry.payload {
        Payload::Present { salt, body } => (Bytes::copy_from_slice(salt), body.clone(), 0),
        Payload::Absent(reason) => (Bytes::new(), Bytes::new(), reason.number()),
    };
    proto::Entry { index: entry.index, leaf: entry.leaf.bytes().clone(), salt, body, absent }
}

fn entry_from_proto(entry: proto::Entry) -> Result<EntryFrame, WireError> {
    let field = |field| WireError::Field { what: "ENTRY", field };
    let leaf = Leaf::parse(entry.leaf)?;
    let payload = match Absent::from_number(entry.absent) {
        Some(reason) => Payload::Absent(reason),
        None => {
            let salt = entry.salt[..].try_into().map_err(|_| field("salt"))?;
            if entry.body.len() != leaf.body_len() {
                return Err(field("body"));
            }
            Payload::Present { salt, body: entry.body }
        }
    };
    Ok(EntryFrame { index: entry.index, leaf, payload })
}

impl Frame {
    /// The type on the wire.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => 1,
            Self::Trust(_) => 2,
            Self::Probe { .. } => 3,
            Self::ProbeReply { .. } => 4,
            Self::NotNow { .. } => 5,
            Self::Bye => 6,
            Self::Entry(_) => 16,
            Self::Checkpoint { .. } => 17,
            Self::Cosigned { .. } => 18,
            Self::Shows(_) => 19,
            Self::Fault { .. } => 20,
            Self::Fetch { .. } => 24,
            Self::EnclosureRequest { .. } => 28,
            Self::EnclosureReply { .. } => 29,
        }
    }

    /// Appends the whole frame to `out`.
    pub fn encode_into(&self, out: &mut BytesMut) {
        match self {
            Self::Hello(hello) => self.put(out, &hello_to_proto(hello)),
            Self::Trust(part) => {
                let (kind, part, parts, data) = (part.kind as i32, part.part, part.parts, part.data.clone());
                self.put(out, &proto::Trust { kind, part, parts, data });
            }
            Self::Probe { nonce } => self.put(out, &proto::Probe { nonce: *nonce }),
            Self::ProbeReply { nonce, boot, clock } => self.put(
                out,
                &proto::ProbeReply { nonce: *nonce, boot: Bytes::copy_from_slice(boot.as_bytes()), clock_ms: clock.0 },
            ),
            Self::NotNow { reason, retry_after_ms } => {
                self.put(out, &proto::NotNow { reason: *reason as i32, retry_after_ms: *retry_after_ms });
            }
            Self::Bye => self.put(out, &proto::Bye {}),
            Self::Entry(entry) => self.put(out, &entry_to_proto(entry)),
            Self::Checkpoint { note } => self.put(out, &proto::Checkpoint { note: note.clone() }),
            Self::Cosigned { origin, size, lines, window } => self.put(
                out,
                &proto::Cosigned { origin: origin.to_string(), size: *size, lines: lines.clone(), window: *window },
            ),
            Self::Shows(state) => self.put(out, &proto::Shows { state: Some(log_state_to_proto(state)) }),
            Self::Fault { code, origin, index, proof } => self.put(
                out,
                &proto::Fault {
                    code: *code as i32,
                    origin: origin.map(|origin| origin.to_string()).unwrap_or_default(),
                    index: *index,
                    proof: proof.ours.clone(),
                    other: proof.theirs.clone(),
                    hashes: proof.hash_bytes(),
                },
            ),
            Self::Fetch { origin, from, to } => {
                self.put(out, &proto::Fetch { origin: origin.to_string(), from: *from, to: *to });
            }
            Self::EnclosureRequest { entry, ordinal, offset } => self.put(
                out,
                &proto::EnclosureRequest {
                    entry_id: Bytes::copy_from_slice(entry.as_bytes()),
                    ordinal: *ordinal,
                    offset: *offset,
                },
            ),
            Self::EnclosureReply { size, absent } => {
                self.put(out, &proto::EnclosureReply { size: *size, absent: *absent as i32 });
            }
        }
    }

    /// The whole frame.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode_into(&mut out);
        out.freeze()
    }

    fn put(&self, out: &mut BytesMut, message: &impl Message) {
        let length = message.encoded_len();
        debug_assert!(length < MAX_FRAME, "domain types are bounded below a frame");
        out.reserve(FRAME_HEAD + length);
        out.put_u32(u32::try_from(length + 1).unwrap_or(u32::MAX));
        out.put_u8(self.kind());
        message.encode(out).expect("a BytesMut grows as needed");
    }

    /// Reads a frame's message.
    ///
    /// # Errors
    /// An unknown type, a message that cannot be decoded, a field out of its limits.
    pub fn decode(kind: u8, bytes: Bytes) -> Result<Self, WireError> {
        let field = |what, field| WireError::Field { what, field };
        Ok(match kind {
            1 => Self::Hello(Box::new(hello_from_proto(super::decode("HELLO", bytes)?)?)),
            2 => {
                let part: proto::Trust = super::decode("TRUST", bytes)?;
                if part.data.len() > MAX_TRUST_PART || part.part >= part.parts {
                    return Err(field("TRUST", "part"));
                }
                let kind = TrustKind::from_number(part.kind);
                Self::Trust(TrustPart { kind, part: part.part, parts: part.parts, data: part.data })
            }
            3 => Self::Probe { nonce: super::decode::<proto::Probe>("PROBE", bytes)?.nonce },
            4 => {
                let reply: proto::ProbeReply = super::decode("PROBE_REPLY", bytes)?;
                let boot = BootNonce::from_slice(&reply.boot).ok_or_else(|| field("PROBE_REPLY", "boot"))?;
                Self::ProbeReply { nonce: reply.nonce, boot, clock: Millis(reply.clock_ms) }
            }
            5 => {
                let message: proto::NotNow = super::decode("NOT_NOW", bytes)?;
                let reason = NotNowReason::from_number(message.reason);
                Self::NotNow { reason, retry_after_ms: message.retry_after_ms }
            }
            6 => {
                super::decode::<proto::Bye>("BYE", bytes)?;
                Self::Bye
            }
            16 => Self::Entry(Box::new(entry_from_proto(super::decode("ENTRY", bytes)?)?)),
            17 => {
                let note = super::decode::<proto::Checkpoint>("CHECKPOINT", bytes)?.note;
                if note.len() > MAX_NOTE {
                    return Err(WireError::TooLarge { what: "note", size: note.len(), limit: MAX_NOTE });
                }
                Self::Checkpoint { note }
            }
            18 => {
                let message: proto::Cosigned = super::decode("COSIGNED", bytes)?;
                if message.lines.len() > MAX_LINES {
                    return Err(field("COSIGNED", "lines"));
                }
                let origin = message.origin.parse().map_err(|_| field("COSIGNED", "origin"))?;
                Self::Cosigned { origin, size: message.size, lines: message.lines, window: message.window }
            }
            19 => {
                let message: proto::Shows = super::decode("SHOWS", bytes)?;
                Self::Shows(log_state_from_proto(message.state.unwrap_or_default())?)
            }
            20 => {
                let message: proto::Fault = super::decode("FAULT", bytes)?;
                Self::Fault {
                    code: FaultCode::from_number(message.code),
                    origin: message.origin.parse().ok(),
                    index: message.index,
                    proof: contradiction(message.proof, message.other, &message.hashes)?,
                }
            }
            24 => {
                let message: proto::Fetch = super::decode("FETCH", bytes)?;
                let origin = message.origin.parse().map_err(|_| field("FETCH", "origin"))?;
                if message.from >= message.to {
                    return Err(field("FETCH", "to"));
                }
                Self::Fetch { origin, from: message.from, to: message.to }
            }
            28 => {
                let message: proto::EnclosureRequest = super::decode("ENCLOSURE", bytes)?;
                let entry = EntryId::from_slice(&message.entry_id).ok_or_else(|| field("ENCLOSURE", "entry_id"))?;
                Self::EnclosureRequest { entry, ordinal: message.ordinal, offset: message.offset }
            }
            29 => {
                let message: proto::EnclosureReply = super::decode("ENCLOSURE reply", bytes)?;
                let absent = match message.absent {
                    0 => EnclosureAbsent::Present,
                    number => match EnclosureAbsent::from_number(number) {
                        EnclosureAbsent::Present => EnclosureAbsent::Gone,
                        known => known,
                    },
                };
                Self::EnclosureReply { size: message.size, absent }
            }
            other => return Err(WireError::Type { what: "frame", number: other.into() }),
        })
    }
}
