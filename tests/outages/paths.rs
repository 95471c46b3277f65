//! Bad paths. The nodes themselves go on running.

use std::net::SocketAddr;
use std::time::Duration;

use verbale::api::{MessageState, Request, WaitFor};

use crate::relay::{Way, Weather};
use crate::rig::{message, now, soon, until, up};
use crate::world::{World, all_arrived, arrived_in_order, dials, queue, subjects};

/// A connection on which a push has had no answer for this long is given up; the shortest that can be configured.
const SHORT_STALL: (&str, &str) = ("stall", "\"10s\"");

#[tokio::test]
async fn a_cut_too_short_to_end_the_connection_delays_and_loses_nothing() {
    let world = World::new(11).await;
    queue(&world.a, &world.b, 0..5).await;
    arrived_in_order(&world.b, 5).await;
    world.path.cut(true);
    queue(&world.a, &world.b, 5..15).await;
    let before = world.path.counts(Way::There).lost;
    soon("QUIC has tried a few times", world.path.counted(Way::There, |counts| counts.lost >= before + 3)).await;
    assert_eq!(world.b.inbox().await.len(), 5);
    world.path.cut(false);
    arrived_in_order(&world.b, 15).await;
    world.all_is_well().await;
}

#[tokio::test]
async fn a_cut_that_outlives_the_connection_ends_by_itself_without_an_operator() {
    let world = World::with(12, &[SHORT_STALL]).await;
    queue(&world.a, &world.b, 0..1).await;
    arrived_in_order(&world.b, 1).await;
    all_arrived(&world.a, &world.b).await;
    world.path.cut(true);
    queue(&world.a, &world.b, 1..21).await;
    queue(&world.b, &world.a, 0..20).await;
    until("both have noticed", async || {
        world.a.peer(&world.b).await.connection != "up" && world.b.peer(&world.a).await.connection != "up"
    })
    .await;
    let waiting = world.a.peer(&world.b).await;
    assert_eq!(waiting.queue.queued + waiting.queue.unreceipted, 20, "{waiting:?}");
    queue(&world.a, &world.b, 21..25).await;
    world.path.cut(false);
    arrived_in_order(&world.b, 25).await;
    arrived_in_order(&world.a, 20).await;
    world.all_is_well().await;
}

#[tokio::test]
async fn a_cut_of_one_way_only_is_survived_whichever_way_it_is() {
    for (seed, way) in [(13, Way::There), (14, Way::Back)] {
        let world = World::with(seed, &[SHORT_STALL]).await;
        world.path.cut_way(way, true);
        queue(&world.a, &world.b, 0..10).await;
        queue(&world.b, &world.a, 0..10).await;
        until("the author has noticed", async || world.a.peer(&world.b).await.connection != "up").await;
        world.path.cut_way(way, false);
        arrived_in_order(&world.b, 10).await;
        arrived_in_order(&world.a, 10).await;
        world.all_is_well().await;
    }
}

#[tokio::test]
async fn new_source_ports_cost_a_new_connection_and_nothing_else() {
    let world = World::with(15, &[SHORT_STALL]).await;
    for round in 0..2 {
        queue(&world.a, &world.b, round * 20..round * 20 + 10).await;
        world.path.rebind();
        queue(&world.a, &world.b, round * 20 + 10..round * 20 + 20).await;
        arrived_in_order(&world.b, round * 20 + 20).await;
    }
    world.all_is_well().await;
}

#[tokio::test]
async fn datagrams_of_1200_bytes_are_enough_from_the_start_and_when_the_path_shrinks() {
    let mut world = World::new(16).await;
    delivered_long(&world, "on a wide path").await;
    world.path.weather(&Weather { mtu: 1_200, ..Weather::default() });
    delivered_long(&world, "on a path that shrank").await;
    world.b.kill();
    world.b.start().await;
    delivered_long(&world, "on a narrow path from the start").await;
    world.all_is_well().await;
}

async fn delivered_long(world: &World, subject: &str) {
    let mut send = message(&world.b, subject, WaitFor::Receipt);
    send.text = "a line of a long text\n".repeat(1_800);
    assert_eq!(world.a.send(send).await.state, MessageState::Delivered, "{subject}");
}

#[tokio::test]
async fn loss_and_reordering_change_neither_number_nor_order() {
    let world = World::new(17).await;
    let weather = Weather {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(40),
        loss: 0.15,
        ..Weather::default()
    };
    world.path.weather(&weather);
    for part in 0..5 {
        queue(&world.a, &world.b, part * 20..part * 20 + 20).await;
        queue(&world.b, &world.a, part * 20..part * 20 + 20).await;
    }
    arrived_in_order(&world.b, 100).await;
    arrived_in_order(&world.a, 100).await;
    assert!(world.path.counts(Way::There).lost > 0, "the weather was bad");
    world.all_is_well().await;
}

#[tokio::test]
async fn a_path_that_comes_and_goes_is_used_while_it_is_there() {
    let world = World::with(18, &[SHORT_STALL]).await;
    for round in 0..6 {
        world.path.cut(round % 2 == 0);
        queue(&world.a, &world.b, round * 10..round * 10 + 10).await;
        let seen = world.path.counts(Way::There).datagrams;
        soon("something was tried", world.path.counted(Way::There, |counts| counts.datagrams >= seen + 2)).await;
    }
    arrived_in_order(&world.b, 60).await;
    world.all_is_well().await;
}

#[tokio::test]
async fn outbox_retry_ends_a_long_pause_at_once() {
    let mut world = World::with(19, &[("backoff_max", "\"10m\"")]).await;
    let nowhere: SocketAddr = "[::1]:9".parse().unwrap();
    let (a, b) = (&mut world.a, &mut world.b);
    b.stop();
    a.stop();
    // Both listen on IPv4 only: an attempt fails at once, and the pauses grow.
    dials(a, b, nowhere);
    dials(b, a, nowhere);
    a.start().await;
    b.start().await;
    queue(a, b, 0..3).await;
    let mut next = 0;
    until("the pause is long", async || {
        next = next_attempt(&a.peer(b).await.why).unwrap_or(0);
        next > now().0 + 12_000
    })
    .await;
    dials(a, b, world.path.second());
    a.call(Request::Reload).await.unwrap();
    assert_ne!(a.peer(b).await.connection, "up", "only a word ends the pause");
    a.call(Request::Retry { peer: b.name }).await.unwrap();
    arrived_in_order(b, 3).await;
    assert!(now().0 < next, "the pause was not waited for");
    world.all_is_well().await;
}

/// The time of the next attempt, as the peer's line tells it, in milliseconds.
fn next_attempt(why: &str) -> Option<u64> {
    let (_, after) = why.split_once("next attempt at ")?;
    let text = after.split(". To do").next()?;
    let at: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(at.as_millisecond()).ok()
}

#[tokio::test]
async fn what_the_peer_does_not_get_it_is_not_said_to_have() {
    let world = World::with(20, &[SHORT_STALL]).await;
    world.path.cut_way(Way::Back, true);
    queue(&world.a, &world.b, 0..5).await;
    until("the peer has some of them", async || !world.b.inbox().await.is_empty()).await;
    assert!(world.a.outbox().await.iter().all(|row| row.state != MessageState::Delivered), "no receipt has come");
    world.path.cut_way(Way::Back, false);
    all_arrived(&world.a, &world.b).await;
    assert_eq!(subjects(&world.b).await.len(), 5);
    up(&world.a, &world.b).await;
    world.all_is_well().await;
}
