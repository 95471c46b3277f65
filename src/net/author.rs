//! The author's side of a push stream: one task writes batches, another reads what comes back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use quinn::RecvStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection::Connection;
use super::event::NetEvent;
use super::frames::{Fault, FrameReader, FrameWriter};
use crate::wire::{EntryFrame, Frame};

/// Behind the control stream, before requests and files.
pub(super) const PRIORITY: i32 = 1;

/// Bytes to reserve for an entry beside its leaf and body: heads, tags, lengths, salt.
const ENTRY_OVERHEAD: usize = 96;

/// A batch as one buffer: ENTRY…, CHECKPOINT.
pub(super) fn encode(entries: Vec<EntryFrame>, note: Bytes) -> Bytes {
    let size = |entry: &EntryFrame| ENTRY_OVERHEAD + entry.leaf.bytes().len() + entry.leaf.body_len();
    let mut out = BytesMut::with_capacity(entries.iter().map(size).sum::<usize>() + note.len() + ENTRY_OVERHEAD);
    for entry in entries {
        Frame::Entry(Box::new(entry)).encode_into(&mut out);
    }
    Frame::Checkpoint { note }.encode_into(&mut out);
    out.freeze()
}

/// How a stream's back side ended.
enum BackEnd {
    /// With a FAULT: the next push begins a new stream.
    Fault(Frame),
    Broken(Fault),
}

/// Pushes what is queued over one stream after another: a stream lives until the connection ends or a FAULT comes.
pub(super) async fn run(conn: Arc<Connection>, mut queue: mpsc::UnboundedReceiver<Bytes>) -> Result<(), Fault> {
    while let Some(first) = queue.recv().await {
        let opened = timeout(conn.limits.write, conn.quic.open_bi()).await;
        let (send, recv) = opened.map_err(|_| Fault::stalled("the other side allows no push stream"))??;
        let send = FrameWriter::new(send, conn.limits.write, PRIORITY);
        match stream(&conn, send, recv, first, &mut queue).await {
            BackEnd::Broken(fault) => return Err(fault),
            BackEnd::Fault(frame) => {
                // What waits was decided before the fault was known; the author checks itself and begins anew.
                while let Ok(stale) = queue.try_recv() {
                    conn.push_waiting.fetch_sub(stale.len() as u64, Ordering::Relaxed);
                }
                conn.report(NetEvent::Back { conn: conn.id, frame }).await;
            }
        }
    }
    Ok(())
}

async fn stream(
    conn: &Arc<Connection>,
    mut send: FrameWriter,
    recv: RecvStream,
    first: Bytes,
    queue: &mut mpsc::UnboundedReceiver<Bytes>,
) -> BackEnd {
    let mut back = JoinSet::new();
    back.spawn(read_back(conn.clone(), recv));
    tokio::select! {
        biased;
        Some(end) = back.join_next() => end.unwrap_or(BackEnd::Broken(Fault::Lost)),
        fault = write_batches(conn, &mut send, first, queue) => match fault {
            // The holder stops this side together with a FAULT, which may still be on its way.
            Fault::Reset => match timeout(conn.limits.write, back.join_next()).await {
                Ok(Some(Ok(end))) => end,
                _ => BackEnd::Broken(Fault::frame("the push stream was stopped without a FAULT")),
            },
            fault => BackEnd::Broken(fault),
        },
    }
}

async fn write_batches(
    conn: &Connection,
    send: &mut FrameWriter,
    first: Bytes,
    queue: &mut mpsc::UnboundedReceiver<Bytes>,
) -> Fault {
    let mut batch = first;
    loop {
        conn.push_waiting.fetch_sub(batch.len() as u64, Ordering::Relaxed);
        if let Err(fault) = send.write_pieces(batch).await {
            return fault;
        }
        batch = match queue.recv().await {
            Some(batch) => batch,
            // The connection is ending; its driver stops this task.
            None => std::future::pending().await,
        };
    }
}

async fn read_back(conn: Arc<Connection>, recv: RecvStream) -> BackEnd {
    let mut reader = FrameReader::new(recv, conn.limits.frame);
    loop {
        let frame = match reader.next().await {
            Ok(Some((frame, _))) => frame,
            Ok(None) | Err(Fault::Reset) => {
                return BackEnd::Broken(conn.unless_it_closes("the back of a push stream ended without a FAULT").await);
            }
            Err(fault) => return BackEnd::Broken(fault),
        };
        match frame {
            Frame::Cosigned { .. } | Frame::Shows(_) => conn.report(NetEvent::Back { conn: conn.id, frame }).await,
            Frame::Fault { .. } => return BackEnd::Fault(frame),
            other => return BackEnd::Broken(Fault::frame(format!("type {} on the back of a push", other.kind()))),
        }
    }
}
