//! Real endpoints on loopback, in one process: what passes between two nodes, what does not, and how it is named.

mod exchange;
mod hostile;
mod identity;
mod rig;
