//! QUIC with mutual TLS: endpoints, connections, streams and their limits; must not know logs, the journal, or what the
//! core decides.
//!
//! It knows frames ([`crate::wire::Frame`]) and connections. About a peer it says only what the judge in
//! [`crate::identity`] said. The node's shell calls [`bind`], hears [`NetEvent`]s and gives orders through
//! [`NetHandle`].
//!
//! The first bidirectional stream that the dialler opens is the control stream. Every other stream is told by its first
//! frame: a push begins with ENTRY or CHECKPOINT, a request with FETCH or ENCLOSURE; none of them is read before
//! [`NetHandle::open`]. One task reads a stream and another writes it: a reader that waits for its own writer would
//! stop both sides as soon as both have filled their flow control windows.
//!
//! In reading order: `limits`; `layer` (how a failure is named); `endpoint`, `socket`, `transport`, `strangers` (who
//! may knock, and how often); `dial` and `nobody` (does the machine say that nothing listens?); `connection` (one driver for each) with `alive` (is the other side there?), `control`, `author`, `holder`, `fetch`
//! and `enclosure`; `frames` (frames on a stream); `handle` and `event` (what the shell sees).

mod alive;
mod author;
mod connection;
mod control;
mod dial;
mod enclosure;
mod endpoint;
mod event;
mod fetch;
mod frames;
mod handle;
mod holder;
mod layer;
mod limits;
mod nobody;
mod socket;
mod strangers;
mod transport;

pub use enclosure::{EnclosureDownload, EnclosureFault, EnclosureReply, EnclosureWriter};
pub use endpoint::{BindError, bind};
pub use event::{NetEvent, Room};
pub use fetch::FetchReply;
pub use handle::NetHandle;
pub use layer::{Ended, EndedBy, Layer, close_code};
pub use limits::*;
pub use strangers::StrangerCount;
