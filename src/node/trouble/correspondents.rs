//! What is wrong with a peer, and what waits for it.

use std::time::Duration;

use super::super::standing::{PeerStanding, is_fresh, words};
use super::{Level, Saying, count, trouble};
use crate::api::{PeerView, Trouble};
use crate::exchange::ANSWERS_WAITING;
use crate::name::Millis;
use crate::settings::ByteSize;
use crate::wire::NotNowReason;

/// A message that has waited this long for a peer that is down makes it wrong: a restart of the peer takes less.
pub const WAITS_TOO_LONG: Duration = Duration::from_secs(30);

/// The same for IMMEDIATE and FLASH: somebody may have to take the telephone.
pub const URGENT_WAITS_TOO_LONG: Duration = Duration::from_secs(10);

/// A peer that is up and still owes a receipt after this long: a poor link needs minutes for what is large.
pub const SLOW: Duration = Duration::from_secs(15 * 60);

/// A peer for whom nothing waits is named when it has been down for this long. That is no fault of this node, and with
/// many peers one is always down: it is a notice and changes no exit code.
pub const SILENT: Duration = Duration::from_secs(60);

/// A clock that differs this much from a peer's is worth a look: receipts carry its times.
pub const MAX_CLOCK_OFFSET: Duration = Duration::from_secs(120);

/// Looks at one peer. `urgent`: something IMMEDIATE or FLASH waits for it.
pub(in crate::node) fn look(
    now: Millis,
    peer: &PeerView,
    standing: &PeerStanding,
    urgent: bool,
    troubles: &mut Vec<Trouble>,
) {
    let mut found = Vec::new();
    match peer.status.as_str() {
        "removed" => found.extend(left_behind(now, peer)),
        "suspended" => found.extend(suspended(now, peer)),
        _ => {
            found.extend(of_people(peer));
            found.extend(of_queue(now, peer, urgent));
            found.extend(said(now, standing, peer));
            found.extend(quota(peer));
            found.extend(fault(now, standing, peer));
            found.extend(instances(now, standing, peer));
            found.extend(clock(peer));
        }
    }
    troubles.extend(found.into_iter().map(|it| it.peer(peer.peer)));
}

fn waiting(peer: &PeerView) -> u64 {
    peer.queue.queued + peer.queue.unreceipted
}

fn oldest(now: Millis, peer: &PeerView) -> Millis {
    Millis(now.0.saturating_sub(peer.queue.oldest_ms))
}

/// What waits, for the line "affects".
fn waits(peer: &PeerView) -> String {
    let minutes = peer.queue.oldest_ms / 60_000;
    let age = match minutes {
        0 => format!("{} s", peer.queue.oldest_ms / 1_000),
        1..120 => format!("{minutes} min"),
        120..2_880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1_440),
    };
    let queued = count(peer.queue.queued, "message in the queue", "messages in the queue");
    let open =
        count(peer.queue.unreceipted, "entry in the log without a receipt", "entries in the log without a receipt");
    format!("{queued}, {open}; the oldest waits for {age}")
}

fn left_behind(now: Millis, peer: &PeerView) -> Option<Trouble> {
    let name = peer.peer;
    (peer.queue.queued > 0).then(|| {
        trouble(Level::Warning, "left-behind", format!("messages wait for {name}, which was removed"))
            .since(oldest(now, peer))
            .affects(format!("{}; they will not be sent", waits(peer)))
            .todo(format!(
                "cancel them (`verbale outbox --peer {name}`, `verbale outbox cancel`), or make {name} a correspondent \
                 again (`verbale peer add`): then they go out"
            ))
    })
}

fn suspended(now: Millis, peer: &PeerView) -> Option<Trouble> {
    let name = peer.peer;
    (waiting(peer) > 0).then(|| {
        trouble(Level::Warning, "suspended", format!("{name} is suspended here, and messages wait for it"))
            .since(oldest(now, peer))
            .affects(waits(peer))
            .todo(format!("`verbale peer resume {name}`, or cancel what waits"))
    })
}

/// What waits for a decision of people.
fn of_people(peer: &PeerView) -> Option<Trouble> {
    let name = peer.peer;
    match peer.connection.as_str() {
        "frozen" => Some(
            trouble(Level::Error, "frozen", format!("two histories with {name}; the usual cause is a restored backup"))
                .affects(match peer.own_frozen {
                    true => format!("what this node says to {name} waits; the other direction goes on"),
                    false => format!("what {name} says to this node is not taken; the other direction goes on"),
                })
                .todo(format!("speak with {name} by telephone, then run `verbale peer reopen {name}` on both sides")),
        ),
        "restricted" => Some(
            trouble(Level::Error, "restricted", format!("the session with {name} is restricted"))
                .since(peer.since)
                .affects(format!("nothing but renewals passes, both ways. {}", waits(peer)))
                .todo(peer.todo.clone()),
        ),
        "stopped" => Some(
            trouble(Level::Error, "stopped", format!("what this node says to {name} stands still: {}", peer.why))
                .since(peer.since)
                .affects(waits(peer))
                .todo(peer.todo.clone()),
        ),
        _ => None,
    }
}

fn of_queue(now: Millis, peer: &PeerView, urgent: bool) -> Option<Trouble> {
    let (name, age) = (peer.peer, Duration::from_millis(peer.queue.oldest_ms));
    let is_down = matches!(peer.connection.as_str(), "down" | "dialling");
    let unknown = || format!("nothing is known yet; `verbale doctor {name}` goes layer by layer");
    let too_long = if urgent { URGENT_WAITS_TOO_LONG } else { WAITS_TOO_LONG };
    if is_down && waiting(peer) > 0 && age >= too_long {
        let level = if urgent { Level::Error } else { Level::Warning };
        let why = if peer.why.is_empty() { String::new() } else { format!(": {}", peer.why) };
        return Some(
            trouble(level, "peer-down", format!("{name} is down and messages wait for it{why}"))
                .since(peer.since)
                .affects(waits(peer))
                .todo(format!(
                    "`verbale doctor {name}` names the first layer that fails; urgent matters go by telephone"
                )),
        );
    }
    if is_down && waiting(peer) == 0 && now.since(peer.since) >= SILENT {
        let todo = if peer.todo.is_empty() { unknown() } else { peer.todo.clone() };
        return Some(
            trouble(Level::Notice, "peer-silent", format!("{name} is down: {}", peer.why))
                .since(peer.since)
                .affects("nothing waits for it")
                .todo(todo),
        );
    }
    (peer.connection == "up" && waiting(peer) > 0 && age >= SLOW).then(|| {
        let why = if peer.why.is_empty() { String::new() } else { format!(": {}", peer.why) };
        trouble(Level::Warning, "peer-slow", format!("{name} is up, but what was sent has no receipt{why}"))
            .since(oldest(now, peer))
            .affects(waits(peer))
            .todo(format!(
                "`verbale doctor {name}`; a slow link needs its time, everything else is worth a telephone call"
            ))
    })
}

/// What the peer said was not possible now.
fn said(now: Millis, standing: &PeerStanding, peer: &PeerView) -> Option<Trouble> {
    let name = peer.peer;
    let (at, reason) = standing.not_now.filter(|(at, _)| is_fresh(now, *at))?;
    // Busy and behind pass within seconds; two instances have a line of their own.
    if matches!(reason, NotNowReason::Busy | NotNowReason::Behind | NotNowReason::SecondInstance) {
        return None;
    }
    Some(
        trouble(Level::Warning, "not-now", format!("{name}'s node says: not now; {}", words(reason)))
            .since(at)
            .affects(match reason {
                NotNowReason::Quota => format!("{}; nothing is lost, and IMMEDIATE and FLASH still pass", waits(peer)),
                _ => waits(peer),
            })
            .todo(match reason {
                NotNowReason::Quota => format!(
                    "it ends at 00:00 UTC at the latest; if that is too late, ask {name}'s administrator by telephone to \
                     take more from this node"
                ),
                _ => format!("ask {name}'s administrator by telephone; this node tries again by itself"),
            }),
    )
}

/// The peer has come to what is taken from it in a day, or takes no answers.
fn quota(peer: &PeerView) -> Option<Trouble> {
    let name = peer.peer;
    if peer.not_taken != "quota" {
        return None;
    }
    if waiting(peer) >= ANSWERS_WAITING as u64 {
        let what = format!("{name} sends and does not take what is answered");
        return Some(
            trouble(Level::Warning, "quota", what)
                .affects(format!("until it does, only answers are taken from it; nothing is lost. {}", waits(peer)))
                .todo(format!("ask the administrator of {name} by telephone to look at the node there")),
        );
    }
    (peer.today_bytes.saturating_mul(2) >= peer.quota_bytes).then(|| {
        let (today, quota) = (peer.today_bytes >> 20, ByteSize(peer.quota_bytes));
        let what = format!("{name} has sent {today} MiB today (UTC), and this node takes {quota} from it in a day");
        trouble(Level::Warning, "quota", what)
            .affects("what comes beyond waits there until 00:00 UTC; IMMEDIATE and FLASH still pass")
            .todo(format!(
                "speak with {name} if that is unexpected; to take more, raise `bytes_per_day` under [peers.{name}] in \
                 verbale.toml and reload"
            ))
    })
}

fn fault(now: Millis, standing: &PeerStanding, peer: &PeerView) -> Option<Trouble> {
    let name = peer.peer;
    let (at, fault) = standing.fault.as_ref().filter(|(at, _)| is_fresh(now, *at))?;
    Some(
        trouble(Level::Warning, "fault", format!("what passed between {name} and this node was not taken: {fault}"))
            .since(*at)
            .affects(waits(peer))
            .todo(format!(
                "it is sent again or goes on in a new volume by itself; if it lasts, run `verbale log verify` here and \
                 ask {name} to do the same"
            )),
    )
}

fn instances(now: Millis, standing: &PeerStanding, peer: &PeerView) -> Vec<Trouble> {
    let name = peer.peer;
    let mut found = Vec::new();
    if let Some(at) = standing.second_instance.filter(|at| is_fresh(now, *at)) {
        found.push(
            trouble(Level::Warning, "second-instance", format!("{name} runs twice under the same keys"))
                .since(at)
                .affects("messages pass with the instance that was there first")
                .todo(format!("ask the administrator of {name} by telephone which of the two is to go on")),
        );
    }
    if let Some(at) = standing.said_second_instance.filter(|at| is_fresh(now, *at)) {
        found.push(
            trouble(
                Level::Error,
                "second-instance",
                format!("{name} says that this node runs twice under the same keys"),
            )
            .since(at)
            .affects(format!("{name} exchanges messages with one of the two only"))
            .todo("find the other instance, often a copied or restored folder, and stop one of the two for good"),
        );
    }
    found
}

fn clock(peer: &PeerView) -> Option<Trouble> {
    let (name, offset) = (peer.peer, peer.clock_offset_ms.unwrap_or(0).unsigned_abs());
    (u128::from(offset) > MAX_CLOCK_OFFSET.as_millis()).then(|| {
        let what = format!("the clocks of {name} and of this node differ by {} s", offset / 1000);
        trouble(Level::Warning, "clock", what)
            .affects("times in receipts and texts; deadlines and expiry")
            .todo("compare both clocks with a time server")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::QueueView;

    const NOW: Millis = Millis(1_000_000_000);

    fn view(status: &str, connection: &str, queued: u64, oldest: Duration) -> PeerView {
        let oldest_ms = u64::try_from(oldest.as_millis()).unwrap();
        PeerView {
            peer: "XB".parse().unwrap(),
            status: status.into(),
            connection: connection.into(),
            own_frozen: false,
            since: Millis(0),
            why: String::new(),
            todo: "call XB".into(),
            last_heard: None,
            clock_offset_ms: None,
            addresses: Vec::new(),
            fingerprint: String::new(),
            certificate_days: None,
            queue: QueueView { queued, unreceipted: 0, oldest_ms },
            own_log: String::new(),
            own_size: 0,
            own_receipted: 0,
            peer_log: String::new(),
            peer_size: 0,
            today_bytes: 0,
            quota_bytes: 100 << 20,
            not_taken: String::new(),
        }
    }

    #[test]
    fn a_quota_is_named_with_its_cause_while_it_holds() {
        let told = |today_bytes, queued, not_taken: &str| {
            let of = view("active", "up", queued, Duration::ZERO);
            quota(&PeerView { today_bytes, not_taken: not_taken.into(), ..of })
        };
        let used = told(100 << 20, 0, "quota").unwrap();
        assert!(used.what.contains("has sent 100 MiB today") && used.todo.contains("peers.XB"), "{used:?}");
        let silent = told(0, ANSWERS_WAITING as u64, "quota").unwrap();
        assert!(silent.what.contains("does not take what is answered"), "{silent:?}");
        assert!(told(0, 0, "quota").is_none(), "a new day has begun");
        assert!(told(100 << 20, 0, "").is_none(), "it fits");
        let standing = PeerStanding { not_now: Some((NOW, NotNowReason::Quota)), ..PeerStanding::default() };
        let theirs = said(NOW, &standing, &view("active", "up", 1, Duration::ZERO)).unwrap();
        assert!(theirs.affects.contains("IMMEDIATE and FLASH still pass"), "{theirs:?}");
    }

    fn found(view: &PeerView, standing: &PeerStanding, urgent: bool) -> Vec<(String, String)> {
        let mut troubles = Vec::new();
        look(NOW, view, standing, urgent, &mut troubles);
        for it in &troubles {
            assert!(it.peer == Some(view.peer) && !it.affects.is_empty() && !it.todo.is_empty(), "{it:?}");
        }
        troubles.into_iter().map(|it| (it.level, it.code)).collect()
    }

    #[test]
    fn a_peer_that_is_down_is_wrong_once_a_message_has_waited_long_enough() {
        let second = Duration::from_secs(1);
        let quiet = PeerStanding::default();
        let at = |queued, oldest, urgent| found(&view("active", "down", queued, oldest), &quiet, urgent);
        let wrong = |level: &str| vec![(level.to_owned(), "peer-down".to_owned())];
        assert!(at(1, WAITS_TOO_LONG - second, false).is_empty());
        assert_eq!(at(1, WAITS_TOO_LONG, false), wrong("warning"));
        assert!(at(1, URGENT_WAITS_TOO_LONG - second, true).is_empty());
        assert_eq!(at(1, URGENT_WAITS_TOO_LONG, true), wrong("error"));
        assert_eq!(at(0, Duration::ZERO, false), [("notice".to_owned(), "peer-silent".to_owned())]);
        let just_now = PeerView { since: NOW, ..view("active", "down", 0, Duration::ZERO) };
        assert!(found(&just_now, &quiet, false).is_empty());
    }

    #[test]
    fn what_waits_for_nobody_any_more_and_what_waits_for_people_is_named() {
        let quiet = PeerStanding::default();
        let code = |status: &str, connection: &str, queued| {
            let found = found(&view(status, connection, queued, Duration::ZERO), &quiet, false);
            found.into_iter().map(|(_, code)| code).collect::<Vec<_>>().join(" ")
        };
        for (status, connection, queued, expected) in [
            ("removed", "down", 2, "left-behind"),
            ("removed", "down", 0, ""),
            ("suspended", "down", 2, "suspended"),
            ("suspended", "down", 0, ""),
            ("active", "frozen", 0, "frozen"),
            ("active", "stopped", 0, "stopped"),
            ("active", "up", 1, ""),
            ("active", "up", 0, ""),
        ] {
            assert_eq!(code(status, connection, queued), expected, "{status} {connection} {queued}");
        }
        let slow = view("active", "up", 1, SLOW);
        assert_eq!(found(&slow, &quiet, false), [("warning".to_owned(), "peer-slow".to_owned())]);
    }

    #[test]
    fn what_a_peer_says_is_named_while_it_is_fresh_and_what_passes_by_itself_is_not() {
        let up = view("active", "up", 0, Duration::ZERO);
        let standing = |at, reason| PeerStanding { not_now: Some((at, reason)), ..PeerStanding::default() };
        assert_eq!(found(&up, &standing(NOW, NotNowReason::Disk), false)[0].1, "not-now");
        assert!(found(&up, &standing(NOW, NotNowReason::Busy), false).is_empty());
        assert!(found(&up, &standing(Millis(1), NotNowReason::Disk), false).is_empty());
    }

    #[test]
    fn two_instances_are_named_while_it_is_fresh_whichever_side_runs_twice() {
        let up = view("active", "up", 0, Duration::ZERO);
        let standing =
            |at| PeerStanding { second_instance: Some(at), said_second_instance: Some(at), ..PeerStanding::default() };
        let both = [("warning", "second-instance"), ("error", "second-instance")];
        assert_eq!(found(&up, &standing(NOW), false), both.map(|(level, code)| (level.to_owned(), code.to_owned())));
        assert!(found(&up, &standing(Millis(1)), false).is_empty());
    }
}
