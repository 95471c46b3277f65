//! What the local interface asks for, one file per family of commands. It orders and asks; the loop decides and the
//! index is only looked things up in. Texts of people are opened here and nowhere else in the daemon.

mod acknowledge;
mod log;
pub(super) mod peers;
pub(super) mod ping;
mod send;
mod show;
mod uploads;

use std::sync::Arc;

use bytes::Bytes;

use super::officers::Officers;
use super::order::{Node, Stopped};
use super::status;
use crate::api::{Backend, Caller, Failure, Reply, Request, code};
use crate::exchange::{Answer, Command, Denied};
use crate::name::{EntryId, NodeName};

pub use acknowledge::DEMO_VARIABLE;
use show::Subjects;
pub(super) use show::{DEFAULT_ROWS as MAX_LISTED, kind_word};
pub use uploads::Incoming;
use uploads::Uploads;

/// The daemon as the local interface sees it.
#[derive(Clone)]
pub struct Front(Arc<Inner>);

pub(super) struct Inner {
    node: Arc<Node>,
    officers: Officers,
    subjects: Arc<Subjects>,
    uploads: Uploads,
}

impl Front {
    pub(super) fn new(node: Arc<Node>, uploads: Uploads) -> Self {
        Self(Arc::new(Inner { node, officers: Officers::default(), subjects: Arc::default(), uploads }))
    }
}

pub(super) use uploads::Uploads as UploadFolder;

impl Backend for Front {
    type Upload = Incoming;

    async fn call(&self, caller: Caller, request: Request) -> Result<Reply, Failure> {
        let inner = &*self.0;
        match request {
            Request::Status => Ok(Reply::Status(Box::new(status::view(&inner.node).await.map_err(stopping)?))),
            Request::Send(send) => inner.send(caller, *send).await,
            Request::Inbox(filter) => inner.list(crate::api::Folder::Inbox, filter).await,
            Request::Outbox(filter) => inner.list(crate::api::Folder::Outbox, filter).await,
            Request::Show { message } => inner.show(caller, message).await,
            Request::Acknowledge(acknowledge) => inner.acknowledge(caller, acknowledge).await,
            Request::Cancel { message } => inner.cancel(caller, message).await,
            Request::Retry { peer } => inner.order("trying again", Command::Retry { peer }).await,
            Request::PeerAdd(add) => inner.peer_add(caller, add).await,
            Request::PeerList => inner.peer_list().await,
            Request::PeerShow { peer } => inner.peer_show(peer).await,
            Request::PeerAct { peer, action, confirmed_by_flag } => {
                inner.peer_act(caller, peer, action, confirmed_by_flag).await
            }
            Request::Ping { peer, id, timeout_ms } => inner.ping(caller, peer, id, timeout_ms).await,
            Request::LogShow(filter) => inner.log_show(filter).await,
            Request::LogVerify => inner.log_verify().await,
            Request::LogRebuild => inner.log_rebuild().await,
            Request::Recover => inner.recover(caller).await,
            Request::Reload => inner.reload(),
        }
    }

    async fn upload(&self, _: Caller, name: String, media_type: String) -> Result<Incoming, Failure> {
        let limit = self.0.node.settings().exchange.enclosure_max;
        self.0.uploads.begin(&self.0.node, name, media_type, limit).await
    }

    async fn enclosure(&self, _: Caller, message: EntryId, ordinal: u32, offset: u64) -> Result<Bytes, Failure> {
        let node = self.0.node.clone();
        blocking("reading an enclosure", move || uploads::read(&node, message, ordinal, offset)).await?
    }
}

impl Inner {
    /// Who speaks, as a number.
    async fn officer(&self, caller: Caller) -> Result<u32, Failure> {
        self.officers.number(&self.node, caller).await.map_err(stopping)
    }

    /// Orders something that is done or denied.
    async fn order(&self, doing: &str, command: Command) -> Result<Reply, Failure> {
        match self.node.command(command).await.map_err(stopping)? {
            Answer::Denied(denied) => Err(refused(doing, &denied)),
            Answer::Done | Answer::Queued { .. } | Answer::Delivered { .. } | Answer::Ended { .. } => Ok(Reply::Done),
        }
    }

    async fn recover(&self, caller: Caller) -> Result<Reply, Failure> {
        let officer = self.officer(caller).await?;
        self.order("recovering from the peers", Command::Recover { officer }).await
    }

    fn reload(&self) -> Result<Reply, Failure> {
        super::reload::reload(&self.node).map(|()| Reply::Done).map_err(|error| {
            let todo = "mend the configuration; the node goes on with the one it has";
            Failure::new("configuration", "reading the configuration again", error.to_string(), todo)
        })
    }
}

/// Lets a thread do what takes long.
async fn blocking<T: Send + 'static>(doing: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|_| {
        Failure::new(code::INTERNAL, doing, "the work broke off", "see the daemon's log, and report it as an error")
    })
}

fn stopping(_: Stopped) -> Failure {
    Failure::new(
        code::BUSY,
        "carrying out the command",
        "the node is stopping",
        "start it again and repeat the command",
    )
}

/// What the core denies, in the words of the interface.
fn refused(doing: &str, denied: &Denied) -> Failure {
    let (word, todo) = match denied {
        Denied::UnknownPeer(_) => (code::UNKNOWN_PEER, ""),
        Denied::PeerInactive(_) => ("peer-inactive", ""),
        Denied::OtherBytes(_) => ("other-bytes", "give the message an id of its own"),
        Denied::InTheLog(_) => ("in-the-log", ""),
        Denied::InDoubt(_) => ("in-doubt", ""),
        Denied::NoSuchItem(_) => (code::UNKNOWN_MESSAGE, ""),
        Denied::TooLarge(_) => (code::TOO_LARGE, "put the detail into an enclosure"),
        Denied::DiskFull => (code::DISK_FULL, ""),
        Denied::Fenced => (code::FENCED, ""),
        Denied::PeerConflict(_) => ("peer-conflict", ""),
        Denied::NothingFrozen(_) => ("nothing-frozen", ""),
        Denied::Exercise => ("exercise", ""),
    };
    Failure::new(word, doing, denied.to_string(), todo)
}

fn unknown_peer(doing: &str, peer: NodeName) -> Failure {
    refused(doing, &Denied::UnknownPeer(peer))
}

/// The node's own damage, as a failure.
fn damaged(doing: &str, error: &dyn std::error::Error) -> Failure {
    let todo = "run `verbale log verify`; if only the index is damaged, `verbale log rebuild` mends it";
    Failure::new(code::INTERNAL, doing, error.to_string(), todo)
}
