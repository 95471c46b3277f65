//! A poor link: 64 kbit/s, 700 ms and 5 % loss each way, between two real daemons. Prints bytes and seconds for each
//! thing that an operator does, and the bytes of an idle hour.
//!
//! `cargo bench --bench slow_link -- [--seed N] [--idle SECONDS]`

#[allow(dead_code, reason = "it serves tests too")]
#[path = "../tests/relay/mod.rs"]
mod relay;
#[allow(dead_code, reason = "it serves tests too")]
#[path = "../tests/node/rig.rs"]
mod rig;
#[allow(dead_code, reason = "it serves tests too")]
#[path = "../tests/outages/world.rs"]
mod world;

use std::time::{Duration, Instant};

use verbale::api::{MessageState, Reply, Request, WaitFor};
use verbale::name::Precedence;

use relay::{Way, Weather};
use rig::{fresh_id, message};
use world::World;

/// 64 kbit/s.
const RATE: u64 = 8_000;

/// What a modem and its provider keep for a slow line: two seconds of it.
const QUEUE: u64 = 16_000;

/// Messages sent one after the other.
const SINGLE: usize = 20;

/// Messages given at once.
const BURST: usize = 50;

/// Bytes of a message's text.
const TEXT: usize = 1_024;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(900);

/// Bytes on the line, and the moment.
#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    there: u64,
    back: u64,
    datagrams: u64,
}

impl Mark {
    fn now(world: &World) -> Self {
        let (there, back) = (world.path.counts(Way::There), world.path.counts(Way::Back));
        let datagrams = there.datagrams + back.datagrams;
        Self { at: Instant::now(), there: there.bytes, back: back.bytes, datagrams }
    }
}

fn row(what: &str, world: &World, since: Mark, each: usize) {
    let now = Mark::now(world);
    let each = each as f64;
    let per = |now: u64, then: u64| (now - then) as f64 / each;
    println!(
        "| {what} | {:.1} | {:.0} | {:.0} | {:.1} |",
        now.at.duration_since(since.at).as_secs_f64() / each,
        per(now.there, since.there),
        per(now.back, since.back),
        per(now.datagrams, since.datagrams),
    );
}

fn argument(name: &str) -> Option<u64> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map(|value| value.parse().expect("a number"))
}

async fn until(what: &str, mut asked: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !asked().await {
        assert!(Instant::now() < deadline, "not in {} s: {what}", LIMIT.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn send(world: &World, count: usize, precedence: Precedence) -> usize {
    let before = delivered(world).await;
    for number in 0..count {
        let mut send = message(&world.b, &format!("message {number}"), WaitFor::Queued);
        send.text = "0123456789abcde\n".repeat(TEXT / 16);
        send.precedence = precedence;
        if precedence >= Precedence::Immediate {
            send.text.truncate(200);
            "measured on a poor link".clone_into(&mut send.justification);
        }
        world.a.send(send).await;
    }
    before + count
}

async fn delivered(world: &World) -> usize {
    let rows = world.a.outbox().await;
    rows.iter().filter(|row| matches!(row.state, MessageState::Delivered | MessageState::Held)).count()
}

async fn up(world: &World) {
    until("both are up", async || {
        world.a.peer(&world.b).await.connection == "up" && world.b.peer(&world.a).await.connection == "up"
    })
    .await;
}

async fn measure(seed: u64, idle: Duration) {
    let mut world = World::new(seed).await;
    world.a.stop();
    world.b.stop();
    let weather =
        Weather { delay: Duration::from_millis(700), loss: 0.05, rate: Some(RATE), queue: QUEUE, ..Weather::default() };
    world.path.weather(&weather);
    println!(
        "64 kbit/s, 700 ms and 5 % loss each way, a queue of {QUEUE} bytes, seed {seed}. Bytes with IPv4 and UDP.\n"
    );
    println!("| what | seconds | bytes there | bytes back | datagrams |\n|---|---|---|---|---|");
    let mark = Mark::now(&world);
    world.a.start().await;
    world.b.start().await;
    up(&world).await;
    row("both nodes started, until messages can pass", &world, mark, 1);

    let mark = Mark::now(&world);
    let wanted = send(&world, 1, Precedence::Routine).await;
    until("the first receipt", async || delivered(&world).await >= wanted).await;
    row("the first message, until its receipt is here", &world, mark, 1);

    let mark = Mark::now(&world);
    let mut longest = Duration::ZERO;
    for _ in 0..SINGLE {
        let began = Instant::now();
        let wanted = send(&world, 1, Precedence::Routine).await;
        until("a receipt", async || delivered(&world).await >= wanted).await;
        longest = longest.max(began.elapsed());
    }
    row(&format!("each of {SINGLE} messages, one after the other"), &world, mark, SINGLE);

    let mark = Mark::now(&world);
    let wanted = send(&world, BURST, Precedence::Routine).await;
    until("all receipts", async || delivered(&world).await >= wanted).await;
    row(&format!("each of {BURST} messages given at once"), &world, mark, BURST);

    let mark = Mark::now(&world);
    let ping = Request::Ping { peer: world.b.name, id: fresh_id(), timeout_ms: 120_000 };
    let client = world.a.client().await.expect("the daemon runs");
    match client.call_within(LIMIT, "pinging", &ping).await {
        Ok(Reply::Ping(view)) => assert!(view.delivered, "{view:?}"),
        other => panic!("{other:?}"),
    }
    row("a ping, probe and entry", &world, mark, 1);

    let mark = Mark::now(&world);
    let file = world.stage.path().join("file");
    std::fs::write(&file, vec![7; 128 << 10]).expect("a file can be written");
    let mut with_file = message(&world.b, "with a file", WaitFor::Queued);
    with_file.enclosures = vec![world.a.upload(&file).await];
    let id = with_file.to[0].id;
    let wanted = delivered(&world).await + 2;
    world.a.send(with_file).await;
    until("the file is under way", async || world.path.counts(Way::There).bytes > mark.there + 20_000).await;
    let flash = Mark::now(&world);
    send(&world, 1, Precedence::Flash).await;
    until("both receipts", async || delivered(&world).await >= wanted).await;
    row("a FLASH while a file is under way", &world, flash, 1);
    until("the file is held", async || {
        world.a.outbox().await.iter().any(|row| row.id == id && row.state == MessageState::Held)
    })
    .await;
    row("a message with a file of 128 KiB, until it is held (with that FLASH)", &world, mark, 1);

    let mark = Mark::now(&world);
    tokio::time::sleep(idle).await;
    row(
        &format!("idle, each second of {}", idle.as_secs()),
        &world,
        mark,
        usize::try_from(idle.as_secs()).unwrap_or(1),
    );
    let now = Mark::now(&world);
    let bytes = (now.there + now.back - mark.there - mark.back) as f64 / idle.as_secs_f64();
    println!("\nlongest single message: {:.1} s", longest.as_secs_f64());
    println!("idle: {:.1} KB an hour, {:.2} MB a day, both ways together", bytes * 3.6, bytes * 0.0864);
    world.a.all_holds().await;
    world.b.all_holds().await;
}

fn main() {
    let seed = argument("--seed").unwrap_or(1);
    let idle = Duration::from_secs(argument("--idle").unwrap_or(900));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the system has a poller");
    runtime.block_on(measure(seed, idle));
}
