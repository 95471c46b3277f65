//! verbale lets States warn and ask each other about computer attacks: directly, quickly, calmly and provably.
//!
//! Everything that State A says to State B is an entry in one append-only log, A→B, which A alone writes and signs
//! and of which B keeps a complete copy whose heads B cosigns. `docs/PROTOCOL.md` is the normative page of the
//! exchange, `docs/ARCHITECTURE.md` follows one message through this house. The rooms, in reading order:
//!
//! * [`name`]: the words of the field as types that are valid when they exist.
//! * [`wire`]: bytes in, domain types out; every limit. Generated code stays here.
//! * [`merkle`]: RFC 6962 trees: compact range, inclusion and consistency proofs.
//! * [`note`]: C2SP signed notes, checkpoints, cosignatures and proofs.
//! * [`exchange`]: the core without I/O: what to append, sign, push, cosign, resend, refuse.
//! * [`journal`]: the append-only files that are the truth; key slots; enclosures; snapshots.
//! * [`store`]: sled: what is looked up, rebuilt from the journal at any time.
//! * [`identity`]: keys, certificates, introductions, and which root speaks for which State.
//! * [`settings`]: the node's configuration.
//! * [`net`]: QUIC with mutual TLS; streams and their limits.
//! * [`node`]: the daemon: wires the rooms together and performs what the core decides.
//! * [`api`]: the local interface (HTTP/JSON on a Unix socket).
//! * [`audit`]: verification and replay without daemon, sled or keys.
//! * [`cli`]: one file per family of commands.
//!
//! Arrows point one way; `tests/arrows.rs` holds them.

pub mod api;
pub mod audit;
pub mod cli;
pub mod exchange;
pub mod identity;
pub mod journal;
pub mod merkle;
pub mod name;
pub mod net;
pub mod node;
pub mod note;
pub mod settings;
pub mod store;
pub mod wire;
