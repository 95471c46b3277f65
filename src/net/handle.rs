//! The orders that the shell gives. None of them waits for the network but the two that bring something back.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::author::encode;
use super::dial;
use super::enclosure::{EnclosureDownload, EnclosureFault};
use super::endpoint::Net;
use super::fetch;
use super::layer::{Ended, varint};
use super::strangers::StrangerCount;
use crate::exchange::{CloseCode, ConnId, FetchFault, Pushed};
use crate::identity::{Address, IdentityRefusal, PeerIdentity};
use crate::name::{EntryId, NodeName, Origin};
use crate::wire::{EntryFrame, Frame};

/// Until all packets that say "closed" have left.
const LAST_PACKETS: Duration = Duration::from_secs(1);

/// Gives orders to the network. Cheap to clone. An order for a connection that has ended does nothing.
#[derive(Clone, Debug)]
pub struct NetHandle(Arc<Net>);

impl NetHandle {
    pub(super) fn new(net: Arc<Net>) -> Self {
        Self(net)
    }

    /// Where this node listens, with the ports that the system chose.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.0.endpoints.iter().map(|(address, _)| *address).collect()
    }

    /// What strangers have been doing.
    pub fn strangers(&self) -> StrangerCount {
        self.0.strangers.count()
    }

    /// Dials a peer, its addresses in turn. Ends in [`super::NetEvent::Connected`] or
    /// [`super::NetEvent::DialFailed`]; a second order while one is under way does nothing.
    pub fn dial(&self, peer: NodeName, addresses: Vec<Address>) {
        if self.0.dialling.lock().unwrap_or_else(PoisonError::into_inner).insert(peer) {
            tokio::spawn(dial::run(self.0.clone(), peer, addresses));
        }
    }

    /// Lets the streams of a connection be read: both Hellos are compared and the connection is chosen.
    pub fn open(&self, conn: ConnId) {
        if let Some(conn) = self.0.connection(conn) {
            conn.open();
        }
    }

    /// Judges the peer of a connection once more, by the anchors and the time of this moment; `None` where it has ended.
    ///
    /// # Errors
    /// Inside: what the judge of the handshake would say now, see [`crate::identity::judge_peer`].
    pub fn judge(&self, conn: ConnId) -> Option<Result<PeerIdentity, IdentityRefusal>> {
        self.0.connection(conn).map(|conn| self.0.judge_again(&conn))
    }

    /// Closes a connection. In an orderly close, queued control frames still arrive; before `GoingDown` BYE is sent.
    pub fn close(&self, conn: ConnId, code: CloseCode) {
        if let Some(conn) = self.0.connection(conn) {
            conn.end(Ended::ours(code, "closed by this node"));
        }
    }

    /// Queues a frame for the control stream.
    pub fn send_control(&self, conn: ConnId, frame: &Frame) {
        if let Some(conn) = self.0.connection(conn) {
            conn.send_control(frame);
        }
    }

    /// Queues a batch for this node's push stream. Where too much waits, the connection is closed as stalled.
    pub fn push(&self, conn: ConnId, entries: Vec<EntryFrame>, note: Bytes) {
        if let Some(conn) = self.0.connection(conn) {
            conn.push(encode(entries, note));
        }
    }

    /// Queues COSIGNED, SHOWS or FAULT for the back of the peer's push stream; FAULT ends that stream. Without a push
    /// stream of the peer it is dropped.
    pub fn push_back(&self, conn: ConnId, frame: &Frame) {
        if let Some(conn) = self.0.connection(conn) {
            conn.push_back(frame);
        }
    }

    /// The round trip of a connection as QUIC measures it, and where its other side is.
    pub fn path(&self, conn: ConnId) -> Option<(Duration, SocketAddr)> {
        self.0.connection(conn).map(|conn| (conn.quic.rtt(), conn.quic.remote_address()))
    }

    /// Bytes of pushes that are queued here and not yet taken by QUIC.
    pub fn push_waiting(&self, conn: ConnId) -> u64 {
        self.0.connection(conn).map_or(0, |conn| conn.push_waiting.load(Ordering::Relaxed))
    }

    /// Fetches entries from the peer. The answer may hold fewer than asked, at least one; ask again for the rest.
    ///
    /// # Errors
    /// [`FetchFault::Ended`] where the peer or the connection gives nothing, [`FetchFault::Malformed`] where what came
    /// cannot be read.
    pub async fn fetch(&self, conn: ConnId, origin: Origin, from: u64, to: u64) -> Result<Pushed, FetchFault> {
        let conn = self.0.connection(conn).ok_or(FetchFault::Ended)?;
        fetch::ask(&conn, origin, from, to).await
    }

    /// Asks for a file from `offset` on. Waits for its turn: few files come at once from one peer.
    ///
    /// # Errors
    /// See [`EnclosureFault`].
    pub async fn enclosure(
        &self,
        conn: ConnId,
        entry: EntryId,
        ordinal: u32,
        offset: u64,
    ) -> Result<EnclosureDownload, EnclosureFault> {
        let conn = self.0.connection(conn).ok_or(EnclosureFault::Ended)?;
        EnclosureDownload::begin(conn, entry, ordinal, offset).await
    }

    /// Holds files on their way to the peer back, or lets them go on.
    pub fn pause_enclosures(&self, conn: ConnId, pause: bool) {
        if let Some(conn) = self.0.connection(conn) {
            conn.paused.send_replace(pause);
        }
    }

    /// Closes every connection in order and stops listening. Takes no longer than [`super::Limits::linger`] and two
    /// seconds.
    pub async fn shutdown(&self) {
        let net = &self.0;
        net.stopping.store(true, Ordering::Relaxed);
        for conn in net.connections() {
            conn.end(Ended::ours(CloseCode::GoingDown, "this node is stopping"));
        }
        let _ = timeout(net.limits.linger + LAST_PACKETS, async {
            loop {
                let ended = net.ended.notified();
                if net.connections().is_empty() {
                    break;
                }
                ended.await;
            }
        })
        .await;
        for (_, endpoint) in &net.endpoints {
            endpoint.close(varint(CloseCode::GoingDown), b"");
        }
        let idle = async {
            for (_, endpoint) in &net.endpoints {
                endpoint.wait_idle().await;
            }
        };
        let _ = timeout(LAST_PACKETS, idle).await;
    }
}
