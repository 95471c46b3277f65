//! What the daemon's shell does around a core, without files and sockets: feeds it, performs its actions, reports back.

use verbale::exchange::{Action, Core, Effect, EntryRef, Input, Place, Pushed};
use verbale::merkle::CompactRange;
use verbale::name::{BootNonce, Origin};
use verbale::wire::{Absent, EntryFrame, Payload};

use super::ledger::{Known, Ledger};
use super::wire::{End, Message};
use super::world::{Event, Verdict, World};

/// More actions at one moment than any core has to do.
const MAX_ACTIONS: u64 = 20_000;

/// Wakings in a row that leave the same timer overdue.
const MAX_SPINS: u32 = 100;

impl World {
    /// Starts an instance on what its disk has.
    pub fn start(&mut self, who: usize) -> Verdict {
        let now = self.now(who);
        let instance = &mut self.instances[who];
        if instance.core.is_some() || instance.gone || instance.liar.is_some() {
            return Ok(());
        }
        instance.run += 1;
        instance.env.rng.fill(&mut instance.boot.0);
        let fold = instance.disk.fold();
        if let Some(from_snapshot) = instance.disk.fold_from_snapshot()
            && bytes_of(&from_snapshot) != bytes_of(&fold)
        {
            return Err(format!("I11: {}: snapshot and tail give another state", instance.name));
        }
        instance.shadow = fold.clone();
        instance.env.next_slot = instance.env.next_slot.max(fold.slots_used());
        let (name, boot) = (instance.name, BootNonce(instance.boot.0));
        let doubt = instance.doubt.take();
        let settings = instance.settings.clone();
        let core = Core::new(name, fold, settings, boot, instance.journal, doubt, "simulated", now);
        instance.core = Some(core);
        self.oracle.strangers.retain(|(at, _), _| *at != who);
        self.reread_ledger(who)?;
        self.note(|| format!("{name}#{who} starts, {doubt:?}"));
        self.drain(who)
    }

    /// Reads the whole disk anew, as an auditor would.
    pub fn reread_ledger(&mut self, who: usize) -> Verdict {
        let windows = Default::default();
        let (keys, judge, unsteady) = (&self.keys, self.judge.judge(), &self.oracle.unsteady);
        let known = Known { keys, judge, windows: &windows, unsteady };
        let mut ledger = Ledger::default();
        for record in &self.instances[who].disk.records {
            ledger.apply(record, &known).map_err(|what| format!("#{who} at start: {what}"))?;
        }
        self.instances[who].ledger = ledger;
        self.instances[who].windows.clear();
        self.instances[who].compared.clear();
        Ok(())
    }

    /// Hands inputs to a core, then does all that it wants.
    pub fn feed(&mut self, who: usize, inputs: Vec<Input>) -> Verdict {
        let now = self.now(who);
        for input in inputs {
            self.heard(who, &input);
            self.note(|| format!("#{who} ← {}", brief(&input)));
            let instance = &mut self.instances[who];
            if let Some(core) = &mut instance.core {
                core.handle(now, &mut instance.env, input);
            }
        }
        self.drain(who)
    }

    pub fn wake(&mut self, who: usize) -> Verdict {
        let now = self.now(who);
        let instance = &mut self.instances[who];
        if let Some(core) = &mut instance.core {
            core.handle_timeout(now, &mut instance.env);
        }
        self.drain(who)?;
        let now = self.now(who);
        let instance = &mut self.instances[who];
        let overdue = instance.core.as_ref().and_then(Core::poll_timeout).filter(|at| *at <= now);
        instance.spins = if overdue.is_some() { instance.spins + 1 } else { 0 };
        match overdue.filter(|_| instance.spins > MAX_SPINS) {
            None => Ok(()),
            Some(at) => Err(format!("#{who} spins: it wants to be woken at {at} and has been, now is {now}")),
        }
    }

    fn drain(&mut self, who: usize) -> Verdict {
        for count in 0.. {
            if count > MAX_ACTIONS {
                return Err(format!("#{who}: actions without end"));
            }
            if self.troubled && self.plan.crashes && self.rng.chance(1) {
                return self.crash(who);
            }
            let now = self.now(who);
            let instance = &mut self.instances[who];
            let Some(core) = &mut instance.core else { return Ok(()) };
            let Some(action) = core.poll_action(now, &mut instance.env) else { break };
            self.note(|| format!("#{who} → {}", brief(&action)));
            self.perform(who, action)?;
        }
        self.set_alarm(who);
        self.check_fold(who)
    }

    fn set_alarm(&mut self, who: usize) {
        let now = self.now(who);
        let instance = &self.instances[who];
        let Some(at) = instance.core.as_ref().and_then(Core::poll_timeout) else { return };
        let time = self.time + at.0.saturating_sub(now.0).max(1);
        if instance.wake.is_none_or(|set| set > time || set <= self.time) {
            let run = instance.run;
            self.instances[who].wake = Some(time);
            self.at(time, Event::Wake { who, run });
        }
    }

    fn perform(&mut self, who: usize, action: Action) -> Verdict {
        match action {
            Action::Write(group) => {
                self.check_group(who, &group)?;
                let (full, run) = (self.instances[who].disk.full, self.instances[who].run);
                let disk = &mut self.instances[who].disk;
                if disk.writing.replace(group).is_some() {
                    return Err(format!("#{who}: two groups at once"));
                }
                if full {
                    self.after(1, Event::Feed { who, run, input: Box::new(Input::DiskFull) });
                } else {
                    let delay = if self.rng.chance(30) { self.rng.between(20, 3_000) } else { self.rng.between(1, 5) };
                    self.after(delay, Event::Durable { who, run });
                }
                Ok(())
            }
            Action::Release(stored) => {
                self.check_effect(who, stored.get())?;
                self.leave(who, stored.into_inner())
            }
            Action::Dial { peer } => {
                self.dial(who, peer);
                Ok(())
            }
            Action::Close { conn, .. } => {
                if let Some((link, end)) = self.instances[who].conns.get(&conn).copied() {
                    self.after(0, Event::Closed { link, end });
                }
                Ok(())
            }
            Action::Probe { conn } => {
                let number = self.number();
                if let Some((link, end)) = self.instances[who].conns.get(&conn).copied() {
                    let first = *self.links[link].halves[end].probing.get_or_insert(number) == number;
                    if first {
                        self.send(link, end, Message::Probe);
                        self.after(5_000, Event::ProbeTimeout { link, end, number });
                    }
                }
                Ok(())
            }
            Action::NotNow { conn, reason, retry_after } => {
                self.send_on(who, conn, Message::NotNow { reason, retry_after });
                Ok(())
            }
            Action::Fetch { conn, origin, from, to } => {
                let number = self.number();
                if let Some((link, end)) = self.instances[who].conns.get(&conn).copied() {
                    self.links[link].halves[end].fetches.insert(number, (origin, from));
                    self.send(link, end, Message::Fetch { number, origin, from, to });
                } else {
                    let input =
                        Input::Fetched { conn, origin, from, result: Err(verbale::exchange::FetchFault::Ended) };
                    self.later(who, input);
                }
                Ok(())
            }
            Action::RangeAt { origin, size } => {
                let copy = self.instances[who].ledger.own.get(&origin);
                let hashes = copy.and_then(|copy| copy.hashes.get(..size as usize));
                let range = hashes.map(|hashes| {
                    let mut range = CompactRange::default();
                    hashes.iter().for_each(|hash| range.push(*hash));
                    range
                });
                self.later(who, Input::Range { origin, size, range });
                Ok(())
            }
            Action::Load { origin, from, to, bytes_max } => {
                let entries = self.load(who, origin, from, to, bytes_max);
                self.later(who, Input::Loaded { origin, from, entries });
                Ok(())
            }
            Action::Reread { records } => {
                for number in records {
                    let Some(record) = self.instances[who].disk.records.get(number as usize).cloned() else {
                        return Err(format!("#{who} rereads record {number}, which is not durable"));
                    };
                    self.later(who, Input::Reread { record: Box::new(record) });
                }
                Ok(())
            }
            Action::Notice(_) => Ok(()),
        }
    }

    pub fn later(&mut self, who: usize, input: Input) {
        let (run, delay) = (self.instances[who].run, self.rng.between(1, 20));
        self.after(delay, Event::Feed { who, run, input: Box::new(input) });
    }

    fn load(&self, who: usize, origin: Origin, from: u64, to: u64, bytes_max: u64) -> Vec<EntryFrame> {
        let instance = &self.instances[who];
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let leaves = instance.ledger.own.get(&origin).map(|copy| &copy.leaves[..]).unwrap_or_default();
        for (index, leaf) in leaves.iter().enumerate().take(to as usize).skip(from as usize) {
            let place = Place { peer: origin.to, volume: origin.volume, index: index as u64 };
            let payload = instance.disk.own_payload(&place, leaf).unwrap_or(Payload::Absent(Absent::Unavailable));
            bytes += (leaf.bytes().len() + leaf.body_len()) as u64;
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(EntryFrame { index: place.index, leaf: leaf.clone(), payload });
        }
        entries
    }

    fn send_on(&mut self, who: usize, conn: verbale::exchange::ConnId, message: Message) {
        if let Some((link, end)) = self.instances[who].conns.get(&conn).copied() {
            self.send(link, end, message);
        }
    }

    /// Performs what a durable group allows.
    fn leave(&mut self, who: usize, effect: Effect) -> Verdict {
        match effect {
            Effect::Hello { conn, hello } => {
                if let Some((link, end)) = self.instances[who].conns.get(&conn).copied() {
                    self.links[link].halves[end].sent_hello = true;
                    self.compare(link, end);
                    self.send(link, end, Message::Hello(hello));
                }
            }
            Effect::Push { conn, origin, entries, note } => {
                let mut frames = Vec::new();
                for entry in &entries {
                    match self.entry(who, origin, entry) {
                        Some(frame) => frames.push(frame),
                        None => {
                            self.later(who, Input::BodyLost { origin, index: entry.index });
                            return Ok(());
                        }
                    }
                }
                if let Some((link, end)) = self.instances[who].conns.get(&conn).copied() {
                    let stream = self.links[link].halves[end].writes;
                    let pushed = Pushed { entries: frames, note };
                    self.send(link, end, Message::Push { stream, pushed });
                }
            }
            Effect::Cosigned { conn, origin, size, lines, window } => {
                self.send_on(who, conn, Message::Cosigned { origin, size, lines, window });
            }
            Effect::Shows { conn, state } => self.send_on(who, conn, Message::Shows(state)),
            Effect::Fault { conn, code, origin, index, proof } => {
                if let Some((link, end)) = self.instances[who].conns.get(&conn).copied() {
                    self.links[link].halves[end].reads += 1;
                    self.send(link, end, Message::Fault { code, origin, index, proof });
                }
            }
            Effect::Answer { token, answer } => self.answered(who, token, answer)?,
            Effect::Show(_) | Effect::Delivered { .. } => {}
        }
        Ok(())
    }

    /// An entry with its payload, from memory or from the journal.
    fn entry(&self, who: usize, origin: Origin, entry: &EntryRef) -> Option<EntryFrame> {
        let instance = &self.instances[who];
        let place = Place { peer: origin.to, volume: origin.volume, index: entry.index };
        let in_journal = || instance.ledger.own.get(&origin)?.leaves.get(entry.index as usize).cloned();
        let leaf = entry.leaf.clone().or_else(in_journal)?;
        let payload = match (&entry.payload, entry.record) {
            (Some(payload), _) => payload.clone(),
            (None, Some(record)) => instance.disk.queued_payload(record)?,
            (None, None) => instance.disk.own_payload(&place, &leaf)?,
        };
        Some(EntryFrame { index: entry.index, leaf, payload })
    }

    /// A message has come to an end of a connection.
    pub fn receive(&mut self, link: usize, end: End, message: Message) -> Verdict {
        let half = &mut self.links[link].halves[end];
        let (who, conn) = (half.instance, half.conn);
        if self.instances[who].liar.is_some() {
            return self.liar_receives(link, end, message);
        }
        let peer = self.peer_of(link, end);
        let half = &mut self.links[link].halves[end];
        let input = match message {
            Message::Hello(hello) => {
                half.got_another = half.got_hello;
                half.got_hello = true;
                self.compare(link, end);
                Input::Hello { conn, hello }
            }
            Message::NotNow { reason, retry_after } => Input::NotNow { conn, reason, retry_after },
            Message::Probe => {
                let boot = self.instances[who].boot;
                self.send(link, end, Message::ProbeReply { boot });
                return Ok(());
            }
            Message::ProbeReply { boot, .. } => match half.probing.take() {
                Some(_) => Input::Probed { conn, boot: Some(boot) },
                None => return Ok(()),
            },
            Message::Push { stream, pushed } if stream == half.reads => Input::Pushed { conn, pushed },
            Message::Push { .. } => return Ok(()),
            Message::Cosigned { origin, size, lines, window } => Input::Cosigned { conn, origin, size, lines, window },
            Message::Shows(state) => Input::Shows { conn, state },
            Message::Fault { code, origin, index, proof } => {
                half.writes += 1;
                Input::Fault { conn, code, origin, index, proof }
            }
            Message::Fetch { number, origin, from, to } => {
                let result = self.serve(who, conn, peer, origin, from, to);
                self.send(link, end, Message::Fetched { number, result });
                return Ok(());
            }
            Message::Fetched { number, result } => match half.fetches.remove(&number) {
                Some((origin, from)) => Input::Fetched { conn, origin, from, result },
                None => return Ok(()),
            },
        };
        self.feed(who, vec![input])
    }

    fn serve(
        &self,
        who: usize,
        conn: verbale::exchange::ConnId,
        peer: verbale::name::NodeName,
        origin: Origin,
        from: u64,
        to: u64,
    ) -> Result<Pushed, verbale::exchange::FetchFault> {
        let instance = &self.instances[who];
        let ended = verbale::exchange::FetchFault::Ended;
        let serves = instance.core.as_ref().and_then(|core| core.may_serve(conn)) == Some(peer);
        let copy = instance.ledger.held.get(&origin).filter(|_| serves && origin.from == peer).ok_or(ended.clone())?;
        let size = copy.heads.last_key_value().map(|(size, _)| *size).ok_or(ended)?;
        let entry = |index: u64| {
            let place = Place { peer, volume: origin.volume, index };
            let (leaf, payload) = instance.disk.held_entry(&place)?;
            Some(EntryFrame { index, leaf, payload })
        };
        Ok(Pushed { entries: (from..to.min(size)).filter_map(entry).collect(), note: copy.note(origin) })
    }

    /// The outstanding group is durable.
    pub fn durable(&mut self, who: usize) -> Verdict {
        if self.instances[who].disk.full {
            return Ok(());
        }
        let Some(group) = self.settle_group(who)? else { return Ok(()) };
        if self.rng.chance(20) {
            self.instances[who].disk.take_snapshot();
        }
        self.feed(who, vec![Input::Durable { group }])
    }

    /// Makes the outstanding group part of disk, shadow and ledger.
    pub fn settle_group(&mut self, who: usize) -> Result<Option<u64>, String> {
        let instance = &mut self.instances[who];
        let Some(group) = instance.disk.sync() else { return Ok(None) };
        let (keys, judge, unsteady) = (&self.keys, self.judge.judge(), &self.oracle.unsteady);
        let known = Known { keys, judge, windows: &instance.windows, unsteady };
        for (number, record) in (group.first..).zip(&group.records) {
            if Some(record) != instance.disk.records.get(number as usize) {
                return Err(format!("#{who}: record {number} does not read back as written: {record:?}"));
            }
            instance.shadow.apply(number, record);
            instance.ledger.apply(record, &known).map_err(|what| format!("#{who} record {number}: {what}"))?;
        }
        self.check_durable(who, &group)?;
        Ok(Some(group.number))
    }

    pub fn disk_room(&mut self, who: usize) -> Verdict {
        let instance = &mut self.instances[who];
        instance.disk.full = false;
        instance.env.full = false;
        self.note(|| format!("#{who} has room on its disk again"));
        if self.instances[who].disk.writing.is_none() {
            return Ok(());
        }
        self.feed(who, vec![Input::DiskOk])?;
        self.durable(who)
    }
}

pub fn bytes_of(fold: &verbale::exchange::Fold) -> Vec<u8> {
    postcard::to_stdvec(fold).expect("a fold can be stored")
}

/// A debug rendering cut to a readable length.
pub fn brief(what: &impl std::fmt::Debug) -> String {
    let text = format!("{what:?}");
    match text.char_indices().nth(400) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
        None => text,
    }
}
