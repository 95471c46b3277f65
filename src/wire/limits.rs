//! The limits that are fixed by the protocol version: whatever an author signs within them, the holder must take.

/// Bytes of a header: enough for every field of this version twice over, small enough that a leaf fits any packet train.
pub const MAX_HEADER: usize = 1_024;

/// Bytes of a leaf: type, commitment, body length, header.
pub const MAX_LEAF: usize = 1 + 32 + 4 + MAX_HEADER;

/// Bytes of a body. With its leaf and salt it fits one frame.
pub const MAX_BODY: usize = 48 * 1_024;

/// Bytes that a frame's length field may announce (type and message).
pub const MAX_FRAME: usize = 64 * 1_024;

/// Bytes of a signed note: sixteen lines of which a few carry a post-quantum signature of 3.3 KB.
pub const MAX_NOTE: usize = 16 * 1_024;

/// Kinds that a HELLO may list; a byte's worth of kinds is far more than this version has.
pub const MAX_KINDS: usize = 256;

/// Entries under one head on a push stream: what a holder makes durable with one receipt is bounded.
pub const MAX_PUSH_ENTRIES: usize = 1_024;

/// Bytes of leaves and bodies under one head on a push stream, beyond which only a single entry may go.
pub const MAX_PUSH_BYTES: u64 = 1 << 20;

/// Certificate digests that a HELLO may list: TLS and two signing keys, twice during a rotation, and room.
pub const MAX_CERTIFICATE_DIGESTS: usize = 32;

/// Signature lines in a note or a receipt, as the note format has it.
pub const MAX_LINES: usize = 16;

/// Lines of one side of a note, author or holder: what both keep of one size must still be one note.
pub const MAX_SIDE_LINES: usize = MAX_LINES / 2;

/// Bytes of one side's lines, each with its line break: half a note, less what the three lines of the head need.
pub const MAX_SIDE_BYTES: usize = MAX_NOTE / 2 - 256;

/// Spans and targets that a VOLUME body may list; with its keys and certificates it stays under [`MAX_BODY`].
pub const MAX_SPANS: usize = 1_024;

/// Signing keys that a VOLUME or KEY body may list: two algorithms, old and new, and room for a State's own.
pub const MAX_KEYS: usize = 8;

/// Enclosures of one message.
pub const MAX_ENCLOSURES: usize = 64;

/// Texts of one message: the written one and its translations.
pub const MAX_TEXTS: usize = 16;

/// Bytes of a TRUST part's data; the frame around it must fit [`MAX_FRAME`].
pub const MAX_TRUST_PART: usize = 48 * 1_024;

/// Bytes of TRUST material put together.
pub const MAX_TRUST: usize = 1_024 * 1_024;

/// The version of the protocol that this crate speaks.
pub const PROTOCOL_VERSION: u32 = 1;
