//! Reads what the node has written: records by number, entries with their bodies, and trees at earlier sizes. Runs on
//! threads beside the loop, because the disk may be slow. The index only says where to look; the record says what it is.

use crate::exchange::{Act, Input, Place, Record, Stowed};
use crate::journal::{ReadError, SlotError, Vault};
use crate::merkle::{CompactRange, Growth, leaf_hash};
use crate::name::{Hash, Origin};
use crate::wire::{Absent, EntryFrame, Leaf, Payload};

use super::order::Node;

/// Why an entry or its body cannot be read. It is this node's own damage.
#[derive(Debug, thiserror::Error)]
pub(super) enum HistoryError {
    /// The journal does not give the record.
    #[error(transparent)]
    Journal(#[from] ReadError),
    /// The record is of another kind than it must be.
    #[error("record {0} is not what was looked for")]
    OtherRecord(u64),
    /// No record of this entry is known.
    #[error("entry {index} of {origin} is not known here")]
    NoEntry {
        /// The log.
        origin: Origin,
        /// The index.
        index: u64,
    },
    /// Salt and body are not those that the leaf is bound to.
    #[error("the body of entry {index} of {origin} is not the one that was signed")]
    OtherBody {
        /// The log.
        origin: Origin,
        /// The index.
        index: u64,
    },
    /// The body cannot be opened any more.
    #[error("the body cannot be opened: {0}")]
    Body(SlotError),
}

/// One record.
pub(super) fn record(node: &Node, number: u64) -> Result<Record, HistoryError> {
    Ok(Record::decode(&node.journal.read(number)?.bytes))
}

/// Salt and body, opened; an erased body is absent, not an error.
pub(super) fn open(vault: &Vault, stowed: &Stowed) -> Result<Payload, HistoryError> {
    match stowed {
        Stowed::Clear { salt, body } => Ok(Payload::Present { salt: *salt, body: body.clone() }),
        Stowed::Absent(reason) => Ok(Payload::Absent(*reason)),
        Stowed::Sealed { slot, bytes } => match vault.open_sealed(*slot, bytes) {
            Ok((salt, body)) => Ok(Payload::Present { salt, body }),
            Err(SlotError::Destroyed(_)) => Ok(Payload::Absent(Absent::Erased)),
            Err(error) => Err(HistoryError::Body(error)),
        },
    }
}

/// Leaf and stowed body of the entry that a record is about, of either direction.
pub(super) fn entry_of(node: &Node, number: u64) -> Result<(Leaf, Stowed), HistoryError> {
    placed(node, number).map(|(_, leaf, stowed)| (leaf, stowed))
}

fn placed(node: &Node, number: u64) -> Result<(Place, Leaf, Stowed), HistoryError> {
    match record(node, number)?.act {
        Act::VolumeOpened { place, leaf, salt, body } => Ok((place, leaf, Stowed::Clear { salt, body })),
        Act::Fetched { place, leaf, payload } | Act::Stored { place, leaf, payload, .. } => Ok((place, leaf, payload)),
        Act::Appended { place, leaf, queued } => Ok((place, leaf, queued_payload(node, queued)?)),
        _ => Err(HistoryError::OtherRecord(number)),
    }
}

/// The stowed body of a Queued record (or of one that carries its own).
pub(super) fn queued_payload(node: &Node, number: u64) -> Result<Stowed, HistoryError> {
    match record(node, number)?.act {
        Act::Queued { payload, .. } | Act::Fetched { payload, .. } => Ok(payload),
        Act::VolumeOpened { salt, body, .. } => Ok(Stowed::Clear { salt, body }),
        _ => Err(HistoryError::OtherRecord(number)),
    }
}

/// One entry of a log that this node has, with its body; `Err` where the leaf cannot be read, an absent body where it
/// cannot be opened.
pub(super) fn entry(node: &Node, origin: Origin, index: u64) -> Result<EntryFrame, HistoryError> {
    let number = locate(node, origin, index).ok_or(HistoryError::NoEntry { origin, index })?;
    let (place, leaf, stowed) = placed(node, number)?;
    if (place.volume, place.index) != (origin.volume, index) {
        return Err(HistoryError::OtherRecord(number));
    }
    let opened = open(&node.vault, &stowed).and_then(|payload| match &payload {
        Payload::Present { salt, body } if !leaf.is_opened_by(salt, body) => {
            Err(HistoryError::OtherBody { origin, index })
        }
        _ => Ok(payload),
    });
    let payload = opened.unwrap_or_else(|error| {
        tracing::error!(%origin, index, %error, "a body is lost");
        node.standing().bodies_lost += 1;
        Payload::Absent(Absent::Unavailable)
    });
    Ok(EntryFrame { index, leaf, payload })
}

/// Whether an entry of an own log can still be sent as it was signed.
pub(super) fn check(node: &Node, origin: Origin, index: u64) -> Input {
    match entry(node, origin, index).map(|entry| entry.payload) {
        Ok(Payload::Present { .. } | Payload::Absent(Absent::Sealed | Absent::Voided)) => {
            Input::BodyKept { origin, index }
        }
        Ok(Payload::Absent(_)) => Input::BodyLost { origin, index },
        Err(error) => {
            tracing::error!(%origin, index, %error, "an entry cannot be read");
            Input::BodyLost { origin, index }
        }
    }
}

/// The record of an entry; the index is given the time to reach what is durable.
pub(super) fn locate(node: &Node, origin: Origin, index: u64) -> Option<u64> {
    node.index.locate(node.me, origin, index).or_else(|| {
        node.index.caught_up_blocking(node.journal_end());
        node.index.locate(node.me, origin, index)
    })
}

/// Entries of a log from `from` on and below `to`, as many as fit `bytes_max`, one at least; empty where the first
/// cannot be read.
pub(super) fn load(node: &Node, origin: Origin, from: u64, to: u64, bytes_max: u64) -> Vec<EntryFrame> {
    let (mut entries, mut bytes) = (Vec::new(), 0);
    for index in from..to {
        let entry = match entry(node, origin, index) {
            Ok(entry) => entry,
            Err(error) => {
                tracing::error!(%origin, index, %error, "an entry cannot be read");
                break;
            }
        };
        bytes += entry_bytes(&entry);
        if bytes > bytes_max && !entries.is_empty() {
            break;
        }
        entries.push(entry);
    }
    entries
}

/// Bytes of leaf and body.
pub(super) fn entry_bytes(entry: &EntryFrame) -> u64 {
    let body = match &entry.payload {
        Payload::Present { body, .. } => body.len(),
        Payload::Absent(_) => 0,
    };
    (entry.leaf.bytes().len() + body) as u64
}

/// The tree of a log, own or held, at a size, from the leaves themselves.
pub(super) fn range_at(node: &Node, origin: Origin, size: u64) -> Option<CompactRange> {
    let mut range = CompactRange::default();
    for index in 0..size {
        range.push(leaf_at(node, origin, index)?);
    }
    Some(range)
}

/// The tree of a log, own or held, at a smaller size, watched up to a larger one, from the leaves themselves.
pub(super) fn growth_of(node: &Node, origin: Origin, size: u64, upto: u64) -> Option<Growth> {
    let mut growth = Growth::of(range_at(node, origin, size)?);
    for index in size..upto {
        growth.push(leaf_at(node, origin, index)?);
    }
    Some(growth)
}

fn leaf_at(node: &Node, origin: Origin, index: u64) -> Option<Hash> {
    let number = locate(node, origin, index)?;
    match record(node, number).ok()?.act {
        Act::VolumeOpened { leaf, place, .. }
        | Act::Appended { leaf, place, .. }
        | Act::Fetched { leaf, place, .. }
        | Act::Stored { leaf, place, .. }
            if (place.volume, place.index) == (origin.volume, index) =>
        {
            Some(leaf_hash(leaf.bytes()))
        }
        _ => None,
    }
}
