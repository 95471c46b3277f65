//! What comes back on a push: receipts and faults.

use std::time::Duration;

use bytes::Bytes;

use super::Core;
use super::note_text::{is_full, judge_receipt, note};
use super::session::{Held, Step};
use crate::exchange::env::Env;
use crate::exchange::fold::{DAY_MS, unknown_lines};
use crate::exchange::io::{Action, Answer, ConnId, Effect};
use crate::exchange::mutant::{self, Mutant};
use crate::exchange::record::{Act, Place};
use crate::name::{EntryId, Kind, Millis, NodeName, Origin};
use crate::note::Checkpoint;
use crate::wire::{Contradiction, FaultCode, Target};

/// Faults and SHOWS in a row after which this node waits before it tries again.
const SETBACKS: u32 = 8;

/// How long it waits then; twice as long each time until a receipt comes, up to an hour.
const SETBACK_PAUSE: Duration = Duration::from_secs(60);
const SETBACK_PAUSE_MAX: Duration = Duration::from_secs(3_600);

/// Volumes that a peer's FAULTs can make this node leave in one UTC day without a pause: each is a promise for ever, some
/// 10 KiB in the memory of both.
const LEFT_PER_DAY: u32 = 16;

/// The pause before each further one.
const LEFT_PAUSE: Duration = Duration::from_secs(3_600);

impl Core {
    #[allow(clippy::too_many_arguments, reason = "the fields of the frame and where it came from")]
    pub(super) fn cosigned(
        &mut self,
        now: Millis,
        env: &mut dyn Env,
        conn: ConnId,
        origin: Origin,
        size: u64,
        lines: &[String],
        window: u64,
    ) {
        let Some(name) = self.conns.get(&conn).copied() else { return };
        let session = self.session(name);
        if session.up() != Some(conn) || matches!(session.step, Step::Stopped) {
            return;
        }
        session.last_heard = Some(now);
        session.window = window;
        let Some(peer) = self.peer(name) else { return };
        let own = peer.own.volumes.get(&origin.volume).filter(|_| origin.from == self.me && origin.to == name);
        // A receipt that says nothing new (or the same one again) is no sign that things go well.
        let news = own.is_some_and(|own| own.receipted < size);
        let Some(head) = own.and_then(|own| own.head_at(size)) else { return };
        let (root, full) = (head.root, is_full(&head.lines));
        let text = note(origin, size, root, &[&head.lines, lines]);
        let receipt = Checkpoint::parse(&text).ok().and_then(|note| judge_receipt(env, &note, name, &peer.keys));
        let Some(receipt) = receipt.filter(|receipt| receipt.full || !full) else {
            return self.peer_fault(now, env, name, FaultCode::BadSignature, size);
        };
        let held = Held { volume: origin.volume, size, root };
        self.measure(now, name, size);
        let session = self.session(name);
        session.full_receipted |= receipt.full;
        session.receipted = true;
        session.peer_faults = 0;
        if news {
            (session.setbacks, session.pauses) = (0, 0);
        }
        self.takes_ours_again(now, name);
        self.take_receipt(now, name, held, lines.to_vec(), receipt.time);
        self.receipt_moves_on(name, held);
    }

    /// Records a receipt and tells who waits, once it is durable.
    pub(super) fn take_receipt(&mut self, now: Millis, name: NodeName, held: Held, lines: Vec<String>, time: u64) {
        let place = Place { peer: name, volume: held.volume, index: held.size };
        let Some(own) = self.peer(name).map(|peer| &peer.own) else { return };
        let current = own.current == Some(held.volume);
        let below = own.unreceipted.iter().filter(|(index, _)| current && *index < held.size);
        let below = below.filter_map(|(index, item)| item.as_ref().map(|item| (*index, item)));
        let below_ids: Vec<EntryId> = below.clone().map(|(_, item)| item.header.id).collect();
        let entries: Vec<_> = below
            .filter(|(index, item)| !own.voided.contains(index) && item.header.known_kind() != Some(Kind::Volume))
            .map(|(index, item)| (item.header.id, Place { index, ..place }))
            .collect();
        let awaited = entries.iter().any(|(id, _)| self.waits.contains_key(id));
        // A line once stored never changes: a holder that was put back may give the same receipt at a later time.
        let lines = match own.volumes.get(&held.volume).and_then(|own| own.head_at(held.size)) {
            Some(head) => [head.receipt.clone(), unknown_lines(&head.receipt, lines)].concat(),
            None => lines,
        };
        let known = own.volumes.get(&held.volume).and_then(|own| own.head_at(held.size));
        if known.is_none_or(|head| head.receipt.len() < lines.len()) {
            let act = Act::Receipt { place, lines };
            if awaited {
                self.put(now, act)
            } else {
                self.put_riding(now, act)
            };
        }
        for id in below_ids {
            self.live.remove(&id);
        }
        if entries.is_empty() {
            return;
        }
        for (id, place) in &entries {
            for token in self.waits.remove(id).unwrap_or_default() {
                let answer = Answer::Delivered { id: *id, place: *place, receipt_time: time };
                self.release(Effect::Answer { token, answer });
            }
        }
        self.release(Effect::Delivered { entries, receipt_time: time });
    }

    fn receipt_moves_on(&mut self, name: NodeName, held: Held) {
        let session = self.session(name);
        // Receipts of one stream come in order; an older one changes nothing.
        let older = session.held.is_some_and(|known| known.volume == held.volume && known.size > held.size);
        if !older {
            session.held = Some(held);
        }
        if matches!(session.step, Step::Refill(_)) {
            self.refill_receipted(name, held);
        }
        self.touch(name);
    }

    /// Callers whose entry turned out to stand in the holder's chain already are answered; the outbox has the rest.
    pub(super) fn settle_waits(&mut self, name: NodeName) {
        let Some(own) = self.peer(name).map(|peer| &peer.own) else { return };
        let open = |id: &EntryId| own.unreceipted.iter().flat_map(|(_, item)| item).any(|item| item.header.id == *id);
        let settled = |id: &&EntryId| own.recent.get(id).is_some() && !own.waiting.contains_key(id) && !open(id);
        let ids: Vec<EntryId> = self.waits.keys().filter(settled).copied().collect();
        for id in ids {
            for token in self.waits.remove(&id).unwrap_or_default() {
                self.release(Effect::Answer { token, answer: Answer::Queued { id } });
            }
        }
    }

    /// The link's speed as seen by this receipt.
    fn measure(&mut self, now: Millis, name: NodeName, size: u64) {
        let session = self.session(name);
        let mut bytes = 0;
        let (mut since, mut limited) = (now, false);
        while let Some(head) = session.outstanding.front().filter(|head| head.size <= size) {
            bytes += head.bytes;
            since = since.min(head.at);
            limited |= head.limited;
            session.outstanding.pop_front();
        }
        if bytes == 0 {
            return;
        }
        let elapsed = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX).max(1);
        let seen = bytes.saturating_mul(1_000) / elapsed;
        // Up at once; down slowly, and only where more could have been sent: one slow batch says little about a link.
        session.rate = Some(match session.rate {
            Some(rate) if seen < rate && !limited => rate,
            Some(rate) if seen < rate => rate - (rate - seen) / 8,
            _ => seen,
        });
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of the frame and where it came from")]
    pub(super) fn fault(
        &mut self,
        now: Millis,
        env: &mut dyn Env,
        conn: ConnId,
        code: FaultCode,
        origin: Option<Origin>,
        index: u64,
        proof: &Contradiction,
    ) {
        let Some(name) = self.conns.get(&conn).copied() else { return };
        if self.session(name).up() != Some(conn) {
            return;
        }
        self.note_fault(name, false, code, index);
        self.session(name).drop_outstanding();
        self.setback(now, name);
        match code {
            FaultCode::CommitmentMismatch => match origin.filter(|origin| self.is_unreceipted(name, *origin, index)) {
                Some(origin) if mutant::active(Mutant::WithdrawReceipted) => self.body_lost(now, env, origin, index),
                Some(origin) => self.check_body(name, origin, index),
                None => self.resume_from_held(name),
            },
            FaultCode::BadRoot | FaultCode::Poison | FaultCode::Size => self.leave_volume(now, name),
            FaultCode::Contradiction => self.judge_contradiction(now, env, name, proof),
            FaultCode::Gap if self.peer(name).is_some_and(|peer| !peer.own.unlisted_bodies().is_empty()) => {
                self.leave_volume(now, name);
            }
            FaultCode::Gap | FaultCode::BadSignature | FaultCode::WrongOrigin | FaultCode::Unknown => {
                self.resume_from_held(name);
            }
        }
    }

    /// Whether this entry was pushed and has no receipt: a peer's word withdraws nothing else.
    fn is_unreceipted(&self, name: NodeName, origin: Origin, index: u64) -> bool {
        let own = self.peer(name).and_then(|peer| peer.own.volumes.get(&origin.volume));
        let receipted = own.map_or(u64::MAX, |own| own.receipted);
        own.is_some_and(|own| index < own.size()) && (index >= receipted || mutant::active(Mutant::WithdrawReceipted))
    }

    /// The holder says that a body does not open its commitment. What the peer says is no reason to withdraw anything:
    /// the entry is read again, and only what this node finds lost itself is.
    fn check_body(&mut self, name: NodeName, origin: Origin, index: u64) {
        let own = self.peer(name).map(|peer| &peer.own).filter(|own| own.current == Some(origin.volume));
        if own.is_none_or(|own| own.voided.contains(&index)) || origin.from != self.me || origin.to != name {
            return self.resume_from_held(name);
        }
        self.actions.push_back(Action::CheckBody { origin, index });
    }

    /// The body is as it was signed, on the disk at least: it is taken from there when it is pushed again.
    pub(super) fn body_kept(&mut self, origin: Origin, index: u64) {
        let name = origin.to;
        let Some(own) = self.peer(name).map(|peer| &peer.own).filter(|own| own.current == Some(origin.volume)) else {
            return;
        };
        let found = own.unreceipted.iter().find(|(at, _)| *at == index).and_then(|(_, item)| item.as_ref());
        if let Some(id) = found.map(|item| item.header.id) {
            self.live.remove(&id);
        }
        self.session(name).drop_outstanding();
        self.resume_from_held(name);
    }

    /// The holder will never take this volume further: the next one is opened on what the holder has.
    pub(super) fn leave_volume(&mut self, now: Millis, name: NodeName) {
        let today = now.0 / DAY_MS;
        let session = self.session(name);
        if session.left.0 != today {
            session.left = (today, 0);
        }
        session.left.1 = session.left.1.saturating_add(1);
        if session.left.1 > LEFT_PER_DAY {
            session.not_now_until = session.not_now_until.max(Some(now.after(LEFT_PAUSE)));
            session.quota_pause = false;
        }
        if matches!(session.step, Step::Ready | Step::Refill(_)) {
            session.step = Step::Ready;
            session.must_open = true;
        }
        self.touch(name);
    }

    /// After too many faults and SHOWS in a row without a receipt this node waits, so that no two nodes spin.
    pub(super) fn setback(&mut self, now: Millis, name: NodeName) {
        let session = self.session(name);
        session.setbacks += 1;
        if session.setbacks >= SETBACKS {
            session.setbacks = 0;
            let pause = SETBACK_PAUSE.saturating_mul(1 << session.pauses.min(6)).min(SETBACK_PAUSE_MAX);
            session.pauses += 1;
            session.not_now_until = Some(now.after(pause));
            session.quota_pause = false;
        }
    }

    /// A body that cannot be read any more is withdrawn, so that the log does not stand still.
    pub(super) fn body_lost(&mut self, now: Millis, env: &mut dyn Env, origin: Origin, index: u64) {
        let name = origin.to;
        let Some(own) = self.peer(name).map(|peer| &peer.own) else { return };
        if own.current != Some(origin.volume) || origin.from != self.me {
            return;
        }
        if index == 0 {
            // Each new volume is a new promise: never many of them in a row.
            self.setback(now, name);
            return self.leave_volume(now, name);
        }
        let target = Target { volume: origin.volume.number, index };
        let queued = own
            .queue
            .values()
            .any(|item| item.header.known_kind() == Some(Kind::Void) && item.header.target == Some(target));
        let session = self.session(name);
        session.drop_outstanding();
        self.resume_from_held(name);
        if queued || self.peer(name).is_some_and(|peer| peer.own.voided.contains(&index)) {
            return;
        }
        self.queue_machine(now, env, name, Kind::Void, Some(target), 0, Bytes::new());
    }
}
