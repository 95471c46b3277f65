//! Heads and receipts: roots against entries, lines against keys.

use std::hash::{DefaultHasher, Hash as _, Hasher};

use crate::exchange::Place;
use crate::name::{Hash, NodeName, Origin, cosigner_name};
use crate::note::{
    Checkpoint, Head, JudgeError, Judged, KeyAlgorithm, Line, PublicKeys, judge_log_lines, judge_receipt_lines,
};

use super::again::Again;
use super::fault::{At, FaultKind, VerifyReport};
use super::tree::{SeenLine, Signed};
use super::verify::Auditor;
use super::volume::{VolumeState, log_name};

/// How many receipts wait for keys that the journal names only later.
const MAX_DEFERRED: usize = 1_024;

/// What a record says of a head.
pub(super) struct HeadRecord<'a> {
    /// `None` in a receipt: its head was recorded before.
    pub root: Option<Hash>,
    pub author: &'a [String],
    pub holder: &'a [String],
    /// Both lists are the same one, with the lines of both sides.
    pub mixed: bool,
}

/// A receipt of this node from before its own keys were known.
pub(super) struct Deferred {
    at: At,
    holder: NodeName,
    head: Head,
    lines: Vec<Line>,
    whose: String,
}

impl Auditor<'_> {
    /// A head that was signed, cosigned or receipted.
    pub(super) fn head(&mut self, at: At, place: &Place, own: bool, record: &HeadRecord<'_>) {
        let size = place.index;
        let name = log_name(self.report.node, place.peer, own, place.volume);
        let whose = format!("{name}, all entries below {size}");
        let Some(root) = self.root_of(at, place, own, record.root, &whose) else { return };
        let (Some(author), Some(holder)) =
            (self.lines(at, record.author, &whose), self.lines(at, record.holder, &whose))
        else {
            return;
        };
        self.unchanged(at, place, own, &author, &holder, &whose);
        let Some(me) = self.report.node.filter(|me| *me != place.peer) else { return };
        let (from, to) = if own { (me, place.peer) } else { (place.peer, me) };
        let head = Head { origin: Origin { from, to, volume: place.volume }, size, root };
        if !record.author.is_empty() || record.root.is_some() {
            self.judge_author(at, place, own, &head, author, &whose);
        }
        let of_holder = |line: &Line| line.name() == cosigner_name(to);
        let with_receipt = if record.mixed { holder.iter().any(of_holder) } else { !holder.is_empty() };
        if with_receipt || record.root.is_none() {
            self.judge_holder(at, place, own, &head, holder, &whose);
            self.receipted(at, place, own, &whose);
        }
        self.note_full(place, own, size);
    }

    /// The root of the head, after it was compared with the one of the entries.
    fn root_of(&mut self, at: At, place: &Place, own: bool, stated: Option<Hash>, whose: &str) -> Option<Hash> {
        let size = place.index;
        let damaged = self.damaged;
        let pair = self.pairs.entry(place.peer).or_default();
        let volume = pair.log(own).volumes.entry(place.volume).or_default();
        let Some(root) = stated else {
            let known = volume.heads.root_at(size);
            if known.is_none() && !volume.broken && !damaged {
                let what = format!("the receipt is for size {size}, at which no head was signed");
                self.report.fault(FaultKind::ReceiptSize, at, what, whose);
            }
            return known;
        };
        let newest = volume.heads.newest().map(|head| (head.size, head.root));
        match newest {
            Some((known, before)) if known == size && before != root => {
                let what = format!("two heads of size {size} have different roots");
                self.report.fault(FaultKind::Contradiction, at, what, whose);
                return None;
            }
            // A holder that came back from a backup is filled again from an earlier head on.
            Some((newest, _)) if newest > size => {
                match volume.heads.root_at(size) {
                    Some(known) if known == root => {}
                    Some(_) => {
                        let what = format!("two heads of size {size} have different roots");
                        self.report.fault(FaultKind::Contradiction, at, what, whose);
                        return None;
                    }
                    None => {
                        volume.heads.note_old(size, root);
                        let what = format!("the root at size {size} is not the root of the entries");
                        let (log, whose) = ((place.peer, own, place.volume), whose.to_owned());
                        self.look_again(Again { at, log, size, root, kind: FaultKind::Root, what, whose });
                    }
                }
                return Some(root);
            }
            _ => {}
        }
        let mut late = None;
        if !volume.broken {
            match volume.tree.root_at(size) {
                Some(computed) if computed == root => {}
                Some(_) => {
                    let what = format!("the root at size {size} is not the root of the entries");
                    self.report.fault(FaultKind::Root, at, what, whose);
                }
                None if size > volume.tree.size() => {
                    let what = format!("the head is of size {size}, and the log has {} entries", volume.tree.size());
                    self.report.fault(FaultKind::Root, at, what, whose);
                }
                None => {
                    let what = format!("the root at size {size} is not the root of the entries");
                    let (log, whose) = ((place.peer, own, place.volume), whose.to_owned());
                    late = Some(Again { at, log, size, root, kind: FaultKind::Root, what, whose });
                }
            }
            volume.tree.advance(size);
        }
        volume.heads.note(size, root);
        if let Some(late) = late {
            self.look_again(late);
        }
        Some(root)
    }

    fn lines(&mut self, at: At, lines: &[String], whose: &str) -> Option<Vec<Line>> {
        let mut read = Vec::with_capacity(lines.len());
        for (number, line) in (1..).zip(lines) {
            match line.parse::<Line>() {
                Ok(line) => read.push(line),
                Err(error) => {
                    self.report.fault(FaultKind::AuthorLine, at, format!("line {number}: {error}"), whose);
                    return None;
                }
            }
        }
        Some(read)
    }

    /// For a size, a line once stored never changes; lines may be added. Of a peer that came back from a backup other lines
    /// may come, which is worth a remark; of this node they may not.
    fn unchanged(&mut self, at: At, place: &Place, own: bool, author: &[Line], holder: &[Line], whose: &str) {
        let report = &mut self.report;
        let (me, peer) = (report.node.map(cosigner_name), cosigner_name(place.peer));
        let volume = self.pairs.entry(place.peer).or_default().log(own).volumes.entry(place.volume).or_default();
        let Some(head) = volume.heads.at(place.index) else { return };
        for line in author.iter().chain(holder) {
            let mut digest = DefaultHasher::new();
            line.signature().hash(&mut digest);
            let mut name = DefaultHasher::new();
            line.name().hash(&mut name);
            let seen = SeenLine { name: name.finish(), key_id: line.key_id(), digest: digest.finish() };
            let of_key = head.lines.iter().find(|known| known.name == seen.name && known.key_id == seen.key_id);
            match of_key {
                Some(known) if known.digest == seen.digest => {}
                Some(_) => {
                    let by_peer = if own { line.name() == peer } else { me.as_deref() != Some(line.name()) };
                    let what = format!("a line of `{}` differs from the one that was stored before", line.name());
                    if by_peer {
                        report.remark(format!("record {}: {what} ({whose})", at.record));
                    } else {
                        report.fault(FaultKind::ChangedLine, at, what, whose);
                    }
                }
                None => head.lines.push(seen),
            }
        }
    }

    fn judge_author(&mut self, at: At, place: &Place, own: bool, head: &Head, lines: Vec<Line>, whose: &str) {
        let verifier = self.verifier;
        let volume = self.pairs.entry(place.peer).or_default().log(own).volumes.entry(place.volume).or_default();
        let judged = Checkpoint::new(head.clone(), lines)
            .map_err(|error| error.to_string())
            .and_then(|note| judge_log_lines(&note, &volume.keys, verifier).map_err(|error| error.to_string()));
        match judged {
            Ok(judged) => {
                self.report.heads += 1;
                if let Some(seen) = volume.heads.at(head.size) {
                    note_signed(&mut seen.author, &judged);
                }
            }
            Err(why) => self.report.fault(FaultKind::AuthorLine, at, why, whose),
        }
    }

    fn judge_holder(&mut self, at: At, place: &Place, own: bool, head: &Head, lines: Vec<Line>, whose: &str) {
        let verifier = self.verifier;
        let holder = head.origin.to;
        if !own && self.own_keys.is_empty() {
            if self.deferred.len() < MAX_DEFERRED {
                let (head, whose) = (head.clone(), whose.to_owned());
                self.deferred.push(Deferred { at, holder, head, lines, whose });
            }
            return;
        }
        let pair = self.pairs.entry(place.peer).or_default();
        let keys: &[PublicKeys] = if own { &pair.peer_keys } else { &self.own_keys };
        match judge_receipt(head, lines, holder, keys, verifier) {
            Ok(judged) => {
                self.report.receipts += 1;
                let log = if own { &mut pair.own } else { &mut pair.theirs };
                let volume = log.volumes.entry(place.volume).or_default();
                if let Some(seen) = volume.heads.at(head.size) {
                    note_signed(&mut seen.holder, &judged);
                }
            }
            Err(why) => self.report.fault(FaultKind::ReceiptLine, at, why, whose),
        }
    }

    /// A receipt stands: what it states must be true here, and what waited for it need not be remembered.
    fn receipted(&mut self, at: At, place: &Place, own: bool, whose: &str) {
        let size = place.index;
        let pair = self.pairs.entry(place.peer).or_default();
        if own {
            let volume = pair.own.volumes.entry(place.volume).or_default();
            volume.receipted = volume.receipted.max(size);
            volume.heads.forget_below(size);
            while volume.queued.front().is_some_and(|(index, _)| *index < size) {
                let Some((_, queued)) = volume.queued.pop_front() else { break };
                if let Some(item) = pair.items.remove(&queued) {
                    pair.by_id.remove(&item.header.id);
                }
            }
            return;
        }
        let number = place.volume.number;
        let missing = pair.theirs.missing.range(..(number, size)).count();
        if missing > 0 {
            let what = format!("the receipt covers {missing} entries whose bodies are not here and nobody withdrew");
            self.report.fault(FaultKind::ReceiptStatement, at, what, whose);
            pair.theirs.missing = pair.theirs.missing.split_off(&(number, size));
        }
        let volume = pair.theirs.volumes.entry(place.volume).or_default();
        volume.receipted = volume.receipted.max(size);
        volume.heads.forget_below(size);
    }

    /// A full head carries the lines of both algorithms of all keys of both sides.
    fn note_full(&mut self, place: &Place, own: bool, size: u64) {
        let own_keys = &self.own_keys;
        let pair = self.pairs.entry(place.peer).or_default();
        // The holder's keys are judged in the order in which they became known; due are those of its newest volume.
        let (known, due) = if own {
            (&pair.peer_keys, newest(&pair.theirs, &pair.peer_keys))
        } else {
            (own_keys, newest(&pair.own, own_keys))
        };
        let places: Vec<usize> = due.iter().filter_map(|key| known.iter().position(|known| known == *key)).collect();
        let log = if own { &mut pair.own } else { &mut pair.theirs };
        let volume = log.volumes.entry(place.volume).or_default();
        let author_due = volume.due.clone();
        let Some(head) = volume.heads.at(size) else { return };
        let by_author = !author_due.is_empty() && author_due.iter().all(|key| head.author.is_full(*key));
        let by_holder = !places.is_empty() && places.iter().all(|key| head.holder.is_full(*key));
        if by_author && by_holder {
            volume.full = volume.full.max(size);
        }
    }

    /// Judges what waited for keys, and says what is worth knowing of each log.
    pub(super) fn finish(mut self) -> (VerifyReport, Vec<Again>) {
        let mut deferred = std::mem::take(&mut self.deferred);
        if self.own_keys.is_empty() && !deferred.is_empty() {
            self.report.remark(format!(
                "{} receipts of this node were not judged: it has opened no log of its own, so its journal does not list \
                 its keys; its introduction does",
                deferred.len()
            ));
            deferred.clear();
        }
        for deferred in deferred {
            let Deferred { at, holder, head, lines, whose } = deferred;
            match judge_receipt(&head, lines, holder, &self.own_keys, self.verifier) {
                Ok(_) => self.report.receipts += 1,
                Err(why) => self.report.fault(FaultKind::ReceiptLine, at, why, whose),
            }
        }
        for (peer, pair) in &self.pairs {
            for (own, log) in [(true, &pair.own), (false, &pair.theirs)] {
                let Some((volume, state)) = log.volumes.iter().next_back() else { continue };
                if state.receipted > state.full {
                    let name = log_name(self.report.node, *peer, own, *volume);
                    self.report.remark(classical_only(&name, state));
                }
            }
        }
        if self.appended_again > 0 {
            let count = self.appended_again;
            self.report
                .remark(format!("{count} entries stand in a later volume again; their items had a receipt before"));
        }
        self.report.journal_root = (self.report.records > 0 && !self.damaged).then(|| self.journal.root());
        (self.report, self.again)
    }
}

fn classical_only(name: &str, state: &VolumeState) -> String {
    format!(
        "{name}: classical only from entry {} to {}; a full head (both algorithms, both sides) is still to come",
        state.full,
        state.receipted - 1
    )
}

/// The keys with which a side signs now: those of its newest volume, or all that are known of it.
fn newest<'k>(log: &'k super::volume::LogState, known: &'k [PublicKeys]) -> Vec<&'k PublicKeys> {
    let volume = log.volumes.values().rev().find(|volume| !volume.due.is_empty());
    match volume {
        Some(volume) => volume.due.iter().filter_map(|key| volume.keys.get(*key)).collect(),
        None => known.iter().collect(),
    }
}

fn note_signed(signed: &mut Signed, judged: &Judged) {
    for (number, key) in judged.keys.iter().enumerate() {
        for algorithm in KeyAlgorithm::ALL {
            if key.get(algorithm).is_some() {
                signed.note(number, algorithm == KeyAlgorithm::MlDsa44);
            }
        }
    }
}

fn judge_receipt(
    head: &Head,
    lines: Vec<Line>,
    holder: NodeName,
    keys: &[PublicKeys],
    verifier: &dyn crate::note::Verifier,
) -> Result<Judged, String> {
    let note = Checkpoint::new(head.clone(), lines).map_err(|error| error.to_string())?;
    let judged = judge_receipt_lines(&note, holder, keys, verifier).map_err(|error| error.to_string())?;
    if KeyAlgorithm::ALL.into_iter().any(|algorithm| judged.has(algorithm)) {
        return Ok(judged);
    }
    Err(JudgeError::NoKnownLine { name: cosigner_name(holder) }.to_string())
}
