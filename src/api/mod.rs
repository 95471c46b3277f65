//! The local interface: HTTP/JSON on a Unix socket, between the commands and the daemon; must not know journal or network.
//!
//! A command is a [`Request`], an answer a [`Reply`]; `server` carries them for a [`Backend`] (the daemon), `client`
//! for the commands.

mod backend;
mod request;
mod view;

pub use backend::{Backend, Caller, Upload};
pub use request::{
    Acknowledge, EnclosureToken, Failure, LogFilter, PeerAction, PeerAdd, Reply, Request, Send, SendTo, Sent, WaitFor,
};
pub use view::{
    EnclosureState, EnclosureView, Folder, LogRow, MessageRow, MessageState, MessageView, NodeView, PeerView, PingView,
    ProbeView, QueueView, StatusView, TextView, Trouble, VerifyView,
};
