//! Who may connect, and how it is named when nobody may.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use verbale::exchange::CloseCode;
use verbale::identity::{
    Direction, IdentityRefusal, OwnTls, PathError, PeerStatus, PostQuantum, client_config, server_config,
};
use verbale::name::NodeName;
use verbale::net::{BindError, EndedBy, Layer, Limits, NetEvent, bind};

use crate::rig::{Node, State, anchors, node, raw_config, raw_endpoint, raw_tls, soon};

async fn dial_failed(node: &mut Node) -> (NodeName, Layer, String) {
    match node.next().await {
        NetEvent::DialFailed { peer, layer, why } => (peer, layer, why),
        other => panic!("{other:?} instead of DialFailed"),
    }
}

fn only_refusal(node: &Node) -> (Direction, Option<NodeName>, IdentityRefusal) {
    let refusals = node.refusals.0.lock().unwrap();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    refusals[0].clone()
}

fn impostor(state: &State, peers: &[&State], own: OwnTls) -> Node {
    Node::start_with(state, peers, own, Limits::default(), PostQuantum::Prefer)
}

/// The dialler believes to be connected, or not even that, and learns at once that it is not accepted.
async fn assert_turned_away(dialler: &mut Node, acceptor: &mut Node) {
    let layer = match dialler.next().await {
        NetEvent::Connected { .. } => {
            let why = dialler.closed().await;
            assert_eq!(why.by, EndedBy::Peer, "{why}");
            why.layer
        }
        NetEvent::DialFailed { layer, .. } => layer,
        other => panic!("{other:?}"),
    };
    assert_eq!(layer, Layer::Identity);
    assert!(acceptor.events.is_empty(), "the acceptor's shell hears of no connection");
}

#[tokio::test]
async fn a_stranger_is_refused_and_both_sides_say_so() {
    let (xa, xb) = (State::new("XA"), State::new("XB"));
    let (mut a, mut b) = (Node::start(&xa, &[&xb]), Node::start(&xb, &[]));
    a.dial(b.name, b.address());
    assert_turned_away(&mut a, &mut b).await;
    assert_eq!(only_refusal(&b), (Direction::Accept, Some(xa.name), IdentityRefusal::UnknownNode(xa.name)));
}

#[tokio::test]
async fn another_states_root_does_not_speak_for_a_state_on_accepting() {
    let (xa, xb, xc) = (State::new("XA"), State::new("XB"), State::new("XC"));
    let mut a = impostor(&xa, &[&xb], xc.certify("XA"));
    let mut b = Node::start(&xb, &[&xa, &xc]);
    a.dial(b.name, b.address());
    assert_turned_away(&mut a, &mut b).await;
    let (direction, claimed, reason) = only_refusal(&b);
    assert_eq!((direction, claimed), (Direction::Accept, Some(xa.name)));
    assert_eq!(reason, IdentityRefusal::Path(PathError::OtherRoot));
}

#[tokio::test]
async fn another_states_root_does_not_speak_for_a_state_on_dialling() {
    let (xa, xb, xc) = (State::new("XA"), State::new("XB"), State::new("XC"));
    let mut a = Node::start(&xa, &[&xb, &xc]);
    let b = impostor(&xb, &[&xa], xc.certify("XB"));
    a.dial(b.name, b.address());
    let (peer, layer, _) = dial_failed(&mut a).await;
    assert_eq!((peer, layer), (xb.name, Layer::Identity));
    assert_eq!(only_refusal(&a).0, Direction::Dial);
}

#[tokio::test]
async fn another_node_than_the_dialled_one_is_refused_by_name() {
    let (xa, xb, xc) = (State::new("XA"), State::new("XB"), State::new("XC"));
    let mut a = Node::start(&xa, &[&xb, &xc]);
    let c = Node::start(&xc, &[&xa]);
    a.dial(node("XB"), c.address());
    let (_, layer, why) = dial_failed(&mut a).await;
    assert_eq!(layer, Layer::Identity);
    assert!(why.contains("XB was dialled") && why.contains("names XC"), "{why}");
}

#[tokio::test]
async fn a_suspended_peer_is_refused_until_it_is_resumed() {
    let (xa, xb) = (State::new("XA"), State::new("XB"));
    let (mut a, mut b) = (Node::start(&xa, &[&xb]), Node::start(&xb, &[&xa]));
    let mut suspended = anchors(xb.name, &[&xa]);
    suspended.set_status(xa.name, PeerStatus::Suspended);
    b.anchors.replace(suspended);
    a.dial(b.name, b.address());
    assert_turned_away(&mut a, &mut b).await;
    b.anchors.replace(anchors(xb.name, &[&xa]));
    a.dial(b.name, b.address());
    a.connected().await;
    b.connected().await;
}

#[tokio::test]
async fn what_answers_with_another_protocol_is_a_matter_of_version() {
    let (xa, xb) = (State::new("XA"), State::new("XB"));
    let mut a = Node::start(&xa, &[&xb]);
    let mut tls = server_config(&raw_tls(xb.tls.clone(), xb.name, &xa)).unwrap();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let other = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = other.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = other.accept().await {
            let _ = incoming.await;
        }
    });
    a.dial(xb.name, address);
    assert_eq!(dial_failed(&mut a).await.1, Layer::Version);
}

#[tokio::test]
async fn both_settings_for_post_quantum_reach_each_other_and_only_require_refuses_x25519_alone() {
    let (xa, xb) = (State::new("XA"), State::new("XB"));
    let start = |state: &State, peer: &State, setting| {
        Node::start_with(state, &[peer], state.tls.clone(), Limits::default(), setting)
    };
    for (ours, theirs) in [
        (PostQuantum::Require, PostQuantum::Prefer),
        (PostQuantum::Prefer, PostQuantum::Require),
        (PostQuantum::Require, PostQuantum::Require),
    ] {
        let (mut a, mut b) = (start(&xa, &xb, ours), start(&xb, &xa, theirs));
        a.dial(b.name, b.address());
        a.connected().await;
        b.connected().await;
    }
    for (setting, passes) in [(PostQuantum::Prefer, true), (PostQuantum::Require, false)] {
        let mut b = start(&xb, &xa, setting);
        let mut tls = client_config(&raw_tls(xa.tls.clone(), xa.name, &xb), xb.name).unwrap();
        let mut provider = default_provider();
        provider.kx_groups = vec![kx_group::X25519];
        let verifier = Arc::new(AnyServer(provider.signature_verification_algorithms));
        let mut classical = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(xa.tls.clone()));
        classical.alpn_protocols = std::mem::take(&mut tls.alpn_protocols);
        classical.enable_sni = false;
        let connecting = raw_endpoint().connect_with(raw_config(classical), b.address(), "verbale.invalid").unwrap();
        let result = soon("the handshake", connecting).await;
        assert_eq!(result.is_ok(), passes, "{setting:?}: {result:?}");
        if passes {
            b.connected().await;
        }
    }
}

/// Takes any server; the test is about what the server takes.
#[derive(Debug)]
struct AnyServer(rustls::crypto::WebPkiSupportedAlgorithms);

impl rustls::client::danger::ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[tokio::test]
async fn silence_a_wrong_name_and_a_missing_family_are_told_apart() {
    let (xa, xb) = (State::new("XA"), State::new("XB"));
    let limits =
        Limits { handshake: Duration::from_millis(300), lookup: Duration::from_millis(500), ..Limits::default() };
    let mut a = Node::start_limited(&xa, &[&xb], limits);
    // Bound, so that the port is nobody else's, and silent.
    let bound = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = bound.local_addr().unwrap();
    // Bound and closed again: nobody has it now.
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (addresses, layer, word) in [
        (vec![silent.to_string()], Layer::Udp, "nothing at all came back"),
        (vec![closed.to_string()], Layer::Udp, "nothing listens on UDP port"),
        (vec!["no-such-node.invalid:7411".into()], Layer::Address, "name"),
        (vec!["[2001:db8::1]:7411".into()], Layer::Address, "IPv6"),
        (vec!["192.0.2.1:7411".into()], Layer::Address, "listen"),
        (vec![], Layer::Address, "no address"),
        (vec!["[2001:db8::1]:7411".into(), silent.to_string()], Layer::Udp, "nothing at all came back"),
    ] {
        a.net.dial(xb.name, addresses.iter().map(|text: &String| text.parse().unwrap()).collect());
        let (_, found, why) = dial_failed(&mut a).await;
        assert_eq!(found, layer, "{addresses:?}: {why}");
        assert!(why.contains(word), "{why}");
    }
}

#[tokio::test]
async fn the_second_address_is_tried_when_the_first_is_silent() {
    let (xa, xb) = (State::new("XA"), State::new("XB"));
    let limits = Limits { handshake: Duration::from_secs(2), ..Limits::default() };
    let (mut a, mut b) = (Node::start_limited(&xa, &[&xb], limits), Node::start(&xb, &[&xa]));
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addresses = [silent.local_addr().unwrap(), b.address()];
    a.net.dial(xb.name, addresses.iter().map(|address| address.to_string().parse().unwrap()).collect());
    a.connected().await;
    b.connected().await;
}

#[tokio::test]
async fn a_node_that_was_stopped_in_order_is_named_so() {
    let (xa, xb) = (State::new("XA"), State::new("XB"));
    let (mut a, mut b) = (Node::start(&xa, &[&xb]), Node::start(&xb, &[&xa]));
    a.dial(b.name, b.address());
    a.connected().await;
    b.connected().await;
    soon("the stop", b.net.shutdown()).await;
    let why = loop {
        match a.next().await {
            NetEvent::Closed { why, .. } => break why,
            NetEvent::Frame { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((why.layer, why.code), (Layer::Exchange, Some(CloseCode::GoingDown)));
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_says_so() {
    let xa = State::new("XA");
    let first = Node::start(&xa, &[]);
    let result = bind(&[first.address()], raw_tls(xa.tls.clone(), xa.name, &State::new("XB")), Limits::default());
    match result {
        Err(error @ BindError::Socket { .. }) => assert!(error.to_string().contains("uses this port"), "{error}"),
        other => panic!("{other:?}"),
    }
}
