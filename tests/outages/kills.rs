//! kill -9 of either side, at moments drawn from a seed, while hundreds of messages pass both ways.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use verbale::api::{Client, MessageState, Reply, Request, Send, WaitFor};

use crate::relay::{Weather, mix};
use crate::rig::{PATIENCE, Rig, message, until};
use crate::world::{World, subjects};

/// Senders on each side, each of which gives one command after the other.
const SENDERS: usize = 4;

/// Messages of each sender.
const EACH: usize = 60;

/// How often a command without an answer is given again.
const TICK: Duration = Duration::from_millis(20);

/// Every second message waits for its receipt; the others are believed once they are said to be queued.
fn letters(to: &Rig, sender: usize) -> Vec<Send> {
    let wait = |number| if number % 2 == 0 { WaitFor::Receipt } else { WaitFor::Queued };
    (0..EACH).map(|number| message(to, &format!("{sender}/{number:03}"), wait(number))).collect()
}

/// Gives the commands as a person would: one without an answer again, under the same id.
async fn give(folder: PathBuf, letters: Vec<Send>, done: Arc<AtomicUsize>) {
    for letter in letters {
        let deadline = Instant::now() + PATIENCE;
        let request = Request::Send(Box::new(letter.clone()));
        loop {
            let client = Client::connect(&folder).await;
            if let Ok(client) = client
                && let Ok(Reply::Sent(sent)) = client.call_within(PATIENCE, "sending", &request).await
                && (letter.wait == WaitFor::Queued || sent[0].state == MessageState::Delivered)
            {
                break;
            }
            assert!(Instant::now() < deadline, "{} got no answer", letter.subject);
            tokio::time::sleep(TICK).await;
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Kills one side or both, `kills` times.
async fn killed(seed: u64, kills: usize, weather: &Weather) {
    let mut world = World::new(seed).await;
    world.path.weather(weather);
    let done = Arc::new(AtomicUsize::new(0));
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
        until("the moment of the kill", async || done.load(Ordering::Relaxed) >= at).await;
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
