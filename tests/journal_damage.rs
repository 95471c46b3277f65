//! Every byte of a small journal is cut and flipped: the reader may lose an end that was never followed, or name the
//! damage; it never shows other contents.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use verbale::journal::{
    Damage, FRAME_HEADER_BYTES, FRAME_TRAILER_BYTES, Fault, Journal, MAX_FRAME_BYTES, Mark, OpenError, Options,
    ReadError, Reader, SEGMENT_HEADER_BYTES, Torn, fuzz_scan, parse_group, scan,
};

fn options(create: bool) -> Options {
    Options { create, segment_bytes: SEGMENT_HEADER_BYTES + 700, reserve_bytes: 0, ..Options::default() }
}

fn record(number: u64) -> Bytes {
    Bytes::from(format!("record {number} {}", "x".repeat((number % 7) as usize * 9)))
}

/// A journal of several segments: groups of one to three records, closed by dropping it.
fn write_journal(folder: &Path, groups: u64) -> u64 {
    let (journal, _) = Journal::open(folder, options(true)).unwrap();
    let mut next = 0;
    for group in 0..groups {
        let count = group % 3 + 1;
        let durable = journal.append_and_wait((next..next + count).map(record).collect()).unwrap();
        assert_eq!((durable.first_record(), durable.group()), (next, group));
        assert_eq!(durable.leaves().len() as u64, count);
        next += count;
    }
    next
}

struct Found {
    records: Vec<u64>,
    damages: Vec<Damage>,
    torn: Option<Torn>,
}

/// Scans everything and checks that whatever is shown is what was written.
fn read_all(folder: &Path) -> Found {
    let mut items = scan(folder, 0).unwrap();
    let (mut records, mut damages) = (Vec::new(), Vec::new());
    for item in items.by_ref() {
        match item {
            Ok(group) => {
                for found in &group.records {
                    assert_eq!(found.bytes, record(found.number), "other contents were shown");
                    records.push(found.number);
                }
            }
            Err(damage) => damages.push(damage),
        }
    }
    assert!(records.is_sorted_by(|a, b| a < b), "a record was shown twice: {records:?}");
    Found { records, damages, torn: items.torn().cloned() }
}

/// Each record is shown, or named as damaged, or lies behind a torn end that nothing follows.
fn check(folder: &Path, next_record: u64, what: &str) -> Found {
    let found = read_all(folder);
    for number in 0..next_record {
        let shown = found.records.contains(&number);
        let named = found.damages.iter().any(|damage| damage.affects(number));
        let behind_the_end = found.records.iter().all(|shown| *shown < number) && is_last_group(number, next_record);
        assert!(shown || named || behind_the_end, "{what}: record {number} vanished silently: {:?}", found.damages);
    }
    found
}

/// The last group of the journals here begins at most three records before the end.
fn is_last_group(number: u64, next_record: u64) -> bool {
    number + 3 >= next_record
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    files.sort();
    files
}

/// Changes one byte in place: much quicker than writing the file again.
fn flip(path: &Path, whole: &[u8], offset: usize) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&[whole[offset] ^ (1 << (offset % 8))], offset as u64).unwrap();
}

#[test]
fn every_flipped_byte_is_named_or_lies_in_the_torn_end() {
    let folder = tempfile::tempdir().unwrap();
    let next_record = write_journal(folder.path(), 10);
    let files = files(folder.path());
    assert!(files.len() >= 3, "the journal is too small to say anything: {files:?}");
    assert_eq!(read_all(folder.path()).damages, []);
    for (index, path) in files.iter().enumerate() {
        let whole = fs::read(path).unwrap();
        // The header's filling is hashed like the rest: every 61st byte of it says as much as all.
        let groups_start = SEGMENT_HEADER_BYTES as usize;
        for offset in (0..groups_start).step_by(61).chain(groups_start..whole.len()) {
            flip(path, &whole, offset);
            let found = check(folder.path(), next_record, &format!("byte {offset} of {}", path.display()));
            let last = index + 1 == files.len();
            match found.damages.first() {
                Some(damage) => {
                    assert_eq!(&damage.file, path);
                    let covers = damage.offset <= offset as u64 && (offset as u64) < damage.offset + damage.length;
                    assert!(covers || damage.fault == Fault::HeaderCopy, "{damage} does not cover byte {offset}");
                }
                None if last => assert!(found.torn.is_some(), "byte {offset} of the end was flipped unseen"),
                None => panic!("byte {offset} of {} was flipped unseen", path.display()),
            }
            fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .write_all_at(&whole[offset..=offset], offset as u64)
                .unwrap();
        }
    }
}

#[test]
fn a_flip_in_a_header_copy_loses_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let next_record = write_journal(folder.path(), 10);
    let path = &files(folder.path())[1];
    let mut bytes = fs::read(path).unwrap();
    bytes[40] ^= 4;
    fs::write(path, &bytes).unwrap();
    let found = read_all(folder.path());
    assert_eq!(found.records, (0..next_record).collect::<Vec<_>>());
    assert_eq!(found.damages[0].fault, Fault::HeaderCopy);
}

#[test]
fn every_cut_is_a_torn_end_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let next_record = write_journal(folder.path(), 10);
    let files = files(folder.path());
    for (index, path) in files.iter().enumerate() {
        let whole = fs::read(path).unwrap();
        let start = SEGMENT_HEADER_BYTES as usize;
        let file = fs::File::options().write(true).open(path).unwrap();
        for length in (0..start).step_by(509).chain(start..whole.len()).rev() {
            file.set_len(length as u64).unwrap();
            let found = read_all(folder.path());
            if index + 1 < files.len() {
                check(folder.path(), next_record, &format!("{} cut at {length}", path.display()));
                assert!(!found.damages.is_empty(), "{} cut at {length} unseen", path.display());
            } else if found.damages.is_empty() {
                // An end that nothing follows: what is shown is a prefix, without holes.
                assert_eq!(found.records, (0..found.records.len() as u64).collect::<Vec<_>>());
            }
        }
        fs::write(path, &whole).unwrap();
    }
}

#[test]
fn a_missing_segment_is_named_with_its_records() {
    for missing in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        let next_record = write_journal(folder.path(), 10);
        fs::remove_file(&files(folder.path())[missing]).unwrap();
        let found = check(folder.path(), next_record, "missing");
        assert!(found.damages.iter().any(|damage| damage.fault == Fault::Missing), "{:?}", found.damages);
        let (_journal, opened) = Journal::open(folder.path(), options(false)).unwrap();
        assert!(opened.damages.iter().any(|damage| damage.fault == Fault::Missing), "{:?}", opened.damages);
        assert_eq!(opened.tail.next_record, next_record);
    }
}

#[test]
fn a_group_from_another_place_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), Options { segment_bytes: 1 << 16, ..options(true) }).unwrap();
    for number in 0..4 {
        journal.append_and_wait(vec![record(number * 7)]).unwrap();
    }
    let groups: Vec<_> = journal.reader().scan(0).unwrap().map(Result::unwrap).collect();
    drop(journal);
    let path = files(folder.path())[0].clone();
    let mut bytes = fs::read(&path).unwrap();
    // The second group in the place of the third: a good checksum, and the numbers would not betray it alone.
    let (second, third) = (&groups[1], &groups[2]);
    assert!(second.frame.len() <= third.frame.len());
    let start = third.position.offset as usize;
    bytes[start..start + second.frame.len()].copy_from_slice(&second.frame);
    fs::write(&path, &bytes).unwrap();
    let items: Vec<_> = scan(folder.path(), 0).unwrap().collect();
    let damage = items.iter().find_map(|item| item.as_ref().err()).unwrap();
    assert_eq!((damage.first_record, damage.next_record), (2, Some(3)));
    assert_eq!(damage.fault, Fault::Place);
}

#[test]
fn a_damaged_record_is_refused_and_its_neighbours_are_read() {
    let folder = tempfile::tempdir().unwrap();
    write_journal(folder.path(), 10);
    let whole = Reader::open(folder.path());
    let position = whole.read(4).unwrap().position;
    let path = folder.path().join(format!("{:020}.seg", position.segment));
    let mut bytes = fs::read(&path).unwrap();
    bytes[position.offset as usize + 25] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let reader = Reader::open(folder.path());
    match reader.read(4) {
        Err(ReadError::Damaged(damage)) => assert!(damage.affects(4) && damage.file == path, "{damage}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(reader.read(2).unwrap().bytes, record(2));
    assert_eq!(reader.read(6).unwrap().bytes, record(6));
}

#[test]
fn a_journal_whose_last_segment_has_no_good_first_group_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    write_journal(folder.path(), 10);
    // A start puts the last group into a segment of its own.
    drop(Journal::open(folder.path(), options(false)).unwrap());
    let path = files(folder.path()).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    for offset in [SEGMENT_HEADER_BYTES as usize, SEGMENT_HEADER_BYTES as usize + 130] {
        let mut bytes = whole.clone();
        bytes[offset] ^= 1;
        fs::write(&path, &bytes).unwrap();
        match Journal::open(folder.path(), options(false)) {
            Err(OpenError::EndDamaged(damage)) => assert_eq!(damage.file, path),
            other => panic!("{other:?}"),
        }
    }
    fs::write(&path, &whole[..100]).unwrap();
    assert!(matches!(Journal::open(folder.path(), options(false)), Err(OpenError::EndDamaged(_))));
}

/// Everything in a folder but the lock.
fn contents(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| !path.ends_with("lock"));
    let mut found: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    found.sort();
    found
}

#[test]
fn every_flipped_byte_of_the_last_durable_group_keeps_the_journal_closed_and_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let next_record = write_journal(folder.path(), 11);
    let path = files(folder.path()).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    let last = scan(folder.path(), 0).unwrap().map(Result::unwrap).last().unwrap();
    let start = last.position.offset as usize;
    assert!(last.position.offset > SEGMENT_HEADER_BYTES, "a group lies before it");
    let before = contents(folder.path());
    for offset in start..start + last.frame.len() {
        flip(&path, &whole, offset);
        match Journal::open(folder.path(), options(false)) {
            Err(OpenError::EndDamaged(damage)) => {
                assert_eq!((&damage.file, damage.offset), (&path, start as u64), "byte {offset}");
                assert_eq!((damage.first_record, damage.next_record), (last.header.first_record, Some(next_record)));
                assert!(matches!(damage.fault, Fault::EndLost(_)), "{damage}");
            }
            other => panic!("byte {offset}: {other:?}"),
        }
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(&whole[offset..=offset], offset as u64).unwrap();
        assert!(contents(folder.path()) == before, "byte {offset}: the folder was changed");
    }
    // Cut off, or a whole file gone: the same.
    fs::write(&path, &whole[..start]).unwrap();
    assert!(matches!(Journal::open(folder.path(), options(false)), Err(OpenError::EndDamaged(_))));
    fs::remove_file(&path).unwrap();
    assert!(matches!(Journal::open(folder.path(), options(false)), Err(OpenError::EndDamaged(_))));
    // A byte that is put back is all it takes.
    fs::write(&path, &whole).unwrap();
    let (journal, opened) = Journal::open(folder.path(), options(false)).unwrap();
    assert_eq!((opened.tail.next_record, opened.lost.len()), (next_record, 0));
    drop(journal);
    assert_eq!(read_all(folder.path()).records, (0..next_record).collect::<Vec<_>>());
}

#[test]
fn a_loss_that_a_person_accepts_is_named_set_aside_and_written_over() {
    for unreadable in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let next_record = write_journal(folder.path(), 11);
        if unreadable {
            // A start puts the last group into a segment of its own.
            drop(Journal::open(folder.path(), options(false)).unwrap());
        }
        let path = files(folder.path()).pop().unwrap();
        let last = scan(folder.path(), 0).unwrap().map(Result::unwrap).last().unwrap();
        let whole = fs::read(&path).unwrap();
        flip(&path, &whole, last.position.offset as usize + 30);
        let accepting = Options { accept_loss: true, ..options(false) };
        let (journal, opened) = Journal::open(folder.path(), accepting).unwrap();
        assert_eq!(opened.lost.len(), 1);
        assert_eq!(opened.tail.next_record, last.header.first_record);
        let again = journal.append_and_wait((opened.tail.next_record..next_record).map(record).collect()).unwrap();
        assert_eq!(again.first_record(), last.header.first_record);
        drop(journal);
        let (journal, opened) = Journal::open(folder.path(), options(false)).unwrap();
        assert_eq!((opened.tail.next_record, opened.lost.len()), (next_record, 0));
        drop(journal);
        let found = read_all(folder.path());
        assert_eq!((found.records, found.damages), ((0..next_record).collect::<Vec<_>>(), Vec::new()));
        if unreadable {
            let aside = format!("{}.lost-1", path.file_name().unwrap().to_str().unwrap());
            assert!(folder.path().join(aside).exists());
        }
    }
}

#[test]
fn what_no_witness_speaks_for_is_torn_and_it_is_said_where_it_may_be_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), Options { segment_bytes: 1 << 16, ..options(true) }).unwrap();
    journal.append_and_wait(vec![record(0)]).unwrap();
    let end = journal.tail().end.offset as usize;
    // The mark as a power cut may leave it: behind the last group.
    let mark = fs::read(folder.path().join("end")).unwrap();
    journal.append_and_wait(vec![Bytes::from(vec![7; 5_000])]).unwrap();
    let length = journal.tail().end.offset as usize - end;
    drop(journal);
    let path = files(folder.path()).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(folder.path().join("end"), mark).unwrap();
    let torn = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = whole.clone();
        change(&mut bytes[end..end + length]);
        fs::write(&path, bytes).unwrap();
        read_all(folder.path()).torn.unwrap()
    };
    for place in [0, 4, 20, 60, 200, 3_000, length - 1] {
        let torn = torn(&|group| group[place] ^= 1);
        assert!(torn.whole && torn.to_string().contains("damaged"), "byte {place}: {torn}");
    }
    let sector = |at: usize| (end + at).next_multiple_of(512) - end;
    for (first, last) in [(0, sector(0)), (sector(0), sector(1_000)), (sector(4_000), length)] {
        let torn = torn(&|group| group[first..last].fill(0));
        assert!(!torn.whole, "{first} to {last}: {torn}");
    }
}

#[test]
fn an_empty_folder_is_never_taken_for_an_empty_journal() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Journal::open(folder.path(), options(false)), Err(OpenError::NoJournal(_))));
    drop(Journal::open(folder.path(), options(true)).unwrap());
    assert!(matches!(Journal::open(folder.path(), options(true)), Err(OpenError::AlreadyThere(_))));
}

#[test]
fn lengths_and_counts_that_lie_are_refused_before_memory_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    write_journal(folder.path(), 3);
    let group = scan(folder.path(), 0).unwrap().nth(2).unwrap().unwrap();
    let frame = group.frame.to_vec();
    let mark = Mark(frame[..8].try_into().unwrap());
    let parse = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = frame.clone();
        change(&mut bytes);
        // The checksum is put right: what is left must be noticed all the same.
        let end = bytes.len() - FRAME_TRAILER_BYTES;
        let checksum = crc32c::crc32c(&bytes[..end]).to_be_bytes();
        bytes[end..].copy_from_slice(&checksum);
        parse_group(&Bytes::from(bytes), mark, group.position)
    };
    assert_eq!(parse(&|_| {}).unwrap(), group);
    let with_length = |length: u32| parse(&|bytes| bytes[8..12].copy_from_slice(&length.to_be_bytes()));
    let shortest = (FRAME_HEADER_BYTES + FRAME_TRAILER_BYTES) as u32;
    assert_eq!(with_length(u32::MAX), Err(Fault::Length));
    assert_eq!(with_length(MAX_FRAME_BYTES as u32 + 1), Err(Fault::Length));
    assert_eq!(with_length(MAX_FRAME_BYTES as u32), Err(Fault::Short));
    assert_eq!(with_length(shortest), Err(Fault::Checksum));
    assert_eq!(with_length(shortest - 1), Err(Fault::Length));
    let with_count = |count: u32| parse(&|bytes| bytes[12..16].copy_from_slice(&count.to_be_bytes()));
    for count in [0, 1, 2, 4, u32::MAX] {
        assert_eq!(with_count(count), Err(Fault::Records), "{count}");
    }
    assert_eq!(parse(&|bytes| bytes[112..116].fill(0xff)), Err(Fault::Records));
    assert_eq!(parse(&|bytes| bytes[24..32].fill(0xff)), Err(Fault::Numbers));
    // One byte of each field and of a record, with a good checksum: the chain notices.
    for offset in [20, 31, 33, 47, 50, 90, 120, 140] {
        assert_eq!(parse(&|bytes| bytes[offset] ^= 1), Err(Fault::Chain), "byte {offset}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(data in proptest::collection::vec(proptest::num::u8::ANY, 0..4096)) {
        fuzz_scan(&data);
    }

    #[test]
    fn a_journal_with_arbitrary_changes_never_panics(
        changes in proptest::collection::vec((0_usize..3000, proptest::num::u8::ANY), 1..20)
    ) {
        let folder = tempfile::tempdir().unwrap();
        write_journal(folder.path(), 3);
        let path = &files(folder.path())[0];
        let mut bytes = fs::read(path).unwrap();
        assert_eq!(fuzz_scan(&bytes), 6, "three groups, looked at twice");
        for (offset, byte) in changes {
            let start = SEGMENT_HEADER_BYTES as usize;
            let offset = start + offset % (bytes.len() - start);
            bytes[offset] = byte;
        }
        fuzz_scan(&bytes);
    }
}
