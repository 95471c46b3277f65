//! Frames on a QUIC stream: whole, bounded, and within a deadline.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, WriteError};
use tokio::time::{Instant, timeout, timeout_at};

use super::limits::WRITE_PIECE;
use crate::exchange::CloseCode;
use crate::wire::{FRAME_HEAD, Frame, FrameHead, WireError, frame_head};

/// Bytes taken from QUIC at a time.
const READ_PIECE: usize = 64 << 10;

/// The first buffer of a stream that was idle. It doubles with use up to [`READ_PIECE`] and is given back when empty.
const FIRST_BUFFER: usize = 4 << 10;

/// Why a stream is read or written no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection is gone; its driver knows why.
    Lost,
    /// The other side reset or stopped this stream only.
    Reset,
    /// The peer's fault or a stall: the connection is closed.
    Close(CloseCode, String),
}

impl Fault {
    pub(super) fn frame(why: impl Into<String>) -> Self {
        Self::Close(CloseCode::Frame, why.into())
    }

    pub(super) fn stalled(why: impl Into<String>) -> Self {
        // The connection gives way to a new one; nobody sent anything wrong.
        Self::Close(CloseCode::Replaced, why.into())
    }
}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Self {
        Self::frame(error.to_string())
    }
}

impl From<ConnectionError> for Fault {
    fn from(_: ConnectionError) -> Self {
        Self::Lost
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(_) | ReadError::ClosedStream => Self::Reset,
            _ => Self::Lost,
        }
    }
}

impl From<WriteError> for Fault {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(_) | WriteError::ClosedStream => Self::Reset,
            _ => Self::Lost,
        }
    }
}

/// Splits received bytes into frames; no stream, no clock.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    buffer: BytesMut,
    head: Option<FrameHead>,
    step: usize,
}

impl Splitter {
    /// Takes what came.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        if self.buffer.capacity() - self.buffer.len() < bytes.len() {
            self.step = (self.step * 2).clamp(FIRST_BUFFER, READ_PIECE);
            self.buffer.reserve(bytes.len().max(self.step));
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame with its size in bytes.
    ///
    /// # Errors
    /// A frame that is too large, of unknown type, or cannot be decoded.
    pub(super) fn next(&mut self) -> Result<Option<(Frame, usize)>, WireError> {
        let head = match self.head {
            Some(head) => head,
            None => {
                let Some(bytes) = self.buffer.first_chunk::<FRAME_HEAD>() else {
                    return Ok(None);
                };
                let head = frame_head(*bytes)?;
                let _ = self.buffer.split_to(FRAME_HEAD);
                self.head = Some(head);
                head
            }
        };
        if self.buffer.len() < head.length {
            return Ok(None);
        }
        self.head = None;
        let message = self.buffer.split_to(head.length).freeze();
        Ok(Some((Frame::decode(head.kind, message)?, FRAME_HEAD + head.length)))
    }

    /// Whether a frame has begun that is not whole yet.
    pub(super) fn has_begun(&self) -> bool {
        self.head.is_some() || !self.buffer.is_empty()
    }

    /// Gives the buffer back where it is empty: a stream may be idle for hours.
    fn rest_if_idle(&mut self) {
        if !self.has_begun() && self.buffer.capacity() > 0 {
            *self = Self::default();
        }
    }
}

/// Reads frames from a stream.
#[derive(Debug)]
pub(super) struct FrameReader {
    stream: RecvStream,
    splitter: Splitter,
    whole_within: Duration,
    begun: Option<Instant>,
}

impl FrameReader {
    /// Reads `stream`; each frame that has begun must be whole within `whole_within`.
    pub(super) fn new(stream: RecvStream, whole_within: Duration) -> Self {
        Self { stream, splitter: Splitter::default(), whole_within, begun: None }
    }

    /// The next frame with its size in bytes; `None` where the stream ended after a whole frame.
    ///
    /// Waits without limit for a frame to begin. Cancel safe.
    ///
    /// # Errors
    /// See [`Fault`].
    pub(super) async fn next(&mut self) -> Result<Option<(Frame, usize)>, Fault> {
        loop {
            if let Some(frame) = self.splitter.next()? {
                self.begun = None;
                return Ok(Some(frame));
            }
            if !self.fill().await? {
                return if self.splitter.has_begun() { Err(Fault::frame("a frame was cut short")) } else { Ok(None) };
            }
        }
    }

    /// The next frame, which must begin within `begins_within`.
    ///
    /// # Errors
    /// `Err(None)` where it did not begin in time, else see [`Fault`].
    pub(super) async fn next_within(
        &mut self,
        begins_within: Duration,
    ) -> Result<Option<(Frame, usize)>, Option<Fault>> {
        if !self.splitter.has_begun() {
            let filled = timeout(begins_within, self.fill()).await.map_err(|_| None)?;
            if !filled.map_err(Some)? {
                return Ok(None);
            }
        }
        self.next().await.map_err(Some)
    }

    /// Takes more bytes; `false` at the end of the stream.
    async fn fill(&mut self) -> Result<bool, Fault> {
        self.splitter.rest_if_idle();
        let read = self.stream.read_chunk(READ_PIECE, true);
        let chunk = if self.splitter.has_begun() {
            let whole_within = self.whole_within;
            let deadline = *self.begun.get_or_insert_with(|| Instant::now() + whole_within);
            timeout_at(deadline, read)
                .await
                .map_err(|_| Fault::frame("a frame that had begun did not end in time"))??
        } else {
            read.await?
        };
        let Some(chunk) = chunk else {
            return Ok(false);
        };
        self.splitter.put(&chunk.bytes);
        Ok(true)
    }

    /// What came after the last frame, and the stream.
    pub(super) fn into_rest(self) -> (Bytes, RecvStream) {
        (self.splitter.buffer.freeze(), self.stream)
    }

    /// Tells the other side that nothing more is read.
    pub(super) fn stop(&mut self) {
        let _ = self.stream.stop(0u32.into());
    }
}

/// Writes to a stream. Dropped before [`FrameWriter::finish`] it resets the stream: quinn itself would finish it, as if
/// all were said, and keep what is not sent yet, behind which not even a close gets out when the path is congested.
#[derive(Debug)]
pub(super) struct FrameWriter {
    stream: SendStream,
    within: Duration,
    finished: bool,
}

impl FrameWriter {
    /// Writes to `stream`; QUIC must take some bytes within `within`, again and again.
    pub(super) fn new(stream: SendStream, within: Duration, priority: i32) -> Self {
        let _ = stream.set_priority(priority);
        Self { stream, within, finished: false }
    }

    /// Writes `bytes`. Not cancel safe: drop the writer after a cancelled write.
    ///
    /// # Errors
    /// [`Fault::stalled`] where QUIC takes nothing, else see [`Fault`].
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), Fault> {
        let mut rest = [bytes];
        while !rest[0].is_empty() {
            match timeout(self.within, self.stream.write_chunks(&mut rest)).await {
                Ok(written) => written?,
                Err(_) => return Err(Fault::stalled("the other side has read nothing for too long")),
            };
        }
        Ok(())
    }

    /// Writes a long buffer piece by piece.
    ///
    /// # Errors
    /// As [`FrameWriter::write`].
    pub(super) async fn write_pieces(&mut self, mut bytes: Bytes) -> Result<(), Fault> {
        while !bytes.is_empty() {
            self.write(bytes.split_to(bytes.len().min(WRITE_PIECE))).await?;
        }
        Ok(())
    }

    /// Says that nothing follows.
    pub(super) fn finish(&mut self) {
        self.finished = self.stream.finish().is_ok();
    }

    /// Waits until all of a finished stream has arrived, or the other side wants no more of it, or the connection ends.
    pub(super) async fn arrived(&self) {
        let _ = self.stream.stopped().await;
    }
}

impl Drop for FrameWriter {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.stream.reset(0u32.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MAX_FRAME;
    use proptest::prelude::*;

    fn probe(nonce: u64) -> Bytes {
        Frame::Probe { nonce }.encode()
    }

    #[test]
    fn frames_are_found_wherever_the_bytes_are_cut() {
        let bytes = [probe(1), Frame::Bye.encode(), probe(u64::MAX)].concat();
        for cut in 0..=bytes.len() {
            let mut splitter = Splitter::default();
            let mut frames = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                splitter.put(part);
                while let Some((frame, size)) = splitter.next().unwrap() {
                    frames.push((frame, size));
                }
            }
            let sizes: usize = frames.iter().map(|(_, size)| size).sum();
            assert_eq!((frames.len(), sizes), (3, bytes.len()), "cut at {cut}");
            assert_eq!(frames[2].0, Frame::Probe { nonce: u64::MAX });
            assert!(!splitter.has_begun());
        }
    }

    #[test]
    fn lengths_at_the_limits() {
        let head = |length: usize| {
            let mut splitter = Splitter::default();
            splitter.put(&(length as u32).to_be_bytes());
            splitter.put(&[99]);
            splitter.next()
        };
        assert_eq!(head(MAX_FRAME), Ok(None));
        assert!(matches!(head(MAX_FRAME + 1), Err(WireError::TooLarge { .. })));
        assert!(matches!(head(0), Err(WireError::Length(_))));
        assert!(matches!(head(1), Err(WireError::Type { number: 99, .. })));
    }

    #[test]
    fn an_idle_stream_holds_no_buffer() {
        let mut splitter = Splitter::default();
        splitter.put(&probe(5));
        assert!(splitter.next().unwrap().is_some());
        splitter.rest_if_idle();
        assert_eq!(splitter.buffer.capacity(), 0);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_memory_stays_within_what_came(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..20),
        ) {
            let mut splitter = Splitter::default();
            let mut given = 0;
            for part in parts {
                given += part.len();
                splitter.put(&part);
                while let Ok(Some((_, size))) = splitter.next() {
                    prop_assert!(size <= given);
                }
                prop_assert!(splitter.buffer.len() <= given);
            }
        }
    }
}
