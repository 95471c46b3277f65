//! Real TLS handshakes between two ends in memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Connection, Error, HandshakeKind, NamedGroup,
    ServerConfig, ServerConnection,
};
use verbale::identity::{
    ALPN, Anchors, Direction, IdentityRefusal, Introduction, OwnTls, PeerStatus, PostQuantum, RefusalLog, Restriction,
    SharedAnchors, TlsIdentityError, TlsSettings, client_config, judge_peer, server_config, server_name,
};
use verbale::name::{Millis, NodeName};

use crate::rig::{Authority, DAY, NOW, Node, anchors, copy, node};

#[derive(Debug)]
struct Clock(Mutex<Millis>);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.lock().unwrap().seconds())))
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<(Direction, Option<NodeName>, IdentityRefusal)>>);

impl RefusalLog for Heard {
    fn refused(&self, direction: Direction, claimed: Option<NodeName>, reason: &IdentityRefusal) {
        self.0.lock().unwrap().push((direction, claimed, reason.clone()));
    }
}

/// One node as TLS sees it.
struct End {
    node: Node,
    introduction: Arc<Introduction>,
    settings: TlsSettings,
    clock: Arc<Clock>,
    heard: Arc<Heard>,
}

impl End {
    fn new(authority: &Authority, name: &str) -> Self {
        let node = authority.node(name);
        let (clock, heard) = (Arc::new(Clock(Mutex::new(NOW))), Arc::new(Heard::default()));
        let settings = TlsSettings {
            anchors: SharedAnchors::new(Anchors::new(node.name)),
            own: OwnTls::new(&node.identity()).unwrap(),
            log: heard.clone(),
            post_quantum: PostQuantum::Prefer,
            clock: clock.clone(),
        };
        Self { introduction: authority.introduce(&[&node]), node, settings, clock, heard }
    }

    fn knows(&self, peers: &[&End]) {
        let introductions: Vec<_> = peers.iter().map(|peer| peer.introduction.clone()).collect();
        self.settings.anchors.replace(anchors(&self.node.name.to_string(), &introductions));
    }

    fn heard(&self) -> Vec<(Direction, Option<NodeName>, IdentityRefusal)> {
        std::mem::take(&mut *self.heard.0.lock().unwrap())
    }
}

/// Two States that have accepted each other.
fn pair() -> (End, End) {
    let (a, b) = (End::new(&Authority::new("XA"), "XA"), End::new(&Authority::new("XB"), "XB"));
    a.knows(&[&b]);
    b.knows(&[&a]);
    (a, b)
}

struct Outcome {
    client: Connection,
    server: Connection,
    client_error: Option<Error>,
    server_error: Option<Error>,
}

fn dial(from: &End, to: &End, dialled: &str) -> Outcome {
    shake(client_config(&from.settings, node(dialled)).unwrap(), server_config(&to.settings).unwrap())
}

/// Carries bytes to and fro until nothing is left to say.
fn shake(client: ClientConfig, server: ServerConfig) -> Outcome {
    let mut outcome = Outcome {
        client: ClientConnection::new(Arc::new(client), server_name()).unwrap().into(),
        server: ServerConnection::new(Arc::new(server)).unwrap().into(),
        client_error: None,
        server_error: None,
    };
    loop {
        let to_server = carry(&mut outcome.client, &mut outcome.server, &mut outcome.server_error);
        let to_client = carry(&mut outcome.server, &mut outcome.client, &mut outcome.client_error);
        if to_server + to_client == 0 {
            return outcome;
        }
    }
}

fn carry(from: &mut Connection, to: &mut Connection, error: &mut Option<Error>) -> usize {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() && error.is_none() {
        to.read_tls(&mut rest).unwrap();
        *error = to.process_new_packets().err();
    }
    bytes.len()
}

impl Outcome {
    fn is_up(&self) -> bool {
        let quiet = self.client_error.is_none() && self.server_error.is_none();
        quiet && !self.client.is_handshaking() && !self.server.is_handshaking()
    }
}

fn refused() -> Option<Error> {
    Some(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
}

#[test]
fn two_peers_meet_with_both_certificates_shown_and_a_hybrid_key_exchange() {
    let (a, b) = pair();
    let outcome = dial(&a, &b, "XB");
    assert!(outcome.is_up(), "{:?} {:?}", outcome.client_error, outcome.server_error);
    for end in [&outcome.client, &outcome.server] {
        assert_eq!(end.alpn_protocol(), Some(ALPN));
        assert_eq!(end.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
        assert_eq!(end.handshake_kind(), Some(HandshakeKind::Full));
    }
    let at_server = outcome.server.peer_certificates().unwrap();
    let peer = judge_peer(at_server, &b.settings.anchors.load(), NOW, None).unwrap();
    assert_eq!((peer.node, peer.restricted), (node("XA"), None));
    let at_client = outcome.client.peer_certificates().unwrap();
    let peer = judge_peer(at_client, &a.settings.anchors.load(), NOW, Some(node("XB"))).unwrap();
    assert_eq!(peer.node, node("XB"));
    let Connection::Server(server) = &outcome.server else { panic!("the server end") };
    assert_eq!(server.server_name(), None, "no name of a server is sent");
    assert!(a.heard().is_empty() && b.heard().is_empty());
}

#[test]
fn quic_takes_both_configurations() {
    let (a, b) = pair();
    let client = client_config(&a.settings, node("XB")).unwrap();
    let server = server_config(&b.settings).unwrap();
    assert!(quinn::crypto::rustls::QuicClientConfig::try_from(client).is_ok());
    assert!(quinn::crypto::rustls::QuicServerConfig::try_from(server).is_ok());
}

#[test]
fn no_session_is_resumed() {
    let (a, b) = pair();
    let client = Arc::new(client_config(&a.settings, node("XB")).unwrap());
    let server = Arc::new(server_config(&b.settings).unwrap());
    for _ in 0..2 {
        let outcome = shake((*client).clone(), (*server).clone());
        assert_eq!(outcome.server.handshake_kind(), Some(HandshakeKind::Full));
    }
    assert_eq!((server.send_tls13_tickets, server.max_early_data_size), (0, 0));
    assert!(!client.enable_sni && !client.enable_early_data);
}

#[test]
fn a_node_of_another_state_than_the_dialled_one_is_refused_by_the_dialler() {
    let (a, b) = pair();
    let c = End::new(&Authority::new("XC"), "XC");
    a.knows(&[&b, &c]);
    let outcome = dial(&a, &b, "XC");
    assert_eq!(outcome.client_error, refused());
    let reason = IdentityRefusal::WrongNode { dialled: node("XC"), presented: node("XB") };
    assert_eq!(a.heard(), [(Direction::Dial, Some(node("XB")), reason)]);
}

#[test]
fn every_refusal_on_accepting_looks_the_same_from_outside_and_differs_in_the_log() {
    let (a, b) = pair();
    let (stranger, forger) = (Authority::new("XD"), Authority::new("XA"));
    let stranger = End::new(&stranger, "XD");
    let forger = End::new(&forger, "XA");
    let suspended = End::new(&Authority::new("XC"), "XC");
    b.knows(&[&a, &suspended]);
    let mut known = (*b.settings.anchors.load()).clone();
    known.set_status(node("XC"), PeerStatus::Suspended);
    b.settings.anchors.replace(known);
    let mut reasons = Vec::new();
    for dialler in [&stranger, &forger, &suspended] {
        dialler.knows(&[&b]);
        let outcome = dial(dialler, &b, "XB");
        assert_eq!(outcome.server_error, refused());
        assert_eq!(outcome.client_error, Some(Error::AlertReceived(AlertDescription::AccessDenied)));
        let heard = b.heard();
        assert_eq!(heard.len(), 1);
        assert_eq!((heard[0].0, heard[0].1), (Direction::Accept, Some(dialler.node.name)));
        reasons.push(heard[0].2.clone());
    }
    assert_eq!(reasons[0], IdentityRefusal::UnknownNode(node("XD")));
    assert_eq!(reasons[1], verbale::identity::PathError::OtherRoot.into());
    assert_eq!(reasons[2], IdentityRefusal::Suspended(node("XC")));
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let (a, b) = pair();
    let mut client = client_config(&a.settings, node("XB")).unwrap();
    client.client_auth_cert_resolver = Arc::new(NoCertificate);
    let outcome = shake(client, server_config(&b.settings).unwrap());
    assert_eq!(outcome.server_error, Some(Error::NoCertificatesPresented));
}

#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[test]
fn an_expired_certificate_passes_the_handshake_and_is_restricted_after_it() {
    let (a, b) = pair();
    let later = Millis(NOW.0 + 400 * DAY);
    for end in [&a, &b] {
        *end.clock.0.lock().unwrap() = later;
    }
    let outcome = dial(&a, &b, "XB");
    assert!(outcome.is_up());
    let peer = judge_peer(outcome.server.peer_certificates().unwrap(), &b.settings.anchors.load(), later, None);
    assert!(matches!(peer.unwrap().restricted, Some(Restriction::Expired { .. })));
}

#[test]
fn peers_and_the_own_certificate_are_exchanged_without_a_new_configuration() {
    let (authority, other) = (Authority::new("XA"), Authority::new("XB"));
    let (a, b) = (End::new(&authority, "XA"), End::new(&other, "XB"));
    let client = client_config(&a.settings, node("XB")).unwrap();
    let server = server_config(&b.settings).unwrap();
    assert!(!shake(client.clone(), server.clone()).is_up());
    a.knows(&[&b]);
    b.knows(&[&a]);
    assert!(shake(client.clone(), server.clone()).is_up());
    let renewed = authority.node("XA");
    a.settings.own.replace(&renewed.identity()).unwrap();
    let outcome = shake(client, server);
    assert!(outcome.is_up());
    assert_eq!(outcome.server.peer_certificates().unwrap(), [renewed.tls]);
}

#[test]
fn require_refuses_a_peer_without_ml_kem_and_prefer_takes_it() {
    let (a, mut b) = pair();
    let mut classical = client_config(&a.settings, node("XB")).unwrap();
    let mut provider = (**classical.crypto_provider()).clone();
    provider.kx_groups.retain(|group| group.name() == NamedGroup::X25519);
    let verifier_only = ClientConfig::builder_with_details(Arc::new(provider), a.settings.clock.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_client_cert_resolver(classical.client_auth_cert_resolver.clone());
    classical = verifier_only;
    classical.alpn_protocols = vec![ALPN.to_vec()];
    // The classical client has no roots, so it stops only after the server has agreed to a key exchange.
    let prefer = shake(classical.clone(), server_config(&b.settings).unwrap());
    assert!(matches!(prefer.client_error, Some(Error::InvalidCertificate(_))), "{:?}", prefer.client_error);
    b.settings.post_quantum = PostQuantum::Require;
    let require = shake(classical, server_config(&b.settings).unwrap());
    assert!(matches!(require.server_error, Some(Error::PeerIncompatible(_))), "{:?}", require.server_error);
    assert!(dial(&a, &b, "XB").is_up());
}

#[test]
fn an_own_key_that_is_not_the_certificates_is_refused_at_once() {
    let authority = Authority::new("XA");
    let (one, two) = (authority.node("XA"), authority.node("XA"));
    let mixed = verbale::identity::TlsIdentity::new(vec![one.tls.clone()], copy(&two.tls_key));
    assert_eq!(mixed.unwrap_err(), TlsIdentityError::OtherKey);
}
