//! What a HELLO or SHOWS means for each direction.

use super::Core;
use super::note_text::{Good, is_full, judge, judge_receipt, receipts_hold};
use super::session::{Held, Step};
use crate::exchange::env::Env;
use crate::exchange::fold::Author;
use crate::exchange::io::{CloseCode, ConnId, Notice};
use crate::exchange::mutant::{self, Mutant};
use crate::exchange::record::{Act, Doubt};
use crate::name::{Millis, NodeName, Origin, Volume};
use crate::note::{Checkpoint, Head, PublicKeys};
use crate::wire::{FaultCode, HeadRef, LogState};

impl Core {
    pub(super) fn shows(&mut self, now: Millis, env: &mut dyn Env, conn: ConnId, state: &LogState) {
        let Some(peer) = self.conns.get(&conn).copied() else { return };
        let session = self.session(peer);
        if session.up() != Some(conn) {
            return;
        }
        session.last_heard = Some(now);
        session.drop_outstanding();
        if matches!(session.step, Step::Fetch(_) | Step::AwaitPrefix { .. } | Step::Stopped) {
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
        let frozen = self.peer(name).and_then(|peer| peer.own.frozen.as_ref());
        if frozen.is_some_and(|frozen| !frozen.agreed) {
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
            if peer.own.volumes.is_empty() {
                return self.met_former_keys(now, env, name, shown);
            }
            return self.peer_fault(now, env, name, FaultCode::BadSignature, shown.size);
        };
        if good.head.origin != origin || good.head.size != shown.size {
            return self.peer_fault(now, env, name, FaultCode::Size, shown.size);
        }
        let (size, root) = (good.head.size, good.head.root);
        let held = Held { volume: origin.volume, size, root };
        if !receipts_hold(env, &good.checkpoint, name, &peer.keys) {
            return self.peer_fault(now, env, name, FaultCode::BadSignature, shown.size);
        }
        let receipted = judge_receipt(env, &good.checkpoint, name, &peer.keys).is_some();
        let own = own.map(|own| (own.size(), own.root_at(size)));
        self.session(name).receipted = receipted;
        match own {
            None => self.met_unknown_volume(now, name, origin, held),
            Some((own_size, _)) if size > own_size => self.behind(now, name, held, own_size),
            Some((_, Some(known))) if known == root => self.agreed(now, env, name, held, &good),
            Some((_, Some(_))) => {
                let proof = self.own_proof(name, origin, size, shown.note.clone());
                self.contradiction(now, name, held, proof);
            }
            Some((_, None)) => self.ask_prefix(name, held, shown.note.clone()),
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

    /// The holder shows a log of this node under keys that are not here, and this node remembers none: it began anew
    /// with keys of its own. Only a person can say so; `recover --from-peers` then gets back what the holder has, which
    /// is judged by the keys that its entry 0 lists. Until then this direction waits, and the other one goes on.
    fn met_former_keys(&mut self, now: Millis, env: &mut dyn Env, name: NodeName, shown: &LogState) {
        let head = Checkpoint::parse(&shown.note).ok().map(|note: Checkpoint| note.head().clone());
        let fits = |head: &Head| Some(head.origin) == shown.origin && head.size == shown.size && head.size > 0;
        let Some(head) = head.filter(fits) else {
            return self.peer_fault(now, env, name, FaultCode::BadSignature, shown.size);
        };
        if self.peer(name).is_some_and(|peer| peer.own.doubt == Some(Doubt::Person)) {
            let held = Held { volume: head.origin.volume, size: head.size, root: head.root };
            let goal = HeadRef { origin: head.origin, size: head.size, root: head.root };
            return self.start_fetch(name, goal, 0, Some(held));
        }
        self.session(name).step = Step::Stopped;
        self.notice(Notice::FormerKeys { origin: head.origin });
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
            for (peer, session) in self.sessions.iter_mut().filter(|(_, session)| session.is_up()) {
                session.drop_outstanding();
                // What its holder lacks goes into the next volume.
                self.dirty.insert(*peer);
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

    /// A peer's word that cannot be: close.
    pub(super) fn peer_fault(&mut self, now: Millis, env: &mut dyn Env, peer: NodeName, code: FaultCode, index: u64) {
        self.note_fault(peer, true, code, index);
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
        // The old keys are gone, or are not to sign any more: the next volume lists the new ones.
        let plan = if self.has_new_keys(own) { Plan::Open } else { plan(own, held) };
        let unlisted = !own.unlisted_bodies().is_empty();
        let newest = own.volume().and_then(|(_, own)| own.heads.back());
        let uncovered = newest.is_some_and(|head| !is_full(&head.lines) || !is_full(&head.receipt));
        let holds_all = matches!(plan, Plan::Push { from } if own.volume().is_some_and(|(_, own)| own.size() == from));
        let session = self.session(name);
        // The holder has everything and gives no receipt, because bodies are missing: the next volume accounts for them.
        session.must_open = holds_all && unlisted && !session.receipted;
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
            Step::Refill(_) => {
                session.step = Step::Ready;
                if let Some(held) = session.held.filter(|held| Some(held.volume) == current) {
                    session.pushed = held.size;
                }
            }
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
