//! Reading an introduction, strictly: what comes out can be shown to people and, with their word, be trusted.

use std::collections::BTreeSet;

use super::{
    IntroducedKeys, IntroducedNode, Introduction, MAX_ADDRESSES, MAX_CRLS, MAX_IN_FORCE, MAX_INTRODUCTION_BYTES,
    MAX_NODES, SIGNATURE_DOMAIN, VERSION, armour,
};
use prost::Message;
use rustls::pki_types::CertificateDer;
use webpki::{CertRevocationList, anchor_from_trusted_cert};

use crate::identity::address::{Address, AddressError};
use crate::identity::algorithm::KeyAlgorithm;
use crate::identity::key::{KeyError, SigningPublic};
use crate::identity::path::{MAX_INTERMEDIATES, PathError, Usage, parse_crl, verify};
use crate::identity::profile::{CertificateError, Profiled, Role, check};
use crate::identity::proto;
use crate::name::{Desk, Millis, NodeName, State};

/// Why a text is not a good introduction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntroductionError {
    /// Larger than [`MAX_INTRODUCTION_BYTES`].
    #[error("it is larger than {MAX_INTRODUCTION_BYTES} bytes")]
    TooLarge,
    /// The text around it is damaged.
    #[error("it is not an introduction, or it was damaged on the way: {0}")]
    Armour(&'static str),
    /// The bytes inside cannot be read.
    #[error("it was damaged on the way: its bytes cannot be read")]
    Encoding,
    /// A version that is not read here.
    #[error("it is of version {0}; this program reads version {VERSION}, so a newer one is needed")]
    Version(u32),
    /// The root's signature does not fit: changed after it was signed, or signed by another key.
    #[error("the signature of the root certificate in it does not fit: it was changed after it was signed")]
    Signature,
    /// The State's code cannot be read.
    #[error("it does not name a State")]
    State,
    /// Too many or too few of something.
    #[error("it holds {found} {what}; from {least} to {most} are allowed")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there must be.
        least: usize,
        /// How many there may be.
        most: usize,
    },
    /// A node's name cannot be read, occurs twice or is of another State.
    #[error("it introduces `{0}`, which is not a node of its State or occurs twice")]
    Node(String),
    /// A node's desks are not those of its name, or not in order.
    #[error("the desks of {0} do not fit its name")]
    Desks(NodeName),
    /// An address cannot be read.
    #[error("{node}: {error}")]
    Address {
        /// Whose address.
        node: NodeName,
        /// What is wrong with it.
        error: AddressError,
    },
    /// The root breaks the profile.
    #[error("its root certificate is not acceptable: {0}")]
    Root(CertificateError),
    /// A certificate of a node is not good.
    #[error("a certificate of {node} is not acceptable: {error}")]
    Certificate {
        /// Whose certificate.
        node: NodeName,
        /// What is wrong with it.
        error: PathError,
    },
    /// An intermediate certificate breaks the profile.
    #[error("an intermediate certificate in it is not acceptable: {0}")]
    Chain(CertificateError),
    /// A certificate names another node than the one it stands under.
    #[error("a certificate of {node} names {named}")]
    OtherName {
        /// The node in the introduction.
        node: NodeName,
        /// The node in the certificate.
        named: NodeName,
    },
    /// A signing key is not of its length or is not the key in its certificate.
    #[error("a signing key of {0} has a wrong length, or its certificate is for another key")]
    SigningKey(NodeName),
    /// A key is used twice.
    #[error("a key of {0} is used for two purposes or by two nodes")]
    KeyTwice(NodeName),
    /// A revocation list cannot be used.
    #[error("a revocation list in it cannot be used: {0}")]
    Crl(String),
    /// A time that is before the time of issue, or number 0.
    #[error("its number or its times make no sense")]
    Order,
    /// The root key could not sign.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Introduction {
    /// Reads the text of an introduction and checks everything in it but its age and whether the root is the right one.
    ///
    /// # Errors
    /// See [`IntroductionError`].
    pub fn parse(text: &str) -> Result<Self, IntroductionError> {
        Self::from_signed_bytes(&armour::decode(text)?)
    }

    /// Reads what the armour holds, as TRUST carries it.
    ///
    /// # Errors
    /// See [`IntroductionError`].
    pub fn from_signed_bytes(bytes: &[u8]) -> Result<Self, IntroductionError> {
        if bytes.len() > MAX_INTRODUCTION_BYTES {
            return Err(IntroductionError::TooLarge);
        }
        let signed = proto::SignedIntroduction::decode(bytes).map_err(|_| IntroductionError::Encoding)?;
        if signed.encode_to_vec() != bytes {
            return Err(IntroductionError::Encoding);
        }
        let said = proto::Introduction::decode(signed.payload.clone()).map_err(|_| IntroductionError::Encoding)?;
        if said.version != VERSION {
            return Err(IntroductionError::Version(said.version));
        }
        let root = check(&said.root, Role::Root).map_err(IntroductionError::Root)?;
        let message = [SIGNATURE_DOMAIN, &signed.payload].concat();
        if !root.key.root_signature_is_good(&root.public_key, &message, &signed.signature) {
            return Err(IntroductionError::Signature);
        }
        Reading::new(&said, root)?.finish(&said, signed)
    }
}

/// The parts that every node of one introduction is checked against.
struct Reading {
    state: State,
    root: Profiled,
    chain: Vec<CertificateDer<'static>>,
    crls: Vec<CertRevocationList<'static>>,
    keys: BTreeSet<Vec<u8>>,
    tls_keys: Vec<(NodeName, Vec<u8>)>,
}

impl Reading {
    fn new(said: &proto::Introduction, root: Profiled) -> Result<Self, IntroductionError> {
        let state: State = said.state.parse().map_err(|_| IntroductionError::State)?;
        counted("intermediate certificates", said.chain.len(), 0, MAX_INTERMEDIATES)?;
        for der in &said.chain {
            check(der, Role::Intermediate).map_err(IntroductionError::Chain)?;
        }
        let chain = said.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        counted("revocation lists", said.crls.len(), 0, MAX_CRLS)?;
        let crls = said.crls.iter().map(|crl| parse_crl(crl)).collect::<Result<Vec<_>, _>>();
        let crls = crls.map_err(IntroductionError::Crl)?;
        issued_here(said, &root, &crls).map_err(|why| IntroductionError::Crl(why.into()))?;
        let keys = BTreeSet::from([root.public_key.clone()]);
        Ok(Self { state, root, chain, crls, keys, tls_keys: Vec::new() })
    }

    fn finish(
        mut self,
        said: &proto::Introduction,
        signed: proto::SignedIntroduction,
    ) -> Result<Introduction, IntroductionError> {
        if said.serial == 0 || said.valid_until_ms <= said.issued_ms {
            return Err(IntroductionError::Order);
        }
        counted("nodes", said.nodes.len(), 1, MAX_NODES)?;
        let mut nodes: Vec<IntroducedNode> = Vec::with_capacity(said.nodes.len());
        for node in &said.nodes {
            let node = self.node(node)?;
            if nodes.iter().any(|earlier| earlier.name == node.name) {
                return Err(IntroductionError::Node(node.name.to_string()));
            }
            nodes.push(node);
        }
        Ok(Introduction {
            state: self.state,
            serial: said.serial,
            issued: Millis(said.issued_ms),
            valid_until: Millis(said.valid_until_ms),
            nodes,
            crls: said.crls.iter().map(|crl| crl.to_vec()).collect(),
            root: self.root,
            chain: self.chain,
            payload: signed.payload.to_vec(),
            signature: signed.signature.to_vec(),
        })
    }

    fn node(&mut self, said: &proto::Node) -> Result<IntroducedNode, IntroductionError> {
        let wrong = || IntroductionError::Node(said.name.chars().take(64).collect());
        let name: NodeName = said.name.parse().map_err(|_| wrong())?;
        if name.to_string() != said.name || name.state() != self.state {
            return Err(wrong());
        }
        counted("addresses of one node", said.addresses.len(), 1, MAX_ADDRESSES)?;
        counted("TLS certificates of one node", said.tls.len(), 1, MAX_IN_FORCE)?;
        counted("pairs of signing keys of one node", said.signing.len(), 1, MAX_IN_FORCE)?;
        let address = |text: &String| text.parse().map_err(|error| IntroductionError::Address { node: name, error });
        let addresses: Vec<Address> = said.addresses.iter().map(address).collect::<Result<_, _>>()?;
        let tls = said.tls.iter().map(|chain| self.tls(name, chain)).collect::<Result<_, _>>()?;
        let signing = said.signing.iter().map(|keys| self.signing(name, keys)).collect::<Result<_, _>>()?;
        Ok(IntroducedNode { name, desks: desks(name, &said.desks)?, addresses, tls, signing })
    }

    fn tls(
        &mut self,
        node: NodeName,
        said: &proto::CertificateChain,
    ) -> Result<Vec<CertificateDer<'static>>, IntroductionError> {
        counted("certificates in one chain", said.certificates.len(), 1, MAX_INTERMEDIATES + 1)?;
        let leaf = self.leaf(node, &said.certificates[0], Role::Tls, &said.certificates[1..])?;
        // A renewed certificate may keep the key of the old one.
        if !self.tls_keys.contains(&(node, leaf.public_key.clone())) {
            self.key_once(node, leaf.public_key.clone())?;
            self.tls_keys.push((node, leaf.public_key));
        }
        Ok(said.certificates.iter().map(|der| CertificateDer::from(der.to_vec())).collect())
    }

    fn signing(&mut self, node: NodeName, said: &proto::SigningKeys) -> Result<IntroducedKeys, IntroductionError> {
        let wrong = || IntroductionError::SigningKey(node);
        let public = SigningPublic::from_slices(&said.ed25519, &said.ml_dsa_44).ok_or_else(wrong)?;
        let ed25519 = self.leaf(node, &said.ed25519_certificate, Role::Signing, &[])?;
        let ml_dsa_44 = self.leaf(node, &said.ml_dsa_44_certificate, Role::Signing, &[])?;
        if ed25519.key != KeyAlgorithm::Ed25519
            || ed25519.public_key != public.ed25519
            || ml_dsa_44.key != KeyAlgorithm::MlDsa44
            || ml_dsa_44.public_key != public.ml_dsa_44.as_slice()
        {
            return Err(wrong());
        }
        self.key_once(node, ed25519.public_key)?;
        self.key_once(node, ml_dsa_44.public_key)?;
        Ok(IntroducedKeys { public, ed25519_certificate: ed25519.der, ml_dsa_44_certificate: ml_dsa_44.der })
    }

    fn leaf(
        &self,
        node: NodeName,
        der: &[u8],
        role: Role,
        between: &[prost::bytes::Bytes],
    ) -> Result<Profiled, IntroductionError> {
        let refused = |error| IntroductionError::Certificate { node, error };
        let leaf = check(der, role).map_err(|error| refused(PathError::Profile { role, error }))?;
        let named = leaf.node.expect("the profile gives every leaf a node");
        if named != node {
            return Err(IntroductionError::OtherName { node, named });
        }
        let usage = if role == Role::Tls { Usage::Server } else { Usage::Heads };
        let mut all: Vec<CertificateDer<'static>> = self.chain.clone();
        for der in between.iter().map(|der| CertificateDer::from(der.to_vec())) {
            if !all.contains(&der) {
                all.push(der);
            }
        }
        // Judged beyond every validity: an introduction may be read long after it was written.
        verify(&leaf, &all, &self.root, &self.crls, Millis(u64::MAX), usage).map_err(refused)?;
        Ok(leaf)
    }

    fn key_once(&mut self, node: NodeName, key: Vec<u8>) -> Result<(), IntroductionError> {
        if self.keys.insert(key) { Ok(()) } else { Err(IntroductionError::KeyTwice(node)) }
    }
}

/// Whether each revocation list comes from a CA in this introduction. The path check passes over a list of anybody else,
/// so that nothing would be revoked by it, and it does not ask whether the root may sign lists.
fn issued_here(
    said: &proto::Introduction,
    root: &Profiled,
    crls: &[CertRevocationList<'_>],
) -> Result<(), &'static str> {
    let presented = said.nodes.iter().flat_map(|node| &node.tls).flat_map(|chain| chain.certificates.iter().skip(1));
    for crl in crls {
        if subject_of(&root.der).is_some_and(|subject| subject == crl.issuer()) {
            if !root.signs_crls {
                return Err("its root may not sign any (no cRLSign)");
            }
        } else if !said
            .chain
            .iter()
            .chain(presented.clone())
            .any(|der| subject_of(der).as_deref() == Some(crl.issuer()))
        {
            return Err("it was issued by nobody in this introduction");
        }
    }
    Ok(())
}

/// The name of a CA as the path check compares it with the issuer of a list.
fn subject_of(der: &[u8]) -> Option<Vec<u8>> {
    let der = CertificateDer::from(der);
    anchor_from_trusted_cert(&der).ok().map(|anchor| anchor.subject.to_vec())
}

fn counted(what: &'static str, found: usize, least: usize, most: usize) -> Result<(), IntroductionError> {
    if (least..=most).contains(&found) { Ok(()) } else { Err(IntroductionError::Count { what, found, least, most }) }
}

fn desks(node: NodeName, numbers: &[u32]) -> Result<Vec<Desk>, IntroductionError> {
    let wrong = || IntroductionError::Desks(node);
    let desks: Vec<Desk> =
        numbers.iter().map(|number| Desk::from_number(*number).ok_or_else(wrong)).collect::<Result<_, _>>()?;
    let in_order = desks.windows(2).all(|pair| pair[0] < pair[1]);
    if desks.is_empty() || !in_order || !desks.iter().all(|desk| node.serves(*desk)) {
        return Err(wrong());
    }
    Ok(desks)
}
