//! One connection: its driver, its queues, and the gate before its streams.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::alive::Watch;
use super::enclosure::EnclosureReply;
use super::event::NetEvent;
use super::fetch::FetchReply;
use super::frames::{Fault, FrameReader};
use super::holder::Back;
use super::layer::{Ended, EndedBy, varint};
use super::limits::{CONTROL_QUEUE, ENCLOSURE_BUDGET, ENCLOSURES_AT_ONCE, FETCHES_AT_ONCE, Limits, PUSH_QUEUE_BYTES};
use super::{author, control, holder};
use crate::exchange::{CloseCode, ConnId, Dialler};
use crate::identity::PeerIdentity;
use crate::name::NodeName;
use crate::wire::Frame;

/// What the tasks of a connection and the orders to it share.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnId,
    pub(super) peer: NodeName,
    pub(super) dialler: Dialler,
    pub(super) quic: quinn::Connection,
    pub(super) limits: Arc<Limits>,
    pub(super) back: Back,
    /// Bytes of pushes that wait to be written.
    pub(super) push_waiting: AtomicU64,
    /// Unacknowledged bytes of files that may still be written.
    pub(super) budget: Arc<Semaphore>,
    /// Files that may still be asked for at once.
    pub(super) turns: Arc<Semaphore>,
    /// FETCHes that may still be answered at once.
    answers: Arc<Semaphore>,
    pub(super) paused: watch::Sender<bool>,
    /// What is known of silences.
    pub(super) watch: Mutex<Watch>,
    /// An answer is overdue, and the shell was told so.
    pub(super) overdue: AtomicBool,
    gate: watch::Sender<bool>,
    ended: watch::Sender<Option<Ended>>,
    control: Mutex<Option<mpsc::Sender<Bytes>>>,
    push: mpsc::UnboundedSender<Bytes>,
    events: mpsc::Sender<NetEvent>,
}

/// The reading ends of a connection's queues.
pub(super) struct Queues {
    control: mpsc::Receiver<Bytes>,
    push: mpsc::UnboundedReceiver<Bytes>,
}

impl Connection {
    pub(super) fn new(
        id: ConnId,
        peer: NodeName,
        dialler: Dialler,
        quic: quinn::Connection,
        limits: Arc<Limits>,
        events: mpsc::Sender<NetEvent>,
    ) -> (Arc<Self>, Queues) {
        let (control, control_queue) = mpsc::channel(CONTROL_QUEUE);
        let (push, push_queue) = mpsc::unbounded_channel();
        let conn = Self {
            id,
            peer,
            dialler,
            quic,
            limits,
            back: Back::default(),
            push_waiting: AtomicU64::new(0),
            budget: Arc::new(Semaphore::new(usize::try_from(ENCLOSURE_BUDGET).unwrap_or(Semaphore::MAX_PERMITS))),
            turns: Arc::new(Semaphore::new(ENCLOSURES_AT_ONCE)),
            answers: Arc::new(Semaphore::new(FETCHES_AT_ONCE)),
            paused: watch::Sender::new(false),
            watch: Mutex::default(),
            overdue: AtomicBool::new(false),
            gate: watch::Sender::new(false),
            ended: watch::Sender::new(None),
            control: Mutex::new(Some(control)),
            push,
            events,
        };
        (Arc::new(conn), Queues { control: control_queue, push: push_queue })
    }

    /// Tells the shell; waits while the shell is behind. What comes after the end was ordered is of no use to anybody.
    pub(super) async fn report(&self, event: NetEvent) {
        if self.ended.borrow().is_none() {
            self.tell(event).await;
        }
    }

    /// Tells the shell also of the end.
    pub(super) async fn tell(&self, event: NetEvent) {
        // Without a shell there is nobody to tell; the node is going down.
        let _ = self.events.send(event).await;
    }

    /// Lets streams other than control be read.
    pub(super) fn open(&self) {
        self.gate.send_replace(true);
    }

    /// Ends the connection; the first reason counts.
    pub(super) fn end(&self, ended: Ended) {
        self.ended.send_if_modified(|slot| {
            let first = slot.is_none();
            if first {
                *slot = Some(ended);
            }
            first
        });
    }

    /// A stream ended that should not. It is no fault where the other side is closing: streams end before the
    /// connection.
    pub(super) async fn unless_it_closes(&self, what: &str) -> Fault {
        match timeout(self.limits.linger * 2, self.quic.closed()).await {
            Ok(_) => Fault::Lost,
            Err(_) => Fault::frame(format!("{what} and the connection did not")),
        }
    }

    pub(super) fn send_control(&self, frame: &Frame) {
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let full = control.as_ref().map(|queue| queue.try_send(frame.encode()));
        drop(control);
        if let Some(Err(mpsc::error::TrySendError::Full(_))) = full {
            self.end(Ended::ours(CloseCode::Replaced, "the other side does not read its control stream"));
        }
    }

    pub(super) fn push(&self, batch: Bytes) {
        let bytes = batch.len() as u64;
        let waiting = self.push_waiting.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if waiting > PUSH_QUEUE_BYTES && waiting > bytes {
            self.push_waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.end(Ended::ours(CloseCode::Replaced, "the other side takes pushes too slowly"));
            return;
        }
        let _ = self.push.send(batch);
    }

    pub(super) fn push_back(&self, frame: &Frame) {
        if self.back.put(frame).is_err() {
            self.end(Ended::ours(CloseCode::Flood, "the other side pushes and does not read what comes back"));
        }
    }
}

/// Drives a connection from `Connected` to `Closed`.
pub(super) async fn run(conn: Arc<Connection>, peer: PeerIdentity, remote: SocketAddr, queues: Queues) -> Ended {
    let (id, dialler) = (conn.id, conn.dialler);
    conn.tell(NetEvent::Connected { conn: id, peer, dialler, remote }).await;
    let (mut tasks, mut writer) = (JoinSet::new(), JoinSet::new());
    let ended = tokio::select! {
        biased;
        ended = told_to_end(&conn) => ended,
        fault = serve(&conn, queues, &mut tasks, &mut writer) => match fault {
            Fault::Close(code, why) => Ended::ours(code, why),
            Fault::Reset => Ended::ours(CloseCode::Frame, "the other side reset the control stream"),
            Fault::Lost => Ended::from_quic(&conn.quic.closed().await, None),
        },
        error = conn.quic.closed() => Ended::from_quic(&error, None),
    };
    if ended.by == EndedBy::Us {
        let code = ended.code.unwrap_or(CloseCode::GoingDown);
        if is_orderly(code) {
            // Resets every stream but control: quinn 0.11 sends no CLOSE while the path is congested and a stream still
            // has something to send (quinn-rs/quinn issue 2785).
            tasks.shutdown().await;
            last_words(&conn, code, &mut writer).await;
        }
        conn.quic.close(varint(code), b"");
    } else if conn.quic.close_reason().is_none() {
        // Given up here: where only one way is cut, the other side still hears of it.
        conn.quic.close(varint(CloseCode::Replaced), b"");
    }
    tasks.shutdown().await;
    tracing::debug!(peer = %conn.peer, conn = id.0, %ended, "connection closed");
    ended
}

/// Waits until something orders the end.
async fn told_to_end(conn: &Connection) -> Ended {
    let mut end = conn.ended.subscribe();
    let ended = end.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
    ended.expect("waited for, and the sender lives in conn")
}

/// Whether what was said before the end still matters to the other side, and may still go to it.
fn is_orderly(code: CloseCode) -> bool {
    matches!(code, CloseCode::GoingDown | CloseCode::Replaced | CloseCode::Version | CloseCode::WrongState)
}

/// Lets queued control frames arrive before a close in order. QUIC's own close would drop them.
async fn last_words(conn: &Connection, code: CloseCode, writer: &mut JoinSet<Result<(), Fault>>) {
    if code == CloseCode::GoingDown {
        conn.send_control(&Frame::Bye);
    }
    let queue = conn.control.lock().unwrap_or_else(PoisonError::into_inner).take();
    drop(queue);
    let _ = timeout(conn.limits.linger, writer.join_next()).await;
}

/// Runs every task of the connection until one of them says that it must end.
async fn serve(
    conn: &Arc<Connection>,
    queues: Queues,
    tasks: &mut JoinSet<Result<(), Fault>>,
    writer: &mut JoinSet<Result<(), Fault>>,
) -> Fault {
    let (send, recv) = match control::open(conn).await {
        Ok(streams) => streams,
        Err(fault) => return fault,
    };
    writer.spawn(watched(conn.clone(), control::write_queue(conn.clone(), send, queues.control)));
    tasks.spawn(watched(conn.clone(), control::read(conn.clone(), recv)));
    tasks.spawn(watched(conn.clone(), author::run(conn.clone(), queues.push)));
    loop {
        let done = tokio::select! {
            Some(done) = tasks.join_next() => done,
            Some(done) = writer.join_next() => done,
            (send, recv) = accept(conn) => {
                tasks.spawn(watched(conn.clone(), first_frame(conn.clone(), send, recv)));
                continue;
            }
        };
        if let Some(fault) = fault_of(done) {
            return fault;
        }
    }
}

/// Closes the connection in the moment in which a task finds that it must end. The task's streams are gone by then, and
/// the other side must hear why before it hears that.
async fn watched(conn: Arc<Connection>, task: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
    let result = task.await;
    if let Err(Fault::Close(code, why)) = &result {
        conn.end(Ended::ours(*code, why.clone()));
        conn.quic.close(varint(*code), b"");
    }
    result
}

fn fault_of(done: Result<Result<(), Fault>, JoinError>) -> Option<Fault> {
    match done {
        Ok(Ok(())) => None,
        Ok(Err(fault)) => Some(fault),
        Err(error) if error.is_cancelled() => None,
        Err(error) => {
            tracing::error!(%error, "a task of a connection failed; the connection is closed");
            Some(Fault::stalled("this node made a mistake on this connection"))
        }
    }
}

/// The next stream, once the gate is open. Until then QUIC keeps what came, within its windows.
async fn accept(conn: &Connection) -> (SendStream, RecvStream) {
    let mut gate = conn.gate.subscribe();
    let open = gate.wait_for(|open| *open).await.is_ok();
    match conn.quic.accept_bi().await {
        Ok(streams) if open => streams,
        // The driver hears of the connection's end by itself.
        _ => std::future::pending().await,
    }
}

/// Reads a stream's first frame, which tells what it is.
async fn first_frame(conn: Arc<Connection>, send: SendStream, recv: RecvStream) -> Result<(), Fault> {
    let mut reader = FrameReader::new(recv, conn.limits.frame);
    let first = match reader.next().await {
        Ok(Some(first)) => first,
        Ok(None) | Err(Fault::Reset) => return Ok(()),
        Err(fault) => return Err(fault),
    };
    let id = conn.id;
    match first.0 {
        Frame::Entry(_) | Frame::Checkpoint { .. } => holder::run(conn, send, reader, first).await,
        Frame::Fetch { origin, from, to } => {
            let turn = conn.answers.clone().acquire_owned().await.map_err(|_| Fault::Lost)?;
            let reply = FetchReply::new(send, conn.limits.write, turn);
            conn.report(NetEvent::FetchRequest { conn: id, origin, from, to, reply }).await;
            Ok(())
        }
        Frame::EnclosureRequest { entry, ordinal, offset } => {
            let reply = EnclosureReply::new(conn.clone(), send, offset);
            conn.report(NetEvent::EnclosureRequest { conn: id, entry, ordinal, offset, reply }).await;
            Ok(())
        }
        other => Err(Fault::frame(format!("a stream begins with type {}", other.kind()))),
    }
}
