//! The daemon as its users have it: real processes on loopback, real files, and `log verify` as the judge at every end.

mod exchange;
mod folders;
mod rig;
mod trust;
