//! FETCH: entries that the other side holds, over a stream of their own.

use std::time::Duration;

use bytes::Bytes;
use quinn::SendStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::author::encode;
use super::connection::Connection;
use super::frames::{Fault, FrameReader, FrameWriter};
use super::limits::{FETCH_ANSWER, FRAME_BYTES};
use crate::exchange::{FetchFault, Pushed};
use crate::name::Origin;
use crate::wire::{EntryFrame, Frame};

/// Behind pushes, before files.
const PRIORITY: i32 = 0;

/// Asks for entries and waits for the answer, which may hold fewer than asked: it ends at [`FETCH_ANSWER`] bytes.
pub(super) async fn ask(conn: &Connection, origin: Origin, from: u64, to: u64) -> Result<Pushed, FetchFault> {
    read_answer(conn, origin, from, to).await.map_err(|fault| match fault {
        Fault::Lost | Fault::Reset | Fault::Close(crate::exchange::CloseCode::Replaced, _) => FetchFault::Ended,
        Fault::Close(_, why) => FetchFault::Malformed(why),
    })
}

async fn read_answer(conn: &Connection, origin: Origin, from: u64, to: u64) -> Result<Pushed, Fault> {
    let within = conn.limits.write;
    let stalled = || Fault::stalled("the other side does not answer");
    let (send, recv) = timeout(within, conn.quic.open_bi()).await.map_err(|_| stalled())??;
    let mut send = FrameWriter::new(send, within, PRIORITY);
    send.write(Frame::Fetch { origin, from, to }.encode()).await?;
    send.finish();
    let mut reader = FrameReader::new(recv, conn.limits.frame);
    let (mut entries, mut bytes) = (Vec::new(), 0);
    loop {
        let next = reader.next_within(within).await.map_err(|fault| fault.unwrap_or_else(stalled))?;
        match next {
            Some((Frame::Entry(entry), size)) => {
                bytes += size as u64;
                if bytes > FETCH_ANSWER + FRAME_BYTES {
                    return Err(Fault::frame("an answer to FETCH that is too large"));
                }
                entries.push(*entry);
            }
            Some((Frame::Checkpoint { note }, _)) => {
                return Ok(Pushed { entries, note: Bytes::copy_from_slice(&note) });
            }
            Some((other, _)) => return Err(Fault::frame(format!("type {} in an answer to FETCH", other.kind()))),
            None if entries.is_empty() => return Err(Fault::Reset),
            None => return Err(Fault::frame("an answer to FETCH without CHECKPOINT")),
        }
    }
}

/// Answers a FETCH. Dropped without an answer it resets the stream, and the asker learns that there is none.
#[derive(Debug)]
pub struct FetchReply {
    writer: FrameWriter,
    /// Until it is dropped, no other FETCH of this connection is answered.
    _turn: OwnedSemaphorePermit,
}

impl FetchReply {
    pub(super) fn new(send: SendStream, within: Duration, turn: OwnedSemaphorePermit) -> Self {
        Self { writer: FrameWriter::new(send, within, PRIORITY), _turn: turn }
    }

    /// Sends the first [`FETCH_ANSWER`] bytes of `entries`, at least one, and the note that covers them. What the asker
    /// then does is its own matter: nothing is reported.
    pub async fn send(mut self, mut entries: Vec<EntryFrame>, note: Bytes) {
        let mut bytes = 0;
        let fits = entries.iter().take_while(|entry| {
            let first = bytes == 0;
            bytes += (entry.leaf.bytes().len() + entry.leaf.body_len()) as u64;
            first || bytes <= FETCH_ANSWER
        });
        let fits = fits.count();
        entries.truncate(fits);
        if self.writer.write_pieces(encode(entries, note)).await.is_ok() {
            self.writer.finish();
        }
    }
}
