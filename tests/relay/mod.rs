//! A relay between two nodes that makes a path as bad as a test wants it: delay, jitter, loss, a slow line with a queue,
//! a small MTU, new source ports, resets, stalls, cuts of one way or both. It forwards the datagrams of UDP or the
//! connections of TCP and knows nothing of what they say.
//!
//! The fate of the n-th datagram or piece of each way is a function of the seed. It runs on a thread of its own, so that
//! a test which blocks does not hold up the path.

pub mod lane;
mod tcp;
mod udp;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{oneshot, watch};

use lane::Lane;
pub use lane::{Counts, Weather};

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

/// What the test's thread and the relay's share.
struct Path {
    lanes: [Mutex<Lane>; 2],
    /// Counts what passes and what changes.
    stirred: watch::Sender<u64>,
    /// How often the router has forgotten its mappings.
    rebinds: watch::Sender<u64>,
}

impl Path {
    fn lane(&self, way: Way) -> MutexGuard<'_, Lane> {
        self.lanes[way as usize].lock().unwrap()
    }

    fn stir(&self) {
        self.stirred.send_modify(|count| *count += 1);
    }

    fn rebinds(&self) -> u64 {
        *self.rebinds.borrow()
    }
}

/// A path between two nodes. Each dials the other at the relay's address for it; the path ends with this value.
pub struct Relay {
    path: Arc<Path>,
    fronts: [SocketAddr; 2],
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Relay {
    /// Opens a path of fair weather for UDP between the nodes that listen at these addresses.
    pub fn start(seed: u64, first: SocketAddr, second: SocketAddr) -> Self {
        let [to_second, to_first] = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let fronts = [&to_second, &to_first].map(|socket| socket.local_addr().unwrap());
        let sockets = [(to_second, second, Way::There), (to_first, first, Way::Back)];
        Self::carrying(seed, fronts, |path| udp::carry(path, sockets))
    }

    /// The same for TCP. A stream loses nothing: see [`Lane::carry`] for what each weather means to it.
    pub fn tcp(seed: u64, first: SocketAddr, second: SocketAddr) -> Self {
        let [to_second, to_first] = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let fronts = [&to_second, &to_first].map(|socket| socket.local_addr().unwrap());
        let sockets = [(to_second, second, Way::There), (to_first, first, Way::Back)];
        Self::carrying(seed, fronts, |path| tcp::carry(path, sockets))
    }

    fn carrying<F: Future<Output = ()>>(
        seed: u64,
        fronts: [SocketAddr; 2],
        carry: impl FnOnce(Arc<Path>) -> F + Send + 'static,
    ) -> Self {
        let path = Arc::new(Path {
            lanes: [Mutex::new(Lane::new(seed)), Mutex::new(Lane::new(!seed))],
            stirred: watch::Sender::new(0),
            rebinds: watch::Sender::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let shared = path.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                tokio::select! {
                    () = carry(shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { path, fronts, stop: Some(stop), thread: Some(thread) }
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
        self.path.lane(way).weather = weather;
        self.path.stir();
    }

    /// Cuts both ways, or heals them.
    pub fn cut(&self, cut: bool) {
        Way::ALL.into_iter().for_each(|way| self.cut_way(way, cut));
    }

    /// Cuts one way, or heals it. A connection of TCP stalls meanwhile: what was written waits.
    pub fn cut_way(&self, way: Way, cut: bool) {
        self.path.lane(way).weather.cut = cut;
        self.path.stir();
    }

    /// A router on the way has forgotten its mappings: datagrams come from other source ports from now on, and open
    /// connections of TCP are reset at both ends.
    pub fn rebind(&self) {
        self.path.rebinds.send_modify(|count| *count += 1);
    }

    /// What has passed one way so far.
    pub fn counts(&self, way: Way) -> Counts {
        self.path.lane(way).counts
    }

    /// Waits until what has passed one way is enough.
    pub async fn counted(&self, way: Way, enough: impl Fn(Counts) -> bool) {
        let mut stirred = self.path.stirred.subscribe();
        let _ = stirred.wait_for(|_| enough(self.counts(way))).await;
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
