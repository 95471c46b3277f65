//! Who is at the other end: certificates, introductions and handshakes, good ones and each wrong in one way.

mod folder;
mod handshake;
mod introduction;
mod judge;
mod profile;
mod rig;
