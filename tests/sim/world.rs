//! A whole world from a seed: instances of nodes, their disks and clocks, the network between them, and what goes wrong.

use std::collections::{BTreeMap, BTreeSet};

use verbale::exchange::{ConnId, Core, Dialler, Doubt, Fold, Input, Settings};
use verbale::name::{BootNonce, JournalId, Millis, NodeName};
use verbale::note::PublicKeys;

use super::disk::Disk;
use super::keys::{Keys, SimEnv};
use super::ledger::Ledger;
use super::liar::Liar;
use super::oracle::Oracle;
use super::people::People;
use super::rng::Rng;
use super::wire::{End, Half, IDLE_TIMEOUT, Link, Message};

/// What must hold held, or what did not.
pub type Verdict = Result<(), String>;

/// The first moment of every world, in milliseconds since 1970: 1 March 2026.
const EPOCH: u64 = 1_772_366_400_000;

/// Milliseconds within which a HELLO must come.
const HELLO_TIMEOUT: u64 = 10_000;

/// More events than any world needs; beyond them something turns in circles.
const MAX_EVENTS: u64 = 100_000;

/// One running copy of a node: its process and its folder.
pub struct Instance {
    pub name: NodeName,
    /// `None` while it is down.
    pub core: Option<Core>,
    pub env: SimEnv,
    pub disk: Disk,
    pub ledger: Ledger,
    /// The fold over what is durable, kept beside the live one.
    pub shadow: Fold,
    /// Own clock minus true time.
    pub offset: i64,
    /// Counts starts.
    pub run: u64,
    pub boot: BootNonce,
    pub journal: JournalId,
    pub settings: Settings,
    pub conns: BTreeMap<ConnId, (usize, End)>,
    /// Windows announced to this instance.
    pub windows: BTreeMap<NodeName, u64>,
    /// Peers with which both Hellos passed since the last group was given out.
    pub compared: BTreeSet<NodeName>,
    pub wake: Option<u64>,
    pub spins: u32,
    /// Told at the next start.
    pub doubt: Option<Doubt>,
    /// Folder and all are gone for good.
    pub gone: bool,
    pub liar: Option<Liar>,
}

/// What happens at a moment.
#[derive(Debug)]
pub enum Event {
    Arrive {
        link: usize,
        end: End,
        message: Message,
    },
    Connected {
        link: usize,
        end: End,
    },
    Closed {
        link: usize,
        end: End,
    },
    Durable {
        who: usize,
        run: u64,
    },
    Wake {
        who: usize,
        run: u64,
    },
    /// A connection on which no HELLO has come is closed.
    NoHello {
        link: usize,
        end: End,
    },
    /// What came early may be readable now.
    Early {
        link: usize,
        end: End,
    },
    ProbeTimeout {
        link: usize,
        end: End,
        number: u64,
    },
    Feed {
        who: usize,
        run: u64,
        input: Box<Input>,
    },
    Start {
        who: usize,
    },
    DiskRoom {
        who: usize,
        run: u64,
    },
    Heal {
        pair: (NodeName, NodeName),
    },
    People,
    Chaos,
    Lie {
        who: usize,
    },
    Look,
}

/// What may go wrong in one world, drawn from its seed: most worlds have a few troubles, not all at once.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub nodes: usize,
    /// Messages that people send in the troubled time.
    pub messages: u64,
    pub crashes: bool,
    pub cuts: bool,
    pub jumps: bool,
    pub restores: bool,
    /// Restores that nobody notices.
    pub silent_restores: bool,
    pub clones: bool,
    pub full_disks: bool,
    pub liar: bool,
    pub expiry: bool,
    pub suspensions: bool,
    pub damage: bool,
    pub small_window: bool,
    pub real_keys: bool,
}

impl Plan {
    pub fn of(rng: &mut Rng) -> Self {
        Self {
            nodes: rng.between(2, 4) as usize,
            messages: rng.between(5, 60),
            crashes: rng.chance(600),
            cuts: rng.chance(600),
            jumps: rng.chance(300),
            restores: rng.chance(250),
            silent_restores: rng.chance(150),
            clones: rng.chance(120),
            full_disks: rng.chance(200),
            liar: rng.chance(400),
            expiry: rng.chance(400),
            suspensions: rng.chance(150),
            damage: rng.chance(100),
            small_window: rng.chance(300),
            real_keys: false,
        }
    }
}

pub struct World {
    pub rng: Rng,
    pub plan: Plan,
    /// True time since the beginning, in milliseconds.
    pub time: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Event>,
    pub instances: Vec<Instance>,
    pub links: Vec<Link>,
    pub names: Vec<NodeName>,
    pub keys: BTreeMap<NodeName, PublicKeys>,
    pub judge: Keys,
    /// Directed cuts: from, to.
    pub cuts: BTreeSet<(NodeName, NodeName)>,
    pub oracle: Oracle,
    pub people: People,
    /// Things still go wrong.
    pub troubled: bool,
    pub settled: bool,
    next_conn: u64,
    next_number: u64,
    pub trace: Option<Vec<String>>,
    pub events: u64,
}

impl World {
    pub fn new(seed: u64, plan: Option<Plan>, traced: bool) -> Self {
        let mut rng = Rng::new(seed);
        let drawn = Plan::of(&mut rng);
        let plan = plan.unwrap_or(drawn);
        let names: Vec<NodeName> = ["XA", "XB", "XC", "XD"].iter().map(|name| name.parse().unwrap()).collect();
        let names = names[..plan.nodes].to_vec();
        let keys: BTreeMap<_, _> = names.iter().map(|name| (*name, Keys::of(*name, plan.real_keys))).collect();
        let judge = keys[&names[0]].clone();
        let mut world = Self {
            plan,
            time: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            instances: Vec::new(),
            links: Vec::new(),
            keys: keys.iter().map(|(name, keys)| (*name, keys.public.clone())).collect(),
            judge,
            cuts: BTreeSet::new(),
            oracle: Oracle::default(),
            people: People::default(),
            troubled: true,
            settled: false,
            next_conn: 0,
            next_number: 0,
            trace: traced.then(Vec::new),
            events: 0,
            names: names.clone(),
            rng,
        };
        for (at, name) in names.iter().enumerate() {
            let liar = world.plan.liar && at + 1 == names.len();
            let instance = world.instance(*name, keys[name].clone(), liar);
            world.instances.push(instance);
        }
        // A liar is given little room in every other world; drawn apart, so that the other worlds stay what they are.
        let mut greed = Rng::new(seed).split();
        if let Some(liar) = names.last().filter(|_| world.plan.liar && greed.chance(500)) {
            let quota = greed.between(10_000, 300_000);
            for instance in &mut world.instances {
                instance.settings.bytes_per_day_of.insert(*liar, quota);
            }
        }
        world
    }

    fn instance(&mut self, name: NodeName, keys: Keys, liar: bool) -> Instance {
        let mut journal = [0; 16];
        self.rng.fill(&mut journal);
        // Of what is drawn already, so that nothing else shifts.
        let greed = Rng::new(u64::from_be_bytes(*journal.first_chunk().expect("sixteen bytes")));
        let window = if self.plan.small_window { self.rng.between(300, 3_000) } else { 8 << 20 };
        let env = SimEnv { rng: self.rng.split(), keys: keys.clone(), next_slot: 0, full: false };
        Instance {
            name,
            core: None,
            env,
            disk: Disk::default(),
            ledger: Ledger::default(),
            shadow: Fold::default(),
            offset: 0,
            run: 0,
            boot: BootNonce([0; 16]),
            journal: JournalId(journal),
            settings: Settings { window, ..Settings::default() },
            conns: BTreeMap::new(),
            windows: BTreeMap::new(),
            compared: BTreeSet::new(),
            wake: None,
            spins: 0,
            doubt: None,
            gone: false,
            liar: liar.then(|| Liar::new(name, keys, greed)),
        }
    }

    pub fn note(&mut self, line: impl FnOnce() -> String) {
        let time = self.time;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>8}.{:03} {}", time / 1000, time % 1000, line()));
        }
    }

    pub fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// The own clock of an instance.
    pub fn now(&self, who: usize) -> Millis {
        Millis((EPOCH + self.time).saturating_add_signed(self.instances[who].offset))
    }

    pub fn after(&mut self, delay: u64, event: Event) {
        self.at(self.time + delay, event);
    }

    pub fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((time, self.sequence), event);
    }

    /// Runs until the world has settled, or says what does not hold.
    pub fn run(&mut self) -> Verdict {
        self.begin()?;
        while !self.settled {
            let Some(((time, _), event)) = self.queue.pop_first() else {
                return Err("nothing happens any more".into());
            };
            self.time = time;
            self.events += 1;
            if self.events > MAX_EVENTS {
                return Err(format!("the world does not come to rest: {event:?}"));
            }
            self.happen(event)?;
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Verdict {
        match event {
            Event::Arrive { link, end, message } => self.arrive(link, end, message),
            Event::Connected { link, end } => self.connected(link, end),
            Event::Closed { link, end } => self.closed(link, end),
            Event::Durable { who, run } if self.is_run(who, run) => self.durable(who),
            Event::Wake { who, run } if self.is_run(who, run) && self.instances[who].wake == Some(self.time) => {
                self.instances[who].wake = None;
                self.wake(who)
            }
            Event::NoHello { link, end } if !self.links[link].halves[end].got_hello => self.closed(link, end),
            Event::Early { link, end } => self.read_early(link, end),
            Event::ProbeTimeout { link, end, number } => self.probe_timeout(link, end, number),
            Event::Feed { who, run, input } if self.is_run(who, run) => self.feed(who, vec![*input]),
            Event::Start { who } => self.start(who),
            Event::DiskRoom { who, run } if self.is_run(who, run) => self.disk_room(who),
            Event::Heal { pair } => {
                self.uncut(pair);
                Ok(())
            }
            Event::People => self.people_act(),
            Event::Chaos => self.trouble(),
            Event::Lie { who } => self.lie(who),
            Event::Look => self.look(),
            _ => Ok(()),
        }
    }

    fn is_run(&self, who: usize, run: u64) -> bool {
        let instance = &self.instances[who];
        instance.run == run && instance.core.is_some()
    }

    fn latency(&mut self) -> u64 {
        if self.troubled && self.rng.chance(50) { self.rng.between(50, 5_000) } else { self.rng.between(1, 40) }
    }

    /// Dials `peer`: reaches one of its running instances, or nobody.
    pub fn dial(&mut self, who: usize, peer: NodeName) {
        let me = self.instances[who].name;
        let up = |instance: &Instance| instance.name == peer && (instance.core.is_some() || instance.liar.is_some());
        let running: Vec<usize> = (0..self.instances.len()).filter(|at| up(&self.instances[*at])).collect();
        let cut = self.cuts.contains(&(me, peer)) || self.cuts.contains(&(peer, me));
        let latency = self.latency();
        let target = self.rng.pick(&running).copied().filter(|_| !cut);
        let Some(target) = target else {
            let (run, input) = (self.instances[who].run, Box::new(Input::DialFailed { peer }));
            return self.after(latency, Event::Feed { who, run, input });
        };
        let halves = [self.half(who), self.half(target)];
        let link = self.links.len();
        self.links.push(Link::new(halves));
        self.after(latency, Event::Connected { link, end: 0 });
        let latency = self.latency();
        self.after(latency, Event::Connected { link, end: 1 });
    }

    fn half(&mut self, instance: usize) -> Half {
        self.next_conn += 1;
        Half {
            instance,
            run: self.instances[instance].run,
            conn: ConnId(self.next_conn),
            open: true,
            told: false,
            reads: 0,
            writes: 0,
            sent_hello: false,
            got_hello: false,
            hello_again: false,
            told_of_another: false,
            fetches: BTreeMap::new(),
            early: Default::default(),
            probing: None,
        }
    }

    fn connected(&mut self, link: usize, end: End) -> Verdict {
        let half = &mut self.links[link].halves[end];
        let (who, run, conn) = (half.instance, half.run, half.conn);
        if !half.open || self.instances[who].run != run {
            return Ok(());
        }
        half.told = true;
        let peer = self.peer_of(link, end);
        if self.instances[who].liar.is_some() {
            return self.liar_connected(link, end);
        }
        if self.instances[who].core.is_none() {
            return Ok(());
        }
        self.instances[who].conns.insert(conn, (link, end));
        self.after(HELLO_TIMEOUT, Event::NoHello { link, end });
        let dialler = if end == 0 { Dialler::Us } else { Dialler::Them };
        self.feed(who, vec![Input::Connected { conn, peer, dialler, restricted: false }])
    }

    pub fn peer_of(&self, link: usize, end: End) -> NodeName {
        self.instances[self.links[link].halves[1 - end].instance].name
    }

    /// Sends from one end to the other; each stream keeps its order.
    pub fn send(&mut self, link: usize, end: End, message: Message) {
        if !self.links[link].halves[end].open {
            return;
        }
        let (latency, to) = (self.latency(), 1 - end);
        let last = self.links[link].last[to].get(&message.stream()).copied().unwrap_or(0);
        let time = last.max(self.time + latency);
        self.links[link].last[to].insert(message.stream(), time);
        self.at(time, Event::Arrive { link, end: to, message });
    }

    fn arrive(&mut self, link: usize, end: End, message: Message) -> Verdict {
        let (from, to) = (self.peer_of(link, end), self.peer_of(link, 1 - end));
        let half = &self.links[link].halves[end];
        if !half.open || self.instances[half.instance].run != half.run {
            return Ok(());
        }
        if self.cuts.contains(&(from, to)) {
            let link_state = &mut self.links[link];
            link_state.held[end].push_back(message);
            if link_state.cut_since[end].is_none() {
                link_state.cut_since[end] = Some(self.time);
                // Without an answer both ends give up, each in its own time.
                let (one, other) = (self.rng.below(5_000), self.rng.below(5_000));
                self.after(IDLE_TIMEOUT + one, Event::Closed { link, end });
                self.after(IDLE_TIMEOUT + other, Event::Closed { link, end: 1 - end });
            }
            return Ok(());
        }
        if !half.told {
            // Bytes may come before the handshake is known to be over; the endpoint keeps them.
            self.after(1, Event::Arrive { link, end, message });
            return Ok(());
        }
        let early = message.waits_for_choice() && (!half.early.is_empty() || !self.is_chosen(link, end));
        if early {
            self.links[link].halves[end].early.push_back(message);
            self.after(5, Event::Early { link, end });
            return Ok(());
        }
        self.receive(link, end, message)
    }

    fn is_chosen(&self, link: usize, end: End) -> bool {
        let half = &self.links[link].halves[end];
        let instance = &self.instances[half.instance];
        instance.liar.is_some() || instance.core.as_ref().is_some_and(|core| core.may_serve(half.conn).is_some())
    }

    /// Streams other than control are not read until the connection is chosen; arriving early is no error.
    fn read_early(&mut self, link: usize, end: End) -> Verdict {
        let half = &self.links[link].halves[end];
        if !half.open || self.instances[half.instance].run != half.run || half.early.is_empty() {
            return Ok(());
        }
        if !self.is_chosen(link, end) {
            self.after(50, Event::Early { link, end });
            return Ok(());
        }
        let message = self.links[link].halves[end].early.pop_front().expect("not empty");
        self.after(0, Event::Early { link, end });
        self.receive(link, end, message)
    }

    /// Ends a cut; what it held back travels on, unless the ends have given up.
    pub fn uncut(&mut self, (from, to): (NodeName, NodeName)) {
        if !self.cuts.remove(&(from, to)) {
            return;
        }
        self.note(|| format!("{from}→{to} passes again"));
        for link in 0..self.links.len() {
            for end in [0, 1] {
                let mut held = std::mem::take(&mut self.links[link].held[end]);
                let gone = held.is_empty() || self.peer_of(link, end) != from || self.peer_of(link, 1 - end) != to;
                if gone {
                    self.links[link].held[end] = held;
                    continue;
                }
                self.links[link].cut_since[end] = None;
                for message in held.drain(..) {
                    let last = self.links[link].last[end].get(&message.stream()).copied().unwrap_or(0);
                    let time = last.max(self.time + 1);
                    self.links[link].last[end].insert(message.stream(), time);
                    self.at(time, Event::Arrive { link, end, message });
                }
            }
        }
    }

    /// One end notices that the connection is over.
    fn closed(&mut self, link: usize, end: End) -> Verdict {
        if !self.links[link].halves[end].open {
            return Ok(());
        }
        let half = &mut self.links[link].halves[end];
        half.open = false;
        let (who, run, conn, told) = (half.instance, half.run, half.conn, half.told);
        let fetches = std::mem::take(&mut half.fetches);
        let probing = half.probing.take();
        // The other end hears of it, unless it is cut off: then it gives up by itself.
        let delay = if self.rng.chance(700) { self.latency() } else { IDLE_TIMEOUT + self.rng.below(5_000) };
        self.after(delay, Event::Closed { link, end: 1 - end });
        let instance = &mut self.instances[who];
        instance.conns.remove(&conn);
        if instance.run != run || instance.core.is_none() {
            return Ok(());
        }
        let peer = self.peer_of(link, end);
        let mut inputs = Vec::new();
        for (origin, from) in fetches.into_values() {
            let result = Err(verbale::exchange::FetchFault::Ended);
            inputs.push(Input::Fetched { conn, origin, from, result });
        }
        if probing.is_some() {
            inputs.push(Input::Probed { conn, boot: None });
        }
        if told {
            inputs.push(Input::Closed { conn });
        } else if end == 0 {
            inputs.push(Input::DialFailed { peer });
        }
        if self.rng.chance(300) {
            inputs.reverse();
        }
        self.feed(who, inputs)
    }

    fn probe_timeout(&mut self, link: usize, end: End, number: u64) -> Verdict {
        let half = &mut self.links[link].halves[end];
        if half.probing != Some(number) || !half.open {
            return Ok(());
        }
        half.probing = None;
        let (who, run, conn) = (half.instance, half.run, half.conn);
        if self.is_run(who, run) { self.feed(who, vec![Input::Probed { conn, boot: None }]) } else { Ok(()) }
    }
}
