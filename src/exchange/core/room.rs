//! How much one peer may use of this node: bytes a day, files that are still to come, answers that wait for it. A peer
//! at its limit hears so; nobody else notices.

use std::time::Duration;

use super::Core;
use crate::exchange::fold::{DAY_MS, Peer, entry_cost};
use crate::exchange::io::{ConnId, Notice, Pushed};
use crate::exchange::mutant::{self, Mutant};
use crate::name::{Kind, Millis, NodeName, Precedence, RefusalCode};
use crate::wire::{Body, FaultCode, Header, NotNowReason, Payload};

/// Files of one peer's messages that may be still to come at a time: a list of some 200 KiB. A peer that announces files
/// and never delivers them comes to this and no further; those of later messages are refused (file quota), so that its
/// author knows at once and not never.
pub const WANTED_FILES: u32 = 4_096;

/// … and so many more with IMMEDIATE and FLASH: what is urgent does not stand behind what is not.
pub const WANTED_FILES_URGENT: u32 = 1_024;

/// HELD and REFUSED that may wait for one peer's receipt, some 8 MiB. An honest peer has a few; one that sends and never
/// takes what is answered comes to this, and then hears NOT_NOW quota until it does.
pub const ANSWERS_WAITING: usize = 16_384;

/// Part of the daily quota that is kept beyond it: for IMMEDIATE and FLASH, for what heals the log, and for answers.
pub const QUOTA_RESERVE_PART: u64 = 4;

/// What is counted for a receipt before it is made: two lines.
const RECEIPT_BYTES: u64 = 4 << 10;

/// The longest pause that is named with NOT_NOW quota: a peer bounds it to a few minutes anyway, and a quota may be
/// raised meanwhile.
const QUOTA_PAUSE_MAX: Duration = Duration::from_secs(240);

/// What this node last said to a peer, or heard from it, and has not been taken back since.
#[derive(Debug, Default)]
pub(super) struct NotNows {
    said: Option<NotNowReason>,
    heard: Option<NotNowReason>,
}

/// Which files of a message are taken.
#[derive(Debug, Default)]
pub(super) struct JudgedFiles {
    /// Those that are not, with the reason.
    pub ended: Vec<(u32, RefusalCode)>,
    /// Bytes of the others.
    pub bytes: u64,
}

impl Core {
    /// Whether a push that holds in every other way finds room here.
    pub(super) fn is_room(&self, now: Millis, name: NodeName, peer: &Peer, pushed: &Pushed) -> bool {
        if mutant::active(Mutant::IgnoreQuota) {
            return true;
        }
        let cost =
            |entry: &crate::wire::EntryFrame| entry_cost(&entry.leaf, matches!(entry.payload, Payload::Present { .. }));
        let entries: u64 = pushed.entries.iter().map(cost).sum();
        let cost = entries.saturating_add(pushed.note.len() as u64 + RECEIPT_BYTES);
        let quota = self.settings.quota_of(name);
        let (used, headers) =
            (peer.theirs.usage.on(now), || pushed.entries.iter().map(|entry| entry.leaf.header().ok()));
        let fits = fits(used, cost, quota) || fits(used, cost, with_reserve(quota)) && is_needed(headers());
        fits && (answers_waiting(peer) < ANSWERS_WAITING || !headers().any(may_be_answered))
    }

    /// Which files of an accepted message are taken. `ending`: files of the same push that are not.
    pub(super) fn judge_files(
        &self,
        now: Millis,
        name: NodeName,
        header: &Header,
        body: &Body,
        ending: usize,
    ) -> JudgedFiles {
        let files = || (0..).zip(&body.enclosures);
        let sum = |sizes: &mut dyn Iterator<Item = u64>| sizes.fold(0u64, u64::saturating_add);
        let all = |code| JudgedFiles { ended: files().map(|(ordinal, _)| (ordinal, code)).collect(), bytes: 0 };
        if mutant::active(Mutant::TakeEveryFile) {
            return JudgedFiles::default();
        }
        let settings = &self.settings;
        if sum(&mut files().map(|(_, file)| file.size)) > settings.enclosures_total_max {
            return all(RefusalCode::FileTooLarge);
        }
        let large = |size: u64| size > settings.enclosure_max;
        let mut ended: Vec<_> = files()
            .filter(|(_, file)| large(file.size))
            .map(|(ordinal, _)| (ordinal, RefusalCode::FileTooLarge))
            .collect();
        let count = body.enclosures.len() - ended.len();
        let bytes = sum(&mut files().map(|(_, file)| file.size).filter(|size| !large(*size)));
        let Some(theirs) = self.peer(name).map(|peer| &peer.theirs) else { return all(RefusalCode::FileQuota) };
        let urgent = header.precedence >= Precedence::Immediate;
        let most = if urgent { WANTED_FILES + WANTED_FILES_URGENT } else { WANTED_FILES };
        let wanted = (theirs.wanted_files as usize).saturating_sub(ending);
        if count > 0 && (wanted + count > most as usize || !fits(theirs.usage.on(now), bytes, settings.quota_of(name)))
        {
            let others = files().filter(|(_, file)| !large(file.size));
            ended.extend(others.map(|(ordinal, _)| (ordinal, RefusalCode::FileQuota)));
            return JudgedFiles { ended, bytes: 0 };
        }
        JudgedFiles { ended, bytes }
    }

    /// Says NOT_NOW to a peer, and tells of it where it is news.
    pub(super) fn say_not_now(&mut self, now: Millis, conn: ConnId, name: NodeName, reason: NotNowReason) {
        let retry_after = match reason {
            NotNowReason::Busy => Duration::from_millis(500),
            NotNowReason::Quota => Duration::from_millis(DAY_MS - now.0 % DAY_MS).min(QUOTA_PAUSE_MAX),
            _ => RETRY,
        };
        self.actions.push_back(super::Action::NotNow { conn, reason, retry_after });
        // Busy passes within a second, whenever two connections meet.
        if reason == NotNowReason::Busy {
            return;
        }
        if self.session(name).not_nows.said.replace(reason) != Some(reason) {
            self.notice(Notice::SaidNotNow { peer: name, reason });
        }
    }

    /// A push of the peer was taken. What passes by the reserve only does not end a quota.
    pub(super) fn takes_again(&mut self, now: Millis, name: NodeName) {
        let used = self.peer(name).map_or(0, |peer| peer.theirs.usage.on(now));
        let still = used > self.settings.quota_of(name);
        let said = &mut self.session(name).not_nows.said;
        if *said == Some(NotNowReason::Quota) && still {
            return;
        }
        *said = None;
    }

    /// What this node last said to a peer and has not taken back.
    pub(super) fn said_not_now(&self, name: NodeName) -> Option<NotNowReason> {
        self.sessions.get(&name).and_then(|session| session.not_nows.said)
    }

    /// The peer said NOT_NOW.
    pub(super) fn heard_not_now(&mut self, name: NodeName, reason: NotNowReason) {
        if reason != NotNowReason::Busy {
            self.session(name).not_nows.heard = Some(reason);
        }
    }

    /// The peer gave a receipt; while its quota holds the rest back, that says nothing.
    pub(super) fn takes_ours_again(&mut self, now: Millis, name: NodeName) {
        if !self.is_quota_pause(now, name) && self.session(name).not_nows.heard.take().is_some() {
            self.notice(Notice::TakesAgain { peer: name });
        }
    }

    /// Tells of a fault; the shell journals it, as often as one peer may bring that about.
    pub(super) fn note_fault(&mut self, peer: NodeName, found_here: bool, code: FaultCode, index: u64) {
        self.notice(Notice::Fault { peer, found_here, code, index });
    }
}

/// When a peer may ask again about a direction that waits for people, or a full disk.
const RETRY: Duration = Duration::from_secs(30);

/// Whether `cost` more fits a limit.
fn fits(used: u64, cost: u64, limit: u64) -> bool {
    used.saturating_add(cost) <= limit
}

/// The quota with what is kept beyond it.
pub(super) fn with_reserve(quota: u64) -> u64 {
    quota.saturating_add(quota / QUOTA_RESERVE_PART)
}

/// Whether a push is what the reserve is for: it holds an IMMEDIATE or FLASH message, or heals the log (VOLUME, VOID, a
/// head that adds lines), or says nothing but what answers this node (machine kinds, acknowledgements).
fn is_needed(mut headers: impl Iterator<Item = Option<Header>> + Clone) -> bool {
    let heals = |header: &Header| matches!(header.known_kind(), Some(Kind::Volume | Kind::Void));
    let urgent = |header: &Header| !header.is_machine() && header.precedence >= Precedence::Immediate;
    let answers = |header: &Header| header.is_machine() || header.known_kind() == Some(Kind::Acknowledgement);
    headers.clone().flatten().any(|header| heals(&header) || urgent(&header))
        || headers.all(|header| header.is_some_and(|header| answers(&header)))
}

/// Whether an entry may call for a HELD or REFUSED.
fn may_be_answered(header: Option<Header>) -> bool {
    header.is_none_or(|header| !header.is_machine() || header.known_kind() == Some(Kind::Ping))
}

/// Entries of machines that wait for the peer's receipt. The whole queue is looked through only where it is long.
fn answers_waiting(peer: &Peer) -> usize {
    let own = &peer.own;
    if own.queue.len() + own.unreceipted.len() < ANSWERS_WAITING {
        return 0;
    }
    let open = own.unreceipted.iter().filter_map(|(_, item)| item.as_ref());
    own.queue.values().chain(open).filter(|item| item.header.is_machine()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_takes_what_fits_and_not_one_byte_more() {
        assert!(fits(90, 9, 100) && fits(90, 10, 100) && !fits(90, 11, 100));
        assert!(!fits(u64::MAX, 1, u64::MAX - 1) && fits(u64::MAX, u64::MAX, u64::MAX));
        assert_eq!((with_reserve(100), with_reserve(u64::MAX)), (125, u64::MAX));
    }
}
