//! Starts every part of the daemon, and ends them in order.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::{oneshot, watch};

use super::clock::Clock;
use super::desk::Front;
use super::env::NodeEnv;
use super::index::Lookup;
use super::links::Links;
use super::notify::{ServiceManager, Signals, Wish};
use super::on_message::{Metadata, OnMessage, Pager};
use super::order::{Node, Order};
use super::refusals::Refusals;
use super::snapshot::Snapshots;
use super::standing::Standing;
use super::turn::{Parts, Turn};
use super::upkeep::Upkeep;
use super::{logging, reload, start, upkeep};
use crate::api::{Folder, LogFilter, SOCKET_NAME, Socket, SocketError};
use crate::exchange::{Command, Core, KEYS_SUBJECT, keys_note};
use crate::identity::{Anchors, FolderError, OwnTls, SharedAnchors, SigningKeys, TlsError, TlsSettings};
use crate::journal::{LockError, OpenError, VaultError, WrappingKeyError};
use crate::name::{BootNonce, JournalId, NodeName, Precedence};
use crate::net::{BindError, Limits};
use crate::note::PublicKeys;
use crate::settings::Settings;
use crate::store::{Index, StoreError};

/// Why the daemon did not start, or ended. Each says what is affected and what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another process holds the folder.
    #[error("{0}; a node's folder has one daemon")]
    Locked(#[from] LockError),
    /// Keys, certificates or the introduction cannot be used.
    #[error(transparent)]
    Identity(#[from] FolderError),
    /// The own certificate cannot be used for TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The folder belongs to another node.
    #[error(
        "verbale.toml names {configured}, but this folder belongs to {keys}; nothing was started. Set `node.state` and \
         `node.desk` to {keys}, or use the folder of {configured}"
    )]
    OtherNode {
        /// The node of the configuration.
        configured: NodeName,
        /// The node of the keys or of the journal.
        keys: NodeName,
    },
    /// The file system never overwrites.
    #[error(
        "{} lies on {name}, which writes changed blocks elsewhere: the key of an erased text could live on there. Use \
         another file system, or set `journal.allow_copy_on_write = true` if that is acceptable", .folder.display()
    )]
    CopyOnWrite {
        /// The folder.
        folder: PathBuf,
        /// The kind of file system.
        name: &'static str,
    },
    /// The journal is gone although a node has run here.
    #[error(
        "{} is missing, but {} shows that a node has run here; it does not start empty. Put the journal back, or recover \
         from the peers into a new folder", .journal.display(), .left.display()
    )]
    NoJournal {
        /// Where the journal should be.
        journal: PathBuf,
        /// What shows that there was one.
        left: PathBuf,
    },
    /// The journal cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The journal is damaged after the last snapshot.
    #[error(
        "the journal in {} is damaged where the node's state depends on it: {what}. Nothing was started or changed. Keep \
         a copy of the folder; put the damaged file back from a backup or an archive", .folder.display()
    )]
    Damaged {
        /// The node's folder.
        folder: PathBuf,
        /// What is damaged.
        what: String,
    },
    /// The end of the journal was durable once and is lost.
    #[error(
        "the end of the journal in {} is lost: {what}. Nothing was started or changed. Put the file back as it was, from a \
         backup or an archive. Only where there is no copy of it, a person can decide to go on without these records: `verbale \
         run --accept-loss` sets aside what is left of them, records the decision, and has the node ask its peers for what \
         it has said to them; a message that stood in these records only, queued and not yet sent, is lost then",
        .folder.display()
    )]
    EndLost {
        /// The node's folder.
        folder: PathBuf,
        /// What is lost, with its place.
        what: String,
    },
    /// A loss was accepted, and nothing is lost.
    #[error(
        "`--accept-loss` was given, but nothing is lost at the end of the journal in {}; nothing was started. Run it \
         without", .folder.display()
    )]
    NothingLost {
        /// The node's folder.
        folder: PathBuf,
    },
    /// The key under which the slots are wrapped.
    #[error(transparent)]
    WrappingKey(#[from] WrappingKeyError),
    /// The key slots.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The index.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The local socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The operating system refused something.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// The system has no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The journal failed while the node ran.
    #[error(
        "the journal failed: {0}. What is on the disk is not known any more, so the process ends; nothing that was \
         acknowledged is lost. Look at the disk, then start the node again: it reads the journal anew"
    )]
    Journal(String),
    /// Core and journal count differently, which is an error in this program.
    #[error("the journal gave number {journal} to a record that the core counts as {core}; please report this")]
    Numbers {
        /// The journal's number.
        journal: u64,
        /// The core's number.
        core: u64,
    },
}

impl RunError {
    /// The exit status of the process: 2 for what a person must mend before a start, 3 where the disk failed meanwhile.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Journal(_) | Self::Numbers { .. } => 3,
            _ => 2,
        }
    }
}

/// Runs the daemon of a folder until it is told to stop by SIGTERM or SIGINT.
///
/// Must be called on a current-thread tokio runtime with I/O and time enabled; it starts to write log lines where the
/// process does not yet.
///
/// # Errors
/// See [`RunError`].
pub async fn run(folder: PathBuf, settings: Settings) -> Result<(), RunError> {
    run_with(folder, settings, |_| std::future::pending()).await
}

/// As [`run`], where a person has decided to go on although the end of the journal is lost: it is set aside, the
/// decision is recorded, and the node asks its peers for what it has said to them.
///
/// # Errors
/// See [`RunError`]; [`RunError::NothingLost`] where there is nothing to decide.
pub async fn run_accepting_loss(folder: PathBuf, settings: Settings) -> Result<(), RunError> {
    run_until(folder, settings, true, |_| std::future::pending()).await
}

/// As [`run`], with work inside the daemon's process: `inside` is given what the local interface is given, and the
/// daemon stops in good order when it ends. Measurements send this way, without the socket and its JSON.
///
/// # Errors
/// See [`RunError`].
pub async fn run_with<F: Future<Output = ()>>(
    folder: PathBuf,
    settings: Settings,
    inside: impl FnOnce(Front) -> F,
) -> Result<(), RunError> {
    run_until(folder, settings, false, inside).await
}

async fn run_until<F: Future<Output = ()>>(
    folder: PathBuf,
    settings: Settings,
    accept_loss: bool,
    inside: impl FnOnce(Front) -> F,
) -> Result<(), RunError> {
    logging::start(settings.log);
    let signals = Signals::listen().map_err(|error| RunError::Io { path: folder.clone(), error })?;
    let clock = Clock;
    let (orders, orders_received) = unbounded_channel();
    let ground = start::read(&folder, &settings, &orders, accept_loss)?;
    let (anchors, own, introduction) = trust(&ground)?;
    let refusals = Refusals::new(orders.clone(), clock);
    let tls = TlsSettings {
        anchors: anchors.clone(),
        own: own.clone(),
        log: refusals.clone(),
        post_quantum: settings.pq,
        clock: Arc::new(clock),
    };
    let limits = Limits { push_window: settings.exchange.window, ..Limits::default() };
    let (net, events) = crate::net::bind(&settings.listen, tls, limits)?;
    let listening = net.local_addresses();
    let socket = bind_socket(&folder, &settings)?;
    let index = start_index(&folder, &ground)?;
    let certificate_until = Mutex::new(ground.keys.tls.leaf().not_after);
    let settings = Arc::new(settings);
    let node = Arc::new(Node {
        me: settings.node,
        folder: folder.clone(),
        started: clock.now(),
        listening,
        newest_at_start: ground.newest,
        clock,
        introduction,
        own_tls: own,
        certificate_until,
        journal: ground.journal.reader(),
        heads: Mutex::default(),
        durable: watch::Sender::new(ground.journal.tail().next_record),
        vault: ground.vault.clone(),
        enclosures: ground.enclosures.clone(),
        index,
        refusals,
        anchors,
        roster: RwLock::new(ground.roster),
        settings: RwLock::new(settings.clone()),
        standing: Mutex::new(Standing { damages: ground.damages, ..Standing::default() }),
        upkeep: Upkeep::default(),
        pager: Pager::start(folder, OnMessage::of(&settings)),
        orders,
    });
    node.renew_anchors();
    let boot = BootNonce(random()?);
    let journal = JournalId(ground.journal_id);
    let version = env!("CARGO_PKG_VERSION");
    let exchange = settings.exchange.clone();
    let core = Core::new(node.me, ground.fold, exchange, boot, journal, ground.doubt, version, clock.now());
    note_keys(&node, &ground.keys.signing);
    let turn = Turn::new(Parts {
        node: node.clone(),
        core,
        env: NodeEnv::new(ground.keys.signing, ground.vault, node.orders.clone()),
        journal: ground.journal,
        links: Links::new(net, events, boot),
        snapshots: Snapshots::new(ground.snapshots, ground.journal_id, ground.replayed),
        orders: orders_received,
        sentinel: ground.sentinel_due.then_some(ground.journal_id),
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let front = Front::new(node.clone(), ground.uploads);
    let served = tokio::spawn(crate::api::serve(socket, front.clone(), async {
        let _ = stopped.await;
    }));
    let manager = ServiceManager::from_environment();
    let listening = listens(&node);
    tracing::info!(node = %node.me, listening, records = node.journal_end(), "the node serves");
    manager.ready(&format!("{} listens on {listening}", node.me));
    tokio::spawn(remind(node.clone()));
    let upkeep = tokio::spawn(upkeep::run(node.clone()));
    let wishes = tokio::spawn(hear_wishes(node.clone(), signals, manager, listening));
    let ended = beside(turn, inside(front), &node).await;
    wishes.abort();
    upkeep.abort();
    node.upkeep.stop();
    // Whoever still waits for an answer learns that there is none when the loop's end of the channel is gone.
    drop(stop);
    let _ = tokio::time::timeout(SERVED_LIMIT, served).await;
    match &ended {
        Ok(()) => tracing::info!("the node has stopped in order"),
        Err(error) => tracing::error!(%error, "the node ends"),
    }
    ended
}

/// Has the journal say with which keys this node signs from now on, where that is new: who verifies it years later finds
/// there also the keys that have been replaced since.
fn note_keys(node: &Node, signing: &SigningKeys) {
    let public = signing.public();
    let keys = PublicKeys::from_parts(&public.ed25519, public.ml_dsa_44.as_slice());
    let text = keys_note(&keys.expect("keys that were loaded have the lengths of their algorithms"));
    if !node.with_roster(|roster| roster.has_noted_keys(&text)) {
        node.command_and_go_on(Command::Note { subject: KEYS_SUBJECT.into(), peer: None, text, officer: 0 });
    }
}

/// Runs the loop; it is told to stop when the work beside it ends.
async fn beside(turn: Turn, inside: impl Future<Output = ()>, node: &Node) -> Result<(), RunError> {
    let mut turn = std::pin::pin!(turn.run());
    tokio::select! {
        ended = &mut turn => return ended,
        () = inside => {}
    }
    let _ = node.orders.send(Order::Stop);
    turn.await
}

/// How long a stop waits for commands under way to have their answers.
const SERVED_LIMIT: std::time::Duration = std::time::Duration::from_secs(2);

fn trust(ground: &start::Ground) -> Result<(SharedAnchors, OwnTls, Arc<crate::identity::Introduction>), RunError> {
    let introduction = Arc::new(ground.keys.introduction.clone());
    let anchors = SharedAnchors::new(Anchors::with_own(ground.keys.node(), introduction.clone()));
    Ok((anchors, OwnTls::new(&ground.keys.tls)?, introduction))
}

fn start_index(folder: &Path, ground: &start::Ground) -> Result<Lookup, RunError> {
    let path = folder.join(start::STORE);
    let reader = ground.journal.reader();
    let (store, report) = &ground.store;
    if let Some(rebuild) = report.rebuild.as_ref().filter(|_| ground.journal.tail().next_record > 0) {
        tracing::warn!(reason = rebuild.reason, "the index is built anew from the journal");
    }
    let index = Index::start(store.clone(), reader.clone(), ground.journal.tail().next_record)
        .map_err(|error| RunError::Io { path, error })?;
    Ok(Lookup::new(store.clone(), index, reader))
}

fn bind_socket(folder: &Path, settings: &Settings) -> Result<Socket, RunError> {
    let path = settings.socket.path.clone().unwrap_or_else(|| folder.join(SOCKET_NAME));
    Ok(Socket::bind(&path, settings.socket.group.as_deref())?)
}

fn listens(node: &Node) -> String {
    node.listening.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn random() -> Result<[u8; 16], RunError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| RunError::Random)?;
    Ok(bytes)
}

async fn hear_wishes(node: Arc<Node>, mut signals: Signals, manager: ServiceManager, listening: String) {
    loop {
        match signals.next().await {
            Wish::Stop => {
                manager.stopping();
                if node.orders.send(Order::Stop).is_err() {
                    return;
                }
            }
            Wish::Reload => {
                manager.reloading();
                if let Err(error) = reload::reload(&node) {
                    tracing::error!(%error, "the configuration was not read again; the node goes on with the one it has");
                }
                manager.ready(&format!("{} listens on {listening}", node.me));
            }
        }
    }
}

/// Urgent messages that came before this start and that nobody has acknowledged.
async fn remind(node: Arc<Node>) {
    node.index.caught_up(node.journal_end()).await;
    let filter = LogFilter { unacknowledged: true, limit: super::desk::MAX_LISTED, ..LogFilter::default() };
    let asked = node.clone();
    let found = tokio::task::spawn_blocking(move || asked.index.messages(Folder::Inbox, &filter)).await;
    let Ok(Ok(messages)) = found else { return };
    for message in messages.into_iter().filter(|message| message.precedence >= Precedence::Immediate) {
        if let Some(metadata) = Metadata::of_message(&message) {
            node.pager.reminded(metadata);
        }
    }
}
