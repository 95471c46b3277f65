//! Reads the tree of an own log at a size, which means all leaves below it: for one peer one at a time, and what a newer
//! order has replaced not at all. A peer that connects again and again must not fill the threads that everybody needs.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::history;
use super::order::Node;
use crate::exchange::Input;
use crate::name::{NodeName, Origin};

/// One peer's turn, and the number of its newest order.
#[derive(Debug, Default)]
struct Lane {
    turn: Mutex<()>,
    newest: AtomicU64,
}

impl Lane {
    /// Runs `work` when it is this order's turn, unless a newer one has come meanwhile.
    async fn run<T>(&self, number: u64, work: impl AsyncFnOnce() -> T) -> Option<T> {
        let _turn = self.turn.lock().await;
        if self.newest.load(Ordering::Relaxed) == number { Some(work().await) } else { None }
    }
}

/// The readings under way.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    lanes: HashMap<NodeName, Arc<Lane>>,
}

impl Ranges {
    /// Reads, and feeds the core with what was found.
    pub(super) fn read(&mut self, origin: Origin, size: u64, node: &Arc<Node>) {
        let (lane, number) = self.order(origin.to);
        let node = node.clone();
        tokio::spawn(async move {
            let asked = node.clone();
            let read = async move || {
                tokio::task::spawn_blocking(move || history::range_at(&asked, origin, size)).await.ok().flatten()
            };
            if let Some(range) = lane.run(number, read).await {
                node.feed(Input::Range { origin, size, range });
            }
        });
    }

    fn order(&mut self, peer: NodeName) -> (Arc<Lane>, u64) {
        let lane = self.lanes.entry(peer).or_default().clone();
        let number = lane.newest.fetch_add(1, Ordering::Relaxed) + 1;
        (lane, number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_orders_that_wait_only_the_newest_is_carried_out() {
        let mut ranges = Ranges::default();
        let peer: NodeName = "XB".parse().unwrap();
        let (lane, first) = ranges.order(peer);
        let (_, second) = ranges.order(peer);
        let (_, other) = ranges.order("XC".parse().unwrap());
        assert_eq!(lane.run(first, async || 1).await, None);
        assert_eq!(lane.run(second, async || 2).await, Some(2));
        assert_eq!((first, second, other), (1, 2, 1));
    }
}
