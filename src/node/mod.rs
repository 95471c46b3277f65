//! The daemon: wires the rooms together and performs what the core decides. It decides nothing about the exchange.
//!
//! One current-thread runtime carries the loop (`turn`, `perform`) and the network; the journal and the index have a
//! thread each; what waits for the disk runs on threads of the runtime and reports back. In reading order: `start` (from
//! a folder to a state that can be believed), `order` (what the parts tell the loop, and what all share), `turn`,
//! `perform`; the seams `clock`, `env`, `links` (network), `index` (store), `snapshot`; `push`, `serve`, `enclosures`
//! (what travels), `history` (what was written); `desk` (what the local interface asks for), `officers`, `roster`;
//! `inventory` (all else that lies in the folder), `loss` (an end of the journal that is gone); `standing`, `status`,
//! `verify`, `on_message`, `reload`, `logging`, `notify`; `sweep` (live connections are judged again); `refusals`,
//! `standstill` and `allowance` (what others may bring into the journal).

mod allowance;
mod clock;
mod desk;
mod enclosures;
mod env;
mod files;
mod heads;
mod history;
mod index;
mod inventory;
mod links;
mod logging;
mod loss;
mod notify;
mod obstacle;
mod officers;
mod on_message;
mod order;
mod perform;
mod push;
mod ranges;
mod refusals;
mod reload;
mod roster;
mod run;
mod serve;
mod snapshot;
mod standing;
mod standstill;
mod start;
mod status;
mod sweep;
mod trouble;
mod turn;
mod upkeep;
mod verify;

pub use desk::{DEMO_VARIABLE, Front, Incoming};
pub use inventory::{Inventory, shows_a_node};
pub use officers::officer_name;
pub use run::{RunError, run, run_accepting_loss, run_with};
pub use verify::verify_view;
