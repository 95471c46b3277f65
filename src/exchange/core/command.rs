//! What people and the node's own machinery order.

use bytes::Bytes;

use super::Core;
use crate::exchange::env::Env;
use crate::exchange::fold::{Peer, PeerStatus};
use crate::exchange::io::{Action, Answer, CloseCode, Command, Denied, Effect, NewItem, Token, Wait};
use crate::exchange::record::{Act, Change, Drop, Stowed};
use crate::name::{EntryId, Kind, Millis, NodeName, RefusalCode};
use crate::note::PublicKeys;
use crate::wire::{Header, MAX_BODY, Target, commitment};

impl Core {
    pub(super) fn command(&mut self, now: Millis, env: &mut dyn Env, command: Command, token: Option<Token>) {
        let result = match command {
            Command::Send { peer, item, officer, wait } => {
                return self.send(now, env, peer, *item, officer, wait, token);
            }
            Command::Drop { peer, id, why, officer } => self.order_drop(now, peer, id, why, officer),
            Command::Retry { peer } => self.retry(now, peer),
            Command::AddPeer { peer, introduction, fingerprint, keys, ceremony, officer } => {
                self.add_peer(now, env, peer, introduction, fingerprint, keys, &ceremony, officer)
            }
            Command::ChangePeer { peer, change, officer } => self.change_peer(now, env, peer, change, officer),
            Command::Reopen { peer, officer } => self.reopen(now, env, peer, officer),
            Command::Recover { officer } => {
                self.put(now, Act::Recovering { officer });
                self.restart_sessions(now, env);
                Ok(())
            }
            Command::MarkRead { place, officer } => {
                self.put_riding(now, Act::Read { place, officer });
                Ok(())
            }
            Command::Note { subject, peer, text, officer } => {
                self.put_riding(now, Act::Noted { subject, peer, text, officer });
                Ok(())
            }
        };
        self.answer(token, result.map_or_else(Answer::Denied, |()| Answer::Done));
    }

    fn answer(&mut self, token: Option<Token>, answer: Answer) {
        if let Some(token) = token {
            if matches!(answer, Answer::Done | Answer::Queued { .. }) {
                self.urgent |= !self.pending.is_empty();
            }
            self.release(Effect::Answer { token, answer });
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of the command and its context")]
    fn send(
        &mut self,
        now: Millis,
        env: &mut dyn Env,
        name: NodeName,
        item: NewItem,
        officer: u32,
        wait: Wait,
        token: Option<Token>,
    ) {
        let id = item.id;
        match self.queue_item(now, env, name, item, officer) {
            Err(denied) => self.answer(token, Answer::Denied(denied)),
            Ok(Queued::Waits) => match (wait, token) {
                (Wait::Receipt, Some(token)) => self.waits.entry(id).or_default().push(token),
                _ => self.answer(token, Answer::Queued { id }),
            },
            // A repeated command is answered from the log; its receipt, where there is one, stands in the outbox.
            Ok(Queued::InTheLog) => self.answer(token, Answer::Queued { id }),
            Ok(Queued::Dropped(why)) => self.answer(token, Answer::Ended { id, why }),
        }
    }

    fn queue_item(
        &mut self,
        now: Millis,
        env: &mut dyn Env,
        name: NodeName,
        item: NewItem,
        officer: u32,
    ) -> Result<Queued, Denied> {
        let peer = self.peer(name).ok_or(Denied::UnknownPeer(name))?;
        // Towards a suspended peer messages wait.
        if peer.status == PeerStatus::Removed {
            return Err(Denied::PeerInactive(name));
        }
        if let Some(key) = peer.own.waiting.get(&item.id) {
            let same = peer.own.queue.get(key).is_some_and(|known| {
                known.body_len as usize == item.body.len() && known.header.kind == item.kind.number()
            });
            return if same { Ok(Queued::Waits) } else { Err(Denied::OtherBytes(item.id)) };
        }
        if peer.own.recent.get(&item.id).is_some() {
            let open = peer
                .own
                .unreceipted
                .iter()
                .any(|(_, known)| known.as_ref().is_some_and(|known| known.header.id == item.id));
            return Ok(if open { Queued::Waits } else { Queued::InTheLog });
        }
        if let Some(why) = peer.own.dropped.get(&item.id) {
            return Ok(Queued::Dropped(why));
        }
        // What machines answer waits in memory for the disk: nobody would ask for it again.
        if self.disk_full && !item.kind.is_machine() {
            return Err(Denied::DiskFull);
        }
        if item.body.len() > MAX_BODY {
            let why = format!("the body has {} bytes, at most {MAX_BODY} are allowed", item.body.len());
            return Err(Denied::TooLarge(why));
        }
        self.queue_new(now, env, name, item, officer).map(|()| Queued::Waits)
    }

    fn queue_new(
        &mut self,
        now: Millis,
        env: &mut dyn Env,
        name: NodeName,
        item: NewItem,
        officer: u32,
    ) -> Result<(), Denied> {
        let mut salt = [0; 32];
        env.random(&mut salt);
        let payload = if item.kind.is_machine() {
            Stowed::Clear { salt, body: item.body.clone() }
        } else {
            let sealed = env.seal(&salt, &item.body).ok_or(Denied::DiskFull)?;
            Stowed::Sealed { slot: sealed.slot, bytes: sealed.bytes }
        };
        let header = Header {
            id: item.id,
            kind: item.kind.number(),
            time: now,
            case: item.case,
            in_reply_to: item.in_reply_to,
            precedence: item.precedence,
            tlp: item.tlp,
            pap: item.pap,
            exercise: item.exercise || self.me.state().is_exercise(),
            from_desk: item.from_desk,
            to_desk: item.to_desk,
            expires: item.expires,
            seen_volume: 0,
            seen: 0,
            target: item.target,
            code: item.code,
        };
        if let Some(at) = item.expires {
            self.expiries.insert((at, name, item.id));
        }
        let act = Act::Queued {
            peer: name,
            header,
            commitment: commitment(&salt, &item.body),
            body_len: u32::try_from(item.body.len()).unwrap_or(u32::MAX),
            payload,
            enclosures: item.enclosures,
            officer,
        };
        self.put(now, act);
        self.live.insert(item.id, salt, item.body);
        self.touch(name);
        Ok(())
    }

    /// Queues an entry that machines make.
    #[allow(clippy::too_many_arguments, reason = "what makes up such an entry")]
    pub(super) fn queue_machine(
        &mut self,
        now: Millis,
        env: &mut dyn Env,
        name: NodeName,
        kind: Kind,
        target: Option<Target>,
        code: u32,
        body: Bytes,
    ) {
        let header = self.machine_header(env, kind);
        let item = NewItem {
            id: header.id,
            kind,
            case: None,
            in_reply_to: None,
            precedence: header.precedence,
            tlp: header.tlp,
            pap: header.pap,
            exercise: header.exercise,
            from_desk: None,
            to_desk: None,
            expires: None,
            target,
            code,
            body,
            enclosures: 0,
        };
        // A machine kind needs no slot, so only a full disk or a peer that is gone can stand in its way; both are
        // known to the operator already, and the peer's copy of the log shows that nothing was answered.
        let _ = self.queue_item(now, env, name, item, 0);
    }

    fn order_drop(&mut self, now: Millis, name: NodeName, id: EntryId, why: Drop, officer: u32) -> Result<(), Denied> {
        let peer = self.peer(name).ok_or(Denied::UnknownPeer(name))?;
        if peer.own.doubt.is_some() && peer.own.waiting.contains_key(&id) {
            return Err(Denied::InDoubt(name));
        }
        if peer.own.waiting.contains_key(&id) {
            self.drop_item(now, name, id, why, officer);
            return Ok(());
        }
        if peer.own.recent.get(&id).is_some() { Err(Denied::InTheLog(id)) } else { Err(Denied::NoSuchItem(id)) }
    }

    /// Takes an item out of the queue and tells who waits for it.
    pub(super) fn drop_item(&mut self, now: Millis, name: NodeName, id: EntryId, why: Drop, officer: u32) {
        self.put(now, Act::Dropped { peer: name, id, why, officer });
        self.live.remove(&id);
        for token in self.waits.remove(&id).unwrap_or_default() {
            self.release(Effect::Answer { token, answer: Answer::Ended { id, why } });
        }
    }

    fn retry(&mut self, now: Millis, name: NodeName) -> Result<(), Denied> {
        if !self.is_active(name) {
            return Err(self.peer(name).map_or(Denied::UnknownPeer(name), |_| Denied::PeerInactive(name)));
        }
        let session = self.session(name);
        session.failures = 0;
        session.not_now_until = None;
        session.dial_not_before = None;
        session.setbacks = 0;
        session.left = (0, 0);
        if session.conns.is_empty() && !session.dialling {
            session.dial_at = Some(now);
        }
        self.touch(name);
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of the command and its context")]
    fn add_peer(
        &mut self,
        now: Millis,
        env: &mut dyn Env,
        name: NodeName,
        introduction: Bytes,
        fingerprint: String,
        keys: Vec<PublicKeys>,
        ceremony: &[u8],
        officer: u32,
    ) -> Result<(), Denied> {
        if name == self.me {
            return Err(Denied::PeerConflict(format!("{name} is this node itself")));
        }
        if name.state().is_exercise() != self.me.state().is_exercise() && !self.settings.mix_exercise {
            return Err(Denied::Exercise);
        }
        let own = PublicKeys::of(env.signer()).ok();
        let repeated = |key: &PublicKeys| {
            let same = |other: &PublicKeys| other.ed25519 == key.ed25519 || other.ml_dsa_44 == key.ml_dsa_44;
            if own.as_ref().is_some_and(same) {
                return Some(self.me);
            }
            // Former keys stay known as their node's: heads and receipts under them are evidence for good.
            let former = |peer: &Peer| peer.theirs.volumes.values().any(|volume| volume.keys.iter().any(same));
            if self.fold.peers.values().any(|peer| peer.own.volumes.values().any(|own| own.keys.iter().any(same))) {
                return Some(self.me);
            }
            let mut others = self.fold.peers.iter().filter(|(known, _)| **known != name);
            others.find(|(_, peer)| peer.keys.iter().any(same) || former(peer)).map(|(known, _)| *known)
        };
        if let Some(other) = keys.iter().find_map(repeated) {
            return Err(Denied::PeerConflict(format!("a signing key of {name} is known for {other} already")));
        }
        let mut salt = [0; 32];
        env.random(&mut salt);
        let sealed = env.seal(&salt, ceremony).ok_or(Denied::DiskFull)?;
        let ceremony = Stowed::Sealed { slot: sealed.slot, bytes: sealed.bytes };
        self.put(now, Act::PeerAdded { peer: name, introduction, fingerprint, keys, ceremony, officer });
        let session = self.session(name);
        if session.conns.is_empty() && !session.dialling {
            session.dial_at = Some(now);
        }
        Ok(())
    }

    fn change_peer(
        &mut self,
        now: Millis,
        env: &mut dyn Env,
        name: NodeName,
        change: Change,
        officer: u32,
    ) -> Result<(), Denied> {
        let peer = self.peer(name).ok_or(Denied::UnknownPeer(name))?;
        if change == Change::Resumed && peer.status == PeerStatus::Removed {
            return Err(Denied::PeerInactive(name));
        }
        self.put(now, Act::PeerChanged { peer: name, change, officer });
        if change == Change::Resumed {
            self.session(name).dial_at = Some(now);
        } else {
            self.close_all(now, env, name, CloseCode::SuspendedOrUnknown);
            self.session(name).dial_at = None;
        }
        Ok(())
    }

    /// A person agrees to go on after a freeze. Does nothing while such a volume is open and has no receipt.
    fn reopen(&mut self, now: Millis, env: &mut dyn Env, name: NodeName, officer: u32) -> Result<(), Denied> {
        let peer = self.peer(name).ok_or(Denied::UnknownPeer(name))?;
        let waits = |frozen: &Option<crate::exchange::fold::Frozen>| frozen.as_ref().is_some_and(|f| !f.agreed);
        if !waits(&peer.own.frozen) && !waits(&peer.theirs.frozen) {
            return Err(Denied::NothingFrozen(name));
        }
        self.put(now, Act::ReopenAgreed { peer: name, officer });
        self.close_all(now, env, name, CloseCode::Replaced);
        Ok(())
    }

    fn restart_sessions(&mut self, now: Millis, env: &mut dyn Env) {
        let names: Vec<NodeName> = self.sessions.keys().copied().collect();
        for name in names {
            self.close_all(now, env, name, CloseCode::Replaced);
        }
    }

    fn close_all(&mut self, now: Millis, env: &mut dyn Env, name: NodeName, code: CloseCode) {
        let conns: Vec<_> = self.session(name).conns.keys().copied().collect();
        for conn in conns {
            self.actions.push_back(Action::Close { conn, code });
            self.closed(now, env, conn);
        }
    }

    pub(super) fn enclosure_held(
        &mut self,
        now: Millis,
        env: &mut dyn Env,
        name: NodeName,
        entry: EntryId,
        ordinal: u32,
        slot: u64,
    ) {
        let act = Act::EnclosureHeld { peer: name, entry, ordinal, slot };
        self.file_settled(now, env, name, entry, ordinal, act, None);
    }

    pub(super) fn enclosure_ended(
        &mut self,
        now: Millis,
        env: &mut dyn Env,
        name: NodeName,
        entry: EntryId,
        ordinal: u32,
        code: RefusalCode,
    ) {
        let act = Act::EnclosureEnded { peer: name, entry, ordinal, code: code.number() };
        self.file_settled(now, env, name, entry, ordinal, act, Some(code));
    }

    /// When the last file of a message is settled: HELD, or REFUSED with the ordinals that will not come.
    #[allow(clippy::too_many_arguments, reason = "the fields of the input and its context")]
    fn file_settled(
        &mut self,
        now: Millis,
        env: &mut dyn Env,
        name: NodeName,
        entry: EntryId,
        ordinal: u32,
        act: Act,
        code: Option<RefusalCode>,
    ) {
        let Some(theirs) = self.peer(name).map(|peer| &peer.theirs) else { return };
        let Some(wanted) = theirs.wanted.get(&entry).filter(|wanted| wanted.left.contains(&ordinal)) else {
            // A file that was lost here is back: HELD was said, but the slot under which it lies now is on record.
            if code.is_none() && theirs.recent.get(&entry).is_some() {
                self.put_riding(now, act);
            }
            return;
        };
        let (target, last) = (wanted.target, wanted.left.len() == 1);
        let mut ended: Vec<(u32, u32)> = wanted.ended.iter().map(|(ordinal, code)| (*ordinal, *code)).collect();
        ended.extend(code.map(|code| (ordinal, code.number())));
        if !last {
            self.put(now, act);
            return;
        }
        // The answer is recorded first: a group may end before it, and never between it and what makes it due.
        if ended.is_empty() {
            self.queue_machine(now, env, name, Kind::Held, Some(target), 0, Bytes::new());
            self.put(now, act);
            return;
        }
        ended.sort_by_key(|(ordinal, code)| (*code, *ordinal));
        for same in ended.chunk_by(|a, b| a.1 == b.1) {
            let ordinals: Vec<u32> = same.iter().map(|(ordinal, _)| *ordinal).collect();
            let body = crate::wire::refused_body(&ordinals);
            self.queue_machine(now, env, name, Kind::Refused, Some(target), same[0].1, body);
        }
        self.put(now, act);
    }
}

/// What a send command met.
enum Queued {
    /// It waits, or is in the log without a receipt.
    Waits,
    /// It has its receipt.
    InTheLog,
    /// It left the queue unsent.
    Dropped(Drop),
}
