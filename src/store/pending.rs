//! What a received entry says about other messages waits here until a receipt of this node covers the entry (D8): nobody
//! is told that a message was acknowledged, held, refused or withdrawn by an entry that nobody may see yet. Values lie in
//! sled and not in memory, because a peer may send much before a head that can be receipted.

use bytes::Bytes;

use crate::wire::{Header, VolumeBody};

use super::StoreError;
use super::batch::Batch;
use super::key::{self, LogId};
use super::row::Fields;

/// How many are taken at once: a kilobyte each at most, so that one step stays a few of sled's buffers.
const AT_ONCE: usize = 256;

const ENTRY: u8 = 1;
const VOLUME: u8 = 2;

/// What waits for a receipt.
#[derive(Debug)]
pub(super) enum Pending {
    /// The header of an entry that says something about other messages, and the entry's record.
    Entry(Header, u64),
    /// The body of a VOLUME entry that lists bodies as gone.
    Volume(VolumeBody),
}

/// Keeps the header of an entry until a receipt covers it.
pub(super) fn keep_entry(batch: &mut Batch, log: &LogId, index: u64, header: &[u8], record: u64) {
    keep(batch, log, index, ENTRY, header, record);
}

/// Keeps the body of a VOLUME entry until a receipt covers it.
pub(super) fn keep_volume(batch: &mut Batch, log: &LogId, body: &[u8], record: u64) {
    keep(batch, log, 0, VOLUME, body, record);
}

fn keep(batch: &mut Batch, log: &LogId, index: u64, tag: u8, bytes: &[u8], record: u64) {
    let mut value = vec![tag];
    value.extend_from_slice(&record.to_be_bytes());
    value.extend_from_slice(bytes);
    batch.put(key::pending(log, index), value);
    batch.cursor.pending += 1;
}

/// Takes out the oldest of what waits for a receipt of `log` over its first `size` entries; empty when there is no more.
pub(super) fn take(batch: &mut Batch, tree: &sled::Tree, log: &LogId, size: u64) -> Result<Vec<Pending>, StoreError> {
    if batch.cursor.pending == 0 {
        return Ok(Vec::new());
    }
    let values = batch.take_range(tree, key::pending(log, 0)..key::pending(log, size), AT_ONCE)?;
    batch.cursor.pending = batch.cursor.pending.saturating_sub(values.len() as u64);
    let read =
        |value: &Vec<u8>| decode(value).ok_or_else(|| StoreError::Damaged("what waits cannot be read".to_owned()));
    values.iter().map(read).collect()
}

fn decode(value: &[u8]) -> Option<Pending> {
    let mut fields = Fields(value);
    let tag = fields.take::<1>()[0];
    let record = fields.u64();
    let bytes = Bytes::copy_from_slice(fields.0);
    match tag {
        ENTRY => Header::decode(bytes).ok().map(|header| Pending::Entry(header, record)),
        VOLUME => VolumeBody::decode(bytes).ok().map(Pending::Volume),
        _ => None,
    }
}
