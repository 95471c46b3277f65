//! Two histories of one log, as a restored backup makes them where nobody notices it, and how people end that.

use std::fs;
use std::path::Path;
use std::process::Command;

use verbale::api::{MessageState, WaitFor};

use crate::copies::{BLAMING, both_ways, delivered, words};
use crate::rig::{Rig, message, until, up};
use crate::world::{World, copy, subjects};

/// Puts an earlier copy of a stopped node's folder back so that nothing tells of it: the sentinel stays the file that it
/// was, as with an image of the whole disk.
fn put_back_silently(node: &Rig, copied: &Path) {
    for entry in fs::read_dir(&node.folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => fs::remove_dir_all(entry.path()).unwrap(),
            false if entry.file_name() == "sentinel" => {}
            false => fs::remove_file(entry.path()).unwrap(),
        }
    }
    let sentinel = fs::read(node.folder.join("sentinel")).unwrap();
    copy(copied, &node.folder);
    // Written over in place, it is still the same file.
    fs::write(node.folder.join("sentinel"), sentinel).unwrap();
}

/// `verbale peer reopen`, as a person gives it.
fn reopen(node: &Rig, peer: &Rig) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verbale"));
    command.args(["peer", "reopen", &peer.name.to_string(), "--dir"]).arg(&node.folder);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("when a person has agreed there too"), "{said}");
}

async fn frozen(node: &Rig) -> bool {
    node.status().await.troubles.iter().any(|trouble| trouble.code == "frozen")
}

#[tokio::test]
async fn two_histories_wait_for_a_person_on_each_side_and_nothing_is_lost_or_doubled() {
    let mut world = World::new(41).await;
    both_ways(&world, "before").await;
    let [early_a, early_b, late_a] = ["early-a", "early-b", "late-a"].map(|name| world.stage.path().join(name));
    world.a.stop();
    world.b.stop();
    copy(&world.a.folder, &early_a);
    copy(&world.b.folder, &early_b);
    world.a.start().await;
    world.b.start().await;
    up(&world.a, &world.b).await;
    for number in 0..2 {
        delivered(&world.a, &world.b, &format!("first {number}")).await;
    }
    world.a.stop();
    world.b.stop();
    copy(&world.a.folder, &late_a);
    // Both go back to before that, and XA says something else in its place.
    put_back_silently(&world.a, &early_a);
    put_back_silently(&world.b, &early_b);
    world.a.start().await;
    world.b.start().await;
    up(&world.a, &world.b).await;
    for number in 0..2 {
        delivered(&world.a, &world.b, &format!("second {number}")).await;
    }
    world.a.stop();
    // Now XA alone remembers the first history again.
    put_back_silently(&world.a, &late_a);
    world.a.start().await;
    until("the two histories are noticed", async || frozen(&world.a).await || frozen(&world.b).await).await;

    let World { a, b, .. } = &world;
    until("both know of it", async || {
        let said = words(&[a]).await + &words(&[b]).await;
        said.contains("two histories") && a.peer(b).await.connection == "frozen"
    })
    .await;
    let said = words(&[a, b]).await.to_lowercase();
    assert!(said.contains("restored backup") && said.contains("telephone") && said.contains("peer reopen"), "{said}");
    assert!(BLAMING.iter().all(|word| !said.contains(word)), "{said}");
    // One direction waits, the other goes on.
    let waits = a.send(message(b, "waits for people", WaitFor::Queued)).await;
    assert_eq!(waits.state, MessageState::Queued);
    delivered(b, a, "the other direction goes on").await;

    // One person is not enough.
    reopen(a, b);
    up_or_frozen(a, b).await;
    delivered(b, a, "after one person").await;
    assert!(!subjects(b).await.contains(&"waits for people".to_owned()), "one person is not enough");
    until("the other side asks its person", async || frozen(b).await).await;
    reopen(b, a);

    until("it goes on", async || subjects(b).await.contains(&"waits for people".to_owned())).await;
    until("nothing is frozen any more", async || !frozen(a).await && !frozen(b).await).await;
    both_ways(&world, "after").await;
    let World { a, b, .. } = &world;
    let mut received = subjects(b).await;
    received.sort_unstable();
    let mut expected = vec!["before", "second 0", "second 1", "first 0", "first 1", "waits for people", "after"];
    expected.sort_unstable();
    assert_eq!(received, expected, "each once");
    assert_eq!(
        subjects(a).await,
        ["before", "the other direction goes on", "after one person", "after"],
        "nothing was asked for twice"
    );
    a.all_holds().await;
    b.all_holds().await;
}

/// Waits until the connection that a decision has closed has come back.
async fn up_or_frozen(a: &Rig, b: &Rig) {
    until("they are in contact again", async || {
        ["up", "frozen"].contains(&a.peer(b).await.connection.as_str())
            && ["up", "frozen"].contains(&b.peer(a).await.connection.as_str())
    })
    .await;
}
