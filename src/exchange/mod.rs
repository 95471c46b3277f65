//! The core without I/O: decides when to append, sign, push, cosign, resend, back off, refuse, and open a volume.
//!
//! It knows no tokio, quinn, sled, file or clock: time is an argument, randomness, keys and the sealing of bodies come
//! through [`Env`]. The shell feeds [`Input`]s to [`Core::handle`], drains [`Core::poll_action`], performs each
//! [`Action`], and wakes the core at [`Core::poll_timeout`]; spurious calls are harmless. State in memory is a
//! [`Fold`] over journal records: recovery, the live path, verification and the simulator run the same
//! [`Fold::apply`]. What leaves the node is an [`Effect`] inside [`Stored`], which only a durable group can make.

mod core;
mod env;
mod fold;
mod gate;
mod io;
mod mutant;
mod record;

pub use core::{
    ANSWERS_WAITING, ConnectionState, Core, PeerReport, QUOTA_RESERVE_PART, WANTED_FILES, WANTED_FILES_URGENT,
};
pub use env::{Env, Sealed};
pub use fold::{
    Author, DAY_MS, ENTRY_COST, Fence, Fetching, Fold, Frozen, HEAD_COST, HELD_VOLUMES, Holder, Item, MISSING_SPANS,
    Missing, OwnHead, OwnVolume, Peer, PeerHead, PeerStatus, PeerVolume, QueueKey, RECENT_IDS, Recent, Usage, Wanted,
};
pub use gate::Stored;
pub use io::{
    Action, Answer, CloseCode, Command, ConnId, Denied, Dialler, Effect, EntryRef, FetchFault, Group, Input, NewItem,
    Notice, Pushed, Settings, Shown, StoredHead, Token, Wait,
};
#[cfg(feature = "mutants")]
pub use mutant::{Mutant, activate};
pub use record::{Act, Change, Doubt, Drop, KEYS_SUBJECT, Place, Record, Stowed, keys_note, read_keys_note};
