//! The writer of the journal: groups, order, start, and what happens when one system call fails.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use verbale::journal::{
    AppendError, Condition, Disk, Durable, FRAME_HEADER_BYTES, FRAME_TRAILER_BYTES, Journal, LocalDisk, LockError,
    MAX_FRAME_BYTES, MAX_RECORD_BYTES, OpenError, Options, RECORD_OVERHEAD_BYTES, ReadError, Reader,
    SEGMENT_HEADER_BYTES, Urgency, leaf_hash, scan,
};

/// A disk whose calls are written down and can be made to wait or to fail.
#[derive(Default)]
struct TestDisk {
    calls: Mutex<Vec<&'static str>>,
    /// errno for the coming writes and syncs; 0: none.
    write_error: AtomicI32,
    sync_error: AtomicI32,
    /// A sync waits while somebody holds this.
    sync_gate: Mutex<()>,
}

impl TestDisk {
    fn call(&self, name: &'static str, error: &AtomicI32) -> io::Result<()> {
        self.calls.lock().unwrap().push(name);
        match error.load(Ordering::SeqCst) {
            0 => Ok(()),
            number => Err(io::Error::from_raw_os_error(number)),
        }
    }

    fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

impl Disk for TestDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.call("write", &self.write_error).is_err() {
            // As a real disk may: half of it lands before the error.
            LocalDisk.write_at(file, &bytes[..bytes.len() / 2], offset)?;
            return self.call("write", &self.write_error);
        }
        LocalDisk.write_at(file, bytes, offset)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        drop(self.sync_gate.lock().unwrap());
        self.call("sync", &self.sync_error)?;
        LocalDisk.sync_data(file)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.calls.lock().unwrap().push("sync folder");
        LocalDisk.sync_folder(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.calls.lock().unwrap().push("rename");
        LocalDisk.rename(from, to)
    }
}

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

fn options(create: bool) -> Options {
    Options { create, segment_bytes: 1 << 16, reserve_bytes: 0, ..Options::default() }
}

fn with_disk(create: bool) -> (Options, Arc<TestDisk>, Receiver<Condition>) {
    let disk = Arc::new(TestDisk::default());
    let (sender, conditions) = channel();
    let sender = Mutex::new(sender);
    let on_condition = Arc::new(move |condition| sender.lock().unwrap().send(condition).unwrap_or(()));
    (Options { disk: Arc::clone(&disk) as Arc<dyn Disk>, on_condition, ..options(create) }, disk, conditions)
}

fn one(text: &str) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(text.as_bytes())]
}

fn contents(folder: &Path) -> Vec<String> {
    let groups = scan(folder, 0).unwrap().map(Result::unwrap);
    groups.flat_map(|group| group.records).map(|record| String::from_utf8(record.bytes.to_vec()).unwrap()).collect()
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    files.sort();
    files
}

type Waiting = Receiver<Result<Durable, AppendError>>;

fn append(journal: &Journal, text: &str) -> (u64, Waiting) {
    let (sender, receiver) = channel();
    let done = move |result| sender.send(result).unwrap_or(());
    (journal.append(one(text), Urgency::Now, done).unwrap(), receiver)
}

#[test]
fn whatever_comes_during_a_sync_goes_into_one_group() {
    let folder = tempfile::tempdir().unwrap();
    let (options, disk, _conditions) = with_disk(true);
    let (journal, _) = Journal::open(folder.path(), options).unwrap();
    let mut waiting = Vec::new();
    {
        let _gate = disk.sync_gate.lock().unwrap();
        waiting.push(append(&journal, "first").1);
        // The writer has taken the first call once its write was seen; then it stands at the gate.
        disk.calls();
        while !disk.calls.lock().unwrap().contains(&"write") {
            std::thread::yield_now();
        }
        for index in 1..100 {
            let (number, receiver) = append(&journal, &format!("waiting {index}"));
            assert_eq!(number, index, "numbers follow the calls");
            waiting.push(receiver);
        }
        assert_eq!(journal.tail().next_record, 0, "nothing is durable before the sync");
    }
    let groups: Vec<u64> = waiting.iter().map(|waiting| waiting.recv().unwrap().unwrap().group()).collect();
    assert_eq!(groups[0], 0);
    assert!(groups[1..].iter().all(|group| *group == 1), "{groups:?}");
    assert_eq!(disk.calls().into_iter().filter(|call| *call == "sync").count(), 2, "one sync for each group");
}

#[test]
fn a_full_disk_holds_everything_back_in_order_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (options, disk, conditions) = with_disk(true);
    let (journal, _) = Journal::open(folder.path(), options).unwrap();
    journal.append_and_wait(one("before")).unwrap();
    disk.write_error.store(ENOSPC, Ordering::SeqCst);
    let (_, second) = append(&journal, "second");
    assert_eq!(conditions.recv().unwrap(), Condition::DiskFull);
    let (_, third) = append(&journal, "third");
    assert!(second.try_recv().is_err() && third.try_recv().is_err(), "nobody is told anything that is not true yet");
    assert_eq!(journal.condition(), Condition::DiskFull);
    disk.write_error.store(0, Ordering::SeqCst);
    journal.retry();
    assert_eq!(second.recv().unwrap().unwrap().first_record(), 1);
    assert_eq!(third.recv().unwrap().unwrap().first_record(), 2);
    // With room for segments and reserve the condition is good again.
    assert_eq!(conditions.recv().unwrap(), Condition::OnReserve);
    assert_eq!(conditions.recv().unwrap(), Condition::Running);
    drop(journal);
    assert_eq!(contents(folder.path()), ["before", "second", "third"]);
}

#[test]
fn the_reserve_is_given_free_before_the_journal_stands_still() {
    let folder = tempfile::tempdir().unwrap();
    let (mut options, disk, conditions) = with_disk(true);
    options.reserve_bytes = 1 << 20;
    let (journal, _) = Journal::open(folder.path(), options).unwrap();
    let reserve = folder.path().join("reserve");
    assert_eq!(reserve.metadata().unwrap().len(), 1 << 20);
    disk.write_error.store(ENOSPC, Ordering::SeqCst);
    let (_, waiting) = append(&journal, "refused for want of room");
    assert_eq!(conditions.recv().unwrap(), Condition::OnReserve);
    assert_eq!(conditions.recv().unwrap(), Condition::DiskFull, "this disk stays full all the same");
    assert!(!reserve.exists());
    disk.write_error.store(0, Ordering::SeqCst);
    journal.retry();
    waiting.recv().unwrap().unwrap();
    assert_eq!(conditions.recv().unwrap(), Condition::OnReserve);
    assert_eq!(conditions.recv().unwrap(), Condition::Running);
    assert!(reserve.exists(), "with room again, the reserve is kept back again");
}

#[test]
fn a_failed_sync_ends_everything() {
    let folder = tempfile::tempdir().unwrap();
    let (options, disk, conditions) = with_disk(true);
    let (journal, _) = Journal::open(folder.path(), options).unwrap();
    journal.append_and_wait(one("durable")).unwrap();
    // A full disk that shows only at the sync is no full disk: the pages may be lost.
    for number in [ENOSPC, EIO] {
        disk.sync_error.store(number, Ordering::SeqCst);
        assert!(matches!(journal.append_and_wait(one("lost")), Err(AppendError::Failed(_))));
    }
    assert!(matches!(conditions.recv().unwrap(), Condition::Failed(_)));
    assert!(matches!(journal.append_and_wait(one("later")), Err(AppendError::Failed(_))));
    assert_eq!(journal.tail().next_record, 1);
    assert!(matches!(journal.reader().read(1), Err(ReadError::Absent(1))), "what was not durable is not read");
}

#[test]
fn any_other_error_of_a_write_ends_everything() {
    let folder = tempfile::tempdir().unwrap();
    let (options, disk, _conditions) = with_disk(true);
    let (journal, _) = Journal::open(folder.path(), options).unwrap();
    disk.write_error.store(EIO, Ordering::SeqCst);
    assert!(matches!(journal.append_and_wait(one("lost")), Err(AppendError::Failed(_))));
}

#[test]
fn a_start_writes_the_last_group_again_into_a_new_segment_and_only_then_believes() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, first) = Journal::open(folder.path(), options(true)).unwrap();
    for text in ["a", "b", "c"] {
        journal.append_and_wait(one(text)).unwrap();
    }
    drop(journal);
    for start in 0..3 {
        let (options, disk, _conditions) = with_disk(false);
        let (journal, opened) = Journal::open(folder.path(), options).unwrap();
        let calls = disk.calls();
        let (last, calls) = calls.split_last().unwrap();
        assert_eq!(*last, "sync folder");
        assert_eq!(calls[calls.len() - 3..], ["write", "sync", "rename"], "start {start}");
        assert_eq!(opened.journal_id, first.journal_id);
        assert_eq!((opened.tail.next_record, opened.tail.next_group, opened.rewritten_group), (3, 3, Some(2)));
        assert!(opened.damages.is_empty() && opened.torn.is_none());
        drop(journal);
        assert_eq!(contents(folder.path()), ["a", "b", "c"]);
        // Starting again and again does not pile up segments.
        assert_eq!(segments(folder.path()).len(), 2);
    }
}

#[test]
fn a_write_that_was_never_synced_is_dead_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), options(true)).unwrap();
    journal.append_and_wait(one("durable")).unwrap();
    let end = journal.tail().end.offset as usize;
    journal.append_and_wait(one("under way when the power went")).unwrap();
    let length = journal.tail().end.offset as usize - end;
    drop(journal);
    let path = segments(folder.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    for kept in 0..length {
        // A prefix of the group reached the disk, the rest of the filled segment is zeros.
        let mut bytes = whole.clone();
        bytes[end + kept..].fill(0);
        let copy = tempfile::tempdir().unwrap();
        fs::write(copy.path().join(path.file_name().unwrap()), &bytes).unwrap();
        let (journal, opened) = Journal::open(copy.path(), options(false)).unwrap();
        assert_eq!(opened.tail.next_record, 1);
        assert_eq!(opened.torn.is_some(), kept > 0, "{kept} bytes of the group were there");
        assert!(opened.damages.is_empty());
        journal.append_and_wait(one("after")).unwrap();
        drop(journal);
        assert_eq!(contents(copy.path()), ["durable", "after"]);
    }
}

#[test]
fn a_torn_end_is_kept_as_evidence_when_its_segment_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), options(true)).unwrap();
    journal.append_and_wait(one("durable")).unwrap();
    let end = journal.tail().end.offset as usize;
    drop(journal);
    let path = segments(folder.path()).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[end + 5] = 7;
    fs::write(&path, &bytes).unwrap();
    drop(Journal::open(folder.path(), options(false)).unwrap());
    let kept = path.with_file_name(format!("{}.torn-1", path.file_name().unwrap().to_str().unwrap()));
    assert_eq!(fs::read(kept).unwrap(), bytes);
    assert_eq!(contents(folder.path()), ["durable"]);
}

#[test]
fn records_are_read_at_random_while_others_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), options(true)).unwrap();
    let reader = journal.reader();
    let outside = Reader::open(folder.path());
    for round in 0..60_u64 {
        let records = (0..20).map(|index| Bytes::from(format!("{} {}", round * 20 + index, "y".repeat(200)))).collect();
        journal.append_and_wait(records).unwrap();
        for number in [0, round * 7 % 20, round * 10, round * 20 + 19] {
            let record = reader.read(number).unwrap();
            assert!(record.bytes.starts_with(format!("{number} ").as_bytes()));
            assert_eq!(record.leaf, leaf_hash(&record.blinding, &record.bytes));
            assert_eq!(reader.read_at(number, record.position).unwrap(), record);
            assert_eq!(outside.read(number).unwrap(), record);
        }
        assert!(matches!(reader.read(round * 20 + 20), Err(ReadError::Absent(_))));
    }
    assert!(segments(folder.path()).len() > 3, "the test must cross segments");
    let seen: Vec<u64> = reader.scan(700).unwrap().flat_map(|group| group.unwrap().records).map(|r| r.number).collect();
    assert_eq!(seen, (700..1200).collect::<Vec<_>>(), "a scan begins with the group that holds the record");
}

#[test]
fn a_scan_beside_a_running_writer_sees_a_sound_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let segment_bytes = SEGMENT_HEADER_BYTES + 3000;
    let (journal, _) = Journal::open(folder.path(), Options { segment_bytes, ..options(true) }).unwrap();
    let path = folder.path();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for number in 0..400 {
                journal.append_and_wait(one(&format!("{number} {}", "z".repeat(number % 300)))).unwrap();
            }
        });
        let mut seen = 0;
        while !writing.is_finished() {
            let durable = journal.tail().next_record as usize;
            seen = contents(path).len();
            assert!(seen >= durable, "{seen} seen, {durable} durable before");
        }
        writing.join().unwrap();
        assert!(seen > 0);
    });
    assert_eq!(contents(path).len(), 400);
}

#[test]
fn large_segments_are_filled_ahead_and_nothing_is_left_over() {
    let folder = tempfile::tempdir().unwrap();
    let segment_bytes = 1 << 20;
    let (journal, _) = Journal::open(folder.path(), Options { segment_bytes, ..options(true) }).unwrap();
    for number in 0..50 {
        journal.append_and_wait(one(&format!("{number} {}", "w".repeat(80_000)))).unwrap();
    }
    assert_eq!(segments(folder.path()).len(), 5);
    let durable = journal.tail();
    drop(journal);
    assert!(!folder.path().join("spare.tmp").exists());
    let (journal, opened) = Journal::open(folder.path(), options(false)).unwrap();
    assert_eq!(opened.tail.next_record, durable.next_record);
    assert!(opened.damages.is_empty() && opened.torn.is_none());
    assert!(journal.reader().read(33).unwrap().bytes.starts_with(b"33 "));
    assert_eq!(contents(folder.path()).len(), 50);
}

#[test]
fn the_longest_record_fits_and_one_byte_more_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), options(true)).unwrap();
    for length in [MAX_RECORD_BYTES - 1, MAX_RECORD_BYTES] {
        let durable = journal.append_and_wait(vec![Bytes::from(vec![7; length])]).unwrap();
        assert_eq!(journal.reader().read(durable.first_record()).unwrap().bytes.len(), length);
    }
    let bytes = MAX_RECORD_BYTES + 1 + RECORD_OVERHEAD_BYTES + FRAME_HEADER_BYTES + FRAME_TRAILER_BYTES;
    assert_eq!(bytes, MAX_FRAME_BYTES + 1);
    let refused = journal.append_and_wait(vec![Bytes::from(vec![7; MAX_RECORD_BYTES + 1])]);
    assert_eq!(refused, Err(AppendError::TooLong { bytes }));
    assert_eq!(journal.append_and_wait(Vec::new()), Err(AppendError::Empty));
    assert_eq!(journal.append_and_wait(one("")).unwrap().first_record(), 2, "refused calls use no number");
}

#[test]
fn a_record_that_nobody_waits_for_rides_with_the_next_group() {
    let folder = tempfile::tempdir().unwrap();
    let ride = std::time::Duration::from_secs(3600);
    let (journal, _) = Journal::open(folder.path(), Options { ride, ..options(true) }).unwrap();
    let (sender, receiver) = channel();
    journal.append(one("rides"), Urgency::Ride, move |result| sender.send(result).unwrap()).unwrap();
    let durable = journal.append_and_wait(one("waits")).unwrap();
    assert_eq!(receiver.recv().unwrap().unwrap().group(), durable.group());
    journal.append(one("rides alone"), Urgency::Ride, |_| {}).unwrap();
    drop(journal);
    assert_eq!(contents(folder.path()), ["rides", "waits", "rides alone"], "closing writes what still waits");
}

#[test]
fn a_second_writer_is_told_who_holds_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (_journal, _) = Journal::open(folder.path(), options(true)).unwrap();
    match Journal::open(folder.path(), options(false)) {
        Err(OpenError::Locked(error @ LockError::Held { pid, .. })) => {
            assert_eq!(pid, Some(std::process::id()));
            assert!(error.to_string().contains(&std::process::id().to_string()));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_segment_is_filled_with_zeros_before_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), options(true)).unwrap();
    journal.append_and_wait(one("x")).unwrap();
    let path = segments(folder.path()).remove(0);
    assert_eq!(path.metadata().unwrap().len(), 1 << 16);
    let end = journal.tail().end.offset;
    assert!(end > SEGMENT_HEADER_BYTES && end < 1 << 16);
}
