//! Making an introduction: what a State says, signed by its root.

use prost::Message;
use rustls::pki_types::CertificateDer;

use super::parse::IntroductionError;
use super::{IntroducedKeys, IntroducedNode, Introduction, SIGNATURE_DOMAIN, VERSION};
use crate::identity::key::PrivateKey;
use crate::identity::proto;
use crate::name::{Millis, State};

/// What an introduction is to say, before it is signed.
#[derive(Clone, Debug)]
pub struct IntroductionDraft {
    /// The State.
    pub state: State,
    /// Its root certificate.
    pub root: CertificateDer<'static>,
    /// Intermediate certificates of its own PKI.
    pub chain: Vec<CertificateDer<'static>>,
    /// The number of this introduction; see [`IntroductionDraft::next_serial`].
    pub serial: u64,
    /// Time of issue.
    pub issued: Millis,
    /// When a new one is due.
    pub valid_until: Millis,
    /// The nodes.
    pub nodes: Vec<IntroducedNode>,
    /// Revocation lists, DER.
    pub crls: Vec<Vec<u8>>,
}

impl IntroductionDraft {
    /// The number of an introduction that is issued now and follows the one numbered `before`.
    pub fn next_serial(now: Millis, before: Option<u64>) -> u64 {
        now.0.max(before.map_or(1, |before| before.saturating_add(1)))
    }

    /// Signs it with the root's private key, and reads it back as a peer would: what cannot be read is not written.
    ///
    /// # Errors
    /// Whatever a peer would find wrong, and [`IntroductionError::Key`].
    pub fn sign(&self, root_key: &PrivateKey) -> Result<Introduction, IntroductionError> {
        let payload = self.to_proto().encode_to_vec();
        let signature = root_key.sign(&[SIGNATURE_DOMAIN, &payload].concat())?;
        let signed = proto::SignedIntroduction { payload: payload.into(), signature: signature.into() };
        Introduction::from_signed_bytes(&signed.encode_to_vec())
    }

    fn to_proto(&self) -> proto::Introduction {
        proto::Introduction {
            version: VERSION,
            state: self.state.to_string(),
            root: bytes(&self.root),
            chain: self.chain.iter().map(bytes).collect(),
            serial: self.serial,
            issued_ms: self.issued.0,
            valid_until_ms: self.valid_until.0,
            nodes: self.nodes.iter().map(node_to_proto).collect(),
            crls: self.crls.iter().map(|crl| crl.clone().into()).collect(),
        }
    }
}

impl Introduction {
    /// The bytes inside the armour, as TRUST carries them too.
    pub fn to_signed_bytes(&self) -> Vec<u8> {
        let signed = proto::SignedIntroduction {
            payload: self.payload.clone().into(),
            signature: self.signature.clone().into(),
        };
        signed.encode_to_vec()
    }
}

fn node_to_proto(node: &IntroducedNode) -> proto::Node {
    proto::Node {
        name: node.name.to_string(),
        desks: node.desks.iter().map(|desk| desk.number()).collect(),
        addresses: node.addresses.iter().map(ToString::to_string).collect(),
        tls: node
            .tls
            .iter()
            .map(|chain| proto::CertificateChain { certificates: chain.iter().map(bytes).collect() })
            .collect(),
        signing: node.signing.iter().map(keys_to_proto).collect(),
        carriage: Vec::new(),
    }
}

fn keys_to_proto(keys: &IntroducedKeys) -> proto::SigningKeys {
    proto::SigningKeys {
        ed25519: keys.public.ed25519.to_vec().into(),
        ml_dsa_44: keys.public.ml_dsa_44.to_vec().into(),
        ed25519_certificate: bytes(&keys.ed25519_certificate),
        ml_dsa_44_certificate: bytes(&keys.ml_dsa_44_certificate),
    }
}

fn bytes(der: &CertificateDer<'static>) -> prost::bytes::Bytes {
    der.to_vec().into()
}
