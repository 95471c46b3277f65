//! Getting own entries back from their holder.

use std::time::Duration;

use bytes::Bytes;

use super::Core;
use super::compare::own_keys;
use super::note_text::judge;
use super::session::{Fetch, Held, Proving, Step};
use crate::exchange::env::Env;
use crate::exchange::io::{Action, CloseCode, ConnId, FetchFault, Pushed};
use crate::exchange::mutant::{self, Mutant};
use crate::exchange::record::{Act, Place, Record, Stowed};
use crate::merkle::{CompactRange, leaf_hash};
use crate::name::{Kind, Millis, NodeName, Origin};
use crate::wire::{Contradiction, EntryFrame, FaultCode, HeadRef, Payload};

/// How long a fetch waits that found the own disk full.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(30);

/// What became of a fetched entry.
enum Taken {
    Good,
    /// It is not what it should be.
    Wrong,
    /// The disk gives no key slot now.
    NoRoom,
}

impl Core {
    /// Fetches the own log up to `goal`, from an index on; then goes on with `then`.
    pub(super) fn start_fetch(&mut self, name: NodeName, goal: HeadRef, from: u64, then: Option<Held>) {
        self.fetch(name, Fetch { origin: goal.origin, next: from, start: from, goal, then, proving: None });
    }

    fn fetch(&mut self, name: NodeName, fetch: Fetch) {
        let Fetch { origin, next: from, goal, .. } = fetch;
        let session = self.session(name);
        session.drop_outstanding();
        let Some(conn) = session.up() else { return };
        session.step = Step::Fetch(fetch);
        self.actions.push_back(Action::Fetch { conn, origin, from, to: goal.size });
    }

    pub(super) fn fetched(
        &mut self,
        now: Millis,
        env: &mut dyn Env,
        conn: ConnId,
        origin: Origin,
        from: u64,
        result: Result<Pushed, FetchFault>,
    ) {
        let name = origin.to;
        let session = self.session(name);
        if session.up() != Some(conn) {
            return;
        }
        let Step::Fetch(fetch) = &session.step else { return };
        if fetch.origin != origin || fetch.next != from {
            return;
        }
        let (goal, start) = (fetch.goal, fetch.start);
        let pushed = match result {
            Ok(pushed) if !pushed.entries.is_empty() => pushed,
            // Nobody's fault: a new connection takes it up again.
            Err(FetchFault::Ended) => return self.close(now, env, conn, CloseCode::Replaced),
            _ => return self.fetch_failed(now, env, name, from),
        };
        for (entry, index) in pushed.entries.into_iter().zip(from..goal.size) {
            if entry.index != index {
                return self.fetch_failed(now, env, name, index);
            }
            let Step::Fetch(fetch) = &mut self.session(name).step else { return };
            if let Some(proving) = &mut fetch.proving {
                proving.push(leaf_hash(entry.leaf.bytes()));
            } else {
                match self.take_fetched(now, env, name, origin, entry) {
                    Taken::Good => {}
                    Taken::Wrong => return self.fetch_failed(now, env, name, index),
                    Taken::NoRoom => {
                        // Not the peer's fault: the fetch goes on from here when there may be room again.
                        self.session(name).dial_not_before = Some(now.after(NO_ROOM_PAUSE));
                        return self.close(now, env, conn, CloseCode::Replaced);
                    }
                }
            }
            let Step::Fetch(fetch) = &mut self.session(name).step else { return };
            fetch.next = index + 1;
        }
        let Step::Fetch(fetch) = &self.session(name).step else { return };
        let next = fetch.next;
        if next < goal.size {
            self.actions.push_back(Action::Fetch { conn, origin, from: next, to: goal.size });
            return;
        }
        self.fetch_complete(now, env, name, goal, start, &pushed.note);
    }

    fn fetch_failed(&mut self, now: Millis, env: &mut dyn Env, name: NodeName, index: u64) {
        self.peer_fault(now, env, name, FaultCode::Gap, index);
    }

    fn take_fetched(
        &mut self,
        now: Millis,
        env: &mut dyn Env,
        name: NodeName,
        origin: Origin,
        entry: EntryFrame,
    ) -> Taken {
        let machine = entry.leaf.header().is_ok_and(|header| header.is_machine());
        let payload = match entry.payload {
            Payload::Absent(reason) => Stowed::Absent(reason),
            Payload::Present { salt, body } if !entry.leaf.is_opened_by(&salt, &body) => return Taken::Wrong,
            Payload::Present { salt, body } if machine => Stowed::Clear { salt, body },
            Payload::Present { salt, body } => match env.seal(&salt, &body) {
                Some(sealed) => Stowed::Sealed { slot: sealed.slot, bytes: sealed.bytes },
                None => return Taken::NoRoom,
            },
        };
        let place = Place { peer: name, volume: origin.volume, index: entry.index };
        self.put(now, Act::Fetched { place, leaf: entry.leaf, payload });
        Taken::Good
    }

    fn fetch_complete(
        &mut self,
        now: Millis,
        env: &mut dyn Env,
        name: NodeName,
        goal: HeadRef,
        start: u64,
        text: &Bytes,
    ) {
        let volume = goal.origin.volume;
        if let Step::Fetch(Fetch { proving: Some(_), .. }) = &self.session(name).step {
            return self.proved(now, env, name, goal, text);
        }
        let fetching = self.peer(name).and_then(|peer| peer.own.fetching.get(&volume));
        let Some(fetching) = fetching else { return self.fetch_failed(now, env, name, start) };
        if fetching.range.root() != goal.root {
            let then = self.fetch_goes_on(name);
            let frozen = self.peer(name).and_then(|peer| peer.own.frozen.as_ref());
            // People have agreed, or a later volume under the own key stands on that root already: the holder's branch
            // of this one counts.
            let counts = frozen.is_some_and(|frozen| frozen.agreed) || then.is_some_and(|held| held.volume != volume);
            if start > 0 && counts {
                return self.start_fetch(name, goal, 0, then);
            }
            // The holder's leaves do not continue the own ones. Whether the own signed head is excluded by its head, or
            // something else came than was signed, only its whole branch tells.
            if start > 0 {
                return self.start_proving(now, env, name, goal, then);
            }
            return self.fetch_failed(now, env, name, start);
        }
        let before = fetching.opening.as_ref().and_then(|(_, before, _, _)| *before);
        let mut keys = own_keys(env, &[]);
        keys.extend(fetching.opening.iter().flat_map(|(keys, ..)| keys.iter().cloned()));
        let good = judge(env, text, &keys, name).filter(|good| {
            good.head.origin == goal.origin && good.head.size == goal.size && good.head.root == goal.root
        });
        let Some(good) = good else { return self.peer_fault(now, env, name, FaultCode::BadSignature, goal.size) };
        let place = Place { peer: name, volume, index: goal.size };
        let lines = good.author_lines.into_iter().chain(good.holder_lines).collect();
        let then = self.fetch_goes_on(name);
        self.put(now, Act::FetchedHead { place, root: goal.root, lines });
        self.settle_waits(name);
        self.after_fetch(name, before, then);
    }

    fn start_proving(&mut self, now: Millis, env: &mut dyn Env, name: NodeName, goal: HeadRef, then: Option<Held>) {
        let own = self.peer(name).and_then(|peer| peer.own.volumes.get(&goal.origin.volume));
        let newest = own.and_then(|own| own.heads.back()).map(|head| (head.size, head.root));
        let Some(own) = newest.filter(|(size, _)| *size < goal.size) else {
            return self.fetch_failed(now, env, name, goal.size);
        };
        let proving = Some(Box::new(Proving { range: CompactRange::default(), own, growth: None }));
        self.fetch(name, Fetch { origin: goal.origin, next: 0, start: 0, goal, then, proving });
    }

    /// The holder's whole branch was looked at: two sizes whose hashes fold to its head, and to another root than the
    /// own signed head has.
    fn proved(&mut self, now: Millis, env: &mut dyn Env, name: NodeName, goal: HeadRef, text: &Bytes) {
        let Step::Fetch(Fetch { proving: Some(proving), .. }) = &self.session(name).step else { return };
        let growth = proving.growth.clone().filter(|_| proving.range.root() == goal.root);
        let hashes = growth.and_then(|growth| {
            let hashes = std::iter::once(growth.root_before()).chain(growth.proof().ok()?).collect::<Vec<_>>();
            (growth.root_before() != proving.own.1).then_some(hashes)
        });
        let size = proving.own.0;
        let good = judge(env, text, &own_keys(env, &[]), name);
        let good = good.filter(|good| good.head.size == goal.size && good.head.root == goal.root);
        let (Some(hashes), Some(_)) = (hashes, good) else { return self.fetch_failed(now, env, name, goal.size) };
        let proof = Contradiction { hashes, ..self.own_proof(name, goal.origin, size, text.clone()) };
        let held = Held { volume: goal.origin.volume, size: goal.size, root: goal.root };
        self.contradiction(now, name, held, proof);
    }

    fn fetch_goes_on(&mut self, name: NodeName) -> Option<Held> {
        match &self.session(name).step {
            Step::Fetch(fetch) => fetch.then,
            _ => None,
        }
    }

    /// The volume before may be unknown too: then it is fetched as well, back to what is known.
    fn after_fetch(&mut self, name: NodeName, before: Option<HeadRef>, then: Option<Held>) {
        if let Some(before) = before.filter(|before| before.origin.from == self.me && before.origin.to == name) {
            let known = self.peer(name).and_then(|peer| peer.own.volumes.get(&before.origin.volume));
            match known.map(|own| (own.size(), own.root_at(before.size))) {
                Some((_, Some(root))) if root == before.root => {}
                Some((size, _)) if size < before.size => return self.start_fetch(name, before, size, then),
                // Unknown, or another branch than the own one: the holder's counts.
                _ => return self.start_fetch(name, before, 0, then),
            }
        }
        let session = self.session(name);
        session.held = then;
        session.step = Step::Ready;
        self.advance(name);
    }

    /// A Queued (or Fetched) record of an item that must be queued again.
    pub(super) fn reread(&mut self, now: Millis, record: Record) {
        let act = match record.act {
            act @ Act::Queued { .. } => act,
            Act::Fetched { place, leaf, payload } => {
                let Ok(header) = leaf.header() else { return };
                if header.known_kind() == Some(Kind::Void) {
                    return;
                }
                Act::Queued {
                    peer: place.peer,
                    commitment: leaf.commitment(),
                    body_len: u32::try_from(leaf.body_len()).unwrap_or(u32::MAX),
                    header,
                    payload,
                    enclosures: 0,
                    officer: 0,
                }
            }
            _ => return,
        };
        let Act::Queued { peer, header, .. } = &act else { return };
        let (name, id) = (*peer, header.id);
        if self.peer(name).is_some_and(|peer| peer.own.lost.contains_key(&id)) {
            if mutant::active(Mutant::RequeueTwice) {
                self.put(now, act.clone());
            }
            self.put(now, act);
            self.touch(name);
        }
    }
}
