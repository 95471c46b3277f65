//! Leaves, commitments and the bodies behind them.

use aws_lc_rs::digest;
use bytes::{BufMut, Bytes, BytesMut};

use super::{Header, MAX_BODY, MAX_HEADER, MAX_LEAF, WireError};
use crate::name::Hash;

const LEAF_VERSION: u8 = 0x01;
const FIXED: usize = 1 + 32 + 4;

/// SHA-256("verbale body v1\0" ‖ salt ‖ body), which hides the body and binds it.
pub fn commitment(salt: &[u8; 32], body: &[u8]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"verbale body v1\0");
    context.update(salt);
    context.update(body);
    Hash::from_slice(context.finish().as_ref()).expect("SHA-256 has 32 bytes")
}

/// What an entry's place in the tree hashes: `0x01 ‖ commitment ‖ body_len u32be ‖ header`, kept verbatim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    bytes: Bytes,
}

impl Leaf {
    /// Puts a leaf together.
    ///
    /// # Errors
    /// A header over [`MAX_HEADER`] or a body length over [`MAX_BODY`].
    pub fn new(commitment: Hash, body_len: usize, header: &[u8]) -> Result<Self, WireError> {
        if header.len() > MAX_HEADER {
            return Err(WireError::TooLarge { what: "header", size: header.len(), limit: MAX_HEADER });
        }
        if body_len > MAX_BODY {
            return Err(WireError::TooLarge { what: "body", size: body_len, limit: MAX_BODY });
        }
        let mut bytes = BytesMut::with_capacity(FIXED + header.len());
        bytes.put_u8(LEAF_VERSION);
        bytes.put_slice(&commitment.0);
        bytes.put_u32(u32::try_from(body_len).expect("under 48 KiB"));
        bytes.put_slice(header);
        Ok(Self { bytes: bytes.freeze() })
    }

    /// Takes a leaf from a peer or from the journal. A header that cannot be decoded is no error here.
    ///
    /// # Errors
    /// A wrong version byte, too few or too many bytes, a body length over [`MAX_BODY`].
    pub fn parse(bytes: Bytes) -> Result<Self, WireError> {
        if bytes.len() > MAX_LEAF {
            return Err(WireError::TooLarge { what: "leaf", size: bytes.len(), limit: MAX_LEAF });
        }
        if bytes.len() < FIXED {
            return Err(WireError::Length("leaf"));
        }
        if bytes[0] != LEAF_VERSION {
            return Err(WireError::Type { what: "leaf", number: bytes[0].into() });
        }
        let leaf = Self { bytes };
        if leaf.body_len() > MAX_BODY {
            return Err(WireError::TooLarge { what: "body", size: leaf.body_len(), limit: MAX_BODY });
        }
        Ok(leaf)
    }

    /// The bytes that the tree hashes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The commitment to salt and body.
    pub fn commitment(&self) -> Hash {
        Hash::from_slice(&self.bytes[1..33]).expect("32 bytes")
    }

    /// The length of the body in bytes.
    pub fn body_len(&self) -> usize {
        u32::from_be_bytes(self.bytes[33..FIXED].try_into().expect("four bytes")) as usize
    }

    /// The header's bytes.
    pub fn header_bytes(&self) -> Bytes {
        self.bytes.slice(FIXED..)
    }

    /// The header, where it can be understood.
    ///
    /// # Errors
    /// A header that this version cannot decode; the leaf stays storable.
    pub fn header(&self) -> Result<Header, WireError> {
        Header::decode(self.header_bytes())
    }

    /// Whether `salt` and `body` open the commitment.
    pub fn is_opened_by(&self, salt: &[u8; 32], body: &[u8]) -> bool {
        body.len() == self.body_len() && commitment(salt, body) == self.commitment()
    }
}

/// Why a body does not travel with its leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Absent {
    /// A SEAL: its body is never sent.
    Sealed,
    /// The author withdraws it; a VOID lies below the checkpoint that follows.
    Voided,
    /// Erased with authority, after a receipt.
    Erased,
    /// No longer available, in a refill.
    Unavailable,
}

/// The word that stands where a body is absent, for people.
pub const ABSENT_BODY: &str = "(body not present)";

impl Absent {
    /// The number on the wire.
    pub fn number(self) -> i32 {
        match self {
            Self::Sealed => 1,
            Self::Voided => 2,
            Self::Erased => 3,
            Self::Unavailable => 4,
        }
    }

    /// The reason for a number from the wire; unknown numbers read as not available.
    pub fn from_number(number: i32) -> Option<Self> {
        match number {
            0 => None,
            1 => Some(Self::Sealed),
            2 => Some(Self::Voided),
            3 => Some(Self::Erased),
            _ => Some(Self::Unavailable),
        }
    }
}

/// The body that travels with a leaf, or why it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Salt and body.
    Present {
        /// Opens the commitment together with the body.
        salt: [u8; 32],
        /// The body's bytes.
        body: Bytes,
    },
    /// No body.
    Absent(Absent),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_reads_back_and_opens_only_with_its_own_body() {
        let (salt, body) = ([7; 32], b"text".as_slice());
        let leaf = Leaf::new(commitment(&salt, body), body.len(), b"header").unwrap();
        let read = Leaf::parse(leaf.bytes().clone()).unwrap();
        assert_eq!(read, leaf);
        assert_eq!(&read.header_bytes()[..], b"header");
        assert!(read.is_opened_by(&salt, body));
        assert!(!read.is_opened_by(&salt, b"texu"));
        assert!(!read.is_opened_by(&[8; 32], body));
    }

    #[test]
    fn leaves_at_the_limits() {
        let hash = Hash::default();
        assert!(Leaf::new(hash, MAX_BODY, &[0; MAX_HEADER]).is_ok_and(|leaf| leaf.bytes().len() == MAX_LEAF));
        assert!(Leaf::new(hash, MAX_BODY + 1, &[]).is_err());
        assert!(Leaf::new(hash, 0, &[0; MAX_HEADER + 1]).is_err());
        let one_over = Bytes::from(vec![LEAF_VERSION; MAX_LEAF + 1]);
        assert!(matches!(Leaf::parse(one_over), Err(WireError::TooLarge { .. })));
        assert_eq!(Leaf::parse(Bytes::from_static(&[1; FIXED - 1])), Err(WireError::Length("leaf")));
        assert!(matches!(Leaf::parse(Bytes::from_static(&[2; FIXED])), Err(WireError::Type { number: 2, .. })));
    }

    #[test]
    fn an_empty_body_has_a_commitment_too() {
        assert_ne!(commitment(&[0; 32], b""), commitment(&[1; 32], b""));
    }
}
