//! Dials a peer: its addresses in turn, each with a deadline, and says which layer stopped it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use quinn::ConnectError;
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout, timeout_at};

use super::endpoint::Net;
use super::event::NetEvent;
use super::layer::{Ended, Layer};
use super::limits::DIAL_ADDRESSES;
use super::transport;
use crate::identity::{Address, Direction, IdentityRefusal, RefusalLog, TlsSettings, client_config, server_name};
use crate::name::NodeName;

/// Addresses tried for one host name.
const PER_NAME: usize = 4;

/// Why one attempt failed.
type Failure = (Layer, String);

/// Dials until a connection is up or every address has failed, then reports.
pub(super) async fn run(net: Arc<Net>, peer: NodeName, addresses: Vec<Address>) {
    let result = dial(&net, peer, &addresses).await;
    net.dialling.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
    if let Err((layer, why)) = result {
        tracing::debug!(%peer, %layer, %why, "dial failed");
        let _ = net.events.send(NetEvent::DialFailed { peer, layer, why }).await;
    }
}

async fn dial(net: &Arc<Net>, peer: NodeName, addresses: &[Address]) -> Result<(), Failure> {
    let mut furthest = (Layer::Address, "no address of this peer is known".to_owned());
    let mut first = true;
    for address in addresses.iter().take(DIAL_ADDRESSES) {
        let remotes = match look_up(net, address).await {
            Ok(remotes) => remotes,
            Err(why) => vec![Err((Layer::Address, why))],
        };
        for remote in remotes {
            let failure = match remote {
                Ok(remote) => match attempt(net, peer, remote).await {
                    Ok(()) => return Ok(()),
                    Err((layer, why)) => (layer, format!("{address}: {why}")),
                },
                Err((layer, why)) => (layer, format!("{address}: {why}")),
            };
            // The attempt that came furthest says most about what is wrong.
            if first || failure.0 > furthest.0 {
                furthest = failure;
            }
            first = false;
        }
    }
    Err(furthest)
}

async fn look_up(net: &Net, address: &Address) -> Result<Vec<Result<SocketAddr, Failure>>, String> {
    if let Some(ip) = address.ip() {
        return Ok(vec![Ok(SocketAddr::new(ip, address.port()))]);
    }
    match timeout(net.limits.lookup, lookup_host((address.host(), address.port()))).await {
        Err(_) => Err("the name could not be looked up in time".into()),
        Ok(Err(error)) => Err(format!("the name cannot be looked up: {error}")),
        Ok(Ok(found)) => {
            let found: Vec<_> = found.take(PER_NAME).map(Ok).collect();
            if found.is_empty() { Err("the name has no address".into()) } else { Ok(found) }
        }
    }
}

async fn attempt(net: &Arc<Net>, peer: NodeName, remote: SocketAddr) -> Result<(), Failure> {
    let endpoint = endpoint_towards(net, remote).ok_or_else(|| {
        let family = if remote.is_ipv4() { "IPv4" } else { "IPv6" };
        (Layer::Address, format!("no address in `listen` of this node can reach it over {family}"))
    })?;
    let refusal = Arc::new(Recorder { log: net.tls.0.log.clone(), last: Mutex::new(None) });
    let settings = TlsSettings { log: refusal.clone(), ..net.tls.0.clone() };
    let tls = client_config(&settings, peer).map_err(|error| (Layer::Tls, error.to_string()))?;
    let config = transport::client(tls, net.transport.clone()).map_err(|error| (Layer::Tls, error.to_string()))?;
    let name = server_name();
    let mut connecting = endpoint.connect_with(config, remote, &name.to_str()).map_err(not_begun)?;
    let begun = Instant::now();
    let (answer, seconds) = (net.limits.answer.min(net.limits.handshake), net.limits.handshake.as_secs_f32());
    if timeout_at(begun + answer, connecting.handshake_data()).await.is_err() {
        let seconds = answer.as_secs_f32();
        return Err((Layer::Udp, format!("no answer within {seconds} s: nothing listens there, or UDP does not pass")));
    }
    let quic = match timeout_at(begun + net.limits.handshake, connecting).await {
        Err(_) => return Err((Layer::Quic, format!("it answered, but the handshake took longer than {seconds} s"))),
        Ok(Err(error)) => {
            let ended = Ended::from_quic(&error, refusal.take());
            return Err((ended.layer, ended.why));
        }
        Ok(Ok(quic)) => quic,
    };
    net.adopt(quic, Some(peer))
}

fn not_begun(error: ConnectError) -> Failure {
    match error {
        ConnectError::EndpointStopping => (Layer::Quic, "this node is stopping".into()),
        ConnectError::InvalidRemoteAddress(_) => (Layer::Address, "this address cannot be dialled".into()),
        error => (Layer::Quic, error.to_string()),
    }
}

/// The socket from which `remote` can be reached: of its family, and not a loopback socket for an address outside.
fn endpoint_towards(net: &Net, remote: SocketAddr) -> Option<&quinn::Endpoint> {
    let inside = remote.ip().is_loopback();
    let reaches = |local: &SocketAddr| local.is_ipv4() == remote.is_ipv4() && (inside || !local.ip().is_loopback());
    let mut sockets: Vec<_> = net.endpoints.iter().filter(|(local, _)| reaches(local)).collect();
    sockets.sort_by_key(|(local, _)| local.ip().is_loopback() != inside);
    sockets.first().map(|(_, endpoint)| endpoint)
}

/// Remembers what the judge said in one handshake, and passes it on.
struct Recorder {
    log: Arc<dyn RefusalLog>,
    last: Mutex<Option<String>>,
}

impl Recorder {
    fn take(&self) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl RefusalLog for Recorder {
    fn refused(&self, direction: Direction, claimed: Option<NodeName>, reason: &IdentityRefusal) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_string());
        self.log.refused(direction, claimed, reason);
    }
}
