//! How things are named inside sled: every key begins with the byte of its family, and numbers are big-endian, so that
//! ranges of keys are ranges in order.

use crate::name::{Desk, NodeName, State, Volume};

/// The cursor: how far the journal has been taken in.
pub(super) const CURSOR: &[u8] = b"c";
/// The list of runs of postings.
pub(super) const RUNS: &[u8] = b"q";
const LOG: u8 = b'o';
const TILE: u8 = b't';
const LOCATIONS: u8 = b'l';
const RECEIPT: u8 = b'r';
const ROWS: u8 = b'm';
const POSTINGS: u8 = b'p';
const PENDING: u8 = b'w';

/// A volume of a log: whose log, with whom, which volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// The other State's node.
    pub peer: NodeName,
    /// The log that this node writes (true), or the one that the peer writes.
    pub own: bool,
    /// Which volume.
    pub volume: Volume,
}

/// All messages with one peer in one direction; ordered by peer, the received ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Folder {
    pub peer: NodeName,
    pub outgoing: bool,
}

pub(super) const LOG_BYTES: usize = 16;
pub(super) const FOLDER_BYTES: usize = 4;

fn node_bytes(node: NodeName) -> [u8; 3] {
    let code = node.state();
    let code = code.code().as_bytes();
    [code[0], code[1], node.desk().map_or(0, |desk| desk.number() as u8)]
}

fn node_from(bytes: &[u8]) -> Option<NodeName> {
    let state: State = std::str::from_utf8(bytes.get(..2)?).ok()?.parse().ok()?;
    let desk = match *bytes.get(2)? {
        0 => None,
        number => Some(Desk::from_number(number.into())?),
    };
    Some(NodeName::new(state, desk))
}

impl Folder {
    pub(super) fn bytes(self) -> [u8; FOLDER_BYTES] {
        let [a, b, desk] = node_bytes(self.peer);
        [a, b, desk, u8::from(self.outgoing)]
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self { peer: node_from(bytes)?, outgoing: *bytes.get(3)? == 1 })
    }
}

impl LogId {
    pub(super) fn bytes(&self) -> [u8; LOG_BYTES] {
        let [a, b, desk] = node_bytes(self.peer);
        let mut bytes = [0; LOG_BYTES];
        bytes[..4].copy_from_slice(&[a, b, desk, u8::from(self.own)]);
        bytes[4..8].copy_from_slice(&self.volume.number.to_be_bytes());
        bytes[8..].copy_from_slice(&self.volume.random);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?);
        let random = bytes.get(8..LOG_BYTES)?.try_into().ok()?;
        Some(Self { peer: node_from(bytes)?, own: *bytes.get(3)? == 1, volume: Volume { number, random } })
    }
}

fn key(family: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![family];
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

pub(super) fn log(log: &LogId) -> Vec<u8> {
    key(LOG, &[&log.bytes()])
}

/// All volumes of all logs, or of the logs with one peer.
pub(super) fn logs(peer: Option<NodeName>) -> Vec<u8> {
    match peer {
        Some(peer) => key(LOG, &[&node_bytes(peer)]),
        None => vec![LOG],
    }
}

pub(super) fn log_of(key: &[u8]) -> Option<LogId> {
    LogId::from_bytes(key.get(1..)?)
}

/// Up to 256 hashes of subtrees of 256^level leaves, as c2sp.org/tlog-tiles cuts a tree.
pub(super) fn tile(log: &LogId, level: u8, index: u64) -> Vec<u8> {
    key(TILE, &[&log.bytes(), &[level], &index.to_be_bytes()])
}

/// Where up to 256 entries lie in the journal.
pub(super) fn locations(log: &LogId, index: u64) -> Vec<u8> {
    key(LOCATIONS, &[&log.bytes(), &index.to_be_bytes()])
}

pub(super) fn receipt(log: &LogId, size: u64) -> Vec<u8> {
    key(RECEIPT, &[&log.bytes(), &size.to_be_bytes()])
}

pub(super) fn receipts(log: &LogId) -> Vec<u8> {
    key(RECEIPT, &[&log.bytes()])
}

/// What an entry says about other messages, until a receipt covers it.
pub(super) fn pending(log: &LogId, index: u64) -> Vec<u8> {
    key(PENDING, &[&log.bytes(), &index.to_be_bytes()])
}

pub(super) fn all_pending() -> Vec<u8> {
    vec![PENDING]
}

/// Rows of messages from a record number on.
pub(super) fn rows(folder: Folder, first_record: u64) -> Vec<u8> {
    key(ROWS, &[&folder.bytes(), &first_record.to_be_bytes()])
}

pub(super) fn rows_of(folder: Folder) -> Vec<u8> {
    key(ROWS, &[&folder.bytes()])
}

pub(super) fn all_rows() -> Vec<u8> {
    vec![ROWS]
}

/// The folder and the first record number of a value with rows.
pub(super) fn rows_at(key: &[u8]) -> Option<(Folder, u64)> {
    let folder = Folder::from_bytes(key.get(1..=FOLDER_BYTES)?)?;
    Some((folder, u64::from_be_bytes(key.get(1 + FOLDER_BYTES..)?.try_into().ok()?)))
}

pub(super) fn postings(run: u32, first_key: u64, first_record: u64) -> Vec<u8> {
    key(POSTINGS, &[&run.to_be_bytes(), &first_key.to_be_bytes(), &first_record.to_be_bytes()])
}

pub(super) fn run(run: u32) -> Vec<u8> {
    key(POSTINGS, &[&run.to_be_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_and_folders_read_back_from_their_keys() {
        let id =
            LogId { peer: "XB.diplomatic".parse().unwrap(), own: true, volume: "7.5f0c9a3e7b2d4410".parse().unwrap() };
        assert_eq!(log_of(&log(&id)), Some(id));
        let folder = Folder { peer: "XB".parse().unwrap(), outgoing: false };
        assert_eq!(rows_at(&rows(folder, 300)), Some((folder, 300)));
        assert_eq!(log_of(b"o"), None);
        assert_eq!(rows_at(b"mXB"), None);
    }
}
