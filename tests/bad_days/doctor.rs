//! What `ping` and `doctor` say, with real daemons and real sockets: the first layer that stops a message, and why.

use std::net::UdpSocket;
use std::time::Duration;

use verbale::api::{PeerAction, PingView, Reply, Request};

use crate::rig::{Rig, RootOf, fresh_id, until, up};
use crate::world::{dials, listens};

/// Longer than any attempt to dial.
const TIMEOUT_MS: u64 = 60_000;

async fn ping(from: &Rig, to: &Rig) -> PingView {
    let request = Request::Ping { peer: to.name, id: fresh_id(), timeout_ms: TIMEOUT_MS };
    let within = Duration::from_millis(TIMEOUT_MS) * 2;
    match from.client().await.unwrap().call_within(within, "pinging", &request).await {
        Ok(Reply::Ping(ping)) => *ping,
        other => panic!("{other:?}\n{}", from.log()),
    }
}

async fn stops(from: &Rig, to: &Rig, when: &str, layer: &str, words: &[&str]) {
    let ping = ping(from, to).await;
    let said = format!("{} {}", ping.why, ping.todo);
    assert_eq!((ping.delivered, ping.stopped_at.as_str()), (false, layer), "{when}: {said}");
    assert!(words.iter().all(|word| said.contains(word)), "{when}: {said}");
    assert!(!ping.todo.is_empty(), "{when}: nothing to do?");
    eprintln!("{when}: {layer}: {said}");
}

async fn arrives(from: &Rig, to: &Rig, when: &str) {
    let ping = ping(from, to).await;
    assert!(ping.delivered && ping.stopped_at.is_empty() && ping.probe.is_some(), "{when}: {ping:?}\n{}", from.log());
}

async fn act(on: &Rig, peer: &Rig, action: PeerAction) {
    on.call(Request::PeerAct { peer: peer.name, action, confirmed_by_flag: true }).await.unwrap();
}

/// Starts `node` again with another address for `peer`.
async fn again(node: &mut Rig, peer: &Rig, address: &str) {
    node.stop();
    let placeholder = listens(peer);
    dials(node, peer, placeholder);
    let path = node.folder.join("verbale.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, after) = text.rsplit_once(&placeholder.to_string()).unwrap();
    std::fs::write(&path, format!("{before}{address}{after}")).unwrap();
    node.start().await;
}

#[tokio::test]
async fn the_first_layer_that_stops_a_message_is_named_with_its_cause() {
    let stage = tempfile::tempdir().unwrap();
    let mut a = Rig::new(stage.path(), "XA", RootOf::TheState);
    let mut b = Rig::new(stage.path(), "XB", RootOf::TheState);
    let mut c = Rig::new(stage.path(), "XC", RootOf::TheState);
    a.start().await;
    b.start().await;

    a.add(&b).await.unwrap();
    stops(&a, &b, "not added there", "identity", &["has not added this node", "verbale peer add"]).await;
    b.add(&a).await.unwrap();
    up(&a, &b).await;
    arrives(&a, &b, "added on both sides").await;

    act(&b, &a, PeerAction::Suspend).await;
    until("the suspension is felt", async || a.peer(&b).await.connection != "up").await;
    stops(&a, &b, "suspended there", "policy", &["suspended or not known there", "telephone"]).await;
    act(&b, &a, PeerAction::Resume).await;
    arrives(&a, &b, "resumed there").await;
    act(&a, &b, PeerAction::Suspend).await;
    stops(&a, &b, "suspended here", "policy", &["XB is suspended here", "verbale peer resume XB"]).await;
    act(&a, &b, PeerAction::Resume).await;
    arrives(&a, &b, "resumed here").await;

    b.stop();
    stops(&a, &b, "stopped in order", "UDP", &["XB's node said at", "going down", "when it is back"]).await;
    b.start().await;
    up(&a, &b).await;
    b.kill();
    stops(&a, &b, "killed", "UDP", &["nothing listens on UDP port", "whether its node runs"]).await;

    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    again(&mut a, &b, &silent.local_addr().unwrap().to_string()).await;
    stops(&a, &b, "a port that says nothing", "UDP", &["nothing at all came back", "firewalls"]).await;
    again(&mut a, &b, "no-such-node.invalid:7411").await;
    stops(&a, &b, "a name that is none", "address", &["cannot be looked up", "[peers]"]).await;

    c.start().await;
    c.add(&a).await.unwrap();
    a.add(&c).await.unwrap();
    up(&a, &c).await;
    again(&mut a, &b, &listens(&c).to_string()).await;
    stops(&a, &b, "another State's node", "identity", &["XB was dialled, but the certificate names XC"]).await;
    arrives(&a, &c, "the peers beside it").await;
}
