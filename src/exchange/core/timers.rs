//! What happens because time passes.

use std::time::Duration;

use super::Core;
use super::session::Session;
use crate::exchange::env::Env;
use crate::exchange::io::{Action, CloseCode, ConnId};
use crate::exchange::mutant::{self, Mutant};
use crate::exchange::record::Drop;
use crate::name::{Millis, NodeName};

/// How long an expiry waits while the node does not know what it has sent.
const DOUBT_PAUSE: Duration = Duration::from_secs(30);

/// A clock that goes back by more than this was set, and not merely corrected.
const SET_BACK: Duration = Duration::from_secs(5);

impl Core {
    /// When the core wants to be called again, at the latest.
    pub fn poll_timeout(&self) -> Option<Millis> {
        let ride = if self.written == self.durable && !self.pending.is_empty() { self.ride_at } else { None };
        let expiry = self.expiries.first().map(|(at, _, _)| *at);
        let sessions = self.sessions.iter().filter_map(|(name, session)| self.session_timeout(*name, session));
        sessions.chain(ride).chain(expiry).min()
    }

    fn session_timeout(&self, name: NodeName, session: &Session) -> Option<Millis> {
        let dial = session.dial_at.filter(|_| self.is_active(name) && session.conns.is_empty() && !session.dialling);
        let stall = session.outstanding.front().map(|head| head.at.after(self.settings.stall));
        let full = session.full_at;
        [dial, stall, full, session.not_now_until].into_iter().flatten().min()
    }

    /// A clock that was set back must not make this node wait for times that are far away now.
    pub(super) fn look_at_clock(&mut self, now: Millis) {
        if self.newest.since(now) > SET_BACK {
            self.ride_at = self.ride_at.map(|at| at.min(now));
            for (name, session) in &mut self.sessions {
                session.forget_times(now);
                self.dirty.insert(*name);
            }
        }
        self.newest = now;
    }

    /// Does what is due. Calling it early is harmless.
    pub fn handle_timeout(&mut self, now: Millis, env: &mut dyn Env) {
        self.look_at_clock(now);
        while let Some((at, name, id)) = self.expiries.first().copied().filter(|(at, _, _)| *at <= now) {
            self.expiries.remove(&(at, name, id));
            if self.peer(name).is_some_and(|peer| peer.own.doubt.is_some()) {
                // It may stand in the holder's log already: nothing is told before that is known.
                self.expiries.insert((now.after(DOUBT_PAUSE), name, id));
                continue;
            }
            let waits = self.peer(name).is_some_and(|peer| peer.own.waiting.contains_key(&id));
            if waits || mutant::active(Mutant::ExpireAfterAppend) {
                self.drop_item(now, name, id, Drop::Expired, 0);
            }
        }
        let names: Vec<NodeName> = self.sessions.keys().copied().collect();
        for name in names {
            self.session_due(now, env, name);
        }
    }

    /// While the other side owes an answer, nothing is appended for it; that it came is a sign of life.
    pub(super) fn silent(&mut self, conn: ConnId, silent: bool) {
        let Some(name) = self.conns.get(&conn).copied() else { return };
        let session = self.session(name);
        if session.chosen == Some(conn) {
            session.silent = silent;
            self.touch(name);
        }
    }

    fn session_due(&mut self, now: Millis, env: &mut dyn Env, name: NodeName) {
        let (active, stall) = (self.is_active(name), self.settings.stall);
        let session = self.session(name);
        if session.dial_at.is_some_and(|at| at <= now) && session.conns.is_empty() && !session.dialling {
            session.dial_at = None;
            if active {
                session.dialling = true;
                self.actions.push_back(Action::Dial { peer: name });
            }
        }
        let session = self.session(name);
        if session.not_now_until.is_some_and(|at| at <= now) {
            session.not_now_until = None;
            if !mutant::active(Mutant::ForgetRetry) {
                self.dirty.insert(name);
            }
        }
        let session = self.session(name);
        if session.full_at.is_some_and(|at| at <= now) {
            session.full_at = None;
            session.full_due = true;
            self.dirty.insert(name);
        }
        let session = self.session(name);
        let stalled = session.outstanding.front().is_some_and(|head| head.at.after(stall) <= now);
        if let Some(conn) = session.chosen.filter(|_| stalled) {
            self.close(now, env, conn, CloseCode::Replaced);
        }
    }
}
