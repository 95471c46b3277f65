//! The node's UDP sockets: binds them, takes connections from them, and adopts what was judged.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn::crypto::rustls::NoInitialCipherSuite;
use quinn::{Incoming, TransportConfig};
use rustls::pki_types::CertificateDer;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::alive;
use super::connection::{self, Connection};
use super::event::NetEvent;
use super::handle::NetHandle;
use super::layer::{Layer, layer_of_refusal, varint};
use super::limits::{EVENT_QUEUE, Limits};
use super::strangers::{Knock, Strangers};
use super::{socket, transport};
use crate::exchange::{CloseCode, ConnId, Dialler};
use crate::identity::{IdentityRefusal, PeerIdentity, TlsError, TlsSettings, judge_peer, server_config};
use crate::name::{Millis, NodeName};

/// Why the node cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The socket cannot be had.
    #[error("cannot listen on UDP {address}: {source}; {}", hint(.source))]
    Socket {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The own certificate and key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The TLS configuration cannot be used for QUIC.
    #[error("the TLS configuration cannot be used for QUIC: {0}")]
    Quic(#[from] NoInitialCipherSuite),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program, perhaps another verbale, uses this port",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege; choose a higher one",
        _ => "see the setting `listen`",
    }
}

/// What all tasks of this room share.
#[derive(Debug)]
pub(super) struct Net {
    pub(super) limits: Arc<Limits>,
    pub(super) tls: Tls,
    pub(super) transport: Arc<TransportConfig>,
    pub(super) endpoints: Vec<(SocketAddr, quinn::Endpoint)>,
    pub(super) strangers: Arc<Strangers>,
    pub(super) events: mpsc::Sender<NetEvent>,
    pub(super) dialling: Mutex<BTreeSet<NodeName>>,
    pub(super) stopping: AtomicBool,
    /// Told whenever a connection has ended.
    pub(super) ended: Notify,
    connections: Mutex<BTreeMap<ConnId, Arc<Connection>>>,
    next: AtomicU64,
}

/// The settings of TLS, which show no keys when printed.
pub(super) struct Tls(pub(super) TlsSettings);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// Listens on every address of `listen` and returns the handle for orders and the queue of events.
///
/// Must be called inside a tokio runtime. The queue is bounded: while the shell does not take events, nothing is read.
///
/// # Errors
/// See [`BindError`].
pub fn bind(
    listen: &[SocketAddr],
    tls: TlsSettings,
    limits: Limits,
) -> Result<(NetHandle, mpsc::Receiver<NetEvent>), BindError> {
    let server = transport::server(server_config(&tls)?, &limits)?;
    let mut endpoints = Vec::new();
    for &address in listen {
        let failed = |source| BindError::Socket { address, source };
        let socket = socket::bind(address).map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        let (config, runtime) = (transport::endpoint(), Arc::new(quinn::TokioRuntime));
        let endpoint = quinn::Endpoint::new(config, Some(server.clone()), socket, runtime).map_err(failed)?;
        endpoints.push((local, endpoint));
    }
    let (events, receiver) = mpsc::channel(EVENT_QUEUE);
    let net = Arc::new(Net {
        strangers: Strangers::new(limits.handshakes, limits.handshakes_per_prefix),
        transport: transport::dialling(&limits),
        limits: Arc::new(limits),
        tls: Tls(tls),
        endpoints,
        events,
        dialling: Mutex::default(),
        stopping: AtomicBool::new(false),
        ended: Notify::new(),
        connections: Mutex::default(),
        next: AtomicU64::new(1),
    });
    for (_, endpoint) in &net.endpoints {
        tokio::spawn(accept(net.clone(), endpoint.clone()));
    }
    tokio::spawn(alive::watch(Arc::downgrade(&net)));
    Ok((NetHandle::new(net), receiver))
}

async fn accept(net: Arc<Net>, endpoint: quinn::Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        if net.stopping.load(Ordering::Relaxed) {
            incoming.refuse();
        } else if !incoming.remote_address_validated() {
            // Nothing is kept for an address that was not shown to be the sender's own.
            let _ = incoming.retry();
        } else {
            match net.strangers.enter(incoming.remote_address().ip()) {
                Some(knock) => drop(tokio::spawn(greet(net.clone(), incoming, knock))),
                None => incoming.refuse(),
            }
        }
    }
}

/// Shakes hands with whoever knocks.
async fn greet(net: Arc<Net>, incoming: Incoming, knock: Knock) {
    let shaken = match incoming.accept() {
        Ok(connecting) => timeout(net.limits.handshake, connecting).await.ok().and_then(Result::ok),
        Err(_) => None,
    };
    drop(knock);
    match shaken {
        Some(quic) => drop(net.adopt(quic, None)),
        None => net.strangers.failed(),
    }
}

impl Net {
    /// Takes a connection whose handshake is done, unless its peer was suspended, removed or revoked meanwhile, or has
    /// too many connections.
    pub(super) fn adopt(
        self: &Arc<Self>,
        quic: quinn::Connection,
        dialled: Option<NodeName>,
    ) -> Result<(), (Layer, String)> {
        let refuse = |quic: &quinn::Connection, code, layer, why: String| {
            tracing::debug!(%layer, %why, "refused after the handshake");
            quic.close(varint(code), b"");
            Err((layer, why))
        };
        let peer = match self.judge(&quic, dialled) {
            Ok(peer) => peer,
            Err(reason) => {
                let layer = layer_of_refusal(&reason);
                return refuse(&quic, CloseCode::SuspendedOrUnknown, layer, reason.to_string());
            }
        };
        let mut connections = self.lock();
        if self.stopping.load(Ordering::Relaxed) {
            return refuse(&quic, CloseCode::GoingDown, Layer::Exchange, "this node is stopping".into());
        }
        if connections.values().filter(|other| other.peer == peer.node).count() >= self.limits.connections_per_peer {
            return refuse(&quic, CloseCode::Flood, Layer::Exchange, "too many connections with this peer".into());
        }
        let dialler = if dialled.is_some() { Dialler::Us } else { Dialler::Them };
        let id = ConnId(self.next.fetch_add(1, Ordering::Relaxed));
        let remote = quic.remote_address();
        let (conn, queues) = Connection::new(id, peer.node, dialler, quic, self.limits.clone(), self.events.clone());
        connections.insert(id, conn.clone());
        drop(connections);
        tracing::debug!(peer = %peer.node, conn = id.0, ?dialler, %remote, "connected");
        let net = self.clone();
        tokio::spawn(async move {
            let why = connection::run(conn.clone(), peer, remote, queues).await;
            net.lock().remove(&id);
            net.ended.notify_waiters();
            conn.tell(NetEvent::Closed { conn: id, why }).await;
        });
        Ok(())
    }

    fn judge(&self, quic: &quinn::Connection, dialled: Option<NodeName>) -> Result<PeerIdentity, IdentityRefusal> {
        let identity = quic.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
        let chain = identity.ok_or(IdentityRefusal::NoCertificate)?;
        let tls = &self.tls.0;
        let now = tls.clock.current_time().map_or(0, |time| time.as_secs());
        judge_peer(&chain, &tls.anchors.load(), Millis(now.saturating_mul(1000)), dialled)
    }

    /// Judges the peer of a connection that is up once more, by the anchors and the time of this moment.
    pub(super) fn judge_again(&self, conn: &Connection) -> Result<PeerIdentity, IdentityRefusal> {
        self.judge(&conn.quic, (conn.dialler == Dialler::Us).then_some(conn.peer))
    }

    pub(super) fn connection(&self, id: ConnId) -> Option<Arc<Connection>> {
        self.lock().get(&id).cloned()
    }

    pub(super) fn connections(&self) -> Vec<Arc<Connection>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnId, Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
