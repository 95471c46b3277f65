//! The peer's pushes: check everything on a copy, make it durable together with the receipt, then show it.

use super::Core;
use super::compare::keys_for;
use super::contradiction::proven;
use super::note_text::{Good, is_full, judge, judge_receipt, receipts_hold};
use super::policy::Judged;
use crate::exchange::env::Env;
use crate::exchange::fold::{Frozen, MISSING_SPANS, Missing, Peer, PeerHead, RECENT_IDS, unknown_lines};
use crate::exchange::io::{ConnId, Effect, Notice, Pushed, Shown};
use crate::exchange::mutant::{self, Mutant};
use crate::exchange::record::{Act, Place, Stowed};
use crate::merkle::{CompactRange, leaf_hash};
use crate::name::{Kind, Millis, NodeName, Origin, RefusalCode};
use crate::note::{Checkpoint, Head, KeyAlgorithm, PublicKeys, sign_receipt_line};
use crate::wire::{
    Absent, Contradiction, EntryFrame, FaultCode, Header, MAX_LEAF, MAX_LINES, MAX_PUSH_BYTES, MAX_PUSH_ENTRIES,
    NotNowReason, Payload, Span, Target, VolumeBody, VolumeReason,
};

/// Why a push is not taken.
enum NotTaken {
    /// It does not fit what is held: show that.
    Shows,
    /// Not now.
    NotNow(NotNowReason),
    /// It is wrong.
    Fault(FaultCode, u64),
    /// It excludes something else that its author signed.
    Contradiction(Contradiction),
    /// It is for a volume of which two histories are known.
    Excluded,
    /// The volume needs a person's agreement here.
    AsksPerson(VolumeReason),
}

/// A push that was checked.
struct Checked {
    good: Good,
    range: CompactRange,
    /// Whether the receipt may be given: no body is missing that nothing accounts for.
    receipt: bool,
    /// Whether the author showed an earlier receipt of this node with the head.
    shown_receipt: bool,
    /// Whether everything of it is here already, the lines included: it is answered and not recorded again.
    known: bool,
}

impl Core {
    pub(super) fn pushed(&mut self, now: Millis, env: &mut dyn Env, conn: ConnId, pushed: Pushed) {
        let Some(name) = self.conns.get(&conn).copied() else { return };
        let session = self.session(name);
        if session.up() != Some(conn) {
            return;
        }
        session.last_heard = Some(now);
        let result = self.check(now, env, name, &pushed);
        match result {
            Ok(checked) if checked.known => self.answer_known(conn, name, &checked),
            Ok(checked) => self.take(now, env, conn, name, pushed.entries, checked),
            Err(NotTaken::Shows | NotTaken::Fault(..)) if self.judge_signed(now, env, name, &pushed.note) => {}
            Err(NotTaken::Shows) => {
                let state = self.held_state(name);
                self.release(Effect::Shows { conn, state });
            }
            Err(NotTaken::NotNow(reason)) => self.say_not_now(now, conn, name, reason),
            Err(NotTaken::Fault(code, index)) => {
                let note: Option<Checkpoint> = Checkpoint::parse(&pushed.note).ok();
                let origin = note.map(|note| note.head().origin);
                self.release(Effect::Fault { conn, code, origin, index, proof: Contradiction::default() });
                self.note_fault(name, true, code, index);
            }
            Err(NotTaken::Contradiction(proof)) => self.freeze_theirs(now, name, proof),
            Err(NotTaken::Excluded) => self.show_contradiction(name),
            Err(NotTaken::AsksPerson(reason)) => {
                let frozen = self.peer(name).is_some_and(|peer| peer.theirs.frozen.is_some());
                if !frozen {
                    let proof = self.of_one_size(name, pushed.note);
                    self.put(now, Act::Frozen { peer: name, own_log: false, proof, reason });
                    self.notice(Notice::Frozen { peer: name, own_log: false });
                }
                self.say_not_now(now, conn, name, NotNowReason::Frozen);
            }
        }
    }

    fn check(&self, now: Millis, env: &dyn Env, name: NodeName, pushed: &Pushed) -> Result<Checked, NotTaken> {
        let Some(peer) = self.peer(name) else { return Err(NotTaken::NotNow(NotNowReason::Restricted)) };
        if self.fold.fenced.is_some() && !mutant::active(Mutant::CosignWhileFenced) {
            return Err(NotTaken::NotNow(NotNowReason::Frozen));
        }
        if self.sessions.get(&name).is_some_and(|session| session.newer_undecided() || session.asked.is_some()) {
            return Err(NotTaken::NotNow(NotNowReason::Busy));
        }
        let weight = |entry: &EntryFrame| entry.leaf.bytes().len() as u64 + entry.leaf.body_len() as u64;
        let bytes: u64 = pushed.entries.iter().map(weight).sum();
        let count = pushed.entries.len();
        if count > MAX_PUSH_ENTRIES || count > 1 && bytes > MAX_PUSH_BYTES + MAX_PUSH_ENTRIES as u64 * MAX_LEAF as u64 {
            return Err(NotTaken::Fault(FaultCode::Size, 0));
        }
        let parsed: Checkpoint =
            Checkpoint::parse(&pushed.note).map_err(|_| NotTaken::Fault(FaultCode::BadSignature, 0))?;
        let head = parsed.head();
        if head.origin.from != name || head.origin.to != self.me {
            return Err(NotTaken::Fault(FaultCode::WrongOrigin, 0));
        }
        let open = self.place_of_push(peer, head, pushed)?;
        let good = judge(env, &pushed.note, &open.keys, self.me);
        let good = good.ok_or(NotTaken::Fault(FaultCode::BadSignature, head.size))?;
        if open.contradiction {
            return Err(NotTaken::Contradiction(self.of_one_size(name, pushed.note.clone())));
        }
        if let Some(proof) = self.excluded(name, &good, &open.range, pushed) {
            return Err(NotTaken::Contradiction(proof));
        }
        let checked = self.check_tree(env, name, peer, pushed, good, open)?;
        // Only what must be stored needs the disk.
        if self.disk_full && !checked.known {
            return Err(NotTaken::NotNow(NotNowReason::Disk));
        }
        if !checked.known && !self.is_room(now, name, peer, pushed) {
            return Err(NotTaken::NotNow(NotNowReason::Quota));
        }
        Ok(checked)
    }

    /// Where the push belongs: the volume that is open, or a new one that stands on it.
    fn place_of_push(&self, peer: &Peer, head: &Head, pushed: &Pushed) -> Result<Open, NotTaken> {
        let first = pushed.entries.first().map(|entry| entry.index);
        let held = peer.theirs.volume();
        let agreed =
            peer.theirs.frozen.as_ref().is_none_or(|frozen| frozen.agreed || mutant::active(Mutant::DropFreeze));
        match held {
            Some((volume, held)) if volume == head.origin.volume => {
                let excluded = peer.theirs.frozen.as_ref().and_then(proven) == Some(volume);
                if excluded && !mutant::active(Mutant::DropFreeze) {
                    return Err(NotTaken::Excluded);
                }
                if !agreed {
                    return Err(NotTaken::NotNow(NotNowReason::Frozen));
                }
                let keys = keys_for(&held.keys, &peer.keys);
                if head.size == held.size() && head.root != held.range.root() {
                    return Ok(Open { keys, range: held.range.clone(), opening: false, contradiction: true });
                }
                if first.unwrap_or(head.size) != held.size() && !mutant::active(Mutant::AcceptShorterTree) {
                    return Err(NotTaken::Shows);
                }
                Ok(Open { keys, range: held.range.clone(), opening: false, contradiction: false })
            }
            Some(_)
                if mutant::active(Mutant::CosignOlderVolume)
                    && peer.theirs.volumes.contains_key(&head.origin.volume) =>
            {
                let held = &peer.theirs.volumes[&head.origin.volume];
                let keys = keys_for(&held.keys, &peer.keys);
                Ok(Open { keys, range: held.range.clone(), opening: false, contradiction: false })
            }
            Some((volume, _)) if volume.number >= head.origin.volume.number => Err(NotTaken::Shows),
            _ => self.opens_volume(peer, head, pushed, held.is_some()),
        }
    }

    fn opens_volume(&self, peer: &Peer, head: &Head, pushed: &Pushed, holds: bool) -> Result<Open, NotTaken> {
        let first = pushed.entries.first().filter(|entry| entry.index == 0).ok_or(NotTaken::Shows)?;
        let Payload::Present { body, .. } = &first.payload else { return Err(NotTaken::Fault(FaultCode::Gap, 0)) };
        let kind = first.leaf.header().ok().and_then(|header| header.known_kind());
        let body = VolumeBody::decode(body.clone()).ok().filter(|_| kind == Some(Kind::Volume));
        let body = body.ok_or(NotTaken::Fault(FaultCode::Poison, 0))?;
        let keys = crate::exchange::fold::keys_of(&body.keys);
        // Every key of an algorithm that this version knows belongs to a pair; those of others are not judged.
        let judged = body.keys.iter().filter(|key| matches!(key.algorithm, 1 | 6)).count();
        if keys.is_empty() || judged != 2 * keys.len() || keys.iter().any(|key| !peer.keys.contains(key)) {
            return Err(NotTaken::Fault(FaultCode::BadSignature, 0));
        }
        let held = peer.theirs.volume();
        let stands = match (body.before, held) {
            (None, None) => true,
            (Some(before), Some((volume, held))) => {
                before.origin == (Origin { volume, ..head.origin })
                    && before.size == held.size()
                    && before.root == held.range.root()
            }
            _ => false,
        };
        if !stands {
            return Err(NotTaken::Shows);
        }
        let agreed = |frozen: &Frozen| frozen.agreed && (frozen.reason == body.reason || proven(frozen).is_none());
        match &peer.theirs.frozen {
            // The author has not met the other history yet: its person is to know, too.
            Some(frozen) if proven(frozen).is_some() && frozen.reason != body.reason => return Err(NotTaken::Excluded),
            Some(frozen) if !agreed(frozen) => return Err(NotTaken::AsksPerson(frozen.reason)),
            None if body.reason.needs_people() && holds => return Err(NotTaken::AsksPerson(body.reason)),
            _ => {}
        }
        Ok(Open { keys, range: CompactRange::default(), opening: true, contradiction: false })
    }

    fn check_tree(
        &self,
        env: &dyn Env,
        name: NodeName,
        peer: &Peer,
        pushed: &Pushed,
        good: Good,
        open: Open,
    ) -> Result<Checked, NotTaken> {
        let head = &good.head;
        let mut range = open.range;
        let start = range.size();
        let number = head.origin.volume.number;
        if !receipts_hold(env, &good.checkpoint, self.me, &own_public(env)) {
            return Err(NotTaken::Fault(FaultCode::BadSignature, head.size));
        }
        let mut missing = listed(peer, pushed, open.opening);
        let receipted = judge_receipt(env, &good.checkpoint, self.me, &own_public(env)).is_some();
        for entry in &pushed.entries {
            if entry.index != range.size() && !mutant::active(Mutant::AcceptShorterTree) {
                return Err(NotTaken::Fault(FaultCode::Size, entry.index));
            }
            let header = entry.leaf.header().ok();
            let kind = header.as_ref().and_then(Header::known_kind);
            match &entry.payload {
                Payload::Present { salt, body } => {
                    if !entry.leaf.is_opened_by(salt, body) && !mutant::active(Mutant::SkipCommitmentCheck) {
                        return Err(NotTaken::Fault(FaultCode::CommitmentMismatch, entry.index));
                    }
                }
                Payload::Absent(Absent::Sealed) if kind == Some(Kind::Seal) => {}
                Payload::Absent(Absent::Erased) if receipted => {}
                Payload::Absent(_) => missing.insert(number, entry.index),
            }
            if let (Some(Kind::Void), Some(Target { volume, index })) = (kind, header.and_then(|header| header.target))
            {
                missing.excuse(Span { volume, from: index, to: index.saturating_add(1) });
            }
            range.push(leaf_hash(entry.leaf.bytes()));
        }
        if head.size != range.size() && !mutant::active(Mutant::AcceptShorterTree) {
            return Err(NotTaken::Fault(FaultCode::Size, head.size));
        }
        if head.root != range.root()
            && !mutant::active(Mutant::AcceptWrongRoot)
            && !mutant::active(Mutant::AcceptShorterTree)
        {
            return Err(NotTaken::Fault(FaultCode::BadRoot, head.size));
        }
        let gap = missing.first_from(number, start);
        // A VOID in the midst of a span makes two of it, so a push without a gap of its own is looked at, too.
        let bounded = missing.spans() <= MISSING_SPANS.max(peer.theirs.missing.spans());
        if (gap.is_some() && !self.is_refill(name, head) || !bounded) && !mutant::active(Mutant::TakeGaps) {
            return Err(NotTaken::Fault(FaultCode::Gap, gap.unwrap_or(start)));
        }
        let full_seen = self.sessions.get(&name).is_some_and(|session| session.full_seen);
        let full_due = open.opening || !full_seen && range.size() > start;
        if full_due && !good.full {
            return Err(NotTaken::Fault(FaultCode::BadSignature, head.size));
        }
        let receipt = missing.is_empty() || mutant::active(Mutant::TakeGaps);
        let held = peer.theirs.volumes.get(&head.origin.volume).and_then(|held| held.head.as_ref());
        let known = pushed.entries.is_empty()
            && held.is_some_and(|held| is_known(held, &good, receipt))
            && !mutant::active(Mutant::RecordKnownHeads);
        Ok(Checked { good, range, receipt, shown_receipt: receipted, known })
    }

    /// Whether the author is past this volume: then the push is a refill.
    fn is_refill(&self, name: NodeName, head: &Head) -> bool {
        let session = self.sessions.get(&name);
        let hello = session.and_then(|session| session.conns.get(&session.chosen?)?.hello.as_ref());
        hello.and_then(|hello| hello.mine.origin).is_some_and(|origin| origin.volume.number > head.origin.volume.number)
    }

    /// A head of which everything is here already is answered as before.
    fn answer_known(&mut self, conn: ConnId, name: NodeName, checked: &Checked) {
        let head = &checked.good.head;
        let held = self.peer(name).and_then(|peer| peer.theirs.volumes.get(&head.origin.volume)?.head.as_ref());
        let lines = held.map(|held| held.lines.clone()).filter(|_| checked.receipt).unwrap_or_default();
        self.session(name).full_seen |= checked.good.full;
        self.answer_head(conn, name, head.origin, head.size, lines);
    }

    fn take(
        &mut self,
        now: Millis,
        env: &mut dyn Env,
        conn: ConnId,
        name: NodeName,
        entries: Vec<EntryFrame>,
        checked: Checked,
    ) {
        // Bodies are sealed before anything is recorded: a push is taken whole or not at all.
        let mut stowed = Vec::with_capacity(entries.len());
        for entry in &entries {
            match stow(env, entry, checked.shown_receipt) {
                Some(payload) => stowed.push(payload),
                None => return self.say_not_now(now, conn, name, NotNowReason::Disk),
            }
        }
        let volume = checked.good.head.origin.volume;
        let (mut shown, mut ended) = (Vec::with_capacity(entries.len()), Vec::new());
        for (entry, payload) in entries.into_iter().zip(stowed) {
            let place = Place { peer: name, volume, index: entry.index };
            let judged = self.judge_entry(now, name, &entry, ended.len());
            let Judged { header, enclosures, files, repeat, refused: code } = judged;
            let file_bytes = files.bytes;
            self.put(now, Act::Stored { place, leaf: entry.leaf, payload, enclosures, file_bytes, repeat });
            self.tell_of_machine_entry(name, header.as_ref(), code);
            let id = header.as_ref().map(|header| header.id);
            if let (Some(id), Some((_, code))) = (id, files.ended.first()) {
                self.notice(Notice::RefusedHere { place, code: *code });
                ended.extend(files.ended.iter().map(|(ordinal, code)| (id, *ordinal, *code)));
            }
            shown.push(Shown { place, header, enclosures, repeat, refused: code });
        }
        let receipted = self.record_head(now, env, conn, name, checked);
        self.takes_again(now, name);
        let session = self.session(name);
        session.unshown.append(&mut shown);
        session.unended.append(&mut ended);
        let (oldest, first) = (session.unshown.len(), session.unended.len());
        session.unshown.drain(..oldest.saturating_sub(RECENT_IDS));
        session.unended.drain(..first.saturating_sub(RECENT_IDS));
        if receipted {
            self.receipted(now, env, name);
        }
    }

    /// Nobody sees an entry before its receipt, and only what has one can be refused.
    fn receipted(&mut self, now: Millis, env: &mut dyn Env, name: NodeName) {
        let session = self.session(name);
        let (shown, ended) = (std::mem::take(&mut session.unshown), std::mem::take(&mut session.unended));
        // Answers follow what they answer: a group may end before each of them, and never within the push.
        for (place, code) in shown.iter().filter_map(|shown| Some((shown.place, shown.refused?))) {
            self.refuse(now, env, name, place, code);
        }
        for (id, ordinal, code) in ended {
            self.enclosure_ended(now, env, name, id, ordinal, code);
        }
        if !shown.is_empty() {
            self.release(Effect::Show(shown));
        }
    }

    /// Records the head, with a receipt where one may be given; whether it was.
    fn record_head(&mut self, now: Millis, env: &mut dyn Env, conn: ConnId, name: NodeName, checked: Checked) -> bool {
        let Good { head, author_lines, full, .. } = checked.good;
        debug_assert!(checked.range.size() == head.size || mutant::active(Mutant::AcceptShorterTree));
        let known = self.peer(name).and_then(|peer| peer.theirs.volumes.get(&head.origin.volume)?.head.as_ref());
        let known = known.filter(|known| known.size == head.size).map(|known| known.lines.clone());
        let known = known.unwrap_or_default();
        let lines = if checked.receipt { self.receipt_lines(now, env, &head, full, known) } else { Vec::new() };
        let place = Place { peer: name, volume: head.origin.volume, index: head.size };
        self.put(now, Act::Cosigned { place, root: head.root, author_lines, lines: lines.clone() });
        let session = self.session(name);
        session.full_seen |= full;
        session.beyond.retain(|signed| signed.origin == head.origin && signed.size > head.size);
        session.peer_faults = 0;
        self.answer_head(conn, name, head.origin, head.size, lines);
        checked.receipt
    }

    /// COSIGNED, or SHOWS where there is no receipt.
    fn answer_head(&mut self, conn: ConnId, name: NodeName, origin: Origin, size: u64, lines: Vec<String>) {
        if lines.is_empty() {
            let state = self.held_state(name);
            self.release(Effect::Shows { conn, state });
        } else {
            let window = self.settings.window;
            self.release(Effect::Cosigned { conn, origin, size, lines, window });
        }
    }

    /// The receipt's lines: a line once stored never changes, lines may be added.
    fn receipt_lines(&self, now: Millis, env: &dyn Env, head: &Head, full: bool, known: Vec<String>) -> Vec<String> {
        let mut lines = known;
        let signer = env.signer();
        let line = |algorithm| sign_receipt_line(head, self.me, algorithm, now.seconds(), signer).to_string();
        if lines.is_empty() {
            lines.push(line(KeyAlgorithm::Ed25519));
        }
        if full && !is_full(&lines) {
            lines.push(line(KeyAlgorithm::MlDsa44));
        }
        lines
    }

    fn refuse(&mut self, now: Millis, env: &mut dyn Env, name: NodeName, place: Place, code: RefusalCode) {
        let target = Target { volume: place.volume.number, index: place.index };
        let body = crate::wire::refused_body(&[]);
        self.queue_machine(now, env, name, Kind::Refused, Some(target), code.number(), body);
        self.notice(Notice::RefusedHere { place, code });
    }

    fn tell_of_machine_entry(&mut self, peer: NodeName, header: Option<&Header>, refused: Option<RefusalCode>) {
        let Some(header) = header.filter(|_| refused.is_none()) else { return };
        match (header.known_kind(), header.target) {
            (Some(Kind::Held), Some(target)) => self.notice(Notice::HeldByPeer { peer, target }),
            (Some(Kind::Refused), Some(target)) => {
                self.notice(Notice::RefusedByPeer { peer, target, code: header.code });
            }
            _ => {}
        }
    }
}

/// The volume that a push extends or opens.
struct Open {
    keys: Vec<PublicKeys>,
    range: CompactRange,
    opening: bool,
    contradiction: bool,
}

/// What is missing of the peer's log once the list of a VOLUME that the push begins with is taken in.
fn listed(peer: &Peer, pushed: &Pushed, opening: bool) -> Missing {
    let mut missing = peer.theirs.missing.clone();
    if let Some(Payload::Present { body, .. }) = pushed.entries.first().map(|entry| &entry.payload)
        && opening
        && let Ok(body) = VolumeBody::decode(body.clone())
    {
        body.unavailable.iter().for_each(|span| missing.excuse(*span));
    }
    missing
}

/// Whether a head of this size is held with every line that the author shows, and with the receipt that is due.
fn is_known(held: &PeerHead, good: &Good, receipt: bool) -> bool {
    let news = unknown_lines(&held.author_lines, good.author_lines.clone());
    let room = held.author_lines.len() < MAX_LINES;
    let answered = !receipt || !held.lines.is_empty() && (is_full(&held.lines) || !good.full);
    held.size == good.head.size && held.root == good.head.root && answered && (news.is_empty() || !room)
}

fn own_public(env: &dyn Env) -> Vec<PublicKeys> {
    PublicKeys::of(env.signer()).into_iter().collect()
}

/// How a body lies on the disk: machine kinds in clear, others sealed. `None`: no slot is ready.
///
/// "Erased" counts only with an earlier receipt of this node; otherwise the body is merely not there.
fn stow(env: &mut dyn Env, entry: &EntryFrame, shown_receipt: bool) -> Option<Stowed> {
    let machine = entry.leaf.header().is_ok_and(|header| header.is_machine());
    Some(match &entry.payload {
        Payload::Absent(Absent::Erased) if !shown_receipt => Stowed::Absent(Absent::Unavailable),
        Payload::Absent(reason) => Stowed::Absent(*reason),
        Payload::Present { salt, body } if machine => Stowed::Clear { salt: *salt, body: body.clone() },
        Payload::Present { salt, body } => {
            let sealed = env.seal(salt, body)?;
            Stowed::Sealed { slot: sealed.slot, bytes: sealed.bytes }
        }
    })
}
