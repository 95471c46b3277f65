//! Entries on their way to a peer: finds the payloads that the core no longer has in memory, and keeps the order of the
//! pushes over one connection while the disk is asked.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::history;
use super::order::{Node, Order};
use crate::exchange::{ConnId, EntryRef, Input};
use crate::name::Origin;
use crate::wire::{EntryFrame, Payload};

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
pub(super) struct Lanes(HashMap<ConnId, VecDeque<Push>>);

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
        let push = Push { origin, entries, note };
        if let Some(lane) = self.0.get_mut(&conn) {
            lane.push_back(push);
            return None;
        }
        match at_hand(push.entries) {
            Ok(entries) => Some(Ready { conn, entries, note: push.note }),
            Err(entries) => {
                self.0.insert(conn, VecDeque::new());
                resolve(conn, Push { entries, ..push }, node);
                None
            }
        }
    }

    /// A thread has answered: what can leave now, in order.
    pub(super) fn resolved(&mut self, resolved: Resolved, node: &Arc<Node>) -> Vec<Ready> {
        let Resolved { conn, ready } = resolved;
        let mut ready: Vec<Ready> = ready.into_iter().collect();
        let Some(lane) = self.0.get_mut(&conn) else { return Vec::new() };
        while let Some(push) = lane.pop_front() {
            match at_hand(push.entries) {
                Ok(entries) => ready.push(Ready { conn, entries, note: push.note }),
                Err(entries) => {
                    resolve(conn, Push { entries, origin: push.origin, note: push.note }, node);
                    return ready;
                }
            }
        }
        self.0.remove(&conn);
        ready
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.0.remove(&conn);
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
