//! The algorithms of signature lines, key ids, and verifier keys as text.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};

use super::base64;
use super::line::name_is_valid;

/// What a key pair is for, whatever lines it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyAlgorithm {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ML-DSA-44 (FIPS 204), with an empty context.
    MlDsa44,
}

impl KeyAlgorithm {
    /// Both, the classical one first.
    pub const ALL: [Self; 2] = [Self::Ed25519, Self::MlDsa44];

    /// The length of a public key in bytes.
    pub const fn public_key_bytes(self) -> usize {
        match self {
            Self::Ed25519 => 32,
            Self::MlDsa44 => 1312,
        }
    }

    /// The length of a bare signature in bytes, without key id and time.
    pub const fn signature_bytes(self) -> usize {
        match self {
            Self::Ed25519 => 64,
            Self::MlDsa44 => 2420,
        }
    }
}

/// The signature type of a line (c2sp.org/signed-note, "Signature types").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// Ed25519 over the text of the note: the author's log line.
    Ed25519 = 0x01,
    /// Ed25519 over the time and the text of a checkpoint: the holder's receipt line.
    CosignatureV1 = 0x04,
    /// ML-DSA-44 over the names, the time and the tree of a checkpoint: both kinds of lines.
    MlDsa44 = 0x06,
}

impl Algorithm {
    /// The byte that stands for it in key ids and verifier keys.
    pub fn byte(self) -> u8 {
        self as u8
    }

    /// The algorithm for a byte; `None` for one that is not judged here.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Ed25519),
            0x04 => Some(Self::CosignatureV1),
            0x06 => Some(Self::MlDsa44),
            _ => None,
        }
    }

    /// The kind of key that signs such lines.
    pub fn key_algorithm(self) -> KeyAlgorithm {
        match self {
            Self::Ed25519 | Self::CosignatureV1 => KeyAlgorithm::Ed25519,
            Self::MlDsa44 => KeyAlgorithm::MlDsa44,
        }
    }

    /// Whether eight bytes of time stand before the signature.
    pub fn carries_time(self) -> bool {
        self != Self::Ed25519
    }
}

/// The key id: the first four bytes of SHA-256(name ‖ 0x0A ‖ algorithm ‖ public key).
///
/// It tells keys apart, and proves nothing: other keys with the same id are easily made.
pub fn key_id(name: &str, algorithm: Algorithm, public_key: &[u8]) -> [u8; 4] {
    let mut context = Context::new(&SHA256);
    context.update(name.as_bytes());
    context.update(&[b'\n', algorithm.byte()]);
    context.update(public_key);
    let digest = context.finish();
    digest.as_ref()[..4].try_into().expect("SHA-256 gives more than four bytes")
}

/// A public key under a name, as verifiers are configured with it: `<name>+<key id>+<base64>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    algorithm: Algorithm,
    public_key: Vec<u8>,
    id: [u8; 4],
}

/// Why a text is not a verifier key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierKeyError {
    /// It does not consist of a name, eight hexadecimal digits and base64, joined by `+`.
    #[error("this is not a verifier key: it looks like example.org/log+1a2b3c4d+AQ…")]
    Form,
    /// The name cannot stand in a signature line.
    #[error("the name of a verifier key is not empty and has no spaces, `+` or control characters")]
    Name,
    /// The signature type is none of those that are judged here.
    #[error("signature type 0x{0:02x} is not judged here (only 0x01, 0x04 and 0x06)")]
    Algorithm(u8),
    /// The key has another length than its algorithm needs.
    #[error("a public key of {given} bytes was given where {needed} are needed")]
    Length {
        /// How many bytes there are.
        given: usize,
        /// How many bytes the algorithm needs.
        needed: usize,
    },
    /// The key id does not belong to name and key: a slip in copying, or another key.
    #[error("the key id does not belong to this name and key; it was copied wrongly, or altered")]
    KeyId,
}

impl VerifierKey {
    /// Puts a public key under a name.
    ///
    /// # Errors
    /// A name that cannot stand in a line, or a key of the wrong length.
    pub fn new(name: &str, algorithm: Algorithm, public_key: &[u8]) -> Result<Self, VerifierKeyError> {
        if !name_is_valid(name) {
            return Err(VerifierKeyError::Name);
        }
        let needed = algorithm.key_algorithm().public_key_bytes();
        if public_key.len() != needed {
            return Err(VerifierKeyError::Length { given: public_key.len(), needed });
        }
        let id = key_id(name, algorithm, public_key);
        Ok(Self { name: name.to_owned(), algorithm, public_key: public_key.to_vec(), id })
    }

    /// The name that stands in its lines.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The signature type of its lines.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The bytes of the key.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The key id that stands in its lines.
    pub fn key_id(&self) -> [u8; 4] {
        self.id
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.algorithm.byte()], self.public_key.as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, HEXLOWER.encode(&self.id), BASE64.encode(&key))
    }
}

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<Self, VerifierKeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(VerifierKeyError::Form);
        };
        let id = HEXLOWER.decode(id.as_bytes()).map_err(|_| VerifierKeyError::Form)?;
        let key = base64::decode(key).ok_or(VerifierKeyError::Form)?;
        let (byte, public_key) = key.split_first().ok_or(VerifierKeyError::Form)?;
        let algorithm = Algorithm::from_byte(*byte).ok_or(VerifierKeyError::Algorithm(*byte))?;
        let read = Self::new(name, algorithm, public_key)?;
        if read.id.as_slice() == id.as_slice() { Ok(read) } else { Err(VerifierKeyError::KeyId) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example key of c2sp.org/signed-note.
    const EXAMPLE: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn verifier_keys_read_back_as_written() {
        let key: VerifierKey = EXAMPLE.parse().unwrap();
        assert_eq!((key.name(), key.algorithm()), ("example.com/foo", Algorithm::Ed25519));
        assert_eq!(key.to_string(), EXAMPLE);
        for algorithm in [Algorithm::Ed25519, Algorithm::CosignatureV1, Algorithm::MlDsa44] {
            let key = vec![7; algorithm.key_algorithm().public_key_bytes()];
            let key = VerifierKey::new("verbale/XB", algorithm, &key).unwrap();
            assert_eq!(key.to_string().parse(), Ok(key));
        }
    }

    #[test]
    fn what_is_not_a_verifier_key_is_refused_with_its_reason() {
        use VerifierKeyError as E;
        let with = |from: &str, to: &str| EXAMPLE.replace(from, to).parse::<VerifierKey>().unwrap_err();
        assert_eq!(with("530d903a", "530d903b"), E::KeyId);
        assert_eq!(with("/foo", "/fop"), E::KeyId);
        assert_eq!(with("530d903a", "530D903A"), E::Form);
        assert_eq!(with("530d903a+", ""), E::Form);
        assert_eq!(with("example.com/foo", ""), E::Name);
        assert_eq!(with("example.com/foo", "example.com foo"), E::Name);
        assert_eq!(with("+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "+"), E::Form);
        assert_eq!(with("+Aeky", "+Auky"), E::Algorithm(2));
        assert_eq!(with("+AekyeRrm", "+Aeky"), E::Length { given: 29, needed: 32 });
        assert!(matches!("".parse::<VerifierKey>(), Err(E::Form)));
        for (given, needed) in [(1311, 1312), (1313, 1312)] {
            let key = vec![0; given];
            assert_eq!(VerifierKey::new("n", Algorithm::MlDsa44, &key), Err(E::Length { given, needed }));
        }
    }
}
