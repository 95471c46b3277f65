//! The oracle: looks at everything that leaves a node and at everything that is durable on its disk.

use std::collections::{BTreeMap, BTreeSet};

use verbale::exchange::{Act, Answer, Effect, Group, Input, Place};
use verbale::name::{Hash, NodeName, Origin};
use verbale::note::{Checkpoint, judge_log_lines};
use verbale::wire::LogState;

use super::ledger::{Copy, Ledger};
use super::shell::bytes_of;
use super::wire::End;
use super::world::{Verdict, World};

/// What is known about the world as a whole.
#[derive(Default)]
pub struct Oracle {
    /// For each log, the leaves below the largest head that ever left its author.
    truths: BTreeMap<Origin, Vec<Hash>>,
    /// Logs of nodes that ran twice: only their holders are judged.
    exempt: BTreeSet<Origin>,
    /// Every receipt that was ever durable at its holder.
    cosigned: BTreeSet<(Origin, u64)>,
    /// Nodes whose folder was put back, at least once.
    pub restored: BTreeSet<NodeName>,
    /// Those among them that were not told.
    pub forgetful: BTreeSet<NodeName>,
    /// Nodes that ran twice.
    pub cloned: BTreeSet<NodeName>,
    /// Nodes that contradict themselves: liars, and those that ran twice.
    pub unsteady: BTreeSet<NodeName>,
    /// Places shown as new in this run of an instance.
    shown: BTreeSet<(usize, u64, Place)>,
    /// Own volumes that an instance was shown and does not know, with the groups given out since.
    pub strangers: BTreeMap<(usize, Origin), u32>,
    /// Sizes held by an instance, as it last said so in this run.
    said: BTreeMap<(usize, u64, Origin), u64>,
    /// What peers signed, as instances were shown it.
    pub signed: super::signed::Shown,
    /// Every line that left its maker: by origin, size and key.
    pub left: super::signed::Lines,
    /// What each instance has stored for each liar.
    pub used: BTreeMap<(usize, NodeName), super::bounds::Used>,
    pub delivered: u64,
    pub receipts: u64,
    pub volumes: u64,
    pub freezes: u64,
    pub fences: u64,
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what()) }
}

impl Oracle {
    /// I1: `copy` up to `size` and all that was signed before are prefixes of one list.
    fn agree(&mut self, origin: Origin, copy: &Copy, size: u64) -> Verdict {
        if self.exempt.contains(&origin) {
            return Ok(());
        }
        let truth = self.truths.entry(origin).or_default();
        let leaves = copy.hashes.get(..size as usize).ok_or_else(|| format!("I1: {origin} {size} beyond the log"))?;
        let both = truth.len().min(leaves.len());
        check(truth[..both] == leaves[..both], || format!("I1: two histories of {origin} below {size}"))?;
        if leaves.len() > truth.len() {
            *truth = leaves.to_vec();
        }
        Ok(())
    }
}

impl World {
    /// This end has read a HELLO: it may sign now. Its own leaves before any signature does, see `check_effect`.
    pub fn compare(&mut self, link: usize, end: End) {
        let half = &self.links[link].halves[end];
        if half.got_hello && half.open {
            let (who, peer) = (half.instance, self.peer_of(link, end));
            self.instances[who].compared.insert(peer);
        }
    }

    /// Takes note of what a core is about to hear.
    pub fn heard(&mut self, who: usize, input: &Input) {
        if let Input::Pushed { conn, .. } = input {
            self.oracle.signed.pushed(who, *conn);
        }
        let (conn, window, yours) = match input {
            Input::Hello { conn, hello } => (conn, Some(hello.window), Some(&hello.yours)),
            Input::Cosigned { conn, window, .. } => (conn, Some(*window), None),
            Input::Shows { conn, state } => (conn, None, Some(state)),
            _ => return,
        };
        let Some((link, end)) = self.instances[who].conns.get(conn).copied() else { return };
        // A second HELLO is a fault of its sender, whatever it says; the connection ends and nobody reads it.
        if matches!(input, Input::Hello { .. }) && self.links[link].halves[end].hello_again {
            return;
        }
        let peer = self.peer_of(link, end);
        if let Some(window) = window.filter(|_| !self.is_liar(peer)) {
            self.instances[who].windows.insert(peer, window);
        }
        if let Some(origin) = yours.and_then(|state| self.stranger(who, peer, state)) {
            self.oracle.strangers.entry((who, origin)).or_insert(0);
        }
    }

    /// A volume under the own key of an instance that it did not open, shown with a valid signature.
    fn stranger(&self, who: usize, peer: NodeName, state: &LogState) -> Option<Origin> {
        let instance = &self.instances[who];
        let note = Checkpoint::<Origin>::parse(&state.note).ok()?;
        let origin = note.head().origin;
        if state.origin != Some(origin) || state.size != note.head().size {
            return None;
        }
        let own = origin.from == instance.name && origin.to == peer && !instance.ledger.own.contains_key(&origin);
        let keys = [self.keys[&instance.name].clone()];
        let only = instance.conns.values().filter(|(link, end)| self.peer_of(*link, *end) == peer).count() == 1;
        let sure = instance.core.as_ref()?.fold().peers.get(&peer).is_some_and(|known| known.own.doubt.is_none());
        (own && only && sure && judge_log_lines(&note, &keys, self.judge.judge()).is_ok()).then_some(origin)
    }

    pub fn is_liar(&self, name: NodeName) -> bool {
        self.instances.iter().any(|instance| instance.name == name && instance.liar.is_some())
    }

    /// Looks at a group before it is written.
    pub fn check_group(&mut self, who: usize, group: &Group) -> Verdict {
        self.oracle.signed.given(who, group.number);
        let instance = &self.instances[who];
        let durable = instance.disk.records.len() as u64;
        check(group.first == durable, || format!("#{who}: group from {} on, {durable} are durable", group.first))?;
        for record in &group.records {
            self.check_withdrawal(who, record)?;
            match &record.act {
                Act::Signed { place, .. } => {
                    check(instance.compared.contains(&place.peer), || format!("D4: signed before Hello: {place:?}"))?;
                    let late = |((at, origin), groups): (&(usize, Origin), &u32)| {
                        *at == who
                            && *groups > 1
                            && origin.to == place.peer
                            && !instance.ledger.own.contains_key(origin)
                    };
                    check(!self.oracle.strangers.iter().any(late), || {
                        format!("#{who} signed {place:?} after it met its own key under a volume that it did not open")
                    })?;
                }
                Act::Cosigned { place, lines, .. } if !lines.is_empty() => {
                    check(instance.compared.contains(&place.peer), || format!("D4: cosigned before Hello: {place:?}"))?;
                }
                Act::VolumeOpened { .. } => self.oracle.volumes += 1,
                Act::Frozen { .. } => self.oracle.freezes += 1,
                Act::Fenced { .. } => self.oracle.fences += 1,
                _ => {}
            }
        }
        let recovers = |act: &Act| matches!(act, Act::Recovering { .. } | Act::Fenced { .. });
        if group.records.iter().any(|record| recovers(&record.act)) {
            self.oracle.strangers.retain(|(at, _), _| *at != who);
        }
        for ((at, _), groups) in &mut self.oracle.strangers {
            *groups += u32::from(*at == who);
        }
        let compared = instance.conns.values().filter(|(link, end)| {
            let half = &self.links[*link].halves[*end];
            half.got_hello && half.open && !half.told_of_another
        });
        let compared = compared.map(|(link, end)| self.peer_of(*link, *end)).collect();
        self.instances[who].compared = compared;
        Ok(())
    }

    /// Looks at a group that has become durable, after the ledger has taken it in.
    pub fn check_durable(&mut self, who: usize, group: &Group) -> Verdict {
        self.check_bounds(who, group)?;
        let instance = &self.instances[who];
        for record in &group.records {
            match &record.act {
                Act::Cosigned { place, lines, .. } => {
                    let origin = instance.ledger.origin(place, false);
                    if !lines.is_empty() {
                        self.oracle.signed.check(who, origin, group.number, &instance.ledger.held[&origin])?;
                        self.oracle.cosigned.insert((origin, place.index));
                        self.oracle.receipts += 1;
                    }
                    if !self.instances.iter().any(|other| other.name == origin.from && other.liar.is_some()) {
                        self.oracle.agree(origin, &instance.ledger.held[&origin], place.index)?;
                    }
                }
                Act::Receipt { place, .. } => {
                    let origin = instance.ledger.origin(place, true);
                    let held = self.oracle.cosigned.contains(&(origin, place.index)) || self.is_liar(place.peer);
                    check(held, || format!("I3: #{who} has a receipt that nobody made: {origin} {}", place.index))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Looks at what is about to leave an instance.
    pub fn check_effect(&mut self, who: usize, effect: &Effect) -> Verdict {
        self.lines_stay(who, effect)?;
        let instance = &self.instances[who];
        let ledger = &instance.ledger;
        match effect {
            Effect::Hello { hello, .. } => {
                signed_lines_are_durable(ledger, &hello.mine.note)?;
                signed_lines_are_durable(ledger, &hello.yours.note)?;
                self.said(who, &hello.yours)?;
                self.said(who, &hello.mine)
            }
            Effect::Shows { state, .. } => {
                signed_lines_are_durable(ledger, &state.note)?;
                self.said(who, state)
            }
            Effect::Push { conn, origin, entries, note } => {
                signed_lines_are_durable(ledger, note)?;
                let compared = instance.conns.get(conn).is_none_or(|(link, end)| {
                    let half = &self.links[*link].halves[*end];
                    half.sent_hello && half.got_hello
                });
                check(compared, || format!("D4: #{who} pushes before both Hellos"))?;
                let copy = ledger.own.get(origin).ok_or_else(|| format!("#{who} pushes {origin}, not durable"))?;
                let note =
                    Checkpoint::<Origin>::parse(note).map_err(|error| format!("#{who} pushes a bad note: {error}"))?;
                let head = note.head().clone();
                check(head.origin == *origin, || format!("#{who} pushes {origin} under {}", head.origin))?;
                check(copy.heads.get(&head.size).is_some_and(|(root, _)| *root == head.root), || {
                    format!("D1: #{who} pushes head {origin} {} that is not durable", head.size)
                })?;
                for (entry, after) in
                    entries.iter().zip(entries.iter().skip(1).map(|entry| entry.index).chain([head.size]))
                {
                    let known = copy.leaves.get(entry.index as usize);
                    check(known.is_some_and(|leaf| entry.leaf.as_ref().is_none_or(|own| own == leaf)), || {
                        format!("D1: #{who} pushes {origin} {} that is not durable", entry.index)
                    })?;
                    check(after == entry.index + 1, || {
                        format!("#{who} pushes {origin} with a gap at {}", entry.index)
                    })?;
                }
                let copy = copy.clone();
                self.oracle.agree(*origin, &copy, head.size)
            }
            Effect::Cosigned { origin, size, lines, .. } => {
                let durable = ledger.held.get(origin).and_then(|copy| copy.receipts.get(size));
                let all = durable.is_some_and(|durable| lines.iter().all(|line| durable.contains(line)));
                check(all && !lines.is_empty(), || format!("D1: #{who} sends receipt {origin} {size}, not durable"))
            }
            Effect::Fault { .. } => Ok(()),
            Effect::Show(shown) => {
                for shown in shown {
                    self.check_label(who, shown)?;
                    let place = shown.place;
                    let origin = ledger.origin(&place, false);
                    let later = |(other, copy): (&Origin, &Copy)| {
                        other.from == origin.from && other.volume.number > origin.volume.number && copy.receipted() > 0
                    };
                    let receipt = ledger.held.get(&origin).is_some_and(|copy| copy.receipted() > place.index)
                        || ledger.held.iter().any(later);
                    check(receipt, || format!("D8: #{who} shows {place:?} before its receipt is durable"))?;
                    let first = self.oracle.shown.insert((who, instance.run, place));
                    check(first, || format!("I4: #{who} shows {place:?} twice in one run"))?;
                }
                Ok(())
            }
            Effect::Delivered { entries, .. } => {
                for (id, place) in entries {
                    check(ledger.is_receipted(place), || {
                        format!("D8: #{who} says that {id} is delivered, no receipt")
                    })?;
                    self.oracle.delivered += 1;
                }
                Ok(())
            }
            Effect::Restricted { .. } => Ok(()),
            Effect::Answer { answer, .. } => self.check_answer(who, answer),
        }
    }

    fn check_answer(&self, who: usize, answer: &Answer) -> Verdict {
        let ledger = &self.instances[who].ledger;
        match answer {
            Answer::Queued { id } => {
                // What came back from the holder is in the log without a queue record.
                let known = ledger.items.contains_key(id) || ledger.own_ids().any(|own| own == *id);
                check(known, || format!("#{who} says that {id} is queued; it is not durable"))
            }
            Answer::Delivered { id, place, .. } => {
                check(ledger.is_receipted(place), || format!("D8: #{who} answers that {id} is delivered, no receipt"))
            }
            Answer::Ended { id, .. } => {
                let ended = ledger.items.get(id).is_some_and(|item| item.dropped.is_some());
                check(ended, || format!("#{who} answers that {id} has ended; it is not durable"))
            }
            Answer::Done | Answer::Denied(_) => Ok(()),
        }
    }

    /// I5: what a node says it has never shrinks within a volume and a run.
    fn said(&mut self, who: usize, state: &LogState) -> Verdict {
        let Some(origin) = state.origin else { return Ok(()) };
        let instance = &self.instances[who];
        let key = (who, instance.run, origin);
        let before = self.oracle.said.insert(key, state.size).unwrap_or(0);
        let branches = !instance.ledger.held.contains_key(&origin) && self.oracle.exempt.contains(&origin);
        check(before <= state.size || branches, || {
            format!("I5: #{who} said {before} of {origin}, now {}", state.size)
        })?;
        let Ok(note) = Checkpoint::<Origin>::parse(&state.note) else { return Ok(()) };
        let copies = [instance.ledger.own.get(&origin), instance.ledger.held.get(&origin)];
        let copy = copies.into_iter().flatten().next().ok_or_else(|| format!("#{who} shows {origin}, not durable"))?;
        check(copy.root_at(note.head().size) == Some(note.head().root), || {
            format!("#{who} shows a head of {origin} at {} that is not its own", note.head().size)
        })
    }

    /// Of a node whose folder was put back without its knowledge: what no disk has any more counts for nothing.
    pub fn forget(&mut self) {
        let living = self.instances.iter().filter(|instance| !instance.gone && instance.liar.is_none());
        let living: Vec<&super::world::Instance> = living.collect();
        let size = |copy: Option<&Copy>| {
            copy.and_then(|copy| copy.heads.last_key_value()).map_or(0, |(size, _)| *size as usize)
        };
        for (origin, truth) in &mut self.oracle.truths {
            if !self.oracle.forgetful.contains(&origin.from) {
                continue;
            }
            let own = living.iter().map(|instance| size(instance.ledger.own.get(origin))).max().unwrap_or(0);
            // D4 compares with what the holder shows. Where the holder runs twice, an author that was put back may meet
            // the instance that has less: nobody there can know of more (the residue of two sides put back at once).
            let holders = living.iter().filter(|instance| instance.name == origin.to);
            let held = holders.map(|instance| size(instance.ledger.held.get(origin))).min().unwrap_or(0);
            truth.truncate(own.max(held));
        }
    }

    /// A node runs twice from now on: its logs can no longer be judged by what their author signs.
    pub fn exempt(&mut self, name: NodeName) {
        self.oracle.cloned.insert(name);
        self.oracle.unsteady.insert(name);
        let of_name = self.instances.iter().filter(|instance| instance.name == name);
        let logs: Vec<Origin> = of_name.flat_map(|instance| instance.ledger.own.keys().copied()).collect();
        self.oracle.exempt.extend(logs);
    }

    /// I11: the live fold is the fold over the journal, whenever nothing waits to be written.
    pub fn check_fold(&self, who: usize) -> Verdict {
        let instance = &self.instances[who];
        let Some(core) = &instance.core else { return Ok(()) };
        let idle = instance.disk.writing.is_none() && core.fold().next_record() == instance.shadow.next_record();
        if !idle || bytes_of(core.fold()) == bytes_of(&instance.shadow) {
            return Ok(());
        }
        Err(format!("I11: #{who}: live {:?}\nis not the fold of its journal {:?}", core.fold(), instance.shadow))
    }
}

fn signed_lines_are_durable(ledger: &Ledger, note: &[u8]) -> Verdict {
    if note.is_empty() {
        return Ok(());
    }
    let note = Checkpoint::<Origin>::parse(note).map_err(|error| format!("a bad note leaves: {error}"))?;
    for line in note.lines() {
        let head = note.head();
        check(ledger.lines.contains(&line.to_string()), || {
            format!("D1: a line over {} {} leaves that is not durable", head.origin, head.size)
        })?;
    }
    Ok(())
}
