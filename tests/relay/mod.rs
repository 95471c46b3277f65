//! A relay between two nodes that makes a path as bad as a test wants it: delay, jitter, loss, a slow line with a queue,
//! a small MTU, new source ports, cuts of one way or both. It forwards UDP datagrams and knows nothing of what they say.
//!
//! The fate of the n-th datagram of each way is a function of the seed. It runs on a thread of its own, so that a test
//! which blocks does not hold up the path.

mod lane;

use std::collections::{BinaryHeap, HashMap};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

pub use lane::{Counts, Weather, mix};
use lane::{Lane, Later};

/// The largest datagram that UDP carries.
const LARGEST: usize = 65_535;

/// Datagrams between a socket and the relay's loop; more are lost, as on any path.
const AT_HAND: usize = 4_096;

/// One of the two ways of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// From the first node to the second.
    There,
    /// From the second node to the first.
    Back,
}

impl Way {
    /// Both.
    pub const ALL: [Self; 2] = [Self::There, Self::Back];

    fn other(self) -> Self {
        match self {
            Self::There => Self::Back,
            Self::Back => Self::There,
        }
    }
}

/// A path between two nodes. Each dials the other at the relay's address for it; the path ends with this value.
pub struct Relay {
    lanes: Arc<[Mutex<Lane>; 2]>,
    fronts: [SocketAddr; 2],
    rebinds: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Relay {
    /// Opens a path of fair weather between the nodes that listen at these addresses.
    pub fn start(seed: u64, first: SocketAddr, second: SocketAddr) -> Self {
        let lanes = Arc::new([Mutex::new(Lane::new(seed)), Mutex::new(Lane::new(!seed))]);
        let rebinds = Arc::new(AtomicU64::new(0));
        let sockets = [(); 2].map(|()| StdSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let fronts = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let (shared, count) = (lanes.clone(), rebinds.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let [to_second, to_first] = sockets;
                let fronts = [(to_second, second, Way::There), (to_first, first, Way::Back)];
                tokio::select! {
                    () = carry(shared, fronts, count) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { lanes, fronts, rebinds, stop: Some(stop), thread: Some(thread) }
    }

    /// Where the first node dials the second.
    pub fn second(&self) -> SocketAddr {
        self.fronts[0]
    }

    /// Where the second node dials the first.
    pub fn first(&self) -> SocketAddr {
        self.fronts[1]
    }

    /// Changes the weather of both ways.
    pub fn weather(&self, weather: &Weather) {
        Way::ALL.into_iter().for_each(|way| self.weather_of(way, weather.clone()));
    }

    /// Changes the weather of one way.
    pub fn weather_of(&self, way: Way, weather: Weather) {
        self.lane(way).weather = weather;
    }

    /// Cuts both ways, or heals them.
    pub fn cut(&self, cut: bool) {
        Way::ALL.into_iter().for_each(|way| self.cut_way(way, cut));
    }

    /// Cuts one way, or heals it.
    pub fn cut_way(&self, way: Way, cut: bool) {
        self.lane(way).weather.cut = cut;
    }

    /// From now on everything comes from other source ports, as behind a router that has forgotten its mappings.
    pub fn rebind(&self) {
        self.rebinds.fetch_add(1, Ordering::Relaxed);
    }

    /// What has passed one way so far.
    pub fn counts(&self, way: Way) -> Counts {
        self.lane(way).counts
    }

    fn lane(&self, way: Way) -> MutexGuard<'_, Lane> {
        self.lanes[way as usize].lock().unwrap()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

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

async fn carry(lanes: Arc<[Mutex<Lane>; 2]>, fronts: [(StdSocket, SocketAddr, Way); 2], rebinds: Arc<AtomicU64>) {
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
                let mut lane = lanes[datagram.way as usize].lock().unwrap();
                if let Some((at, number)) = lane.take(Instant::now(), datagram.bytes.len()) {
                    later.push(Later { at, number, what: datagram });
                }
            }
            () = async { tokio::time::sleep_until(due.expect("only polled where something is due")).await },
                if due.is_some() => {}
        }
        let now = Instant::now();
        while later.peek().is_some_and(|next| next.at <= now) {
            let Some(Later { what, .. }) = later.pop() else { break };
            let wanted = rebinds.load(Ordering::Relaxed);
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
