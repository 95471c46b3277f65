//! Commands and answers as JSON.

use serde::{Deserialize, Serialize};

use super::view::{LogRow, MessageRow, MessageView, PeerView, PingView, StatusView, VerifyView};
use crate::name::{CaseId, Desk, EntryId, Kind, Millis, NodeName, Pap, Precedence, Tlp};
use crate::wire::ReplyExpected;

/// How far `send` waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitFor {
    /// Until it is durably queued.
    #[default]
    Queued,
    /// Until the peer's receipt is durable here.
    Receipt,
    /// Until the peer holds every enclosure.
    Held,
    /// Until a person at the peer's desk has acknowledged it.
    Ack,
}

/// A recipient with the id of its own entry, chosen by the command so that repeating it is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendTo {
    /// To whom.
    pub peer: NodeName,
    /// 16 random bytes.
    pub id: EntryId,
    /// The id was made for this very command and given to no daemon before. Whoever repeats a command leaves it out; then
    /// the daemon looks first whether the id stands in a log already, however old, and what it says there.
    #[serde(default)]
    pub fresh: bool,
}

/// A file that was uploaded before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnclosureToken {
    /// Names the upload.
    pub token: String,
    /// As given at upload.
    pub name: String,
    /// As given at upload.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// A message to be sent: one bilateral entry per recipient; they do not name each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// To whom.
    pub to: Vec<SendTo>,
    /// What it is.
    pub kind: Kind,
    /// BCP 47 tag of the text; empty where not said.
    pub language: String,
    /// One line.
    pub subject: String,
    /// The text.
    pub text: String,
    /// How fast to handle it.
    pub precedence: Precedence,
    /// The line that IMMEDIATE and FLASH need.
    pub justification: String,
    /// The handling label.
    pub tlp: Tlp,
    /// The permissible actions.
    pub pap: Pap,
    /// National marking.
    pub marking: String,
    /// Drill traffic.
    pub exercise: bool,
    /// The desk that writes; default: the node's own, or technical.
    pub from_desk: Option<Desk>,
    /// The desk written to; default: the same desk.
    pub to_desk: Option<Desk>,
    /// When it leaves the queue unsent.
    pub expires: Option<Millis>,
    /// The case: an existing one; none starts none.
    pub case: Option<CaseId>,
    /// Start a new case.
    pub new_case: bool,
    /// The message answered.
    pub in_reply_to: Option<EntryId>,
    /// Whether an answer is expected.
    pub reply_expected: ReplyExpected,
    /// Own reference number.
    pub own_reference: String,
    /// Uploaded files, in order.
    pub enclosures: Vec<EnclosureToken>,
    /// How far to wait.
    pub wait: WaitFor,
    /// The confirmation was given by `--yes` and not by a person who typed the code: journalled.
    pub confirmed_by_flag: bool,
}

/// An acknowledgement by a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// The message acknowledged.
    pub message: EntryId,
    /// The id of the acknowledgement's own entry, chosen by the command.
    pub id: EntryId,
    /// Whether the command ran on a terminal where a person confirmed it.
    pub on_terminal: bool,
    /// `demo` plays the officer and says so.
    pub demo: bool,
}

/// A peer to be accepted, after the ceremony.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerAdd {
    /// The introduction file's text.
    pub introduction: String,
    /// The fingerprint as it was read over another channel.
    pub fingerprint: String,
    /// Who read it to whom.
    pub read_by: String,
    /// By what means.
    pub channel: String,
}

/// What to do with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerAction {
    /// No connection, no entry, until resumed.
    Suspend,
    /// End of suspension.
    Resume,
    /// No longer a correspondent; its logs are kept.
    Remove,
    /// Agree to go on after a freeze.
    Reopen,
}

/// Which rows are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogFilter {
    /// Only with this peer.
    pub peer: Option<NodeName>,
    /// Only of this case.
    pub case: Option<CaseId>,
    /// Only of this kind.
    pub kind: Option<Kind>,
    /// Not before.
    pub from: Option<Millis>,
    /// Before.
    pub to: Option<Millis>,
    /// At most this many rows, newest first (0: 1,000).
    pub limit: u32,
    /// Inbox: only what is not acknowledged yet.
    pub unacknowledged: bool,
    /// Also entries of machine kinds; in inbox and outbox also acknowledgements.
    pub machine: bool,
    /// Only what stands in records before this one: the next page.
    pub before: Option<u64>,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// What is up, what is wrong, what to do.
    Status,
    /// Send a message.
    Send(Box<Send>),
    /// Messages received.
    Inbox(LogFilter),
    /// Messages sent and waiting.
    Outbox(LogFilter),
    /// One message with its text; journals that it was read. Nothing goes to the peer.
    Show {
        /// Which.
        message: EntryId,
    },
    /// A person acknowledges a message.
    Acknowledge(Acknowledge),
    /// Take a message out of the queue.
    Cancel {
        /// Which.
        message: EntryId,
    },
    /// Forget the back-off towards a peer.
    Retry {
        /// Which peer.
        peer: NodeName,
    },
    /// Accept a peer.
    PeerAdd(PeerAdd),
    /// All peers, in the order of their names.
    PeerList,
    /// One peer.
    PeerShow {
        /// Which.
        peer: NodeName,
    },
    /// Suspend, resume, remove, reopen.
    PeerAct {
        /// Which.
        peer: NodeName,
        /// What.
        action: PeerAction,
        /// The confirmation was given by `--yes` and not by a person who typed the code: journalled.
        #[serde(default)]
        confirmed_by_flag: bool,
    },
    /// Test the path and the service, the real way.
    Ping {
        /// Which peer.
        peer: NodeName,
        /// The id of the PING entry, chosen by the command.
        id: EntryId,
        /// At most this long.
        timeout_ms: u64,
    },
    /// Rows of the logs.
    LogShow(LogFilter),
    /// Verify everything, sled included.
    LogVerify,
    /// Rebuild sled from the journal.
    LogRebuild,
    /// Doubt the own memory, fetch everything from the peers, open new volumes.
    Recover,
    /// Read peers, limits and log level from the configuration again.
    Reload,
}

/// What became of a message for one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// To whom.
    pub peer: NodeName,
    /// The entry.
    pub id: EntryId,
    /// Queued, delivered, held, acknowledged, expired, cancelled, refused.
    pub state: super::view::MessageState,
    /// The receipt's time by the peer's clock, where there is one.
    pub receipt_time: Option<Millis>,
    /// The case that it belongs to.
    pub case: Option<CaseId>,
    /// Why the other node does not take the files; empty where it did not refuse them. They will not come by waiting.
    #[serde(default)]
    pub files_refused: String,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", content = "value", rename_all = "kebab-case")]
pub enum Reply {
    /// Done.
    Done,
    /// To `Status`.
    Status(Box<StatusView>),
    /// To `Send` and `Acknowledge`.
    Sent(Vec<Sent>),
    /// To `Inbox` and `Outbox`.
    Messages(Vec<MessageRow>),
    /// To `Show`.
    Message(Box<MessageView>),
    /// To `PeerList`, `PeerShow`, `PeerAdd`.
    Peers(Vec<PeerView>),
    /// To `Ping`.
    Ping(Box<PingView>),
    /// To `LogShow`.
    Log(Vec<LogRow>),
    /// To `LogVerify` and `LogRebuild`.
    Verified(Box<VerifyView>),
}
