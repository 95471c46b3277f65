//! An accepted peer that keeps the rules of TLS and no others, and strangers. XB is played by the test; after everything
//! that it does, XA still serves XC.

use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use verbale::api::{MessageState, WaitFor};
use verbale::exchange::CloseCode;
use verbale::name::Origin;
use verbale::wire::{EntryFrame, Frame, Leaf, LogState, MAX_FRAME, Payload, commitment};

use crate::in_good_order;
use crate::raw::{Raw, config, endpoint, frame, hello, said};
use crate::rig::{Rig, RootOf, insist, message, soon, until, up};
use crate::world::listens;

/// Strangers that knock while messages pass.
const STRANGERS: usize = 1_000;

pub struct Stage {
    pub a: Rig,
    pub b: Rig,
    pub c: Rig,
    pub _folder: tempfile::TempDir,
}

impl Stage {
    /// XA with the peers XB, whose daemon is stopped, and XC, which is up.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [mut a, mut b, mut c] = ["XA", "XB", "XC"].map(|name| Rig::new(folder.path(), name, RootOf::TheState));
        a.start().await;
        c.start().await;
        b.start().await;
        for peer in [&b, &c] {
            a.add(peer).await.unwrap();
        }
        c.add(&a).await.unwrap();
        b.stop();
        up(&a, &c).await;
        Self { a, b, c, _folder: folder }
    }

    /// XA serves its other peer, both ways.
    pub async fn serves(&self, what: &str) {
        for (from, to) in [(&self.a, &self.c), (&self.c, &self.a)] {
            let sent = from.send(message(to, what, WaitFor::Receipt)).await;
            assert_eq!(sent.state, MessageState::Delivered, "after {what}");
        }
    }

    pub async fn is_well(&self) {
        in_good_order(&self.a.log());
        self.a.all_holds().await;
        self.c.all_holds().await;
    }
}

fn raw_frame(length: u32, kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes()[..], &[kind], bytes].concat()
}

#[tokio::test]
async fn frames_that_cannot_be_read_close_their_connection_and_nothing_else() {
    let stage = Stage::new().await;
    let over = u32::try_from(MAX_FRAME).unwrap() + 1;
    let after = |bytes: Vec<u8>| [said(hello(7)), bytes].concat();
    for (what, bytes) in [
        ("an oversized frame", raw_frame(over, 1, b"")),
        ("the largest length that can be said", raw_frame(u32::MAX, 1, b"")),
        ("a frame without a type", raw_frame(0, 1, b"")),
        ("an unknown type", raw_frame(1, 200, b"")),
        ("garbage instead of HELLO", raw_frame(9, 1, &[0xff; 8])),
        ("another frame than HELLO first", Frame::Probe { nonce: 1 }.encode().to_vec()),
        ("text of another protocol", b"GET / HTTP/1.1\r\nHost: xa\r\n\r\n".to_vec()),
        ("garbage after HELLO", after(vec![0xa5; 4_096])),
        ("an unknown type after HELLO", after(raw_frame(3, 99, b"ab"))),
        ("an oversized frame after HELLO", after(raw_frame(over, 3, b""))),
        (
            "a push frame on the control stream",
            after(Frame::Checkpoint { note: Bytes::from_static(b"x") }.encode().to_vec()),
        ),
        ("HELLO twice", after(said(hello(7)))),
    ] {
        let (raw, _send, _recv) = Raw::saying(&stage.b, &stage.a, &bytes).await;
        assert_eq!(raw.close_code().await, CloseCode::Frame as u64, "{what}");
        stage.serves(what).await;
    }
    stage.is_well().await;
}

#[tokio::test]
async fn a_frame_that_is_cut_short_closes_its_connection() {
    let stage = Stage::new().await;
    let whole = said(hello(7));
    let (raw, mut send, _recv) = Raw::saying(&stage.b, &stage.a, &whole[..whole.len() - 1]).await;
    send.finish().unwrap();
    assert_eq!(raw.close_code().await, CloseCode::Frame as u64);
    stage.serves("a frame cut short").await;
    stage.is_well().await;
}

#[tokio::test]
async fn a_peer_that_drips_one_byte_a_second_holds_nobody_up() {
    let stage = Stage::new().await;
    // At this pace it would take longer than a frame may.
    let long = verbale::wire::Hello { certificate_digests: vec![verbale::name::Hash([1; 32]); 8], ..hello(7) };
    let whole = said(long);
    let (raw, mut send, _recv) = Raw::saying(&stage.b, &stage.a, &whole[..1]).await;
    let drip = async {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        for byte in &whole[1..] {
            tick.tick().await;
            if send.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    };
    let others = async {
        for number in 0..5 {
            stage.serves(&format!("drip {number}")).await;
        }
    };
    let ((), (), code) = tokio::join!(drip, others, raw.close_code());
    assert_eq!(code, CloseCode::Frame as u64, "a frame that does not end in time");
    stage.serves("the drip").await;
    stage.is_well().await;
}

#[tokio::test]
async fn a_peer_that_never_reads_keeps_its_messages_waiting_and_nobody_elses() {
    let stage = Stage::new().await;
    for number in 0..60 {
        let mut send = message(&stage.b, &format!("{number}"), WaitFor::Queued);
        send.text = "x".repeat(40 << 10);
        stage.a.send(send).await;
    }
    let (raw, _send, mut recv) = Raw::saying(&stage.b, &stage.a, &said(hello(7))).await;
    assert!(matches!(frame(&mut recv).await, Frame::Hello(_)), "it is greeted");
    let (_push, mut pushed) = soon("a push begins", raw.quic.accept_bi()).await.unwrap();
    assert!(matches!(frame(&mut pushed).await, Frame::Entry(_)), "and pushed to");
    for number in 0..5 {
        stage.serves(&format!("beside a peer that never reads {number}")).await;
    }
    let waiting = stage.a.peer(&stage.b).await;
    assert!(waiting.queue.queued + waiting.queue.unreceipted >= 60 && waiting.own_receipted == 0, "{waiting:?}");
    drop(raw);
    // The real peer comes back and gets all of it.
    let Stage { a, mut b, c, _folder } = stage;
    b.start().await;
    b.add(&a).await.unwrap();
    until("all has arrived", async || b.inbox().await.len() == 60).await;
    b.all_holds().await;
    Stage { a, b, c, _folder }.is_well().await;
}

/// Messages for a peer that reads none of them, and as many again.
const UNREAD: usize = 1_200;

/// Their text: each part is some 48 MiB.
const UNREAD_TEXT: usize = 40 << 10;

/// What a node may grow by while the second part is queued: a third of it. What it needs for a peer that does not read
/// (the window, what is on its way, the newest groups, keys at hand) it has by the end of the first part.
const GROWTH: u64 = 16 << 20;

/// Resident bytes of a node's process.
fn resident(node: &mut Rig) -> u64 {
    let status = format!("/proc/{}/status", node.daemon().pid().as_raw_nonzero());
    let status = std::fs::read_to_string(status).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes << 10
}

#[tokio::test]
async fn a_peer_that_never_reads_and_drips_costs_no_memory_that_grows_with_what_it_leaves_unread() {
    let mut stage = Stage::new().await;
    let (raw, _send, mut recv) = Raw::saying(&stage.b, &stage.a, &said(hello(7))).await;
    assert!(matches!(frame(&mut recv).await, Frame::Hello(_)), "it is greeted");
    // It reads no push, and leaves as many frames unfinished as the node takes streams.
    let dripped = entry(0, 40 << 10).encode();
    let mut unfinished = Vec::new();
    for _ in 0..64 {
        let opened = tokio::time::timeout(Duration::from_millis(20), raw.stream(&dripped[..dripped.len() - 1])).await;
        match opened {
            Ok(stream) => unfinished.push(stream),
            Err(_) => break,
        }
    }
    leave_unread(&stage).await;
    stage.serves("beside it").await;
    let before = resident(&mut stage.a);
    leave_unread(&stage).await;
    stage.serves("beside it still").await;
    let waiting = stage.a.peer(&stage.b).await;
    assert!(waiting.queue.queued + waiting.queue.unreceipted >= 2 * UNREAD as u64, "{waiting:?}");
    let after = resident(&mut stage.a);
    assert!(after < before + GROWTH, "from {} to {} KiB", before >> 10, after >> 10);
    drop((raw, unfinished));
    stage.is_well().await;
}

/// Eight senders queue messages for the peer that does not read.
async fn leave_unread(stage: &Stage) {
    let mut senders = JoinSet::new();
    for _ in 0..8 {
        let letters: Vec<_> = (0..UNREAD / 8)
            .map(|number| {
                let mut send = message(&stage.b, &format!("unread {number}"), WaitFor::Queued);
                send.text = "x".repeat(UNREAD_TEXT);
                send
            })
            .collect();
        let folder = stage.a.folder.clone();
        senders.spawn(async move {
            for letter in letters {
                insist(&folder, letter).await;
            }
        });
    }
    senders.join_all().await;
}

fn origin(text: &str) -> Origin {
    text.parse().unwrap()
}

pub fn entry(index: u64, size: usize) -> Frame {
    let (salt, body) = ([3; 32], Bytes::from(vec![1; size]));
    let leaf = Leaf::new(commitment(&salt, &body), size, b"\xff\xff not a header").unwrap();
    Frame::Entry(Box::new(EntryFrame { index, leaf, payload: Payload::Present { salt, body } }))
}

#[tokio::test]
async fn a_hello_that_claims_what_cannot_be_ends_the_session_and_changes_nothing() {
    let stage = Stage::new().await;
    let state = |text: &str, size, note: &[u8]| LogState {
        origin: Some(origin(text)),
        size,
        note: Bytes::copy_from_slice(note),
    };
    let (own, theirs) = ("verbale/XB/XA/1.5f0c9a3e7b2d4410", "verbale/XA/XB/1.5f0c9a3e7b2d4410");
    for (what, mine, yours) in [
        ("a note that is none", state(own, 3, b"garbage"), LogState::default()),
        ("more of our log than there is", LogState::default(), state(theirs, 1 << 40, b"garbage")),
        ("another pair's log", LogState::default(), state("verbale/XA/XC/1.5f0c9a3e7b2d4410", 3, b"garbage")),
        ("sizes without notes", state(own, u64::MAX, b""), state(theirs, u64::MAX, b"")),
    ] {
        let before = stage.a.peer(&stage.b).await;
        let claimed = verbale::wire::Hello { mine, yours, ..hello(9) };
        let (raw, _send, mut recv) = Raw::saying(&stage.b, &stage.a, &said(claimed)).await;
        // HELLO comes back, unless the end of the connection overtakes it: anything but silence.
        let _ = soon(what, recv.read(&mut [0; 1])).await;
        stage.serves(what).await;
        drop(raw);
        let after = stage.a.peer(&stage.b).await;
        assert_eq!((before.own_receipted, before.peer_size), (after.own_receipted, after.peer_size), "{what}");
        assert_ne!(after.connection, "frozen", "{what}: nothing signed was shown");
        assert!(stage.a.status().await.troubles.iter().all(|trouble| trouble.code != "fenced"), "{what}");
    }
    stage.is_well().await;
}

#[tokio::test]
async fn pushes_that_cannot_be_are_answered_and_stored_nowhere() {
    let stage = Stage::new().await;
    let note = |text: &'static str| Frame::Checkpoint { note: Bytes::from_static(text.as_bytes()) };
    let head = "verbale/XB/XA/1.5f0c9a3e7b2d4410\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n";
    for (what, frames) in [
        ("entries under a note that is none", vec![entry(0, 10), note("garbage")]),
        ("entries with a gap", vec![entry(0, 10), entry(7, 10), note("garbage")]),
        ("an entry at the end of all numbers", vec![entry(u64::MAX, 10), note("garbage")]),
        ("a head without a signature", vec![entry(0, 10), note(head)]),
        ("a head over nothing", vec![note(head)]),
    ] {
        let (raw, _send, mut recv) = Raw::saying(&stage.b, &stage.a, &said(hello(8))).await;
        assert!(matches!(frame(&mut recv).await, Frame::Hello(_)), "{what}");
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.encode().to_vec()).collect();
        let (_push, mut back) = raw.stream(&bytes).await;
        let mut first = [0; 1];
        // An answer on the stream, or the end of stream or connection: anything but silence.
        let _ = soon(what, back.read(&mut first)).await;
        stage.serves(what).await;
        assert_eq!(stage.a.peer(&stage.b).await.peer_size, 0, "{what}");
        drop(raw);
    }
    assert!(stage.a.inbox().await.iter().all(|row| row.peer == stage.c.name), "nothing of it is shown");
    stage.is_well().await;
}

#[tokio::test]
async fn a_thousand_strangers_knock_while_messages_pass() {
    let stage = Stage::new().await;
    let folder = tempfile::tempdir().unwrap();
    let stranger = Rig::new(folder.path(), "XD", RootOf::TheState);
    let (config, address) = (config(&stranger, &stage.a), listens(&stage.a));
    let endpoints: Vec<_> = (0..4).map(|_| endpoint()).collect();
    let mut knocks = JoinSet::new();
    for number in 0..STRANGERS {
        let connecting = endpoints[number % endpoints.len()].connect_with(config.clone(), address, "verbale.invalid");
        let connecting = connecting.unwrap();
        knocks.spawn(async move {
            match connecting.await {
                // In TLS 1.3 a client believes to be connected before the other side has judged it.
                Ok(quic) => quic.closed().await,
                Err(error) => error,
            }
        });
    }
    for number in 0..10 {
        stage.serves(&format!("beside strangers {number}")).await;
    }
    let ends = soon("the end of all attempts", knocks.join_all()).await;
    assert_eq!(ends.len(), STRANGERS);
    stage.serves("a thousand strangers").await;
    let lines = stage.a.log().lines().count();
    assert!(lines < 100, "strangers do not fill the log: {lines} lines");
    stage.is_well().await;
}
