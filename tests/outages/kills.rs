//! kill -9 of either side, at moments drawn from a seed, while hundreds of messages pass both ways.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use verbale::api::{LogFilter, MessageState, Reply, Request, Send, WaitFor};

use crate::relay::lane::mix;
use crate::relay::{Way, Weather};
use crate::rig::{Rig, insist, message, soon, until};
use crate::world::{World, subjects};

/// Senders on each side, each of which gives one command after the other.
const SENDERS: usize = 4;

/// Messages of each sender.
const EACH: usize = 60;

/// Every second message waits for its receipt; the others are believed once they are said to be queued.
fn letters(to: &Rig, sender: usize) -> Vec<Send> {
    let wait = |number| if number % 2 == 0 { WaitFor::Receipt } else { WaitFor::Queued };
    (0..EACH).map(|number| message(to, &format!("{sender}/{number:03}"), wait(number))).collect()
}

async fn give(folder: PathBuf, letters: Vec<Send>, done: watch::Sender<usize>) {
    for letter in letters {
        insist(&folder, letter).await;
        done.send_modify(|done| *done += 1);
    }
}

/// Kills one side or both, `kills` times.
async fn killed(seed: u64, kills: usize, weather: &Weather) {
    let mut world = World::new(seed).await;
    world.path.weather(weather);
    let (done, mut counted) = watch::channel(0);
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        senders.spawn(give(world.a.folder.clone(), letters(&world.b, sender), done.clone()));
        senders.spawn(give(world.b.folder.clone(), letters(&world.a, sender), done.clone()));
    }
    let all = 2 * SENDERS * EACH;
    for kill in 0..kills {
        let drawn = mix(seed ^ mix(kill as u64));
        let from = kill * all / kills;
        let at = from + usize::try_from(drawn % (all / kills / 2) as u64).unwrap();
        soon("the moment of the kill", counted.wait_for(|done| *done >= at)).await.unwrap();
        let which = drawn >> 62;
        if which != 1 {
            world.a.kill();
        }
        if which != 2 {
            world.b.kill();
        }
        if which != 1 {
            world.a.start().await;
        }
        if which != 2 {
            world.b.start().await;
        }
    }
    while let Some(ended) = senders.join_next().await {
        ended.unwrap();
    }
    for node in [&world.a, &world.b] {
        until("all have arrived", async || node.inbox().await.len() >= SENDERS * EACH).await;
        let received = subjects(node).await;
        for sender in 0..SENDERS {
            let begins = format!("{sender}/");
            let theirs: Vec<&String> = received.iter().filter(|subject| subject.starts_with(&begins)).collect();
            let expected: Vec<String> = (0..EACH).map(|number| format!("{sender}/{number:03}")).collect();
            assert_eq!(theirs, expected.iter().collect::<Vec<_>>(), "from {begins} at {}", node.name);
        }
    }
    world.all_is_well().await;
}

#[tokio::test]
async fn killed_again_and_again_nothing_is_lost_doubled_or_out_of_order() {
    killed(101, 6, &Weather::default()).await;
}

#[tokio::test]
async fn killed_on_a_bad_path_nothing_is_lost_doubled_or_out_of_order() {
    let weather = Weather {
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(15),
        loss: 0.05,
        ..Weather::default()
    };
    killed(102, 5, &weather).await;
}

/// The enclosure that is under way while both sides are killed: the largest that is taken by default.
const LARGE: usize = 64 << 20;

#[tokio::test]
async fn a_large_enclosure_goes_on_after_both_sides_were_killed_and_is_held_once() {
    let mut world = World::new(103).await;
    let bytes: Vec<u8> = (0..LARGE as u64 / 8).flat_map(|at| mix(at).to_le_bytes()).collect();
    let file = world.stage.path().join("large.bin");
    std::fs::write(&file, &bytes).unwrap();
    let mut send = message(&world.b, "with a large file", WaitFor::Receipt);
    send.enclosures = vec![world.a.upload(&file).await];
    let sent = world.a.send(send).await;
    assert_eq!(sent.state, MessageState::Delivered, "the text does not wait for the file");
    let passed = |world: &World| world.path.counts(Way::There).bytes;
    let begun = passed(&world);
    for part in [1, 2] {
        let at = begun + (LARGE / 4 * part) as u64;
        soon("a part has passed", world.path.counted(Way::There, |counts| counts.bytes >= at)).await;
        world.a.kill();
        world.b.kill();
        world.a.start().await;
        world.b.start().await;
    }
    until("all of it is held", async || world.a.outbox().await[0].state == MessageState::Held).await;
    let all = passed(&world) - begun;
    assert!(all < (LARGE + LARGE / 2) as u64, "it began anew: {all} bytes have passed");
    let to = world.stage.path().join("arrived");
    let mut arrived = tokio::fs::File::create(&to).await.unwrap();
    world.b.client().await.unwrap().download(sent.id, 0, &mut arrived, &|_| ()).await.unwrap();
    assert!(std::fs::read(&to).unwrap() == bytes, "other bytes");
    let filter = LogFilter { machine: true, ..LogFilter::default() };
    let Ok(Reply::Log(rows)) = world.b.call(Request::LogShow(filter)).await else { panic!("no log") };
    let held = rows.iter().filter(|row| row.kind.eq_ignore_ascii_case("held")).count();
    assert_eq!(held, 1, "{rows:#?}");
    world.a.all_holds().await;
    let view = world.b.verify().await;
    assert!(view.good && view.enclosures == 1, "{view:#?}");
}
