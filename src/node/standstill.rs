//! Why a log stood still, in the journal: each change once, and not more often than a peer may fill a journal. The words
//! are neutral: they say what was received and why it was not taken. Nothing of the exchange is decided from it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::allowance::{Allowance, and_more};
use super::standing::words;
use crate::exchange::{Command, Notice, PeerReport};
use crate::name::{Millis, NodeName, Origin};
use crate::wire::{FaultCode, NotNowReason};

/// Records that one peer can bring about in one [`SPAN`]; the rest is counted and named with the next one.
pub const MAX_PER_SPAN: u32 = 20;

/// 20 records of some 250 bytes an hour are 120 KiB a day for a peer at the worst.
pub const SPAN: Duration = Duration::from_secs(3600);

/// Something that keeps a log from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The peer said NOT_NOW.
    Heard(NotNowReason),
    /// This node said NOT_NOW.
    Said(NotNowReason),
    /// A push of the peer was not taken here.
    FoundHere(FaultCode, u64),
    /// A push of this node was not taken by the peer.
    FoundThere(FaultCode, u64),
    /// The journal cannot give back what the own log needs.
    OwnDamage(Origin),
    /// The peer holds a log of this node under keys that are not here.
    FormerKeys(Origin),
}

impl Cause {
    /// What a notice of the core says of it, and of whom.
    pub(super) fn of(notice: &Notice) -> Option<(NodeName, Self)> {
        match *notice {
            Notice::NotNow { peer, reason } => Some((peer, Self::Heard(reason))),
            Notice::Fault { peer, found_here: true, code, index } => Some((peer, Self::FoundHere(code, index))),
            Notice::Fault { peer, found_here: false, code, index } => Some((peer, Self::FoundThere(code, index))),
            Notice::OwnDamage { origin } => Some((origin.to, Self::OwnDamage(origin))),
            Notice::FormerKeys { origin } => Some((origin.to, Self::FormerKeys(origin))),
            _ => None,
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Self::Heard(_) | Self::Said(_) => "not-now",
            Self::FoundHere(..) | Self::FoundThere(..) => "push-not-taken",
            Self::OwnDamage(_) => "own-damage",
            Self::FormerKeys(_) => "former-keys",
        }
    }

    /// Causes of one slot take each other's place: only the newest of each is compared with.
    fn slot(self) -> usize {
        match self {
            Self::Heard(_) => 0,
            Self::Said(_) => 1,
            Self::FoundHere(..) => 2,
            Self::FoundThere(..) => 3,
            Self::OwnDamage(_) => 4,
            Self::FormerKeys(_) => 5,
        }
    }

    /// Whether it concerns the log that this node writes.
    fn is_of_own_log(self) -> bool {
        !matches!(self, Self::Said(_) | Self::FoundHere(..))
    }

    fn text(self, peer: NodeName) -> String {
        match self {
            Self::Heard(reason) => format!("{peer} says: not now; {}", words(reason)),
            Self::Said(reason) => format!("said to {peer}: not now; {}", own_words(reason)),
            Self::FoundHere(code, index) => {
                format!("a push of {peer} was not taken here: {}, at entry {index}", fault_words(code))
            }
            Self::FoundThere(code, index) => {
                format!("a push to {peer} was not taken there: {}, at entry {index}", fault_words(code))
            }
            Self::OwnDamage(origin) => format!("what this node has written into {origin} cannot be read any more"),
            Self::FormerKeys(origin) => format!("{peer} shows {origin} under keys that are not in this folder"),
        }
    }
}

const SLOTS: usize = 6;

#[derive(Debug)]
struct OfPeer {
    allowance: Allowance,
    /// The newest cause of each slot, with how far the log was then.
    newest: [Option<(Cause, u64)>; SLOTS],
}

impl Default for OfPeer {
    fn default() -> Self {
        Self { allowance: Allowance::new(MAX_PER_SPAN, SPAN), newest: [None; SLOTS] }
    }
}

/// What was written of each peer.
#[derive(Debug, Default)]
pub(super) struct Standstill {
    peers: BTreeMap<NodeName, OfPeer>,
}

impl Standstill {
    /// The note of a cause, where it is a change: another cause than the last of its kind, or the log has moved since.
    /// `writable`: whether the disk takes records now.
    pub(super) fn note(
        &mut self,
        now: Millis,
        peer: NodeName,
        cause: Cause,
        report: Option<&PeerReport>,
        writable: bool,
    ) -> Option<Command> {
        let moved =
            report.map_or(0, |report| if cause.is_of_own_log() { report.own_receipted } else { report.peer_size });
        let of_peer = self.peers.entry(peer).or_default();
        let newest = &mut of_peer.newest[cause.slot()];
        if *newest == Some((cause, moved)) {
            return None;
        }
        *newest = Some((cause, moved));
        if !writable {
            of_peer.allowance.pass_over();
            return None;
        }
        let passed_over = of_peer.allowance.take(now)?;
        Some(command(cause.subject(), peer, and_more(cause.text(peer), passed_over)))
    }

    /// Notes of how many were passed over in spans that are over.
    pub(super) fn overdue(&mut self, now: Millis) -> Vec<Command> {
        let overdue = |(peer, of_peer): (&NodeName, &mut OfPeer)| {
            let count = of_peer.allowance.overdue(now)?;
            Some(command(
                "push-not-taken",
                *peer,
                format!("{count} more of the same, pushes not taken and words of not now"),
            ))
        };
        self.peers.iter_mut().filter_map(overdue).collect()
    }
}

fn command(subject: &str, peer: NodeName, text: String) -> Command {
    Command::Note { subject: subject.into(), peer: Some(peer), text, officer: 0 }
}

/// A NOT_NOW of this node in words.
fn own_words(reason: NotNowReason) -> &'static str {
    match reason {
        NotNowReason::Disk => "the disk here is full",
        NotNowReason::Quota => "a quota here is used up",
        NotNowReason::Busy => "a newer connection is being compared",
        NotNowReason::Behind => "this node is fetching its own history",
        NotNowReason::Restricted => "its certificate or revocation list has expired, or it is no peer now",
        NotNowReason::Frozen => "there are two histories, and people must agree to go on",
        NotNowReason::SecondInstance => "two instances of it are alive",
        NotNowReason::Clock => "the clocks differ too much",
        NotNowReason::Unknown => "for another reason",
    }
}

/// A FAULT in words.
fn fault_words(code: FaultCode) -> &'static str {
    match code {
        FaultCode::Gap => "an entry is missing",
        FaultCode::BadRoot => "the entries do not give the root of the head",
        FaultCode::BadSignature => "a signature is missing or does not hold by the keys that were accepted",
        FaultCode::WrongOrigin => "the head is of another log",
        FaultCode::CommitmentMismatch => "a body does not fit with its commitment",
        FaultCode::Size => "the sizes do not fit",
        FaultCode::Contradiction => "there are two histories",
        FaultCode::Poison => "an entry cannot be stored",
        FaultCode::Unknown => "for a reason that this version does not know",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(command: Option<Command>) -> Option<String> {
        match command? {
            Command::Note { peer: Some(_), text, officer: 0, .. } => Some(text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_cause_is_written_once_and_again_when_another_came_between() {
        let (peer, now) = ("XB".parse().unwrap(), Millis(10_000_000));
        let mut standstill = Standstill::default();
        let mut note = |reason| text(standstill.note(now, peer, Cause::Heard(reason), None, true));
        assert_eq!(note(NotNowReason::Disk).as_deref(), Some("XB says: not now; its disk is full"));
        assert_eq!(note(NotNowReason::Disk), None);
        assert!(note(NotNowReason::Frozen).is_some());
        assert!(note(NotNowReason::Disk).is_some());
        assert!(text(standstill.note(now, peer, Cause::Said(NotNowReason::Disk), None, true)).is_some());
    }

    #[test]
    fn a_peer_that_pushes_garbage_without_end_gets_so_many_records_and_one_that_counts_the_rest() {
        let (peer, now) = ("XB".parse().unwrap(), Millis(10_000_000));
        let other = "XC".parse().unwrap();
        let mut standstill = Standstill::default();
        let written = (0..1_000)
            .filter_map(|index| standstill.note(now, peer, Cause::FoundHere(FaultCode::BadRoot, index), None, true));
        assert_eq!(written.count(), MAX_PER_SPAN as usize);
        assert!(standstill.note(now, other, Cause::FoundHere(FaultCode::Gap, 1), None, true).is_some());
        assert!(standstill.overdue(now).is_empty());
        let told = standstill.overdue(now.after(SPAN));
        assert_eq!(told.len(), 1);
        assert!(text(told.into_iter().next()).unwrap().starts_with("980 more"));
        assert!(standstill.overdue(now.after(SPAN)).is_empty());
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_counted_with_the_next() {
        let (peer, now) = ("XB".parse().unwrap(), Millis(10_000_000));
        let mut standstill = Standstill::default();
        assert!(standstill.note(now, peer, Cause::Said(NotNowReason::Disk), None, false).is_none());
        let next = text(standstill.note(now, peer, Cause::Heard(NotNowReason::Busy), None, true)).unwrap();
        assert!(next.contains("1 more"), "{next}");
    }
}
