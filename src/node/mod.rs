//! The daemon: wires the rooms together and performs what the core decides. It decides nothing about the exchange.

mod clock;
mod notify;
mod on_message;
