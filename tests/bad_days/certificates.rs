//! A TLS certificate that has run out, with real daemons: nothing passes, nothing is lost, both sides say so, and a new
//! certificate of the same root ends it without a restart.

use std::fs;
use std::path::Path;

use verbale::api::{MessageState, PingView, Reply, Request, WaitFor};
use verbale::exchange::{Act, Record};
use verbale::identity::{Passphrase, PrivateKey, TLS_VALIDITY, open_sealed, tls_certificate};
use verbale::name::Millis;

use crate::in_good_order;
use crate::rig::{PASSPHRASE, Rig, RootOf, fresh_id, message, now, until, up};
use crate::world::{all_arrived, subjects};

/// Makes a new TLS certificate for a node with the root of its State, as the State's people would: the key stays.
fn renew(node: &Rig) {
    let keys = node.folder.join("keys");
    let passphrase = Passphrase::new(PASSPHRASE.into()).unwrap();
    let sealed = fs::read_to_string(&node.root).unwrap();
    let root_key = open_sealed(&sealed, &passphrase).unwrap();
    let root = pem(&keys.join("root.pem")).into();
    let tls_key = PrivateKey::from_pem(&fs::read(keys.join("tls.key")).unwrap()).unwrap();
    let renewed = tls_certificate(node.name, &tls_key, &root, &root_key, now()).unwrap();
    let text = data_encoding::BASE64.encode(&renewed);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let text = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
    fs::write(keys.join("tls.pem"), text).unwrap();
}

/// The DER of the first block of a PEM file.
fn pem(path: &Path) -> Vec<u8> {
    let text = fs::read_to_string(path).unwrap();
    let block: String = text.lines().skip_while(|line| !line.starts_with("-----BEGIN")).skip(1).collect();
    let (base64, _) = block.split_once("-----END").unwrap();
    data_encoding::BASE64.decode(base64.as_bytes()).unwrap()
}

/// What the journal of a node notes under a subject.
fn noted(node: &Rig, wanted: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for group in verbale::journal::scan(&node.folder.join("journal"), 0).unwrap().flatten() {
        for record in group.records {
            match Record::decode(&record.bytes).act {
                Act::Noted { subject, text, .. } if subject == wanted => texts.push(text),
                _ => {}
            }
        }
    }
    texts
}

async fn ping(from: &Rig, to: &Rig) -> PingView {
    match from.call(Request::Ping { peer: to.name, id: fresh_id(), timeout_ms: 2_000 }).await {
        Ok(Reply::Ping(view)) => *view,
        other => panic!("{other:?}"),
    }
}

async fn says_expired(node: &Rig, whose: &Rig) {
    let status = node.status().await;
    let wanted = whose.name.to_string();
    let said = status.troubles.iter().find(|trouble| {
        trouble.code == "certificate" && trouble.what.contains("TLS certificate") && trouble.what.contains(&wanted)
    });
    let said = said.unwrap_or_else(|| panic!("{} says nothing of {wanted}: {status:#?}", node.name));
    assert_eq!(said.level, "error");
    assert!(said.what.contains("has expired") && said.affects.contains("messages wait"), "{said:?}");
    assert!(!said.todo.is_empty());
}

#[tokio::test]
async fn an_expired_certificate_restricts_the_session_and_a_new_one_ends_that() {
    let stage = tempfile::tempdir().unwrap();
    // It ended a minute ago.
    let made = Millis(now().0 - u64::try_from(TLS_VALIDITY.as_millis()).unwrap() - 60_000);
    let mut a = Rig::made_at(made, stage.path(), "XA", RootOf::TheState);
    let mut b = Rig::new(stage.path(), "XB", RootOf::TheState);
    let mut c = Rig::new(stage.path(), "XC", RootOf::TheState);
    for node in [&mut a, &mut b, &mut c] {
        node.start().await;
    }
    for (node, peer) in [(&a, &b), (&b, &a), (&b, &c), (&c, &b)] {
        node.add(peer).await.unwrap();
    }
    for number in 0..3 {
        let there = a.send(message(&b, &format!("there {number}"), WaitFor::Queued)).await;
        let back = b.send(message(&a, &format!("back {number}"), WaitFor::Queued)).await;
        assert_eq!((there.state, back.state), (MessageState::Queued, MessageState::Queued));
    }
    for (node, peer) in [(&a, &b), (&b, &a)] {
        until("the session is restricted", async || node.peer(peer).await.connection == "restricted").await;
        let view = node.peer(peer).await;
        assert!(view.why.contains("expired") && view.why.contains("wait"), "{view:?}");
        says_expired(node, &a).await;
        until("the journal tells of it", async || !noted(node, "restricted-session").is_empty()).await;
        assert!(noted(node, "restricted-session")[0].contains("expired at"));
    }
    // An entry of a ping is an entry: it waits like the others, and the layer is named.
    for (node, peer) in [(&a, &b), (&b, &a)] {
        let stopped = ping(node, peer).await;
        assert!(!stopped.delivered && stopped.stopped_at == "identity", "{stopped:?}");
        assert!(stopped.why.contains("expired"), "{stopped:?}");
        let view = node.peer(peer).await;
        assert_eq!((view.own_receipted, view.peer_size), (0, 0), "nothing passes: {view:?}");
        assert!(view.queue.queued >= 3, "{view:?}");
        assert!(node.inbox().await.is_empty());
    }
    // The others are not concerned.
    up(&b, &c).await;
    assert_eq!(b.send(message(&c, "to the third", WaitFor::Receipt)).await.state, MessageState::Delivered);

    renew(&a);
    a.call(Request::Reload).await.unwrap();
    up(&a, &b).await;
    for (from, to) in [(&a, &b), (&b, &a)] {
        until("what waited is delivered", async || {
            from.outbox().await.iter().filter(|row| row.peer == to.name).all(|row| row.state == MessageState::Delivered)
        })
        .await;
    }
    all_arrived(&a, &b).await;
    assert_eq!(subjects(&b).await, ["there 0", "there 1", "there 2"]);
    assert_eq!(subjects(&a).await, ["back 0", "back 1", "back 2"]);
    let passes = ping(&a, &b).await;
    assert!(passes.delivered, "{passes:?}");
    assert!(a.status().await.node.certificate_days > 300);
    for node in [&a, &b, &c] {
        in_good_order(&node.log());
        node.all_holds().await;
    }
    assert!(noted(&a, "restricted-session").last().unwrap().contains("full one again"));
}
