//! Older entries for a holder that has less: read from the journal, in pieces under the window, each under a head.

use super::Core;
use super::note_text::{is_full, note};
use super::session::{Held, Outstanding, Refill, Step};
use crate::exchange::env::Env;
use crate::exchange::fold::Author;
use crate::exchange::io::{Action, Effect, EntryRef, Notice};
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

    /// The tree at a size came from the journal: for a comparison, or as the start of a refill.
    pub(super) fn range(&mut self, now: Millis, origin: Origin, size: u64, range: Option<CompactRange>) {
        let name = origin.to;
        let range = range.filter(|range| range.size() == size);
        let Some(range) = range else { return self.own_damage(name, origin) };
        let held = self.held(name);
        match &mut self.session(name).step {
            Step::AwaitRange { held, theirs } if held.volume == origin.volume && held.size == size => {
                let (held, theirs) = (*held, theirs.clone());
                self.compare_range(now, name, held, range.root(), theirs);
            }
            Step::Refill(refill) if refill.volume == origin.volume && refill.range.size() == 0 => {
                let agrees = held
                    .is_none_or(|held| held.volume != origin.volume || held.size != size || held.root == range.root());
                if !agrees {
                    return self.own_damage(name, origin);
                }
                refill.range = range;
                self.load_next(name);
            }
            _ => {}
        }
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
        entries: Vec<EntryFrame>,
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
        let target = refill.target;
        let mut range = refill.range.clone();
        for entry in &entries {
            range.push(leaf_hash(entry.leaf.bytes()));
        }
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
        let full_signed = self.session(name).full_signed;
        let lines = known.as_ref().map(|head| head.lines.clone()).unwrap_or_default();
        // The first head of a session, and of a volume, carries the lines of both algorithms.
        let due = !is_full(&lines) && (!full_signed || from == 0);
        let receipt = known.map(|head| head.receipt).unwrap_or_default();
        let lines = if lines.is_empty() || due {
            let lines = self.lines_for(env, name, origin.volume, size, root, lines, due);
            let place = Place { peer: name, volume: origin.volume, index: size };
            self.put(now, Act::Signed { place, root, lines: lines.clone() });
            lines
        } else {
            lines
        };
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
