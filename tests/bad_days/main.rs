//! Bad input and bad disks, with real daemons: each has a clear error, no panic, nothing lost, and the node goes on
//! serving its other peers.

mod certificates;
mod disks;
mod doctor;
mod durable_order;
mod faults;
mod folder;
mod greedy;
mod peers;
mod raw;
#[allow(dead_code, reason = "it serves other tests too")]
#[path = "../relay/mod.rs"]
mod relay;
#[allow(dead_code, reason = "it serves other tests too")]
#[path = "../node/rig.rs"]
mod rig;
mod starts;
#[allow(dead_code, reason = "it serves other tests too")]
#[path = "../outages/world.rs"]
mod world;

/// What a process that failed in good order never says.
fn in_good_order(said: &str) {
    for word in ["panicked", "RUST_BACKTRACE", "unwrap", "stack overflow"] {
        assert!(!said.contains(word), "{said}");
    }
}
