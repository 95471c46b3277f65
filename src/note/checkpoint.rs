//! The signed note around a head: strict reading, byte-equal writing, lines that are added and never changed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::base64;
use super::head::{ForeignOrigin, Head, MAX_SIZE};
use super::line::{Line, LineError};
use crate::name::{Hash, Origin};

/// The most signature lines of a note: what c2sp.org/signed-note asks every verifier to accept, and no more.
pub const MAX_LINES: usize = 16;

/// The most bytes of a note: room for both keys of both sides twice over, as in a rotation (four ML-DSA-44 lines are
/// 13 KiB).
pub const MAX_NOTE_BYTES: usize = 16 * 1024;

/// A checkpoint of somebody else's log, whose origin may be any line of text.
pub type ForeignCheckpoint = Checkpoint<ForeignOrigin>;

/// A signed head (c2sp.org/tlog-checkpoint): a text of exactly three lines and 1 to [`MAX_LINES`] signature lines.
///
/// Its signatures have not been judged by existing; see [`super::judge_log_lines`] and [`super::judge_receipt_lines`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint<O = Origin> {
    head: Head<O>,
    lines: Vec<Line>,
}

/// Why bytes are not a checkpoint, or lines cannot be added to one. Whoever wrote the note is the one to ask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// More than [`MAX_NOTE_BYTES`].
    #[error("a note of {0} bytes is longer than {MAX_NOTE_BYTES}")]
    TooLong(usize),
    /// Not UTF-8, or with control characters other than newline.
    #[error("a note is UTF-8 without control characters other than newline")]
    Characters,
    /// No blank line between three lines of text and the signatures, or no newline at the end.
    #[error("a checkpoint has exactly three lines, a blank line and signature lines, and ends in a newline")]
    Form,
    /// The origin is not one of the expected form.
    #[error("the origin is not understood: {0}")]
    Origin(String),
    /// The size is not a decimal number in its one form, or is above [`MAX_SIZE`].
    #[error("the size is not a decimal number up to {MAX_SIZE} without leading zeros")]
    Size,
    /// The root is not the base64 of 32 bytes in its one form.
    #[error("the root is not 32 bytes in base64")]
    Root,
    /// No signature line.
    #[error("a note has at least one signature line")]
    Unsigned,
    /// More than [`MAX_LINES`].
    #[error("a note has at most {MAX_LINES} signature lines")]
    TooManyLines,
    /// A signature line that is none.
    #[error("signature line {number}: {reason}")]
    Line {
        /// Which one, counted from 1.
        number: usize,
        /// What is wrong with it.
        reason: LineError,
    },
    /// Two lines of one name and key id.
    #[error("signature line {number} repeats the name and key id of an earlier one")]
    Duplicate {
        /// Which one, counted from 1.
        number: usize,
    },
    /// A line to be added says otherwise than the line of the same key that is stored.
    #[error("another signature of the key `{name}` over the same head is stored already")]
    Changed {
        /// The name of the key.
        name: String,
    },
    /// Lines of another head.
    #[error("these lines belong to another head")]
    OtherHead,
}

impl<O: fmt::Display + FromStr> Checkpoint<O>
where
    O::Err: fmt::Display,
{
    /// Reads a checkpoint; what it accepts, [`Checkpoint::to_bytes`] writes back byte for byte.
    ///
    /// # Errors
    /// Anything but the one form described at [`Checkpoint`] and in the limits beside it.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| NoteError::Characters)?;
        if text.chars().any(|c| c.is_control() && c != '\n') {
            return Err(NoteError::Characters);
        }
        let (head, signatures) = text.split_once("\n\n").ok_or(NoteError::Form)?;
        let head = parse_head(head)?;
        if signatures.is_empty() {
            return Err(NoteError::Unsigned);
        }
        let signatures = signatures.strip_suffix('\n').ok_or(NoteError::Form)?;
        let mut lines: Vec<Line> = Vec::new();
        for (number, line) in (1..).zip(signatures.split('\n')) {
            if number > MAX_LINES {
                return Err(NoteError::TooManyLines);
            }
            let line: Line = line.parse().map_err(|reason| NoteError::Line { number, reason })?;
            if lines.iter().any(|earlier| is_of_same_key(earlier, &line)) {
                return Err(NoteError::Duplicate { number });
            }
            lines.push(line);
        }
        Ok(Self { head, lines })
    }

    /// Puts lines under a head.
    ///
    /// # Errors
    /// No line, too many or too long ones, or two of one key.
    pub fn new(head: Head<O>, lines: Vec<Line>) -> Result<Self, NoteError> {
        if head.size > MAX_SIZE {
            return Err(NoteError::Size);
        }
        if lines.is_empty() {
            return Err(NoteError::Unsigned);
        }
        for (i, line) in lines.iter().enumerate() {
            if lines[..i].iter().any(|earlier| is_of_same_key(earlier, line)) {
                return Err(NoteError::Duplicate { number: i + 1 });
            }
        }
        Self { head, lines }.within_limits()
    }

    fn within_limits(self) -> Result<Self, NoteError> {
        if self.lines.len() > MAX_LINES {
            return Err(NoteError::TooManyLines);
        }
        match self.to_string().len() {
            length if length > MAX_NOTE_BYTES => Err(NoteError::TooLong(length)),
            _ => Ok(self),
        }
    }

    /// This checkpoint with `line` after its own; unchanged where it holds that very line.
    ///
    /// # Errors
    /// Another line of the same key (a line once stored never changes), or no room.
    pub fn with_line(&self, line: &Line) -> Result<Self, NoteError>
    where
        O: Clone,
    {
        let mut longer = self.clone();
        match self.lines.iter().find(|own| is_of_same_key(own, line)) {
            Some(own) if own == line => Ok(longer),
            Some(own) => Err(NoteError::Changed { name: own.name().to_owned() }),
            None => {
                longer.lines.push(line.clone());
                longer.within_limits()
            }
        }
    }

    /// This checkpoint with those lines of `other` that it lacks, after its own.
    ///
    /// # Errors
    /// Another head, a line that differs from the stored one of the same key, or no room.
    pub fn merged_with(&self, other: &Self) -> Result<Self, NoteError>
    where
        O: Clone + PartialEq,
    {
        if self.head != other.head {
            return Err(NoteError::OtherHead);
        }
        other.lines.iter().try_fold(self.clone(), |merged, line| merged.with_line(line))
    }
}

impl<O> Checkpoint<O> {
    /// What the lines sign.
    pub fn head(&self) -> &Head<O> {
        &self.head
    }

    /// The signature lines, in the order in which they stand.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }
}

impl<O: fmt::Display> Checkpoint<O> {
    /// The bytes of the note.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

impl<O: fmt::Display> fmt::Display for Checkpoint<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.head.text())?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl<O: fmt::Display> Serialize for Checkpoint<O> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, O: fmt::Display + FromStr> Deserialize<'de> for Checkpoint<O>
where
    O::Err: fmt::Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(String::deserialize(deserializer)?.as_bytes()).map_err(de::Error::custom)
    }
}

fn is_of_same_key(a: &Line, b: &Line) -> bool {
    a.name() == b.name() && a.key_id() == b.key_id()
}

/// Reads the three lines, given without the last newline.
fn parse_head<O: FromStr>(text: &str) -> Result<Head<O>, NoteError>
where
    O::Err: fmt::Display,
{
    let mut lines = text.split('\n');
    let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next()) else {
        return Err(NoteError::Form);
    };
    let origin = origin.parse().map_err(|reason: O::Err| NoteError::Origin(reason.to_string()))?;
    let size = parse_decimal(size).filter(|size| *size <= MAX_SIZE).ok_or(NoteError::Size)?;
    let root = parse_hash(root).ok_or(NoteError::Root)?;
    Ok(Head { origin, size, root })
}

/// Reads a decimal number in its one form: ASCII digits without leading zeros.
pub(super) fn parse_decimal(text: &str) -> Option<u64> {
    let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    if plain { text.parse().ok() } else { None }
}

/// Reads the base64 of 32 bytes in its one form.
pub(super) fn parse_hash(text: &str) -> Option<Hash> {
    Hash::from_slice(&base64::decode(text)?)
}
