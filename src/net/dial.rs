//! Dials a peer: its addresses in turn, each with a deadline, and says which layer stopped it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::ConnectError;
use tokio::net::lookup_host;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::endpoint::Net;
use super::event::NetEvent;
use super::layer::{Ended, Layer, layer_of_refusal};
use super::limits::{DIAL_ADDRESSES, Limits};
use super::nobody::{self, Nobody};
use super::transport;
use crate::identity::{Address, Direction, IdentityRefusal, RefusalLog, TlsSettings, client_config, server_name};
use crate::name::NodeName;

/// Addresses tried for one host name.
const PER_NAME: usize = 4;

/// How long QUIC has for its first answer where the machine says that nothing listens there: three repetitions.
const REFUSED_ANSWER: Duration = Duration::from_secs(3);

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
    let (local, endpoint) = endpoint_towards(net, remote).ok_or_else(|| {
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
    tokio::select! {
        biased;
        _ = connecting.handshake_data() => {}
        why = no_answer(&net.limits, *local, remote) => return Err((Layer::Udp, why)),
    }
    let quic = match timeout_at(begun + net.limits.handshake, connecting).await {
        Err(_) => {
            let seconds = net.limits.handshake.as_secs_f32();
            let why = format!("it answered at first, but the handshake took longer than {seconds} s");
            return Err((Layer::Quic, why));
        }
        Ok(Err(error)) => {
            let ended = Ended::from_quic(&error, refusal.take());
            return Err((ended.layer, ended.why));
        }
        Ok(Ok(quic)) => quic,
    };
    net.adopt(quic, Some(peer))
}

/// Waits until it is certain enough that no answer comes; why, in words.
async fn no_answer(limits: &Limits, local: SocketAddr, remote: SocketAddr) -> String {
    let (begun, answer) = (Instant::now(), limits.answer.min(limits.handshake));
    match nobody::listens_at(local, remote).await {
        Some(Nobody::PortClosed) => {
            // A firewall may say so of the question's port and let QUIC's own through: QUIC has a little longer.
            sleep_until(begun + answer.min(REFUSED_ANSWER)).await;
            format!("that machine says that nothing listens on UDP port {}", remote.port())
        }
        Some(Nobody::Unreachable) => {
            sleep_until(begun + answer.min(REFUSED_ANSWER)).await;
            "the network says that this address cannot be reached from here".into()
        }
        None => {
            sleep_until(begun + answer).await;
            let seconds = answer.as_secs_f32();
            format!("nothing at all came back within {seconds} s")
        }
    }
}

fn not_begun(error: ConnectError) -> Failure {
    match error {
        ConnectError::EndpointStopping => (Layer::Quic, "this node is stopping".into()),
        ConnectError::InvalidRemoteAddress(_) => (Layer::Address, "this address cannot be dialled".into()),
        error => (Layer::Quic, error.to_string()),
    }
}

/// The socket from which `remote` can be reached: of its family, and not a loopback socket for an address outside.
fn endpoint_towards(net: &Net, remote: SocketAddr) -> Option<&(SocketAddr, quinn::Endpoint)> {
    let inside = remote.ip().is_loopback();
    let reaches = |local: &SocketAddr| local.is_ipv4() == remote.is_ipv4() && (inside || !local.ip().is_loopback());
    let mut sockets: Vec<_> = net.endpoints.iter().filter(|(local, _)| reaches(local)).collect();
    sockets.sort_by_key(|(local, _)| local.ip().is_loopback() != inside);
    sockets.first().copied()
}

/// Remembers what the judge said in one handshake, and passes it on.
struct Recorder {
    log: Arc<dyn RefusalLog>,
    last: Mutex<Option<Failure>>,
}

impl Recorder {
    fn take(&self) -> Option<Failure> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl RefusalLog for Recorder {
    fn refused(&self, direction: Direction, claimed: Option<NodeName>, reason: &IdentityRefusal) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((layer_of_refusal(reason), reason.to_string()));
        self.log.refused(direction, claimed, reason);
    }
}
