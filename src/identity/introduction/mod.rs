//! Introductions: the public, root-signed file by which a State introduces its nodes; knows no files and no clock.
//!
//! An [`Introduction`] that exists is good: signed by the root that it holds, of one State only, every certificate in
//! it kept the profile and hangs on that root. Whether that root *is* the State's is for people to find out, by the
//! [`Fingerprint`] over another channel.

mod armour;
mod encode;
mod parse;

use rustls::pki_types::CertificateDer;

use super::address::Address;
use super::fingerprint::Fingerprint;
use super::key::SigningPublic;
use super::profile::Profiled;
use crate::name::{Desk, Millis, NodeName, State};

pub use encode::IntroductionDraft;
pub use parse::IntroductionError;

/// Largest introduction, in bytes of text: what TRUST carries at most.
pub const MAX_INTRODUCTION_BYTES: usize = 1024 * 1024;
/// Most nodes of a State: one for both desks, or one per desk, or all three while it changes over.
pub const MAX_NODES: usize = 3;
/// Most addresses of a node: they are tried one after the other.
pub const MAX_ADDRESSES: usize = 8;
/// Most TLS certificates, and most pairs of signing keys, of a node: the old and the new.
pub const MAX_IN_FORCE: usize = 2;
/// Most revocation lists: one of each CA that a path may hold.
pub const MAX_CRLS: usize = super::path::MAX_INTERMEDIATES + 1;

/// The version of the format.
pub(super) const VERSION: u32 = 1;
/// What the root signs begins with this, so that the signature can be taken for nothing else.
pub(super) const SIGNATURE_DOMAIN: &[u8] = b"verbale introduction v1\0";

/// Everything by which other States know the nodes of one State.
#[derive(Clone, PartialEq, Eq)]
pub struct Introduction {
    state: State,
    root: Profiled,
    chain: Vec<CertificateDer<'static>>,
    serial: u64,
    issued: Millis,
    valid_until: Millis,
    nodes: Vec<IntroducedNode>,
    crls: Vec<Vec<u8>>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// One node in an introduction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntroducedNode {
    /// Its name.
    pub name: NodeName,
    /// The desks that it serves.
    pub desks: Vec<Desk>,
    /// Where it can be reached, in the order of trying.
    pub addresses: Vec<Address>,
    /// TLS certificates in force, each with its chain, leaf first.
    pub tls: Vec<Vec<CertificateDer<'static>>>,
    /// Signing keys in force, newest first.
    pub signing: Vec<IntroducedKeys>,
}

/// The signing keys of a node with their certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntroducedKeys {
    /// The keys.
    pub public: SigningPublic,
    /// The root's certificate for the Ed25519 key.
    pub ed25519_certificate: CertificateDer<'static>,
    /// The root's certificate for the ML-DSA-44 key.
    pub ml_dsa_44_certificate: CertificateDer<'static>,
}

impl IntroducedNode {
    /// The newest signing keys.
    pub fn signing_keys(&self) -> &SigningPublic {
        &self.signing.first().expect("an introduced node has signing keys").public
    }
}

impl std::fmt::Debug for Introduction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Introduction({}, number {}, {:?})", self.state, self.serial, self.nodes)
    }
}

/// Something in an introduction that ends at a known time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The node whose it is; `None` where it belongs to the whole State.
    pub node: Option<NodeName>,
    /// What ends, in words: `root certificate`, `TLS certificate`, `Ed25519 signing certificate`, ….
    pub what: &'static str,
    /// When.
    pub at: Millis,
}

impl Introduction {
    /// The State.
    pub fn state(&self) -> State {
        self.state
    }

    /// The one root that speaks for this State.
    pub fn root(&self) -> &Profiled {
        &self.root
    }

    /// Intermediate certificates of the State's own PKI.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Its number; a newer introduction has a higher one.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// When it was issued, by the State's clock.
    pub fn issued(&self) -> Millis {
        self.issued
    }

    /// When a new one is due.
    pub fn valid_until(&self) -> Millis {
        self.valid_until
    }

    /// The nodes.
    pub fn nodes(&self) -> &[IntroducedNode] {
        &self.nodes
    }

    /// One node.
    pub fn node(&self, name: NodeName) -> Option<&IntroducedNode> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Revocation lists, DER; none where the State has revoked nothing.
    pub fn crls(&self) -> &[Vec<u8>] {
        &self.crls
    }

    /// The bytes that the root signed, as they came.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The number to read over the telephone: covers State, root, node names and every signing key, not the addresses.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self)
    }

    /// Whether a raw public key is one of the signing keys in here.
    pub fn has_signing_key(&self, public_key: &[u8]) -> bool {
        self.nodes
            .iter()
            .flat_map(|node| &node.signing)
            .any(|keys| keys.public.ed25519.as_slice() == public_key || keys.public.ml_dsa_44.as_slice() == public_key)
    }

    /// Everything in it that ends, for warnings in good time.
    pub fn expiries(&self) -> Vec<Expiry> {
        use super::profile::{Role, check};
        let until = |der: &[u8], role| check(der, role).map_or(Millis(0), |one| one.not_after);
        let mut all = vec![
            Expiry { node: None, what: "introduction", at: self.valid_until },
            Expiry { node: None, what: "root certificate", at: self.root.not_after },
        ];
        let between = self.chain.iter().map(|der| until(der, Role::Intermediate));
        all.extend(between.map(|at| Expiry { node: None, what: "intermediate certificate", at }));
        for node in &self.nodes {
            let mut add = |what, der: &[u8], role| {
                all.push(Expiry { node: Some(node.name), what, at: until(der, role) });
            };
            for leaf in node.tls.iter().filter_map(|chain| chain.first()) {
                add("TLS certificate", leaf, Role::Tls);
            }
            for keys in &node.signing {
                add("Ed25519 signing certificate", &keys.ed25519_certificate, Role::Signing);
                add("ML-DSA-44 signing certificate", &keys.ml_dsa_44_certificate, Role::Signing);
            }
        }
        all
    }
}
