//! What an audit asks of whoever holds the key slots. Without it, sealed bodies are counted and not opened.

use crate::name::{EntryId, NodeName};

/// What became of a sealed body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsealed {
    /// Opened.
    Body {
        /// Opens the commitment together with the body.
        salt: [u8; 32],
        /// The body.
        body: Vec<u8>,
    },
    /// The slot was destroyed: the body was erased with authority.
    Erased,
    /// It should open and does not.
    Damaged(String),
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileFound {
    /// Read from end to end.
    Present {
        /// Bytes.
        size: u64,
        /// Its SHA-256.
        sha256: [u8; 32],
    },
    /// Erased with authority.
    Erased,
    /// Not there, or it cannot be read.
    Missing(String),
}

/// A file of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileName {
    /// The other State's node.
    pub peer: NodeName,
    /// Sent from here (true), or received.
    pub outgoing: bool,
    /// The message.
    pub entry: EntryId,
    /// Which file of it.
    pub ordinal: u32,
    /// The slot, where the journal names one.
    pub slot: Option<u64>,
}

/// Opens sealed bodies and reads files. It is given by the caller; the audit itself has no keys.
pub trait Opener {
    /// Opens `salt ‖ body` that was sealed under a slot.
    fn open(&self, slot: u64, sealed: &[u8]) -> Unsealed;

    /// Reads and hashes a file.
    fn file(&self, name: &FileName) -> FileFound;
}
