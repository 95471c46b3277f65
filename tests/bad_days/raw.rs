//! A peer with valid certificates, made by `init`, that otherwise does what the test wants.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use rustls::time_provider::DefaultTimeProvider;
use verbale::identity::{
    Anchors, Direction, IdentityRefusal, Introduction, NodeKeys, OwnTls, PeerStatus, PostQuantum, RefusalLog,
    SharedAnchors, TlsSettings, client_config,
};
use verbale::name::{BootNonce, NodeName};
use verbale::wire::{Frame, Hello, LogState};

use crate::rig::{Rig, now, soon};
use crate::world::listens;

struct Silent;

impl RefusalLog for Silent {
    fn refused(&self, _: Direction, _: Option<NodeName>, _: &IdentityRefusal) {}
}

/// Settings for dialling `server` with the keys of `own`'s folder.
pub fn config(own: &Rig, server: &Rig) -> quinn::ClientConfig {
    let keys = NodeKeys::load(&own.folder).unwrap();
    let mut anchors = Anchors::new(own.name);
    anchors.add(Arc::new(Introduction::parse(&server.introduction).unwrap()), PeerStatus::Active).unwrap();
    let settings = TlsSettings {
        anchors: SharedAnchors::new(anchors),
        own: OwnTls::new(&keys.tls).unwrap(),
        log: Arc::new(Silent),
        post_quantum: PostQuantum::Prefer,
        clock: Arc::new(DefaultTimeProvider),
    };
    let tls = client_config(&settings, server.name).unwrap();
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

pub fn endpoint() -> quinn::Endpoint {
    quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
}

/// A connection that ends with this value.
pub struct Raw {
    pub quic: quinn::Connection,
    _endpoint: quinn::Endpoint,
}

impl Raw {
    /// Dials `server` as `own`, whose daemon does not run.
    pub async fn dial(own: &Rig, server: &Rig) -> Self {
        let endpoint = endpoint();
        let connecting = endpoint.connect_with(config(own, server), listens(server), "verbale.invalid").unwrap();
        Self { quic: soon("a raw connection", connecting).await.unwrap(), _endpoint: endpoint }
    }

    /// Dials, and opens the control stream with these bytes.
    pub async fn saying(own: &Rig, server: &Rig, bytes: &[u8]) -> (Self, quinn::SendStream, quinn::RecvStream) {
        let raw = Self::dial(own, server).await;
        let (send, recv) = raw.stream(bytes).await;
        (raw, send, recv)
    }

    /// Opens a stream with these bytes.
    pub async fn stream(&self, bytes: &[u8]) -> (quinn::SendStream, quinn::RecvStream) {
        let (mut send, recv) = self.quic.open_bi().await.unwrap();
        // A node that has already closed the connection has judged the bytes.
        let _ = send.write_all(bytes).await;
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

/// Reads one frame from a stream.
pub async fn frame(recv: &mut quinn::RecvStream) -> Frame {
    let mut head = [0; verbale::wire::FRAME_HEAD];
    soon("a frame", recv.read_exact(&mut head)).await.unwrap();
    let head = verbale::wire::frame_head(head).unwrap();
    let mut message = vec![0; head.length];
    soon("a whole frame", recv.read_exact(&mut message)).await.unwrap();
    Frame::decode(head.kind, message.into()).unwrap()
}

/// A HELLO that is in order, from a node that has nothing yet.
pub fn hello(boot: u8) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        boot: BootNonce([boot; 16]),
        last_boot: None,
        last_heard: None,
        clock: now(),
        window: 8 << 20,
        enclosure_max: 64 << 20,
        enclosures_total_max: 256 << 20,
        kinds: vec![1, 2],
        crl_number: 0,
        certificate_digests: Vec::new(),
        mine: LogState::default(),
        yours: LogState::default(),
    }
}

/// The bytes of a HELLO.
pub fn said(hello: Hello) -> Vec<u8> {
    Frame::Hello(Box::new(hello)).encode().to_vec()
}
