//! Lookups by random names (ids, cases, answered ids): sorted runs that are merged as they grow.
//!
//! One key per message in sled's tree was measured to cost ten times as much as all else of a row, because random keys
//! touch a page each. So the postings of one batch are written as one sorted run of a few values; when eight runs of
//! about one size are there, they become one. A name is looked up in each run by one ordered read.

use std::collections::BTreeSet;

use super::key::{self, FOLDER_BYTES};
use super::row::Fields;
use super::{StoreError, sealed};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// The id of the message itself.
    Id,
    /// The case to which the message belongs.
    Case,
    /// The entry that the message answers.
    Answers,
}

/// A message under a name: the name's first bytes, the record of its row, and the folder of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Posting {
    pub key: u64,
    pub record: u64,
    pub folder: [u8; FOLDER_BYTES],
}

const POSTING_BYTES: usize = 16 + FOLDER_BYTES;

/// Postings in one value: 10 KiB, because a lookup reads one value of each run.
const PER_VALUE: usize = 512;

/// How many runs of about one size become one.
const FAN: usize = 8;

/// Runs of this many postings and more are not merged any more, so that a merge writes less than 700 KiB (see
/// [`super::batch::STEP_BYTES`]); a million messages then lie in some seventy of them.
const LARGE: u32 = 4_096;

/// The first bytes of a name, with its meaning in the highest two bits.
pub(super) fn key_of(name: Name, bytes: &[u8; 16]) -> u64 {
    let first = u64::from_be_bytes(*bytes.first_chunk().expect("8 of 16 bytes"));
    (first >> 2) | ((name as u64) << 62)
}

/// A sorted run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    number: u32,
    count: u32,
}

impl Run {
    /// Runs of one tier are about of one size.
    fn tier(self) -> u32 {
        if self.count >= LARGE { u32::MAX } else { self.count.max(1).ilog(FAN as u32) }
    }
}

/// All runs, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    runs: Vec<Run>,
    next: u32,
}

/// What is to be written.
pub(super) enum Change {
    Put(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
}

impl Runs {
    /// Reads the list of runs.
    ///
    /// # Errors
    /// A list that is damaged; none at all is an empty one.
    pub(super) fn load(tree: &sled::Tree) -> Result<Self, StoreError> {
        let Some(value) = sealed::get(tree, key::RUNS)? else { return Ok(Self::default()) };
        let mut fields = Fields(&value);
        let next = fields.u32();
        let mut runs = Vec::new();
        while fields.0.len() >= 8 {
            runs.push(Run { number: fields.u32(), count: fields.u32() });
        }
        Ok(Self { runs, next })
    }

    fn encode(&self) -> Vec<u8> {
        let numbers = self.runs.iter().flat_map(|run| [run.number, run.count]);
        std::iter::once(self.next).chain(numbers).flat_map(u32::to_be_bytes).collect()
    }

    /// How many postings there are.
    pub(super) fn count(&self) -> u64 {
        self.runs.iter().map(|run| u64::from(run.count)).sum()
    }

    /// Adds the postings of one batch and merges what has come to be of one size.
    ///
    /// # Errors
    /// A run that is to be merged and is damaged.
    pub(super) fn add(
        &mut self,
        tree: &sled::Tree,
        postings: &BTreeSet<Posting>,
        out: &mut impl FnMut(Change),
    ) -> Result<(), StoreError> {
        if postings.is_empty() {
            return Ok(());
        }
        let mut new: Vec<Posting> = postings.iter().copied().collect();
        loop {
            let run = Run { number: self.next, count: u32::try_from(new.len()).unwrap_or(u32::MAX) };
            let same: Vec<Run> = self.runs.iter().copied().filter(|known| known.tier() == run.tier()).collect();
            if same.len() + 1 < FAN || run.count >= LARGE {
                self.next += 1;
                self.runs.push(run);
                write(run, &new, out);
                break;
            }
            for old in same {
                for (key, postings) in values(tree, old.number)? {
                    new.extend(postings);
                    out(Change::Remove(key));
                }
                self.runs.retain(|run| *run != old);
            }
            new.sort_unstable();
        }
        out(Change::Put(key::RUNS.to_vec(), sealed::seal(key::RUNS, self.encode())));
        Ok(())
    }

    /// All postings under a key, in no order.
    ///
    /// # Errors
    /// A damaged run.
    pub(super) fn find(&self, tree: &sled::Tree, name: u64) -> Result<Vec<Posting>, StoreError> {
        let mut found = Vec::new();
        for run in &self.runs {
            let prefix = key::run(run.number);
            let after = key::postings(run.number, name.saturating_add(1), 0);
            // The last value that begins before the key's end, and those before it while they begin with the key too.
            for item in tree.range(prefix..after).rev() {
                let (key, value) = item?;
                let postings = chunks(sealed::open(&key, &value)?)?;
                let start = postings.partition_point(|posting| Fields(posting).u64() < name);
                found.extend(postings[start..].iter().map(read).take_while(|posting| posting.key == name));
                if start > 0 {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Checks that every run has all its postings, in order.
    ///
    /// # Errors
    /// The first run that has not.
    pub(super) fn check(&self, tree: &sled::Tree) -> Result<(), StoreError> {
        for run in &self.runs {
            let mut count = 0_u64;
            let mut last = None;
            for (_, postings) in values(tree, run.number)? {
                count += postings.len() as u64;
                if last > postings.first().copied() || !postings.is_sorted() {
                    return Err(StoreError::Damaged("a run of lookups is out of order".to_owned()));
                }
                last = postings.last().copied();
            }
            if count != u64::from(run.count) {
                return Err(StoreError::Damaged(format!("a run of lookups has {count} of {} entries", run.count)));
            }
        }
        Ok(())
    }
}

fn write(run: Run, postings: &[Posting], out: &mut impl FnMut(Change)) {
    for part in postings.chunks(PER_VALUE) {
        let key = key::postings(run.number, part[0].key, part[0].record);
        let mut value = Vec::with_capacity(part.len() * POSTING_BYTES + 4);
        for posting in part {
            value.extend_from_slice(&posting.key.to_be_bytes());
            value.extend_from_slice(&posting.record.to_be_bytes());
            value.extend_from_slice(&posting.folder);
        }
        let value = sealed::seal(&key, value);
        out(Change::Put(key, value));
    }
}

fn chunks(value: &[u8]) -> Result<&[[u8; POSTING_BYTES]], StoreError> {
    match value.as_chunks() {
        (chunks, []) => Ok(chunks),
        _ => Err(StoreError::Damaged("a run of lookups has a wrong length".to_owned())),
    }
}

fn read(posting: &[u8; POSTING_BYTES]) -> Posting {
    let mut fields = Fields(posting);
    Posting { key: fields.u64(), record: fields.u64(), folder: fields.take() }
}

fn decode(value: &[u8]) -> Result<Vec<Posting>, StoreError> {
    Ok(chunks(value)?.iter().map(read).collect())
}

/// A value of a run with its key.
type Keyed = (Vec<u8>, Vec<Posting>);

/// The values of a run with their keys, in order.
fn values(tree: &sled::Tree, run: u32) -> Result<Vec<Keyed>, StoreError> {
    tree.scan_prefix(key::run(run))
        .map(|item| {
            let (key, value) = item?;
            Ok((key.to_vec(), decode(sealed::open(&key, &value)?)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::key::Folder;

    fn apply(tree: &sled::Tree, change: Change) {
        match change {
            Change::Put(key, value) => tree.insert(key, value).map(drop).unwrap(),
            Change::Remove(key) => tree.remove(key).map(drop).unwrap(),
        }
    }

    fn add(runs: &mut Runs, tree: &sled::Tree, postings: &[Posting]) {
        let mut changes = Vec::new();
        runs.add(tree, &postings.iter().copied().collect(), &mut |change| changes.push(change)).unwrap();
        changes.into_iter().for_each(|change| apply(tree, change));
    }

    fn posting(record: u64) -> Posting {
        let folder = Folder { peer: "XB".parse().unwrap(), outgoing: record.is_multiple_of(2) };
        // A multiplication by an odd number scatters the names as random ids do.
        Posting { key: record.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 2, record, folder: folder.bytes() }
    }

    #[test]
    fn every_posting_is_found_whatever_the_sizes_of_the_batches() {
        let db = sled::Config::new().temporary(true).open().unwrap();
        let mut runs = Runs::default();
        let mut record = 0;
        for size in [1, 1, 1, 1, 1, 1, 1, 1, 1, 3000, 64, 64, 64, 64, 64, 64, 64, 64, 64, 5, 40_000, 7, 2048, 2049] {
            let batch: Vec<Posting> = (record..record + size).map(posting).collect();
            record += size;
            add(&mut runs, &db, &batch);
        }
        assert_eq!(runs.count(), record);
        runs.check(&db).unwrap();
        let again = Runs::load(&db).unwrap();
        assert!(again.runs.len() < 32, "{}", again.runs.len());
        for record in (0..record).step_by(37).chain([record - 1]) {
            let expected = posting(record);
            assert_eq!(again.find(&db, expected.key).unwrap(), [expected]);
        }
        assert_eq!(again.find(&db, 1).unwrap(), []);
    }

    #[test]
    fn a_name_with_more_postings_than_a_value_holds_gives_all_of_them() {
        let db = sled::Config::new().temporary(true).open().unwrap();
        let mut runs = Runs::default();
        let batch: Vec<Posting> = (0..5000).map(|record| Posting { key: 77, ..posting(record) }).collect();
        add(&mut runs, &db, &batch);
        add(&mut runs, &db, &[Posting { key: 76, ..posting(9000) }, Posting { key: 78, ..posting(9001) }]);
        assert_eq!(runs.find(&db, 77).unwrap().len(), 5000);
        assert_eq!(runs.find(&db, 76).unwrap().len(), 1);
    }

    #[test]
    fn a_run_that_lost_a_value_is_noticed() {
        let db = sled::Config::new().temporary(true).open().unwrap();
        let mut runs = Runs::default();
        let batch: Vec<Posting> = (0..5000).map(posting).collect();
        add(&mut runs, &db, &batch);
        runs.check(&db).unwrap();
        let (key, _) = db.scan_prefix(key::run(0)).nth(1).unwrap().unwrap();
        db.remove(key).unwrap();
        assert!(runs.check(&db).is_err());
    }

    #[test]
    fn meanings_of_one_name_do_not_meet() {
        let id = [0xff; 16];
        let keys = [Name::Id, Name::Case, Name::Answers].map(|name| key_of(name, &id));
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
    }
}
