//! The strict certificate profile: what a certificate must look like before anybody asks who signed it.
//!
//! rustls-webpki checks paths and lets much else pass (leaf certificates without key usage, weak keys, bad serial
//! numbers, expired roots). This page refuses it, by name. It knows no time but the one inside the certificate.

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

use super::algorithm::{KeyAlgorithm, key_algorithm, signature_is_allowed};
use crate::name::{Millis, NodeName};

/// Largest certificate, in bytes: an ML-DSA-65 certificate signed with ML-DSA-65 has about 6 KiB.
pub const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;
/// Longest serial number, in octets (RFC 5280, 4.1.2.2).
pub const MAX_SERIAL_OCTETS: usize = 20;
/// Longest validity of a TLS certificate, in days: three years and a month, for States with a slow PKI of their own.
pub const MAX_TLS_DAYS: u64 = 1_127;
/// Longest validity of the certificate of a signing key, in days: ten years.
pub const MAX_SIGNING_DAYS: u64 = 3_653;
/// Longest validity of a root or intermediate, in days: thirty years.
pub const MAX_CA_DAYS: u64 = 10_958;

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// What a certificate is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A State's root.
    Root,
    /// A certificate between root and leaf.
    Intermediate,
    /// A node's TLS certificate, for dialling and for accepting.
    Tls,
    /// The certificate of a key that signs tree heads.
    Signing,
}

impl Role {
    fn max_days(self) -> u64 {
        match self {
            Self::Root | Self::Intermediate => MAX_CA_DAYS,
            Self::Tls => MAX_TLS_DAYS,
            Self::Signing => MAX_SIGNING_DAYS,
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Root => "root certificate",
            Self::Intermediate => "intermediate certificate",
            Self::Tls => "TLS certificate",
            Self::Signing => "signing certificate",
        })
    }
}

/// Which rule of the profile a certificate breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The bytes are no X.509 certificate in DER.
    #[error("it is not an X.509 certificate in DER")]
    Malformed,
    /// Bytes after the end of the certificate.
    #[error("bytes follow after its end")]
    TrailingBytes,
    /// Larger than [`MAX_CERTIFICATE_BYTES`].
    #[error("it is larger than {MAX_CERTIFICATE_BYTES} bytes")]
    TooLarge,
    /// Not of version 3.
    #[error("it is not of version 3")]
    Version,
    /// The serial number is zero or negative.
    #[error("its serial number is not positive")]
    SerialNotPositive,
    /// The serial number is longer than [`MAX_SERIAL_OCTETS`].
    #[error("its serial number is longer than {MAX_SERIAL_OCTETS} octets")]
    SerialTooLong,
    /// The algorithm of its signature is not allowed, or is named twice in two ways.
    #[error("its signature is of an algorithm that is not allowed ({0})")]
    SignatureAlgorithm(String),
    /// The algorithm or size of its key is not allowed for this use.
    #[error("its key is of an algorithm or size that is not allowed here ({0})")]
    KeyAlgorithm(String),
    /// An extension occurs twice.
    #[error("an extension occurs twice ({0})")]
    ExtensionRepeated(String),
    /// An extension is marked critical and not understood.
    #[error("a critical extension is not understood ({0})")]
    ExtensionUnknown(String),
    /// An extension cannot be read.
    #[error("an extension cannot be read ({0})")]
    ExtensionMalformed(String),
    /// It ends before it begins.
    #[error("its validity ends before it begins")]
    ValidityReversed,
    /// Valid for longer than its use allows.
    #[error("it is valid for {days} days; {limit} are allowed for this use")]
    ValidityTooLong {
        /// Days from beginning to end.
        days: u64,
        /// Days that are allowed.
        limit: u64,
    },
    /// A leaf that claims to be a CA.
    #[error("it claims to be a certification authority, which a node's certificate must not be")]
    LeafIsCa,
    /// No key usage, or not exactly the one that its use needs.
    #[error("its key usage is not exactly {0}")]
    KeyUsage(&'static str),
    /// A TLS certificate without both serverAuth and clientAuth.
    #[error("it lacks the extended key usages serverAuth and clientAuth, of which both are needed")]
    TlsUsageMissing,
    /// A TLS certificate with further extended key usages.
    #[error("it has extended key usages beside serverAuth and clientAuth")]
    TlsUsageExtra,
    /// It is good for any use.
    #[error("it has the extended key usage anyExtendedKeyUsage")]
    AnyUsage,
    /// A signing certificate that would be good for TLS.
    #[error("it is for tree heads, but has an extended key usage of TLS")]
    SigningWithTlsUsage,
    /// No subject alternative name.
    #[error("it has no URI name such as verbale://XA")]
    NoName,
    /// More than one subject alternative name.
    #[error("it has {0} names where exactly one is allowed")]
    SeveralNames(usize),
    /// A subject alternative name that is not a URI.
    #[error("its name is not a URI such as verbale://XA")]
    NameKind,
    /// The URI does not name a node.
    #[error("its URI `{0}` does not name a node; it looks like verbale://XA or verbale://XA/diplomatic")]
    NameForm(String),
    /// A root or intermediate that is not a CA.
    #[error("it is not a certification authority")]
    NotCa,
    /// A CA whose basicConstraints are not critical.
    #[error("its basicConstraints are not marked critical")]
    BasicConstraintsNotCritical,
    /// A CA that may not sign certificates, or may do something else.
    #[error("its key usage is not keyCertSign, with cRLSign where it issues revocation lists")]
    CaKeyUsage,
    /// A root that somebody else issued.
    #[error("it was not issued by itself, so it is not a root")]
    NotSelfIssued,
}

/// A certificate that keeps the profile, with what the rest of the room needs to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profiled {
    /// The certificate.
    pub der: CertificateDer<'static>,
    /// What it was checked for.
    pub role: Role,
    /// The node that it names; `None` for roots and intermediates.
    pub node: Option<NodeName>,
    /// The algorithm of its key.
    pub key: KeyAlgorithm,
    /// The raw public key.
    pub public_key: Vec<u8>,
    /// First moment of its validity.
    pub not_before: Millis,
    /// Last moment of its validity.
    pub not_after: Millis,
    /// Serial number, big-endian, as DER has it.
    pub serial: Vec<u8>,
    /// How many intermediates may follow below a CA; `None` means no limit (or not a CA).
    pub path_len: Option<u32>,
    /// Whether a CA may sign revocation lists.
    pub signs_crls: bool,
}

/// Checks one certificate against the profile for its role.
///
/// # Errors
/// The first rule that it breaks.
pub fn check(der: &[u8], role: Role) -> Result<Profiled, CertificateError> {
    if der.len() > MAX_CERTIFICATE_BYTES {
        return Err(CertificateError::TooLarge);
    }
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
    if !rest.is_empty() {
        return Err(CertificateError::TrailingBytes);
    }
    check_frame(&certificate)?;
    check_extensions(&certificate)?;
    let (not_before, not_after) = check_validity(&certificate, role)?;
    let spki = &certificate.tbs_certificate.subject_pki;
    let key = key_algorithm(spki)?;
    if !key.is_allowed_for(role) {
        return Err(CertificateError::KeyAlgorithm(key.to_string()));
    }
    let (node, path_len, signs_crls) = match role {
        Role::Root | Role::Intermediate => {
            let (path_len, signs_crls) = check_ca(&certificate, role)?;
            (None, path_len, signs_crls)
        }
        Role::Tls | Role::Signing => (Some(check_leaf(&certificate, role)?), None, false),
    };
    Ok(Profiled {
        der: CertificateDer::from(der.to_vec()),
        role,
        node,
        key,
        public_key: spki.subject_public_key.data.to_vec(),
        not_before,
        not_after,
        serial: certificate.raw_serial().to_vec(),
        path_len,
        signs_crls,
    })
}

/// The node that a certificate claims, as far as it can be read: for the journal, never for a decision.
pub fn claimed_node(der: &[u8]) -> Option<NodeName> {
    if der.len() > MAX_CERTIFICATE_BYTES {
        return None;
    }
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    certificate.subject_alternative_name().ok()??.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => NodeName::from_uri(uri).ok(),
        _ => None,
    })
}

fn check_frame(certificate: &X509Certificate<'_>) -> Result<(), CertificateError> {
    if certificate.version() != X509Version::V3 {
        return Err(CertificateError::Version);
    }
    let serial = certificate.raw_serial();
    if serial.first().is_none_or(|first| first & 0x80 != 0) || serial.iter().all(|octet| *octet == 0) {
        return Err(CertificateError::SerialNotPositive);
    }
    if serial.len() > MAX_SERIAL_OCTETS {
        return Err(CertificateError::SerialTooLong);
    }
    let algorithm = &certificate.signature_algorithm;
    if certificate.tbs_certificate.signature != *algorithm || !signature_is_allowed(&algorithm.algorithm) {
        return Err(CertificateError::SignatureAlgorithm(algorithm.algorithm.to_id_string()));
    }
    Ok(())
}

fn check_extensions(certificate: &X509Certificate<'_>) -> Result<(), CertificateError> {
    let extensions = certificate.extensions();
    for (at, extension) in extensions.iter().enumerate() {
        let oid = || extension.oid.to_id_string();
        if extensions[..at].iter().any(|earlier| earlier.oid == extension.oid) {
            return Err(CertificateError::ExtensionRepeated(oid()));
        }
        match extension.parsed_extension() {
            ParsedExtension::ParseError { .. } => return Err(CertificateError::ExtensionMalformed(oid())),
            // Only these are honoured by the path check or by this page; the rest may be there if it is not critical.
            ParsedExtension::KeyUsage(_)
            | ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::SubjectAlternativeName(_)
            | ParsedExtension::BasicConstraints(_) => {}
            _ if extension.critical => return Err(CertificateError::ExtensionUnknown(oid())),
            _ => {}
        }
    }
    Ok(())
}

fn check_validity(certificate: &X509Certificate<'_>, role: Role) -> Result<(Millis, Millis), CertificateError> {
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    let begin = seconds(certificate.validity().not_before.timestamp());
    let end = seconds(certificate.validity().not_after.timestamp());
    if end <= begin {
        return Err(CertificateError::ValidityReversed);
    }
    let (days, limit) = ((end - begin).div_ceil(SECONDS_PER_DAY), role.max_days());
    if days > limit {
        return Err(CertificateError::ValidityTooLong { days, limit });
    }
    Ok((Millis(begin * 1000), Millis(end * 1000)))
}

/// The bits of keyUsage as x509-parser stores them: the first of RFC 5280 is the lowest.
const DIGITAL_SIGNATURE: u16 = 1;
const CONTENT_COMMITMENT: u16 = 1 << 1;
const KEY_CERT_SIGN: u16 = 1 << 5;
const CRL_SIGN: u16 = 1 << 6;

fn key_usage(certificate: &X509Certificate<'_>) -> Result<u16, CertificateError> {
    let extension = certificate.key_usage().map_err(|_| CertificateError::ExtensionMalformed("2.5.29.15".into()))?;
    Ok(extension.map_or(0, |usage| usage.value.flags))
}

fn check_ca(certificate: &X509Certificate<'_>, role: Role) -> Result<(Option<u32>, bool), CertificateError> {
    let extension =
        certificate.basic_constraints().map_err(|_| CertificateError::ExtensionMalformed("2.5.29.19".into()))?;
    let constraints = extension.filter(|found| found.value.ca).ok_or(CertificateError::NotCa)?;
    if !constraints.critical {
        return Err(CertificateError::BasicConstraintsNotCritical);
    }
    let usage = key_usage(certificate)?;
    if usage & KEY_CERT_SIGN == 0 || usage & !(KEY_CERT_SIGN | CRL_SIGN | DIGITAL_SIGNATURE) != 0 {
        return Err(CertificateError::CaKeyUsage);
    }
    let tbs = &certificate.tbs_certificate;
    if role == Role::Root && tbs.subject.as_raw() != tbs.issuer.as_raw() {
        return Err(CertificateError::NotSelfIssued);
    }
    Ok((constraints.value.path_len_constraint, usage & CRL_SIGN != 0))
}

fn check_leaf(certificate: &X509Certificate<'_>, role: Role) -> Result<NodeName, CertificateError> {
    let constraints =
        certificate.basic_constraints().map_err(|_| CertificateError::ExtensionMalformed("2.5.29.19".into()))?;
    if constraints.is_some_and(|found| found.value.ca) {
        return Err(CertificateError::LeafIsCa);
    }
    let (wanted, word) = match role {
        Role::Signing => (CONTENT_COMMITMENT, "contentCommitment"),
        _ => (DIGITAL_SIGNATURE, "digitalSignature"),
    };
    if key_usage(certificate)? != wanted {
        return Err(CertificateError::KeyUsage(word));
    }
    let extended =
        certificate.extended_key_usage().map_err(|_| CertificateError::ExtensionMalformed("2.5.29.37".into()))?;
    check_extended_usage(extended.map(|found| found.value), role)?;
    check_name(certificate)
}

fn check_extended_usage(extended: Option<&ExtendedKeyUsage<'_>>, role: Role) -> Result<(), CertificateError> {
    if extended.is_some_and(|usage| usage.any) {
        return Err(CertificateError::AnyUsage);
    }
    if role == Role::Signing {
        let tls = extended.is_some_and(|usage| usage.server_auth || usage.client_auth);
        return if tls { Err(CertificateError::SigningWithTlsUsage) } else { Ok(()) };
    }
    match extended {
        Some(usage) if usage.server_auth && usage.client_auth => {
            let extra = usage.code_signing
                || usage.email_protection
                || usage.time_stamping
                || usage.ocsp_signing
                || !usage.other.is_empty();
            if extra { Err(CertificateError::TlsUsageExtra) } else { Ok(()) }
        }
        _ => Err(CertificateError::TlsUsageMissing),
    }
}

fn check_name(certificate: &X509Certificate<'_>) -> Result<NodeName, CertificateError> {
    let extension = certificate
        .subject_alternative_name()
        .map_err(|_| CertificateError::ExtensionMalformed("2.5.29.17".into()))?
        .ok_or(CertificateError::NoName)?;
    match extension.value.general_names.as_slice() {
        [] => Err(CertificateError::NoName),
        [GeneralName::URI(uri)] => {
            let wrong = || CertificateError::NameForm(uri.chars().take(64).collect());
            let node = NodeName::from_uri(uri).map_err(|_| wrong())?;
            // One spelling only, so that equal names have equal bytes.
            if node.uri() == *uri { Ok(node) } else { Err(wrong()) }
        }
        [_] => Err(CertificateError::NameKind),
        several => Err(CertificateError::SeveralNames(several.len())),
    }
}
