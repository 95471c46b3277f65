//! The holder's side of a push stream: one task collects batches, another writes what goes back.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use quinn::SendStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::author::PRIORITY;
use super::connection::Connection;
use super::event::{NetEvent, Room};
use super::frames::{Fault, FrameReader, FrameWriter};
use super::limits::{BACK_QUEUE, HEAD_ROOM};
use crate::exchange::{CloseCode, Pushed};
use crate::wire::{EntryFrame, Frame};

/// Where COSIGNED, SHOWS and FAULT go while a push stream of the peer is open.
#[derive(Debug, Default)]
pub(super) struct Back(Mutex<Slot>);

#[derive(Debug, Default)]
struct Slot {
    /// Counts the peer's push streams.
    stream: u64,
    queue: Option<mpsc::Sender<Bytes>>,
}

/// The queue towards a peer is full.
pub(super) struct Full;

impl Back {
    /// Queues a frame. A FAULT is the last of its stream. Without an open stream the frame is dropped: its successor
    /// will be compared by HELLO.
    pub(super) fn put(&self, frame: &Frame) -> Result<(), Full> {
        let mut slot = self.lock();
        let Some(queue) = &slot.queue else {
            return Ok(());
        };
        let sent = queue.try_send(frame.encode());
        if matches!(frame, Frame::Fault { .. }) {
            slot.queue = None;
        }
        match sent {
            Err(mpsc::error::TrySendError::Full(_)) => Err(Full),
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    fn begin(&self) -> Option<(u64, mpsc::Receiver<Bytes>)> {
        let mut slot = self.lock();
        if slot.queue.is_some() {
            return None;
        }
        let (sender, receiver) = mpsc::channel(BACK_QUEUE);
        slot.stream += 1;
        slot.queue = Some(sender);
        Some((slot.stream, receiver))
    }

    fn is_current(&self, stream: u64) -> bool {
        let slot = self.lock();
        slot.stream == stream && slot.queue.is_some()
    }

    fn end(&self, stream: u64) {
        let mut slot = self.lock();
        if slot.stream == stream {
            slot.queue = None;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds a push stream whose first frame has been read.
pub(super) async fn run(
    conn: Arc<Connection>,
    send: SendStream,
    mut reader: FrameReader,
    first: (Frame, usize),
) -> Result<(), Fault> {
    let Some((stream, queue)) = conn.back.begin() else {
        return Err(Fault::frame("a second push stream while one is open"));
    };
    let send = FrameWriter::new(send, conn.limits.write, PRIORITY);
    let mut back = JoinSet::new();
    back.spawn(write_back(send, queue));
    let end = tokio::select! {
        biased;
        // After a FAULT, or when the other side takes no more answers.
        Some(written) = back.join_next() => written.unwrap_or(Err(Fault::Lost)),
        read = collect(&conn, stream, &mut reader, first) => read,
    };
    conn.back.end(stream);
    reader.stop();
    match end {
        Err(Fault::Reset) => Ok(()),
        end => end,
    }
}

/// Writes answers until the queue is closed, which a FAULT does.
async fn write_back(mut send: FrameWriter, mut queue: mpsc::Receiver<Bytes>) -> Result<(), Fault> {
    while let Some(bytes) = queue.recv().await {
        send.write(bytes).await?;
    }
    // A reset here could overtake the FAULT; the stream's other half is stopped instead.
    send.finish();
    Ok(())
}

struct Batch {
    entries: Vec<EntryFrame>,
    bytes: u64,
    taken: Option<OwnedSemaphorePermit>,
}

impl Batch {
    fn new() -> Self {
        Self { entries: Vec::new(), bytes: 0, taken: None }
    }
}

async fn collect(conn: &Connection, stream: u64, reader: &mut FrameReader, first: (Frame, usize)) -> Result<(), Fault> {
    let limit = conn.limits.batch_bytes();
    let room = usize::try_from(conn.limits.push_room()).unwrap_or(Semaphore::MAX_PERMITS);
    let window = Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS)));
    let mut batch = Batch::new();
    let mut next = Some(first);
    while let Some((frame, size)) = next {
        match frame {
            Frame::Entry(entry) => {
                batch.bytes += size as u64;
                if batch.bytes > limit {
                    return Err(Fault::Close(CloseCode::Flood, format!("a batch of more than {limit} bytes")));
                }
                take(&window, &mut batch.taken, size as u64).await;
                batch.entries.push(*entry);
            }
            Frame::Checkpoint { note } => {
                take(&window, &mut batch.taken, HEAD_ROOM).await;
                let Batch { entries, taken, .. } = std::mem::replace(&mut batch, Batch::new());
                // A note may be kept for long; it must not keep a whole read buffer with it.
                let pushed = Pushed { entries, note: Bytes::copy_from_slice(&note) };
                if !conn.back.is_current(stream) {
                    return Ok(());
                }
                conn.report(NetEvent::Pushed { conn: conn.id, pushed, room: Room(taken) }).await;
            }
            other => return Err(Fault::frame(format!("type {} on a push stream", other.kind()))),
        }
        next = reader.next().await?;
    }
    if batch.entries.is_empty() { Ok(()) } else { Err(Fault::frame("a push stream ended before its CHECKPOINT")) }
}

/// Takes `size` bytes of the window, waiting until earlier batches are dealt with. A batch within its limit cannot wait
/// for itself: the window is as large as the largest batch with its head.
async fn take(window: &Arc<Semaphore>, taken: &mut Option<OwnedSemaphorePermit>, size: u64) {
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    let permit = window.clone().acquire_many_owned(size).await.expect("never closed");
    match taken {
        Some(taken) => taken.merge(permit),
        None => *taken = Some(permit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_nowhere_without_a_stream_and_a_fault_is_the_last() {
        let back = Back::default();
        let proof = crate::wire::Contradiction::default();
        let fault = Frame::Fault { code: crate::wire::FaultCode::Gap, origin: None, index: 0, proof };
        assert!(back.put(&Frame::Bye).is_ok());
        let (one, mut queue) = back.begin().unwrap();
        assert!(back.begin().is_none(), "one push stream at a time");
        assert!(back.put(&fault).is_ok() && back.put(&Frame::Bye).is_ok());
        assert_eq!(queue.try_recv(), Ok(fault.encode()));
        assert_eq!(queue.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
        assert!(!back.is_current(one));
        let (two, _queue) = back.begin().unwrap();
        back.end(one);
        assert!(back.is_current(two), "the end of an old stream does not end its successor");
    }

    #[test]
    fn the_queue_of_answers_is_bounded() {
        let back = Back::default();
        let (_stream, _queue) = back.begin().unwrap();
        for n in 0..BACK_QUEUE {
            assert!(back.put(&Frame::Bye).is_ok(), "{n}");
        }
        assert!(back.put(&Frame::Bye).is_err());
    }
}
