//! The text of a checkpoint: whose tree, how large, which root.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::name::{Hash, Origin};

/// The largest size that a checkpoint may state: 2^63 − 1, so that every other tool can read it.
pub const MAX_SIZE: u64 = crate::merkle::MAX_SIZE;

/// The longest origin in bytes: an ML-DSA-44 line counts it in one byte (c2sp.org/tlog-cosignature).
pub const MAX_ORIGIN_BYTES: usize = 255;

/// The head of a tree: what the lines of a checkpoint sign.
///
/// `O` is [`Origin`] for logs of verbale, and [`ForeignOrigin`] for everybody else's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head<O = Origin> {
    /// Whose log it is.
    pub origin: O,
    /// How many leaves the tree has, at most [`MAX_SIZE`].
    pub size: u64,
    /// The root hash of the tree.
    pub root: Hash,
}

impl<O: fmt::Display> Head<O> {
    /// The text of the checkpoint: exactly three lines, each with its newline.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root.as_bytes()))
    }
}

/// The origin of a log that is not verbale's: any text of one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForeignOrigin(String);

/// A text that cannot be an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an origin is one line of 1 to {MAX_ORIGIN_BYTES} bytes without control characters")]
pub struct ForeignOriginError;

impl ForeignOrigin {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ForeignOrigin {
    type Err = ForeignOriginError;

    fn from_str(text: &str) -> Result<Self, ForeignOriginError> {
        let fits = (1..=MAX_ORIGIN_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
        if fits { Ok(Self(text.to_owned())) } else { Err(ForeignOriginError) }
    }
}

impl fmt::Display for ForeignOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_written_as_three_lines() {
        let origin = "verbale/XA/XB/1.5f0c9a3e7b2d4410".parse().unwrap();
        let head: Head = Head { origin, size: 0, root: crate::merkle::empty_root() };
        let expected = "verbale/XA/XB/1.5f0c9a3e7b2d4410\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
        assert_eq!(head.text(), expected);
    }

    #[test]
    fn an_origin_is_one_line_of_bounded_length() {
        for length in [1, MAX_ORIGIN_BYTES - 1, MAX_ORIGIN_BYTES] {
            assert!("x".repeat(length).parse::<ForeignOrigin>().is_ok(), "{length}");
        }
        for text in [String::new(), "x".repeat(MAX_ORIGIN_BYTES + 1), "a\nb".to_owned(), "a\u{1b}".to_owned()] {
            assert!(text.parse::<ForeignOrigin>().is_err(), "{text:?}");
        }
        assert!("go.sum database tree".parse::<ForeignOrigin>().is_ok());
    }
}
