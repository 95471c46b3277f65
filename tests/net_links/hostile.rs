//! Peers that keep the rules of TLS and no others, and strangers that keep none.

use std::time::Duration;

use tokio::task::JoinSet;
use verbale::exchange::CloseCode;
use verbale::identity::client_config;
use verbale::net::{EndedBy, Limits};
use verbale::wire::{Frame, MAX_FRAME};

use crate::rig::{Node, Raw, State, entry, hello, note, raw_config, raw_endpoint, raw_tls, soon};

struct Case {
    node: Node,
    raw: Raw,
}

/// A node XA and a raw peer XB that is connected to it.
async fn case(limits: Limits) -> Case {
    let (xa, xb) = (State::new("XA"), State::new("XB"));
    let mut node = Node::start_limited(&xa, &[&xb], limits);
    let raw = Raw::connect(&xb, &xa, node.address()).await;
    node.connected().await;
    Case { node, raw }
}

fn frame(length: u32, kind: u8, message: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes()[..], &[kind], message].concat()
}

#[tokio::test]
async fn a_control_stream_that_is_not_in_order_is_closed_with_frame() {
    let over = u32::try_from(MAX_FRAME).unwrap() + 1;
    let long_hello = [&hello(1).encode()[..], &frame(over, 3, b"")].concat();
    for (what, bytes) in [
        ("an oversized frame", frame(over, 1, b"")),
        ("a frame without a type", frame(0, 1, b"")),
        ("an unknown type", frame(1, 200, b"")),
        ("garbage instead of protobuf", frame(5, 1, &[0xff; 4])),
        ("another frame than HELLO first", Frame::Probe { nonce: 1 }.encode().to_vec()),
        ("an oversized frame after HELLO", long_hello),
        ("a push frame after HELLO", [hello(1).encode(), Frame::Checkpoint { note: note() }.encode()].concat()),
    ] {
        let Case { mut node, raw } = case(Limits::default()).await;
        let _control = raw.control(&bytes).await;
        assert_eq!(raw.close_code().await, CloseCode::Frame as u64, "{what}");
        while node.events.len() > 1 {
            assert_eq!(node.frame().await, hello(1), "{what}");
        }
        let mut event = node.next().await;
        if let verbale::net::NetEvent::Frame { .. } = event {
            event = node.next().await;
        }
        match event {
            verbale::net::NetEvent::Closed { why, .. } => {
                assert_eq!((why.by, why.code), (EndedBy::Us, Some(CloseCode::Frame)), "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_frame_that_is_cut_short_is_closed_with_frame() {
    let Case { mut node, raw } = case(Limits::default()).await;
    let whole = hello(1).encode();
    let (mut send, _recv) = raw.control(&whole[..whole.len() - 1]).await;
    send.finish().unwrap();
    assert_eq!(raw.close_code().await, CloseCode::Frame as u64);
    assert!(node.closed().await.why.contains("cut short"));
}

#[tokio::test]
async fn a_peer_without_hello_is_closed_in_time() {
    let limits = || Limits { hello: Duration::from_millis(50), ..Limits::default() };
    let Case { mut node, raw } = case(limits()).await;
    assert_eq!(raw.close_code().await, CloseCode::NoHello as u64, "no stream at all");
    assert_eq!(node.closed().await.code, Some(CloseCode::NoHello));

    let Case { mut node, raw } = case(limits()).await;
    let (mut send, _recv) = raw.control(&[]).await;
    send.finish().unwrap();
    assert_eq!(raw.close_code().await, CloseCode::NoHello as u64, "an empty control stream");
    assert_eq!(node.closed().await.code, Some(CloseCode::NoHello));
}

#[tokio::test]
async fn a_stream_that_drips_is_closed_although_bytes_keep_coming() {
    let limits = Limits { frame: Duration::from_millis(150), ..Limits::default() };
    let Case { mut node, raw } = case(limits).await;
    let whole = hello(1).encode();
    let (mut send, _recv) = raw.control(&whole[..1]).await;
    let drip = async {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        for byte in whole[1..].iter().cycle() {
            tick.tick().await;
            if send.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    };
    let ((), code) = tokio::join!(drip, raw.close_code());
    assert_eq!(code, CloseCode::Frame as u64);
    assert!(node.closed().await.why.contains("in time"));
}

#[tokio::test]
async fn a_peer_that_never_reads_is_given_up() {
    let limits = Limits { write: Duration::from_millis(200), ..Limits::default() };
    let Case { mut node, raw } = case(limits).await;
    let _control = raw.control(&hello(1).encode()).await;
    let conn = match node.next().await {
        verbale::net::NetEvent::Frame { conn, .. } => conn,
        other => panic!("{other:?}"),
    };
    node.net.open(conn);
    for batch in 0..40 {
        node.net.push(conn, (0..10).map(|n| entry(batch * 10 + n, 40 << 10)).collect(), note());
    }
    let why = node.closed().await;
    assert_eq!((why.by, why.code), (EndedBy::Us, Some(CloseCode::Replaced)), "{why}");
    assert_eq!(raw.close_code().await, CloseCode::Replaced as u64);
}

#[tokio::test]
async fn a_queue_of_pushes_that_grows_without_end_is_given_up_at_once() {
    let Case { mut node, raw } = case(Limits::default()).await;
    let _control = raw.control(&hello(1).encode()).await;
    let conn = match node.next().await {
        verbale::net::NetEvent::Frame { conn, .. } => conn,
        other => panic!("{other:?}"),
    };
    let batch: Vec<_> = (0..100).map(|n| entry(n, 48 << 10)).collect();
    let bytes = 100 * (48 << 10);
    let mut pushed = 0;
    while pushed <= verbale::net::PUSH_QUEUE_BYTES + 20 * (1 << 20) {
        node.net.push(conn, batch.clone(), note());
        pushed += bytes;
        assert!(node.net.push_waiting(conn) <= verbale::net::PUSH_QUEUE_BYTES + 2 * bytes + (1 << 20));
    }
    assert_eq!(node.closed().await.code, Some(CloseCode::Replaced));
}

#[tokio::test]
async fn streams_that_are_not_in_order_are_closed_with_frame() {
    let entry_frame = || Frame::Entry(Box::new(entry(0, 10))).encode();
    for (what, bytes, finish) in [
        ("a stream that begins with HELLO", hello(1).encode(), false),
        ("a push that ends before its CHECKPOINT", entry_frame(), true),
        ("a receipt on the front of a push", [entry_frame(), Frame::Bye.encode()].concat().into(), false),
    ] {
        let Case { mut node, raw } = case(Limits::default()).await;
        let _control = raw.control(&hello(1).encode()).await;
        let conn = match node.next().await {
            verbale::net::NetEvent::Frame { conn, .. } => conn,
            other => panic!("{other:?}"),
        };
        node.net.open(conn);
        let (mut send, _recv) = raw.quic.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        if finish {
            send.finish().unwrap();
        }
        assert_eq!(raw.close_code().await, CloseCode::Frame as u64, "{what}");
        assert_eq!(node.closed().await.code, Some(CloseCode::Frame), "{what}");
    }
}

#[tokio::test]
async fn a_second_push_stream_beside_an_open_one_is_closed_with_frame() {
    let Case { mut node, raw } = case(Limits::default()).await;
    let _control = raw.control(&hello(1).encode()).await;
    let conn = match node.next().await {
        verbale::net::NetEvent::Frame { conn, .. } => conn,
        other => panic!("{other:?}"),
    };
    node.net.open(conn);
    let mut streams = Vec::new();
    for _ in 0..2 {
        let (mut send, recv) = raw.quic.open_bi().await.unwrap();
        send.write_all(&Frame::Checkpoint { note: note() }.encode()).await.unwrap();
        streams.push((send, recv));
    }
    assert_eq!(raw.close_code().await, CloseCode::Frame as u64);
}

#[tokio::test]
async fn a_peer_may_have_as_many_connections_as_the_limit_says() {
    let (xa, xb) = (State::new("XA"), State::new("XB"));
    let limits = Limits { connections_per_peer: 2, ..Limits::default() };
    let mut node = Node::start_limited(&xa, &[&xb], limits);
    let mut raws = Vec::new();
    for _ in 0..2 {
        raws.push(Raw::connect(&xb, &xa, node.address()).await);
        node.connected().await;
    }
    let third = Raw::connect(&xb, &xa, node.address()).await;
    assert_eq!(third.close_code().await, CloseCode::Flood as u64);
    raws.pop().unwrap().quic.close(9u32.into(), b"");
    assert_eq!(node.closed().await.by, EndedBy::Peer);
    let _fourth = Raw::connect(&xb, &xa, node.address()).await;
    node.connected().await;
}

#[tokio::test]
async fn a_thousand_strangers_stay_within_the_limit_and_a_peer_still_comes_in() {
    let (xa, xb, stranger) = (State::new("XA"), State::new("XB"), State::new("XC"));
    let limits = Limits { handshakes: 8, handshakes_per_prefix: 8, ..Limits::default() };
    let mut node = Node::start_limited(&xa, &[&xb], limits);
    let config = raw_config(client_config(&raw_tls(stranger.tls.clone(), stranger.name, &xa), xa.name).unwrap());
    let endpoint = raw_endpoint();
    let mut attempts = JoinSet::new();
    for _ in 0..1000 {
        let connecting = endpoint.connect_with(config.clone(), node.address(), "verbale.invalid").unwrap();
        attempts.spawn(async move {
            match connecting.await {
                // The server's judgement comes after the client believes to be connected.
                Ok(quic) => quic.closed().await,
                Err(error) => error,
            }
        });
    }
    let ends = soon("the end of all attempts", attempts.join_all()).await;
    assert_eq!(ends.len(), 1000);
    let count = node.net.strangers();
    assert!(count.peak <= 8 && count.peak > 0, "{count:?}");
    assert!(count.turned_away > 0 && count.failed > 0, "{count:?}");
    assert!(node.events.is_empty(), "the shell hears nothing of strangers");
    let _peer = Raw::connect(&xb, &xa, node.address()).await;
    node.connected().await;
    assert!(node.net.strangers().peak <= 8);
}

/// What was said last leaves in the same moment in which the other side vanishes, so that QUIC has nothing to repeat in it
/// that looks like a question.
#[tokio::test]
async fn a_peer_that_vanishes_in_the_middle_of_a_conversation_is_found_gone_and_not_waited_for() {
    let never = Duration::from_secs(600);
    let limits = Limits { keep_alive: never, keep_alive_accepted: never, ..Limits::default() };
    let (xa, xb) = (State::new("XA"), State::new("XB"));
    let mut node = Node::start_limited(&xa, &[&xb], limits);
    let address = node.address();
    let (vanish, vanished) = tokio::sync::oneshot::channel::<()>();
    let peer = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let raw = runtime.block_on(async {
            let raw = Raw::connect(&xb, &xa, address).await;
            std::mem::forget(raw.control(&hello(1).encode()).await);
            vanished.await.unwrap();
            raw
        });
        // Nothing runs any more that could say goodbye.
        drop(runtime);
        std::mem::forget(raw);
    });
    let conn = node.connected().await;
    node.frame().await;
    vanish.send(()).unwrap();
    peer.join().unwrap();
    node.net.send_control(conn, &hello(2));
    let ended = loop {
        match node.next().await {
            verbale::net::NetEvent::Silent { .. } => {}
            verbale::net::NetEvent::Closed { why, .. } => break why,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ended.by, EndedBy::Path);
    assert!(ended.why.contains("answered nothing"), "{ended}");
}
