//! The thread that fills the store: it reads durable records from the journal by number, at its own pace.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::exchange::Record;
use crate::journal::{Damage, Group, ReadError, Reader, free_bytes};

use super::{Inner, Rebuild, Store, StoreError, guarded};

/// How long the thread lets records gather when nobody waits for them: one step for many is cheaper, because the values
/// that are not full yet are written anew at each step. A tenth of what a person notices.
const GATHER: Duration = Duration::from_millis(50);

/// With this many records waiting the thread does not let more of them gather: more than one step takes in, and few
/// enough that the journal still has all of their groups in memory.
const ENOUGH: u64 = 1_024;

/// Bytes of groups that are taken in at one step, beyond which no further group joins.
const STEP_BYTES: usize = 1024 * 1024;

/// From this many records behind on the journal is scanned from file to file instead of read group by group.
const FAR_BEHIND: u64 = 65_536;

/// How many damaged stretches are remembered for the report.
const MAX_DAMAGES: usize = 100;

/// Why a caller does not wait any longer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The thread has ended.
    #[error("the index is closed")]
    Closed,
    /// The store cannot be written; the thread tries again, and builds the store anew where that does not help.
    #[error("the index cannot be written: {0}")]
    Failed(String),
}

/// How far the thread is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The first record that is known to be not durable yet.
    pub durable: u64,
    /// The first record that is not taken in yet.
    pub indexed: u64,
    /// Whether the store was checked whole since the start.
    pub checked: bool,
    /// What was built anew since the start, oldest first.
    pub rebuilds: Vec<Rebuild>,
    /// Stretches of the journal that could not be read, at most a hundred.
    pub damages: Vec<Damage>,
    /// Why it stands still, where it does.
    pub failed: Option<String>,
}

/// Free bytes below which a store that cannot be written is not begun anew: sled's cache and its first segments.
const REBUILD_ROOM: u64 = 64 << 20;

/// How long the thread rests after the system refused something, unless somebody waits for it.
const RETRY_FAILED: Duration = Duration::from_secs(5);

#[derive(Default)]
struct State {
    progress: Progress,
    waiting: usize,
    rebuild: Option<String>,
    stop: bool,
    ended: bool,
}

struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// The index thread. Dropping it ends the thread after the step under way.
pub struct Index {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("progress", &self.progress()).finish_non_exhaustive()
    }
}

impl Index {
    /// Starts the thread. It first checks the store whole, rebuilds it where something does not fit, and then takes in
    /// all records below `durable`, which is the number that the journal's next record will have.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(store: Store, journal: Reader, durable: u64) -> std::io::Result<Self> {
        // Nothing counts as taken in before the whole store was checked.
        let progress = Progress { durable, ..Progress::default() };
        let state = State { progress, ..State::default() };
        let desk = Arc::new(Desk { state: Mutex::new(state), changed: Condvar::new() });
        let worker = Worker { store, journal, desk: Arc::clone(&desk) };
        let thread = thread::Builder::new().name("index".to_owned()).spawn(move || worker.run())?;
        Ok(Self { desk, thread: Some(thread) })
    }

    /// Says that all records below this number are durable. Never blocks for long; may be called from any thread.
    pub fn durable(&self, next_record: u64) {
        let mut state = self.desk.lock();
        let progress = &mut state.progress;
        if progress.durable < next_record {
            // While records gather, the thread sleeps until there are enough of them.
            let gathers = progress.durable > progress.indexed && progress.failed.is_none();
            progress.durable = next_record;
            progress.failed = None;
            if !gathers || next_record.saturating_sub(progress.indexed) >= ENOUGH {
                self.desk.changed.notify_all();
            }
        }
    }

    /// Has the store thrown away and built anew.
    pub fn rebuild(&self, reason: &str) {
        let mut state = self.desk.lock();
        state.progress.indexed = 0;
        state.rebuild.get_or_insert_with(|| reason.to_owned());
        self.desk.changed.notify_all();
    }

    /// Waits until the store was checked and the record is taken in. Blocks the calling thread.
    ///
    /// # Errors
    /// The thread ended, or the store cannot be written.
    pub fn wait_until(&self, record: u64) -> Result<(), IndexError> {
        let mut state = self.desk.lock();
        state.progress.durable = state.progress.durable.max(record.saturating_add(1));
        state.waiting += 1;
        state.progress.failed = None;
        self.desk.changed.notify_all();
        let result = loop {
            if state.progress.indexed > record {
                break Ok(());
            }
            if let Some(reason) = &state.progress.failed {
                break Err(IndexError::Failed(reason.clone()));
            }
            if state.ended {
                break Err(IndexError::Closed);
            }
            state = self.desk.wait(state);
        };
        state.waiting -= 1;
        result
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.desk.lock().progress.clone()
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.desk.lock().stop = true;
        self.desk.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    store: Store,
    journal: Reader,
    desk: Arc<Desk>,
}

impl Worker {
    fn run(self) {
        if let Err(error) = self.store.check() {
            self.begin_anew(&error);
        }
        let mut state = self.desk.lock();
        state.progress.checked = true;
        state.progress.indexed = self.store.next_record();
        self.desk.changed.notify_all();
        drop(state);
        let mut refused = 0;
        while let Some(until) = self.next_step() {
            let result = self.take_in(until);
            let mut state = self.desk.lock();
            state.progress.indexed = self.store.next_record();
            state.progress.failed = None;
            self.desk.changed.notify_all();
            drop(state);
            match result {
                Ok(()) => refused = 0,
                Err(error) if error.is_damage() => self.begin_anew(&error),
                // sled takes nothing more after an error of the system, such as a full disk, until it is opened anew.
                Err(error @ StoreError::Io { .. }) if refused > 0 && self.has_room() => self.begin_anew(&error),
                Err(error) => {
                    refused += 1;
                    self.fail(error.to_string());
                }
            }
        }
        let mut state = self.desk.lock();
        state.ended = true;
        self.desk.changed.notify_all();
    }

    /// Waits for something to do; `None`: the end.
    fn next_step(&self) -> Option<u64> {
        let mut state = self.desk.lock();
        loop {
            if state.stop {
                return None;
            }
            let reason = state.rebuild.take().or_else(|| self.store.take_suspicion());
            if let Some(reason) = reason {
                drop(state);
                self.begin_anew(&StoreError::Damaged(reason));
                state = self.desk.lock();
                continue;
            }
            let behind = state.progress.durable.saturating_sub(state.progress.indexed);
            if behind == 0 {
                state = self.desk.wait(state);
                continue;
            }
            if state.progress.failed.is_some() && state.waiting == 0 {
                let rest = |state: &mut State| state.waiting == 0 && !state.stop && state.rebuild.is_none();
                let waited = self.desk.changed.wait_timeout_while(state, RETRY_FAILED, rest);
                let (waited, ended) = waited.unwrap_or_else(PoisonError::into_inner);
                if !ended.timed_out() {
                    state = waited;
                    continue;
                }
                return Some(waited.progress.durable);
            }
            if behind < ENOUGH && state.waiting == 0 {
                let due = |state: &mut State| {
                    let behind = state.progress.durable.saturating_sub(state.progress.indexed);
                    state.waiting == 0 && !state.stop && behind < ENOUGH
                };
                let waited = self.desk.changed.wait_timeout_while(state, GATHER, due);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            return Some(state.progress.durable);
        }
    }

    /// Whether the disk has room for a store that is begun anew: until then the old one still answers.
    fn has_room(&self) -> bool {
        free_bytes(&self.store.shared.folder).is_ok_and(|free| free >= REBUILD_ROOM)
    }

    fn fail(&self, reason: String) {
        self.desk.lock().progress.failed = Some(reason);
        self.desk.changed.notify_all();
    }

    fn begin_anew(&self, error: &StoreError) {
        let reason = match error {
            StoreError::Damaged(reason) => reason.clone(),
            other => other.to_string(),
        };
        match self.store.begin_anew(reason) {
            Ok(rebuild) => {
                let mut state = self.desk.lock();
                state.progress.indexed = 0;
                state.progress.rebuilds.push(rebuild);
                state.progress.damages.clear();
            }
            Err(error) => self.fail(error.to_string()),
        }
    }

    fn note(&self, damage: Damage) {
        let damages = &mut self.desk.lock().progress.damages;
        if damages.len() < MAX_DAMAGES && !damages.contains(&damage) {
            damages.push(damage);
        }
    }

    /// Takes in what is durable below `until`, at most for a while; a caller who waits hears of it in between.
    fn take_in(&self, until: u64) -> Result<(), StoreError> {
        let from = self.store.next_record();
        if until.saturating_sub(from) < FAR_BEHIND {
            return self.take_in_groups(until);
        }
        self.store.take_scan(&self.journal, until, |damage| {
            if let Some(damage) = damage {
                self.note(damage.clone());
            }
            let mut state = self.desk.lock();
            state.progress.indexed = self.store.next_record();
            self.desk.changed.notify_all();
            !state.stop
        })
    }

    fn take_in_groups(&self, until: u64) -> Result<(), StoreError> {
        let mut step: Vec<Arc<Group>> = Vec::new();
        let mut next = self.store.next_record();
        while next < until && bytes(&step) < STEP_BYTES {
            match self.journal.group_of(next) {
                Ok(group) => {
                    next = group.next_record();
                    step.push(group);
                }
                Err(ReadError::Damaged(damage)) => {
                    self.store.take_groups(&std::mem::take(&mut step))?;
                    self.store.pass_over(&damage)?;
                    next = self.store.next_record();
                    let end = damage.next_record.is_none();
                    self.note(*damage);
                    if end {
                        break;
                    }
                }
                // Said to be durable, and not there: the next word of the writer will tell.
                Err(ReadError::Absent(_)) => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.store.take_groups(&step)?;
        if self.store.next_record() < until && step.is_empty() {
            return Err(ReadError::Absent(next).into());
        }
        Ok(())
    }
}

fn bytes(groups: &[Arc<Group>]) -> usize {
    groups.iter().map(|group| group.frame.len()).sum()
}

impl Store {
    /// Takes in everything below a record, from file to file. `go_on` is called after each step and each damaged stretch;
    /// with `false` it ends early.
    pub(super) fn take_scan(
        &self,
        journal: &Reader,
        until: u64,
        mut go_on: impl FnMut(Option<&Damage>) -> bool,
    ) -> Result<(), StoreError> {
        let folder = self.shared.folder.clone();
        let scan = journal.scan(self.next_record()).map_err(|error| StoreError::Io { folder, error })?;
        let mut step = Vec::new();
        for item in scan {
            match item {
                Ok(group) if group.header.first_record >= until => break,
                Ok(group) => {
                    step.push(Arc::new(group));
                    if bytes(&step) < STEP_BYTES {
                        continue;
                    }
                    self.take_groups(&std::mem::take(&mut step))?;
                    if !go_on(None) {
                        return Ok(());
                    }
                }
                Err(damage) if damage.first_record >= until => break,
                Err(damage) => {
                    self.take_groups(&std::mem::take(&mut step))?;
                    self.pass_over(&damage)?;
                    if !go_on(Some(&damage)) {
                        return Ok(());
                    }
                }
            }
        }
        self.take_groups(&step)
    }

    /// Takes in the records of groups, in few atomic steps. What was taken in before is passed over.
    pub(super) fn take_groups(&self, groups: &[Arc<Group>]) -> Result<(), StoreError> {
        if groups.is_empty() {
            return Ok(());
        }
        let next = self.next_record();
        let records: Vec<(u64, Record, &Group)> = groups
            .iter()
            .flat_map(|group| group.records.iter().map(move |record| (record, group)))
            .filter(|(record, _)| record.number >= next)
            .map(|(record, group)| (record.number, Record::decode(&record.bytes), &**group))
            .collect();
        let mut inner = self.write();
        let Inner { db, batch } = &mut *inner;
        let tree = db.as_ref().ok_or_else(|| StoreError::Damaged("it is not open".to_owned()))?;
        guarded(|| {
            for (number, record, group) in &records {
                super::apply::apply(batch, tree, *number, record)?;
                batch.cursor.next_record = number + 1;
                batch.cursor.group_record = group.header.first_record;
                batch.cursor.chain = group.header.chain;
                if batch.is_due() {
                    batch.commit(tree)?;
                }
            }
            batch.commit(tree)
        })
    }

    /// Goes on behind records that cannot be read.
    pub(super) fn pass_over(&self, damage: &Damage) -> Result<(), StoreError> {
        let mut inner = self.write();
        let Inner { db, batch } = &mut *inner;
        let tree = db.as_ref().ok_or_else(|| StoreError::Damaged("it is not open".to_owned()))?;
        let next = damage.next_record.unwrap_or(0);
        if next > batch.cursor.next_record {
            batch.cursor.unread += next - batch.cursor.next_record.max(damage.first_record.min(next));
            batch.cursor.next_record = next;
        }
        guarded(|| batch.commit(tree))
    }
}
