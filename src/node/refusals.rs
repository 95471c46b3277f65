//! Connections that were refused for their certificate, in the journal and counted: with the reason, which the peer never
//! hears, each reason once in a span, and not more often than strangers may fill a journal.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::allowance::{Allowance, and_more};
use super::clock::Clock;
use super::order::Order;
use crate::exchange::Command;
use crate::identity::{Direction, IdentityRefusal, PathError, RefusalLog};
use crate::name::{Millis, NodeName};

/// Refusals of one sort (see [`Sort`]) that are journalled in one [`SPAN`]; the rest is counted and named with the next
/// one.
pub const MAX_PER_SPAN: u32 = 20;

/// 20 records of three sorts, of some 200 bytes each, are 300 KiB a day at the worst.
pub const SPAN: Duration = Duration::from_secs(3600);

/// The subject of these records.
const SUBJECT: &str = "refused-connection";

/// Who could bring such a refusal about. What strangers do must not hide what matters to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// This node dialled: whoever answers at a peer's address.
    Dialled,
    /// Somebody dialled with a certificate that names a peer. Not proven, but known here.
    Peer,
    /// Anybody else.
    Stranger,
}

/// Every sort, in the order of the allowances.
const SORTS: [Sort; 3] = [Sort::Dialled, Sort::Peer, Sort::Stranger];

impl Sort {
    fn of(direction: Direction, reason: &IdentityRefusal) -> Self {
        match (direction, reason) {
            (Direction::Dial, _) => Self::Dialled,
            (
                Direction::Accept,
                IdentityRefusal::NoCertificate
                | IdentityRefusal::UnknownNode(_)
                | IdentityRefusal::Path(PathError::Profile { .. }),
            ) => Self::Stranger,
            (Direction::Accept, _) => Self::Peer,
        }
    }
}

/// Hears of refusals from the TLS library.
pub(super) struct Refusals {
    orders: UnboundedSender<Order>,
    clock: Clock,
    kept: Mutex<[Kept; 3]>,
}

/// What is remembered of one sort: how much was written, and what, in this span.
struct Kept {
    allowance: Allowance,
    written: BTreeSet<String>,
}

impl Default for Kept {
    fn default() -> Self {
        Self { allowance: Allowance::new(MAX_PER_SPAN, SPAN), written: BTreeSet::new() }
    }
}

impl Kept {
    /// The text to write at `now`, where it is new in this span and there is room for it.
    fn take(&mut self, now: Millis, text: String) -> Option<String> {
        if self.allowance.is_over(now) {
            self.written.clear();
        }
        if self.written.contains(&text) {
            self.allowance.pass_over();
            return None;
        }
        let passed_over = self.allowance.take(now)?;
        self.written.insert(text.clone());
        Some(and_more(text, passed_over))
    }
}

impl Refusals {
    pub(super) fn new(orders: UnboundedSender<Order>, clock: Clock) -> Arc<Self> {
        Arc::new(Self { orders, clock, kept: Mutex::default() })
    }

    /// Says how many were passed over in spans that are over.
    pub(super) fn look(&self, now: Millis) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for (kept, sort) in kept.iter_mut().zip(SORTS) {
            if let Some(count) = kept.allowance.overdue(now) {
                kept.written.clear();
                let who = match sort {
                    Sort::Dialled => "on dialling",
                    Sort::Peer => "on accepting, by the name of a peer",
                    Sort::Stranger => "on accepting, by strangers",
                };
                self.write(format!("{count} more of the same {who}"));
            }
        }
    }

    /// The claim is not proven, so the record is filed under no peer.
    fn write(&self, text: String) {
        let note = Command::Note { subject: SUBJECT.into(), peer: None, text, officer: 0 };
        let _ = self.orders.send(Order::Command(Box::new(note), None));
    }
}

impl RefusalLog for Refusals {
    fn refused(&self, direction: Direction, claimed: Option<NodeName>, reason: &IdentityRefusal) {
        let who = claimed.map_or_else(|| "nobody".to_owned(), |name| name.to_string());
        tracing::debug!(%direction, who, %reason, "a connection was refused");
        let text = format!("{direction}; the certificate claims {who}: {reason}");
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let [dialled, peer, stranger] = &mut *kept;
        let kept = match Sort::of(direction, reason) {
            Sort::Dialled => dialled,
            Sort::Peer => peer,
            Sort::Stranger => stranger,
        };
        if let Some(text) = kept.take(self.clock.now(), text) {
            self.write(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    fn notes(received: &mut UnboundedReceiver<Order>) -> Vec<String> {
        let mut texts = Vec::new();
        while let Ok(order) = received.try_recv() {
            match order {
                Order::Command(command, None) => match *command {
                    Command::Note { subject, text, .. } if subject == SUBJECT => texts.push(text),
                    other => panic!("{other:?}"),
                },
                _ => panic!("an order of another kind"),
            }
        }
        texts
    }

    #[test]
    fn strangers_fill_their_own_allowance_and_never_that_of_a_peer() {
        let (orders, mut received) = unbounded_channel();
        let refusals = Refusals::new(orders, Clock);
        let name = |at: u8| -> NodeName { format!("Q{}", char::from(b'M' + at % 14)).parse().unwrap() };
        let desks = [".technical", ".diplomatic", ""];
        let mut strangers = 0;
        for at in 0..14 {
            for desk in desks {
                let claimed: NodeName = format!("{}{desk}", name(at)).parse().unwrap();
                refusals.refused(Direction::Accept, Some(claimed), &IdentityRefusal::UnknownNode(claimed));
                strangers += 1;
            }
        }
        assert!(strangers > MAX_PER_SPAN);
        assert_eq!(notes(&mut received).len(), MAX_PER_SPAN as usize);
        let peer: NodeName = "XB".parse().unwrap();
        for _ in 0..1_000 {
            refusals.refused(Direction::Accept, Some(peer), &PathError::OtherRoot.into());
            refusals.refused(Direction::Dial, Some(peer), &PathError::OtherRoot.into());
        }
        let said = notes(&mut received);
        assert_eq!(said.len(), 2, "the same reason once in a span: {said:?}");
        refusals.look(Clock.now().after(SPAN));
        let said = notes(&mut received);
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].starts_with("999 more") && said[2].starts_with("22 more"), "{said:?}");
    }
}
