//! A proof that an entry is in a log, as one text (c2sp.org/tlog-proof).

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;

use super::base64;
use super::checkpoint::{Checkpoint, MAX_NOTE_BYTES, NoteError, parse_decimal, parse_hash};
use super::judge::{JudgeError, Judged, judge_log_lines, judge_receipt_lines};
use super::keys::{PublicKeys, Verifier};
use crate::merkle::{MAX_PROOF_HASHES, ProofError, verify_inclusion};
use crate::name::{Hash, Origin};

/// The first line.
const TITLE: &str = "c2sp.org/tlog-proof@v1";

/// What stands before extra data.
const EXTRA: &str = "extra ";

/// The most bytes of extra data: a leaf, its salt and the longest body (48 KiB) fit.
pub const MAX_EXTRA_BYTES: usize = 64 * 1024;

/// The most bytes of a proof: base64 of the extra data, 45 bytes for each hash, the note, and the short lines.
const MAX_PROOF_BYTES: usize = MAX_EXTRA_BYTES / 3 * 4 + 4 + MAX_PROOF_HASHES * 45 + MAX_NOTE_BYTES + 128;

/// The inclusion proof of one entry together with the checkpoint to which it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof<O = Origin> {
    extra: Vec<u8>,
    index: u64,
    hashes: Vec<Hash>,
    checkpoint: Checkpoint<O>,
}

/// Why a text is not a proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofParseError {
    /// The lines before the checkpoint.
    #[error(transparent)]
    Text(#[from] ProofTextError),
    /// The checkpoint at its end.
    #[error("the checkpoint of the proof: {0}")]
    Checkpoint(#[from] NoteError),
}

/// What is wrong with the lines of a proof before its checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofTextError {
    /// It is longer than any proof.
    #[error("this is longer than any proof")]
    TooLong,
    /// It is not UTF-8, or does not have the lines of a proof in their order.
    #[error("a proof has the line {TITLE}, perhaps extra data, an index, hashes, a blank line and a checkpoint")]
    Form,
    /// The extra data are not base64 in its one form, are empty, or longer than [`MAX_EXTRA_BYTES`].
    #[error("the extra data of a proof are 1 to {MAX_EXTRA_BYTES} bytes in base64")]
    Extra,
    /// The index is not a decimal number in its one form.
    #[error("the index of a proof is a decimal number without leading zeros")]
    Index,
    /// A line is not the base64 of 32 bytes, or there are more than any tree needs.
    #[error("a proof has up to {MAX_PROOF_HASHES} hashes of 32 bytes in base64")]
    Hash,
}

/// Why a proof that was understood proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofRejected {
    /// The hashes do not lead from the entry to the root.
    #[error(transparent)]
    Inclusion(#[from] ProofError),
    /// The checkpoint is not signed as it should be.
    #[error(transparent)]
    Signatures(#[from] JudgeError),
}

impl<O> Proof<O> {
    /// Puts a proof together; `extra` may be empty.
    ///
    /// # Errors
    /// More extra data or hashes than the limits allow.
    pub fn new(
        index: u64,
        hashes: Vec<Hash>,
        checkpoint: Checkpoint<O>,
        extra: Vec<u8>,
    ) -> Result<Self, ProofTextError> {
        if extra.len() > MAX_EXTRA_BYTES {
            return Err(ProofTextError::Extra);
        }
        if hashes.len() > MAX_PROOF_HASHES {
            return Err(ProofTextError::Hash);
        }
        Ok(Self { extra, index, hashes, checkpoint })
    }

    /// Data beside the proof that nothing in it vouches for; empty where there are none.
    pub fn extra(&self) -> &[u8] {
        &self.extra
    }

    /// The index of the entry.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The hashes, the leaf's sibling first.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The checkpoint to whose root the hashes lead.
    pub fn checkpoint(&self) -> &Checkpoint<O> {
        &self.checkpoint
    }

    /// Checks that the hashes lead from the leaf to the root of the checkpoint; its signatures are not judged.
    ///
    /// # Errors
    /// Every verdict but "proven".
    pub fn verify_inclusion(&self, leaf_hash: &Hash) -> Result<(), ProofError> {
        let head = self.checkpoint.head();
        verify_inclusion(leaf_hash, self.index, head.size, &self.hashes, &head.root)
    }
}

impl Proof {
    /// Checks everything: that the leaf is under the root, that the author signed it, and what the holder signed.
    ///
    /// Gives the verdicts on the author's and on the holder's lines; a holder that has not signed is no error.
    ///
    /// # Errors
    /// A proof that does not lead to the root, a line of a known key that does not hold, or none of the author.
    pub fn verify(
        &self,
        leaf_hash: &Hash,
        author_keys: &[PublicKeys],
        holder_keys: &[PublicKeys],
        verifier: &dyn Verifier,
    ) -> Result<(Judged, Judged), ProofRejected> {
        self.verify_inclusion(leaf_hash)?;
        let author = judge_log_lines(&self.checkpoint, author_keys, verifier)?;
        let holder = self.checkpoint.head().origin.to;
        Ok((author, judge_receipt_lines(&self.checkpoint, holder, holder_keys, verifier)?))
    }
}

impl<O: fmt::Display + FromStr> Proof<O>
where
    O::Err: fmt::Display,
{
    /// Reads a proof; what it accepts, [`Proof::to_bytes`] writes back byte for byte.
    ///
    /// # Errors
    /// Anything but the one form.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofParseError> {
        if bytes.len() > MAX_PROOF_BYTES {
            return Err(ProofTextError::TooLong.into());
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ProofTextError::Form)?;
        let (top, checkpoint) = text.split_once("\n\n").ok_or(ProofTextError::Form)?;
        let mut lines = top.split('\n').peekable();
        if lines.next() != Some(TITLE) {
            return Err(ProofTextError::Form.into());
        }
        let extra = match lines.next_if(|line| line.starts_with(EXTRA)) {
            Some(line) => parse_extra(&line[EXTRA.len()..])?,
            None => Vec::new(),
        };
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).ok_or(ProofTextError::Form)?;
        let index = parse_decimal(index).ok_or(ProofTextError::Index)?;
        let hashes: Option<Vec<Hash>> = lines.map(parse_hash).collect();
        let checkpoint = Checkpoint::parse(checkpoint.as_bytes())?;
        Ok(Self::new(index, hashes.ok_or(ProofTextError::Hash)?, checkpoint, extra)?)
    }
}

impl<O: fmt::Display> Proof<O> {
    /// The bytes of the proof; files of it are named `.tlog-proof`.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

impl<O: fmt::Display> fmt::Display for Proof<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TITLE}")?;
        if !self.extra.is_empty() {
            writeln!(f, "extra {}", BASE64.encode(&self.extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{}", BASE64.encode(hash.as_bytes())))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Reads extra data, which are not empty where their line is there.
fn parse_extra(text: &str) -> Result<Vec<u8>, ProofTextError> {
    base64::decode(text).filter(|extra| !extra.is_empty()).ok_or(ProofTextError::Extra)
}
