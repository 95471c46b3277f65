//! What passes between two nodes.

use bytes::Bytes;
use verbale::exchange::{CloseCode, ConnId, FetchFault};
use verbale::net::{
    ENCLOSURE_ANSWER, EnclosureFault, EndedBy, FETCH_ANSWER, HEAD_ROOM, Layer, Limits, NetEvent, NetHandle,
};
use verbale::wire::{EnclosureAbsent, FaultCode, Frame, NotNowReason};

use crate::rig::{Pair, entry, entry_id, note, origin, soon};

fn cosigned(size: u64) -> Frame {
    Frame::Cosigned { origin: origin(), size, lines: vec!["a line".into()], window: 1 << 20 }
}

#[tokio::test]
async fn a_push_its_receipt_and_a_fetch_cross_one_connection() {
    let mut pair = Pair::up(Limits::default()).await;
    for round in 0..3u64 {
        let entries: Vec<_> = (round * 10..round * 10 + 10).map(|index| entry(index, 1024)).collect();
        pair.a.net.push(pair.at_a, entries.clone(), note());
        let (pushed, room) = pair.b.pushed().await;
        assert_eq!(pushed.entries, entries);
        assert_eq!(pushed.note, note());
        assert!(room.bytes() > 10 * 1024);
        pair.b.net.push_back(pair.at_b, &cosigned(round * 10 + 10));
        assert_eq!(pair.a.back().await, cosigned(round * 10 + 10));
    }
    let (net, conn) = (pair.a.net.clone(), pair.at_a);
    let fetching = tokio::spawn(async move { net.fetch(conn, origin(), 3, 5).await });
    match pair.b.next().await {
        NetEvent::FetchRequest { from: 3, to: 5, reply, .. } => {
            reply.send(vec![entry(3, 9), entry(4, 0)], note()).await
        }
        other => panic!("{other:?}"),
    }
    let fetched = soon("the answer", fetching).await.unwrap().unwrap();
    assert_eq!((fetched.entries, fetched.note), (vec![entry(3, 9), entry(4, 0)], note()));
}

#[tokio::test]
async fn a_head_without_entries_is_a_push() {
    let mut pair = Pair::up(Limits::default()).await;
    pair.b.net.push(pair.at_b, Vec::new(), note());
    let (pushed, room) = pair.a.pushed().await;
    assert!(pushed.entries.is_empty());
    assert_eq!(room.bytes() as u64, HEAD_ROOM, "a head without entries is not free");
    assert_eq!(pushed.note, note());
}

#[tokio::test]
async fn an_answer_to_fetch_ends_at_its_limit_and_holds_at_least_one_entry() {
    let mut pair = Pair::up(Limits::default()).await;
    let (net, conn) = (pair.a.net.clone(), pair.at_a);
    let fetching = tokio::spawn(async move { net.fetch(conn, origin(), 0, 200).await });
    let all: Vec<_> = (0..200).map(|index| entry(index, 40 << 10)).collect();
    match pair.b.next().await {
        NetEvent::FetchRequest { reply, .. } => reply.send(all, note()).await,
        other => panic!("{other:?}"),
    }
    let fetched = soon("the answer", fetching).await.unwrap().unwrap();
    let leaf = entry(0, 40 << 10).leaf.bytes().len() as u64;
    assert_eq!(fetched.entries.len() as u64, FETCH_ANSWER / ((40 << 10) + leaf));
    assert!(fetched.entries.iter().zip(0..).all(|(entry, index)| entry.index == index));
}

#[tokio::test]
async fn a_fetch_without_an_answer_ends() {
    let mut pair = Pair::up(Limits::default()).await;
    let (net, conn) = (pair.a.net.clone(), pair.at_a);
    let fetching = tokio::spawn(async move { net.fetch(conn, origin(), 0, 1).await });
    assert!(matches!(pair.b.next().await, NetEvent::FetchRequest { .. }), "and its reply is dropped here");
    assert_eq!(soon("the answer", fetching).await.unwrap(), Err(FetchFault::Ended));
    assert_eq!(pair.a.net.fetch(ConnId(999), origin(), 0, 1).await, Err(FetchFault::Ended));
}

/// A file in which every byte tells its place.
fn file(size: usize) -> Bytes {
    (0..size).map(|n| u8::try_from((n ^ (n >> 8) ^ (n >> 16)) & 0xff).unwrap()).collect()
}

async fn serve(file: &Bytes, event: NetEvent) {
    let NetEvent::EnclosureRequest { ordinal: 2, offset, reply, .. } = event else {
        panic!("{event:?}");
    };
    let mut writer = reply.present(file.len() as u64).await.unwrap();
    let mut at = usize::try_from(offset).unwrap();
    while at < file.len() {
        let piece = file.slice(at..file.len().min(at + 100_000));
        at += piece.len();
        if !writer.write(piece).await.unwrap() {
            break;
        }
    }
    writer.finish();
}

async fn download(net: NetHandle, conn: ConnId, offset: u64) -> Result<Vec<u8>, EnclosureFault> {
    let mut file = net.enclosure(conn, entry_id(), 2, offset).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = file.next().await? {
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(offset + bytes.len() as u64, file.size());
    Ok(bytes)
}

#[tokio::test]
async fn files_of_several_mib_arrive_while_pushes_go_on() {
    let mut pair = Pair::up(Limits::default()).await;
    let file = file(7 * (1 << 20) + 12_345);
    let whole = tokio::spawn(download(pair.b.net.clone(), pair.at_b, 0));
    let rest = tokio::spawn(download(pair.b.net.clone(), pair.at_b, 5_000_000));
    let shell = async {
        let mut served = 0;
        let (mut sent, mut receipts, mut held) = (0u64, 0u64, 0u64);
        while !(whole.is_finished() && rest.is_finished() && receipts >= 50) {
            while sent < held + 4 {
                pair.a.net.push(pair.at_a, vec![entry(sent, 1000)], note());
                sent += 1;
            }
            tokio::select! {
                event = pair.a.events.recv() => match event.unwrap() {
                    NetEvent::Back { frame, .. } => {
                        receipts += 1;
                        assert_eq!(frame, cosigned(receipts));
                    }
                    request => {
                        served += 1;
                        let file = file.clone();
                        tokio::spawn(async move { serve(&file, request).await });
                    }
                },
                (pushed, _) = pair.b.pushed() => {
                    assert_eq!(pushed.entries[0].index, held);
                    held += 1;
                    pair.b.net.push_back(pair.at_b, &cosigned(held));
                }
            }
        }
        served
    };
    let served = soon("both files and the receipts", shell).await;
    assert_eq!(whole.await.unwrap().unwrap(), file);
    assert_eq!(rest.await.unwrap().unwrap(), file[5_000_000..]);
    let answers = |bytes: usize| (bytes as u64).div_ceil(ENCLOSURE_ANSWER);
    assert_eq!(served, answers(file.len()) + answers(file.len() - 5_000_000), "each answer is bounded");
}

#[tokio::test]
async fn an_empty_file_arrives_and_a_missing_one_is_named() {
    let mut pair = Pair::up(Limits::default()).await;
    let empty = tokio::spawn(download(pair.a.net.clone(), pair.at_a, 0));
    serve(&Bytes::new(), pair.b.next().await).await;
    assert_eq!(soon("the file", empty).await.unwrap(), Ok(Vec::new()));

    let missing = tokio::spawn(download(pair.a.net.clone(), pair.at_a, 0));
    match pair.b.next().await {
        NetEvent::EnclosureRequest { reply, .. } => reply.absent(EnclosureAbsent::NotYet).await,
        other => panic!("{other:?}"),
    }
    assert_eq!(soon("the answer", missing).await.unwrap(), Err(EnclosureFault::Absent(EnclosureAbsent::NotYet)));

    let dropped = tokio::spawn(download(pair.a.net.clone(), pair.at_a, 0));
    assert!(matches!(pair.b.next().await, NetEvent::EnclosureRequest { .. }));
    assert_eq!(soon("the answer", dropped).await.unwrap(), Err(EnclosureFault::Ended));
}

#[tokio::test]
async fn files_that_pause_wait_while_pushes_pass() {
    let mut pair = Pair::up(Limits::default()).await;
    pair.a.net.pause_enclosures(pair.at_a, true);
    let file = file(300_000);
    let mut whole = tokio::spawn(download(pair.b.net.clone(), pair.at_b, 0));
    let (request, served) = (pair.a.next().await, file.clone());
    let serving = tokio::spawn(async move { serve(&served, request).await });
    for index in 0..20 {
        pair.a.net.push(pair.at_a, vec![entry(index, 1000)], note());
        assert_eq!(pair.b.pushed().await.0.entries[0].index, index);
        pair.round_trip(index).await;
    }
    assert!(!whole.is_finished() && !serving.is_finished());
    pair.a.net.pause_enclosures(pair.at_a, false);
    assert_eq!(soon("the file", &mut whole).await.unwrap().unwrap(), file);
}

#[tokio::test]
async fn files_on_their_way_leave_room_for_a_push_even_when_nobody_reads_them() {
    let mut pair = Pair::up(Limits::default()).await;
    let file = file(6 << 20);
    let mut unread = Vec::new();
    for _ in 0..2 {
        let (net, conn) = (pair.b.net.clone(), pair.at_b);
        let asking = tokio::spawn(async move { net.enclosure(conn, entry_id(), 2, 0).await });
        let (request, file) = (pair.a.next().await, file.clone());
        tokio::spawn(async move { serve(&file, request).await });
        unread.push(soon("the beginning of the file", asking).await.unwrap().unwrap());
    }
    let entries: Vec<_> = (0..150).map(|index| entry(index, 48 << 10)).collect();
    pair.a.net.push(pair.at_a, entries, note());
    assert_eq!(pair.b.pushed().await.0.entries.len(), 150);
}

#[tokio::test]
async fn no_stream_but_control_is_read_before_the_connection_is_opened() {
    let mut pair = Pair::greeted(Limits::default()).await;
    pair.a.net.open(pair.at_a);
    pair.a.net.push(pair.at_a, vec![entry(0, 10)], note());
    for nonce in 0..10 {
        // Any other event than the probes' would fail here.
        pair.round_trip(nonce).await;
    }
    pair.b.net.open(pair.at_b);
    assert_eq!(pair.b.pushed().await.0.entries, [entry(0, 10)]);
}

#[tokio::test]
async fn reading_stops_while_the_shell_holds_more_than_the_window() {
    let limits = Limits { push_window: 64 << 10, ..Limits::default() };
    let half = usize::try_from(limits.batch_bytes() / 2).unwrap() / (41 << 10);
    let mut pair = Pair::up(limits).await;
    for batch in 0..3 {
        let entries = (0..half).map(|n| entry((batch * half + n) as u64, 40 << 10)).collect();
        pair.a.net.push(pair.at_a, entries, note());
    }
    let (_first, room) = pair.b.pushed().await;
    let (_second, _held) = pair.b.pushed().await;
    for nonce in 0..10 {
        pair.round_trip(nonce).await;
    }
    drop(room);
    assert_eq!(pair.b.pushed().await.0.entries.len(), half);
}

/// Entries whose frames have exactly `bytes` bytes.
fn exactly(bytes: u64) -> Vec<verbale::wire::EntryFrame> {
    let size = |entry: &verbale::wire::EntryFrame| Frame::Entry(Box::new(entry.clone())).encode().len() as u64;
    let (mut entries, mut left) = (Vec::new(), bytes);
    while left > 90 << 10 {
        entries.push(entry(entries.len() as u64, 40 << 10));
        left -= size(entries.last().unwrap());
    }
    let half = left / 2;
    for want in [half, left - half] {
        let index = entries.len() as u64;
        let overhead = size(&entry(index, 40 << 10)) - (40 << 10);
        entries.push(entry(index, usize::try_from(want - overhead).unwrap()));
    }
    assert_eq!(entries.iter().map(size).sum::<u64>(), bytes);
    entries
}

#[tokio::test]
async fn a_batch_at_its_limit_passes_and_one_byte_more_is_a_flood() {
    let limits = Limits { push_window: 64 << 10, ..Limits::default() };
    let limit = limits.batch_bytes();
    let mut pair = Pair::up(limits).await;
    for bytes in [limit - 1, limit] {
        pair.a.net.push(pair.at_a, exactly(bytes), note());
        assert_eq!(pair.b.pushed().await.1.bytes() as u64, bytes + HEAD_ROOM, "the batch, and its head");
    }
    pair.a.net.push(pair.at_a, exactly(limit + 1), note());
    assert_eq!(pair.b.closed().await.code, Some(CloseCode::Flood));
    let at_a = pair.a.closed().await;
    assert_eq!((at_a.by, at_a.code), (EndedBy::Peer, Some(CloseCode::Flood)));
}

#[tokio::test]
async fn after_a_fault_the_next_push_begins_a_new_stream() {
    let mut pair = Pair::up(Limits::default()).await;
    let fault = Frame::Fault { code: FaultCode::BadRoot, origin: Some(origin()), index: 7, proof: Default::default() };
    for index in 0..5 {
        pair.a.net.push(pair.at_a, vec![entry(index, 100)], note());
        assert_eq!(pair.b.pushed().await.0.entries[0].index, index);
        pair.b.net.push_back(pair.at_b, &fault);
        assert_eq!(pair.a.back().await, fault);
    }
    pair.a.net.push(pair.at_a, vec![entry(9, 100)], note());
    assert_eq!(pair.b.pushed().await.0.entries[0].index, 9);
    pair.b.net.push_back(pair.at_b, &cosigned(10));
    assert_eq!(pair.a.back().await, cosigned(10));
}

#[tokio::test]
async fn an_answer_without_a_push_stream_is_dropped() {
    let mut pair = Pair::up(Limits::default()).await;
    pair.b.net.push_back(pair.at_b, &cosigned(1));
    pair.round_trip(1).await;
}

#[tokio::test]
async fn bye_arrives_before_the_end() {
    let mut pair = Pair::up(Limits::default()).await;
    pair.b.net.close(pair.at_b, CloseCode::GoingDown);
    assert_eq!(pair.a.frame().await, Frame::Bye);
    let (at_a, at_b) = (pair.a.closed().await, pair.b.closed().await);
    assert_eq!((at_a.by, at_a.code), (EndedBy::Peer, Some(CloseCode::GoingDown)));
    assert_eq!((at_b.by, at_b.code), (EndedBy::Us, Some(CloseCode::GoingDown)));
}

#[tokio::test]
async fn what_was_said_before_an_orderly_close_arrives() {
    let mut pair = Pair::greeted(Limits::default()).await;
    let not_now = Frame::NotNow { reason: NotNowReason::SecondInstance, retry_after_ms: 60_000 };
    pair.a.net.send_control(pair.at_a, &not_now);
    pair.a.net.close(pair.at_a, CloseCode::Replaced);
    assert_eq!(pair.b.frame().await, not_now);
    assert_eq!(pair.b.closed().await.code, Some(CloseCode::Replaced));
}

#[tokio::test]
async fn a_node_that_stops_tells_every_peer() {
    let mut pair = Pair::up(Limits::default()).await;
    soon("the stop", pair.a.net.shutdown()).await;
    assert_eq!(pair.b.frame().await, Frame::Bye);
    assert_eq!(pair.b.closed().await.code, Some(CloseCode::GoingDown));
    assert_eq!(pair.a.closed().await.by, EndedBy::Us);
}

#[tokio::test]
async fn an_orderly_close_in_the_middle_of_pushes_is_not_taken_for_a_fault() {
    for code in [CloseCode::GoingDown, CloseCode::Replaced] {
        let mut pair = Pair::up(Limits::default()).await;
        for index in 0..200 {
            pair.a.net.push(pair.at_a, vec![entry(index, 4000)], note());
            pair.b.net.push(pair.at_b, vec![entry(index, 4000)], note());
        }
        let _ = (pair.a.pushed().await, pair.b.pushed().await);
        pair.b.net.close(pair.at_b, code);
        for (node, by) in [(&mut pair.a, EndedBy::Peer), (&mut pair.b, EndedBy::Us)] {
            let why = loop {
                match node.next().await {
                    NetEvent::Closed { why, .. } => break why,
                    NetEvent::Pushed { .. } | NetEvent::Frame { frame: Frame::Bye, .. } => {}
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!((why.by, why.code), (by, Some(code)), "{code:?} {why}");
        }
    }
}

#[tokio::test]
async fn nothing_is_reported_of_a_connection_after_its_end_was_ordered() {
    let mut pair = Pair::up(Limits::default()).await;
    pair.b.net.close(pair.at_b, CloseCode::SuspendedOrUnknown);
    pair.a.net.push(pair.at_a, vec![entry(0, 10)], note());
    pair.a.net.send_control(pair.at_a, &Frame::Probe { nonce: 1 });
    assert_eq!(pair.b.closed().await.by, EndedBy::Us);
    let why = pair.a.closed().await;
    assert_eq!((why.layer, why.by), (Layer::Policy, EndedBy::Peer));
    assert!(pair.b.events.is_empty());
}

#[tokio::test]
async fn a_revoked_peer_is_cut_off_in_the_middle_of_pushes_and_notices() {
    let mut pair = Pair::up(Limits::default()).await;
    for index in 0..200 {
        pair.a.net.push(pair.at_a, vec![entry(index, 4000)], note());
        pair.b.net.push(pair.at_b, vec![entry(index, 4000)], note());
    }
    let _ = (pair.a.pushed().await, pair.b.pushed().await);
    pair.b.net.close(pair.at_b, CloseCode::Revoked);
    let why = loop {
        match pair.a.next().await {
            NetEvent::Closed { why, .. } => break why,
            NetEvent::Pushed { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert_ne!(why.by, EndedBy::Us, "{why}");
}
