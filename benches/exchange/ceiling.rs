//! What the network and the disk give without verbale: frames of the same size over one QUIC stream between two
//! processes, and the same bytes appended and synced in the same groups.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, EndpointConfig, RecvStream, SendStream, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::Failed;
use crate::child::{Order, Said, say};
use crate::enclosure::Enclosed;
use crate::load::{Load, Loaded, TEXT_BYTES};
use crate::meter::quantile;

/// A message as it travels: text, leaf, salt, and what the frame adds.
pub const ASKED_BYTES: usize = TEXT_BYTES + 200;
/// A receipt for one message.
pub const ANSWERED_BYTES: usize = 200;

/// What the first byte of a stream announces.
const FRAMES: u8 = 0;
const BULK: u8 = 1;

/// Bytes written at once.
const PIECE: usize = 64 << 10;
/// What a node asks for too.
const UDP_BUFFER: usize = 4 << 20;
const WINDOW: u32 = 16 << 20;
/// The file that is appended to: begun anew where it is full.
const FILE_BYTES: u64 = 64 << 20;

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let window = VarInt::from_u32(WINDOW);
    config.stream_receive_window(window).receive_window(window).send_window(WINDOW.into());
    Arc::new(config)
}

fn socket() -> Result<UdpSocket, Failed> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let sized = socket2::SockRef::from(&socket);
    sized.set_recv_buffer_size(UDP_BUFFER)?;
    sized.set_send_buffer_size(UDP_BUFFER)?;
    Ok(socket)
}

/// The far end: answers every frame, and swallows whole streams.
pub async fn echo(mut orders: UnboundedReceiver<Order>) -> Result<(), Failed> {
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(vec!["bench.invalid".to_owned()])?.self_signed(&key)?;
    let chain = vec![certificate.der().clone()];
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| error.to_owned())?;
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(transport());
    let runtime = Arc::new(quinn::TokioRuntime);
    let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket()?, runtime)?;
    say(&Said::Ready(Some((endpoint.local_addr()?, certificate.der().to_vec()))));
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming.ok_or("the endpoint has ended")?,
            _ = orders.recv() => return Ok(()),
        };
        tokio::spawn(async move {
            let connection = incoming.await?;
            loop {
                let (send, recv) = connection.accept_bi().await?;
                tokio::spawn(answer(send, recv));
            }
            #[allow(unreachable_code)]
            Ok::<(), Failed>(())
        });
    }
}

async fn answer(mut send: SendStream, mut recv: RecvStream) -> Result<(), Failed> {
    let mut kind = [0];
    recv.read_exact(&mut kind).await?;
    if kind[0] == BULK {
        while recv.read_chunk(PIECE, true).await?.is_some() {}
        send.write_all(&[BULK]).await?;
        send.finish()?;
        return Ok(());
    }
    let mut rest = 0;
    while let Some(chunk) = recv.read_chunk(PIECE, true).await? {
        rest += chunk.bytes.len();
        let answers = vec![0; rest / ASKED_BYTES * ANSWERED_BYTES];
        rest %= ASKED_BYTES;
        send.write_all(&answers).await?;
    }
    Ok(())
}

/// The near end: carries out orders against the far one.
pub async fn ask(address: SocketAddr, certificate: &Path, mut orders: UnboundedReceiver<Order>) -> Result<(), Failed> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(std::fs::read(certificate)?))?;
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(transport());
    let runtime = Arc::new(quinn::TokioRuntime);
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket()?, runtime)?;
    let connection = endpoint.connect_with(config, address, "bench.invalid")?.await?;
    say(&Said::Ready(None));
    while let Some(order) = orders.recv().await {
        match order {
            Order::Load(load) => say(&Said::Loaded(frames(&connection, load).await?)),
            Order::Enclose(enclose) => {
                let seconds = bulk(&connection, enclose.bytes).await?;
                say(&Said::Enclosed(Enclosed { seconds, ..Enclosed::default() }));
            }
            Order::Call(_) => return Err("a bare connection knows no commands".into()),
        }
    }
    connection.close(0u32.into(), b"");
    endpoint.wait_idle().await;
    Ok(())
}

async fn frames(connection: &Connection, load: Load) -> Result<Loaded, Failed> {
    let (mut send, mut recv) = connection.open_bi().await?;
    send.write_all(&[FRAMES]).await?;
    let from = Instant::now() + Duration::from_millis(load.warm_ms);
    let until = from + Duration::from_millis(load.run_ms);
    // The writer is told when each frame that it may send came free.
    let (free, mut frees) = unbounded_channel::<usize>();
    free.send(load.senders)?;
    let (began, mut begun) = unbounded_channel::<(usize, Instant)>();
    let writer = async move {
        while let Some(mut count) = frees.recv().await {
            while let Ok(more) = frees.try_recv() {
                count += more;
            }
            began.send((count, Instant::now()))?;
            send.write_all(&vec![0; count * ASKED_BYTES]).await?;
        }
        send.finish()?;
        Ok::<(), Failed>(())
    };
    let reader = async move {
        let (mut times, mut rest, mut open) = (Vec::new(), 0, std::collections::VecDeque::new());
        while let Some(chunk) = recv.read_chunk(PIECE, true).await? {
            let now = Instant::now();
            rest += chunk.bytes.len();
            let count = rest / ANSWERED_BYTES;
            rest %= ANSWERED_BYTES;
            while let Ok(batch) = begun.try_recv() {
                open.push_back(batch);
            }
            for _ in 0..count {
                let Some((left, at)) = open.front_mut() else { break };
                if now >= from && now < until {
                    times.push(u32::try_from(now.duration_since(*at).as_micros()).unwrap_or(u32::MAX));
                }
                *left -= 1;
                if *left == 0 {
                    open.pop_front();
                }
            }
            if now >= until {
                break;
            }
            free.send(count)?;
        }
        Ok::<_, Failed>(times)
    };
    let mut times = tokio::select! {
        times = reader => times?,
        written = writer => return Err(format!("the writer ended: {written:?}").into()),
    };
    let (receipts, seconds) = (times.len(), load.run_ms as f64 / 1000.0);
    let (p50_us, p99_us) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    Ok(Loaded { receipts, seconds, p50_us, p99_us })
}

async fn bulk(connection: &Connection, bytes: usize) -> Result<f64, Failed> {
    let (mut send, mut recv) = connection.open_bi().await?;
    let begun = Instant::now();
    send.write_all(&[BULK]).await?;
    let piece = vec![0; PIECE];
    let mut left = bytes;
    while left > 0 {
        let next = left.min(PIECE);
        send.write_all(&piece[..next]).await?;
        left -= next;
    }
    send.finish()?;
    recv.read_to_end(1).await?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Groups of so many bytes a second that a file takes, each synced by itself. The file is filled with zeros before, as
/// the journal's are.
pub fn append(folder: &Path, group: usize, run: Duration) -> Result<f64, Failed> {
    let path = folder.join("append");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    let zeros = vec![0; 1 << 20];
    for offset in (0..FILE_BYTES).step_by(zeros.len()) {
        file.write_all_at(&zeros, offset)?;
    }
    file.sync_all()?;
    let bytes = vec![7; group.max(1)];
    let (mut offset, mut groups, begun) = (0, 0u64, Instant::now());
    while begun.elapsed() < run {
        if offset + bytes.len() as u64 > FILE_BYTES {
            offset = 0;
        }
        file.write_all_at(&bytes, offset)?;
        file.sync_data()?;
        offset += bytes.len() as u64;
        groups += 1;
    }
    let seconds = begun.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(groups as f64 / seconds)
}
