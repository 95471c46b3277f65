//! Signed tree heads in the formats of C2SP: signed notes, checkpoints, cosignatures, proofs, verifier keys, and the
//! two signature algorithms. Knows no files, clock or network, and not what a leaf means; the only randomness is that
//! of [`Seeds::generate`] and of the signature library itself, behind the seams [`Signer`] and [`Verifier`].
//!
//! Two kinds of lines are signed here, each with a classical and a post-quantum key:
//!
//! | line | key name | Ed25519 | ML-DSA-44 |
//! |---|---|---|---|
//! | log line, by the author | the origin | 0x01 over the text | 0x06, time 0 |
//! | receipt line, by the holder | `verbale/<TO>` | 0x04 with time | 0x06 with time |
//!
//! Implements c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature and tlog-proof, in a strict reading: one way to
//! write each value, and nothing beside it.

mod algorithm;
mod base64;
mod checkpoint;
mod exclusion;
mod head;
mod judge;
mod keys;
mod line;
mod proof;
mod sign;

pub use algorithm::{Algorithm, KeyAlgorithm, VerifierKey, VerifierKeyError, key_id};
pub use checkpoint::{Checkpoint, ForeignCheckpoint, MAX_LINES, MAX_NOTE_BYTES, NoteError};
pub use exclusion::Exclusion;
pub use head::{ForeignOrigin, ForeignOriginError, Head, MAX_ORIGIN_BYTES, MAX_SIZE};
pub use judge::{GoodLine, JudgeError, Judged, KeyJudged, judge_log_lines, judge_receipt_lines, judge_with};
pub use keys::{Crypto, KeyError, PublicKeys, Seeds, Signer, SigningKeys, Verifier};
pub use line::{Line, LineError};
pub use proof::{MAX_EXTRA_BYTES, Proof, ProofParseError, ProofRejected, ProofTextError};
pub use sign::{
    MAX_TIME_SECONDS, log_line, log_message, receipt_line, receipt_message, sign_log_line, sign_receipt_line,
};
