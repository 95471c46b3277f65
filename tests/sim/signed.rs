//! What the oracle remembers of signatures: heads that were shown to a holder, and lines that have left their maker.

use std::collections::BTreeMap;

use bytes::Bytes;
use verbale::exchange::{ConnId, Effect};
use verbale::name::{Hash, NodeName, Origin, cosigner_name};
use verbale::note::{Checkpoint, Line, judge_log_lines};

use super::ledger::Copy;
use super::world::{Verdict, World};

/// How many pushes after a HELLO the head that it showed must still be known: a holder remembers a few.
const PUSHES: u32 = 3;

/// A head that a peer showed of its own log, with a signature that holds.
struct Seen {
    conn: ConnId,
    size: u64,
    root: Hash,
    /// The last group that may hold what was decided before.
    group: u64,
    pushes: u32,
}

/// The newest such head of each log, as each instance was shown it in this run.
#[derive(Default)]
pub struct Shown {
    seen: BTreeMap<(usize, Origin), Seen>,
    given: BTreeMap<usize, u64>,
}

impl Shown {
    /// The instance starts anew.
    pub fn forget(&mut self, who: usize) {
        self.seen.retain(|(at, _), _| *at != who);
        self.given.remove(&who);
    }

    pub fn given(&mut self, who: usize, group: u64) {
        self.given.insert(who, group);
    }

    pub fn pushed(&mut self, who: usize, conn: ConnId) {
        for ((at, _), seen) in &mut self.seen {
            seen.pushes += u32::from(*at == who && seen.conn == conn);
        }
    }

    /// A receipt was given for a tree that does not contain what its author signed before: two histories.
    pub fn check(&self, who: usize, origin: Origin, group: u64, copy: &Copy) -> Verdict {
        let seen = self.seen.get(&(who, origin)).filter(|seen| group > seen.group && seen.pushes <= PUSHES);
        match seen.filter(|seen| seen.size <= copy.size() && copy.root_at(seen.size) != Some(seen.root)) {
            None => Ok(()),
            Some(seen) => Err(format!(
                "#{who} gives a receipt for {origin} {} though its author signed another root at {}",
                copy.size(),
                seen.size
            )),
        }
    }
}

/// Lines that left their maker.
#[derive(Default)]
pub struct Lines(BTreeMap<(Origin, u64, String, [u8; 4]), String>);

impl Lines {
    /// A disk was put back: what its node signed since is no longer stored.
    pub fn forget(&mut self, name: NodeName) {
        let cosigner = cosigner_name(name);
        self.0.retain(|(origin, _, line, _), _| origin.from != name && *line != cosigner);
    }
}

impl World {
    /// The holder has compared the head that its peer shows.
    pub fn saw_signed(&mut self, who: usize, conn: ConnId, note: &Bytes) {
        let instance = &self.instances[who];
        let Some(peer) = instance.core.as_ref().and_then(|core| core.may_serve(conn)) else { return };
        let Ok(note) = Checkpoint::<Origin>::parse(note) else { return };
        let head = note.head().clone();
        let newest = instance.ledger.newest(peer, false);
        let counts =
            newest.is_none_or(|newest| newest == head.origin || newest.volume.number < head.origin.volume.number);
        let keys = [self.keys[&peer].clone()];
        let holds = judge_log_lines(&note, &keys, self.judge.judge()).is_ok();
        if head.origin.from != peer || head.origin.to != instance.name || !counts || !holds {
            return;
        }
        let signed = &mut self.oracle.signed;
        let group = signed.given.get(&who).copied().unwrap_or(0) + 1;
        let seen = Seen { conn, size: head.size, root: head.root, group, pushes: 0 };
        // A head that is contradicted already stays until a restart.
        let key = (who, head.origin);
        let excluded = |seen: &Seen| {
            let copy = instance.ledger.held.get(&head.origin);
            copy.is_some_and(|copy| seen.size <= copy.size() && copy.root_at(seen.size) != Some(seen.root))
        };
        if !signed.seen.get(&key).is_some_and(excluded) {
            signed.seen.insert(key, seen);
        }
    }

    /// For a size, a line once stored never changes: none that left its maker differs from an earlier one by its key.
    pub fn lines_stay(&mut self, who: usize, effect: &Effect) -> Verdict {
        let name = self.instances[who].name;
        if self.oracle.cloned.contains(&name) {
            return Ok(());
        }
        let mut notes: Vec<Bytes> = Vec::new();
        match effect {
            Effect::Hello { hello, .. } => notes.extend([hello.mine.note.clone(), hello.yours.note.clone()]),
            Effect::Push { note, .. } => notes.push(note.clone()),
            Effect::Shows { state, .. } => notes.push(state.note.clone()),
            Effect::Fault { proof, .. } => notes.extend([proof.ours.clone(), proof.theirs.clone()]),
            Effect::Cosigned { origin, size, lines, .. } => {
                for line in lines.iter().filter_map(|line| line.parse().ok()) {
                    self.line_stays(who, *origin, *size, &line)?;
                }
            }
            _ => {}
        }
        for note in notes.iter().filter_map(|note| Checkpoint::<Origin>::parse(note).ok()) {
            let head = note.head();
            for line in note.lines() {
                self.line_stays(who, head.origin, head.size, line)?;
            }
        }
        Ok(())
    }

    fn line_stays(&mut self, who: usize, origin: Origin, size: u64, line: &Line) -> Verdict {
        let name = self.instances[who].name;
        let own = origin.from == name && line.name() == origin.to_string();
        if !own && line.name() != cosigner_name(name) {
            return Ok(());
        }
        let key = (origin, size, line.name().to_owned(), line.key_id());
        let known = self.oracle.left.0.entry(key).or_insert_with(|| line.to_string());
        if *known == line.to_string() {
            return Ok(());
        }
        Err(format!("D1: #{who} sends another line for {origin} {size} than before by one key"))
    }
}
