//! The daemon as its users have it: real processes on loopback, real files, and `log verify` as the judge at every end.

mod exchange;
mod folders;
#[allow(dead_code, reason = "it serves other tests too")]
mod rig;
mod trust;
