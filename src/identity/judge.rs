//! Who is at the other end: one function, run in the TLS verifier and again after the handshake.

use rustls::pki_types::CertificateDer;

use super::anchors::{Anchors, PeerStatus};
use super::path::{self, PathError, Restriction, Usage};
use super::profile::{Profiled, Role, check};
use crate::name::{Hash, Millis, NodeName};

/// Which side opened the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// This node dialled.
    Dial,
    /// The peer dialled.
    Accept,
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dial => "on dialling",
            Self::Accept => "on accepting",
        })
    }
}

/// A peer whose certificate was judged good, or good but for its age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The node.
    pub node: NodeName,
    /// Why the session is restricted to HELLO and TRUST, if it is.
    pub restricted: Option<Restriction>,
    /// SHA-256 of the presented leaf certificate.
    pub leaf_fingerprint: Hash,
    /// Until when the presented leaf is valid.
    pub not_after: Millis,
}

/// Why a peer's certificate is refused. For this node's journal only: the stranger learns one thing, that it is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityRefusal {
    /// No certificate at all.
    #[error("no certificate was shown")]
    NoCertificate,
    /// The certificate names no peer of this node.
    #[error("the certificate names {0}, which is not a peer of this node; see `verbale peer add`")]
    UnknownNode(NodeName),
    /// Another node answered than the one that was dialled.
    #[error("{dialled} was dialled, but the certificate names {presented}")]
    WrongNode {
        /// Whom this node wanted.
        dialled: NodeName,
        /// Whom the certificate names.
        presented: NodeName,
    },
    /// The operator has suspended the peer.
    #[error("{0} is suspended; see `verbale peer resume`")]
    Suspended(NodeName),
    /// The operator has removed the peer.
    #[error("{0} was removed; see `verbale peer add`")]
    Removed(NodeName),
    /// The leaf or its path is not good.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The TLS key is at the same time a signing key or the root's.
    #[error("the TLS key is also used as a signing key or as the root key")]
    SharedKey,
}

/// Judges the chain that a peer presented, leaf first: by the root of the State that was dialled or, on accepting, of
/// the State that the leaf claims, and by no other root.
///
/// # Errors
/// Everything but expiry; see [`IdentityRefusal`].
pub fn judge_peer(
    chain: &[CertificateDer<'_>],
    anchors: &Anchors,
    now: Millis,
    dialled: Option<NodeName>,
) -> Result<PeerIdentity, IdentityRefusal> {
    let (leaf, presented) = chain.split_first().ok_or(IdentityRefusal::NoCertificate)?;
    let role = Role::Tls;
    let leaf = check(leaf, role).map_err(|error| PathError::Profile { role, error })?;
    let node = leaf.node.expect("the profile gives every TLS certificate a node");
    if let Some(dialled) = dialled.filter(|dialled| *dialled != node) {
        return Err(IdentityRefusal::WrongNode { dialled, presented: node });
    }
    let anchor = anchors.get(node).ok_or(IdentityRefusal::UnknownNode(node))?;
    match anchor.status {
        PeerStatus::Active => {}
        PeerStatus::Suspended => return Err(IdentityRefusal::Suspended(node)),
        PeerStatus::Removed => return Err(IdentityRefusal::Removed(node)),
    }
    let introduction = anchor.introduction();
    if presented.len() > path::MAX_INTERMEDIATES + 1 {
        return Err(PathError::TooManyIntermediates.into());
    }
    let mut between: Vec<CertificateDer<'_>> = presented.to_vec();
    for known in introduction.chain() {
        if !between.contains(known) {
            between.push(known.clone());
        }
    }
    let usage = if dialled.is_some() { Usage::Server } else { Usage::Client };
    let restricted = path::verify(&leaf, &between, introduction.root(), anchor.crls(), now, usage)?;
    if introduction.root().public_key == leaf.public_key || introduction.has_signing_key(&leaf.public_key) {
        return Err(IdentityRefusal::SharedKey);
    }
    Ok(PeerIdentity { node, restricted, leaf_fingerprint: fingerprint(&leaf), not_after: leaf.not_after })
}

fn fingerprint(leaf: &Profiled) -> Hash {
    certificate_digest(&leaf.der)
}

/// SHA-256 of a certificate's DER.
pub fn certificate_digest(der: &[u8]) -> Hash {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    Hash::from_slice(digest.as_ref()).expect("SHA-256 has 32 bytes")
}
