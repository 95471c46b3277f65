//! The core: inputs in, decisions out.
//!
//! Top-down: [`Core::handle`] sorts inputs to the files of this folder (`connect`: connections and Hellos; `compare`:
//! what a Hello means for each direction; `contradiction`: two histories; `compose`: append, sign, push; `receipts`: what
//! comes back; `refill` and `fetch`: the slow ways; `hold`: the peer's pushes; `command`: people). Decisions become journal records, applied to
//! the fold at once; what may leave because of them waits in the gate until their group is durable.

mod command;
mod compare;
mod compose;
mod connect;
mod contradiction;
mod fetch;
mod hold;
mod live;
mod note_text;
mod policy;
mod receipts;
mod refill;
mod report;
mod room;
mod session;
mod timers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::env::Env;
use super::fold::{Author, Fold, Peer, PeerStatus};
use super::gate::Gate;
use super::io::{Action, ConnId, Effect, Group, Input, Notice, Settings, Token};
use super::mutant::{self, Mutant};
use super::record::{Act, Doubt, Record, Stowed};
use crate::name::{BootNonce, EntryId, JournalId, Millis, NodeName, Origin};
use crate::note::PublicKeys;

use live::Live;
use session::Session;

pub use report::{ConnectionState, PeerReport};
pub use room::{ANSWERS_WAITING, QUOTA_RESERVE_PART, WANTED_FILES, WANTED_FILES_URGENT};

/// How long a record that nobody waits for may ride before it is written by itself.
const RIDE: std::time::Duration = std::time::Duration::from_millis(50);

/// Bytes of records that one group should not exceed by much: a frame of the journal holds twice that.
const GROUP_BYTES: usize = 2 << 20;

/// The core of a node.
#[derive(Debug)]
pub struct Core {
    me: NodeName,
    settings: Settings,
    boot: BootNonce,
    /// What this node signs with; known from the first input on.
    keys: Option<PublicKeys>,
    fold: Fold,
    pending: Vec<Record>,
    urgent: bool,
    ride_at: Option<Millis>,
    /// Number of the newest group handed out, and of the newest durable one.
    written: u64,
    durable: u64,
    /// Records handed out.
    handed: u64,
    /// The newest time seen, to notice a clock that was set back.
    newest: Millis,
    disk_full: bool,
    gate: Gate<Effect>,
    actions: VecDeque<Action>,
    sessions: BTreeMap<NodeName, Session>,
    conns: BTreeMap<ConnId, NodeName>,
    dirty: BTreeSet<NodeName>,
    expiries: BTreeSet<(Millis, NodeName, EntryId)>,
    waits: BTreeMap<EntryId, Vec<Token>>,
    /// Trees at smaller sizes that the journal could not give before everything was durable: origin, size, larger size.
    unanswered: Vec<(Origin, u64, u64)>,
    live: Live,
}

impl Core {
    /// Starts the core on what the journal said. Records the start (and the journal's opening, if it is empty).
    #[allow(clippy::too_many_arguments, reason = "each is a fact of this start and has no other home")]
    pub fn new(
        me: NodeName,
        fold: Fold,
        settings: Settings,
        boot: BootNonce,
        journal: JournalId,
        doubt: Option<Doubt>,
        version: &str,
        now: Millis,
    ) -> Self {
        let mut core = Self {
            me,
            settings,
            boot,
            keys: None,
            pending: Vec::new(),
            urgent: false,
            ride_at: None,
            written: 0,
            durable: 0,
            handed: fold.next_record(),
            fold,
            newest: now,
            disk_full: false,
            gate: Gate::new(),
            actions: VecDeque::new(),
            sessions: BTreeMap::new(),
            conns: BTreeMap::new(),
            dirty: BTreeSet::new(),
            expiries: BTreeSet::new(),
            waits: BTreeMap::new(),
            unanswered: Vec::new(),
            live: Live::default(),
        };
        if core.fold.next_record() == 0 {
            core.put(now, Act::Opened { journal, node: me });
        }
        core.put(now, Act::Started { boot, doubt, version: version.into() });
        let peers: Vec<NodeName> = core.fold.peers.keys().copied().collect();
        for peer in peers {
            core.session(peer).dial_at = Some(now);
        }
        if mutant::active(Mutant::AppendTwiceAfterCrash) {
            core.fold.peers.values_mut().for_each(|peer| peer.own.queue_unreceipted_again());
        }
        core.expiries = core.fold.peers.iter().flat_map(|(name, peer)| expiries_of(*name, peer)).collect();
        core
    }

    /// The state as the records tell it, those that are not durable yet included.
    pub fn fold(&self) -> &Fold {
        &self.fold
    }

    /// Takes in what happened. Drain [`Core::poll_action`] afterwards.
    pub fn handle(&mut self, now: Millis, env: &mut dyn Env, input: Input) {
        self.look_at_clock(now);
        if self.keys.is_none() {
            self.keys = PublicKeys::of(env.signer()).ok();
        }
        match input {
            Input::Settings(settings) => self.settings = settings,
            Input::Command(command, token) => self.command(now, env, command, token),
            Input::Durable { group } => self.group_durable(group),
            Input::DiskFull => self.disk_full = true,
            Input::DiskOk => self.disk_full = false,
            Input::Connected { conn, peer, dialler, restricted } => {
                self.connected(now, conn, peer, dialler, restricted);
            }
            Input::DialFailed { peer } => self.dial_failed(now, env, peer),
            Input::Closed { conn } => self.closed(now, env, conn),
            Input::Silent { conn, silent } => self.silent(conn, silent),
            Input::Hello { conn, hello } => self.hello(now, env, conn, *hello),
            Input::Probed { conn, boot } => self.probed(now, env, conn, boot),
            Input::NotNow { conn, reason, retry_after } => {
                self.not_now(now, env, conn, reason, retry_after);
            }
            Input::Pushed { conn, pushed } => self.pushed(now, env, conn, pushed),
            Input::Cosigned { conn, origin, size, lines, window } => {
                self.cosigned(now, env, conn, origin, size, &lines, window);
            }
            Input::Shows { conn, state } => self.shows(now, env, conn, &state),
            Input::Fault { conn, code, origin, index, proof } => {
                self.fault(now, env, conn, code, origin, index, &proof);
            }
            Input::Fetched { conn, origin, from, result } => self.fetched(now, env, conn, origin, from, result),
            Input::Range { origin, size, range } => self.range(origin, size, range),
            Input::Prefix { origin, size, upto, growth } => self.prefix(now, origin, size, upto, growth),
            Input::Loaded { origin, from, entries, heads } => self.loaded(now, env, origin, from, entries, &heads),
            Input::Reread { record } => self.reread(now, *record),
            Input::BodyLost { origin, index } => self.body_lost(now, env, origin, index),
            Input::BodyKept { origin, index } => self.body_kept(origin, index),
            Input::EnclosureHeld { peer, entry, ordinal, slot } => {
                self.enclosure_held(now, env, peer, entry, ordinal, slot);
            }
            Input::EnclosureEnded { peer, entry, ordinal, code } => {
                self.enclosure_ended(now, env, peer, entry, ordinal, code);
            }
        }
    }

    /// The next thing to do; `None`: wait for the next input or timeout.
    pub fn poll_action(&mut self, now: Millis, env: &mut dyn Env) -> Option<Action> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Some(action);
            }
            if let Some(effect) = self.gate.release() {
                return Some(Action::Release(effect));
            }
            if self.written != self.durable {
                return None;
            }
            self.compose(now, env);
            if !self.actions.is_empty() {
                continue;
            }
            let due = self.urgent || self.ride_at.is_some_and(|at| at <= now);
            if self.pending.is_empty() || !due {
                return None;
            }
            return Some(Action::Write(self.next_group()));
        }
    }

    /// Everything that waits, up to [`GROUP_BYTES`]; what was decided in one step stays in one group.
    fn next_group(&mut self) -> Group {
        let mut bytes = 0;
        let cut = self.pending.iter().position(|record| {
            bytes += weight(record);
            bytes > GROUP_BYTES && stands_alone(&record.act)
        });
        let rest = self.pending.split_off(cut.unwrap_or(self.pending.len()).max(1));
        let records = std::mem::replace(&mut self.pending, rest);
        let first = self.handed;
        self.handed += records.len() as u64;
        self.written += 1;
        if self.pending.is_empty() {
            self.urgent = false;
            self.ride_at = None;
        }
        Group { number: self.written, first, records }
    }

    fn group_durable(&mut self, group: u64) {
        if group == self.written {
            self.durable = group;
            self.gate.durable(self.handed);
            let again = std::mem::take(&mut self.unanswered).into_iter();
            self.actions.extend(again.map(|(origin, size, upto)| Action::PrefixOf { origin, size, upto }));
        }
    }

    /// Records an act that somebody waits for.
    fn put(&mut self, now: Millis, act: Act) -> u64 {
        self.urgent = true;
        self.put_riding(now, act)
    }

    /// Records an act that may ride with the next group.
    fn put_riding(&mut self, now: Millis, act: Act) -> u64 {
        let number = self.fold.next_record();
        let record = Record { time: now, act };
        self.fold.apply(number, &record);
        self.pending.push(record);
        self.ride_at.get_or_insert(now.after(RIDE));
        number
    }

    /// Lets `effect` pass once everything recorded so far is durable.
    fn release(&mut self, effect: Effect) {
        let waits_for = if mutant::is_let_through(&effect) { 0 } else { self.fold.next_record() };
        self.gate.hold(waits_for, effect);
    }

    fn notice(&mut self, notice: Notice) {
        self.actions.push_back(Action::Notice(notice));
    }

    fn session(&mut self, peer: NodeName) -> &mut Session {
        self.sessions.entry(peer).or_default()
    }

    fn peer(&self, peer: NodeName) -> Option<&Peer> {
        self.fold.peers.get(&peer)
    }

    fn is_active(&self, peer: NodeName) -> bool {
        self.peer(peer).is_some_and(|peer| peer.status == PeerStatus::Active)
    }

    /// Whether the open volume lists other keys than this node signs with now: nothing more can be signed in it.
    fn has_new_keys(&self, own: &Author) -> bool {
        let listed = own.volume().map_or(&[][..], |(_, own)| &own.keys);
        !listed.is_empty() && self.keys.as_ref().is_some_and(|key| !listed.contains(key))
    }

    fn touch(&mut self, peer: NodeName) {
        self.dirty.insert(peer);
    }
}

/// About how many bytes a record has.
fn weight(record: &Record) -> usize {
    let stowed = |payload: &Stowed| match payload {
        Stowed::Clear { body, .. } => body.len(),
        Stowed::Sealed { bytes, .. } => bytes.len(),
        Stowed::Absent(_) => 0,
    };
    let body = match &record.act {
        Act::Queued { payload, .. } | Act::Stored { payload, .. } | Act::Fetched { payload, .. } => stowed(payload),
        Act::PeerAdded { introduction, ceremony, .. } => introduction.len() + stowed(ceremony),
        Act::VolumeOpened { body, .. } => body.len(),
        Act::Signed { .. } | Act::Cosigned { .. } | Act::Receipt { .. } => 8 << 10,
        _ => 0,
    };
    body + 512
}

/// Whether a group may end before this record: it is not part of a step that must become durable as a whole.
fn stands_alone(act: &Act) -> bool {
    matches!(
        act,
        Act::Queued { .. } | Act::Fetched { .. } | Act::PeerAdded { .. } | Act::Read { .. } | Act::Noted { .. }
    )
}

fn expiries_of(name: NodeName, peer: &Peer) -> impl Iterator<Item = (Millis, NodeName, EntryId)> + '_ {
    peer.own.queue.values().filter_map(move |item| Some((item.header.expires?, name, item.header.id)))
}
