//! Connections: which one is kept, HELLO, back-off.

use std::time::Duration;

use super::Core;
use super::note_text::note;
use super::session::{Conn, Step};
use crate::exchange::env::Env;
use crate::exchange::io::{Action, CloseCode, ConnId, Dialler, Effect, Notice};
use crate::exchange::mutant::{self, Mutant};
use crate::name::{BootNonce, Kind, Millis, NodeName, Origin};
use crate::wire::{Hello, LogState, NotNowReason, PROTOCOL_VERSION};

/// The first pause after a failed attempt to dial; it doubles up to `Settings::backoff_max`.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// The pause before a connection that was lost is dialled again.
const REDIAL: Duration = Duration::from_millis(200);

/// When an instance that was told of another one, and whose connection is not kept, may dial again.
const SECOND_INSTANCE_PAUSE: Duration = Duration::from_secs(60);

impl Core {
    pub(super) fn connected(&mut self, now: Millis, conn: ConnId, peer: NodeName, dialler: Dialler, restricted: bool) {
        if dialler == Dialler::Us {
            self.session(peer).dialling = false;
        }
        if !self.is_active(peer) {
            self.actions.push_back(Action::Close { conn, code: CloseCode::SuspendedOrUnknown });
            return;
        }
        self.conns.insert(conn, peer);
        let entry = Conn { dialler, restricted, hello: None, said_hello: false, waits_for_probe: false };
        let session = self.session(peer);
        session.conns.insert(conn, entry);
        // Beside an older connection the dialler speaks first: a second instance of the peer is to be told of the first
        // before it has anything to compare.
        if dialler == Dialler::Us || session.chosen.is_none() {
            self.say_hello(now, peer, conn);
        }
    }

    fn say_hello(&mut self, now: Millis, peer: NodeName, conn: ConnId) {
        let entry = self.session(peer).conns.get_mut(&conn).filter(|entry| !entry.said_hello);
        let Some(entry) = entry else { return };
        entry.said_hello = true;
        let restricted = entry.restricted;
        let hello = Box::new(self.own_hello(now, peer));
        self.release(Effect::Hello { conn, hello });
        if restricted {
            // The other side may have judged otherwise, and would push in vain.
            self.release(Effect::Restricted { conn });
        }
    }

    fn own_hello(&self, now: Millis, name: NodeName) -> Hello {
        let session = self.sessions.get(&name);
        let (mine, yours) = self.log_states(name);
        Hello {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            boot: self.boot,
            last_boot: session.and_then(|session| session.last_boot),
            last_heard: session.and_then(|session| session.last_heard),
            clock: now,
            window: self.settings.window,
            enclosure_max: self.settings.enclosure_max,
            enclosures_total_max: self.settings.enclosures_total_max,
            kinds: Kind::ALL.iter().map(|kind| kind.number()).collect(),
            crl_number: self.settings.crl_number,
            certificate_digests: self.settings.certificate_digests.clone(),
            mine,
            yours,
        }
    }

    /// The two logs between this node and `name`: the own one and the one held.
    fn log_states(&self, name: NodeName) -> (LogState, LogState) {
        let Some(peer) = self.peer(name) else { return Default::default() };
        let mine = peer.own.volume().map(|(volume, own)| {
            let origin = Origin { from: self.me, to: name, volume };
            let head = own.heads.back();
            let text = head.map(|head| note(origin, head.size, head.root, &[&head.lines, &head.receipt]));
            LogState { origin: Some(origin), size: head.map_or(0, |head| head.size), note: text.unwrap_or_default() }
        });
        (mine.unwrap_or_default(), self.held_state(name))
    }

    /// What this node holds of the peer's log.
    pub(super) fn held_state(&self, name: NodeName) -> LogState {
        let held = self.peer(name).and_then(|peer| peer.theirs.volume());
        let state = held.map(|(volume, held)| {
            let origin = Origin { from: name, to: self.me, volume };
            let text = held.head.as_ref();
            let text = text.map(|head| note(origin, head.size, head.root, &[&head.author_lines, &head.lines]));
            LogState { origin: Some(origin), size: held.size(), note: text.unwrap_or_default() }
        });
        state.unwrap_or_default()
    }

    pub(super) fn hello(&mut self, now: Millis, env: &mut dyn Env, conn: ConnId, hello: Hello) {
        let Some(peer) = self.conns.get(&conn).copied() else { return };
        if hello.version_min > PROTOCOL_VERSION || hello.version_max < PROTOCOL_VERSION {
            return self.close(now, env, conn, CloseCode::Version);
        }
        if hello.boot == self.boot {
            // The peer's nonce cannot be ours: this is a copy of a HELLO, not a peer.
            return self.close(now, env, conn, CloseCode::NoHello);
        }
        let boot = hello.boot;
        let session = self.session(peer);
        session.last_heard = Some(now);
        session.failures = 0;
        session.clock_offset_ms =
            Some(i64::try_from(i128::from(hello.clock.0) - i128::from(now.0)).unwrap_or(i64::MAX));
        let Some(entry) = session.conns.get_mut(&conn) else { return };
        if entry.hello.is_some() {
            return self.close(now, env, conn, CloseCode::Frame);
        }
        let dialler = entry.dialler;
        entry.hello = Some(hello);
        let Some(older) = session.chosen.filter(|older| session.conns.contains_key(older)) else {
            return self.choose(now, env, peer, conn);
        };
        let older_conn = &session.conns[&older];
        let same_boot = older_conn.hello.as_ref().is_some_and(|hello| hello.boot == boot);
        if same_boot && older_conn.dialler != dialler {
            let smaller = if self.me < peer { Dialler::Us } else { Dialler::Them };
            if dialler == smaller {
                self.replace(now, env, peer, older, conn);
            } else {
                self.close(now, env, conn, CloseCode::Replaced);
            }
            return;
        }
        if let Some(entry) = self.session(peer).conns.get_mut(&conn) {
            entry.waits_for_probe = true;
        }
        self.actions.push_back(Action::Probe { conn: older });
    }

    /// The older connection was asked for a sign of life; the newer one replaces it, unless two instances are alive.
    pub(super) fn probed(&mut self, now: Millis, env: &mut dyn Env, older: ConnId, boot: Option<BootNonce>) {
        let Some(peer) = self.conns.get(&older).copied() else { return };
        let session = self.session(peer);
        let waiting = session.conns.iter().find(|(_, conn)| conn.waits_for_probe);
        let Some((newer, entry)) = waiting.map(|(newer, entry)| (*newer, entry)) else { return };
        let newer_boot = entry.hello.as_ref().map(|hello| hello.boot);
        if boot.is_some() && boot != newer_boot {
            // Both are told. The one whose connection was there first may say HELLO again at once.
            for (conn, retry_after) in [(older, Duration::ZERO), (newer, SECOND_INSTANCE_PAUSE)] {
                self.actions.push_back(Action::NotNow { conn, reason: NotNowReason::SecondInstance, retry_after });
            }
            self.notice(Notice::SecondInstance { peer });
            return self.close(now, env, newer, CloseCode::Replaced);
        }
        self.replace(now, env, peer, older, newer);
    }

    /// Lets a newer connection take the place of an older one. The peer was up all the while: nobody is told otherwise.
    fn replace(&mut self, now: Millis, env: &mut dyn Env, peer: NodeName, older: ConnId, newer: ConnId) {
        let session = self.session(peer);
        if session.chosen == Some(older) {
            session.reset();
        }
        self.close(now, env, older, CloseCode::Replaced);
        self.choose(now, env, peer, newer);
    }

    /// Keeps this connection and compares the logs.
    fn choose(&mut self, now: Millis, env: &mut dyn Env, peer: NodeName, conn: ConnId) {
        self.say_hello(now, peer, conn);
        let session = self.session(peer);
        session.reset();
        session.chosen = Some(conn);
        session.dial_at = None;
        let Some(entry) = session.conns.get_mut(&conn) else { return };
        entry.waits_for_probe = false;
        let Some(hello) = entry.hello.clone() else { return };
        let restricted = entry.restricted;
        session.last_boot = Some(hello.boot);
        session.window = hello.window;
        if restricted {
            return;
        }
        session.step = Step::Ready;
        let clock_offset_ms = session.clock_offset_ms.unwrap_or(0);
        self.notice(Notice::Up { peer, clock_offset_ms });
        self.compare_held(now, env, peer, &hello.mine);
        self.compare_own(now, env, peer, &hello.yours);
    }

    pub(super) fn close(&mut self, now: Millis, env: &mut dyn Env, conn: ConnId, code: CloseCode) {
        self.actions.push_back(Action::Close { conn, code });
        self.closed(now, env, conn);
    }

    pub(super) fn closed(&mut self, now: Millis, env: &mut dyn Env, conn: ConnId) {
        let Some(peer) = self.conns.remove(&conn) else { return };
        let session = self.session(peer);
        let silent = session.conns.remove(&conn).is_some_and(|entry| entry.hello.is_none());
        if session.chosen == Some(conn) {
            session.reset();
            // A newer connection may be waiting for the probe of this one.
            let waiting = session.conns.iter().find(|(_, entry)| entry.waits_for_probe).map(|(id, _)| *id);
            if let Some(newer) = waiting {
                return self.choose(now, env, peer, newer);
            }
            self.notice(Notice::Down { peer });
        }
        let session = self.session(peer);
        if silent && session.conns.is_empty() {
            // It came to no HELLO: for the pauses this is a failed attempt, most often a certificate that is refused.
            session.failures = session.failures.saturating_add(1);
        }
        // Nor is a peer whose words cannot be dialled again at once.
        let (faults, failures) = (session.peer_faults.min(16), session.failures);
        let pause = match (faults, failures) {
            (0, 0) => REDIAL,
            (0, _) => back_off(failures),
            _ => BACKOFF_FIRST.saturating_mul(1 << faults),
        };
        let pause = pause.min(self.settings.backoff_max);
        self.plan_dial(now, env, peer, pause);
    }

    pub(super) fn dial_failed(&mut self, now: Millis, env: &mut dyn Env, peer: NodeName) {
        let max = self.settings.backoff_max;
        let session = self.session(peer);
        session.dialling = false;
        session.failures = session.failures.saturating_add(1);
        let pause = back_off(session.failures).min(max);
        self.plan_dial(now, env, peer, pause);
    }

    fn plan_dial(&mut self, now: Millis, env: &mut dyn Env, peer: NodeName, pause: Duration) {
        let mut random = [0; 2];
        env.random(&mut random);
        // Up to a quarter more, so that two nodes do not dial in step for ever.
        let jitter = pause.mul_f64(f64::from(u16::from_be_bytes(random)) / f64::from(u16::MAX) / 4.0);
        let active = self.is_active(peer);
        let session = self.session(peer);
        if active && session.conns.is_empty() && !session.dialling {
            let earliest = session.dial_not_before.unwrap_or(now);
            session.dial_at = Some(now.after(pause + jitter).max(earliest));
        }
    }

    pub(super) fn not_now(
        &mut self,
        now: Millis,
        env: &mut dyn Env,
        conn: ConnId,
        reason: NotNowReason,
        retry_after: Duration,
    ) {
        let Some(peer) = self.conns.get(&conn).copied() else { return };
        let session = self.session(peer);
        if reason == NotNowReason::Restricted {
            return self.restricted_there(peer, conn);
        }
        // The peer's word is bounded: it cannot make this node wait for ever.
        let pause = retry_after.clamp(Duration::from_millis(100), Duration::from_secs(300));
        if reason == NotNowReason::SecondInstance && !mutant::active(Mutant::SignWhenTold) {
            // Whoever else speaks under these keys may have been heard since the Hellos: nothing is signed before new
            // ones are compared.
            session.dial_not_before = Some(now.after(pause));
            self.notice(Notice::NotNow { peer, reason });
            return self.close(now, env, conn, CloseCode::Replaced);
        }
        if session.chosen != Some(conn) {
            return;
        }
        session.not_now_until = Some(now.after(pause));
        session.quota_pause = reason == NotNowReason::Quota;
        session.drop_outstanding();
        self.heard_not_now(peer, reason);
        self.resume_from_held(peer);
        self.notice(Notice::NotNow { peer, reason });
    }
    /// The peer takes nothing but trust material over this connection: what waits goes on waiting in the queue, where it
    /// can be cancelled and may expire.
    fn restricted_there(&mut self, peer: NodeName, conn: ConnId) {
        let session = self.session(peer);
        let Some(entry) = session.conns.get_mut(&conn) else { return };
        if std::mem::replace(&mut entry.restricted, true) {
            return;
        }
        if session.chosen == Some(conn) {
            session.step = Step::Down;
            session.drop_outstanding();
        }
        self.notice(Notice::NotNow { peer, reason: NotNowReason::Restricted });
    }
}

/// The pause after so many failed attempts in a row, at least one.
fn back_off(failures: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16))
}
