//! Bodies of machine kinds.

use bytes::Bytes;
use prost::Message;

use super::{MAX_BODY, MAX_KEYS, MAX_SPANS, Target, WireError, proto};
use crate::name::{Hash, JournalId, Origin};

/// Why a volume was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum VolumeReason {
    /// The first volume of the log.
    First = 1,
    /// The node came back from a backup, or doubts its memory.
    Restored = 2,
    /// The node lost its disk.
    LostDisk = 3,
    /// Another machine took over.
    Failover = 4,
    /// The holder reported a fault in the volume before.
    Fault = 5,
    /// Two histories; opened by people on both sides.
    Contradiction = 6,
    /// New signing keys after a loss.
    NewKeys = 7,
    /// A new root; people on both sides.
    NewRoot = 8,
    /// The holder lost its copy; people on both sides.
    HolderLost = 9,
    /// The peer was removed and added again.
    PeerAddedAgain = 10,
    /// Opened for a carried file.
    Carriage = 11,
    /// Another hash function.
    NewHash = 12,
    /// A reason that this version does not know.
    Unknown = 0,
}

impl VolumeReason {
    /// The reason for a number from signed bytes.
    pub fn from_number(number: i32) -> Self {
        match number {
            1 => Self::First,
            2 => Self::Restored,
            3 => Self::LostDisk,
            4 => Self::Failover,
            5 => Self::Fault,
            6 => Self::Contradiction,
            7 => Self::NewKeys,
            8 => Self::NewRoot,
            9 => Self::HolderLost,
            10 => Self::PeerAddedAgain,
            11 => Self::Carriage,
            12 => Self::NewHash,
            _ => Self::Unknown,
        }
    }

    /// Whether a person on each side must say yes.
    pub fn needs_people(self) -> bool {
        matches!(self, Self::Contradiction | Self::NewRoot | Self::HolderLost)
    }
}

/// A signing key of either algorithm, with its certificate where there is one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SigningKey {
    /// 1 Ed25519, 6 ML-DSA-44.
    pub algorithm: u32,
    /// 32 or 1,312 bytes.
    pub public_key: Bytes,
    /// X.509 DER; may be empty.
    pub certificate: Bytes,
}

/// A head by origin, size and root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HeadRef {
    /// Which volume of which log.
    pub origin: Origin,
    /// Entries.
    pub size: u64,
    /// RFC 6962 root at that size.
    pub root: Hash,
}

/// Entries of one volume, from `from` on and below `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Span {
    /// The volume's number.
    pub volume: u32,
    /// First index.
    pub from: u64,
    /// First index that is not in it.
    pub to: u64,
}

/// Entry 0 of every volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeBody {
    /// The author's signing keys.
    pub keys: Vec<SigningKey>,
    /// The newest volume that the holder cosigned.
    pub before: Option<HeadRef>,
    /// Why.
    pub reason: VolumeReason,
    /// The author's journal.
    pub journal: JournalId,
    /// Bodies that count as withdrawn.
    pub unavailable: Vec<Span>,
    /// Per earlier volume, the first index that this journal did not write.
    pub fetched_from: Vec<Target>,
}

/// New signing keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyBody {
    /// The new keys.
    pub keys: Vec<SigningKey>,
    /// Keys that count only up to a size.
    pub revoked: Vec<RevokedKey>,
}

/// A key that counts up to the size of its last good head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedKey {
    /// 1 Ed25519, 6 ML-DSA-44.
    pub algorithm: u32,
    /// The key.
    pub public_key: Bytes,
    /// The volume of its last good head.
    pub volume: u32,
    /// The size of its last good head.
    pub last_good_size: u64,
}

/// The body of a SEAL; it never travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealBody {
    /// The journal.
    pub journal: JournalId,
    /// Records.
    pub size: u64,
    /// Root of the journal's tree.
    pub root: Hash,
}

/// The body of an ERASED entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasedBody {
    /// The legal basis as a code of the State.
    pub basis: u32,
    /// The authority's own reference.
    pub authority: String,
}

fn keys_to_proto(keys: &[SigningKey]) -> Vec<proto::SigningKey> {
    keys.iter()
        .map(|key| proto::SigningKey {
            algorithm: key.algorithm,
            public_key: key.public_key.clone(),
            certificate: key.certificate.clone(),
        })
        .collect()
}

fn keys_from_proto(what: &'static str, keys: Vec<proto::SigningKey>) -> Result<Vec<SigningKey>, WireError> {
    if keys.len() > MAX_KEYS {
        return Err(WireError::TooLarge { what, size: keys.len(), limit: MAX_KEYS });
    }
    let key = |key: proto::SigningKey| SigningKey {
        algorithm: key.algorithm,
        public_key: key.public_key,
        certificate: key.certificate,
    };
    Ok(keys.into_iter().map(key).collect())
}

impl VolumeBody {
    /// Writes the body.
    pub fn encode(&self) -> Bytes {
        let message = proto::VolumeBody {
            keys: keys_to_proto(&self.keys),
            before: self.before.map(|before| proto::HeadRef {
                origin: before.origin.to_string(),
                size: before.size,
                root: Bytes::copy_from_slice(&before.root.0),
            }),
            reason: self.reason as i32,
            journal: Bytes::copy_from_slice(self.journal.as_bytes()),
            unavailable: self
                .unavailable
                .iter()
                .map(|span| proto::Span { volume: span.volume, from: span.from, to: span.to })
                .collect(),
            fetched_from: self
                .fetched_from
                .iter()
                .map(|target| proto::Target { volume: target.volume, index: target.index })
                .collect(),
        };
        message.encode_to_vec().into()
    }

    /// Reads the body.
    ///
    /// # Errors
    /// Not a protobuf message; a key list, a span list or a field out of its limits.
    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        const WHAT: &str = "VOLUME body";
        check_body(WHAT, &bytes)?;
        let message: proto::VolumeBody = super::decode(WHAT, bytes)?;
        let field = |field| WireError::Field { what: WHAT, field };
        let lists = message.unavailable.len().max(message.fetched_from.len());
        if lists > MAX_SPANS {
            return Err(WireError::TooLarge { what: WHAT, size: lists, limit: MAX_SPANS });
        }
        let before = match message.before {
            None => None,
            Some(before) => Some(HeadRef {
                origin: before.origin.parse().map_err(|_| field("before.origin"))?,
                size: before.size,
                root: Hash::from_slice(&before.root).ok_or_else(|| field("before.root"))?,
            }),
        };
        if message.unavailable.iter().any(|span| span.from >= span.to) {
            return Err(field("unavailable"));
        }
        Ok(Self {
            keys: keys_from_proto(WHAT, message.keys)?,
            before,
            reason: VolumeReason::from_number(message.reason),
            journal: JournalId::from_slice(&message.journal).ok_or_else(|| field("journal"))?,
            unavailable: message
                .unavailable
                .iter()
                .map(|span| Span { volume: span.volume, from: span.from, to: span.to })
                .collect(),
            fetched_from: message
                .fetched_from
                .iter()
                .map(|target| Target { volume: target.volume, index: target.index })
                .collect(),
        })
    }
}

impl KeyBody {
    /// Writes the body.
    pub fn encode(&self) -> Bytes {
        let revoked = self
            .revoked
            .iter()
            .map(|key| proto::RevokedKey {
                algorithm: key.algorithm,
                public_key: key.public_key.clone(),
                volume: key.volume,
                last_good_size: key.last_good_size,
            })
            .collect();
        proto::KeyBody { keys: keys_to_proto(&self.keys), revoked }.encode_to_vec().into()
    }

    /// Reads the body.
    ///
    /// # Errors
    /// Not a protobuf message, or more than [`MAX_KEYS`] keys.
    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        const WHAT: &str = "KEY body";
        check_body(WHAT, &bytes)?;
        let message: proto::KeyBody = super::decode(WHAT, bytes)?;
        if message.revoked.len() > MAX_KEYS {
            return Err(WireError::TooLarge { what: WHAT, size: message.revoked.len(), limit: MAX_KEYS });
        }
        let revoked = message
            .revoked
            .into_iter()
            .map(|key| RevokedKey {
                algorithm: key.algorithm,
                public_key: key.public_key,
                volume: key.volume,
                last_good_size: key.last_good_size,
            })
            .collect();
        Ok(Self { keys: keys_from_proto(WHAT, message.keys)?, revoked })
    }
}

impl SealBody {
    /// Writes the body.
    pub fn encode(&self) -> Bytes {
        proto::SealBody {
            journal: Bytes::copy_from_slice(self.journal.as_bytes()),
            size: self.size,
            root: Bytes::copy_from_slice(&self.root.0),
        }
        .encode_to_vec()
        .into()
    }

    /// Reads the body.
    ///
    /// # Errors
    /// Not a protobuf message, or a field of a wrong length.
    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        const WHAT: &str = "SEAL body";
        check_body(WHAT, &bytes)?;
        let message: proto::SealBody = super::decode(WHAT, bytes)?;
        let field = |field| WireError::Field { what: WHAT, field };
        Ok(Self {
            journal: JournalId::from_slice(&message.journal).ok_or_else(|| field("journal"))?,
            size: message.size,
            root: Hash::from_slice(&message.root).ok_or_else(|| field("root"))?,
        })
    }
}

impl ErasedBody {
    /// Writes the body.
    pub fn encode(&self) -> Bytes {
        proto::ErasedBody { basis: self.basis, authority: self.authority.clone() }.encode_to_vec().into()
    }

    /// Reads the body.
    ///
    /// # Errors
    /// Not a protobuf message.
    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        const WHAT: &str = "ERASED body";
        check_body(WHAT, &bytes)?;
        let message: proto::ErasedBody = super::decode(WHAT, bytes)?;
        Ok(Self { basis: message.basis, authority: message.authority })
    }
}

/// Writes the body of a REFUSED entry: the ordinals of the enclosures that are not accepted; empty for the text.
pub fn refused_body(ordinals: &[u32]) -> Bytes {
    proto::RefusedBody { ordinals: ordinals.to_vec() }.encode_to_vec().into()
}

/// Reads the body of a REFUSED entry.
///
/// # Errors
/// Not a protobuf message.
pub fn refused_ordinals(bytes: Bytes) -> Result<Vec<u32>, WireError> {
    check_body("REFUSED body", &bytes)?;
    Ok(super::decode::<proto::RefusedBody>("REFUSED body", bytes)?.ordinals)
}

fn check_body(what: &'static str, bytes: &Bytes) -> Result<(), WireError> {
    if bytes.len() > MAX_BODY {
        return Err(WireError::TooLarge { what, size: bytes.len(), limit: MAX_BODY });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_body_reads_back() {
        let body = VolumeBody {
            keys: vec![SigningKey { algorithm: 1, public_key: vec![1; 32].into(), certificate: Bytes::new() }],
            before: Some(HeadRef {
                origin: "verbale/XA/XB/1.5f0c9a3e7b2d4410".parse().unwrap(),
                size: 9,
                root: Hash([4; 32]),
            }),
            reason: VolumeReason::Restored,
            journal: JournalId([5; 16]),
            unavailable: vec![Span { volume: 1, from: 3, to: 4 }],
            fetched_from: vec![Target { volume: 1, index: 7 }],
        };
        assert_eq!(VolumeBody::decode(body.encode()), Ok(body));
    }

    #[test]
    fn an_empty_span_or_a_journal_of_another_length_is_refused() {
        let good = proto::VolumeBody { journal: vec![0; 16].into(), ..Default::default() };
        assert!(VolumeBody::decode(good.encode_to_vec().into()).is_ok());
        let span = proto::VolumeBody { unavailable: vec![proto::Span { volume: 1, from: 3, to: 3 }], ..good.clone() };
        assert!(VolumeBody::decode(span.encode_to_vec().into()).is_err());
        let journal = proto::VolumeBody { journal: vec![0; 15].into(), ..good };
        assert!(VolumeBody::decode(journal.encode_to_vec().into()).is_err());
    }

    #[test]
    fn ordinals_read_back() {
        assert_eq!(refused_ordinals(refused_body(&[0, 3])), Ok(vec![0, 3]));
        assert_eq!(refused_ordinals(refused_body(&[])), Ok(vec![]));
    }
}
