//! The path check: does exactly this root vouch for this leaf, at what time, and what has expired on the way.
//!
//! It wraps rustls-webpki so that expiry is told apart from every other defect, and adds what a trust anchor of
//! webpki does not carry: the root's own validity and path length.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExpirationPolicy, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage,
    OwnedCertRevocationList, RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
    anchor_from_trusted_cert,
};

use super::algorithm::PATH_ALGORITHMS;
use super::profile::{CertificateError, Profiled, Role, check};
use crate::name::Millis;

/// Most intermediates between a leaf and its root: more than any State's PKI has.
pub const MAX_INTERMEDIATES: usize = 4;
/// Largest revocation list, in bytes.
pub const MAX_CRL_BYTES: usize = 256 * 1024;

/// Which end of a connection the leaf's holder plays, or that it signs tree heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// The peer was dialled.
    Server,
    /// The peer dials.
    Client,
    /// The key signs tree heads.
    Heads,
}

impl ExtendedKeyUsageValidator for Usage {
    fn validate(&self, iter: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        match self {
            Self::Server => KeyUsage::server_auth().validate(iter),
            Self::Client => KeyUsage::client_auth().validate(iter),
            // What a signing certificate may not have is refused by the profile.
            Self::Heads => Ok(()),
        }
    }
}

/// Something on the path that is only too old. A restricted session is possible: HELLO and TRUST, no messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Restriction {
    /// A certificate on the path has expired.
    #[error("its {role} expired at {at}; a new one is needed, until then messages wait in the queue")]
    Expired {
        /// Which one; the first that expired.
        role: Role,
        /// When.
        at: Millis,
    },
    /// The State's revocation list is older than it promised to be.
    #[error("the revocation list of its State has expired; a new one is needed, until then messages wait in the queue")]
    CrlExpired,
}

/// Why a root does not vouch for a leaf.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A certificate breaks the profile.
    #[error("the {role} does not keep the profile: {error}")]
    Profile {
        /// Which one.
        role: Role,
        /// Which rule.
        error: CertificateError,
    },
    /// Too many intermediates.
    #[error("there are more than {MAX_INTERMEDIATES} intermediate certificates")]
    TooManyIntermediates,
    /// A certificate on the path is not valid yet.
    #[error("the {role} is not valid before {from}; check the clocks of both sides")]
    NotYetValid {
        /// Which one.
        role: Role,
        /// When it becomes valid.
        from: Millis,
    },
    /// The validities on the path never overlap.
    #[error("the certificates on the path were never valid at one time")]
    NeverTogether,
    /// The root of this State did not issue it.
    #[error("the root certificate known for this State did not issue it")]
    OtherRoot,
    /// More intermediates than the root allows.
    #[error("the root allows {allowed} intermediate certificates below it, there are {found}")]
    PathLength {
        /// What the root allows.
        allowed: u32,
        /// What there is.
        found: usize,
    },
    /// The State has revoked it.
    #[error("its State has revoked it")]
    Revoked,
    /// Any other finding of the path check.
    #[error("the path check refused it: {0}")]
    Path(String),
}

/// Checks that `root` vouches for `leaf` at `now`, over `intermediates` (any order, the root itself may be among them).
///
/// With `now` beyond every validity it answers whether the path was ever good; what has expired is then named.
///
/// # Errors
/// Everything but expiry; see [`PathError`].
pub fn verify(
    leaf: &Profiled,
    intermediates: &[CertificateDer<'_>],
    root: &Profiled,
    crls: &[CertRevocationList<'static>],
    now: Millis,
    usage: Usage,
) -> Result<Option<Restriction>, PathError> {
    let intermediates: Vec<_> = intermediates.iter().filter(|der| **der != root.der).collect();
    if intermediates.len() > MAX_INTERMEDIATES {
        return Err(PathError::TooManyIntermediates);
    }
    let mut between = Vec::with_capacity(intermediates.len());
    for der in intermediates {
        let role = Role::Intermediate;
        between.push(check(der, role).map_err(|error| PathError::Profile { role, error })?);
    }
    let everything = || [leaf, root].into_iter().chain(&between);
    if let Some(early) = everything().find(|one| now < one.not_before) {
        return Err(PathError::NotYetValid { role: early.role, from: early.not_before });
    }
    let first_end = everything().min_by_key(|one| one.not_after).expect("leaf and root are there");
    let expired =
        (now > first_end.not_after).then_some(Restriction::Expired { role: first_end.role, at: first_end.not_after });
    // The path is judged at a moment when all of it was valid, so that expiry hides no other defect.
    let at = now.min(first_end.not_after);
    if everything().any(|one| at < one.not_before) {
        return Err(PathError::NeverTogether);
    }
    let between: Vec<_> = between.into_iter().map(|one| one.der).collect();
    let path = Path { leaf, between: &between, root, at, usage };
    match path.walk(crls, ExpirationPolicy::Enforce) {
        Ok(()) => Ok(expired),
        Err(Error::CrlExpired { .. }) => {
            path.walk(crls, ExpirationPolicy::Ignore).map_err(|error| path.explain(error))?;
            Ok(expired.or(Some(Restriction::CrlExpired)))
        }
        Err(error) => Err(path.explain(error)),
    }
}

struct Path<'a> {
    leaf: &'a Profiled,
    between: &'a [CertificateDer<'static>],
    root: &'a Profiled,
    at: Millis,
    usage: Usage,
}

impl Path<'_> {
    fn walk(&self, crls: &[CertRevocationList<'static>], expiry: ExpirationPolicy) -> Result<(), Error> {
        let crls: Vec<_> = crls.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&crls).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                // A State that has revoked nothing needs no list, so a certificate without one is not suspect.
                .with_status_policy(UnknownStatusPolicy::Allow)
                .with_expiration_policy(expiry)
                .build()
        });
        let anchors = [anchor_from_trusted_cert(&self.root.der)?];
        let length_is_kept = |path: &webpki::VerifiedPath<'_>| match self.root.path_len {
            Some(allowed) if path.intermediate_certificates().count() > allowed as usize => {
                Err(Error::PathLenConstraintViolated)
            }
            _ => Ok(()),
        };
        let time = UnixTime::since_unix_epoch(Duration::from_secs(self.at.seconds()));
        EndEntityCert::try_from(&self.leaf.der)?.verify_for_usage(
            PATH_ALGORITHMS,
            &anchors,
            self.between,
            time,
            self.usage,
            revocation,
            Some(&length_is_kept),
        )?;
        Ok(())
    }

    fn explain(&self, error: Error) -> PathError {
        match error {
            Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => PathError::OtherRoot,
            Error::CertRevoked => PathError::Revoked,
            Error::PathLenConstraintViolated => {
                PathError::PathLength { allowed: self.root.path_len.unwrap_or(u32::MAX), found: self.between.len() }
            }
            other => PathError::Path(other.to_string()),
        }
    }
}

/// Reads a revocation list.
///
/// # Errors
/// Says what is wrong with it, in words.
pub fn parse_crl(der: &[u8]) -> Result<CertRevocationList<'static>, String> {
    if der.len() > MAX_CRL_BYTES {
        return Err(format!("it is larger than {MAX_CRL_BYTES} bytes"));
    }
    OwnedCertRevocationList::from_der(der).map(CertRevocationList::from).map_err(|error| error.to_string())
}
