//! Older entries for a holder that has less: read from the journal, in pieces under the window, each under a head.

use super::Core;
use super::note_text::{is_by, is_full, note};
use super::session::{Held, Outstanding, Refill, Step};
use crate::exchange::env::Env;
use crate::exchange::fold::{Author, OwnHead, unknown_lines};
use crate::exchange::io::{Action, Effect, EntryRef, Notice, StoredHead};
use crate::exchange::mutant::{self, Mutant};
use crate::exchange::record::{Act, Place};
use crate::merkle::{CompactRange, leaf_hash};
use crate::name::{Millis, NodeName, Origin, Volume};
use crate::wire::{Absent, EntryFrame, MAX_PUSH_BYTES, MAX_PUSH_ENTRIES, Payload, Span};

impl Core {
    pub(super) fn start_refill(&mut self, name: NodeName, volume: Volume, from: u64, to: u64) {
        let origin = Author::origin(self.me, name, volume);
        let session = self.session(name);
        session.drop_outstanding();
        let range = CompactRange::default();
        session.step = Step::Refill(Refill { volume, range, target: to, busy: true });
        if from == 0 {
            self.load_next(name);
        } else {
            self.actions.push_back(Action::RangeAt { origin, size: from });
        }
    }

    /// The tree at a size came from the journal, as the start of a refill.
    pub(super) fn range(&mut self, origin: Origin, size: u64, range: Option<CompactRange>) {
        let name = origin.to;
        let range = range.filter(|range| range.size() == size);
        let Some(range) = range else { return self.own_damage(name, origin) };
        let held = self.held(name);
        let Step::Refill(refill) = &mut self.session(name).step else { return };
        if refill.volume != origin.volume || refill.range.size() != 0 {
            return;
        }
        let other = held.filter(|held| held.volume == origin.volume && held.size == size);
        if other.is_some_and(|held| held.root != range.root()) {
            return self.own_damage(name, origin);
        }
        refill.range = range;
        self.load_next(name);
    }

    fn load_next(&mut self, name: NodeName) {
        let session = self.session(name);
        let bytes_max = session.window.min(MAX_PUSH_BYTES);
        let Step::Refill(refill) = &mut session.step else { return };
        refill.busy = true;
        let (volume, from) = (refill.volume, refill.range.size());
        let to = refill.target.min(from + MAX_PUSH_ENTRIES as u64);
        if from >= to {
            session.step = Step::Ready;
            return self.touch(name);
        }
        let origin = Author::origin(self.me, name, volume);
        self.actions.push_back(Action::Load { origin, from, to, bytes_max });
    }

    pub(super) fn loaded(
        &mut self,
        now: Millis,
        env: &mut dyn Env,
        origin: Origin,
        from: u64,
        mut entries: Vec<EntryFrame>,
        heads: &[StoredHead],
    ) {
        let name = origin.to;
        let session = self.session(name);
        let Some(conn) = session.up() else { return };
        let Step::Refill(refill) = &mut session.step else { return };
        if refill.volume != origin.volume || refill.range.size() != from {
            return;
        }
        if entries.is_empty() || entries.iter().zip(from..).any(|(entry, index)| entry.index != index) {
            return self.own_damage(name, origin);
        }
        let (target, start) = (refill.target, refill.range.clone());
        let heads = [heads, &self.heads_in_memory(origin)].concat();
        let Some((count, range)) = piece(&start, &entries, &heads) else {
            // Over none of these entries can this key sign a head without excluding one that it signed before: what the
            // holder lacks goes into the next volume.
            return self.leave_volume(now, name);
        };
        entries.truncate(count);
        let absent = entries.iter().filter(|entry| entry.payload == Payload::Absent(Absent::Unavailable));
        let absent: Vec<u64> = absent.map(|entry| entry.index).collect();
        self.record_lost(now, name, origin.volume, absent);
        if self.peer(name).is_some_and(|peer| peer.own.lost_bodies.is_full()) {
            return self.own_damage(name, origin);
        }
        let (size, root) = (range.size(), range.root());
        let own = self.peer(name).and_then(|peer| peer.own.volumes.get(&origin.volume));
        let known = own.and_then(|own| own.head_at(size)).cloned();
        if size > target || known.as_ref().is_some_and(|head| head.root != root) {
            return self.own_damage(name, origin);
        }
        let mut lines = known.as_ref().map(|head| head.lines.clone()).unwrap_or_default();
        let in_memory = lines.len();
        // A line once stored never changes: what the fold forgot the journal still has.
        let stored = heads.iter().filter(|head| head.size == size && head.root == root);
        let stored = stored.filter(|_| !mutant::active(Mutant::ForgetLines)).flat_map(|head| &head.lines);
        for line in stored.filter(|line| is_by(&origin.to_string(), line)) {
            lines.extend(unknown_lines(&lines, vec![line.clone()]));
        }
        // The first head of a session, and of a volume, carries the lines of both algorithms.
        let due = !is_full(&lines) && (!self.session(name).full_signed || from == 0);
        let receipt = known.map(|head| head.receipt).unwrap_or_default();
        if lines.is_empty() || due {
            lines = self.lines_for(env, name, origin.volume, size, root, lines, due);
        }
        if lines.len() > in_memory {
            let place = Place { peer: name, volume: origin.volume, index: size };
            self.put(now, Act::Signed { place, root, lines: lines.clone() });
        }
        let text = note(origin, size, root, &[&lines, &receipt]);
        let bytes = entries.iter().map(|entry| entry.leaf.bytes().len() as u64 + entry.leaf.body_len() as u64).sum();
        let entries = entries.into_iter().map(|entry| EntryRef {
            index: entry.index,
            leaf: Some(entry.leaf),
            record: None,
            payload: Some(entry.payload),
        });
        self.release(Effect::Push { conn, origin, entries: entries.collect(), note: text });
        let session = self.session(name);
        session.full_signed |= is_full(&lines);
        session.outstanding.push_back(Outstanding { size, bytes, at: now, limited: true });
        if let Step::Refill(refill) = &mut session.step {
            (refill.range, refill.busy) = (range, false);
        }
    }

    /// A later volume has to list what is lost, also after a restart.
    fn record_lost(&mut self, now: Millis, name: NodeName, volume: Volume, absent: Vec<u64>) {
        let Some(own) = self.peer(name).map(|peer| &peer.own) else { return };
        let mut spans: Vec<Span> = Vec::new();
        for index in absent.into_iter().filter(|index| !own.lost_bodies.contains(volume.number, *index)) {
            match spans.last_mut() {
                Some(span) if span.to == index => span.to += 1,
                _ => spans.push(Span { volume: volume.number, from: index, to: index + 1 }),
            }
        }
        if !spans.is_empty() {
            self.put(now, Act::BodiesLost { peer: name, volume, spans });
        }
    }

    /// The heads of a volume that the fold has, those among them that are not durable yet.
    fn heads_in_memory(&self, origin: Origin) -> Vec<StoredHead> {
        let own = self.peer(origin.to).and_then(|peer| peer.own.volumes.get(&origin.volume));
        let head = |head: &OwnHead| StoredHead { size: head.size, root: head.root, lines: head.lines.clone() };
        own.iter().flat_map(|own| &own.heads).map(head).collect()
    }

    /// A piece of the refill has its receipt: the next one, or what comes after.
    pub(super) fn refill_receipted(&mut self, name: NodeName, held: Held) {
        let Step::Refill(refill) = &self.session(name).step else { return };
        // A receipt for what was pushed before the refill says nothing about a piece that is being read.
        if refill.busy || refill.volume != held.volume || held.size < refill.range.size() {
            return;
        }
        if held.size < refill.target {
            self.load_next(name);
        } else {
            self.advance(name);
        }
    }

    /// Own damage: this direction of this pair stands still until the journal is repaired.
    pub(super) fn own_damage(&mut self, name: NodeName, origin: Origin) {
        self.session(name).step = Step::Stopped;
        self.notice(Notice::OwnDamage { origin });
    }
}

/// How many of the entries go under the next head, and the tree over them: up to the newest head that the journal has,
/// so that nothing needs to be signed; where it has none, all, but never up to a size of which it has another root only.
fn piece(start: &CompactRange, entries: &[EntryFrame], heads: &[StoredHead]) -> Option<(usize, CompactRange)> {
    let (mut stored, mut free) = (None, None);
    let mut range = start.clone();
    for (count, entry) in (1..).zip(entries) {
        range.push(leaf_hash(entry.leaf.bytes()));
        let mut here = heads.iter().filter(|head| head.size == range.size()).peekable();
        if here.peek().is_none() {
            free = Some((count, range.clone()));
        } else if here.any(|head| head.root == range.root()) {
            stored = Some((count, range.clone()));
        }
    }
    stored.or(free)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Hash;
    use crate::wire::{Leaf, commitment};

    fn entries(count: u64) -> Vec<EntryFrame> {
        let entry = |index: u64| {
            let leaf = Leaf::new(commitment(&[0; 32], b""), 0, &index.to_be_bytes()).expect("small");
            EntryFrame { index, leaf, payload: Payload::Absent(Absent::Unavailable) }
        };
        (0..count).map(entry).collect()
    }

    fn head(entries: &[EntryFrame], size: usize) -> StoredHead {
        let mut range = CompactRange::default();
        entries[..size].iter().for_each(|entry| range.push(leaf_hash(entry.leaf.bytes())));
        StoredHead { size: size as u64, root: range.root(), lines: Vec::new() }
    }

    #[test]
    fn a_piece_ends_at_the_newest_stored_head_and_never_where_another_root_was_signed() {
        let entries = entries(6);
        let other = |size| StoredHead { size, root: Hash([9; 32]), lines: Vec::new() };
        let count = |heads: &[StoredHead]| piece(&CompactRange::default(), &entries, heads).map(|(count, _)| count);
        assert_eq!(count(&[]), Some(6));
        assert_eq!(count(&[head(&entries, 2), head(&entries, 4)]), Some(4));
        assert_eq!(count(&[other(6), other(5)]), Some(4));
        assert_eq!(count(&[head(&entries, 3), other(6)]), Some(3));
        assert_eq!(count(&[other(6), head(&entries, 6)]), Some(6));
        assert_eq!(count(&(1..=6).map(other).collect::<Vec<_>>()), None);
    }
}
