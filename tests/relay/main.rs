//! The relay itself: what a stream of TCP meets on a bad path. (Datagrams have their tests beside `lane`, and those that
//! use it.) Times are asserted from below only: a slow machine is no bad path.

#[allow(dead_code, reason = "it serves other tests too")]
#[path = "mod.rs"]
mod relay;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use relay::{Relay, Way, Weather};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How long anything may take; a machine under load needs seconds.
const PATIENCE: Duration = Duration::from_secs(60);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// Both ends of a connection over a path.
struct Ends {
    path: Relay,
    client: TcpStream,
    server: TcpStream,
}

impl Ends {
    async fn new(seed: u64, weather: Weather) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let path = Relay::tcp(seed, address, address);
        path.weather(&weather);
        let client = soon("a connection", TcpStream::connect(path.second())).await.unwrap();
        let (server, _) = soon("its other end", listener.accept()).await.unwrap();
        Self { path, client, server }
    }

    /// Sends from the client and waits until it is at the server.
    async fn there(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).await.unwrap();
        self.arrives_there(bytes).await;
    }

    async fn arrives_there(&mut self, bytes: &[u8]) {
        let mut read = vec![0; bytes.len()];
        soon("what was sent", self.server.read_exact(&mut read)).await.unwrap();
        assert!(read == bytes, "other bytes than were sent");
    }

    async fn back(&mut self, bytes: &[u8]) {
        self.server.write_all(bytes).await.unwrap();
        let mut read = vec![0; bytes.len()];
        soon("the answer", self.client.read_exact(&mut read)).await.unwrap();
        assert!(read == bytes, "other bytes than were sent");
    }

    /// Nothing has come to the server, as far as its kernel knows.
    fn nothing_there(&self) {
        let mut one = [0];
        let read = self.server.try_read(&mut one);
        assert!(matches!(&read, Err(error) if error.kind() == ErrorKind::WouldBlock), "{read:?}");
    }
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count as u64).map(|at| relay::lane::mix(at) as u8).collect()
}

#[tokio::test]
async fn loss_and_jitter_change_neither_the_bytes_of_a_stream_nor_their_order() {
    let weather = Weather { loss: 0.02, jitter: Duration::from_millis(2), ..Weather::default() };
    let Ends { path, mut client, mut server } = Ends::new(1, weather).await;
    let sent = bytes(2 << 20);
    let expected = sent.clone();
    let sending = tokio::spawn(async move {
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
        client
    });
    let mut received = Vec::new();
    soon("the end of the stream", server.read_to_end(&mut received)).await.unwrap();
    assert!(received == expected, "{} of {} bytes, or others", received.len(), expected.len());
    assert!(path.counts(Way::There).lost > 0, "the weather was bad");
    let mut client = sending.await.unwrap();
    // The other way is still open when one has ended.
    server.write_all(b"thanks").await.unwrap();
    drop(server);
    let mut answer = Vec::new();
    soon("the answer", client.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, b"thanks");
}

#[tokio::test]
async fn a_delay_is_felt_both_ways() {
    let delay = Duration::from_millis(60);
    let mut ends = Ends::new(2, Weather { delay, ..Weather::default() }).await;
    let began = Instant::now();
    ends.there(b"ping").await;
    assert!(began.elapsed() >= delay);
    ends.back(b"pong").await;
    assert!(began.elapsed() >= delay * 2);
}

#[tokio::test]
async fn a_slow_line_takes_its_time_and_holds_the_sender_back_behind_its_queue() {
    let weather = Weather { rate: Some(200_000), queue: 8 << 10, mtu: 1_000, ..Weather::default() };
    let mut ends = Ends::new(3, weather).await;
    let (sent, began) = (bytes(60_000), Instant::now());
    ends.client.write_all(&sent).await.unwrap();
    ends.path.counted(Way::There, |counts| counts.bytes > 0).await;
    let taken = ends.path.counts(Way::There).bytes;
    // What the line has carried by now, what waits for it, and a piece at either end; a tenth of all that is headers.
    let carried = (began.elapsed().as_secs_f64() * 200_000.0) as u64;
    assert!(taken <= (carried + (8 << 10) + 2_000) * 11 / 10, "{taken} bytes were taken from the sender");
    ends.arrives_there(&sent).await;
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    assert!(ends.path.counts(Way::There).datagrams >= 60, "no piece is larger than the MTU");
}

#[tokio::test]
async fn a_cut_of_one_way_holds_that_way_only_and_nothing_is_lost_by_it() {
    let mut ends = Ends::new(4, Weather::default()).await;
    ends.there(b"before").await;
    ends.path.cut_way(Way::There, true);
    ends.client.write_all(b"held").await.unwrap();
    let before = ends.path.counts(Way::There).datagrams;
    ends.back(b"passes").await;
    ends.path.counted(Way::There, |counts| counts.datagrams >= before).await;
    ends.back(b"passes still").await;
    ends.nothing_there();
    ends.path.cut_way(Way::There, false);
    ends.arrives_there(b"held").await;
}

#[tokio::test]
async fn a_stall_holds_the_sender_back_instead_of_filling_memory() {
    let weather = Weather { queue: 32 << 10, ..Weather::default() };
    let mut ends = Ends::new(5, weather).await;
    ends.there(b"before").await;
    ends.path.cut(true);
    let piece = bytes(64 << 10);
    let mut written = 0;
    loop {
        match ends.client.try_write(&piece) {
            Ok(count) => written += count,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
    }
    ends.nothing_there();
    let taken = ends.path.counts(Way::There).bytes;
    assert!(taken <= (32 << 10) + (17 << 10) + 1_000, "{taken} bytes are in the relay");
    ends.path.cut(false);
    let mut read = vec![0; written];
    soon("all that was written", ends.server.read_exact(&mut read)).await.unwrap();
}

#[tokio::test]
async fn a_reset_is_abrupt_at_both_ends_and_the_next_connection_is_a_new_one() {
    let mut ends = Ends::new(6, Weather::default()).await;
    ends.there(b"before").await;
    ends.path.rebind();
    for (name, end) in [("client", &mut ends.client), ("server", &mut ends.server)] {
        let error = soon("a reset", end.read(&mut [0; 8])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{name}");
    }
    // Nobody listens any more: the relay breaks off, it does not wait.
    let again = async { TcpStream::connect(ends.path.second()).await?.read(&mut [0; 8]).await };
    let read = soon("the end of a new connection", again).await;
    assert!(matches!(&read, Err(error) if error.kind() == ErrorKind::ConnectionReset), "{read:?}");
}

#[tokio::test]
async fn a_connection_that_begins_during_a_cut_comes_about_when_it_is_healed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let path = Relay::tcp(7, address, address);
    path.cut_way(Way::Back, true);
    let mut client = TcpStream::connect(path.second()).await.unwrap();
    client.write_all(b"early").await.unwrap();
    // Those that come past the relay are there before it.
    for _ in 0..8 {
        let direct = TcpStream::connect(address).await.unwrap();
        let (_, from) = soon("a direct connection", listener.accept()).await.unwrap();
        assert_eq!(from, direct.local_addr().unwrap(), "it came through the cut");
    }
    path.cut(false);
    let (mut server, _) = soon("the connection", listener.accept()).await.unwrap();
    let mut read = [0; 5];
    soon("its first bytes", server.read_exact(&mut read)).await.unwrap();
    assert_eq!(&read, b"early");
}
