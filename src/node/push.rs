//! Entries on their way to a peer: finds the payloads that the core no longer has in memory, and keeps the order of the
//! pushes over one connection while the disk is asked.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::history;
use super::order::{Node, Order};
use crate::exchange::{Act, ConnId, EntryRef, Input, Place, Record};
use crate::name::Origin;
use crate::wire::{EntryFrame, Leaf, Payload};

/// Bytes of leaves and bodies of own entries that are kept until their receipt; what does not fit is read from the
/// journal. A window of small messages fits several times.
pub const LEAVES_BYTES: usize = 32 << 20;

/// What an entry of the map weighs besides its leaf.
const LEAF_OVERHEAD: usize = 160;

/// Leaves of own entries that were just recorded, so that the common path reads nothing back from the disk.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    kept: BTreeMap<Place, (Leaf, Option<Payload>)>,
    bytes: usize,
}

fn weight(leaf: &Leaf, payload: Option<&Payload>) -> usize {
    let body = match payload {
        Some(Payload::Present { body, .. }) => body.len(),
        Some(Payload::Absent(_)) | None => 0,
    };
    leaf.bytes().len() + body + LEAF_OVERHEAD
}

impl Leaves {
    /// Takes in a record of the group that is being written.
    pub(super) fn recorded(&mut self, record: &Record) {
        match &record.act {
            Act::VolumeOpened { place, leaf, salt, body } => {
                self.insert(*place, leaf, Some(Payload::Present { salt: *salt, body: body.clone() }));
            }
            Act::Appended { place, leaf, .. } => self.insert(*place, leaf, None),
            Act::Receipt { place, .. } => self.receipted(*place),
            _ => {}
        }
    }

    fn insert(&mut self, place: Place, leaf: &Leaf, payload: Option<Payload>) {
        let weight = weight(leaf, payload.as_ref());
        if self.bytes + weight <= LEAVES_BYTES {
            self.bytes += weight;
            self.kept.insert(place, (leaf.clone(), payload));
        }
    }

    /// Everything below a receipt has arrived.
    fn receipted(&mut self, head: Place) {
        let arrived = self.kept.range(Place { index: 0, ..head }..head).map(|(place, _)| *place).collect::<Vec<_>>();
        for place in arrived {
            if let Some((leaf, payload)) = self.kept.remove(&place) {
                self.bytes -= weight(&leaf, payload.as_ref());
            }
        }
    }

    fn fill(&self, origin: Origin, entry: &mut EntryRef) {
        let place = Place { peer: origin.to, volume: origin.volume, index: entry.index };
        let Some((leaf, payload)) = self.kept.get(&place) else { return };
        entry.leaf.get_or_insert_with(|| leaf.clone());
        if entry.payload.is_none() {
            entry.payload.clone_from(payload);
        }
    }
}

/// A push as the core has decided it.
#[derive(Debug)]
pub(super) struct Push {
    origin: Origin,
    entries: Vec<EntryRef>,
    note: Bytes,
}

/// A push with everything that travels.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) conn: ConnId,
    pub(super) entries: Vec<EntryFrame>,
    pub(super) note: Bytes,
}

/// What a thread has found for a push; `None` where a body is lost, of which the core was told.
#[derive(Debug)]
pub(super) struct Resolved {
    conn: ConnId,
    ready: Option<Ready>,
}

/// The pushes of every connection that wait for the disk; a connection without any has no lane.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<ConnId, VecDeque<Push>>,
    pub(super) leaves: Leaves,
}

impl Lanes {
    /// Takes a push; what can leave at once is returned. The core keeps unreceipted bytes, and with them what can wait
    /// here, within the peer's window.
    pub(super) fn push(
        &mut self,
        conn: ConnId,
        origin: Origin,
        entries: Vec<EntryRef>,
        note: Bytes,
        node: &Arc<Node>,
    ) -> Option<Ready> {
        let mut entries = entries;
        entries.iter_mut().for_each(|entry| self.leaves.fill(origin, entry));
        let push = Push { origin, entries, note };
        if let Some(lane) = self.lanes.get_mut(&conn) {
            lane.push_back(push);
            return None;
        }
        match at_hand(push.entries) {
            Ok(entries) => Some(Ready { conn, entries, note: push.note }),
            Err(entries) => {
                self.lanes.insert(conn, VecDeque::new());
                resolve(conn, Push { entries, ..push }, node);
                None
            }
        }
    }

    /// A thread has answered: what can leave now, in order.
    pub(super) fn resolved(&mut self, resolved: Resolved, node: &Arc<Node>) -> Vec<Ready> {
        let Resolved { conn, ready } = resolved;
        let mut ready: Vec<Ready> = ready.into_iter().collect();
        let Some(lane) = self.lanes.get_mut(&conn) else { return Vec::new() };
        while let Some(push) = lane.pop_front() {
            match at_hand(push.entries) {
                Ok(entries) => ready.push(Ready { conn, entries, note: push.note }),
                Err(entries) => {
                    resolve(conn, Push { entries, origin: push.origin, note: push.note }, node);
                    return ready;
                }
            }
        }
        self.lanes.remove(&conn);
        ready
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.lanes.remove(&conn);
    }
}

/// The frames, where the core gave everything; otherwise the entries back.
fn at_hand(entries: Vec<EntryRef>) -> Result<Vec<EntryFrame>, Vec<EntryRef>> {
    if entries.iter().any(|entry| entry.leaf.is_none() || entry.payload.is_none()) {
        return Err(entries);
    }
    Ok(entries
        .into_iter()
        .filter_map(|entry| Some(EntryFrame { index: entry.index, leaf: entry.leaf?, payload: entry.payload? }))
        .collect())
}

fn resolve(conn: ConnId, push: Push, node: &Arc<Node>) {
    let node = node.clone();
    tokio::task::spawn_blocking(move || {
        let Push { origin, entries, note } = push;
        // What was signed a moment ago may not be indexed yet; that it is not found is no loss.
        node.index.caught_up_blocking(node.journal_end());
        let found: Result<Vec<EntryFrame>, u64> = entries
            .into_iter()
            .map(|entry| {
                let index = entry.index;
                find(&node, origin, entry).map_err(|error| {
                    tracing::error!(%origin, index, %error, "an entry that was to be sent is lost");
                    index
                })
            })
            .collect();
        let ready = match found {
            Ok(entries) => Some(Ready { conn, entries, note }),
            Err(index) => {
                node.standing().bodies_lost += 1;
                node.feed(Input::BodyLost { origin, index });
                None
            }
        };
        let _ = node.orders.send(Order::Resolved(Resolved { conn, ready }));
    });
}

fn find(node: &Node, origin: Origin, entry: EntryRef) -> Result<EntryFrame, history::HistoryError> {
    let EntryRef { index, leaf, record, payload } = entry;
    let Some(leaf) = leaf else {
        let found = history::entry(node, origin, index)?;
        return Ok(EntryFrame { payload: payload.unwrap_or(found.payload), ..found });
    };
    let payload = match (payload, record) {
        (Some(payload), _) => payload,
        (None, Some(record)) => history::open(&node.vault, &history::queued_payload(node, record)?)?,
        (None, None) => history::entry(node, origin, index)?.payload,
    };
    if let Payload::Present { salt, body } = &payload
        && !leaf.is_opened_by(salt, body)
    {
        return Err(history::HistoryError::OtherBody { origin, index });
    }
    Ok(EntryFrame { index, leaf, payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Hash, Millis};

    fn place(index: u64) -> Place {
        Place { peer: "XB".parse().unwrap(), volume: "1.5f0c9a3e7b2d4410".parse().unwrap(), index }
    }

    fn appended(index: u64) -> Record {
        let leaf = Leaf::new(Hash([1; 32]), 5, &[0; 900]).unwrap();
        Record { time: Millis(1), act: Act::Appended { place: place(index), leaf, queued: 7 } }
    }

    #[test]
    fn leaves_are_kept_until_their_receipt_and_no_longer() {
        let mut leaves = Leaves::default();
        (0..3).for_each(|index| leaves.recorded(&appended(index)));
        leaves.recorded(&Record { time: Millis(1), act: Act::Receipt { place: place(2), lines: Vec::new() } });
        assert_eq!(leaves.kept.keys().map(|place| place.index).collect::<Vec<_>>(), [2]);
        leaves.recorded(&Record { time: Millis(1), act: Act::Receipt { place: place(3), lines: Vec::new() } });
        assert_eq!((leaves.kept.len(), leaves.bytes), (0, 0));
    }

    #[test]
    fn memory_is_bounded_and_what_does_not_fit_is_left_to_the_journal() {
        let mut leaves = Leaves::default();
        (0..40_000).for_each(|index| leaves.recorded(&appended(index)));
        assert!(leaves.bytes <= LEAVES_BYTES && leaves.kept.len() < 40_000);
        let origin = "verbale/XA/XB/1.5f0c9a3e7b2d4410".parse().unwrap();
        let mut entry = EntryRef { index: 0, leaf: None, record: Some(7), payload: None };
        leaves.fill(origin, &mut entry);
        assert!(entry.leaf.is_some());
    }
}
