//! Makes certificates as `init` needs them; what it makes passes [`super::profile`], and a test holds that.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;

use super::key::{KeyError, PrivateKey};
use crate::name::{Millis, NodeName, State};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Validity of a root: 20 years.
pub const ROOT_VALIDITY: Duration = Duration::from_secs(20 * 365 * 24 * 60 * 60 + 5 * 24 * 60 * 60);
/// Validity of a TLS certificate: 397 days, a year and a month to renew in.
pub const TLS_VALIDITY: Duration = Duration::from_secs(397 * 24 * 60 * 60);
/// Validity of the certificate of a signing key: five years.
pub const SIGNING_VALIDITY: Duration = Duration::from_secs(5 * 365 * 24 * 60 * 60);
/// Certificates begin this much before their issue, because the peer's clock may be behind.
pub const CLOCK_ALLOWANCE: Duration = DAY;
/// One level below the root: room for a cross-signed successor or a State's issuing CA.
const ROOT_PATH_LEN: u8 = 1;
/// Random octets of a serial number; RFC 5280 allows 20 in all.
const SERIAL_LEN: usize = 16;
/// The last second that RFC 5280 can write with four digits of the year, 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The library that writes certificates refused.
    #[error("the certificate could not be written: {0}")]
    Write(#[from] rcgen::Error),
    /// No key, no randomness.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The clock is beyond the years that a certificate can name.
    #[error("the clock says {0}, for which no certificate can be made; set it first")]
    Clock(Millis),
}

/// Makes the self-signed certificate of a State's root.
///
/// # Errors
/// See [`IssueError`].
pub fn root_certificate(state: State, key: &PrivateKey, now: Millis) -> Result<CertificateDer<'static>, IssueError> {
    let mut params = blank(&format!("verbale root {state}"), now, ROOT_VALIDITY)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(ROOT_PATH_LEN));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params.self_signed(key)?.into())
}

/// Makes a node's TLS certificate for the public half of `subject`.
///
/// # Errors
/// See [`IssueError`].
pub fn tls_certificate(
    node: NodeName,
    subject: &PrivateKey,
    root: &CertificateDer<'_>,
    root_key: &PrivateKey,
    now: Millis,
) -> Result<CertificateDer<'static>, IssueError> {
    let mut params = leaf(node, "node", now, TLS_VALIDITY)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params.signed_by(subject, &Issuer::from_ca_cert_der(root, root_key)?)?.into())
}

/// Makes the certificate of a key that signs tree heads.
///
/// # Errors
/// See [`IssueError`].
pub fn signing_certificate(
    node: NodeName,
    subject: &PrivateKey,
    root: &CertificateDer<'_>,
    root_key: &PrivateKey,
    now: Millis,
) -> Result<CertificateDer<'static>, IssueError> {
    let mut params = leaf(node, "tree heads", now, SIGNING_VALIDITY)?;
    params.key_usages = vec![KeyUsagePurpose::ContentCommitment];
    Ok(params.signed_by(subject, &Issuer::from_ca_cert_der(root, root_key)?)?.into())
}

fn leaf(node: NodeName, purpose: &str, now: Millis, validity: Duration) -> Result<CertificateParams, IssueError> {
    let mut params = blank(&format!("verbale {purpose} {node}"), now, validity)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.subject_alt_names = vec![SanType::URI(node.uri().try_into()?)];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn blank(common_name: &str, now: Millis, validity: Duration) -> Result<CertificateParams, IssueError> {
    let end = now.seconds().saturating_add(validity.as_secs());
    if end > LAST_SECOND {
        return Err(IssueError::Clock(now));
    }
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.not_before = epoch + Duration::from_secs(now.seconds().saturating_sub(CLOCK_ALLOWANCE.as_secs()));
    params.not_after = epoch + Duration::from_secs(end);
    params.serial_number = Some(random_serial()?);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(params)
}

fn random_serial() -> Result<SerialNumber, KeyError> {
    let mut serial = [0; SERIAL_LEN];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| KeyError::Library("choosing a serial number"))?;
    // Positive and without leading zeros, so that its length in DER is always the same.
    serial[0] = (serial[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&serial))
}
