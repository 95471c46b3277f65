//! The hand-over to the writer thread: numbers are given in the order of the calls, and nobody hears that a record is
//! durable before it is.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Condition;
use super::frame::{Group, Hash, MAX_FRAME_BYTES, Position, RECORD_OVERHEAD_BYTES, frame_bytes};

/// How many bytes may wait for the disk. A slow disk is noticed by the windows of the exchange long before; a full one
/// must not eat the memory.
pub const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of the newest durable groups that stay in memory, so that who follows the writer closely reads and hashes
/// nothing twice: a tenth of a second at full speed.
pub const MAX_FRESH_BYTES: usize = 4 * 1024 * 1024;

/// How long the writer waits before it tries a full disk again, or looks whether its reserve can be taken again.
const RETRY_FULL_DISK: Duration = Duration::from_secs(1);

/// Why records were not taken, or did not become durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// There was no record: a group has at least one.
    #[error("nothing to append")]
    Empty,
    /// The records of one call do not fit into one group.
    #[error("{bytes} bytes do not fit into one group of at most {MAX_FRAME_BYTES}")]
    TooLong {
        /// How long the group would be.
        bytes: usize,
    },
    /// Too much waits for the disk; nothing was taken and no number was given.
    #[error("more than {MAX_WAITING_BYTES} bytes wait for the disk")]
    QueueFull,
    /// A write failed and the state of the disk is not known; the process must end and read the journal anew.
    #[error("the journal failed: {0}")]
    Failed(String),
    /// The journal was closed before the records were durable.
    #[error("the journal is closed")]
    Closed,
}

/// Proof that records are durable: it is made only after their group was synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durable {
    first_record: u64,
    group: u64,
    leaves: Vec<Hash>,
}

impl Durable {
    pub(crate) fn new(first_record: u64, group: u64, leaves: Vec<Hash>) -> Self {
        Self { first_record, group, leaves }
    }

    /// Number of the first record of the call.
    pub fn first_record(&self) -> u64 {
        self.first_record
    }

    /// Number of the group that holds all records of the call.
    pub fn group(&self) -> u64 {
        self.group
    }

    /// The journal leaves of the records, in order.
    pub fn leaves(&self) -> &[Hash] {
        &self.leaves
    }
}

/// What is called when the records are durable, or never will be.
pub(crate) type Done = Box<dyn FnOnce(Result<Durable, AppendError>) + Send>;

/// One call of append.
pub(crate) struct Item {
    pub first_record: u64,
    pub records: Vec<Bytes>,
    pub done: Done,
    bytes: usize,
}

/// Whether a group waits for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody waits: write as soon as the disk is free.
    Now,
    /// Ride with the next group, or with a short timer if there is none.
    Ride,
}

/// Where the durable groups end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Position after the last durable group.
    pub end: Position,
    /// Number that the next record will have.
    pub next_record: u64,
    /// Number that the next group will have.
    pub next_group: u64,
}

struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    next_record: u64,
    write_at: Option<Instant>,
    poked: bool,
    closing: bool,
    failed: Option<String>,
    condition: Condition,
}

/// What callers, readers and the writer share.
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    tail: RwLock<Tail>,
    fresh: Mutex<Fresh>,
    ride: Duration,
}

/// The newest durable groups, oldest first.
#[derive(Default)]
struct Fresh {
    groups: VecDeque<Arc<Group>>,
    bytes: usize,
}

impl Fresh {
    fn push(&mut self, group: Arc<Group>) {
        self.bytes += group.frame.len();
        self.groups.push_back(group);
        while self.bytes > MAX_FRESH_BYTES {
            let Some(oldest) = self.groups.pop_front() else { break };
            self.bytes -= oldest.frame.len();
        }
    }

    fn of(&self, record: u64) -> Option<&Arc<Group>> {
        let at = self.groups.partition_point(|group| group.next_record() <= record);
        self.groups.get(at).filter(|group| group.record(record).is_some())
    }
}

impl Shared {
    pub(crate) fn new(tail: Tail, ride: Duration, condition: Condition) -> Self {
        let queue = Queue {
            items: VecDeque::new(),
            bytes: 0,
            next_record: tail.next_record,
            write_at: None,
            poked: false,
            closing: false,
            failed: None,
            condition,
        };
        Self { queue: Mutex::new(queue), wake: Condvar::new(), tail: RwLock::new(tail), fresh: Mutex::default(), ride }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No lock is held while foreign code runs, so a poisoned queue is still whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the records of one call and gives them their numbers.
    pub(crate) fn append(&self, records: Vec<Bytes>, urgency: Urgency, done: Done) -> Result<u64, AppendError> {
        if records.is_empty() {
            return Err(AppendError::Empty);
        }
        let bytes = frame_bytes(&records);
        if bytes > MAX_FRAME_BYTES {
            return Err(AppendError::TooLong { bytes });
        }
        let mut queue = self.lock();
        if let Some(reason) = &queue.failed {
            return Err(AppendError::Failed(reason.clone()));
        }
        if queue.closing {
            return Err(AppendError::Closed);
        }
        if queue.bytes + bytes > MAX_WAITING_BYTES {
            return Err(AppendError::QueueFull);
        }
        let first_record = queue.next_record;
        queue.next_record += records.len() as u64;
        queue.bytes += bytes;
        queue.items.push_back(Item { first_record, records, done, bytes });
        let due = Instant::now() + if urgency == Urgency::Now { Duration::ZERO } else { self.ride };
        if queue.write_at.is_none_or(|earlier| due < earlier) {
            queue.write_at = Some(due);
            self.wake.notify_all();
        }
        Ok(first_record)
    }

    /// Waits for the next batch of calls that fit into one frame. `None`: closed and nothing waits. An empty batch:
    /// somebody asks to look at the disk again.
    pub(crate) fn next_batch(&self, limit: usize, look_for_room: bool) -> Option<Vec<Item>> {
        let mut queue = self.lock();
        loop {
            if std::mem::take(&mut queue.poked) {
                return Some(Vec::new());
            }
            let now = Instant::now();
            match queue.write_at {
                Some(due) if due <= now || queue.closing => return Some(take_batch(&mut queue, limit)),
                Some(due) => {
                    let waited = self.wake.wait_timeout(queue, due - now);
                    queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None if queue.closing => return None,
                // A node that takes nothing for want of room writes nothing either, and would wait for ever.
                None if look_for_room => {
                    let (waited, ended) =
                        self.wake.wait_timeout(queue, RETRY_FULL_DISK).unwrap_or_else(PoisonError::into_inner);
                    queue = waited;
                    queue.poked |= ended.timed_out();
                }
                None => queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Waits until a full disk is worth another try; `false` if the journal is being closed.
    pub(crate) fn wait_for_room(&self) -> bool {
        let queue = self.lock();
        let waited = self.wake.wait_timeout_while(queue, RETRY_FULL_DISK, |queue| !queue.closing && !queue.poked);
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        queue.poked = false;
        !queue.closing
    }

    /// Has the writer look at the disk again now.
    pub(crate) fn poke(&self) {
        self.lock().poked = true;
        self.wake.notify_all();
    }

    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.wake.notify_all();
    }

    pub(crate) fn publish(&self, tail: Tail) {
        *self.tail.write().unwrap_or_else(PoisonError::into_inner) = tail;
    }

    /// Keeps a group at hand that has just become durable.
    pub(crate) fn keep(&self, group: Group) {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(group));
    }

    /// The group of a record, where it is among the newest.
    pub(crate) fn fresh(&self, record: u64) -> Option<Arc<Group>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).of(record).cloned()
    }

    pub(crate) fn tail(&self) -> Tail {
        *self.tail.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn condition(&self) -> Condition {
        self.lock().condition.clone()
    }

    pub(crate) fn set_condition(&self, condition: Condition) {
        self.lock().condition = condition;
    }

    /// Refuses everything from now on and tells all who wait.
    pub(crate) fn fail(&self, reason: &str) {
        self.fail_with(reason, Vec::new());
        self.set_condition(Condition::Failed(reason.to_owned()));
    }

    /// As [`Self::fail`], with the batch that was under way first.
    pub(crate) fn fail_with(&self, reason: &str, batch: Vec<Item>) {
        let error = AppendError::Failed(reason.to_owned());
        self.refuse_rest(Some(reason), batch, &error);
    }

    /// Tells all who still wait that nothing more will be written.
    pub(crate) fn abandon(&self) {
        self.refuse_rest(None, Vec::new(), &AppendError::Closed);
    }

    fn refuse_rest(&self, reason: Option<&str>, batch: Vec<Item>, error: &AppendError) {
        let waiting = {
            let mut queue = self.lock();
            if let Some(reason) = reason {
                queue.failed.get_or_insert_with(|| reason.to_owned());
            }
            queue.closing = true;
            queue.bytes = 0;
            queue.write_at = None;
            std::mem::take(&mut queue.items)
        };
        for item in batch.into_iter().chain(waiting) {
            (item.done)(Err(error.clone()));
        }
    }
}

fn take_batch(queue: &mut Queue, limit: usize) -> Vec<Item> {
    let mut batch = Vec::new();
    let mut total = 0;
    // The frame's own bytes are counted once for each call, so a batch never exceeds the limit.
    while queue.items.front().is_some_and(|item| total + item.bytes <= limit) {
        let Some(item) = queue.items.pop_front() else { break };
        total += item.bytes;
        queue.bytes -= item.bytes;
        batch.push(item);
    }
    if queue.items.is_empty() {
        queue.write_at = None;
    }
    batch
}

// A call that just fits is a batch of its own, so that no call can wait for ever.
const _: () = assert!(MAX_FRAME_BYTES > RECORD_OVERHEAD_BYTES && MAX_WAITING_BYTES > MAX_FRAME_BYTES);

#[cfg(test)]
mod tests {
    use super::super::frame::{BLINDING_BYTES, Expected, Mark, build_group, parse_group};
    use super::*;

    fn group(first: u64, bytes: usize) -> Group {
        let (mark, position) = (Mark([7; 8]), Position { segment: 0, offset: 4_096 });
        let expected = Expected { record: first, group: first, chain: [1; 32] };
        let records = [Bytes::from(vec![5; bytes]), Bytes::from_static(b"two")];
        let built = build_group(mark, &expected, Position::ORIGIN, &[&records], &[3; 2 * BLINDING_BYTES]);
        let kept = built.group(mark, position).unwrap();
        assert_eq!(kept, parse_group(&built.frame, mark, position).unwrap(), "as it would be read back");
        kept
    }

    #[test]
    fn the_newest_groups_are_found_by_record_and_the_oldest_leave_at_the_bound() {
        let mut fresh = Fresh::default();
        let half = MAX_FRESH_BYTES / 2 - 200;
        for first in [10, 12] {
            fresh.push(Arc::new(group(first, half)));
        }
        assert!(fresh.of(9).is_none() && fresh.of(14).is_none());
        assert_eq!([10, 11, 12, 13].map(|record| fresh.of(record).unwrap().header.first_record), [10, 10, 12, 12]);
        fresh.push(Arc::new(group(14, 400)));
        assert!(fresh.bytes <= MAX_FRESH_BYTES);
        assert!(fresh.of(11).is_none() && fresh.of(12).is_some() && fresh.of(15).is_some());
    }
}
