//! How far the journal has been taken in, and which journal it was.

use crate::name::{JournalId, NodeName};

use super::key::{self, Folder};
use super::row::Fields;
use super::{StoreError, sealed};

/// The form of everything in sled. Another number than this one: rebuild.
const VERSION: u32 = 2;

/// How far the journal has been taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The first record that is not taken in.
    pub next_record: u64,
    /// The first record of a group that was taken in, at least in part: the newest one.
    pub group_record: u64,
    /// The chain of that group.
    pub chain: [u8; 32],
    /// The journal, once its first record was read.
    pub journal: Option<JournalId>,
    /// This node, once the journal's first record was read.
    pub me: Option<NodeName>,
    /// Rows of messages.
    pub rows: u64,
    /// Names by which messages are found.
    pub names: u64,
    /// Entries in all logs.
    pub entries: u64,
    /// Volumes of logs.
    pub logs: u64,
    /// Entries whose words about other messages wait for a receipt.
    pub pending: u64,
    /// Records that could not be read.
    pub unread: u64,
}

impl Cursor {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = VERSION.to_be_bytes().to_vec();
        for number in [
            self.next_record,
            self.group_record,
            self.rows,
            self.names,
            self.entries,
            self.logs,
            self.pending,
            self.unread,
        ] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.chain);
        out.push(self.journal.is_some().into());
        out.extend_from_slice(self.journal.unwrap_or_default().as_bytes());
        if let Some(peer) = self.me {
            out.extend_from_slice(&Folder { peer, outgoing: true }.bytes());
        }
        out
    }

    /// Reads the cursor.
    ///
    /// # Errors
    /// A damaged one, none at all, one of another version.
    pub(super) fn load(tree: &sled::Tree) -> Result<Self, StoreError> {
        let Some(value) = sealed::get(tree, key::CURSOR)? else {
            let what = if tree.is_empty() {
                "it is empty, and should hold at least its cursor"
            } else {
                "the cursor is missing"
            };
            return Err(StoreError::Damaged(what.to_owned()));
        };
        let mut fields = Fields(&value);
        if fields.u32() != VERSION {
            return Err(StoreError::Damaged("it was written by another version of this program".to_owned()));
        }
        let [next_record, group_record, rows, names, entries, logs, pending, unread] =
            std::array::from_fn(|_| fields.u64());
        let chain = fields.take();
        let has_journal = fields.take::<1>()[0] == 1;
        let journal = JournalId(fields.take());
        let me = Folder::from_bytes(fields.0).map(|folder| folder.peer);
        let journal = has_journal.then_some(journal);
        Ok(Self { next_record, group_record, chain, journal, me, rows, names, entries, logs, pending, unread })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_a_store_without_one_is_noticed() {
        let db = sled::Config::new().temporary(true).open().unwrap();
        assert!(Cursor::load(&db).is_err());
        let cursor = Cursor {
            next_record: 7,
            group_record: 4,
            chain: [3; 32],
            journal: Some(JournalId([4; 16])),
            me: Some("XA.technical".parse().unwrap()),
            rows: 5,
            names: 9,
            entries: 6,
            logs: 2,
            pending: 3,
            unread: 1,
        };
        db.insert(key::CURSOR, sealed::seal(key::CURSOR, cursor.encode())).unwrap();
        assert_eq!(Cursor::load(&db).unwrap(), cursor);
        db.remove(key::CURSOR).unwrap();
        db.insert(b"x", b"y").unwrap();
        assert!(Cursor::load(&db).is_err());
    }
}
