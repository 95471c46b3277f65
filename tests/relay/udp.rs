//! The datagrams of a path: each has a fate of its own, and may be lost or overtaken.

use std::collections::{BinaryHeap, HashMap};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdSocket};
use std::sync::Arc;
use std::time::Instant;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::lane::Later;
use super::{Path, Way};

/// The largest datagram that UDP carries.
const LARGEST: usize = 65_535;

/// Datagrams between a socket and the relay's loop; more are lost, as on any path.
const AT_HAND: usize = 4_096;

/// A datagram that came in: at which front, for or from which of its clients.
struct Came {
    front: usize,
    client: SocketAddr,
    way: Way,
    bytes: Vec<u8>,
}

/// A socket towards a front's target that stands for one client.
struct Guise {
    socket: Arc<UdpSocket>,
    reader: tokio::task::JoinHandle<()>,
}

impl Drop for Guise {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Forwards datagrams between the fronts and their targets, for ever.
pub async fn carry(path: Arc<Path>, fronts: [(StdSocket, SocketAddr, Way); 2]) {
    let (came, mut coming) = mpsc::channel(AT_HAND);
    let mut sockets = Vec::new();
    for (front, (socket, target, way)) in fronts.into_iter().enumerate() {
        socket.set_nonblocking(true).unwrap();
        let socket = Arc::new(UdpSocket::from_std(socket).unwrap());
        tokio::spawn(read(socket.clone(), came.clone(), front, None, way));
        sockets.push((socket, target, way));
    }
    let mut guises: HashMap<(usize, SocketAddr), Guise> = HashMap::new();
    let mut later: BinaryHeap<Later<Came>> = BinaryHeap::new();
    let mut rebound = 0;
    loop {
        let due = later.peek().map(|next| tokio::time::Instant::from_std(next.at));
        tokio::select! {
            Some(datagram) = coming.recv() => {
                let taken = path.lane(datagram.way).take(Instant::now(), datagram.bytes.len());
                path.stir();
                if let Some((at, number)) = taken {
                    later.push(Later { at, number, what: datagram });
                }
            }
            () = async { tokio::time::sleep_until(due.expect("only polled where something is due")).await },
                if due.is_some() => {}
        }
        let now = Instant::now();
        while later.peek().is_some_and(|next| next.at <= now) {
            let Some(Later { what, .. }) = later.pop() else { break };
            let wanted = path.rebinds();
            if wanted != rebound {
                rebound = wanted;
                guises.clear();
            }
            let (socket, target, inwards) = &sockets[what.front];
            if what.way == *inwards {
                let guise = guises.entry((what.front, what.client)).or_insert_with(|| {
                    let socket = StdSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                    socket.set_nonblocking(true).unwrap();
                    let socket = Arc::new(UdpSocket::from_std(socket).unwrap());
                    let back = read(socket.clone(), came.clone(), what.front, Some(what.client), inwards.other());
                    Guise { socket, reader: tokio::spawn(back) }
                });
                let _ = guise.socket.send_to(&what.bytes, *target).await;
            } else {
                let _ = socket.send_to(&what.bytes, what.client).await;
            }
        }
    }
}

/// Reads a socket: a front's (whoever sends is the client) or a guise's (for that client).
async fn read(socket: Arc<UdpSocket>, came: mpsc::Sender<Came>, front: usize, client: Option<SocketAddr>, way: Way) {
    let mut buffer = vec![0; LARGEST];
    loop {
        // An error tells of a datagram that went to a closed port; the next call goes on.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let client = client.unwrap_or(from);
        let _ = came.try_send(Came { front, client, way, bytes: buffer[..length].to_vec() });
    }
}
