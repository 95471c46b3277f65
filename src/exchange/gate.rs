//! The gate between deciding and doing: no `Stored`, no `Send`.

use std::collections::VecDeque;

/// Something that may leave the node because the records that tell of it are durable. Only the gate makes one.
#[derive(Debug)]
pub struct Stored<T>(T);

impl<T> Stored<T> {
    /// What may now be done.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// What may now be done, to look at.
    pub fn get(&self) -> &T {
        &self.0
    }
}

/// Holds effects back until the records they wait for are durable, and keeps their order.
#[derive(Debug)]
pub(super) struct Gate<T> {
    waiting: VecDeque<(u64, T)>,
    durable: u64,
}

impl<T> Gate<T> {
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::new(), durable: 0 }
    }

    /// Holds `effect` until the first `records` records are durable; what waits for none goes first.
    pub(super) fn hold(&mut self, records: u64, effect: T) {
        match records {
            0 => self.waiting.push_front((records, effect)),
            _ => self.waiting.push_back((records, effect)),
        }
    }

    /// Notes that the first `records` records are durable.
    pub(super) fn durable(&mut self, records: u64) {
        self.durable = self.durable.max(records);
    }

    /// The next effect that may be performed.
    pub(super) fn release(&mut self) -> Option<Stored<T>> {
        let (records, _) = self.waiting.front()?;
        if *records > self.durable {
            return None;
        }
        self.waiting.pop_front().map(|(_, effect)| Stored(effect))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passes_before_its_records_are_durable_and_order_is_kept() {
        let mut gate = Gate::new();
        gate.hold(1, 'a');
        gate.hold(2, 'b');
        assert!(gate.release().is_none());
        gate.durable(1);
        assert_eq!(gate.release().map(Stored::into_inner), Some('a'));
        assert!(gate.release().is_none());
        gate.durable(2);
        assert_eq!(gate.release().map(Stored::into_inner), Some('b'));
        assert!(gate.release().is_none());
    }
}
