//! The control stream: HELLO first, then TRUST, PROBE, PROBE_REPLY, NOT_NOW, BYE.

use std::sync::Arc;

use bytes::Bytes;
use quinn::RecvStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::connection::Connection;
use super::event::NetEvent;
use super::frames::{Fault, FrameReader, FrameWriter};
use crate::exchange::{CloseCode, Dialler};
use crate::wire::Frame;

/// Before everything else: a sign of life must not wait behind a batch.
const PRIORITY: i32 = 2;

/// Opens or accepts the control stream.
pub(super) async fn open(conn: &Connection) -> Result<(FrameWriter, RecvStream), Fault> {
    let no_hello = || Fault::Close(CloseCode::NoHello, "no control stream was opened in time".into());
    let (send, recv) = match conn.dialler {
        Dialler::Us => timeout(conn.limits.hello, conn.quic.open_bi()).await,
        Dialler::Them => timeout(conn.limits.hello, conn.quic.accept_bi()).await,
    }
    .map_err(|_| no_hello())??;
    Ok((FrameWriter::new(send, conn.limits.write, PRIORITY), recv))
}

/// Reads it to its end.
pub(super) async fn read(conn: Arc<Connection>, recv: RecvStream) -> Result<(), Fault> {
    let mut reader = FrameReader::new(recv, conn.limits.frame);
    let mut first = first_frame(&conn, &mut reader).await?;
    if let Some((frame @ Frame::NotNow { .. }, _)) = first {
        // Where another connection with this node is kept, that is told before any HELLO.
        conn.report(NetEvent::Frame { conn: conn.id, frame }).await;
        first = first_frame(&conn, &mut reader).await?;
    }
    match first {
        Some((frame @ Frame::Hello(_), _)) => conn.report(NetEvent::Frame { conn: conn.id, frame }).await,
        Some((frame, _)) => {
            return Err(Fault::frame(format!("the first frame is of type {}, not HELLO", frame.kind())));
        }
        None => return Err(Fault::Close(CloseCode::NoHello, "the control stream ended before HELLO".into())),
    }
    loop {
        let frame = match reader.next().await {
            Ok(Some((frame, _))) => frame,
            Ok(None) | Err(Fault::Reset) => break,
            Err(fault) => return Err(fault),
        };
        match frame {
            Frame::Hello(_)
            | Frame::Trust(_)
            | Frame::Probe { .. }
            | Frame::ProbeReply { .. }
            | Frame::NotNow { .. }
            | Frame::Bye => conn.report(NetEvent::Frame { conn: conn.id, frame }).await,
            other => return Err(Fault::frame(format!("type {} on the control stream", other.kind()))),
        }
    }
    Err(conn.unless_it_closes("the control stream ended").await)
}

async fn first_frame(conn: &Connection, reader: &mut FrameReader) -> Result<Option<(Frame, usize)>, Fault> {
    reader.next_within(conn.limits.hello).await.map_err(|fault| {
        fault.unwrap_or_else(|| Fault::Close(CloseCode::NoHello, "the other side sent no HELLO in time".into()))
    })
}

/// Writes what is queued until the queue is closed, then waits until all of it has arrived.
pub(super) async fn write_queue(
    conn: Arc<Connection>,
    mut send: FrameWriter,
    mut queue: mpsc::Receiver<Bytes>,
) -> Result<(), Fault> {
    while let Some(bytes) = queue.recv().await {
        match send.write(bytes).await {
            Err(Fault::Reset) => return Err(conn.unless_it_closes("the control stream was stopped").await),
            written => written?,
        }
    }
    send.finish();
    send.arrived().await;
    Ok(())
}
