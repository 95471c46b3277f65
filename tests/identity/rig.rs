//! Exercise States with roots and nodes in memory, and certificates that break one rule each.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SanType,
    SerialNumber,
};
use rustls::pki_types::CertificateDer;
use verbale::identity::{
    Anchors, IntroducedKeys, IntroducedNode, Introduction, IntroductionDraft, PeerStatus, PrivateAlgorithm, PrivateKey,
    SigningKeys, TlsIdentity, root_certificate, signing_certificate, tls_certificate,
};
use verbale::name::{Desk, Millis, NodeName, State};

pub const DAY: u64 = 24 * 60 * 60 * 1000;
/// 2026-03-01T12:00:00Z.
pub const NOW: Millis = Millis(1_772_366_400_000);

pub fn days(count: u64) -> Duration {
    Duration::from_millis(count * DAY)
}

pub fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

pub fn copy(key: &PrivateKey) -> PrivateKey {
    PrivateKey::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap()
}

/// A State with its root.
pub struct Authority {
    pub state: State,
    pub key: PrivateKey,
    pub root: CertificateDer<'static>,
}

impl Authority {
    pub fn new(state: &str) -> Self {
        let state = state.parse().unwrap();
        let key = PrivateKey::generate(PrivateAlgorithm::P384).unwrap();
        let root = root_certificate(state, &key, NOW).unwrap();
        Self { state, key, root }
    }

    pub fn issuer(&self) -> Issuer<'_, &PrivateKey> {
        Issuer::from_ca_cert_der(&self.root, &self.key).unwrap()
    }

    /// A leaf made from `params`, which may be anything.
    pub fn issue(&self, params: &CertificateParams, subject: &impl rcgen::PublicKeyData) -> CertificateDer<'static> {
        params.signed_by(subject, &self.issuer()).unwrap().into()
    }

    pub fn node(&self, name: &str) -> Node {
        let name = node(name);
        let tls_key = PrivateKey::generate(PrivateAlgorithm::P256).unwrap();
        let tls = tls_certificate(name, &tls_key, &self.root, &self.key, NOW).unwrap();
        let signing = SigningKeys::generate().unwrap();
        let keys = self.certify(name, &signing);
        Node { name, tls_key, tls, signing, keys }
    }

    pub fn certify(&self, name: NodeName, signing: &SigningKeys) -> IntroducedKeys {
        let certificate = |key| signing_certificate(name, key, &self.root, &self.key, NOW).unwrap();
        IntroducedKeys {
            public: signing.public(),
            ed25519_certificate: certificate(signing.ed25519()),
            ml_dsa_44_certificate: certificate(signing.ml_dsa_44()),
        }
    }

    pub fn draft(&self, nodes: &[&Node]) -> IntroductionDraft {
        IntroductionDraft {
            state: self.state,
            root: self.root.clone(),
            chain: Vec::new(),
            serial: IntroductionDraft::next_serial(NOW, None),
            issued: NOW,
            valid_until: NOW.after(days(397)),
            nodes: nodes.iter().map(|node| node.introduced()).collect(),
            crls: Vec::new(),
        }
    }

    pub fn introduce(&self, nodes: &[&Node]) -> Arc<Introduction> {
        Arc::new(self.draft(nodes).sign(&self.key).unwrap())
    }
}

/// A node with its keys.
pub struct Node {
    pub name: NodeName,
    pub tls_key: PrivateKey,
    pub tls: CertificateDer<'static>,
    pub signing: SigningKeys,
    pub keys: IntroducedKeys,
}

impl Node {
    pub fn introduced(&self) -> IntroducedNode {
        IntroducedNode {
            name: self.name,
            desks: Desk::ALL.iter().copied().filter(|desk| self.name.serves(*desk)).collect(),
            addresses: vec!["192.0.2.1:7411".parse().unwrap()],
            tls: vec![vec![self.tls.clone()]],
            signing: vec![self.keys.clone()],
        }
    }

    pub fn identity(&self) -> TlsIdentity {
        TlsIdentity::new(vec![self.tls.clone()], copy(&self.tls_key)).unwrap()
    }
}

/// The anchors of `own` with these introductions accepted.
pub fn anchors(own: &str, introductions: &[Arc<Introduction>]) -> Anchors {
    let mut anchors = Anchors::new(node(own));
    for introduction in introductions {
        anchors.add(introduction.clone(), PeerStatus::Active).unwrap();
    }
    anchors
}

pub fn at(time: Millis) -> impl Fn(&mut CertificateParams, u64) {
    move |params, for_days| {
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(time.0);
        params.not_after = params.not_before + days(for_days);
    }
}

/// A good TLS leaf for `name`, to be broken in one way.
pub fn tls_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    at(NOW)(&mut params, 90);
    params.serial_number = Some(SerialNumber::from_slice(&[0x47; 16]));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "a test");
    params.is_ca = IsCa::ExplicitNoCa;
    params.subject_alt_names = vec![uri(&node(name).uri())];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// A good signing leaf for `name`.
pub fn signing_params(name: &str) -> CertificateParams {
    let mut params = tls_params(name);
    params.key_usages = vec![KeyUsagePurpose::ContentCommitment];
    params.extended_key_usages.clear();
    params
}

/// A good intermediate.
pub fn ca_params(common_name: &str) -> CertificateParams {
    let mut params = tls_params("XA");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.subject_alt_names.clear();
    params.extended_key_usages.clear();
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}
