//! The keys of both algorithms: the seams through which signing and verifying go, and what stands behind them outside
//! of simulations.

use std::fmt;

use aws_lc_rs::signature::{
    ED25519, Ed25519KeyPair, KeyPair, ML_DSA_44, ML_DSA_44_SIGNING, PqdsaKeyPair, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::KeyAlgorithm;

/// Signs tree heads with one key of each algorithm; a simulation hands in keys of its own making.
pub trait Signer {
    /// The public key of that algorithm.
    fn public_key(&self, algorithm: KeyAlgorithm) -> &[u8];

    /// The bare signature over `message`; never empty.
    fn sign(&self, algorithm: KeyAlgorithm, message: &[u8]) -> Vec<u8>;
}

/// Judges signatures.
pub trait Verifier {
    /// Whether `signature` is the key's over `message`; false for keys and signatures that are none.
    fn verify(&self, algorithm: KeyAlgorithm, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool;
}

/// The public signing keys of a node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "WrittenKeys", into = "WrittenKeys")]
pub struct PublicKeys {
    /// The Ed25519 key.
    pub ed25519: [u8; 32],
    /// The ML-DSA-44 key, 1312 bytes.
    pub ml_dsa_44: Vec<u8>,
}

/// The form in which keys are stored; lengths are checked when it is read.
#[derive(Serialize, Deserialize)]
struct WrittenKeys {
    ed25519: [u8; 32],
    ml_dsa_44: Vec<u8>,
}

impl From<PublicKeys> for WrittenKeys {
    fn from(keys: PublicKeys) -> Self {
        Self { ed25519: keys.ed25519, ml_dsa_44: keys.ml_dsa_44 }
    }
}

impl TryFrom<WrittenKeys> for PublicKeys {
    type Error = KeyError;

    fn try_from(written: WrittenKeys) -> Result<Self, KeyError> {
        Self::from_parts(&written.ed25519, &written.ml_dsa_44)
    }
}

impl PublicKeys {
    /// Takes keys from bytes whose length is checked.
    ///
    /// # Errors
    /// A key of another length than 32 and 1312 bytes.
    pub fn from_parts(ed25519: &[u8], ml_dsa_44: &[u8]) -> Result<Self, KeyError> {
        if ml_dsa_44.len() != KeyAlgorithm::MlDsa44.public_key_bytes() {
            return Err(KeyError::Length(KeyAlgorithm::MlDsa44));
        }
        let ed25519 = ed25519.try_into().map_err(|_| KeyError::Length(KeyAlgorithm::Ed25519))?;
        Ok(Self { ed25519, ml_dsa_44: ml_dsa_44.to_vec() })
    }

    /// The public keys of a signer.
    ///
    /// # Errors
    /// A signer whose keys have other lengths.
    pub fn of(signer: &dyn Signer) -> Result<Self, KeyError> {
        Self::from_parts(signer.public_key(KeyAlgorithm::Ed25519), signer.public_key(KeyAlgorithm::MlDsa44))
    }

    /// The key of one algorithm.
    pub fn get(&self, algorithm: KeyAlgorithm) -> &[u8] {
        match algorithm {
            KeyAlgorithm::Ed25519 => &self.ed25519,
            KeyAlgorithm::MlDsa44 => &self.ml_dsa_44,
        }
    }
}

impl fmt::Debug for PublicKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKeys({}…)", data_encoding::HEXLOWER.encode(&self.ed25519[..8]))
    }
}

/// Why keys could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A public key has another length than its algorithm needs.
    #[error("a public key of {0:?} has not its length")]
    Length(KeyAlgorithm),
    /// The signature library did not accept a seed.
    #[error("the signature library made no key of {0:?} from its seed")]
    Seed(KeyAlgorithm),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// The secrets from which both signing keys follow, 32 bytes each; they leave memory with their owner.
#[derive(Clone)]
pub struct Seeds {
    /// The seed of the Ed25519 key (RFC 8032, the private key).
    pub ed25519: Zeroizing<[u8; 32]>,
    /// The seed of the ML-DSA-44 key (FIPS 204, ξ).
    pub ml_dsa_44: Zeroizing<[u8; 32]>,
}

impl Seeds {
    /// Draws new seeds from the system.
    ///
    /// # Errors
    /// [`KeyError::Random`] where the system has none.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seeds = Self { ed25519: Zeroizing::new([0; 32]), ml_dsa_44: Zeroizing::new([0; 32]) };
        aws_lc_rs::rand::fill(seeds.ed25519.as_mut_slice()).map_err(|_| KeyError::Random)?;
        aws_lc_rs::rand::fill(seeds.ml_dsa_44.as_mut_slice()).map_err(|_| KeyError::Random)?;
        Ok(seeds)
    }

    /// Reads seeds in the form that [`Seeds::to_bytes`] writes.
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let (mut ed25519, mut ml_dsa_44) = ([0; 32], [0; 32]);
        ed25519.copy_from_slice(&bytes[..32]);
        ml_dsa_44.copy_from_slice(&bytes[32..]);
        let seeds = Self { ed25519: Zeroizing::new(ed25519), ml_dsa_44: Zeroizing::new(ml_dsa_44) };
        ed25519.zeroize();
        ml_dsa_44.zeroize();
        seeds
    }

    /// Both seeds, Ed25519 first.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 64]> {
        let mut bytes = Zeroizing::new([0; 64]);
        bytes[..32].copy_from_slice(self.ed25519.as_slice());
        bytes[32..].copy_from_slice(self.ml_dsa_44.as_slice());
        bytes
    }
}

impl fmt::Debug for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seeds(…)")
    }
}

/// A node's signing keys in memory. They sign tree heads and nothing else.
pub struct SigningKeys {
    ed25519: Ed25519KeyPair,
    ml_dsa_44: PqdsaKeyPair,
    public: PublicKeys,
}

impl SigningKeys {
    /// Makes both key pairs from their seeds; the same seeds always give the same keys.
    ///
    /// # Errors
    /// Where the signature library does not take a seed.
    pub fn from_seeds(seeds: &Seeds) -> Result<Self, KeyError> {
        let ed25519 = Ed25519KeyPair::from_seed_unchecked(seeds.ed25519.as_slice())
            .map_err(|_| KeyError::Seed(KeyAlgorithm::Ed25519))?;
        let ml_dsa_44 = PqdsaKeyPair::from_seed(&ML_DSA_44_SIGNING, seeds.ml_dsa_44.as_slice())
            .map_err(|_| KeyError::Seed(KeyAlgorithm::MlDsa44))?;
        Self::from_pairs(ed25519, ml_dsa_44)
    }

    /// Takes key pairs that were made elsewhere, as from a key file.
    ///
    /// # Errors
    /// Where a public key has not the length of its algorithm.
    pub fn from_pairs(ed25519: Ed25519KeyPair, ml_dsa_44: PqdsaKeyPair) -> Result<Self, KeyError> {
        let public = PublicKeys::from_parts(ed25519.public_key().as_ref(), ml_dsa_44.public_key().as_ref())?;
        Ok(Self { ed25519, ml_dsa_44, public })
    }

    /// Both public keys.
    pub fn public_keys(&self) -> &PublicKeys {
        &self.public
    }
}

impl Signer for SigningKeys {
    fn public_key(&self, algorithm: KeyAlgorithm) -> &[u8] {
        self.public.get(algorithm)
    }

    fn sign(&self, algorithm: KeyAlgorithm, message: &[u8]) -> Vec<u8> {
        match algorithm {
            KeyAlgorithm::Ed25519 => self.ed25519.sign(message).as_ref().to_vec(),
            KeyAlgorithm::MlDsa44 => {
                let mut signature = vec![0; KeyAlgorithm::MlDsa44.signature_bytes()];
                let length = self.ml_dsa_44.sign(message, &mut signature);
                length.expect("a key that was made signs into a buffer of the signature's length");
                signature
            }
        }
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeys({:?})", self.public)
    }
}

/// The real judge of signatures.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crypto;

impl Verifier for Crypto {
    fn verify(&self, algorithm: KeyAlgorithm, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        if public_key.len() != algorithm.public_key_bytes() || signature.len() != algorithm.signature_bytes() {
            return false;
        }
        let verdict = match algorithm {
            KeyAlgorithm::Ed25519 => UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature),
            KeyAlgorithm::MlDsa44 => UnparsedPublicKey::new(&ML_DSA_44, public_key).verify(message, signature),
        };
        verdict.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_read_back_and_make_the_same_keys_again() {
        let seeds = Seeds::generate().unwrap();
        let again = Seeds::from_bytes(&seeds.to_bytes());
        let (keys, same) = (SigningKeys::from_seeds(&seeds).unwrap(), SigningKeys::from_seeds(&again).unwrap());
        assert_eq!(keys.public_keys(), same.public_keys());
        assert_eq!(PublicKeys::of(&keys).as_ref(), Ok(keys.public_keys()));
        let other = SigningKeys::from_seeds(&Seeds::generate().unwrap()).unwrap();
        assert_ne!(keys.public_keys(), other.public_keys());
        assert_eq!(format!("{seeds:?}"), "Seeds(…)");
    }

    #[test]
    fn a_signature_holds_for_its_key_and_message_only() {
        let keys = SigningKeys::from_seeds(&Seeds::from_bytes(&[7; 64])).unwrap();
        let other = SigningKeys::from_seeds(&Seeds::from_bytes(&[8; 64])).unwrap();
        for algorithm in KeyAlgorithm::ALL {
            let signature = keys.sign(algorithm, b"head");
            let key = keys.public_key(algorithm);
            assert_eq!(signature.len(), algorithm.signature_bytes());
            assert!(Crypto.verify(algorithm, key, b"head", &signature));
            assert!(!Crypto.verify(algorithm, key, b"heat", &signature));
            assert!(!Crypto.verify(algorithm, other.public_key(algorithm), b"head", &signature));
            assert!(!Crypto.verify(algorithm, &key[1..], b"head", &signature));
            assert!(!Crypto.verify(algorithm, key, b"head", &signature[1..]));
            assert!(!Crypto.verify(algorithm, key, b"head", &[]));
        }
    }

    #[test]
    fn a_key_is_taken_in_its_raw_form_only() {
        // The library beneath also reads keys in their X.509 wrapping, which would give one key two texts.
        let keys = SigningKeys::from_seeds(&Seeds::from_bytes(&[7; 64])).unwrap();
        let wrapped = [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", keys.public_key(KeyAlgorithm::Ed25519)];
        let wrapped = wrapped.concat();
        let signature = keys.sign(KeyAlgorithm::Ed25519, b"head");
        assert!(UnparsedPublicKey::new(&ED25519, &wrapped).verify(b"head", &signature).is_ok());
        assert!(!Crypto.verify(KeyAlgorithm::Ed25519, &wrapped, b"head", &signature));
    }

    #[test]
    fn stored_keys_of_a_wrong_length_are_refused_when_read() {
        let keys = PublicKeys { ed25519: [1; 32], ml_dsa_44: vec![2; 1312] };
        let stored = postcard::to_stdvec(&keys).unwrap();
        assert_eq!(postcard::from_bytes::<PublicKeys>(&stored), Ok(keys.clone()));
        let short = PublicKeys { ml_dsa_44: vec![2; 1311], ..keys };
        assert!(postcard::from_bytes::<PublicKeys>(&postcard::to_stdvec(&short).unwrap()).is_err());
    }
}
