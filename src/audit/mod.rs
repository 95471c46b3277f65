//! Verification and replay without daemon, sled or keys; it reads the journal's files and knows nothing of how they are
//! written, of the network, or of the commands.
//!
//! [`verify()`] goes over the journal once, with memory that does not grow: it rebuilds the tree of every volume of every
//! log from its entries, and holds against it every head, every receipt, every body that is in clear (or that an
//! [`Opener`] opens), and every volume's word about the one before. [`replay()`] tells every act in order as JSON.
//!
//! That a tail of the journal was cut off or damaged is told by the journal's end mark and by the witnesses that the
//! caller names; where all of them were cut with it, only the peers' copies can tell. What else it cannot tell: whether
//! the clocks were right, and whether what never reached the journal happened.

mod again;
mod fault;
mod heads;
mod histories;
mod opener;
mod payload;
mod replay;
mod tree;
mod verify;
mod volume;

pub use fault::{Fault, FaultKind, MAX_FAULTS, MAX_REMARKS, VerifyReport};
pub use opener::{FileFound, FileName, Opener, Unsealed};
pub use replay::{EntryLine, HeadLine, HeaderLine, PayloadLine, Replay, ReplayLine, replay};
pub use verify::{VerifyOptions, verify, verify_groups, verify_records};
