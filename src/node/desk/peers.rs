//! Peers: accepting one after the ceremony, looking at them, and deciding about them.

use std::sync::Arc;

use bytes::Bytes;

use super::Inner;
use crate::api::{Caller, Failure, PeerAction, PeerAdd, PeerView, QueueView, Reply, code};
use crate::exchange::{Change, Command, ConnectionState, PeerReport};
use crate::identity::{Fingerprint, Introduction, PeerStatus};
use crate::name::{Millis, NodeName};
use crate::note::PublicKeys;
use crate::wire::NotNowReason;

use super::super::clock::days_left;
use super::super::obstacle::explain;
use super::super::order::{Node, Stopped};
use super::super::roster;
use super::super::standing::PeerStanding;

const ADDING: &str = "accepting a peer";

/// Characters of who read the fingerprint to whom, and of by what means.
pub const MAX_CEREMONY_CHARS: usize = 500;

impl Inner {
    pub(super) async fn peer_add(&self, caller: Caller, add: PeerAdd) -> Result<Reply, Failure> {
        let introduction = compare(&add)?;
        let conflict =
            |why: String| Failure::new("peer-conflict", ADDING, why, "ask the peer by telephone what changed");
        let introduction = Arc::new(introduction);
        let mut trial = (*self.node.anchors.load()).clone();
        trial.add(introduction.clone(), PeerStatus::Active).map_err(|error| conflict(error.to_string()))?;
        let officer = self.officer(caller).await?;
        let ceremony = serde_json::json!({ "read_by": add.read_by, "channel": add.channel });
        let ceremony = Bytes::from(ceremony.to_string());
        let mut names = Vec::new();
        for node in introduction.nodes() {
            let keys = node.signing.iter().map(|keys| {
                PublicKeys::from_parts(&keys.public.ed25519, keys.public.ml_dsa_44.as_slice())
                    .expect("an introduction holds keys of the right lengths")
            });
            let command = Command::AddPeer {
                peer: node.name,
                introduction: Bytes::from(add.introduction.clone()),
                fingerprint: introduction.fingerprint().to_string(),
                keys: keys.collect(),
                ceremony: ceremony.clone(),
                officer,
            };
            self.order(ADDING, command).await?;
            names.push(node.name);
        }
        self.views(names).await
    }

    pub(super) async fn peer_list(&self) -> Result<Reply, Failure> {
        let names = self.node.with_roster(|roster| roster.peers().map(|(name, _)| name).collect());
        self.views(names).await
    }

    pub(super) async fn peer_show(&self, peer: NodeName) -> Result<Reply, Failure> {
        if self.node.with_roster(|roster| roster.peer(peer).is_none()) {
            return Err(super::unknown_peer("looking at a peer", peer));
        }
        self.views(vec![peer]).await
    }

    async fn views(&self, names: Vec<NodeName>) -> Result<Reply, Failure> {
        views(&self.node, names).await.map(Reply::Peers).map_err(super::stopping)
    }

    pub(super) async fn peer_act(
        &self,
        caller: Caller,
        peer: NodeName,
        action: PeerAction,
        confirmed_by_flag: bool,
    ) -> Result<Reply, Failure> {
        let officer = self.officer(caller).await?;
        if confirmed_by_flag && self.node.with_roster(|roster| roster.peer(peer).is_some()) {
            let text = format!("{action:?} {peer} without typing the code again");
            let subject = "confirmed-by-flag".to_owned();
            self.node.command_and_go_on(Command::Note { subject, peer: Some(peer), text, officer });
        }
        let change = |change| Command::ChangePeer { peer, change, officer };
        let (doing, command) = match action {
            PeerAction::Suspend => ("suspending a peer", change(Change::Suspended)),
            PeerAction::Resume => ("resuming a peer", change(Change::Resumed)),
            PeerAction::Remove => ("removing a peer", change(Change::Removed)),
            PeerAction::Reopen => ("agreeing to go on with a peer", Command::Reopen { peer, officer }),
        };
        self.order(doing, command).await
    }
}

/// Reads the introduction and compares the fingerprint that was read over another channel.
fn compare(add: &PeerAdd) -> Result<Introduction, Failure> {
    let bad = |why: String, todo: &str| Failure::new(code::BAD_REQUEST, ADDING, why, todo);
    for (what, text) in [("who read the fingerprint", &add.read_by), ("the channel", &add.channel)] {
        let count = text.chars().count();
        if text.trim().is_empty() || count > MAX_CEREMONY_CHARS {
            return Err(bad(format!("{what} must be said, in at most {MAX_CEREMONY_CHARS} characters"), ""));
        }
    }
    let introduction = Introduction::parse(&add.introduction).map_err(|error| {
        bad(error.to_string(), "ask the peer to send its introduction again; `verbale introduction` prints it there")
    })?;
    let read: Fingerprint = add.fingerprint.parse().map_err(|error: crate::identity::FingerprintError| {
        bad(error.to_string(), "have the groups of digits read again, over another channel than the file came by")
    })?;
    introduction.fingerprint().compare(&read).map_err(|mismatch| {
        let todo =
            "do not accept this file. Call the other State over a number that you know already, and compare again";
        Failure::new(code::WRONG_FINGERPRINT, ADDING, mismatch.to_string(), todo)
    })?;
    Ok(introduction)
}

/// Peers as the interface shows them.
pub(in crate::node) async fn views(node: &Arc<Node>, names: Vec<NodeName>) -> Result<Vec<PeerView>, Stopped> {
    let asked = names.clone();
    let reports = node.ask(move |core| asked.iter().map(|name| core.report(*name)).collect::<Vec<_>>()).await?;
    let now = node.clock.now();
    Ok(names.into_iter().zip(reports).filter_map(|(name, report)| view(node, now, name, report)).collect())
}

fn view(node: &Node, now: Millis, peer: NodeName, report: Option<PeerReport>) -> Option<PeerView> {
    let accepted = node.with_roster(|roster| roster.peer(peer).cloned())?;
    let standing = node.standing().peers.get(&peer).cloned().unwrap_or_default();
    let anchors = node.anchors.load();
    let own_name = |origin: Option<crate::name::Origin>| origin.map(|origin| origin.to_string()).unwrap_or_default();
    let report = report?;
    let (why, todo) = why(now, peer, &report, &standing);
    Some(PeerView {
        peer,
        status: status_word(accepted.status).to_owned(),
        connection: connection_word(&report, &standing).to_owned(),
        since: standing_since(node, &standing),
        own_frozen: report.own_frozen,
        why,
        todo,
        last_heard: report.last_heard,
        clock_offset_ms: report.clock_offset_ms,
        addresses: roster::addresses(peer, &node.settings(), &anchors),
        fingerprint: accepted.fingerprint,
        certificate_days: certificate_until(&anchors, peer).map(|until| days_left(now, until)),
        queue: QueueView {
            queued: report.queued,
            unreceipted: report.unreceipted,
            oldest_ms: report.oldest.map_or(0, |oldest| oldest_ms(now, oldest)),
        },
        own_log: own_name(report.own_origin),
        own_size: report.own_size,
        own_receipted: report.own_receipted,
        peer_log: own_name(report.peer_origin),
        peer_size: report.peer_size,
        today_bytes: report.stored_today,
        quota_bytes: report.quota,
        not_taken: report.said_not_now.map(not_taken_word).unwrap_or_default().to_owned(),
    })
}

fn oldest_ms(now: Millis, oldest: Millis) -> u64 {
    u64::try_from(now.since(oldest).as_millis()).unwrap_or(u64::MAX)
}

/// Until when the newest introduced TLS certificate of a peer is valid.
pub(in crate::node) fn certificate_until(anchors: &crate::identity::Anchors, peer: NodeName) -> Option<Millis> {
    let introduction = anchors.get(peer)?.introduction();
    let expiries = introduction.expiries();
    let tls = expiries.iter().filter(|one| one.node == Some(peer) && one.what == "TLS certificate");
    tls.map(|one| one.at).max()
}

/// Why nothing is taken from a peer, as far as its operator can do something about it.
fn not_taken_word(reason: NotNowReason) -> &'static str {
    match reason {
        NotNowReason::Disk => "disk",
        NotNowReason::Quota => "quota",
        _ => "",
    }
}

fn status_word(status: PeerStatus) -> &'static str {
    match status {
        PeerStatus::Active => "active",
        PeerStatus::Suspended => "suspended",
        PeerStatus::Removed => "removed",
    }
}

/// Since when the connection is as it is: the start of the node, where nothing has changed since.
fn standing_since(node: &Node, standing: &PeerStanding) -> Millis {
    standing.since.max(node.started)
}

fn connection_word(report: &PeerReport, standing: &PeerStanding) -> &'static str {
    if report.own_frozen || report.peer_frozen {
        return "frozen";
    }
    match report.connection {
        ConnectionState::Up | ConnectionState::CatchingUp => "up",
        // Where attempts have failed, another one is no news.
        ConnectionState::Dialling if standing.obstacle.is_none() && standing.said.is_none() => "dialling",
        ConnectionState::Dialling => "down",
        ConnectionState::Restricted => "restricted",
        ConnectionState::Stopped => "stopped",
        ConnectionState::Down => "down",
    }
}

/// Why messages do not pass, as far as known, and what to do; both empty where they pass.
fn why(now: Millis, peer: NodeName, report: &PeerReport, standing: &PeerStanding) -> (String, String) {
    let next = report.next_dial.filter(|at| *at > now && report.conn.is_none());
    match (explain(now, peer, report, standing), next) {
        (None, _) => Default::default(),
        (Some(obstacle), None) => (obstacle.line(), obstacle.todo),
        (Some(obstacle), Some(next)) => (format!("{}; next attempt at {next}", obstacle.line()), obstacle.todo),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_not_accepted_without_the_ceremony() {
        let add = |read_by: &str, introduction: &str| PeerAdd {
            introduction: introduction.into(),
            fingerprint: "12345".into(),
            read_by: read_by.into(),
            channel: "telephone".into(),
        };
        assert!(compare(&add(" ", "")).unwrap_err().why.contains("who read"));
        assert!(compare(&add(&"x".repeat(MAX_CEREMONY_CHARS + 1), "")).unwrap_err().why.contains("who read"));
        let unread = compare(&add(&"x".repeat(MAX_CEREMONY_CHARS), "no introduction")).unwrap_err();
        assert_eq!(unread.code, code::BAD_REQUEST);
        assert!(!unread.why.contains("who read"), "{unread}");
    }
}
