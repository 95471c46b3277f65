//! ENCLOSURE: a file in answers of bounded size, so that pushes always find credit.
//!
//! QUIC charges credit when bytes are written, over all streams of a connection, and tells only of a finished stream
//! that all of it arrived. So an answer carries at most [`ENCLOSURE_ANSWER`] bytes, answers on their way hold at most
//! [`super::ENCLOSURE_BUDGET`], and the asker asks again from where an answer ended, as it does after a broken
//! connection.

use std::sync::Arc;

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::connection::Connection;
use super::frames::{Fault, FrameReader, FrameWriter};
use super::limits::{ENCLOSURE_ANSWER, ENCLOSURE_PIECE};
use crate::name::EntryId;
use crate::wire::{EnclosureAbsent, Frame};

/// Behind everything else.
const PRIORITY: i32 = -1;

/// Why a file does not come, or not to its end. What came before stays good: ask again from there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnclosureFault {
    /// The other side does not have it.
    #[error("the other side does not have the file ({0:?})")]
    Absent(EnclosureAbsent),
    /// The stream or the connection ended, or nothing came for too long.
    #[error("the transfer of the file was interrupted")]
    Ended,
    /// What came cannot be read, or does not fit what came before.
    #[error("the answer of the other side cannot be used: {0}")]
    Malformed(String),
}

impl From<Fault> for EnclosureFault {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Close(crate::exchange::CloseCode::Frame, why) => Self::Malformed(why),
            _ => Self::Ended,
        }
    }
}

/// A file on its way here.
#[derive(Debug)]
pub struct EnclosureDownload {
    conn: Arc<Connection>,
    entry: EntryId,
    ordinal: u32,
    size: u64,
    offset: u64,
    answer: Option<Answer>,
    _turn: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Answer {
    size: u64,
    rest: Bytes,
    stream: RecvStream,
    brought: bool,
}

impl EnclosureDownload {
    /// Asks for a file. Waits for its turn.
    pub(super) async fn begin(
        conn: Arc<Connection>,
        entry: EntryId,
        ordinal: u32,
        offset: u64,
    ) -> Result<Self, EnclosureFault> {
        let turn = conn.turns.clone().acquire_owned().await.map_err(|_| EnclosureFault::Ended)?;
        let answer = ask(&conn, entry, ordinal, offset).await?;
        if offset > answer.size {
            return Err(EnclosureFault::Malformed(format!("a size of {} bytes, below the offset", answer.size)));
        }
        Ok(Self { conn, entry, ordinal, size: answer.size, offset, answer: Some(answer), _turn: turn })
    }

    /// The size of the whole file in bytes, as the other side says.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes, at most [`ENCLOSURE_PIECE`]; `None` at the end of the file. Nothing is read ahead of the caller
    /// but what QUIC's window for one stream holds.
    ///
    /// # Errors
    /// See [`EnclosureFault`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, EnclosureFault> {
        while self.offset < self.size {
            if self.answer.is_none() {
                let answer = ask(&self.conn, self.entry, self.ordinal, self.offset).await?;
                if answer.size != self.size {
                    return Err(EnclosureFault::Malformed("the size of the file has changed".into()));
                }
                self.answer = Some(answer);
            }
            let answer = self.answer.as_mut().expect("just set");
            match answer.next(&self.conn).await? {
                Some(bytes) if bytes.len() as u64 <= self.size - self.offset => {
                    self.offset += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                Some(_) => return Err(EnclosureFault::Malformed("more bytes than the file has".into())),
                None if answer.brought => self.answer = None,
                None => return Err(EnclosureFault::Ended),
            }
        }
        Ok(None)
    }
}

impl Answer {
    async fn next(&mut self, conn: &Connection) -> Result<Option<Bytes>, EnclosureFault> {
        let bytes = if self.rest.is_empty() {
            let read = timeout(conn.limits.enclosure, self.stream.read_chunk(ENCLOSURE_PIECE, true)).await;
            match read.map_err(|_| EnclosureFault::Ended)?.map_err(|_| EnclosureFault::Ended)? {
                Some(chunk) => chunk.bytes,
                None => return Ok(None),
            }
        } else {
            std::mem::take(&mut self.rest)
        };
        self.brought = true;
        Ok(Some(bytes))
    }
}

async fn ask(conn: &Connection, entry: EntryId, ordinal: u32, offset: u64) -> Result<Answer, EnclosureFault> {
    let within = conn.limits.write;
    let opened = timeout(within, conn.quic.open_bi()).await.map_err(|_| EnclosureFault::Ended)?;
    let (send, recv) = opened.map_err(|_| EnclosureFault::Ended)?;
    let mut send = FrameWriter::new(send, within, PRIORITY);
    send.write(Frame::EnclosureRequest { entry, ordinal, offset }.encode()).await?;
    send.finish();
    let mut reader = FrameReader::new(recv, conn.limits.frame);
    let reply = reader.next_within(conn.limits.enclosure).await;
    match reply.map_err(|fault| fault.map_or(EnclosureFault::Ended, Into::into))? {
        Some((Frame::EnclosureReply { size, absent: EnclosureAbsent::Present }, _)) => {
            let (rest, stream) = reader.into_rest();
            Ok(Answer { size, rest, stream, brought: false })
        }
        Some((Frame::EnclosureReply { absent, .. }, _)) => Err(EnclosureFault::Absent(absent)),
        Some((other, _)) => Err(EnclosureFault::Malformed(format!("type {} in an answer", other.kind()))),
        None => Err(EnclosureFault::Ended),
    }
}

/// Answers a request for a file. Dropped without an answer it resets the stream.
#[derive(Debug)]
pub struct EnclosureReply {
    conn: Arc<Connection>,
    send: FrameWriter,
    offset: u64,
}

impl EnclosureReply {
    pub(super) fn new(conn: Arc<Connection>, send: SendStream, offset: u64) -> Self {
        let send = FrameWriter::new(send, conn.limits.write, PRIORITY);
        Self { conn, send, offset }
    }

    /// Says that the file is not to be had.
    pub async fn absent(mut self, absent: EnclosureAbsent) {
        if self.send.write(Frame::EnclosureReply { size: 0, absent }.encode()).await.is_ok() {
            self.send.finish();
        }
    }

    /// Says that a file of `size` bytes follows from the offset that was asked for. Waits until the connection has room
    /// for another answer.
    ///
    /// # Errors
    /// [`EnclosureFault::Ended`], where the asker is gone.
    pub async fn present(self, size: u64) -> Result<EnclosureWriter, EnclosureFault> {
        let Self { conn, mut send, offset } = self;
        let left = size.saturating_sub(offset).min(ENCLOSURE_ANSWER);
        let permits = u32::try_from(left).expect("an answer is far below 4 GiB");
        let room = tokio::select! {
            room = conn.budget.clone().acquire_many_owned(permits) => room.map_err(|_| EnclosureFault::Ended)?,
            _ = conn.quic.closed() => return Err(EnclosureFault::Ended),
        };
        let reply = Frame::EnclosureReply { size, absent: EnclosureAbsent::Present };
        send.write(reply.encode()).await.map_err(|_| EnclosureFault::Ended)?;
        Ok(EnclosureWriter { conn, send, left, room })
    }
}

/// One answer: a piece of a file on its way to the peer. Dropped before [`EnclosureWriter::finish`] it resets the
/// stream.
#[derive(Debug)]
pub struct EnclosureWriter {
    conn: Arc<Connection>,
    send: FrameWriter,
    left: u64,
    room: OwnedSemaphorePermit,
}

impl EnclosureWriter {
    /// Bytes that this answer still takes; the asker asks again for what lies beyond.
    pub fn room(&self) -> u64 {
        self.left
    }

    /// Writes the next bytes, as far as this answer takes them, and says whether it takes more. Waits while files
    /// pause.
    ///
    /// # Errors
    /// [`EnclosureFault::Ended`], where the asker is gone or reads nothing.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<bool, EnclosureFault> {
        bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(ENCLOSURE_PIECE));
            let length = piece.len() as u64;
            self.while_paused().await?;
            self.send.write(piece).await.map_err(|_| EnclosureFault::Ended)?;
            self.left -= length;
        }
        Ok(self.left > 0)
    }

    /// Ends the answer. Its bytes count until the other side has all of them.
    pub fn finish(self) {
        let Self { conn, mut send, room, .. } = self;
        send.finish();
        tokio::spawn(async move {
            let _ = timeout(conn.limits.write, send.arrived()).await;
            drop(room);
        });
    }

    async fn while_paused(&self) -> Result<(), EnclosureFault> {
        let mut paused = self.conn.paused.subscribe();
        tokio::select! {
            _ = paused.wait_for(|paused| !paused) => Ok(()),
            _ = self.conn.quic.closed() => Err(EnclosureFault::Ended),
        }
    }
}
