//! What goes wrong, and how it ends.

use verbale::exchange::{Change, Command, Doubt, Input};
use verbale::name::NodeName;

use super::keys::SimEnv;
use super::ledger::Ledger;
use super::wire::{End, IDLE_TIMEOUT};
use super::world::{Event, Instance, Verdict, World};

impl World {
    /// Starts all nodes, introduces them to each other, and lets trouble begin.
    pub fn begin(&mut self) -> Verdict {
        self.troubled = false;
        for who in 0..self.instances.len() {
            self.start(who)?;
            if self.instances[who].liar.is_some() {
                let name = self.instances[who].name;
                self.oracle.unsteady.insert(name);
                self.after(50, Event::Lie { who });
                continue;
            }
            for peer in self.names.clone() {
                if peer != self.instances[who].name {
                    let command = self.introduction(peer);
                    self.feed(who, vec![Input::Command(command, None)])?;
                }
            }
            // The ceremony is over before anything goes wrong.
            for _ in 0..100 {
                self.durable(who)?;
            }
            let prepared = self.instances[who].disk.records.len();
            self.instances[who].disk.prepared = prepared;
        }
        self.troubled = true;
        self.after(10, Event::People);
        self.after(500, Event::Chaos);
        Ok(())
    }

    fn introduction(&self, peer: NodeName) -> Command {
        Command::AddPeer {
            peer,
            introduction: "introduction".into(),
            fingerprint: "read aloud".into(),
            keys: vec![self.keys[&peer].clone()],
            ceremony: "{}".into(),
            officer: 1,
        }
    }

    fn some_running(&mut self) -> Option<usize> {
        let running: Vec<usize> = (0..self.instances.len()).filter(|who| self.instances[*who].core.is_some()).collect();
        self.rng.pick(&running).copied()
    }

    /// One thing goes wrong.
    pub fn trouble(&mut self) -> Verdict {
        if !self.troubled {
            return Ok(());
        }
        let pause = if self.rng.chance(300) { self.rng.between(1, 100) } else { self.rng.between(100, 4_000) };
        self.after(pause, Event::Chaos);
        let Some(who) = self.some_running() else { return Ok(()) };
        let plan = self.plan.clone();
        match self.rng.below(12) {
            0 | 1 if plan.crashes => self.crash(who)?,
            2 | 3 if plan.cuts => self.cut(),
            4 | 5 => self.lose_a_connection(),
            6 if plan.jumps => self.jump(who),
            7 if plan.full_disks && !self.instances[who].disk.full => {
                self.instances[who].disk.full = true;
                self.instances[who].env.full = self.rng.chance(700);
                self.note(|| format!("#{who}: the disk is full"));
                let (pause, run) = (self.rng.between(500, 60_000), self.instances[who].run);
                self.after(pause, Event::DiskRoom { who, run });
            }
            8 if plan.restores || plan.silent_restores => self.restore(who)?,
            9 if plan.clones && self.instances.len() < 6 => self.clone_of(who)?,
            10 if plan.damage => self.damage(who),
            11 if plan.suspensions => self.suspend(who)?,
            _ => {}
        }
        Ok(())
    }

    fn cut(&mut self) {
        let from = *self.rng.pick(&self.names).expect("names");
        let to = *self.rng.pick(&self.names).expect("names");
        let pairs = if self.rng.chance(500) { vec![(from, to)] } else { vec![(from, to), (to, from)] };
        let length = if self.rng.chance(500) { self.rng.between(100, 5_000) } else { self.rng.between(5_000, 120_000) };
        for pair in pairs.into_iter().filter(|(from, to)| from != to) {
            self.note(|| format!("{}→{} is cut for {length} ms", pair.0, pair.1));
            self.cuts.insert(pair);
            self.after(length, Event::Heal { pair });
        }
    }

    fn lose_a_connection(&mut self) {
        let open = |link: &usize| !self.links[*link].is_dead();
        let open: Vec<usize> = (0..self.links.len()).filter(open).collect();
        if let Some(link) = self.rng.pick(&open).copied() {
            let end = self.rng.below(2) as End;
            self.after(0, Event::Closed { link, end });
        }
    }

    fn jump(&mut self, who: usize) {
        let far = if self.rng.chance(100) { 86_400_000 } else { 600_000 };
        let by = self.rng.between(0, 2 * far) as i64 - far as i64;
        self.instances[who].offset += by;
        self.note(|| format!("#{who}: the clock jumps by {by} ms"));
    }

    fn damage(&mut self, who: usize) {
        let peer = *self.rng.pick(&self.names).expect("names");
        let slots = self.instances[who].disk.slots_for(peer);
        if let Some(slot) = self.rng.pick(&slots).copied() {
            self.note(|| format!("#{who}: slot {slot} can no longer be read"));
            self.instances[who].disk.lost_slots.insert(slot);
        }
    }

    fn suspend(&mut self, who: usize) -> Verdict {
        let peer = *self.rng.pick(&self.names).expect("names");
        let change = if self.rng.chance(300) { Change::Suspended } else { Change::Resumed };
        let command = Command::ChangePeer { peer, change, officer: 1 };
        self.feed(who, vec![Input::Command(command, None)])
    }

    /// The process ends at once; the group being written is there afterwards or not.
    pub fn crash(&mut self, who: usize) -> Verdict {
        let pause = if self.rng.chance(600) { self.rng.between(10, 2_000) } else { self.rng.between(2_000, 90_000) };
        self.stop(who)?;
        self.after(pause, Event::Start { who });
        Ok(())
    }

    pub fn stop(&mut self, who: usize) -> Verdict {
        if self.instances[who].core.take().is_none() {
            return Ok(());
        }
        let kept = self.rng.chance(500);
        self.note(|| format!("#{who} crashes; the group being written is {}", if kept { "kept" } else { "lost" }));
        if kept {
            self.settle_group(who)?;
        } else {
            self.instances[who].disk.writing = None;
        }
        let instance = &mut self.instances[who];
        instance.disk.full = false;
        instance.env.full = false;
        instance.wake = None;
        instance.run += 1;
        let conns = std::mem::take(&mut instance.conns);
        let mut halves: Vec<(usize, End)> = conns.into_values().collect();
        // Connections that were not yet up end as well.
        for (link, state) in self.links.iter().enumerate() {
            halves.extend(
                (0..2)
                    .filter(|end| state.halves[*end].instance == who && state.halves[*end].open)
                    .map(|end| (link, end)),
            );
        }
        for (link, end) in halves {
            self.links[link].halves[end].open = false;
            let delay = if self.rng.chance(500) { self.rng.between(1, 500) } else { IDLE_TIMEOUT };
            self.after(delay, Event::Closed { link, end: 1 - end });
        }
        Ok(())
    }

    /// A folder is put back to an earlier state; sometimes on both sides of a pair.
    fn restore(&mut self, who: usize) -> Verdict {
        let both = self.rng.chance(200);
        self.restore_one(who)?;
        if let Some(other) = self.some_running().filter(|_| both) {
            self.restore_one(other)?;
        }
        Ok(())
    }

    fn restore_one(&mut self, who: usize) -> Verdict {
        let silent = self.plan.silent_restores && (!self.plan.restores || self.rng.chance(500));
        self.crash(who)?;
        let instance = &mut self.instances[who];
        let all = instance.disk.groups();
        let back = self.rng.between(0, 12).min(all as u64) as usize;
        let earlier = if self.rng.chance(800) { all - back } else { self.rng.below(all as u64 + 1) as usize };
        instance.disk = instance.disk.earlier(earlier);
        let doubt = if self.rng.chance(500) { Doubt::Sentinel } else { Doubt::Restored };
        instance.doubt = (!silent).then_some(doubt);
        let (name, records) = (instance.name, instance.disk.records.len());
        self.note(|| format!("{name}#{who} is put back to {records} records, silently: {silent}"));
        self.reread_ledger(who)?;
        self.oracle.restored.insert(name);
        self.oracle.left.forget(name);
        if silent {
            self.oracle.forgetful.insert(name);
        }
        self.forget();
        Ok(())
    }

    /// A second copy of a node comes to life.
    fn clone_of(&mut self, who: usize) -> Verdict {
        let groups = self.instances[who].disk.groups();
        let earlier = if self.rng.chance(500) { groups } else { self.rng.below(groups as u64 + 1) as usize };
        let told = self.rng.chance(300);
        let original = &self.instances[who];
        let (name, keys) = (original.name, original.env.keys.clone());
        let copy = Instance {
            name,
            core: None,
            env: SimEnv { rng: self.rng.split(), keys, next_slot: original.env.next_slot + 1_000_000, full: false },
            disk: original.disk.earlier(earlier),
            ledger: Ledger::default(),
            shadow: Default::default(),
            offset: 0,
            run: 0,
            boot: original.boot,
            journal: original.journal,
            settings: original.settings.clone(),
            conns: Default::default(),
            windows: Default::default(),
            compared: Default::default(),
            wake: None,
            spins: 0,
            doubt: told.then_some(Doubt::Sentinel),
            gone: false,
            liar: None,
        };
        self.instances.push(copy);
        let clone = self.instances.len() - 1;
        self.note(|| format!("{name}#{who} is copied to #{clone}, told: {told}"));
        self.exempt(name);
        self.start(clone)?;
        self.forget();
        Ok(())
    }

    /// Everything that can be mended from outside is mended; people stay at their desks.
    pub fn heal(&mut self) -> Verdict {
        self.troubled = false;
        self.note(|| "the world heals".into());
        for pair in self.cuts.clone() {
            self.uncut(pair);
        }
        for name in self.names.clone() {
            let same: Vec<usize> = (0..self.instances.len()).filter(|who| self.instances[*who].name == name).collect();
            let survivor = *self.rng.pick(&same).expect("every node has an instance");
            for who in same.into_iter().filter(|who| *who != survivor) {
                self.stop(who)?;
                self.instances[who].gone = true;
            }
        }
        for who in 0..self.instances.len() {
            self.instances[who].offset = self.rng.below(2_000) as i64 - 1_000;
            if self.instances[who].core.is_some() {
                self.disk_room(who)?;
            }
            self.start(who)?;
        }
        self.after(1_000, Event::Look);
        Ok(())
    }

    /// People do what the node asks of them: resume, reopen, recover.
    pub fn mend(&mut self) -> Verdict {
        for who in 0..self.instances.len() {
            let instance = &self.instances[who];
            let Some(core) = &instance.core else { continue };
            let mut commands = Vec::new();
            if core.fold().fenced.is_some() {
                commands.push(Command::Recover { officer: 1 });
            }
            for peer in &instance.ledger.suspended {
                commands.push(Command::ChangePeer { peer: *peer, change: Change::Resumed, officer: 1 });
            }
            for (name, peer) in &core.fold().peers {
                let frozen = [&peer.own.frozen, &peer.theirs.frozen].into_iter().flatten();
                if frozen.filter(|frozen| !frozen.agreed).count() > 0 {
                    commands.push(Command::Reopen { peer: *name, officer: 1 });
                }
            }
            let inputs = commands.into_iter().map(|command| Input::Command(command, None)).collect();
            self.feed(who, inputs)?;
        }
        Ok(())
    }
}
