//! The seam to the network: what comes in becomes inputs of the core, what the core decides becomes orders.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::desk::ping::{Heard, heard};
use super::obstacle::Layer;
use super::order::{Node, Order};
use super::push::{Lanes, Ready, Resolved};
use super::sweep::{AT_ONCE, OwnCertificate, SWEEP, Verdict, verdict};
use super::{roster, serve};
use crate::exchange::{CloseCode, Command, ConnId, Core, EntryRef, Input, Record};
use crate::identity::{Address, PeerIdentity};
use crate::name::{BootNonce, Millis, NodeName, Origin};
use crate::net::{Ended, EndedBy, NetEvent, NetHandle, Room};
use crate::wire::{Frame, MAX_TRUST, TrustPart};

/// What the network tells.
pub(super) type Event = NetEvent;

/// How long a person's probe waits for its answer at the least; the caller's own time comes on top of it.
const PROBE_LIMIT: Duration = Duration::from_secs(30);

/// How long the core's probe of an older connection waits for its answer: QUIC has repeated it six times by then.
const OLDER_LIMIT: Duration = Duration::from_secs(2);

/// The same in round trips of the older connection, as for any silence.
const OLDER_ROUND_TRIPS: u32 = 9;

/// … and never longer than this.
const OLDER_LIMIT_MOST: Duration = Duration::from_secs(20);

/// In which time a peer may have [`MAX_TRUST`] bytes of TRUST kept, over how many connections ever.
const TRUST_SPAN: Duration = Duration::from_secs(24 * 3600);

struct Link {
    peer: NodeName,
    remote: SocketAddr,
    /// Its HELLO came.
    greeted: bool,
    restricted: bool,
    /// When the certificate ends that this node has shown.
    own_until: Millis,
    /// When its peer was last judged.
    judged: Instant,
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
    probes: HashMap<u64, Probe>,
    next_probe: u64,
    lanes: Lanes,
    /// Batches that the core has seen and that are not durable yet: room of the window, given back in steps.
    rooms: Vec<Room>,
    rooms_written: Vec<Room>,
    /// Connections over which files were asked for, and whether they pause.
    serving: HashMap<ConnId, bool>,
    /// Why sessions were restricted when they last came about.
    restricted: HashMap<NodeName, String>,
    /// Bytes of TRUST that were kept of each peer, since when.
    trust: HashMap<NodeName, (Millis, usize)>,
}

impl Links {
    pub(super) fn new(net: NetHandle, events: mpsc::Receiver<NetEvent>, boot: BootNonce) -> Self {
        Self {
            net,
            events,
            boot,
            links: HashMap::new(),
            probes: HashMap::new(),
            next_probe: 0,
            lanes: Lanes::default(),
            rooms: Vec::new(),
            rooms_written: Vec::new(),
            serving: HashMap::new(),
            restricted: HashMap::new(),
            trust: HashMap::new(),
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
                let restricted = self.connected(conn, &peer, remote, node);
                Some(Input::Connected { conn, peer: peer.node, dialler, restricted })
            }
            NetEvent::DialFailed { peer, layer, why } => {
                tracing::debug!(%peer, %layer, why, "not reached");
                node.standing().attempt_failed(node.clock.now(), peer, Layer::from(layer), why);
                Some(Input::DialFailed { peer })
            }
            NetEvent::Closed { conn, why } => {
                self.closed(conn, &why, node);
                Some(Input::Closed { conn })
            }
            NetEvent::Silent { conn, silent } => Some(Input::Silent { conn, silent }),
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

    /// Remembers a connection; `true` if its session is restricted, which is journalled where it is news.
    ///
    /// A node whose own certificate has expired is judged so by the peer, and behaves so without being told.
    fn connected(&mut self, conn: ConnId, peer: &PeerIdentity, remote: SocketAddr, node: &Node) -> bool {
        let own_until = node.own_certificate_until();
        let own = (own_until < node.clock.now()).then(|| {
            format!(
                "this node's TLS certificate expired at {own_until}; until it is renewed messages wait in the queue"
            )
        });
        let why = own.or_else(|| peer.restricted.as_ref().map(ToString::to_string));
        let restricted = why.is_some();
        let judged = Instant::now();
        self.links.insert(conn, Link { peer: peer.node, remote, greeted: false, restricted, own_until, judged });
        if self.restricted.get(&peer.node) != why.as_ref() {
            let text = why.clone().unwrap_or_else(|| "the session is a full one again".to_owned());
            let note = Command::Note { subject: "restricted-session".into(), peer: Some(peer.node), text, officer: 0 };
            let _ = node.orders.send(Order::Command(Box::new(note), None));
        }
        match why {
            Some(why) => self.restricted.insert(peer.node, why),
            None => self.restricted.remove(&peer.node),
        };
        restricted
    }

    fn closed(&mut self, conn: ConnId, why: &Ended, node: &Node) {
        self.lanes.forget(conn);
        self.serving.remove(&conn);
        self.probes.retain(|_, probe| probe.conn != conn);
        let Some(link) = self.links.remove(&conn) else { return };
        tracing::debug!(peer = %link.peer, %why, "closed");
        if why.by == EndedBy::Us || why.code == Some(CloseCode::Replaced) {
            return;
        }
        let (now, mut standing) = (node.clock.now(), node.standing());
        if let Some(code) = why.code.filter(|_| why.by == EndedBy::Peer) {
            standing.said(now, link.peer, code);
        }
        match link.greeted {
            true => standing.broke(now, link.peer, Layer::from(why.layer), why.why.clone()),
            // It came to no HELLO: most often a certificate that is refused there.
            false => standing.attempt_failed(now, link.peer, Layer::from(why.layer), why.why.clone()),
        }
    }

    fn control_frame(&mut self, conn: ConnId, frame: Frame, node: &Node) -> Option<Input> {
        match frame {
            Frame::Hello(hello) => {
                if let Some(link) = self.links.get_mut(&conn) {
                    link.greeted = true;
                }
                Some(Input::Hello { conn, hello })
            }
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
            Frame::Trust(part) => self.keep_trust(node.clock.now(), conn, &part),
            _ => None,
        }
    }

    /// Root-signed material has no effect in this version; it is kept in the journal, up to [`MAX_TRUST`] a day.
    fn keep_trust(&mut self, now: Millis, conn: ConnId, part: &TrustPart) -> Option<Input> {
        let link = self.links.get(&conn)?;
        let (since, bytes) = self.trust.entry(link.peer).or_insert((now, 0));
        if now < *since || now.since(*since) >= TRUST_SPAN {
            (*since, *bytes) = (now, 0);
        }
        if *bytes + part.data.len() > MAX_TRUST {
            return None;
        }
        *bytes += part.data.len();
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
            node.standing().attempt_failed(node.clock.now(), peer, Layer::Address, why);
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

    /// Asks for a sign of life; the answer goes to the caller.
    pub(super) fn probe(&mut self, conn: ConnId, caller: oneshot::Sender<Heard>, node: &Node) {
        self.ask(conn, Some(caller), PROBE_LIMIT, node);
    }

    /// Asks an older connection, which a newer one is to replace, for a sign of life; the answer goes to the core.
    pub(super) fn probe_older(&mut self, older: ConnId, node: &Node) {
        if self.has_lost_its_port(older) {
            return node.feed(Input::Probed { conn: older, boot: None });
        }
        let round_trip = self.net.path(older).map_or(Duration::ZERO, |(round_trip, _)| round_trip);
        let limit = OLDER_LIMIT.max(round_trip * OLDER_ROUND_TRIPS).min(OLDER_LIMIT_MOST);
        self.ask(older, None, limit, node);
    }

    /// Whether a newer connection with the same peer comes from the very address and port of this one. Only one process
    /// has a port: what answered there before has gone, and no answer is worth waiting for.
    fn has_lost_its_port(&self, older: ConnId) -> bool {
        let Some(old) = self.links.get(&older) else { return false };
        self.links.iter().any(|(conn, new)| *conn > older && new.peer == old.peer && new.remote == old.remote)
    }

    fn ask(&mut self, conn: ConnId, caller: Option<oneshot::Sender<Heard>>, limit: Duration, node: &Node) {
        let nonce = self.next_probe;
        self.next_probe += 1;
        self.probes.insert(nonce, Probe { conn, sent: Instant::now(), caller });
        self.net.send_control(conn, &Frame::Probe { nonce });
        let orders = node.orders.clone();
        tokio::spawn(async move {
            tokio::time::sleep(limit).await;
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

    /// Who is at the other end of a connection.
    pub(super) fn peer_of(&self, conn: ConnId) -> Option<NodeName> {
        self.links.get(&conn).map(|link| link.peer)
    }

    /// Judges every connection again, as after a new introduction, and closes what does not stand; which were closed.
    pub(super) fn judge_all(&mut self, node: &Node) -> Vec<ConnId> {
        let all: Vec<ConnId> = self.links.keys().copied().collect();
        all.into_iter().filter(|conn| self.judge_again(*conn, node)).collect()
    }

    /// Judges some of those again that were not for a while, because of the time; which were closed.
    pub(super) fn judge_due(&mut self, node: &Node) -> Vec<ConnId> {
        let due = self.links.iter().filter(|(_, link)| link.judged.elapsed() >= SWEEP).map(|(conn, _)| *conn);
        let due: Vec<ConnId> = due.take(AT_ONCE).collect();
        due.into_iter().filter(|conn| self.judge_again(*conn, node)).collect()
    }

    /// Judges one connection again; true where it was closed.
    fn judge_again(&mut self, conn: ConnId, node: &Node) -> bool {
        let Some(link) = self.links.get_mut(&conn) else { return false };
        link.judged = Instant::now();
        let Some(judged) = self.net.judge(conn) else { return false };
        let (now, peer, next_until) = (node.clock.now(), link.peer, node.own_certificate_until());
        let own = OwnCertificate { shown_is_over: link.own_until < now, next_is_over: next_until < now };
        match verdict(judged, own, link.restricted) {
            Verdict::Stays => return false,
            Verdict::ComesBack => self.net.close(conn, CloseCode::Replaced),
            Verdict::Ends(code, why) => {
                self.net.close(conn, code);
                tracing::warn!(%peer, ?code, why, "a connection was closed after its peer was judged again");
                let text = format!("a connection that was up was closed: {why}");
                let note = Command::Note { subject: "refused-connection".into(), peer: Some(peer), text, officer: 0 };
                node.command_and_go_on(note);
                node.standing().broke(node.clock.now(), peer, Layer::Identity, why);
            }
        }
        true
    }

    /// Lets files wait for what is urgent.
    pub(super) fn look_around(&mut self, core: &Core) {
        for (conn, paused) in &mut self.serving {
            let pause = core.may_serve(*conn).is_some_and(|peer| core.is_urgent(peer));
            if pause != *paused {
                *paused = pause;
                self.net.pause_enclosures(*conn, pause);
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
            Net::Quic => Self::Quic,
            Net::Exchange => Self::Exchange,
            Net::Clock => Self::Clock,
            Net::Tls => Self::Tls,
            Net::Identity => Self::Identity,
            Net::Version => Self::Version,
            Net::Policy => Self::Policy,
        }
    }
}
