//! What an accepted peer can make grow or make expensive: each limit at one under, at, and one over, and what is said
//! there. The peer has valid keys and means no good.

mod author;
mod codes;
mod holder;
mod quota;
mod rig;
