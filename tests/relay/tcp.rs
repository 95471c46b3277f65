//! The connections of a path: each is one connection to a front and one from the relay to its target, with the weather
//! in between.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

use super::{Path, Way};

/// The largest piece that is read at once: a full read buffer of most programs.
const PIECE: usize = 16 << 10;

/// Carries connections between the fronts and their targets, for ever.
pub async fn carry(path: Arc<Path>, fronts: [(StdListener, SocketAddr, Way); 2]) {
    let [first, second] = fronts.map(|(listener, target, way)| accept(path.clone(), listener, target, way));
    tokio::join!(first, second);
}

async fn accept(path: Arc<Path>, listener: StdListener, target: SocketAddr, way: Way) {
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        tokio::spawn(connection(path.clone(), near, target, way));
    }
}

/// One connection, from its first byte to its end or reset.
async fn connection(path: Arc<Path>, near: TcpStream, target: SocketAddr, way: Way) {
    let (mut rebinds, seen) = (path.rebinds.subscribe(), path.rebinds());
    let (near, far) = (Arc::new(near), OnceLock::new());
    let work = async {
        // The first segment needs the way there, and its answer the way back.
        healed(&path, way).await;
        healed(&path, way.other()).await;
        let connected = TcpStream::connect(target).await?;
        let far = far.get_or_init(|| Arc::new(connected));
        let there = pump(&path, way, near.clone(), far.clone());
        let back = pump(&path, way.other(), far.clone(), near.clone());
        tokio::try_join!(there, back)
    };
    let ended_in_order = tokio::select! {
        ended = work => ended.is_ok(),
        _ = rebinds.wait_for(|count| *count != seen) => false,
    };
    if !ended_in_order {
        // An end that breaks off, and a router that has forgotten, are heard of abruptly at both ends.
        [Some(&near), far.get()].into_iter().flatten().for_each(|stream| abort(stream));
    }
}

/// Lets the end of a stream reach its peer as a reset.
fn abort(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Waits until nothing is cut on this way.
async fn healed(path: &Path, way: Way) {
    let mut stirred = path.stirred.subscribe();
    let _ = stirred.wait_for(|_| !path.lane(way).weather.cut).await;
}

/// Carries one way of a connection until its end, which arrives like a piece.
async fn pump(path: &Arc<Path>, way: Way, from: Arc<TcpStream>, to: Arc<TcpStream>) -> std::io::Result<()> {
    let (pieces, mut arriving) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    // What waits for the line holds the sender back, as a full send buffer does.
    let room = Arc::new(Semaphore::new(path.lane(way).weather.queue.try_into().unwrap_or(Semaphore::MAX_PERMITS)));
    let reading = async {
        let mut buffer = vec![0; PIECE];
        loop {
            let limit = path.lane(way).weather.mtu.clamp(1, PIECE);
            let length = read(&from, &mut buffer[..limit]).await?;
            let at = path.lane(way).carry(Instant::now(), length);
            path.stir();
            let _ = pieces.send((at, buffer[..length].to_vec()));
            if length == 0 {
                drop(pieces);
                return Ok(());
            }
            room.acquire_many(u32::try_from(length).unwrap()).await.unwrap().forget();
        }
    };
    let writing = async {
        while let Some((at, piece)) = arriving.recv().await {
            tokio::time::sleep_until(at.into()).await;
            healed(path, way).await;
            if piece.is_empty() {
                SockRef::from(&*to).shutdown(std::net::Shutdown::Write)?;
                break;
            }
            write(&to, &piece).await?;
            room.add_permits(piece.len());
        }
        Ok(())
    };
    tokio::try_join!(reading, writing).map(drop)
}

async fn read(stream: &TcpStream, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

async fn write(stream: &TcpStream, mut piece: &[u8]) -> std::io::Result<()> {
    while !piece.is_empty() {
        stream.writable().await?;
        match stream.try_write(piece) {
            Ok(written) => piece = &piece[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
