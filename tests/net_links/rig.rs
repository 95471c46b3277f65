//! States, nodes and raw peers for these tests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use tokio::sync::mpsc;
use tokio::time::timeout;
use verbale::exchange::{ConnId, Pushed};
use verbale::identity::{
    Anchors, Direction, IdentityRefusal, IntroducedKeys, IntroducedNode, Introduction, IntroductionDraft, OwnTls,
    PeerStatus, PostQuantum, PrivateAlgorithm, PrivateKey, RefusalLog, SharedAnchors, SigningKeys, TlsIdentity,
    TlsSettings, client_config, root_certificate, signing_certificate, tls_certificate,
};
use verbale::name::{BootNonce, Desk, EntryId, Millis, NodeName, Origin};
use verbale::net::{Ended, Limits, NetEvent, NetHandle, Room, bind};
use verbale::wire::{EntryFrame, Frame, Hello, Leaf, LogState, Payload, commitment};

/// Longest wait for anything; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

pub fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

/// A State with its root and one node.
pub struct State {
    pub name: NodeName,
    pub introduction: Arc<Introduction>,
    pub tls: OwnTls,
    root: CertificateDer<'static>,
    root_key: PrivateKey,
}

impl State {
    pub fn new(name: &str) -> Self {
        let (name, now) = (node(name), now());
        let root_key = PrivateKey::generate(PrivateAlgorithm::P384).unwrap();
        let root = root_certificate(name.state(), &root_key, now).unwrap();
        let tls_key = PrivateKey::generate(PrivateAlgorithm::P256).unwrap();
        let tls = tls_certificate(name, &tls_key, &root, &root_key, now).unwrap();
        let signing = SigningKeys::generate().unwrap();
        let keys = IntroducedKeys {
            public: signing.public(),
            ed25519_certificate: signing_certificate(name, signing.ed25519(), &root, &root_key, now).unwrap(),
            ml_dsa_44_certificate: signing_certificate(name, signing.ml_dsa_44(), &root, &root_key, now).unwrap(),
        };
        let draft = IntroductionDraft {
            state: name.state(),
            root: root.clone(),
            chain: Vec::new(),
            serial: 1,
            issued: now,
            valid_until: now.after(Duration::from_secs(86_400)),
            nodes: vec![IntroducedNode {
                name,
                desks: Desk::ALL.to_vec(),
                addresses: vec!["127.0.0.1:1".parse().unwrap()],
                tls: vec![vec![tls.clone()]],
                signing: vec![keys],
            }],
            crls: Vec::new(),
        };
        let introduction = Arc::new(draft.sign(&root_key).unwrap());
        let tls = OwnTls::new(&TlsIdentity::new(vec![tls], tls_key).unwrap()).unwrap();
        Self { name, introduction, tls, root, root_key }
    }

    /// A certificate that this State's root signs for any name.
    pub fn certify(&self, name: &str) -> OwnTls {
        let key = PrivateKey::generate(PrivateAlgorithm::P256).unwrap();
        let leaf = tls_certificate(node(name), &key, &self.root, &self.root_key, now()).unwrap();
        OwnTls::new(&TlsIdentity::new(vec![leaf], key).unwrap()).unwrap()
    }
}

pub fn now() -> Millis {
    Millis(DefaultTimeProvider.current_time().unwrap().as_secs() * 1000)
}

/// Keeps what the judge said.
#[derive(Default)]
pub struct Refusals(pub Mutex<Vec<(Direction, Option<NodeName>, IdentityRefusal)>>);

impl RefusalLog for Refusals {
    fn refused(&self, direction: Direction, claimed: Option<NodeName>, reason: &IdentityRefusal) {
        self.0.lock().unwrap().push((direction, claimed, reason.clone()));
    }
}

/// A node's network room with a test as its shell.
pub struct Node {
    pub name: NodeName,
    pub net: NetHandle,
    pub events: mpsc::Receiver<NetEvent>,
    pub refusals: Arc<Refusals>,
    pub anchors: SharedAnchors,
}

pub fn anchors(own: NodeName, peers: &[&State]) -> Anchors {
    let mut anchors = Anchors::new(own);
    for peer in peers {
        anchors.add(peer.introduction.clone(), PeerStatus::Active).unwrap();
    }
    anchors
}

impl Node {
    pub fn start(state: &State, peers: &[&State]) -> Self {
        Self::start_with(state, peers, state.tls.clone(), Limits::default(), PostQuantum::Prefer)
    }

    pub fn start_limited(state: &State, peers: &[&State], limits: Limits) -> Self {
        Self::start_with(state, peers, state.tls.clone(), limits, PostQuantum::Prefer)
    }

    pub fn start_with(state: &State, peers: &[&State], own: OwnTls, limits: Limits, post_quantum: PostQuantum) -> Self {
        let refusals = Arc::new(Refusals::default());
        let anchors = SharedAnchors::new(anchors(state.name, peers));
        let tls = TlsSettings {
            anchors: anchors.clone(),
            own,
            log: refusals.clone(),
            post_quantum,
            clock: Arc::new(DefaultTimeProvider),
        };
        let (net, events) = bind(&["127.0.0.1:0".parse().unwrap()], tls, limits).unwrap();
        Self { name: state.name, net, events, refusals, anchors }
    }

    pub fn address(&self) -> SocketAddr {
        self.net.local_addresses()[0]
    }

    pub fn dial(&self, peer: NodeName, address: SocketAddr) {
        self.net.dial(peer, vec![address.to_string().parse().unwrap()]);
    }

    pub async fn next(&mut self) -> NetEvent {
        soon("an event", self.events.recv()).await.expect("the room is alive")
    }

    pub async fn connected(&mut self) -> ConnId {
        match self.next().await {
            NetEvent::Connected { conn, .. } => conn,
            other => panic!("{other:?} instead of Connected"),
        }
    }

    pub async fn frame(&mut self) -> Frame {
        match self.next().await {
            NetEvent::Frame { frame, .. } => frame,
            other => panic!("{other:?} instead of Frame"),
        }
    }

    pub async fn pushed(&mut self) -> (Pushed, Room) {
        match self.next().await {
            NetEvent::Pushed { pushed, room, .. } => (pushed, room),
            other => panic!("{other:?} instead of Pushed"),
        }
    }

    pub async fn back(&mut self) -> Frame {
        match self.next().await {
            NetEvent::Back { frame, .. } => frame,
            other => panic!("{other:?} instead of Back"),
        }
    }

    pub async fn closed(&mut self) -> Ended {
        match self.next().await {
            NetEvent::Closed { why, .. } => why,
            other => panic!("{other:?} instead of Closed"),
        }
    }
}

/// Two nodes that know each other, with a connection that the first dialled.
pub struct Pair {
    pub a: Node,
    pub b: Node,
    pub at_a: ConnId,
    pub at_b: ConnId,
}

impl Pair {
    /// Connected, no HELLO yet.
    pub async fn connected(limits: Limits) -> Self {
        let (xa, xb) = (State::new("XA"), State::new("XB"));
        let mut a = Node::start_limited(&xa, &[&xb], limits.clone());
        let mut b = Node::start_limited(&xb, &[&xa], limits);
        a.dial(b.name, b.address());
        let (at_a, at_b) = (a.connected().await, b.connected().await);
        Self { a, b, at_a, at_b }
    }

    /// Both Hellos exchanged; the gates still closed.
    pub async fn greeted(limits: Limits) -> Self {
        let mut pair = Self::connected(limits).await;
        pair.a.net.send_control(pair.at_a, &hello(1));
        assert_eq!(pair.b.frame().await, hello(1));
        pair.b.net.send_control(pair.at_b, &hello(2));
        assert_eq!(pair.a.frame().await, hello(2));
        pair
    }

    /// Up on both sides.
    pub async fn up(limits: Limits) -> Self {
        let pair = Self::greeted(limits).await;
        pair.a.net.open(pair.at_a);
        pair.b.net.open(pair.at_b);
        pair
    }

    /// A sign of life from the first to the second and back: what was sent earlier and is read has by then been read.
    pub async fn round_trip(&mut self, nonce: u64) {
        self.a.net.send_control(self.at_a, &Frame::Probe { nonce });
        assert_eq!(self.b.frame().await, Frame::Probe { nonce });
        let reply = Frame::ProbeReply { nonce, boot: boot(2), clock: now() };
        self.b.net.send_control(self.at_b, &reply);
        assert_eq!(self.a.frame().await, reply);
    }
}

pub fn boot(n: u8) -> BootNonce {
    BootNonce::from_slice(&[n; 16]).unwrap()
}

pub fn hello(n: u8) -> Frame {
    Frame::Hello(Box::new(Hello {
        version_min: 1,
        version_max: 1,
        boot: boot(n),
        last_boot: None,
        last_heard: None,
        clock: Millis(1_700_000_000_000),
        window: 8 << 20,
        enclosure_max: 64 << 20,
        enclosures_total_max: 256 << 20,
        kinds: vec![1, 2],
        crl_number: 0,
        certificate_digests: Vec::new(),
        mine: LogState::default(),
        yours: LogState::default(),
    }))
}

pub fn origin() -> Origin {
    "verbale/XA/XB/1.5f0c9a3e7b2d4410".parse().unwrap()
}

pub fn entry_id() -> EntryId {
    EntryId::from_slice(&[9; 16]).unwrap()
}

/// An entry with a body of `size` bytes.
pub fn entry(index: u64, size: usize) -> EntryFrame {
    let (salt, body) = ([3; 32], Bytes::from(vec![u8::try_from(index % 251).unwrap(); size]));
    let leaf = Leaf::new(commitment(&salt, &body), size, b"header").unwrap();
    EntryFrame { index, leaf, payload: Payload::Present { salt, body } }
}

pub fn note() -> Bytes {
    Bytes::from_static(b"a note that only the core reads\n")
}

/// A peer that speaks QUIC and TLS as it must and otherwise does what the test wants.
pub struct Raw {
    pub quic: quinn::Connection,
    _endpoint: quinn::Endpoint,
}

/// Settings of TLS for a raw peer that trusts `server`.
pub fn raw_tls(own: OwnTls, name: NodeName, server: &State) -> TlsSettings {
    TlsSettings {
        anchors: SharedAnchors::new(anchors(name, &[server])),
        own,
        log: Arc::new(Refusals::default()),
        post_quantum: PostQuantum::Prefer,
        clock: Arc::new(DefaultTimeProvider),
    }
}

pub fn raw_config(tls: rustls::ClientConfig) -> quinn::ClientConfig {
    quinn::ClientConfig::new(Arc::new(quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap()))
}

pub fn raw_endpoint() -> quinn::Endpoint {
    quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap()
}

impl Raw {
    /// Connects as `own`'s node to `server`.
    pub async fn connect(own: &State, server: &State, address: SocketAddr) -> Self {
        let tls = client_config(&raw_tls(own.tls.clone(), own.name, server), server.name).unwrap();
        let endpoint = raw_endpoint();
        let connecting = endpoint.connect_with(raw_config(tls), address, "verbale.invalid").unwrap();
        Self { quic: soon("a raw connection", connecting).await.unwrap(), _endpoint: endpoint }
    }

    /// Opens the control stream with `bytes`.
    pub async fn control(&self, bytes: &[u8]) -> (quinn::SendStream, quinn::RecvStream) {
        let (mut send, recv) = self.quic.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        (send, recv)
    }

    /// The code with which the node closed the connection.
    pub async fn close_code(&self) -> u64 {
        match soon("a close", self.quic.closed()).await {
            quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
            other => panic!("{other:?}"),
        }
    }
}
