//! Finds the heads that the journal has over the entries of an own log: a line that was ever stored for a size is sent
//! again, never made anew. The journal is read once for many sizes, and from there on only what is new.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::history;
use super::order::Node;
use crate::exchange::{Act, Place, Record, StoredHead};
use crate::name::Origin;

/// How many sizes are looked for in one reading of the journal: a few megabytes of record numbers at most.
const SIZES: u64 = 65_536;

/// Where heads of one log stand in the journal.
#[derive(Debug, Default)]
pub(super) struct HeadsFound {
    origin: Option<Origin>,
    /// Sizes above this one, …
    from: u64,
    /// … up to this one.
    to: u64,
    /// The next record to read.
    next: u64,
    records: BTreeMap<u64, Vec<u64>>,
}

/// Every head that the journal has for that log with a size above `from`, up to `to`.
pub(super) fn recorded(node: &Node, origin: Origin, from: u64, to: u64) -> Vec<StoredHead> {
    let mut found = node.heads.lock().unwrap_or_else(PoisonError::into_inner);
    if found.origin != Some(origin) || from < found.from || to > found.to {
        let to = to.max(from.saturating_add(SIZES));
        *found = HeadsFound { origin: Some(origin), from, to, next: opening(node, origin), records: BTreeMap::new() };
    }
    if let Err(error) = found.read_on(node, origin) {
        tracing::error!(%origin, %error, "the journal cannot be read for heads");
    }
    let numbers = found.records.range(from + 1..=to).flat_map(|(_, numbers)| numbers);
    numbers.filter_map(|number| head(&history::record(node, *number).ok()?, origin)).map(|(_, head)| head).collect()
}

/// The record before which this log has no head. Where a holder's branch took the place of the own one, its beginning
/// is not the log's.
fn opening(node: &Node, origin: Origin) -> u64 {
    let first = history::locate(node, origin, 0);
    let opened = |number: &u64| {
        history::record(node, *number).is_ok_and(|record| matches!(record.act, Act::VolumeOpened { .. }))
    };
    first.filter(opened).unwrap_or(0)
}

impl HeadsFound {
    fn read_on(&mut self, node: &Node, origin: Origin) -> std::io::Result<()> {
        for group in node.journal.scan(self.next)? {
            let group = match group {
                Ok(group) => group,
                Err(damage) => {
                    // What stands there is lost; it is named by the start and by `log verify`.
                    tracing::warn!(%damage, "heads in a damaged part of the journal are passed over");
                    continue;
                }
            };
            for raw in group.records.iter().filter(|raw| raw.number >= self.next) {
                if let Some((place, _)) = head(&Record::decode(&raw.bytes), origin)
                    && (self.from + 1..=self.to).contains(&place.index)
                {
                    self.records.entry(place.index).or_default().push(raw.number);
                }
            }
            self.next = self.next.max(group.next_record());
        }
        Ok(())
    }
}

fn head(record: &Record, origin: Origin) -> Option<(Place, StoredHead)> {
    match &record.act {
        Act::Signed { place, root, lines } | Act::FetchedHead { place, root, lines }
            if place.peer == origin.to && place.volume == origin.volume =>
        {
            Some((*place, StoredHead { size: place.index, root: *root, lines: lines.clone() }))
        }
        _ => None,
    }
}
