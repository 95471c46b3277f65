//! Two histories of one log: found, proved, kept and told. Nobody is accused; people decide how to go on.

use bytes::Bytes;

use super::Core;
use super::compare::{keys_for, own_keys};
use super::note_text::{Good, judge, note};
use super::session::{Held, Signed, Step};
use crate::exchange::env::Env;
use crate::exchange::fold::{Author, Frozen, Peer};
use crate::exchange::io::{Action, Effect, Notice, Pushed};
use crate::exchange::mutant::{self, Mutant};
use crate::exchange::record::Act;
use crate::merkle::{CompactRange, Growth, leaf_hash, verify_consistency};
use crate::name::{Hash, Millis, NodeName, Origin, Volume};
use crate::note::{Checkpoint, Exclusion};
use crate::wire::{Contradiction, FaultCode, HeadRef, LogState, VolumeReason};

/// How many heads over more than is held are remembered per peer: one shown and a few pushes that were not taken.
const BEYOND: usize = 4;

impl Core {
    /// The peer shows the log that it writes. Only a contradiction matters here: the author acts, not the holder.
    pub(super) fn compare_held(&mut self, now: Millis, env: &dyn Env, name: NodeName, shown: &LogState) {
        if !shown.note.is_empty() {
            self.judge_signed(now, env, name, &shown.note);
        }
    }

    /// Compares a head that the peer signed for its own log with the copy held, and with what else it signed. A head
    /// over more than is held is remembered until the copy has grown past it. Whether the log is frozen now.
    pub(super) fn judge_signed(&mut self, now: Millis, env: &dyn Env, name: NodeName, text: &Bytes) -> bool {
        let Some(peer) = self.peer(name) else { return false };
        let Some(signed) = signed_by(env, self.me, name, peer, text) else { return false };
        let Signed { origin, size, root, .. } = signed;
        let held = peer.theirs.volume().filter(|(volume, _)| *volume == origin.volume);
        match held.and_then(|(_, held)| held.head.as_ref()) {
            Some(known) if known.size == size && known.root != root => {
                let ours = note(origin, size, known.root, &[&known.author_lines, &known.lines]);
                self.freeze_theirs(now, name, Contradiction { ours, theirs: text.clone(), hashes: Vec::new() });
                true
            }
            Some(known) if known.size == size => false,
            _ if mutant::active(Mutant::JudgeOneSizeOnly) => false,
            Some(known) if known.size > size => {
                let upto = known.size;
                self.session(name).asked = Some(signed);
                self.actions.push_back(Action::PrefixOf { origin, size, upto });
                false
            }
            _ => self.remember(now, name, signed),
        }
    }

    fn remember(&mut self, now: Millis, name: NodeName, signed: Signed) -> bool {
        let beyond = &mut self.session(name).beyond;
        let same = |known: &&Signed| known.origin == signed.origin && known.size == signed.size;
        match beyond.iter().find(same) {
            Some(known) if known.root != signed.root => {
                let proof = Contradiction { ours: known.note.clone(), theirs: signed.note, hashes: Vec::new() };
                self.freeze_theirs(now, name, proof);
                return true;
            }
            Some(_) => {}
            None => beyond.push_back(signed),
        }
        if beyond.len() > BEYOND {
            beyond.pop_front();
        }
        false
    }

    /// What the tree of a log was at a smaller size came from the journal.
    pub(super) fn prefix(&mut self, now: Millis, origin: Origin, size: u64, upto: u64, growth: Option<Growth>) {
        if growth.is_none() && (self.written != self.durable || !self.pending.is_empty()) {
            // It may not be durable yet: asked again once everything is.
            return self.unanswered.push((origin, size, upto));
        }
        if origin.from == self.me {
            return self.own_prefix(now, origin, size, upto, growth);
        }
        let name = origin.from;
        let session = self.session(name);
        let Some(signed) = session.asked.take_if(|asked| asked.origin == origin && asked.size == size) else { return };
        let held = self.peer(name).and_then(|peer| peer.theirs.volume()).filter(|(volume, _)| *volume == origin.volume);
        let Some(known) = held.and_then(|(_, held)| held.head.clone()) else { return };
        let Some((root, hashes)) = growth.and_then(|growth| folded(&growth, size, upto, &known.root)) else {
            return self.notice(Notice::OwnDamage { origin });
        };
        if root != signed.root {
            let ours = note(origin, known.size, known.root, &[&known.author_lines, &known.lines]);
            self.freeze_theirs(now, name, Contradiction { ours, theirs: signed.note, hashes });
        }
    }

    /// Whether a push excludes something else that its author signed: its own head of the size held, a head that was
    /// remembered of the same size, or one that the entries grow past.
    pub(super) fn excluded(
        &self,
        name: NodeName,
        good: &Good,
        held: &CompactRange,
        pushed: &Pushed,
    ) -> Option<Contradiction> {
        let head = &good.head;
        let beyond = self.sessions.get(&name).map(|session| &session.beyond)?;
        let beyond: Vec<&Signed> = beyond.iter().filter(|signed| signed.origin == head.origin).collect();
        if let Some(known) = beyond.iter().find(|known| known.size == head.size && known.root != head.root) {
            let (ours, theirs) = (known.note.clone(), pushed.note.clone());
            return Some(Contradiction { ours, theirs, hashes: Vec::new() });
        }
        if beyond.is_empty() || mutant::active(Mutant::JudgeOneSizeOnly) {
            return None;
        }
        let (mut range, mut left) = (held.clone(), None);
        for entry in pushed.entries.iter().take_while(|entry| entry.index >= held.size()) {
            let differs = |known: &&&Signed| known.size == range.size() && known.root != range.root();
            if left.is_none()
                && let Some(known) = beyond.iter().find(differs)
            {
                left = Some((known.note.clone(), Growth::of(range.clone())));
            }
            let hash = leaf_hash(entry.leaf.bytes());
            range.push(hash);
            if let Some((_, growth)) = &mut left {
                growth.push(hash);
            }
        }
        let (ours, growth) = left.filter(|_| range.size() == head.size && range.root() == head.root)?;
        let (_, hashes) = folded(&growth, growth.size_before(), head.size, &head.root)?;
        Some(Contradiction { ours, theirs: pushed.note.clone(), hashes })
    }

    /// Two heads of the size held: the own copy's, and another one that its author signed.
    pub(super) fn of_one_size(&self, name: NodeName, theirs: Bytes) -> Contradiction {
        Contradiction { ours: self.held_state(name).note, theirs, hashes: Vec::new() }
    }

    /// Freezes the peer's log towards this node, and shows why.
    pub(super) fn freeze_theirs(&mut self, now: Millis, name: NodeName, proof: Contradiction) {
        let Some(peer) = self.peer(name) else { return };
        if peer.theirs.frozen.is_none() {
            let reason = VolumeReason::Contradiction;
            self.put(now, Act::Frozen { peer: name, own_log: false, proof, reason });
            self.notice(Notice::Frozen { peer: name, own_log: false });
        }
        self.show_contradiction(name);
    }

    /// Shows the author what excludes each other, so that it can stop by itself.
    pub(super) fn show_contradiction(&mut self, name: NodeName) {
        let Some(proof) = self.peer(name).and_then(|peer| peer.theirs.frozen.as_ref()).map(|f| f.proof.clone()) else {
            return;
        };
        let origin = exclusion(&proof).map(|(origin, _)| origin);
        if let Some(conn) = self.session(name).up() {
            self.release(Effect::Fault { conn, code: FaultCode::Contradiction, origin, index: 0, proof });
        }
    }

    /// Two histories of the own log. One direction of one pair freezes; after people agreed, the holder's branch counts.
    pub(super) fn contradiction(&mut self, now: Millis, name: NodeName, held: Held, proof: Contradiction) {
        let origin = Origin { from: self.me, to: name, volume: held.volume };
        let Some(peer) = self.peer(name) else { return };
        match peer.own.frozen.as_ref().map(|frozen| frozen.agreed) {
            Some(true) => {
                let goal = HeadRef { origin, size: held.size, root: held.root };
                self.start_fetch(name, goal, 0, Some(held));
            }
            Some(false) => self.session(name).step = Step::Stopped,
            None => self.freeze_own(now, name, proof),
        }
    }

    fn freeze_own(&mut self, now: Millis, name: NodeName, proof: Contradiction) {
        let reason = VolumeReason::Contradiction;
        self.put(now, Act::Frozen { peer: name, own_log: true, proof, reason });
        self.notice(Notice::Frozen { peer: name, own_log: true });
        let session = self.session(name);
        session.step = Step::Stopped;
        session.drop_outstanding();
    }

    /// The own tree at the holder's size came from the journal.
    fn own_prefix(&mut self, now: Millis, origin: Origin, size: u64, upto: u64, growth: Option<Growth>) {
        let name = origin.to;
        let (held, theirs) = match &self.session(name).step {
            Step::AwaitPrefix { held, theirs } if held.volume == origin.volume && held.size == size => {
                (*held, theirs.clone())
            }
            _ => return,
        };
        let Some(own) = self.peer(name).and_then(|peer| peer.own.volumes.get(&origin.volume)) else { return };
        let root = own.root_at(upto);
        let ours = own.head_at(upto).map(|head| note(origin, upto, head.root, &[&head.lines, &head.receipt]));
        let found = root.zip(growth).and_then(|(root, growth)| folded(&growth, size, upto, &root));
        match found {
            Some((root, _)) if root == held.root => {
                let session = self.session(name);
                session.held = Some(held);
                session.step = Step::Ready;
                self.advance(name);
            }
            Some((_, hashes)) => {
                let proof = Contradiction { ours: ours.unwrap_or_default(), theirs, hashes };
                self.contradiction(now, name, held, proof);
            }
            None => self.own_damage(name, origin),
        }
    }

    /// The holder says that there is another history. Believed only with this node's own signature as proof.
    pub(super) fn judge_contradiction(&mut self, now: Millis, env: &dyn Env, name: NodeName, shown: &Contradiction) {
        let Some(peer) = self.peer(name) else { return };
        // What this holder itself has left behind for a later volume is settled.
        let held = self.held(name);
        let settled = |origin: &Origin| held.is_some_and(|held| held.volume.number > origin.volume.number);
        let keys = own_keys(env, &[]);
        let signed = |text: &Bytes| {
            let good = judge(env, text, &keys, name)?;
            (good.head.origin.from == self.me && good.head.origin.to == name).then_some(good.head)
        };
        let (one, other) = (signed(&shown.ours), signed(&shown.theirs));
        let proved = one
            .as_ref()
            .zip(other.as_ref())
            .is_some_and(|(one, other)| Exclusion::of(one, other, &shown.hashes).is_some() && !settled(&one.origin));
        let against_own = one.as_ref().is_some_and(|head| {
            let own = peer.own.volumes.get(&head.origin.volume).filter(|_| !settled(&head.origin));
            own.and_then(|own| own.root_at(head.size)).is_some_and(|root| root != head.root)
        });
        match peer.own.frozen.as_ref().map(|frozen| frozen.agreed) {
            None if proved => {
                let (ours, theirs) = (shown.theirs.clone(), shown.ours.clone());
                self.freeze_own(now, name, Contradiction { ours, theirs, hashes: shown.hashes.clone() });
            }
            None if against_own => {
                let head = one.expect("judged a line ago");
                let proof = self.own_proof(name, head.origin, head.size, shown.ours.clone());
                self.freeze_own(now, name, proof);
            }
            Some(false) => self.session(name).step = Step::Stopped,
            _ => self.resume_from_held(name),
        }
    }

    /// The own head of a size, or the newest one, beside the holder's of that size.
    pub(super) fn own_proof(&self, name: NodeName, origin: Origin, size: u64, theirs: Bytes) -> Contradiction {
        let own = self.peer(name).and_then(|peer| peer.own.volumes.get(&origin.volume));
        let head = own.and_then(|own| own.head_at(size).or(own.heads.back()));
        let ours = head.map(|head| note(origin, head.size, head.root, &[&head.lines, &head.receipt]));
        Contradiction { ours: ours.unwrap_or_default(), theirs, hashes: Vec::new() }
    }

    /// Asks the journal what the own tree was at the holder's size.
    pub(super) fn ask_prefix(&mut self, name: NodeName, held: Held, theirs: Bytes) {
        let origin = Author::origin(self.me, name, held.volume);
        let own = self.peer(name).and_then(|peer| peer.own.volumes.get(&held.volume));
        let larger = own.and_then(|own| own.heads.iter().map(|head| head.size).find(|size| *size > held.size));
        let Some(upto) = larger else { return self.own_damage(name, origin) };
        self.session(name).step = Step::AwaitPrefix { held, theirs };
        self.actions.push_back(Action::PrefixOf { origin, size: held.size, upto });
    }
}

/// Whether a freeze stands on a proof, and not merely on a volume that asks for people; and of which volume.
pub(super) fn proven(frozen: &Frozen) -> Option<Volume> {
    let reason = frozen.reason == VolumeReason::Contradiction;
    exclusion(&frozen.proof).filter(|_| reason).map(|(origin, _)| origin.volume)
}

/// How the two heads exclude each other on which a freeze stands.
pub(super) fn excluded(frozen: &Frozen) -> Option<Exclusion> {
    exclusion(&frozen.proof).map(|(_, exclusion)| exclusion)
}

/// What a kept proof says; its lines were judged when it was recorded.
fn exclusion(proof: &Contradiction) -> Option<(Origin, Exclusion)> {
    let head = |text: &Bytes| Checkpoint::<Origin>::parse(text).ok().map(|note| note.head().clone());
    let (one, other) = (head(&proof.ours)?, head(&proof.theirs)?);
    Exclusion::of(&one, &other, &proof.hashes).map(|exclusion| (one.origin, exclusion))
}

/// A head that the peer signed over the volume held, or over a later one.
fn signed_by(env: &dyn Env, me: NodeName, name: NodeName, peer: &Peer, text: &Bytes) -> Option<Signed> {
    let origin = Checkpoint::<Origin>::parse(text).ok()?.head().origin;
    let current = peer.theirs.volume();
    let held = current.filter(|(volume, _)| *volume == origin.volume);
    // Nothing is cosigned in volumes that were left, so nothing in them needs to be judged any more.
    let left = held.is_none() && current.is_some_and(|(volume, _)| volume.number >= origin.volume.number);
    if origin.from != name || origin.to != me || left {
        return None;
    }
    let keys = held.map_or_else(|| peer.keys.clone(), |(_, held)| keys_for(&held.keys, &peer.keys));
    let Good { head, .. } = judge(env, text, &keys, me)?;
    Some(Signed { origin, size: head.size, root: head.root, note: text.clone() })
}

/// The root at the smaller size, and the hashes of a [`Contradiction`], where they lead to the larger root.
fn folded(growth: &Growth, size: u64, upto: u64, larger: &Hash) -> Option<(Hash, Vec<Hash>)> {
    let (root, proof) = (growth.root_before(), growth.proof().ok()?);
    let fits = (growth.size_before(), growth.size()) == (size, upto);
    let proved = fits && verify_consistency(size, &root, upto, larger, &proof).is_ok();
    proved.then(|| (root, std::iter::once(root).chain(proof).collect()))
}
