//! Two nodes and what passes between them.

use verbale::api::{Acknowledge, MessageState, PingView, Reply, Request, WaitFor};
use verbale::name::NodeName;

use crate::rig::{Rig, RootOf, fresh_id, insist, message, pair, until, up};

async fn ping(from: &Rig, to: NodeName) -> PingView {
    match from.call(Request::Ping { peer: to, id: fresh_id(), timeout_ms: 20_000 }).await {
        Ok(Reply::Ping(view)) => *view,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn two_states_exchange_messages_both_ways_with_receipts() {
    let stage = tempfile::tempdir().unwrap();
    let (a, b) = pair(stage.path()).await;
    for number in 0..5 {
        let there = a.send(message(&b, &format!("there {number}"), WaitFor::Receipt)).await;
        let back = b.send(message(&a, &format!("back {number}"), WaitFor::Receipt)).await;
        assert_eq!((there.state, back.state), (MessageState::Delivered, MessageState::Delivered));
        assert!(there.receipt_time.is_some());
    }
    let subjects: Vec<String> = b.inbox().await.into_iter().rev().map(|row| row.subject).collect();
    assert_eq!(subjects, ["there 0", "there 1", "there 2", "there 3", "there 4"]);
    assert!(a.inbox().await.iter().all(|row| row.exercise), "exercise States mark everything");
    let ping = ping(&a, b.name).await;
    assert!(ping.delivered && ping.probe.is_some(), "{ping:?}");
    a.all_holds().await;
    b.all_holds().await;
}

#[tokio::test]
async fn a_repeated_command_is_the_same_command_and_other_words_under_its_id_are_refused() {
    let stage = tempfile::tempdir().unwrap();
    let (a, b) = pair(stage.path()).await;
    let send = message(&b, "once", WaitFor::Receipt);
    let first = a.send(send.clone()).await;
    let again = a.send(send.clone()).await;
    assert_eq!((first.id, first.state), (again.id, again.state));
    let other = verbale::api::Send { text: "Other words.".into(), ..send.clone() };
    assert_eq!(a.call(Request::Send(Box::new(other))).await.unwrap_err().code, "other-bytes");
    // Also where whoever repeats it says by mistake that the id is new.
    let mut fresh = send;
    fresh.to[0].fresh = true;
    let third = a.send(fresh).await;
    assert_eq!((third.id, third.state), (first.id, first.state));
    assert_eq!(b.inbox().await.len(), 1);
}

#[tokio::test]
async fn what_is_sent_while_the_peer_is_down_arrives_once_and_in_order_when_it_is_back() {
    let stage = tempfile::tempdir().unwrap();
    let (a, mut b) = pair(stage.path()).await;
    b.stop();
    until("the peer is down", async || a.peer(&b).await.connection != "up").await;
    for number in 0..20 {
        let sent = a.send(message(&b, &format!("{number:02}"), WaitFor::Queued)).await;
        assert_eq!(sent.state, MessageState::Queued);
    }
    let waiting = a.peer(&b).await;
    assert_eq!(waiting.queue.queued + waiting.queue.unreceipted, 20);
    assert!(!waiting.why.is_empty(), "{waiting:?}");
    b.start().await;
    until("all have arrived", async || b.inbox().await.len() == 20).await;
    let subjects: Vec<String> = b.inbox().await.into_iter().rev().map(|row| row.subject).collect();
    assert_eq!(subjects, (0..20).map(|number| format!("{number:02}")).collect::<Vec<_>>());
    a.all_holds().await;
    b.all_holds().await;
}

/// Sends many messages from eight senders while a daemon is killed, and starts it again.
async fn killed_while_many_pass(kill_the_author: bool) {
    const MESSAGES: usize = 400;
    const SENDERS: usize = 8;
    let stage = tempfile::tempdir().unwrap();
    let (mut a, mut b) = pair(stage.path()).await;
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..SENDERS {
        let sends: Vec<_> = (0..MESSAGES / SENDERS)
            .map(|number| message(&b, &format!("{sender}/{number}"), WaitFor::Receipt))
            .collect();
        let folder = a.folder.clone();
        senders.spawn(async move {
            for send in sends {
                insist(&folder, send).await;
            }
        });
    }
    until("a third has passed", async || b.inbox().await.len() >= MESSAGES / 3).await;
    if kill_the_author {
        a.kill();
        a.start().await;
    } else {
        b.kill();
        b.start().await;
    }
    while let Some(ended) = senders.join_next().await {
        ended.unwrap();
    }
    let (sent, received) = (a.outbox().await, b.inbox().await);
    assert_eq!((sent.len(), received.len()), (MESSAGES, MESSAGES));
    assert!(received.iter().all(|row| !row.repeat));
    let ids =
        |rows: &[verbale::api::MessageRow]| rows.iter().map(|row| row.id).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(ids(&sent), ids(&received));
    a.all_holds().await;
    b.all_holds().await;
}

#[tokio::test]
async fn a_holder_killed_in_the_middle_loses_and_doubles_nothing() {
    killed_while_many_pass(false).await;
}

#[tokio::test]
async fn an_author_killed_in_the_middle_loses_and_doubles_nothing() {
    killed_while_many_pass(true).await;
}

#[tokio::test]
async fn an_enclosure_arrives_byte_equal_and_is_said_to_be_held() {
    let stage = tempfile::tempdir().unwrap();
    let (a, b) = pair(stage.path()).await;
    let bytes: Vec<u8> = (0..3u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let file = stage.path().join("report.bin");
    std::fs::write(&file, &bytes).unwrap();
    let empty = stage.path().join("empty.txt");
    std::fs::write(&empty, []).unwrap();
    let mut send = message(&b, "with files", WaitFor::Held);
    send.enclosures = vec![a.upload(&file).await, a.upload(&empty).await];
    let sent = a.send(send).await;
    assert_eq!(sent.state, MessageState::Held);
    let to = stage.path().join("arrived");
    let mut arrived = tokio::fs::File::create(&to).await.unwrap();
    let length = b.client().await.unwrap().download(sent.id, 0, &mut arrived, &|_| ()).await.unwrap();
    assert_eq!(length, bytes.len() as u64);
    assert!(std::fs::read(&to).unwrap() == bytes);
    assert!(std::fs::read_dir(a.folder.join("uploads")).unwrap().next().is_none(), "uploads are gone once sent");
    a.all_holds().await;
    let view = b.verify().await;
    assert!(view.good && view.enclosures == 2, "{view:#?}");
}

#[tokio::test]
async fn files_that_the_other_node_refuses_are_not_waited_for_and_the_text_arrives() {
    let stage = tempfile::tempdir().unwrap();
    let (a, mut b) = pair(stage.path()).await;
    b.stop();
    let path = b.folder.join("verbale.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let smaller = text.replace("enclosure_max = \"64 MiB\"", "enclosure_max = \"1 KiB\"");
    assert_ne!(smaller, text);
    std::fs::write(&path, smaller).unwrap();
    b.start().await;
    up(&a, &b).await;
    let file = stage.path().join("large.bin");
    std::fs::write(&file, [7; 1025]).unwrap();
    let mut send = message(&b, "with a large file", WaitFor::Held);
    send.enclosures = vec![a.upload(&file).await];
    let sent = a.send(send).await;
    assert_eq!((sent.state, sent.files_refused.as_str()), (MessageState::Delivered, "file-too-large"));
    assert_eq!(a.outbox().await[0].files_refused, "file-too-large");
    assert_eq!(b.inbox().await[0].subject, "with a large file");
}

#[tokio::test]
async fn the_files_of_a_refused_command_do_not_wait_for_ever() {
    let stage = tempfile::tempdir().unwrap();
    let (a, b) = pair(stage.path()).await;
    let file = stage.path().join("report.txt");
    std::fs::write(&file, b"the report").unwrap();
    let nobody = "XQ".parse().unwrap();
    for number in 0..300 {
        let mut send = message(&b, "to nobody", WaitFor::Queued);
        send.to[0].peer = nobody;
        send.enclosures = vec![a.upload(&file).await];
        let refused = a.call(Request::Send(Box::new(send))).await.unwrap_err();
        assert_eq!(refused.code, "unknown-peer", "{number}");
    }
    assert!(std::fs::read_dir(a.folder.join("uploads")).unwrap().next().is_none());
    let mut send = message(&b, "with its file", WaitFor::Held);
    send.enclosures = vec![a.upload(&file).await];
    assert_eq!(a.send(send).await.state, MessageState::Held);
}

#[tokio::test]
async fn a_file_that_was_lost_or_damaged_here_is_asked_for_again() {
    let stage = tempfile::tempdir().unwrap();
    let (a, b) = pair(stage.path()).await;
    let file = stage.path().join("report.bin");
    let bytes: Vec<u8> = (0..200_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(&file, &bytes).unwrap();
    let mut send = message(&b, "with a file", WaitFor::Held);
    send.enclosures = vec![a.upload(&file).await];
    let sent = a.send(send).await;
    let stored = std::fs::read_dir(b.folder.join("enclosures")).unwrap().next().unwrap().unwrap().path();
    let to = stage.path().join("arrived");
    let saved = async || {
        let mut arrived = tokio::fs::File::create(&to).await.unwrap();
        let client = b.client().await.unwrap();
        client.download(sent.id, 0, &mut arrived, &|_| ()).await.is_ok() && std::fs::read(&to).unwrap() == bytes
    };
    assert!(saved().await);
    let mut damaged = std::fs::read(&stored).unwrap();
    damaged[100_000] ^= 1;
    std::fs::write(&stored, damaged).unwrap();
    assert!(!saved().await, "a damaged file is not given out");
    until("the damaged file is back", saved).await;
    b.all_holds().await;
    std::fs::remove_file(&stored).unwrap();
    assert!(!saved().await);
    until("the lost file is back", saved).await;
    b.all_holds().await;
    a.all_holds().await;
    let held = a.outbox().await[0].state;
    assert_eq!(held, MessageState::Held);
}

#[tokio::test]
async fn reading_sends_nothing_and_an_acknowledgement_is_a_persons() {
    let stage = tempfile::tempdir().unwrap();
    let (a, b) = pair(stage.path()).await;
    let sent = a.send(message(&b, "please read", WaitFor::Receipt)).await;
    let before = b.peer(&a).await;
    let Ok(Reply::Message(view)) = b.call(Request::Show { message: sent.id }).await else { panic!() };
    assert_eq!(view.texts[0].text, "The text of please read.");
    assert_eq!(b.peer(&a).await.own_size, before.own_size, "reading sends nothing");
    until("it counts as read", async || b.inbox().await[0].read).await;
    let acknowledge =
        |on_terminal, demo| Request::Acknowledge(Acknowledge { message: sent.id, id: fresh_id(), on_terminal, demo });
    assert_eq!(b.call(acknowledge(false, false)).await.unwrap_err().code, "not-a-terminal");
    b.call(acknowledge(false, true)).await.unwrap();
    until("the author hears of it", async || a.outbox().await[0].state == MessageState::Acknowledged).await;
    assert_eq!(b.call(acknowledge(false, true)).await.unwrap_err().code, "already-acknowledged");
    a.all_holds().await;
    b.all_holds().await;
}

#[tokio::test]
async fn another_root_for_the_same_state_gets_nowhere_and_the_refusal_is_journalled() {
    let stage = tempfile::tempdir().unwrap();
    let (a, b) = pair(stage.path()).await;
    let mut impostor = Rig::new(stage.path(), "XB", RootOf::SomebodyElse);
    impostor.start().await;
    impostor.add(&a).await.unwrap();
    let stopped = ping(&impostor, a.name).await;
    assert!(!stopped.delivered, "{stopped:?}");
    assert_eq!(stopped.stopped_at, "identity", "{stopped:?}");
    assert_eq!(a.add(&impostor).await.unwrap_err().code, "peer-conflict");
    until("the refusal is in the journal", async || {
        verbale::journal::scan(&a.folder.join("journal"), 0).unwrap().flatten().any(|group| {
            group.records.iter().any(|record| {
                matches!(verbale::exchange::Record::decode(&record.bytes).act,
                    verbale::exchange::Act::Noted { subject, .. } if subject == "refused-connection")
            })
        })
    })
    .await;
    up(&a, &b).await;
    a.all_holds().await;
}

#[tokio::test]
async fn a_wrong_fingerprint_is_refused_with_the_reason() {
    let stage = tempfile::tempdir().unwrap();
    let (mut a, b) = (Rig::new(stage.path(), "XA", RootOf::TheState), Rig::new(stage.path(), "XB", RootOf::TheState));
    a.start().await;
    let mut other = Rig::new(stage.path(), "XC", RootOf::TheState);
    other.introduction.clone_from(&b.introduction);
    assert_eq!(a.add(&other).await.unwrap_err().code, "wrong-fingerprint");
    assert!(matches!(a.call(Request::PeerList).await, Ok(Reply::Peers(peers)) if peers.is_empty()));
}
