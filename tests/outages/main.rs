//! The network's worst days, with real daemons: cuts, loss, new ports, small datagrams, kills at any moment, old folders
//! put back, two copies of one node. At every end: delivered once, in order, and `log verify` is green on both sides.

mod copies;
mod histories;
mod kills;
mod paths;
#[allow(dead_code, reason = "it serves other tests too")]
#[path = "../relay/mod.rs"]
mod relay;
#[allow(dead_code, reason = "it serves other tests too")]
#[path = "../node/rig.rs"]
mod rig;
mod world;
