//! The seam to the network: what comes in becomes inputs of the core, what the core decides becomes orders.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::desk::ping::{Heard, heard};
use super::order::{Node, Order};
use super::push::{Lanes, Ready, Resolved};
use super::standing::Layer;
use super::{roster, serve};
use crate::exchange::{CloseCode, Command, ConnId, Core, DAY_MS, EntryRef, Input, Record};
use crate::identity::Address;
use crate::name::{BootNonce, Millis, NodeName, Origin};
use crate::net::{Ended, EndedBy, NetEvent, NetHandle, Room};
use crate::wire::{Frame, MAX_TRUST, TrustPart};

/// What the network tells.
pub(super) type Event = NetEvent;

/// How long a probe waits for its answer.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// How often the ends of live certificates are looked at: a connection outlives the certificate that made it.
const SWEEP: Duration = Duration::from_secs(60);

struct Link {
    peer: NodeName,
    certificate_until: Millis,
}

/// Bytes of TRUST material kept from a peer on one UTC day.
#[derive(Clone, Copy, Default)]
struct Trust {
    day: u64,
    bytes: usize,
}

struct Probe {
    conn: ConnId,
    sent: Instant,
    /// A person's; `None`: the core's.
    caller: Option<oneshot::Sender<Heard>>,
}

/// The network, with what must be remembered between an order and its answer.
pub(super) struct Links {
    net: NetHandle,
    events: mpsc::Receiver<NetEvent>,
    boot: BootNonce,
    links: HashMap<ConnId, Link>,
    trust: HashMap<NodeName, Trust>,
    probes: HashMap<u64, Probe>,
    next_probe: u64,
    lanes: Lanes,
    /// Batches that the core has seen and that are not durable yet: room of the window, given back in steps.
    rooms: Vec<Room>,
    rooms_written: Vec<Room>,
    /// Connections over which files were asked for, and whether they pause.
    serving: HashMap<ConnId, bool>,
    swept: Instant,
}

impl Links {
    pub(super) fn new(net: NetHandle, events: mpsc::Receiver<NetEvent>, boot: BootNonce) -> Self {
        Self {
            net,
            events,
            boot,
            links: HashMap::new(),
            trust: HashMap::new(),
            probes: HashMap::new(),
            next_probe: 0,
            lanes: Lanes::default(),
            rooms: Vec::new(),
            rooms_written: Vec::new(),
            serving: HashMap::new(),
            swept: Instant::now(),
        }
    }

    /// The network, for tasks that fetch.
    pub(super) fn net(&self) -> &NetHandle {
        &self.net
    }

    /// Waits for the next event. Nothing is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            // The network ends with this value and not before it.
            None => std::future::pending().await,
        }
    }

    /// An event that is at hand.
    pub(super) fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// What an event means to the core.
    pub(super) fn translate(&mut self, event: Event, core: &Core, node: &Arc<Node>) -> Option<Input> {
        match event {
            NetEvent::Connected { conn, peer, dialler, remote } => {
                tracing::debug!(peer = %peer.node, ?dialler, %remote, restricted = ?peer.restricted, "connected");
                self.links.insert(conn, Link { peer: peer.node, certificate_until: peer.not_after });
                Some(Input::Connected { conn, peer: peer.node, dialler, restricted: peer.restricted.is_some() })
            }
            NetEvent::DialFailed { peer, layer, why } => {
                tracing::debug!(%peer, %layer, why, "not reached");
                node.standing().obstacle(node.clock.now(), peer, Layer::from(layer), why);
                Some(Input::DialFailed { peer })
            }
            NetEvent::Closed { conn, why } => {
                self.closed(conn, &why, node);
                Some(Input::Closed { conn })
            }
            NetEvent::Frame { conn, frame } => self.control_frame(conn, frame, node),
            NetEvent::Pushed { conn, pushed, room } => {
                self.rooms.push(room);
                Some(Input::Pushed { conn, pushed })
            }
            NetEvent::Back { conn, frame } => back_frame(conn, frame),
            NetEvent::FetchRequest { conn, origin, from, to, reply } => {
                let peer = core.may_serve(conn)?;
                serve::fetch(node, core, peer, origin, from, to, reply);
                None
            }
            NetEvent::EnclosureRequest { conn, entry, ordinal, offset, reply } => {
                let peer = core.may_serve(conn)?;
                self.serving.entry(conn).or_insert(false);
                serve::enclosure(node, peer, entry, ordinal, offset, reply);
                None
            }
        }
    }

    fn closed(&mut self, conn: ConnId, why: &Ended, node: &Node) {
        self.lanes.forget(conn);
        self.serving.remove(&conn);
        self.probes.retain(|_, probe| probe.conn != conn);
        let Some(link) = self.links.remove(&conn) else { return };
        tracing::debug!(peer = %link.peer, %why, "closed");
        if why.by != EndedBy::Us && why.code != Some(CloseCode::Replaced) {
            node.standing().obstacle(node.clock.now(), link.peer, Layer::from(why.layer), why.why.clone());
        }
    }

    fn control_frame(&mut self, conn: ConnId, frame: Frame, node: &Node) -> Option<Input> {
        match frame {
            Frame::Hello(hello) => Some(Input::Hello { conn, hello }),
            Frame::NotNow { reason, retry_after_ms } => {
                Some(Input::NotNow { conn, reason, retry_after: Duration::from_millis(retry_after_ms) })
            }
            Frame::Probe { nonce } => {
                self.net.send_control(conn, &Frame::ProbeReply { nonce, boot: self.boot, clock: node.clock.now() });
                None
            }
            Frame::ProbeReply { nonce, boot, clock } => {
                let probe = self.probes.remove(&nonce).filter(|probe| probe.conn == conn)?;
                match probe.caller {
                    Some(caller) => {
                        let _ = caller.send(heard(node.clock.now(), probe.sent.elapsed(), clock));
                        None
                    }
                    None => Some(Input::Probed { conn, boot: Some(boot) }),
                }
            }
            Frame::Trust(part) => self.keep_trust(conn, &part, node.clock.now()),
            _ => None,
        }
    }

    /// Root-signed material has no effect in this version; it is kept in the journal, up to [`MAX_TRUST`] a peer and day,
    /// however often the peer connects.
    fn keep_trust(&mut self, conn: ConnId, part: &TrustPart, now: Millis) -> Option<Input> {
        let link = self.links.get(&conn)?;
        let day = now.0 / DAY_MS;
        let trust = self.trust.entry(link.peer).or_default();
        if trust.day != day {
            *trust = Trust { day, bytes: 0 };
        }
        trust.bytes = trust.bytes.saturating_add(part.data.len());
        if trust.bytes > MAX_TRUST {
            return None;
        }
        let data = data_encoding::BASE64.encode(&part.data);
        let text = format!("{:?} part {} of {}: {data}", part.kind, part.part + 1, part.parts);
        let note = Command::Note { subject: "trust".into(), peer: Some(link.peer), text, officer: 0 };
        Some(Input::Command(note, None))
    }

    /// Dials a peer where it is configured or introduced.
    pub(super) fn dial(&mut self, peer: NodeName, node: &Node) {
        let texts = roster::addresses(peer, &node.settings(), &node.anchors.load());
        let (good, bad): (Vec<_>, Vec<_>) = texts.iter().map(|text| text.parse::<Address>()).partition(Result::is_ok);
        let why = match bad.into_iter().find_map(Result::err) {
            Some(error) => error.to_string(),
            None => format!("no address of {peer} is known"),
        };
        let addresses: Vec<Address> = good.into_iter().flatten().collect();
        if addresses.is_empty() {
            node.standing().obstacle(node.clock.now(), peer, Layer::Address, why);
            return node.feed(Input::DialFailed { peer });
        }
        self.net.dial(peer, addresses);
    }

    pub(super) fn close(&self, conn: ConnId, code: CloseCode) {
        self.net.close(conn, code);
    }

    /// Both Hellos over this connection are compared and it is chosen: its streams may be read.
    pub(super) fn open(&self, conn: ConnId) {
        self.net.open(conn);
    }

    pub(super) fn control(&self, conn: ConnId, frame: &Frame) {
        self.net.send_control(conn, frame);
    }

    pub(super) fn back(&self, conn: ConnId, frame: &Frame) {
        self.net.push_back(conn, frame);
    }

    pub(super) fn push(&mut self, conn: ConnId, origin: Origin, entries: Vec<EntryRef>, note: Bytes, node: &Arc<Node>) {
        if let Some(ready) = self.lanes.push(conn, origin, entries, note, node) {
            self.send(ready);
        }
    }

    pub(super) fn resolved(&mut self, resolved: Resolved, node: &Arc<Node>) {
        for ready in self.lanes.resolved(resolved, node) {
            self.send(ready);
        }
    }

    fn send(&self, ready: Ready) {
        self.net.push(ready.conn, ready.entries, ready.note);
    }

    /// Fetches own entries from their holder.
    pub(super) fn fetch(&self, conn: ConnId, origin: Origin, from: u64, to: u64, node: &Arc<Node>) {
        let (net, node) = (self.net.clone(), node.clone());
        tokio::spawn(async move {
            let result = net.fetch(conn, origin, from, to).await;
            node.feed(Input::Fetched { conn, origin, from, result });
        });
    }

    /// Asks for a sign of life; the answer goes to the caller, or to the core where there is none.
    pub(super) fn probe(&mut self, conn: ConnId, caller: Option<oneshot::Sender<Heard>>, node: &Node) {
        let nonce = self.next_probe;
        self.next_probe += 1;
        self.probes.insert(nonce, Probe { conn, sent: Instant::now(), caller });
        self.net.send_control(conn, &Frame::Probe { nonce });
        let orders = node.orders.clone();
        tokio::spawn(async move {
            tokio::time::sleep(PROBE_LIMIT).await;
            let _ = orders.send(Order::ProbeOver(nonce));
        });
    }

    /// The time of a probe is over; the core is told where it was its own.
    pub(super) fn probe_over(&mut self, nonce: u64) -> Option<Input> {
        let probe = self.probes.remove(&nonce)?;
        probe.caller.is_none().then_some(Input::Probed { conn: probe.conn, boot: None })
    }

    /// A group was handed to the journal: what came before it is in it.
    pub(super) fn group_written(&mut self, records: &[Record]) {
        records.iter().for_each(|record| self.lanes.leaves.recorded(record));
        self.rooms_written.append(&mut self.rooms);
    }

    /// It is durable: the peers may send as much again.
    pub(super) fn group_durable(&mut self) {
        self.rooms_written.clear();
    }

    /// The core waits for nothing: what came is dealt with.
    pub(super) fn idle(&mut self) {
        self.rooms.clear();
    }

    /// Lets files wait for what is urgent, and closes connections whose certificate has run out meanwhile, so that they
    /// come back restricted.
    pub(super) fn look_around(&mut self, core: &Core, now: Millis) {
        for (conn, paused) in &mut self.serving {
            let pause = core.may_serve(*conn).is_some_and(|peer| core.is_urgent(peer));
            if pause != *paused {
                *paused = pause;
                self.net.pause_enclosures(*conn, pause);
            }
        }
        if self.swept.elapsed() < SWEEP {
            return;
        }
        self.swept = Instant::now();
        let restricted: HashSet<ConnId> =
            self.links.iter().filter(|(_, link)| link.certificate_until < now).map(|(conn, _)| *conn).collect();
        for conn in restricted {
            if core.may_serve(conn).is_some() {
                self.net.close(conn, CloseCode::Replaced);
            }
        }
    }

    /// Says BYE to everybody and stops listening.
    pub(super) async fn farewell(&self) {
        self.net.shutdown().await;
    }
}

fn back_frame(conn: ConnId, frame: Frame) -> Option<Input> {
    match frame {
        Frame::Cosigned { origin, size, lines, window } => Some(Input::Cosigned { conn, origin, size, lines, window }),
        Frame::Shows(state) => Some(Input::Shows { conn, state }),
        Frame::Fault { code, origin, index, proof } => Some(Input::Fault { conn, code, origin, index, proof }),
        _ => None,
    }
}

impl From<crate::net::Layer> for Layer {
    fn from(layer: crate::net::Layer) -> Self {
        use crate::net::Layer as Net;
        match layer {
            Net::Address => Self::Address,
            Net::Udp => Self::Udp,
            Net::Quic | Net::Exchange => Self::Quic,
            Net::Tls => Self::Tls,
            Net::Identity => Self::Identity,
            Net::Version => Self::Version,
            Net::Policy => Self::Policy,
        }
    }
}
