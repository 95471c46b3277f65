//! The words of the field as types that are valid when they exist; knows nothing of bytes on a wire, files or clocks.
//!
//! *Parse, don't validate*: each type has `FromStr` and `Display`, and nobody else makes values of it.

mod code;
mod id;
mod node;
mod origin;
mod states;
mod time;

pub use code::{Desk, FIRST_MACHINE_KIND, Kind, Pap, Precedence, RefusalCode, Tlp, UnknownCode};
pub use id::{BootNonce, CaseId, EntryId, Hash, JournalId};
pub use node::{NodeName, NodeNameError, State};
pub use origin::{Origin, OriginError, Volume, cosigner_name};
pub use states::NO_POSITION;
pub use time::{Millis, TimeError};
