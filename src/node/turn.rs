//! The loop: takes every input that is at hand, lets the core decide, performs all of its actions, and waits.
//!
//! Mutate → drain → wait, never otherwise. One thread runs it; what takes long (reading the disk, running a command) is
//! done by tasks that report back through [`Order::Feed`].

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::enclosures::Enclosures;
use super::env::NodeEnv;
use super::links;
use super::links::Links;
use super::order::{Node, Order};
use super::ranges::Ranges;
use super::run::RunError;
use super::snapshot::Snapshots;
use super::standstill::Standstill;
use crate::exchange::{Act, Answer, ConnId, Core, Group, Input, Record, Token};
use crate::journal::{
    AppendError, Condition, Durable, Journal, MAX_FRAME_BYTES, RECORD_OVERHEAD_BYTES, Sentinel, Urgency,
};
use crate::name::Millis;

/// Inputs of one source that are taken in one turn: enough for a full batch of every waiting sender, few enough that an
/// answer never waits for long.
const MAX_AT_HAND: usize = 2_048;

/// The longest sleep: the core's times are times of day, and a clock that was set forward must be noticed.
const MAX_SLEEP: Duration = Duration::from_secs(5);

/// How long a graceful stop waits for the last group and for the peers to hear BYE.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Bytes of a group's own frame that are kept free when a group is cut.
const FRAME_ROOM: usize = 1_024;

/// The least time between two sweeps: a busy loop turns many thousand times a second.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// A group that was handed to the journal.
struct Written {
    number: u64,
    first: u64,
    records: Vec<Record>,
}

/// The loop with everything that it alone may touch.
pub(super) struct Turn {
    pub(super) node: Arc<Node>,
    pub(super) core: Core,
    pub(super) env: NodeEnv,
    pub(super) links: Links,
    pub(super) enclosures: Enclosures,
    pub(super) standstill: Standstill,
    pub(super) ranges: Ranges,
    journal: Journal,
    snapshots: Snapshots,
    orders: UnboundedReceiver<Order>,
    callers: HashMap<Token, oneshot::Sender<Answer>>,
    next_token: u64,
    swept: Instant,
    written: Option<Written>,
    /// The sentinel is due once the first group of this run, which tells of the doubt, is durable.
    sentinel: Option<[u8; 16]>,
    /// Something happened in this turn beyond questions.
    moved: bool,
    stopping: bool,
}

/// What the loop is made of.
pub(super) struct Parts {
    pub(super) node: Arc<Node>,
    pub(super) core: Core,
    pub(super) env: NodeEnv,
    pub(super) journal: Journal,
    pub(super) links: Links,
    pub(super) snapshots: Snapshots,
    pub(super) orders: UnboundedReceiver<Order>,
    /// The journal's id, where the sentinel is to be written.
    pub(super) sentinel: Option<[u8; 16]>,
}

impl Turn {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { node, core, env, journal, links, snapshots, orders, sentinel } = parts;
        Self {
            node,
            core,
            env,
            links,
            enclosures: Enclosures::default(),
            standstill: Standstill::default(),
            ranges: Ranges::default(),
            journal,
            snapshots,
            orders,
            callers: HashMap::new(),
            next_token: 0,
            swept: Instant::now(),
            written: None,
            sentinel,
            moved: false,
            stopping: false,
        }
    }

    /// Runs until the node is told to stop.
    ///
    /// # Errors
    /// [`RunError::Journal`], where the state of the disk is not known any more.
    pub(super) async fn run(mut self) -> Result<(), RunError> {
        self.drain()?;
        while !self.stopping {
            self.wait_for_one().await?;
            // Everybody who is ready speaks first, so that one group carries it all.
            tokio::task::yield_now().await;
            self.take_what_is_at_hand()?;
            self.drain()?;
        }
        self.finish().await
    }

    async fn wait_for_one(&mut self) -> Result<(), RunError> {
        let sleep = self.core.poll_timeout().map_or(MAX_SLEEP, |due| due.since(self.now()).min(MAX_SLEEP));
        tokio::select! {
            order = self.orders.recv() => match order {
                Some(order) => self.take(order)?,
                None => self.stopping = true,
            },
            event = self.links.next() => self.hear(event),
            () = tokio::time::sleep(sleep) => self.moved = true,
        }
        Ok(())
    }

    fn take_what_is_at_hand(&mut self) -> Result<(), RunError> {
        for _ in 0..MAX_AT_HAND {
            let Ok(order) = self.orders.try_recv() else { break };
            self.take(order)?;
        }
        for _ in 0..MAX_AT_HAND {
            let Some(event) = self.links.try_next() else { break };
            self.hear(event);
        }
        let now = self.now();
        self.core.handle_timeout(now, &mut self.env);
        self.sweep(now);
        Ok(())
    }

    /// What is due because time has passed, outside of the core.
    fn sweep(&mut self, now: Millis) {
        if self.swept.elapsed() < SWEEP_PAUSE {
            return;
        }
        self.swept = Instant::now();
        let closed = self.links.judge_due(&self.node);
        self.closed(closed);
        self.node.refusals.look(now);
        for note in self.standstill.overdue(now) {
            self.feed(Input::Command(note, None));
        }
    }

    /// What was closed here is closed for the core at once: nothing that it had still sent counts.
    fn closed(&mut self, closed: Vec<ConnId>) {
        closed.into_iter().for_each(|conn| self.feed(Input::Closed { conn }));
    }

    fn drain(&mut self) -> Result<(), RunError> {
        let now = self.now();
        while let Some(action) = self.core.poll_action(now, &mut self.env) {
            self.moved = true;
            self.perform(now, action)?;
        }
        if self.written.is_none() {
            self.links.idle();
        }
        self.links.look_around(&self.core);
        self.snapshots.consider(&self.core, &self.node, self.node.journal_end());
        // Who follows the log at this level need not ask again and again whether anything has changed.
        if std::mem::take(&mut self.moved) {
            tracing::trace!(records = self.core.fold().next_record(), "a turn in which something happened");
        }
        Ok(())
    }

    fn hear(&mut self, event: links::Event) {
        self.moved = true;
        if let Some(input) = self.links.translate(event, &self.core, &self.node) {
            self.feed(input);
        }
    }

    fn take(&mut self, order: Order) -> Result<(), RunError> {
        match order {
            Order::Command(command, caller) => {
                let token = caller.map(|caller| self.remember(caller));
                self.feed(Input::Command(*command, token));
            }
            Order::Ask(question) => question(&self.core),
            Order::Feed(input) => self.feed(*input),
            Order::Durable(group) => self.durable(group),
            Order::Journal(condition) => return self.disk(condition),
            Order::Reload(settings) => self.reload(settings),
            Order::Probe(conn, caller) => self.links.probe(conn, caller, &self.node),
            Order::ProbeOver(nonce) => {
                if let Some(input) = self.links.probe_over(nonce) {
                    self.feed(input);
                }
            }
            Order::Resolved(resolved) => self.links.resolved(resolved, &self.node),
            Order::FilesEnded(peer, broke) => {
                self.enclosures.ended(peer, broke);
                self.enclosures.look(&self.core, &self.links, &self.node);
            }
            Order::FileLost { peer, entry, ordinal } => {
                self.enclosures.lost(peer, entry, ordinal);
                self.enclosures.look(&self.core, &self.links, &self.node);
            }
            Order::FileSettled { entry, ordinal } => self.enclosures.settled(entry, ordinal),
            Order::Stop => self.stopping = true,
        }
        Ok(())
    }

    pub(super) fn feed(&mut self, input: Input) {
        self.moved = true;
        let now = self.now();
        self.core.handle(now, &mut self.env, input);
    }

    pub(super) fn now(&self) -> Millis {
        self.node.clock.now()
    }

    fn remember(&mut self, caller: oneshot::Sender<Answer>) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.callers.insert(token, caller);
        token
    }

    /// Answers a caller; one that has gone is no error.
    pub(super) fn answer(&mut self, token: Token, answer: Answer) {
        if let Some(caller) = self.callers.remove(&token) {
            let _ = caller.send(answer);
        }
    }

    /// Hands a group to the journal, whose numbers must be the core's.
    pub(super) fn write(&mut self, group: Group) -> Result<(), RunError> {
        let Group { number, first, records } = group;
        let encoded = records.iter().map(Record::encode).collect();
        let mut parts = cut(encoded, MAX_FRAME_BYTES - FRAME_ROOM);
        let last = parts.pop().unwrap_or_default();
        let mut expected = first;
        for part in parts {
            let count = part.len() as u64;
            self.append(part, expected, None)?;
            expected += count;
        }
        self.append(last, expected, Some(number))?;
        self.links.group_written(&records);
        self.written = Some(Written { number, first, records });
        Ok(())
    }

    fn append(&mut self, records: Vec<Bytes>, first: u64, group: Option<u64>) -> Result<(), RunError> {
        let orders = self.node.orders.clone();
        let done = move |result: Result<Durable, AppendError>| {
            let order = match (result, group) {
                (Ok(_), Some(group)) => Order::Durable(group),
                (Ok(_), None) => return,
                (Err(error), _) => Order::Journal(Condition::Failed(error.to_string())),
            };
            let _ = orders.send(order);
        };
        let taken = self.journal.append(records, Urgency::Now, done).map_err(|e| RunError::Journal(e.to_string()))?;
        if taken == first { Ok(()) } else { Err(RunError::Numbers { journal: taken, core: first }) }
    }

    fn durable(&mut self, group: u64) {
        let Some(written) = self.written.take_if(|written| written.number == group) else { return };
        self.remember_records(&written);
        self.snapshots.written(written.records.len());
        let end = written.first + written.records.len() as u64;
        self.node.durable.send_replace(end);
        self.node.index.durable(end);
        self.links.group_durable();
        self.feed(Input::Durable { group });
        if let Some(journal_id) = self.sentinel.take() {
            write_sentinel(&self.node, journal_id);
        }
    }

    /// What the shell itself needs to know of durable records.
    fn remember_records(&mut self, written: &Written) {
        let mut peers_changed = false;
        for (number, record) in (written.first..).zip(&written.records) {
            self.enclosures.recorded(number, record);
            if matches!(record.act, Act::PeerAdded { .. } | Act::PeerChanged { .. } | Act::Noted { .. }) {
                let mut roster = self.node.roster.write().unwrap_or_else(PoisonError::into_inner);
                peers_changed |= roster.apply(record);
            }
        }
        if peers_changed {
            self.node.renew_anchors();
            let closed = self.links.judge_all(&self.node);
            self.closed(closed);
        }
    }

    fn disk(&mut self, condition: Condition) -> Result<(), RunError> {
        self.node.standing().disk = Some((self.now(), condition.clone()));
        match condition {
            Condition::Running => self.feed(Input::DiskOk),
            Condition::OnReserve | Condition::DiskFull => {
                tracing::error!(?condition, "the disk is full; nothing new is taken until there is room");
                self.feed(Input::DiskFull);
            }
            Condition::Failed(reason) => return Err(RunError::Journal(reason)),
        }
        Ok(())
    }

    fn reload(&mut self, settings: Arc<crate::settings::Settings>) {
        self.node.replace_settings(settings.clone());
        self.feed(Input::Settings(settings.exchange.clone()));
        let closed = self.links.judge_all(&self.node);
        self.closed(closed);
        tracing::info!("the configuration was read again");
    }

    /// The last group, a word of farewell, a snapshot.
    async fn finish(mut self) -> Result<(), RunError> {
        let deadline = tokio::time::Instant::now() + STOP_LIMIT;
        // What rides with the next group is written too, so that the snapshot holds everything.
        while self.written.is_some() || self.core.fold().next_record() != self.node.journal_end() {
            let due = self.core.poll_timeout().map_or(MAX_SLEEP, |due| due.since(self.now()).min(MAX_SLEEP));
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order @ (Order::Durable(_) | Order::Journal(_))) => self.take(order)?,
                    Some(_) => {}
                    None => break,
                },
                () = tokio::time::sleep(due) => {}
                () = tokio::time::sleep_until(deadline) => break,
            }
            let now = self.now();
            self.core.handle_timeout(now, &mut self.env);
            self.drain()?;
        }
        self.links.farewell().await;
        self.snapshots.last(&self.core, &self.node, self.node.journal_end()).await;
        Ok(())
    }
}

fn write_sentinel(node: &Node, journal_id: [u8; 16]) {
    let folder = node.folder.clone();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = Sentinel::write(&folder, &journal_id) {
            tracing::error!(%error, "the sentinel cannot be written; the next start will be in doubt");
        }
    });
}

/// Cuts a group into parts that fit one frame each. The core keeps its groups below that; this is the belt beside it.
fn cut(records: Vec<Bytes>, limit: usize) -> Vec<Vec<Bytes>> {
    let mut parts: Vec<Vec<Bytes>> = vec![Vec::new()];
    let mut bytes = 0;
    for record in records {
        let length = record.len() + RECORD_OVERHEAD_BYTES;
        if bytes + length > limit && bytes > 0 {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += length;
        parts.last_mut().expect("starts with one part and only grows").push(record);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_at_the_limit_stays_whole_and_one_byte_over_is_cut_in_order() {
        let record = |length| Bytes::from(vec![7; length]);
        let limit = 2 * RECORD_OVERHEAD_BYTES + 30;
        assert_eq!(cut(vec![record(10), record(20)], limit).len(), 1);
        let parts = cut(vec![record(10), record(21), record(1)], limit);
        assert_eq!(parts, [vec![record(10)], vec![record(21), record(1)]]);
        assert_eq!(cut(Vec::new(), limit), [Vec::<Bytes>::new()]);
    }
}
