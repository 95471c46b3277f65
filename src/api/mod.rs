//! The local interface: HTTP/JSON on a Unix socket, between the commands and the daemon; must not know journal or network.
//!
//! A command is a [`Request`], an answer a [`Reply`]; [`serve`] carries them for a [`Backend`] (the daemon), [`Client`]
//! for the commands. The paths:
//!
//! * `POST /v1/call`: a [`Request`] as JSON; answered with a [`Reply`].
//! * `PUT /v1/enclosures?name=…&media_type=…`: the bytes of a file; answered with an [`EnclosureToken`].
//! * `GET /v1/enclosures/{message}/{ordinal}`: the bytes of an enclosure.
//!
//! Whatever is not carried out is answered with a [`Failure`] and the status that [`Failure::status`] says. Who may use
//! the socket is the file system's matter (mode 0600, or 0660 for one group); who speaks is the kernel's word.

mod backend;
mod check;
mod client;
mod failure;
mod request;
mod server;
mod socket;
mod view;

pub use backend::{Backend, Caller, Upload};
pub use check::{MAX_JUSTIFICATION_CHARS, MAX_RECIPIENTS, MAX_SUBJECT_CHARS, MAX_URGENT_WORDS, words};
pub use client::{Client, Progress};
pub use failure::{Failure, code};
pub use request::{
    Acknowledge, EnclosureToken, LogFilter, PeerAction, PeerAdd, Reply, Request, Send, SendTo, Sent, WaitFor,
};
pub use server::{MAX_CALL_BYTES, MAX_MEDIA_TYPE_BYTES, MAX_NAME_BYTES, serve};
pub use socket::{SOCKET_NAME, Socket, SocketError};
pub use view::{
    EnclosureState, EnclosureView, Folder, LogRow, MessageRow, MessageState, MessageView, NodeView, PeerView, PingView,
    ProbeView, QueueView, Reference, StatusView, TextView, Trouble, VerifyView,
};
