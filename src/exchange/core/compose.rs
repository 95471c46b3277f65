//! Append late, sign once per batch, push: all appends of one tick in one group.

use std::time::Duration;

use bytes::Bytes;

use super::Core;
use super::note_text::{is_full, note};
use super::session::{Held, Outstanding, Step};
use crate::exchange::env::Env;
use crate::exchange::fold::{Author, Item, window_bytes};
use crate::exchange::io::{Action, Effect, EntryRef, Notice};
use crate::exchange::mutant::{self, Mutant};
use crate::exchange::record::{Act, Drop, Place};
use crate::name::{EntryId, Kind, Millis, NodeName, Pap, Precedence, Tlp, Volume};
use crate::note::{Head, KeyAlgorithm, sign_log_line};
use crate::wire::{
    Absent, HeadRef, Header, Leaf, MAX_PUSH_BYTES, MAX_PUSH_ENTRIES, Payload, SigningKey, VolumeBody, VolumeReason,
    commitment,
};

/// Heads on their way to one peer: with two, the next batch gathers while one is under way.
const DEPTH: usize = 2;

/// Within this time of an entry a head with every line of both algorithms follows.
const FULL_WITHIN: Duration = Duration::from_secs(600);

/// Bytes a second for which a link is taken before anything was measured, and at the least: 64 kbit/s. A lone message
/// says nothing about a link.
const FIRST_RATE: u64 = 8 << 10;

/// The author keeps at most what it sends in this time without a receipt.
const RATE_SECONDS: u64 = 2;

/// Bytes of IMMEDIATE and FLASH messages that may stand beyond the window while the peer's daily quota holds back what
/// stands before them: about a hundred, and half of what the holder keeps free for entries that do not count.
const BEYOND_WINDOW: u64 = 512 << 10;

impl Core {
    /// Appends, signs and pushes for every peer that may have something to say.
    pub(super) fn compose(&mut self, now: Millis, env: &mut dyn Env) {
        let mut again = Vec::new();
        while let Some(name) = self.dirty.pop_first() {
            if !self.reread_lost(name) {
                again.push(name);
            }
            if !self.may_compose(now, name) {
                continue;
            }
            let (paused, before) = (self.is_quota_pause(now, name), self.own_place(name));
            if self.is_opening_due(name) {
                self.open_volume(now, env, name);
            }
            if self.peer(name).is_none_or(|peer| peer.own.current.is_none()) {
                continue;
            }
            let more = self.append_batch(now, name);
            if paused && self.own_place(name) == before {
                // Nothing that passes the peer's quota was added: the rest waits for the end of the pause.
                continue;
            }
            self.sign_and_push(now, env, name);
            if more {
                again.push(name);
            }
        }
        // What did not fit waits for a receipt, which touches the peer again; a full batch goes on at once, and so does
        // what only waits for the disk.
        self.dirty.extend(again);
    }

    fn may_compose(&self, now: Millis, name: NodeName) -> bool {
        let Some(session) = self.sessions.get(&name) else { return false };
        let frozen = self.peer(name).and_then(|peer| peer.own.frozen.as_ref()).is_some_and(|frozen| !frozen.agreed);
        (matches!(session.step, Step::Ready) || mutant::active(Mutant::SignBeforeHello))
            && !frozen
            && !session.silent
            && self.fold.fenced.is_none()
            && (session.not_now_until.is_none_or(|until| until <= now) || self.passes_a_quota(name))
    }

    /// Whether the peer's daily quota is used up, and something waits that it takes all the same. What has been appended
    /// waits no longer here, so nothing is tried twice in one pause.
    fn passes_a_quota(&self, name: NodeName) -> bool {
        let paused = self.sessions.get(&name).is_some_and(|session| session.quota_pause);
        paused && self.peer(name).and_then(|peer| peer.own.queue.values().next()).is_some_and(passes_a_quota)
    }

    /// Whether the peer's daily quota holds back what is not urgent.
    pub(super) fn is_quota_pause(&self, now: Millis, name: NodeName) -> bool {
        let session = self.sessions.get(&name);
        session.is_some_and(|session| session.quota_pause && session.not_now_until.is_some_and(|until| until > now))
    }

    /// The open volume and its size.
    fn own_place(&self, name: NodeName) -> Option<(Volume, u64)> {
        self.peer(name).and_then(|peer| peer.own.volume()).map(|(volume, own)| (volume, own.size()))
    }

    fn is_opening_due(&self, name: NodeName) -> bool {
        let (Some(peer), Some(session)) = (self.peer(name), self.sessions.get(&name)) else { return false };
        let own = &peer.own;
        if own.current.is_none() && session.held.is_none() {
            return !own.queue.is_empty();
        }
        session.must_open || own.reopen.is_some() || own.current.is_none()
    }

    fn open_volume(&mut self, now: Millis, env: &mut dyn Env, name: NodeName) {
        let held = self.sessions.get(&name).and_then(|session| session.held);
        let Some(peer) = self.peer(name) else { return };
        let own = &peer.own;
        let before = held.map(|held| HeadRef {
            origin: Author::origin(self.me, name, held.volume),
            size: held.size,
            root: held.root,
        });
        let before = match (before, own.volume()) {
            (Some(head), Some((_, own))) if mutant::active(Mutant::NameMoreThanHeld) => {
                Some(HeadRef { size: own.size(), root: own.range.root(), ..head })
            }
            (before, _) => before,
        };
        let reason = match (own.reopen, before) {
            (Some(reason), _) => reason,
            (None, _) if self.has_new_keys(own) => VolumeReason::NewKeys,
            (None, None) => VolumeReason::First,
            (None, Some(_)) => VolumeReason::Fault,
        };
        let mut volume = Volume { number: own.highest.saturating_add(1), random: [0; 8] };
        env.random(&mut volume.random);
        let signer = env.signer();
        let key = |algorithm, number| SigningKey {
            algorithm: number,
            public_key: Bytes::copy_from_slice(signer.public_key(algorithm)),
            certificate: Bytes::new(),
        };
        let (unavailable, fetched_from) = (own.unlisted_bodies(), own.fetched_from());
        let body = VolumeBody {
            keys: vec![key(KeyAlgorithm::Ed25519, 1), key(KeyAlgorithm::MlDsa44, 6)],
            before,
            reason,
            journal: self.fold.journal.unwrap_or_default(),
            unavailable,
            fetched_from,
        }
        .encode();
        let mut salt = [0; 32];
        env.random(&mut salt);
        let header = self.machine_header(env, Kind::Volume);
        let header = self.finish_header(now, name, header);
        let leaf = Leaf::new(commitment(&salt, &body), body.len(), &header.encode())
            .expect("the header is of machine kind and the lists of the body are bounded");
        let place = Place { peer: name, volume, index: 0 };
        self.live.insert(header.id, salt, body.clone());
        self.live.set_leaf(&header.id, &leaf);
        self.put(now, Act::VolumeOpened { place, leaf, salt, body });
        self.settle_waits(name);
        let session = self.session(name);
        session.must_open = false;
        session.pushed = 0;
        session.full_receipted = false;
        session.drop_outstanding();
        self.notice(Notice::VolumeOpened { origin: Author::origin(self.me, name, volume) });
        self.forget_rereads(name);
    }

    /// A header of a machine kind with a fresh id.
    pub(super) fn machine_header(&self, env: &mut dyn Env, kind: Kind) -> Header {
        let mut id = [0; 16];
        env.random(&mut id);
        Header {
            id: EntryId(id),
            kind: kind.number(),
            time: Millis(0),
            case: None,
            in_reply_to: None,
            precedence: Precedence::Routine,
            tlp: Tlp::AmberStrict,
            pap: Pap::None,
            exercise: self.me.state().is_exercise(),
            from_desk: None,
            to_desk: None,
            expires: None,
            seen_volume: 0,
            seen: 0,
            target: None,
            code: 0,
        }
    }

    /// Time and `seen` are set at append.
    fn finish_header(&self, now: Millis, name: NodeName, mut header: Header) -> Header {
        header.time = now;
        if let Some((volume, held)) = self.peer(name).and_then(|peer| peer.theirs.volume()) {
            header.seen_volume = volume.number;
            header.seen = held.size();
        }
        header
    }

    /// Appends what fits; whether more waits that would fit another batch.
    fn append_batch(&mut self, now: Millis, name: NodeName) -> bool {
        let Some(session) = self.sessions.get(&name) else { return false };
        let deep = session.outstanding.len() >= DEPTH;
        let limit = if mutant::active(Mutant::IgnoreWindow) { u64::MAX } else { session.window };
        let limit = limit.min(session.rate.unwrap_or(FIRST_RATE).max(FIRST_RATE).saturating_mul(RATE_SECONDS));
        let Some(own) = self.peer(name).map(|peer| &peer.own) else { return false };
        let Some(volume) = own.current else { return false };
        let only_needed = self.is_quota_pause(now, name);
        let limit = if only_needed { limit.saturating_add(BEYOND_WINDOW) } else { limit };
        // What is in the log and was not pushed yet goes under the same head: entry 0, and what a cut left over.
        let waiting = own.unreceipted.iter().rev().take_while(|(index, _)| *index >= session.pushed);
        let (left, left_bytes) = waiting
            .fold((0, 0), |(count, bytes), (_, item)| (count + 1, bytes + item.as_ref().map_or(0, window_bytes)));
        let (mut used, mut fresh) = (own.unreceipted_bytes(), left_bytes);
        let (mut batch, mut expired): (Vec<Item>, Vec<EntryId>) = (Vec::new(), Vec::new());
        let (mut more, mut limited) = (false, false);
        for item in own.queue.values() {
            let is_void = item.header.known_kind() == Some(Kind::Void);
            if item.header.expires.is_some_and(|at| at <= now) {
                expired.push(item.header.id);
                continue;
            }
            if only_needed && !passes_a_quota(item) {
                break;
            }
            if deep && !is_void {
                limited = true;
                break;
            }
            let bytes = window_bytes(item);
            if left + batch.len() >= MAX_PUSH_ENTRIES || fresh > 0 && fresh + bytes > MAX_PUSH_BYTES {
                more = true;
                break;
            }
            if !is_void && used > 0 && used + bytes > limit {
                limited = true;
                break;
            }
            used += bytes;
            fresh += bytes;
            batch.push(item.clone());
        }
        self.session(name).limited = limited || more;
        for id in expired {
            self.drop_item(now, name, id, Drop::Expired, 0);
        }
        for item in batch {
            self.append(now, name, volume, item);
        }
        more
    }

    fn append(&mut self, now: Millis, name: NodeName, volume: Volume, item: Item) {
        let Some(index) = self.peer(name).and_then(|peer| peer.own.volumes.get(&volume)).map(|own| own.size()) else {
            return;
        };
        let header = self.finish_header(now, name, item.header);
        let leaf = Leaf::new(item.commitment, item.body_len as usize, &header.encode())
            .expect("checked when the item was queued");
        let place = Place { peer: name, volume, index };
        self.live.set_leaf(&header.id, &leaf);
        self.put(now, Act::Appended { place, leaf, queued: item.queued });
    }

    fn sign_and_push(&mut self, now: Millis, env: &mut dyn Env, name: NodeName) {
        let Some((volume, own)) = self.peer(name).and_then(|peer| peer.own.volume()) else { return };
        let size = own.size();
        let lines = own.head_at(size).map(|head| is_full(&head.lines));
        let full_now = lines == Some(true);
        let covered = own.head_at(size).is_some_and(|head| full_now && is_full(&head.receipt));
        let session = self.session(name);
        let new_entries = size > session.pushed;
        let full_due = std::mem::take(&mut session.full_due) && !covered;
        if !new_entries && !full_due {
            return;
        }
        let full = full_due || !session.full_signed || session.pushed == 0;
        if lines.is_none() || full && !full_now {
            self.sign_head(now, env, name, volume, full);
        }
        self.push(now, name, volume);
    }

    fn sign_head(&mut self, now: Millis, env: &dyn Env, name: NodeName, volume: Volume, full: bool) {
        let Some(own) = self.peer(name).and_then(|peer| peer.own.volumes.get(&volume)) else { return };
        let (size, root) = (own.size(), own.range.root());
        let known = own.head_at(size).map(|head| head.lines.clone()).unwrap_or_default();
        let lines = self.lines_for(env, name, volume, size, root, known, full);
        self.put(now, Act::Signed { place: Place { peer: name, volume, index: size }, root, lines });
    }

    /// The author's lines of a head: the classical one, and the post-quantum one when due. Known lines stay.
    #[allow(clippy::too_many_arguments, reason = "the head, what is known of it, and what is due")]
    pub(super) fn lines_for(
        &self,
        env: &dyn Env,
        name: NodeName,
        volume: Volume,
        size: u64,
        root: crate::name::Hash,
        known: Vec<String>,
        full: bool,
    ) -> Vec<String> {
        let head = Head { origin: Author::origin(self.me, name, volume), size, root };
        let mut lines = known;
        if lines.is_empty() {
            lines.push(sign_log_line(&head, KeyAlgorithm::Ed25519, env.signer()).to_string());
        }
        if full && !is_full(&lines) {
            lines.push(sign_log_line(&head, KeyAlgorithm::MlDsa44, env.signer()).to_string());
        }
        lines
    }

    /// Pushes everything up to the newest head, once its group is durable.
    fn push(&mut self, now: Millis, name: NodeName, volume: Volume) {
        let Some(conn) = self.sessions.get(&name).and_then(|session| session.up()) else { return };
        let pushed = self.session(name).pushed;
        let Some(own) = self.peer(name).map(|peer| &peer.own) else { return };
        let Some(head) = own.volumes.get(&volume).and_then(|own| own.heads.back()) else { return };
        let origin = Author::origin(self.me, name, volume);
        let (size, full) = (head.size, is_full(&head.lines));
        let text = note(origin, size, head.root, &[&head.lines, &head.receipt]);
        let mut bytes = 0;
        let mut entries = Vec::new();
        for (index, item) in own.unreceipted.iter().filter(|(index, _)| *index >= pushed && *index < size) {
            bytes += item.as_ref().map_or(0, window_bytes);
            entries.push(self.entry_ref(own, volume, *index, item.as_ref()));
        }
        let fits = entries.len() <= MAX_PUSH_ENTRIES && (entries.len() <= 1 || bytes <= MAX_PUSH_BYTES);
        if entries.len() as u64 != size.saturating_sub(pushed) || !fits {
            // The entries are not in memory (a restart, an older copy at the holder), or more than one head may cover
            // (batches that were cut off): the slow way, in pieces.
            return self.start_refill(name, volume, pushed, size);
        }
        self.release(Effect::Push { conn, origin, entries, note: text });
        let session = self.session(name);
        session.pushed = size;
        session.outstanding.push_back(Outstanding { size, bytes, at: now, limited: session.limited });
        if full {
            session.full_signed = true;
            session.full_at = None;
        } else {
            session.full_at.get_or_insert(now.after(FULL_WITHIN));
        }
    }

    fn entry_ref(&self, own: &Author, volume: Volume, index: u64, item: Option<&Item>) -> EntryRef {
        let record = match item {
            Some(item) => Some(item.queued),
            None => own.volumes.get(&volume).map(|own| own.opened),
        };
        let payload = if own.voided.contains(&index) {
            Some(Payload::Absent(Absent::Voided))
        } else {
            item.and_then(|item| self.live.payload(&item.header.id))
        };
        let leaf = item.and_then(|item| self.live.leaf(&item.header.id));
        EntryRef { index, leaf, record, payload }
    }

    /// Receipted items that the holder's chain lacks are read again, once; `false`: not all of them are durable yet.
    fn reread_lost(&mut self, name: NodeName) -> bool {
        let Some(peer) = self.peer(name) else { return true };
        if peer.own.lost.is_empty() || self.session_is_rereading(name) {
            return true;
        }
        let records: Vec<u64> = peer.own.lost.values().copied().collect();
        if records.iter().any(|record| *record >= self.handed) {
            return false;
        }
        self.session(name).rereading = true;
        self.actions.push_back(Action::Reread { records });
        true
    }

    fn session_is_rereading(&self, name: NodeName) -> bool {
        self.sessions.get(&name).is_some_and(|session| session.rereading)
    }

    fn forget_rereads(&mut self, name: NodeName) {
        self.session(name).rereading = false;
        self.touch(name);
    }

    /// What the holder has agreed to so far, as an earlier volume names it.
    pub(super) fn held(&self, name: NodeName) -> Option<Held> {
        self.sessions.get(&name).and_then(|session| session.held)
    }
}

/// Whether the holder takes this item beyond its daily quota.
fn passes_a_quota(item: &Item) -> bool {
    item.header.known_kind() == Some(Kind::Void) || item.header.precedence >= Precedence::Immediate
}
