//! Each damage of sled's file that was measured to go unnoticed by sled itself is noticed here, and the store is rebuilt.

mod records;

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use records::{Draft, Pair, write_journal};
use verbale::journal::Journal;
use verbale::name::{CaseId, Kind};
use verbale::store::{Index, Message, MessageFilter, Store};

/// A journal, the store that was filled from it and closed, and what it answered.
struct Filled {
    folder: tempfile::TempDir,
    journal: Journal,
    outbox: Vec<Message>,
    inbox: Vec<Message>,
}

fn index(folder: &Path) -> PathBuf {
    folder.join("index")
}

fn filled() -> Filled {
    let folder = tempfile::tempdir().unwrap();
    let mut pair = Pair::new();
    for round in 0..20_u8 {
        for from in 0..2 {
            for number in 0..100 {
                let case = (number % 10 == 0).then_some(CaseId([round; 16]));
                pair.send(from, &Draft { case, ..Draft::of(Kind::Notification) });
            }
            pair.head(from, false);
        }
    }
    let journal = write_journal(&folder.path().join("journal"), &pair.encoded(0));
    let (store, thread, _) = fill(folder.path(), &journal);
    let (outbox, inbox) = answers(&store);
    drop((thread, store));
    Filled { folder, journal, outbox, inbox }
}

/// Opens the store, fills it to the journal's end, and says what was missing or rebuilt on the way.
fn fill(folder: &Path, journal: &Journal) -> (Store, Index, Vec<String>) {
    let (store, report) = Store::open(&index(folder), &journal.reader()).unwrap();
    let next = journal.tail().next_record;
    let behind = format!("it ends before record {}", report.next_record);
    let thread = Index::start(store.clone(), journal.reader(), next).unwrap();
    thread.wait_until(next - 1).unwrap();
    let mut said: Vec<String> = thread.progress().rebuilds.into_iter().map(|rebuild| rebuild.reason).collect();
    match report.rebuild {
        Some(rebuild) => said.insert(0, rebuild.reason),
        // sled gave back an earlier state that is whole in itself: what is missing is filled in.
        None if report.next_record < next => said.insert(0, behind),
        None => {}
    }
    (store, thread, said)
}

fn answers(store: &Store) -> (Vec<Message>, Vec<Message>) {
    let filter = MessageFilter { limit: 1000, ..MessageFilter::default() };
    (store.outbox(&filter).unwrap(), store.inbox(&filter).unwrap())
}

impl Filled {
    fn db(&self) -> PathBuf {
        index(self.folder.path()).join("db")
    }

    fn bytes(&self) -> u64 {
        fs::metadata(self.db()).unwrap().len()
    }

    fn cut(&self, bytes: u64) {
        let file = fs::File::options().write(true).open(self.db()).unwrap();
        file.set_len(self.bytes().saturating_sub(bytes)).unwrap();
    }

    fn overwrite(&self, at: u64, bytes: &[u8]) {
        let mut file = fs::File::options().write(true).open(self.db()).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(bytes).unwrap();
    }

    /// Opens the damaged store. Whatever sled made of it, it answers as before afterwards. Gives what was said of it.
    #[track_caller]
    fn assert_repaired(&self) -> Vec<String> {
        let (store, thread, said) = fill(self.folder.path(), &self.journal);
        let (outbox, inbox) = answers(&store);
        assert!(outbox == self.outbox && inbox == self.inbox, "the lists are not complete: {said:?}");
        let (checked, faults) = store.verify_against(&self.journal.reader()).unwrap();
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!((checked.messages, checked.entries), (4_000, 4_002));
        drop((thread, store));
        said
    }
}

#[test]
fn an_undamaged_store_is_not_rebuilt() {
    let filled = filled();
    assert_eq!(filled.assert_repaired(), Vec::<String>::new());
    assert_eq!(filled.assert_repaired(), Vec::<String>::new());
}

#[test]
fn a_missing_folder_is_filled_again() {
    let filled = filled();
    fs::remove_dir_all(index(filled.folder.path())).unwrap();
    assert_eq!(filled.assert_repaired(), ["there was no index"]);
}

#[test]
fn a_file_that_lost_4_kib_at_its_end_is_repaired() {
    let filled = filled();
    filled.cut(4096);
    filled.assert_repaired();
}

#[test]
fn a_file_that_lost_700_kb_at_its_end_is_noticed() {
    let filled = filled();
    assert!(filled.bytes() > 700_000, "{}", filled.bytes());
    filled.cut(700_000);
    assert!(!filled.assert_repaired().is_empty());
}

#[test]
fn a_file_that_lost_its_second_half_is_noticed() {
    let filled = filled();
    filled.cut(filled.bytes() / 2);
    assert!(!filled.assert_repaired().is_empty());
}

#[test]
fn a_file_that_was_emptied_is_noticed() {
    let filled = filled();
    filled.cut(u64::MAX);
    assert!(!filled.assert_repaired().is_empty());
}

#[test]
fn a_file_whose_last_4_kib_are_zeros_is_repaired() {
    let filled = filled();
    filled.overwrite(filled.bytes() - 4096, &[0; 4096]);
    filled.assert_repaired();
}

#[test]
fn a_flipped_bit_anywhere_is_noticed_or_does_not_matter() {
    let filled = filled();
    let mut noticed = 0;
    for part in 0..8 {
        // Each round damages the file that the round before left good.
        let at = filled.bytes() / 8 * part + 1_234;
        let byte = fs::read(filled.db()).unwrap()[at as usize];
        filled.overwrite(at, &[byte ^ 0x20]);
        noticed += usize::from(!filled.assert_repaired().is_empty());
    }
    assert!(noticed > 0, "no flip was noticed at all");
}

#[test]
fn values_that_are_gone_or_changed_are_noticed_by_the_check_and_by_reading() {
    let filled = filled();
    let path = index(filled.folder.path());
    let keys = |family: u8| {
        let db = sled::open(&path).unwrap();
        let keys: Vec<_> = db.scan_prefix([family]).keys().map(Result::unwrap).collect();
        (db, keys)
    };
    for family in *b"tlrmpoqc" {
        for change in [0, 1] {
            let (db, keys) = keys(family);
            let key = &keys[keys.len() / 2];
            if change == 0 {
                db.remove(key).unwrap();
            } else {
                let mut value = db.get(key).unwrap().unwrap().to_vec();
                let middle = value.len() / 2;
                value[middle] ^= 1;
                db.insert(key, value).unwrap();
            }
            drop(db);
            let reasons = filled.assert_repaired();
            assert_eq!(reasons.len(), 1, "family {}, change {change}: {reasons:?}", char::from(family));
        }
    }
}

#[test]
fn a_read_that_meets_damage_is_an_error_and_has_the_store_rebuilt() {
    let filled = filled();
    let (store, thread, _) = fill(filled.folder.path(), &filled.journal);
    let id = filled.outbox[500].id.unwrap();
    assert!(store.message(&id).unwrap().is_some());
    drop((thread, store));
    // The store is opened without its check, as by a command that only reads.
    let db = sled::open(index(filled.folder.path())).unwrap();
    for key in db.scan_prefix(b"m").keys().map(Result::unwrap).collect::<Vec<_>>() {
        let mut value = db.get(&key).unwrap().unwrap().to_vec();
        value[60] ^= 1;
        db.insert(key, value).unwrap();
    }
    drop(db);
    let (store, report) = Store::open(&index(filled.folder.path()), &filled.journal.reader()).unwrap();
    assert_eq!(report.rebuild, None);
    assert!(store.message(&id).is_err());
    assert!(store.outbox(&MessageFilter::default()).is_err());
    let next = filled.journal.tail().next_record;
    let thread = Index::start(store.clone(), filled.journal.reader(), next).unwrap();
    thread.wait_until(next - 1).unwrap();
    assert_eq!(thread.progress().rebuilds.len(), 1);
    assert!(store.message(&id).unwrap().is_some());
}

#[test]
fn the_old_folder_is_kept_until_the_next_rebuild() {
    let filled = filled();
    filled.cut(u64::MAX);
    filled.assert_repaired();
    let aside = filled.folder.path().join("index.aside");
    assert!(aside.is_dir());
    fs::write(index(filled.folder.path()).join("db"), b"").unwrap();
    filled.assert_repaired();
    assert!(aside.is_dir());
    let folders = fs::read_dir(filled.folder.path()).unwrap().count();
    assert_eq!(folders, 3, "journal, index, index.aside");
}
