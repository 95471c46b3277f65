//! A large file, and what an urgent message has to suffer while it travels.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use verbale::api::{Backend, EnclosureToken, Failure, Upload, WaitFor};
use verbale::name::{NodeName, Precedence};

use crate::child::{Order, Said, Through, caller};
use crate::load::{broken, deliver, message};
use crate::meter::{median, quantile};
use crate::pair::{Pair, Process};
use crate::{Failed, table};

/// Bytes of the file: the largest that is taken by default.
pub const BYTES: usize = 64 << 20;

/// Bytes handed to the node at once.
const PIECE: usize = 256 << 10;
/// Urgent messages before the file, to compare with.
const CALM: usize = 50;

/// What to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Enclose {
    /// To whom.
    pub to: NodeName,
    /// How large the file is.
    pub bytes: usize,
    /// Whether urgent messages go beside it, one after another.
    pub urgent: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Enclosed {
    /// Until the file was in the sender's node, encrypted and durable.
    pub upload_seconds: f64,
    /// From the order to send until the sender had the peer's HELD; for a bare connection: until all had arrived.
    pub seconds: f64,
    /// Times of urgent messages before, in microseconds.
    pub calm_us: Vec<u32>,
    /// Beside the file.
    pub beside_us: Vec<u32>,
}

/// Sends a file through a node.
pub async fn send(through: &Arc<Through>, enclose: Enclose) -> Result<Enclosed, Failure> {
    let mut calm_us = Vec::new();
    for _ in 0..if enclose.urgent { CALM } else { 0 } {
        calm_us.push(flash(through, enclose.to).await?);
    }
    let begun = Instant::now();
    let token = upload(through, enclose.bytes).await?;
    let upload_seconds = begun.elapsed().as_secs_f64();
    let travelling = Arc::new(AtomicBool::new(true));
    let beside = tokio::spawn(beside(through.clone(), enclose, travelling.clone()));
    let begun = Instant::now();
    let sent = deliver(through, message(enclose.to, Precedence::Routine, "A file", vec![token], WaitFor::Held)?).await;
    let seconds = begun.elapsed().as_secs_f64();
    travelling.store(false, Ordering::Relaxed);
    sent?;
    let beside_us = beside.await.map_err(|error| broken(&error.to_string()))??;
    Ok(Enclosed { upload_seconds, seconds, calm_us, beside_us })
}

async fn beside(through: Arc<Through>, enclose: Enclose, travelling: Arc<AtomicBool>) -> Result<Vec<u32>, Failure> {
    let mut times = Vec::new();
    while enclose.urgent && travelling.load(Ordering::Relaxed) {
        times.push(flash(&through, enclose.to).await?);
        // An officer is not faster than this, and files pause while something urgent has no receipt.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok(times)
}

async fn flash(through: &Through, to: NodeName) -> Result<u32, Failure> {
    let begun = Instant::now();
    deliver(through, message(to, Precedence::Flash, "Now.", Vec::new(), WaitFor::Receipt)?).await?;
    Ok(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX))
}

async fn upload(through: &Through, bytes: usize) -> Result<EnclosureToken, Failure> {
    let Through::Node(front) = through else { return Err(broken("files are handed over inside the node")) };
    let mut upload = front.upload(caller(), "file.bin".to_owned(), "application/octet-stream".to_owned()).await?;
    let piece = Bytes::from(vec![7; PIECE]);
    let mut left = bytes;
    while left > 0 {
        let next = left.min(PIECE);
        upload.write(piece.slice(..next)).await?;
        left -= next;
    }
    upload.finish().await
}

/// Measures and tells.
pub fn run(rounds: usize, bytes: usize) -> Result<(), Failed> {
    let (mut alone, mut beside, mut bare, mut uploads) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut calm_us, mut beside_us) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let mut pair = Pair::start()?;
        let to = pair.holder.0.node;
        for urgent in [false, true] {
            let enclosed = order(&mut pair.author.1, Enclose { to, bytes, urgent })?;
            uploads.push(enclosed.upload_seconds);
            if urgent { &mut beside } else { &mut alone }.push(enclosed.seconds);
            calm_us.extend(enclosed.calm_us);
            beside_us.extend(enclosed.beside_us);
        }
        pair.end(|_, _| Ok(()))?;
        bare.push(bare_seconds(to, bytes)?);
    }
    let mib = bytes as f64 / f64::from(1 << 20);
    let rate = |seconds: &[f64]| mib / median(seconds.to_vec());
    let raw = rate(&bare);
    println!("\n### A file of {mib:.0} MiB, median of {rounds}\n");
    let mut table = table::Table::new(&["", "MiB/s", "of raw quinn"]);
    for (name, rate) in [
        ("into the own node (encrypted, synced)", rate(&uploads)),
        ("sent, fetched, checked, encrypted, synced, HELD", rate(&alone)),
        ("the same beside FLASH messages", rate(&beside)),
        ("raw quinn, nothing kept", raw),
    ] {
        table.row([name.to_owned(), format!("{rate:.0}"), format!("{:.2}", rate / raw)]);
    }
    table.print();
    let ms = |times: &mut [u32], share: f64| f64::from(quantile(times, share)) / 1000.0;
    println!("\n### A FLASH message until its receipt, one at a time\n");
    let mut table = table::Table::new(&["", "messages", "p50 ms", "p99 ms", "longest ms"]);
    for (name, times) in [("nothing else under way", &mut calm_us), ("beside the file", &mut beside_us)] {
        let figures = [0.5, 0.99, 1.0].map(|share| format!("{:.1}", ms(times, share)));
        let [p50, p99, longest] = figures;
        table.row([name.to_owned(), times.len().to_string(), p50, p99, longest]);
    }
    table.print();
    Ok(())
}

fn order(process: &mut Process, enclose: Enclose) -> Result<Enclosed, Failed> {
    process.tell(&Order::Enclose(enclose))?;
    match process.listen()? {
        Said::Enclosed(enclosed) => Ok(enclosed),
        other => Err(format!("instead of a time: {other:?}").into()),
    }
}

fn bare_seconds(to: NodeName, bytes: usize) -> Result<f64, Failed> {
    let (far, mut near, _file) = bare()?;
    let enclosed = order(&mut near, Enclose { to, bytes, urgent: false })?;
    near.end()?;
    far.end()?;
    Ok(enclosed.seconds)
}

/// Both ends of a bare connection, and the file that holds the far one's certificate.
pub fn bare() -> Result<(Process, Process, tempfile::NamedTempFile), Failed> {
    let far = Process::start(&["echo"])?;
    let (address, certificate) = far.ready.clone().ok_or("the far end has no address")?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), certificate)?;
    let path: &Path = file.path();
    let near = Process::start(&["ask", &address.to_string(), &path.to_string_lossy()])?;
    Ok((far, near, file))
}
