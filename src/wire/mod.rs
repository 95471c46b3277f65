//! Bytes in, domain types out, and every limit of the protocol; must not know connections, files or clocks.
//!
//! Generated protobuf types stay inside this room. What was signed is kept verbatim and never encoded again.

mod body;
mod contradiction;
mod entry;
mod frame;
mod header;
mod limits;
mod proto;

pub use body::{Body, Enclosure, ReplyExpected, Text};
pub use contradiction::{Contradiction, MAX_CONTRADICTION_HASHES};
pub use entry::{ABSENT_BODY, Absent, Leaf, Payload, commitment};
pub use frame::{
    EnclosureAbsent, EntryFrame, FRAME_HEAD, FaultCode, Frame, FrameHead, Hello, LogState, NotNowReason, TrustKind,
    TrustPart, frame_head,
};
pub use header::{Header, Target, Understood};
pub use limits::*;
pub use machine::{
    ErasedBody, HeadRef, KeyBody, RevokedKey, SealBody, SigningKey, Span, VolumeBody, VolumeReason, refused_body,
    refused_ordinals,
};

mod machine;

/// Bytes that are not what they should be. Whoever sent them is at fault, never the reader.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// More bytes than the protocol allows.
    #[error("{what} has {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// What was read.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Fewer bytes than the form needs, or a length that does not fit.
    #[error("{0} is cut short or has a wrong length")]
    Length(&'static str),
    /// Not a protobuf message of this form.
    #[error("{what} cannot be decoded: {reason}")]
    Protobuf {
        /// What was read.
        what: &'static str,
        /// The decoder's reason.
        reason: String,
    },
    /// A frame or leaf of a type that this version does not know.
    #[error("{what} of unknown type {number}")]
    Type {
        /// What was read.
        what: &'static str,
        /// The type's number.
        number: u32,
    },
    /// A field that must be there is missing or out of its range.
    #[error("{what}: the field `{field}` is missing or out of range")]
    Field {
        /// What was read.
        what: &'static str,
        /// The field of the protobuf message.
        field: &'static str,
    },
}

fn decode<M: prost::Message + Default>(what: &'static str, bytes: bytes::Bytes) -> Result<M, WireError> {
    M::decode(bytes).map_err(|error| WireError::Protobuf { what, reason: error.to_string() })
}
