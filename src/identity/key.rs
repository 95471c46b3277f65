//! Private keys of every algorithm that verbale uses, in one noun: made, read, written, used.

use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    ML_DSA_44_SIGNING, PqdsaKeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

/// Bytes of a raw Ed25519 public key (RFC 8032).
pub const ED25519_PUBLIC_LEN: usize = 32;
/// Bytes of a raw ML-DSA-44 public key (FIPS 204).
pub const ML_DSA_44_PUBLIC_LEN: usize = 1312;

/// An algorithm of which verbale makes or reads private keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PrivateAlgorithm {
    /// ECDSA on P-256 with SHA-256: TLS keys.
    P256,
    /// ECDSA on P-384 with SHA-384: roots.
    P384,
    /// Ed25519 (RFC 8032): tree heads; also roots and TLS keys of States that prefer it.
    Ed25519,
    /// ML-DSA-44 (FIPS 204): tree heads.
    MlDsa44,
}

/// Why a private key could not be made, read or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes are not a PKCS#8 private key of an algorithm that is read here.
    #[error("this is not a private key in PKCS#8 of P-256, P-384, Ed25519 or ML-DSA-44")]
    Unreadable,
    /// The text holds no `PRIVATE KEY` block.
    #[error("there is no unencrypted PRIVATE KEY block in PKCS#8 PEM here")]
    NoPem,
    /// A key of another algorithm is needed here.
    #[error("a key of {wanted:?} is needed here, this one is of {found:?}")]
    Algorithm {
        /// What is needed.
        wanted: PrivateAlgorithm,
        /// What was found.
        found: PrivateAlgorithm,
    },
    /// The cryptographic library failed: no randomness, no memory.
    #[error("the cryptographic library failed while {0}")]
    Library(&'static str),
}

/// A private key. It leaves memory with its owner; `Debug` shows the algorithm only.
pub struct PrivateKey(Pair);

enum Pair {
    Ec(EcdsaKeyPair, PrivateAlgorithm),
    Ed25519(Ed25519KeyPair),
    MlDsa44(PqdsaKeyPair),
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({:?})", self.algorithm())
    }
}

impl PrivateKey {
    /// Makes a fresh key.
    ///
    /// # Errors
    /// [`KeyError::Library`] where the system has no randomness.
    pub fn generate(algorithm: PrivateAlgorithm) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Library("making a key");
        Ok(Self(match algorithm {
            PrivateAlgorithm::P256 => {
                Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?, algorithm)
            }
            PrivateAlgorithm::P384 => {
                Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).map_err(failed)?, algorithm)
            }
            PrivateAlgorithm::Ed25519 => Pair::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
            PrivateAlgorithm::MlDsa44 => Pair::MlDsa44(PqdsaKeyPair::generate(&ML_DSA_44_SIGNING).map_err(failed)?),
        }))
    }

    /// Reads PKCS#8 DER (RFC 5958) and finds the algorithm by itself.
    ///
    /// # Errors
    /// [`KeyError::Unreadable`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, der) {
            return Ok(Self(Pair::Ec(pair, PrivateAlgorithm::P384)));
        }
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der) {
            return Ok(Self(Pair::Ec(pair, PrivateAlgorithm::P256)));
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self(Pair::Ed25519(pair)));
        }
        let pair = PqdsaKeyPair::from_pkcs8(&ML_DSA_44_SIGNING, der).map_err(|_| KeyError::Unreadable)?;
        Ok(Self(Pair::MlDsa44(pair)))
    }

    /// Reads the first `PRIVATE KEY` block of PEM text (RFC 7468).
    ///
    /// # Errors
    /// [`KeyError::NoPem`], [`KeyError::Unreadable`].
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text).map_err(|_| KeyError::NoPem)?;
        Self::from_pkcs8(der.secret_pkcs8_der())
    }

    /// Requires the algorithm.
    ///
    /// # Errors
    /// [`KeyError::Algorithm`].
    pub fn of(self, wanted: PrivateAlgorithm) -> Result<Self, KeyError> {
        let found = self.algorithm();
        if found == wanted { Ok(self) } else { Err(KeyError::Algorithm { wanted, found }) }
    }

    /// The algorithm.
    pub fn algorithm(&self) -> PrivateAlgorithm {
        match &self.0 {
            Pair::Ec(_, algorithm) => *algorithm,
            Pair::Ed25519(_) => PrivateAlgorithm::Ed25519,
            Pair::MlDsa44(_) => PrivateAlgorithm::MlDsa44,
        }
    }

    /// PKCS#8 version 1 DER; an ML-DSA key as its seed. Wiped when dropped.
    ///
    /// # Errors
    /// [`KeyError::Library`], where an ML-DSA key was read in expanded form and has no seed.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let document = match &self.0 {
            Pair::Ec(pair, _) => pair.to_pkcs8v1(),
            Pair::Ed25519(pair) => pair.to_pkcs8v1(),
            Pair::MlDsa44(pair) => pair.to_pkcs8v1(),
        };
        let document = document.map_err(|_| KeyError::Library("writing a key as PKCS#8"))?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// PKCS#8 PEM, as `openssl pkey` reads it. Wiped when dropped.
    ///
    /// # Errors
    /// As [`PrivateKey::to_pkcs8`].
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        Ok(Zeroizing::new(pem_block("PRIVATE KEY", &self.to_pkcs8()?)))
    }

    /// The PKCS#8 form that rustls takes.
    pub(super) fn to_rustls(&self) -> Result<PrivateKeyDer<'static>, KeyError> {
        Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.to_pkcs8()?.to_vec())))
    }

    /// The raw public key: an uncompressed point, 32 bytes of Ed25519, 1,312 bytes of ML-DSA-44.
    pub fn public(&self) -> &[u8] {
        match &self.0 {
            Pair::Ec(pair, _) => pair.public_key().as_ref(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
            Pair::MlDsa44(pair) => pair.public_key().as_ref(),
        }
    }

    /// Signs `message` as X.509 does: ECDSA in ASN.1 with the curve's hash, pure Ed25519, pure ML-DSA without context.
    ///
    /// # Errors
    /// [`KeyError::Library`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError::Library("signing");
        match &self.0 {
            Pair::Ec(pair, _) => pair.sign(&SystemRandom::new(), message).map(|s| s.as_ref().to_vec()).map_err(failed),
            Pair::Ed25519(pair) => pair.try_sign(message).map(|s| s.as_ref().to_vec()).map_err(failed),
            Pair::MlDsa44(pair) => {
                let mut signature = vec![0; ML_DSA_44_SIGNING.signature_len()];
                let len = pair.sign(message, &mut signature).map_err(failed)?;
                signature.truncate(len);
                Ok(signature)
            }
        }
    }

    /// The bare secret: the scalar of a curve key in big-endian, the seed of Ed25519. ML-DSA keys have no paper form.
    pub(super) fn secret(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let failed = |_| KeyError::Library("taking the secret out of a key");
        match &self.0 {
            Pair::Ec(pair, _) => {
                let scalar = pair.private_key().as_be_bytes().map_err(failed)?;
                Ok(Zeroizing::new(scalar.as_ref().to_vec()))
            }
            Pair::Ed25519(pair) => {
                let seed = pair.seed().map_err(failed)?;
                let bytes = seed.as_be_bytes().map_err(failed)?;
                Ok(Zeroizing::new(bytes.as_ref().to_vec()))
            }
            Pair::MlDsa44(_) => Err(KeyError::Unreadable),
        }
    }

    /// Rebuilds a key from its bare secret.
    pub(super) fn from_secret(algorithm: PrivateAlgorithm, secret: &[u8]) -> Result<Self, KeyError> {
        // PKCS#8 without the optional public key: SEQUENCE { 0, algorithm, OCTET STRING { key } }, lengths fixed.
        let (prefix, length) = match algorithm {
            PrivateAlgorithm::P384 => (hex("304e020100301006072a8648ce3d020106052b81040022043730350201010430"), 48),
            PrivateAlgorithm::P256 => {
                (hex("3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420"), 32)
            }
            PrivateAlgorithm::Ed25519 => (hex("302e020100300506032b657004220420"), 32),
            PrivateAlgorithm::MlDsa44 => return Err(KeyError::Unreadable),
        };
        if secret.len() != length {
            return Err(KeyError::Unreadable);
        }
        let der = Zeroizing::new([prefix.as_slice(), secret].concat());
        Self::from_pkcs8(&der)?.of(algorithm)
    }
}

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).expect("a constant of this file")
}

impl rcgen::PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        self.public()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.algorithm() {
            PrivateAlgorithm::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            PrivateAlgorithm::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            PrivateAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
            PrivateAlgorithm::MlDsa44 => &rcgen::PKCS_ML_DSA_44,
        }
    }
}

impl rcgen::SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        PrivateKey::sign(self, message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// The two keys that sign tree heads, and nothing else.
#[derive(Debug)]
pub struct SigningKeys {
    ed25519: PrivateKey,
    ml_dsa_44: PrivateKey,
}

impl SigningKeys {
    /// Makes both keys.
    ///
    /// # Errors
    /// [`KeyError::Library`].
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self {
            ed25519: PrivateKey::generate(PrivateAlgorithm::Ed25519)?,
            ml_dsa_44: PrivateKey::generate(PrivateAlgorithm::MlDsa44)?,
        })
    }

    /// Takes one key of each algorithm.
    ///
    /// # Errors
    /// [`KeyError::Algorithm`].
    pub fn new(ed25519: PrivateKey, ml_dsa_44: PrivateKey) -> Result<Self, KeyError> {
        Ok(Self {
            ed25519: ed25519.of(PrivateAlgorithm::Ed25519)?,
            ml_dsa_44: ml_dsa_44.of(PrivateAlgorithm::MlDsa44)?,
        })
    }

    /// The Ed25519 key.
    pub fn ed25519(&self) -> &PrivateKey {
        &self.ed25519
    }

    /// The ML-DSA-44 key.
    pub fn ml_dsa_44(&self) -> &PrivateKey {
        &self.ml_dsa_44
    }

    /// The key pairs of the cryptographic library, for whoever signs tree heads.
    pub fn into_pairs(self) -> (Ed25519KeyPair, PqdsaKeyPair) {
        match (self.ed25519.0, self.ml_dsa_44.0) {
            (Pair::Ed25519(ed25519), Pair::MlDsa44(ml_dsa_44)) => (ed25519, ml_dsa_44),
            _ => unreachable!("the constructors demand one key of each algorithm"),
        }
    }

    /// The public half.
    pub fn public(&self) -> SigningPublic {
        SigningPublic::from_slices(self.ed25519.public(), self.ml_dsa_44.public())
            .expect("keys of these algorithms have public keys of these lengths")
    }
}

/// The public keys that check tree heads of one node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SigningPublic {
    /// The raw Ed25519 key.
    pub ed25519: [u8; ED25519_PUBLIC_LEN],
    /// The raw ML-DSA-44 key.
    pub ml_dsa_44: Box<[u8; ML_DSA_44_PUBLIC_LEN]>,
}

impl SigningPublic {
    /// Takes raw keys; `None` where a length is not that of its algorithm.
    pub fn from_slices(ed25519: &[u8], ml_dsa_44: &[u8]) -> Option<Self> {
        Some(Self {
            ed25519: ed25519.try_into().ok()?,
            ml_dsa_44: ml_dsa_44.to_vec().into_boxed_slice().try_into().ok()?,
        })
    }
}

impl std::fmt::Debug for SigningPublic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |bytes: &[u8]| data_encoding::HEXLOWER.encode(&bytes[..8]);
        write!(f, "SigningPublic({}…, {}…)", short(&self.ed25519), short(self.ml_dsa_44.as_slice()))
    }
}

/// One PEM block (RFC 7468).
pub(super) fn pem_block(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let body = Zeroizing::new(data_encoding::BASE64.encode(der));
    for line in body.as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [PrivateAlgorithm; 4] =
        [PrivateAlgorithm::P256, PrivateAlgorithm::P384, PrivateAlgorithm::Ed25519, PrivateAlgorithm::MlDsa44];

    #[test]
    fn every_kind_of_key_reads_back_from_pem_with_its_algorithm() {
        for algorithm in ALL {
            let key = PrivateKey::generate(algorithm).unwrap();
            let again = PrivateKey::from_pem(key.to_pem().unwrap().as_bytes()).unwrap();
            assert_eq!(again.algorithm(), algorithm);
            assert_eq!(again.public(), key.public());
        }
    }

    #[test]
    fn a_key_is_rebuilt_from_its_bare_secret_except_ml_dsa() {
        for algorithm in &ALL[..3] {
            let key = PrivateKey::generate(*algorithm).unwrap();
            let secret = key.secret().unwrap();
            let again = PrivateKey::from_secret(*algorithm, &secret).unwrap();
            assert_eq!(again.public(), key.public());
            assert!(PrivateKey::from_secret(*algorithm, &secret[1..]).is_err());
        }
        assert!(PrivateKey::generate(PrivateAlgorithm::MlDsa44).unwrap().secret().is_err());
    }

    #[test]
    fn signing_keys_of_swapped_algorithms_are_refused() {
        let key = |algorithm| PrivateKey::generate(algorithm).unwrap();
        assert!(SigningKeys::new(key(PrivateAlgorithm::MlDsa44), key(PrivateAlgorithm::Ed25519)).is_err());
        assert!(SigningKeys::new(key(PrivateAlgorithm::Ed25519), key(PrivateAlgorithm::MlDsa44)).is_ok());
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let key = PrivateKey::generate(PrivateAlgorithm::Ed25519).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(Ed25519)");
    }
}
