//! What the parts of the daemon tell the loop, and what all of them share.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{oneshot, watch};

use super::clock::Clock;
use super::desk::ping::Heard;
use super::heads::HeadsFound;
use super::index::Lookup;
use super::on_message::{OnMessage, Pager};
use super::push::Resolved;
use super::refusals::Refusals;
use super::roster::Roster;
use super::standing::Standing;
use super::upkeep::Upkeep;
use crate::exchange::{Answer, Command, ConnId, Core, Input};
use crate::identity::{Introduction, OwnTls, SharedAnchors};
use crate::journal::{Condition, EnclosureStore, Reader, Vault};
use crate::name::{EntryId, Millis, NodeName};
use crate::settings::Settings;

/// A question about the core's state, answered between two turns of the loop.
pub(super) type Question = Box<dyn FnOnce(&Core) + Send>;

/// What the loop is told.
pub(super) enum Order {
    /// A command, with the caller to answer; a caller that has gone is no error.
    Command(Box<Command>, Option<oneshot::Sender<Answer>>),
    /// A question.
    Ask(Question),
    /// Something that a task has found out for the core.
    Feed(Box<Input>),
    /// The group with this number is durable.
    Durable(u64),
    /// The journal fares otherwise than before.
    Journal(Condition),
    /// The configuration was read again.
    Reload(Arc<Settings>),
    /// A person asks whether a connection lives.
    Probe(ConnId, oneshot::Sender<Heard>),
    /// The time of the probe with this number is over.
    ProbeOver(u64),
    /// A push has been put together.
    Resolved(Resolved),
    /// The task that fetched a peer's files has ended.
    FilesEnded(NodeName, Option<(EntryId, u32)>),
    /// A file that was held is lost or damaged.
    FileLost {
        /// Whose message.
        peer: NodeName,
        /// Which message.
        entry: EntryId,
        /// Which file.
        ordinal: u32,
    },
    /// A file is here, or will not come.
    FileSettled {
        /// Which message.
        entry: EntryId,
        /// Which file.
        ordinal: u32,
    },
    /// Stop in good order.
    Stop,
}

/// What the loop, the tasks and the local interface share. Whoever holds it can ask and order, never decide.
pub(super) struct Node {
    /// Who this is.
    pub(super) me: NodeName,
    /// The node's folder.
    pub(super) folder: PathBuf,
    /// Since when it runs.
    pub(super) started: Millis,
    /// Where it listens.
    pub(super) listening: Vec<SocketAddr>,
    /// The time of the newest record that was there at the start.
    pub(super) newest_at_start: Millis,
    /// The clock.
    pub(super) clock: Clock,
    /// What it says of itself.
    pub(super) introduction: Arc<Introduction>,
    /// What handshakes show.
    pub(super) own_tls: OwnTls,
    /// Until when the own TLS certificate is valid.
    pub(super) certificate_until: Mutex<Millis>,
    /// Reads the journal.
    pub(super) journal: Reader,
    /// Where heads stand in it, for a refill.
    pub(super) heads: Mutex<HeadsFound>,
    /// Up to where the journal is durable: the number that the next record will have.
    pub(super) durable: watch::Sender<u64>,
    /// Opens what is sealed.
    pub(super) vault: Arc<Vault>,
    /// Files of messages.
    pub(super) enclosures: EnclosureStore,
    /// Looks things up.
    pub(super) index: Lookup,
    /// Connections that were refused for their certificate.
    pub(super) refusals: Arc<Refusals>,
    /// Whom it speaks to.
    pub(super) anchors: SharedAnchors,
    /// Peers and officers.
    pub(super) roster: RwLock<Roster>,
    /// The configuration of this moment.
    pub(super) settings: RwLock<Arc<Settings>>,
    /// How things stand.
    pub(super) standing: Mutex<Standing>,
    /// What was found wrong with the journal.
    pub(super) upkeep: Upkeep,
    /// Runs the State's command for new messages.
    pub(super) pager: Pager,
    /// The way to the loop.
    pub(super) orders: UnboundedSender<Order>,
}

/// The loop has ended: nothing is carried out any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping")]
pub(super) struct Stopped;

impl Node {
    /// The configuration of this moment.
    pub(super) fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How things stand. Held for a moment only.
    pub(super) fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the roster.
    pub(super) fn with_roster<T>(&self, read: impl FnOnce(&Roster) -> T) -> T {
        read(&self.roster.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hands a finding to the core.
    pub(super) fn feed(&self, input: Input) {
        let _ = self.orders.send(Order::Feed(Box::new(input)));
    }

    /// Orders, and waits for the answer.
    ///
    /// # Errors
    /// [`Stopped`].
    pub(super) async fn command(&self, command: Command) -> Result<Answer, Stopped> {
        self.order(command)?.await.map_err(|_| Stopped)
    }

    /// Orders something whose answer nobody waits for.
    pub(super) fn command_and_go_on(&self, command: Command) {
        let _ = self.orders.send(Order::Command(Box::new(command), None));
    }

    /// Orders, and returns at once with where the answer will be.
    ///
    /// # Errors
    /// [`Stopped`].
    pub(super) fn order(&self, command: Command) -> Result<oneshot::Receiver<Answer>, Stopped> {
        let (sender, answer) = oneshot::channel();
        self.orders.send(Order::Command(Box::new(command), Some(sender))).map_err(|_| Stopped)?;
        Ok(answer)
    }

    /// Asks whether a connection lives; the answer may never come.
    ///
    /// # Errors
    /// [`Stopped`].
    pub(super) fn probe(&self, conn: ConnId) -> Result<oneshot::Receiver<Heard>, Stopped> {
        let (sender, heard) = oneshot::channel();
        self.orders.send(Order::Probe(conn, sender)).map_err(|_| Stopped)?;
        Ok(heard)
    }

    /// The number of the first record that is not durable.
    pub(super) fn journal_end(&self) -> u64 {
        *self.durable.borrow()
    }

    /// Hears whenever more is durable.
    pub(super) fn journal_news(&self) -> watch::Receiver<u64> {
        self.durable.subscribe()
    }

    /// Until when the own TLS certificate is valid.
    pub(super) fn own_certificate_until(&self) -> Millis {
        *self.certificate_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the anchors anew from the roster; handshakes from now on are judged by them.
    pub(super) fn renew_anchors(&self) {
        let (anchors, left_out) = self.with_roster(|roster| roster.anchors(self.me, self.introduction.clone()));
        for peer in &left_out {
            tracing::warn!(peer, "an introduction is left out");
        }
        self.anchors.replace(anchors);
        self.standing().left_out = left_out;
    }

    /// Puts a new configuration in force.
    pub(super) fn replace_settings(&self, settings: Arc<Settings>) {
        self.pager.configured(OnMessage::of(&settings));
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Asks the core.
    ///
    /// # Errors
    /// [`Stopped`].
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (sender, answer) = oneshot::channel();
        let ask: Question = Box::new(move |core| {
            let _ = sender.send(question(core));
        });
        self.orders.send(Order::Ask(ask)).map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}
