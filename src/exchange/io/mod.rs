//! What goes into the core and what comes out.

mod action;
mod command;
mod input;
mod notice;

pub use action::{Action, CloseCode, Effect, EntryRef, Group, Shown};
pub use command::{Answer, Command, Denied, NewItem, Token, Wait};
pub use input::{ConnId, Dialler, FetchFault, Input, Pushed, Settings, StoredHead};
pub use notice::Notice;
