//! What is known of a peer in this run only: connections, positions, timers.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::room::NotNows;
use crate::exchange::io::{ConnId, Dialler, Shown};
use crate::merkle::{CompactRange, Growth};
use crate::name::{BootNonce, EntryId, Hash, Millis, Origin, RefusalCode, Volume};
use crate::wire::{HeadRef, Hello};

/// A connection with a peer.
#[derive(Debug)]
pub(super) struct Conn {
    pub dialler: Dialler,
    /// This node judged so, or the peer said so: HELLO and TRUST only, messages wait.
    pub restricted: bool,
    pub hello: Option<Hello>,
    /// The own HELLO was sent over it.
    pub said_hello: bool,
    /// The older connection is being probed before this one replaces it.
    pub waits_for_probe: bool,
}

/// How far the holder is, as it last said and this node could confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub volume: Volume,
    pub size: u64,
    pub root: Hash,
}

/// What the author's side is doing with this peer.
#[derive(Debug, Default)]
pub(super) enum Step {
    /// No Hellos compared.
    #[default]
    Down,
    /// The holder's copy agrees with the own log up to `Session::held`: append and push.
    Ready,
    /// Waits for what the own tree was at the holder's size.
    AwaitPrefix { held: Held, theirs: Bytes },
    /// Sends older entries; the tree stands at what has been sent.
    Refill(Refill),
    /// Gets own entries back.
    Fetch(Fetch),
    /// Waits for people, or for nothing: see `status`.
    Stopped,
}

#[derive(Debug)]
pub(super) struct Refill {
    pub volume: Volume,
    pub range: CompactRange,
    pub target: u64,
    /// Entries or a tree are being read; otherwise a piece waits for its receipt.
    pub busy: bool,
}

/// A head that the peer signed for its own log.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    pub origin: Origin,
    pub size: u64,
    pub root: Hash,
    pub note: Bytes,
}

/// The holder's branch, looked at from its first leaf on to see whether it continues the own signed head. Nothing of it
/// is recorded.
#[derive(Debug)]
pub(super) struct Proving {
    pub range: CompactRange,
    /// The newest own head: size and root.
    pub own: (u64, Hash),
    /// The branch from that size on.
    pub growth: Option<Growth>,
}

impl Proving {
    pub fn push(&mut self, leaf_hash: Hash) {
        if self.range.size() == self.own.0 {
            self.growth = Some(Growth::of(self.range.clone()));
        }
        self.range.push(leaf_hash);
        if let Some(growth) = &mut self.growth {
            growth.push(leaf_hash);
        }
    }
}

#[derive(Debug)]
pub(super) struct Fetch {
    pub origin: Origin,
    /// The next index wanted.
    pub next: u64,
    /// Where it started.
    pub start: u64,
    /// The head that the entries must hash to.
    pub goal: HeadRef,
    /// Fetched entries are still missing in these newer volumes' history: go on with them afterwards.
    pub then: Option<Held>,
    /// Only looked at.
    pub proving: Option<Box<Proving>>,
}

/// A head on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outstanding {
    pub size: u64,
    pub bytes: u64,
    pub at: Millis,
    /// More waited than the window let through.
    pub limited: bool,
}

/// A peer in this run.
#[derive(Debug, Default)]
pub(super) struct Session {
    // Connecting.
    pub conns: BTreeMap<ConnId, Conn>,
    pub chosen: Option<ConnId>,
    pub dialling: bool,
    pub dial_at: Option<Millis>,
    /// The peer knows another instance of this node: it is not dialled before this.
    pub dial_not_before: Option<Millis>,
    pub failures: u32,
    /// Words of the peer that could not be, since its last receipt or push that was taken.
    pub peer_faults: u32,
    pub last_boot: Option<BootNonce>,
    pub last_heard: Option<Millis>,
    pub clock_offset_ms: Option<i64>,

    // The author's side.
    pub step: Step,
    pub held: Option<Held>,
    /// The size up to which the volume after `held` (or held itself) has been pushed in this session.
    pub pushed: u64,
    pub outstanding: VecDeque<Outstanding>,
    pub window: u64,
    pub rate: Option<u64>,
    /// More waits than the window lets through.
    pub limited: bool,
    pub not_now_until: Option<Millis>,
    /// The chosen connection owes an answer: nothing is appended until it comes.
    pub silent: bool,
    /// That pause is about a quota, which IMMEDIATE and FLASH may pass.
    pub quota_pause: bool,
    /// A head with every line of both algorithms was signed in this session and volume.
    pub full_signed: bool,
    /// … and the holder gave its receipt for it.
    pub full_receipted: bool,
    /// When another one is due for entries that none covers yet; then `full_due` says so.
    pub full_at: Option<Millis>,
    pub full_due: bool,
    /// A new volume must be opened, whatever the fold says: the holder has more than the own next volume names.
    pub must_open: bool,
    /// Faults and SHOWS since the last receipt.
    pub setbacks: u32,
    /// UTC day, and how many volumes were left on it for a FAULT of the peer.
    pub left: (u64, u32),
    /// Pauses since the last receipt, each twice as long as the one before.
    pub pauses: u32,
    pub rereading: bool,
    /// The holder's newest head has its receipt. It gives none over bodies that are missing.
    pub receipted: bool,

    // The holder's side.
    /// Entries stored without a receipt, to be shown with the first one.
    pub unshown: Vec<Shown>,
    /// Files of such entries that are not accepted.
    pub unended: Vec<(EntryId, u32, RefusalCode)>,
    pub full_seen: bool,
    /// Heads that the peer signed for its log over more than is held; kept over connections, in this run only.
    pub beyond: VecDeque<Signed>,
    /// A head over less than is held, whose root the journal was asked for.
    pub asked: Option<Signed>,
    pub pings: (u64, u32),
    /// What was said and heard of "not now", as the journal has it.
    pub not_nows: NotNows,
}

impl Session {
    pub fn is_up(&self) -> bool {
        !matches!(self.step, Step::Down)
    }

    /// The chosen connection, once both Hellos over it are compared.
    pub fn up(&self) -> Option<ConnId> {
        if self.is_up() { self.chosen } else { None }
    }

    /// Forgets what belonged to a connection that is gone.
    pub fn reset(&mut self) {
        self.chosen = None;
        self.step = Step::Down;
        self.held = None;
        self.pushed = 0;
        self.outstanding.clear();
        self.not_now_until = None;
        self.silent = false;
        self.full_receipted = false;
        self.full_signed = false;
        self.full_at = None;
        self.full_due = false;
        self.full_seen = false;
        self.must_open = false;
        self.receipted = false;
        self.setbacks = 0;
        self.asked = None;
    }

    /// Forgets heads that are on their way: the holder may not have them, nor what was full among them.
    pub fn drop_outstanding(&mut self) {
        self.outstanding.clear();
        self.full_signed = self.full_receipted;
    }

    /// The clock was set back: what is due at some time is due now at the latest, and nothing is held back any more.
    pub fn forget_times(&mut self, now: Millis) {
        self.not_now_until = None;
        self.dial_not_before = None;
        self.dial_at = self.dial_at.map(|at| at.min(now));
        self.full_at = self.full_at.map(|at| at.min(now));
        for head in &mut self.outstanding {
            head.at = head.at.min(now);
        }
    }

    /// Whether another connection than the chosen one has had our HELLO and is not decided yet.
    pub fn newer_undecided(&self) -> bool {
        self.conns.keys().any(|conn| Some(*conn) != self.chosen)
    }
}
