//! Old folders put back, on one side and on both, and two copies of one node.

use std::fs;
use std::time::Duration;

use verbale::api::{MessageState, Reply, Request, WaitFor};
use verbale::name::EntryId;

use crate::rig::{Rig, RootOf, fresh_id, message, until, up};
use crate::world::{World, copy, listens, queue, restore, subjects};

/// Words that no text for people may use of a State.
pub const BLAMING: [&str; 7] = ["hostile", "fault", "attack", "malicious", "guilty", "cheat", "violat"];

pub async fn delivered(from: &Rig, to: &Rig, subject: &str) -> EntryId {
    let sent = from.send(message(to, subject, WaitFor::Receipt)).await;
    assert_eq!(sent.state, MessageState::Delivered, "{subject}");
    sent.id
}

pub async fn both_ways(world: &World, subject: &str) {
    delivered(&world.a, &world.b, subject).await;
    delivered(&world.b, &world.a, subject).await;
}

async fn verified(world: &World) {
    world.a.all_holds().await;
    world.b.all_holds().await;
}

#[tokio::test]
async fn a_holder_whose_old_folder_was_put_back_is_filled_again() {
    let mut world = World::new(31).await;
    both_ways(&world, "before").await;
    let copied = world.stage.path().join("copied");
    world.b.stop();
    copy(&world.b.folder, &copied);
    world.b.start().await;
    for number in 0..5 {
        delivered(&world.a, &world.b, &format!("after {number}")).await;
    }
    delivered(&world.b, &world.a, "an answer that the old folder lacks").await;
    world.b.stop();
    restore(&world.b, &copied);
    world.b.start().await;
    up(&world.a, &world.b).await;
    both_ways(&world, "again").await;
    let received = subjects(&world.b).await;
    assert_eq!(received, ["before", "after 0", "after 1", "after 2", "after 3", "after 4", "again"]);
    assert_eq!(subjects(&world.a).await, ["before", "an answer that the old folder lacks", "again"]);
    verified(&world).await;
}

#[tokio::test]
async fn when_both_put_old_folders_of_different_age_back_messages_pass_again() {
    let mut world = World::new(32).await;
    both_ways(&world, "before").await;
    let copied = [world.stage.path().join("a"), world.stage.path().join("b")];
    world.a.stop();
    copy(&world.a.folder, &copied[0]);
    world.a.start().await;
    up(&world.a, &world.b).await;
    both_ways(&world, "between").await;
    world.b.stop();
    copy(&world.b.folder, &copied[1]);
    world.b.start().await;
    up(&world.a, &world.b).await;
    both_ways(&world, "later").await;
    world.a.stop();
    world.b.stop();
    restore(&world.a, &copied[0]);
    restore(&world.b, &copied[1]);
    world.a.start().await;
    world.b.start().await;
    both_ways(&world, "again").await;
    for node in [&world.a, &world.b] {
        let received = subjects(node).await;
        let times = |subject: &str| received.iter().filter(|one| *one == subject).count();
        assert_eq!((times("before"), times("between"), times("again")), (1, 1, 1), "{}: {received:?}", node.name);
    }
    verified(&world).await;
}

#[tokio::test]
async fn a_copy_that_was_taken_of_a_running_node_can_be_put_back() {
    let mut world = World::new(33).await;
    let copied = world.stage.path().join("copied");
    queue(&world.a, &world.b, 0..40).await;
    copy(&world.a.folder, &copied);
    queue(&world.a, &world.b, 40..60).await;
    until("all have arrived", async || world.b.inbox().await.len() == 60).await;
    world.a.kill();
    restore(&world.a, &copied);
    world.a.start().await;
    up(&world.a, &world.b).await;
    both_ways(&world, "again").await;
    let received = subjects(&world.b).await;
    let expected: Vec<String> = (0..60).map(|number| format!("{number:04}")).chain(["again".into()]).collect();
    assert_eq!(received, expected);
    verified(&world).await;
}

#[tokio::test]
async fn a_folder_put_back_twice_opens_a_volume_each_time() {
    let mut world = World::new(34).await;
    delivered(&world.a, &world.b, "before").await;
    let copied = world.stage.path().join("copied");
    world.a.stop();
    copy(&world.a.folder, &copied);
    let mut logs = vec![];
    for round in 0..2 {
        world.a.start().await;
        up(&world.a, &world.b).await;
        delivered(&world.a, &world.b, &format!("round {round}")).await;
        logs.push(world.a.peer(&world.b).await.own_log);
        world.a.stop();
        restore(&world.a, &copied);
    }
    world.a.start().await;
    up(&world.a, &world.b).await;
    both_ways(&world, "again").await;
    logs.push(world.a.peer(&world.b).await.own_log);
    logs.dedup();
    assert_eq!(logs.len(), 3, "{logs:?}");
    assert_eq!(subjects(&world.b).await, ["before", "round 0", "round 1", "again"]);
    verified(&world).await;
}

/// Starts a copy of a running node with the same keys on a port of its own.
async fn second_instance(world: &World) -> Rig {
    let copied = Rig::new(world.stage.path(), "XA", RootOf::SomebodyElse);
    let port = listens(&copied);
    fs::remove_dir_all(&copied.folder).unwrap();
    copy(&world.a.folder, &copied.folder);
    let path = copied.folder.join("verbale.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(&listens(&world.a).to_string(), &port.to_string())).unwrap();
    let mut copied = copied;
    copied.start().await;
    copied
}

/// What the nodes say about it, in one piece.
pub async fn words(nodes: &[&Rig]) -> String {
    let mut words = String::new();
    for node in nodes {
        let status = node.status().await;
        for trouble in status.troubles {
            words += &format!("{} {} {}\n", trouble.code, trouble.what, trouble.todo);
        }
        for peer in status.peers {
            words += &format!("{}\n", peer.why);
        }
    }
    words
}

#[tokio::test]
async fn a_second_instance_is_told_from_the_first_and_one_of_them_goes_on() {
    let mut world = World::new(35).await;
    both_ways(&world, "before").await;
    let mut copied = second_instance(&world).await;
    until("the second instance is noticed", async || words(&[&world.b]).await.contains("second-instance")).await;
    // The first one's messages go on.
    delivered(&world.a, &world.b, "from the first").await;
    let said = words(&[&world.a, &world.b, &copied]).await.to_lowercase();
    assert!(BLAMING.iter().all(|word| !said.contains(word)), "{said}");

    // The first one goes down; the second takes over where the peer has got to.
    world.a.stop();
    delivered(&copied, &world.b, "from the second").await;
    assert!(subjects(&copied).await.contains(&"before".to_owned()));

    // It comes back, meets a volume under its own key that it did not open, and fences itself.
    world.a.start().await;
    copied.stop();
    until("the first is fenced", async || words(&[&world.a]).await.contains("fenced")).await;
    let said = words(&[&world.a, &world.b]).await.to_lowercase();
    assert!(BLAMING.iter().all(|word| !said.contains(word)), "{said}");
    let held = world.a.send(message(&world.b, "waits for a person", WaitFor::Queued)).await;
    assert_eq!(held.state, MessageState::Queued);

    // A person decides.
    assert!(matches!(world.a.call(Request::Recover).await, Ok(Reply::Done)));
    both_ways(&world, "after the recovery").await;
    let expected = ["before", "from the first", "from the second", "waits for a person", "after the recovery"];
    assert_eq!(subjects(&world.b).await, expected);
    until("nothing is wrong any more", async || !words(&[&world.a]).await.contains("fenced")).await;
    verified(&world).await;
}

#[tokio::test]
async fn a_copy_that_is_told_of_the_first_signs_nothing() {
    let world = World::new(37).await;
    both_ways(&world, "before").await;
    let log = world.a.peer(&world.b).await.own_log;
    let mut copied = second_instance(&world).await;
    until("the copy is told", async || words(&[&copied]).await.contains("this node runs twice")).await;
    let waits = copied.send(message(&world.b, "by the copy", WaitFor::Queued)).await;
    delivered(&world.a, &world.b, "from the first").await;
    assert_eq!(copied.peer(&world.b).await.own_log, log, "it has opened no volume");
    let rows = copied.outbox().await;
    let row = rows.iter().find(|row| row.id == waits.id).unwrap();
    assert_eq!(row.state, MessageState::Queued, "and nothing is in its log");
    copied.stop();
    both_ways(&world, "after").await;
    assert_eq!(subjects(&world.b).await, ["before", "from the first", "after"]);
    verified(&world).await;
}

#[tokio::test]
async fn recover_on_a_healthy_node_loses_nothing() {
    let world = World::new(36).await;
    both_ways(&world, "before").await;
    assert!(matches!(world.a.call(Request::Recover).await, Ok(Reply::Done)));
    both_ways(&world, "after").await;
    assert_eq!(subjects(&world.b).await, ["before", "after"]);
    let again = Request::Ping { peer: world.b.name, id: fresh_id(), timeout_ms: 20_000 };
    let Ok(Reply::Ping(ping)) = world.a.client().await.unwrap().call_within(Duration::from_secs(30), "", &again).await
    else {
        panic!("no answer");
    };
    assert!(ping.delivered, "{ping:?}");
    verified(&world).await;
}
