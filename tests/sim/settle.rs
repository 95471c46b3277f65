//! After the world has healed: everything comes to an end, and the ends are the right ones.

use std::collections::BTreeMap;

use verbale::exchange::Place;
use verbale::name::{EntryId, NodeName};

use super::world::{Event, Verdict, World};

/// Simulated time within which everything must settle after the world has healed, in milliseconds.
const PATIENCE: u64 = 2 * 3_600_000;

impl World {
    /// A look at the healing world.
    pub fn look(&mut self) -> Verdict {
        let since = *self.people.healed.get_or_insert(self.time);
        self.mend()?;
        for who in 0..self.instances.len() {
            self.files(who)?;
        }
        match self.unsettled() {
            None => {
                self.settled = true;
                Ok(())
            }
            Some(what) if self.time - since > PATIENCE => Err(format!("I6: the world does not settle: {what}")),
            Some(_) => {
                let pause = if self.time - since < 60_000 { 3_000 } else { 30_000 };
                self.after(pause, Event::Look);
                Ok(())
            }
        }
    }

    /// What came to pass, in one line.
    pub fn summary(&self) -> String {
        let oracle = &self.oracle;
        format!(
            "{} events, {} s, {} sent, {} answers ({} denied), {} receipts, {} delivered, {} volumes, {} freezes, {} fences",
            self.events,
            self.time / 1000,
            self.people.sent.len(),
            self.people.answers,
            self.people.denied,
            oracle.receipts,
            oracle.delivered,
            oracle.volumes,
            oracle.freezes,
            oracle.fences,
        )
    }

    fn honest(&self) -> BTreeMap<NodeName, usize> {
        let honest = |(_, instance): &(usize, &super::world::Instance)| !instance.gone && instance.liar.is_none();
        self.instances.iter().enumerate().filter(honest).map(|(who, instance)| (instance.name, who)).collect()
    }

    /// What is still under way between honest nodes.
    fn unsettled(&self) -> Option<String> {
        let honest = self.honest();
        for (name, who) in &honest {
            let instance = &self.instances[*who];
            let Some(core) = &instance.core else { return Some(format!("{name}#{who} is down")) };
            if core.fold().fenced.is_some() {
                return Some(format!("{name}#{who} is fenced"));
            }
            if instance.disk.writing.is_some() {
                return Some(format!("{name}#{who} writes"));
            }
            for (peer, other) in honest.iter().filter(|(peer, _)| *peer != name) {
                let waiting = instance.ledger.waiting(*peer);
                if !waiting.is_empty() {
                    let places: Vec<_> = waiting.iter().map(|id| &instance.ledger.items[id].places).collect();
                    let report = (places, core.report(*peer));
                    return Some(format!("{name}#{who}→{peer}#{other}: {waiting:?} wait; {report:?}"));
                }
                if let Some(frozen) = core.fold().peers.get(peer).and_then(|peer| peer.own.frozen.as_ref()) {
                    return Some(format!("{name}#{who}→{peer}#{other} is frozen: {frozen:?}"));
                }
            }
        }
        self.ends().err()
    }

    /// The ends of all items between honest nodes.
    fn ends(&self) -> Verdict {
        let honest = self.honest();
        for (name, who) in &honest {
            self.check_fold(*who)?;
            let ledger = &self.instances[*who].ledger;
            for (id, item) in &ledger.items {
                let Some(other) = honest.get(&item.peer) else { continue };
                let found = self.found(*other, *name, id);
                let live: Vec<&Place> = item.places.iter().filter(|place| ledger.is_live(place)).collect();
                let what = format!("{name}#{who}→{}#{other} {id}", item.peer);
                if item.dropped.is_some() {
                    let unknowing = self.oracle.cloned.contains(name) || self.oracle.forgetful.contains(name);
                    let shown = !found.is_empty() && !unknowing;
                    check(!shown, || format!("I6: {what} was dropped and stands in the recipient's log {found:?}"))?;
                    continue;
                }
                let unsteady = self.oracle.unsteady.contains(&item.peer) && !live.is_empty();
                check(live.len() == 1 || unsteady, || format!("I6: {what} lives at {live:?}"))?;
                let new = found.iter().filter(|(_, repeat)| !repeat).count();
                check(new == 1, || format!("I6: {what} is new {new} times for its recipient: {found:?}"))?;
                let stands = |place: &Place| live.iter().any(|at| (at.volume, at.index) == (place.volume, place.index));
                let held = found.iter().any(|(place, _)| stands(place));
                check(held, || format!("I6: {what} is receipted at {:?}, the recipient has {found:?}", live[0]))?;
            }
        }
        Ok(())
    }

    /// Where an id of `author` stands in the log that `who` holds, and whether as a repeat.
    fn found(&self, who: usize, author: NodeName, id: &EntryId) -> Vec<(Place, bool)> {
        let records = self.instances[who].disk.records.iter();
        let stored = records.filter_map(|record| match &record.act {
            verbale::exchange::Act::Stored { place, leaf, repeat, .. } if place.peer == author => {
                (leaf.header().ok()?.id == *id).then_some((*place, *repeat))
            }
            _ => None,
        });
        stored.collect()
    }
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what()) }
}
