//! Which algorithms a certificate may use, for its key and for its signature, and how such signatures are checked.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, UnparsedPublicKey};
use rustls::pki_types::SignatureVerificationAlgorithm;
use webpki::aws_lc_rs as algorithms;
use x509_parser::der_parser::Oid;
use x509_parser::oid_registry::asn1_rs::oid;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::profile::{CertificateError, Role};

/// Smallest RSA key, in bits; RSA is read only above the node, in a State's own PKI.
pub const MIN_RSA_BITS: usize = 3072;

/// The algorithm of the key that a certificate certifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// ML-DSA-44.
    MlDsa44,
    /// ML-DSA-65.
    MlDsa65,
    /// RSA, by its modulus.
    Rsa {
        /// Length of the modulus.
        bits: usize,
    },
}

impl std::fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::P256 => f.write_str("P-256"),
            Self::P384 => f.write_str("P-384"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::MlDsa44 => f.write_str("ML-DSA-44"),
            Self::MlDsa65 => f.write_str("ML-DSA-65"),
            Self::Rsa { bits } => write!(f, "RSA of {bits} bits"),
        }
    }
}

impl KeyAlgorithm {
    /// Whether a certificate of this role may have such a key.
    pub fn is_allowed_for(self, role: Role) -> bool {
        match role {
            // The root signs introductions too, so its algorithm is one that every peer can check.
            Role::Root => matches!(self, Self::P256 | Self::P384 | Self::Ed25519),
            Role::Intermediate => match self {
                Self::Rsa { bits } => bits >= MIN_RSA_BITS,
                _ => true,
            },
            Role::Tls => !matches!(self, Self::Rsa { .. }),
            Role::Signing => matches!(self, Self::Ed25519 | Self::MlDsa44),
        }
    }

    /// Checks a root's signature over an introduction; `false` also for algorithms that roots do not have.
    pub(super) fn root_signature_is_good(self, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::P256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public_key).verify(message, signature),
            Self::P384 => UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, public_key).verify(message, signature),
            Self::Ed25519 => UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature),
            _ => return false,
        }
        .is_ok()
    }
}

/// Reads the algorithm of a public key.
pub(super) fn key_algorithm(spki: &SubjectPublicKeyInfo<'_>) -> Result<KeyAlgorithm, CertificateError> {
    let id = &spki.algorithm.algorithm;
    let unknown = || CertificateError::KeyAlgorithm(id.to_id_string());
    let key = &spki.subject_public_key.data;
    let sized = |algorithm, length: usize| if key.len() == length { Ok(algorithm) } else { Err(unknown()) };
    if *id == oid!(1.2.840.10045.2.1) {
        let curve = spki.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok()).ok_or_else(unknown)?;
        // Uncompressed points only: 0x04, x, y.
        return match curve {
            curve if curve == oid!(1.2.840.10045.3.1.7) => sized(KeyAlgorithm::P256, 65),
            curve if curve == oid!(1.3.132.0.34) => sized(KeyAlgorithm::P384, 97),
            curve => Err(CertificateError::KeyAlgorithm(curve.to_id_string())),
        };
    }
    match id {
        id if *id == oid!(1.3.101.112) => sized(KeyAlgorithm::Ed25519, super::key::ED25519_PUBLIC_LEN),
        id if *id == oid!(2.16.840.1.101.3.4.3.17) => sized(KeyAlgorithm::MlDsa44, super::key::ML_DSA_44_PUBLIC_LEN),
        id if *id == oid!(2.16.840.1.101.3.4.3.18) => sized(KeyAlgorithm::MlDsa65, 1952),
        id if *id == oid!(1.2.840.113549.1.1.1) => match spki.parsed() {
            Ok(PublicKey::RSA(rsa)) => Ok(KeyAlgorithm::Rsa { bits: rsa.key_size() }),
            _ => Err(unknown()),
        },
        _ => Err(unknown()),
    }
}

/// Whether certificates may be signed with this algorithm: never SHA-1, never MD5, no curve that is not listed.
pub(super) fn signature_is_allowed(id: &Oid<'_>) -> bool {
    [
        oid!(1.2.840.10045.4.3.2),     // ECDSA with SHA-256
        oid!(1.2.840.10045.4.3.3),     // ECDSA with SHA-384
        oid!(1.3.101.112),             // Ed25519
        oid!(2.16.840.1.101.3.4.3.17), // ML-DSA-44
        oid!(2.16.840.1.101.3.4.3.18), // ML-DSA-65
        oid!(1.2.840.113549.1.1.11),   // RSA PKCS#1 with SHA-256, from intermediates of at least 3072 bits
        oid!(1.2.840.113549.1.1.12),   // … with SHA-384
        oid!(1.2.840.113549.1.1.13),   // … with SHA-512
    ]
    .contains(id)
}

/// The same list as the path check takes it.
pub(super) static PATH_ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ED25519,
    algorithms::ML_DSA_44,
    algorithms::ML_DSA_65,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
];
