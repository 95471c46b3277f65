//! Bodies and leaves of items that are on their way, so that the common path does not read them back from the disk.
//! Bounded.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::name::EntryId;
use crate::wire::{Leaf, Payload};

/// Bytes of bodies kept; what does not fit is read from the journal.
const LIVE_BYTES: usize = 32 << 20;

#[derive(Debug)]
struct Body {
    salt: [u8; 32],
    body: Bytes,
    leaf: Option<Leaf>,
}

/// The bodies, oldest dropped first.
#[derive(Debug, Default)]
pub(super) struct Live {
    bodies: BTreeMap<EntryId, Body>,
    order: VecDeque<EntryId>,
    bytes: usize,
}

impl Live {
    pub fn insert(&mut self, id: EntryId, salt: [u8; 32], body: Bytes) {
        self.bytes += body.len() + OVERHEAD;
        if let Some(old) = self.bodies.insert(id, Body { salt, body, leaf: None }) {
            self.bytes -= old.body.len() + OVERHEAD;
        } else {
            self.order.push_back(id);
        }
        while self.bytes > LIVE_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.remove(&oldest);
        }
    }

    /// The entry was appended.
    pub fn set_leaf(&mut self, id: &EntryId, leaf: &Leaf) {
        if let Some(body) = self.bodies.get_mut(id) {
            body.leaf = Some(leaf.clone());
        }
    }

    pub fn payload(&self, id: &EntryId) -> Option<Payload> {
        self.bodies.get(id).map(|body| Payload::Present { salt: body.salt, body: body.body.clone() })
    }

    pub fn leaf(&self, id: &EntryId) -> Option<Leaf> {
        self.bodies.get(id).and_then(|body| body.leaf.clone())
    }

    pub fn remove(&mut self, id: &EntryId) {
        if let Some(body) = self.bodies.remove(id) {
            self.bytes -= body.body.len() + OVERHEAD;
        }
        // Names of bodies that are gone leave the order when they come to its front.
        while self.order.front().is_some_and(|id| !self.bodies.contains_key(id)) {
            self.order.pop_front();
        }
        if self.order.len() > 2 * self.bodies.len() + 64 {
            self.order.retain(|id| self.bodies.contains_key(id));
        }
    }
}

/// What an entry of the two maps weighs besides the body.
const OVERHEAD: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> EntryId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
        EntryId(bytes)
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let mut live = Live::default();
        let body = Bytes::from(vec![0; 48 << 10]);
        for number in 0..2_000 {
            live.insert(id(number), [0; 32], body.clone());
        }
        assert!(live.bytes <= LIVE_BYTES);
        assert!(live.payload(&id(0)).is_none());
        assert!(live.payload(&id(1_999)).is_some());
        for number in 0..2_000 {
            live.remove(&id(number));
        }
        assert_eq!((live.bytes, live.order.len()), (0, 0));
    }
}
