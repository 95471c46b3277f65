//! What a HELLO or SHOWS means for each direction.

use bytes::Bytes;

use super::Core;
use super::note_text::{Good, is_full, judge, judge_receipt, note};
use super::session::{Held, Step};
use crate::exchange::env::Env;
use crate::exchange::fold::Author;
use crate::exchange::io::{Action, CloseCode, ConnId, Effect, Notice};
use crate::exchange::mutant::{self, Mutant};
use crate::exchange::record::Act;
use crate::name::{Hash, Millis, NodeName, Origin, Volume};
use crate::note::PublicKeys;
use crate::wire::{FaultCode, HeadRef, LogState, VolumeReason};

impl Core {
    /// The peer shows the log that it writes. Only a contradiction matters here: the author acts, not the holder.
    pub(super) fn compare_held(&mut self, now: Millis, env: &mut dyn Env, name: NodeName, shown: &LogState) {
        let Some(peer) = self.peer(name) else { return };
        let (Some(origin), Some((volume, held))) = (shown.origin, peer.theirs.volume()) else { return };
        if origin.volume != volume || shown.size != held.size() {
            return;
        }
        let keys = keys_for(&held.keys, &peer.keys);
        let (root, size) = (held.range.root(), held.size());
        let Some(good) = judge(env, &shown.note, &keys, self.me) else { return };
        if good.head.origin == origin && good.head.size == size && good.head.root != root {
            self.freeze_theirs(now, name, volume, shown.note.clone());
        }
    }

    /// Freezes the peer's log towards this node: two heads of one size.
    pub(super) fn freeze_theirs(&mut self, now: Millis, name: NodeName, volume: Volume, theirs: Bytes) {
        let Some(peer) = self.peer(name) else { return };
        let known = peer.theirs.frozen.is_some();
        let origin = Origin { from: name, to: self.me, volume };
        let ours = peer.theirs.volumes.get(&volume).and_then(|held| held.head.as_ref());
        let ours = ours.map(|head| note(origin, head.size, head.root, &[&head.author_lines, &head.lines]));
        let ours = ours.unwrap_or_default();
        if !known {
            let (ours, reason) = (ours.clone(), VolumeReason::Contradiction);
            self.put(now, Act::Frozen { peer: name, own_log: false, ours, theirs, reason });
            self.notice(Notice::Frozen { peer: name, own_log: false });
        }
        if let Some(conn) = self.session(name).up() {
            let (code, origin) = (FaultCode::Contradiction, Some(origin));
            self.release(Effect::Fault { conn, code, origin, index: 0, proof: ours });
        }
    }

    pub(super) fn shows(&mut self, now: Millis, env: &mut dyn Env, conn: ConnId, state: &LogState) {
        let Some(peer) = self.conns.get(&conn).copied() else { return };
        let session = self.session(peer);
        if session.up() != Some(conn) {
            return;
        }
        session.last_heard = Some(now);
        session.drop_outstanding();
        if matches!(session.step, Step::Fetch(_) | Step::AwaitRange { .. } | Step::Stopped) {
            return;
        }
        let held = self.held(peer);
        let grew = held.is_none_or(|held| {
            state.origin.is_some_and(|origin| origin.volume != held.volume) || state.size > held.size
        });
        if !grew {
            let pauses = |session: &super::session::Session| session.not_now_until.is_some_and(|until| until > now);
            if !pauses(self.session(peer)) {
                self.setback(now, peer);
            }
            if pauses(self.session(peer)) {
                // It is asked again when the pause is over; until then its words cost no look at the journal.
                return self.resume_from_held(peer);
            }
        }
        self.compare_own(now, env, peer, state);
    }

    /// The holder shows what it has of the own log.
    pub(super) fn compare_own(&mut self, now: Millis, env: &mut dyn Env, name: NodeName, shown: &LogState) {
        if self.fold.fenced.is_some() {
            self.session(name).step = Step::Stopped;
            return;
        }
        let Some(origin) = shown.origin else {
            self.session(name).held = None;
            return self.advance(name);
        };
        if origin.from != self.me || origin.to != name {
            return self.peer_fault(now, env, name, FaultCode::WrongOrigin, 0);
        }
        let Some(peer) = self.peer(name) else { return };
        let own = peer.own.volumes.get(&origin.volume);
        let keys = own_keys(env, own.map_or(&[], |own| &own.keys[..]));
        let Some(good) = judge(env, &shown.note, &keys, name) else {
            return self.peer_fault(now, env, name, FaultCode::BadSignature, shown.size);
        };
        if good.head.origin != origin || good.head.size != shown.size {
            return self.peer_fault(now, env, name, FaultCode::Size, shown.size);
        }
        let (size, root) = (good.head.size, good.head.root);
        let held = Held { volume: origin.volume, size, root };
        match own.map(|own| (own.size(), own.root_at(size))) {
            None => self.met_unknown_volume(now, name, origin, held),
            Some((own_size, _)) if size > own_size => self.behind(now, name, held, own_size),
            Some((_, Some(known))) if known == root => self.agreed(now, env, name, held, &good),
            Some((_, Some(_))) => self.contradiction(now, name, held, shown.note.clone()),
            Some((_, None)) => {
                self.session(name).step = Step::AwaitRange { held, theirs: shown.note.clone() };
                self.actions.push_back(Action::RangeAt { origin, size });
            }
        }
    }

    /// The tree at the holder's size came from the journal.
    pub(super) fn compare_range(&mut self, now: Millis, name: NodeName, held: Held, root: Hash, theirs: Bytes) {
        if root == held.root {
            self.session(name).held = Some(held);
            self.session(name).step = Step::Ready;
            self.advance(name);
        } else {
            self.contradiction(now, name, held, theirs);
        }
    }

    fn agreed(&mut self, now: Millis, env: &mut dyn Env, name: NodeName, held: Held, good: &Good) {
        let session = self.session(name);
        session.held = Some(held);
        session.step = Step::Ready;
        self.take_shown_receipt(now, env, name, held, good);
        self.advance(name);
    }

    /// B's Hello carries the cosigned note: a receipt that was lost on its way is not lost.
    fn take_shown_receipt(&mut self, now: Millis, env: &dyn Env, name: NodeName, held: Held, good: &Good) {
        let Some(peer) = self.peer(name) else { return };
        let Some(own) = peer.own.volumes.get(&held.volume) else { return };
        if own.receipted >= held.size || own.head_at(held.size).is_none() {
            return;
        }
        if let Some(receipt) = judge_receipt(env, &good.checkpoint, name, &peer.keys) {
            self.take_receipt(now, name, held, good.holder_lines.clone(), receipt.time);
        }
    }

    fn met_unknown_volume(&mut self, now: Millis, name: NodeName, origin: Origin, held: Held) {
        let doubts = self.peer(name).is_some_and(|peer| peer.own.doubt.is_some());
        if mutant::active(Mutant::NeverFence) {
            return self.advance(name);
        }
        if !doubts {
            return self.fence(now, name, Some(origin));
        }
        let goal = HeadRef { origin, size: held.size, root: held.root };
        self.start_fetch(name, goal, 0, Some(held));
    }

    /// This node's key signed something that it does not remember.
    pub(super) fn fence(&mut self, now: Millis, peer: NodeName, origin: Option<Origin>) {
        self.put(now, Act::Fenced { peer, origin });
        self.notice(Notice::Fenced { peer });
        for session in self.sessions.values_mut().filter(|session| session.is_up()) {
            session.step = Step::Stopped;
            session.drop_outstanding();
        }
    }

    fn behind(&mut self, now: Millis, name: NodeName, held: Held, own_size: u64) {
        let origin = Origin { from: self.me, to: name, volume: held.volume };
        if mutant::active(Mutant::SignWhileBehind) {
            return self.advance(name);
        }
        if self.peer(name).is_some_and(|peer| peer.own.doubt.is_none()) {
            // After any doubt about its own memory a node never signs an old tree again: with no peer.
            self.put(now, Act::Recovering { officer: 0 });
            for session in self.sessions.values_mut().filter(|session| session.is_up()) {
                session.drop_outstanding();
                // Nothing old is signed any more, a head within a refill included.
                if matches!(session.step, Step::Refill(_)) {
                    session.step = Step::Ready;
                }
            }
        }
        self.notice(Notice::Behind { origin });
        let goal = HeadRef { origin, size: held.size, root: held.root };
        self.start_fetch(name, goal, own_size, Some(held));
    }

    /// Two histories of the own log. One direction of one pair freezes; after people agreed, the holder's branch counts.
    pub(super) fn contradiction(&mut self, now: Millis, name: NodeName, held: Held, theirs: Bytes) {
        let origin = Origin { from: self.me, to: name, volume: held.volume };
        let Some(peer) = self.peer(name) else { return };
        let frozen = peer.own.frozen.as_ref().map(|frozen| frozen.agreed);
        match frozen {
            Some(true) => {
                let goal = HeadRef { origin, size: held.size, root: held.root };
                self.start_fetch(name, goal, 0, Some(held));
            }
            Some(false) => self.session(name).step = Step::Stopped,
            None => {
                let own = peer.own.volumes.get(&held.volume).and_then(|own| own.heads.back());
                let ours = own.map(|head| note(origin, head.size, head.root, &[&head.lines, &head.receipt]));
                let (ours, reason) = (ours.unwrap_or_default(), VolumeReason::Contradiction);
                self.put(now, Act::Frozen { peer: name, own_log: true, ours, theirs, reason });
                self.notice(Notice::Frozen { peer: name, own_log: true });
                let session = self.session(name);
                session.step = Step::Stopped;
                session.drop_outstanding();
            }
        }
    }

    /// A peer's word that cannot be: close.
    pub(super) fn peer_fault(&mut self, now: Millis, env: &mut dyn Env, peer: NodeName, code: FaultCode, index: u64) {
        self.note_fault(now, peer, true, code, index);
        if let Some(conn) = self.session(peer).chosen {
            let session = self.session(peer);
            session.peer_faults = session.peer_faults.saturating_add(1);
            self.close(now, env, conn, CloseCode::Frame);
        }
    }

    /// Decides what comes next for the own log, given what the holder has.
    pub(super) fn advance(&mut self, name: NodeName) {
        let Some(peer) = self.fold.peers.get(&name) else { return };
        let own = &peer.own;
        if own.frozen.as_ref().is_some_and(|frozen| !frozen.agreed) || self.fold.fenced.is_some() {
            self.session(name).step = Step::Stopped;
            return;
        }
        let held = self.sessions.get(&name).and_then(|session| session.held);
        let plan = plan(own, held);
        let without_receipt = own.volume().is_some_and(|(_, own)| own.receipted < own.size());
        let newest = own.volume().and_then(|(_, own)| own.heads.back());
        let uncovered = newest.is_some_and(|head| !is_full(&head.lines) || !is_full(&head.receipt));
        let holds_all = matches!(plan, Plan::Push { from } if own.volume().is_some_and(|(_, own)| own.size() == from));
        let session = self.session(name);
        // The holder has everything and gives no receipt, because bodies are missing: the next volume accounts for them.
        session.must_open = holds_all && without_receipt && !session.unavailable.is_empty();
        // Whatever no full head covers yet (the one before was cut off) gets one now.
        session.full_due |= uncovered;
        match plan {
            Plan::Push { from } => {
                session.step = Step::Ready;
                session.pushed = if mutant::active(Mutant::ForgetResend) { u64::MAX } else { from };
            }
            Plan::Open => {
                session.step = Step::Ready;
                session.must_open = true;
            }
            Plan::Refill { volume, from, to } => self.start_refill(name, volume, from, to),
        }
        self.touch(name);
    }

    /// Takes up the push where the holder is known to be.
    pub(super) fn resume_from_held(&mut self, name: NodeName) {
        let current = self.peer(name).and_then(|peer| peer.own.current);
        let session = self.session(name);
        match &mut session.step {
            Step::Ready => {
                let held = session.held.filter(|held| Some(held.volume) == current);
                session.pushed = held.map_or(0, |held| held.size);
            }
            Step::Refill(_) => session.step = Step::Ready,
            _ => {}
        }
        self.touch(name);
    }
}

/// What comes next for the own log.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// Push the open volume from this index on; the entries are in memory.
    Push { from: u64 },
    /// Open a new volume on what the holder has.
    Open,
    /// Send older entries from the journal first.
    Refill { volume: Volume, from: u64, to: u64 },
}

fn plan(own: &Author, held: Option<Held>) -> Plan {
    if own.reopen.is_some() {
        // The next volume stands on what the holder has, whatever that is; what it lacks queues again.
        return Plan::Open;
    }
    let chain = own.chain();
    let Some((last, _)) = chain.last().copied() else { return Plan::Open };
    let (at, from) = match held {
        None => (0, 0),
        Some(held) => match chain.iter().position(|(volume, _)| *volume == held.volume) {
            None => return Plan::Open,
            Some(at) if held.volume == last => (at, held.size),
            Some(at) if held.size > chain[at].1 => return Plan::Open,
            Some(at) if held.size == chain[at].1 => (at + 1, 0),
            Some(at) => (at, held.size),
        },
    };
    let (volume, to) = chain[at];
    let in_memory = own.unreceipted.front().map_or(to, |(index, _)| *index);
    if volume == last && from >= in_memory { Plan::Push { from } } else { Plan::Refill { volume, from, to } }
}

/// The keys that may have signed a volume: those it lists, and those that are trusted now where it lists none.
pub(super) fn keys_for(listed: &[PublicKeys], trusted: &[PublicKeys]) -> Vec<PublicKeys> {
    if listed.is_empty() { trusted.to_vec() } else { listed.to_vec() }
}

/// This node's own keys: those that a volume lists, and the present ones.
pub(super) fn own_keys(env: &dyn Env, listed: &[PublicKeys]) -> Vec<PublicKeys> {
    let mut keys = listed.to_vec();
    if let Ok(present) = PublicKeys::of(env.signer())
        && !keys.contains(&present)
    {
        keys.push(present);
    }
    keys
}
