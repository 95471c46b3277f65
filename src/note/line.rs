//! One signature line of a note.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Algorithm, base64};

/// What stands before the name: an em dash and a space.
const START: &str = "— ";

/// Key id and at least one byte of signature.
const MIN_BYTES: usize = 5;

/// A signature line, `— <name> <base64 of key id and signature>`: kept as it came, whether its key is known or not.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    name: String,
    key_id: [u8; 4],
    signature: Vec<u8>,
}

/// Why a line is not a signature line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It does not begin with an em dash and a space, or has no space after the name.
    #[error("a signature line is an em dash, a name and base64, each after one space")]
    Form,
    /// The name is empty or has spaces, `+` or control characters.
    #[error("the name in a signature line is not empty and has no spaces, `+` or control characters")]
    Name,
    /// The signature is not base64 in the one way it is written.
    #[error("a signature is written in padded standard base64, without spare bits")]
    Base64,
    /// The signature has less than five bytes.
    #[error("a signature has a key id of four bytes and at least one byte more")]
    Short,
}

/// Whether `name` can stand in a signature line.
pub(super) fn name_is_valid(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

impl Line {
    /// Makes a line from its parts; `signature` is all that follows the key id, so with the time where there is one.
    ///
    /// # Errors
    /// A name that cannot stand in a line, or no signature.
    pub fn new(name: impl Into<String>, key_id: [u8; 4], signature: Vec<u8>) -> Result<Self, LineError> {
        let name = name.into();
        if !name_is_valid(&name) {
            return Err(LineError::Name);
        }
        if signature.is_empty() {
            return Err(LineError::Short);
        }
        Ok(Self { name, key_id, signature })
    }

    /// The name of the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id.
    pub fn key_id(&self) -> [u8; 4] {
        self.key_id
    }

    /// All that follows the key id: for 0x04 and 0x06 eight bytes of time and the signature, else the signature.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The time of the line in seconds since 1970, where it is a line of `algorithm`; a line itself does not say of
    /// which algorithm it is.
    ///
    /// `None` where such lines carry no time, or where this one has not the length of such a line.
    pub fn timestamp(&self, algorithm: Algorithm) -> Option<u64> {
        self.parts(algorithm)?.0
    }

    /// Time and bare signature, read as a line of `algorithm`; `None` for another length.
    pub(super) fn parts(&self, algorithm: Algorithm) -> Option<(Option<u64>, &[u8])> {
        let (time, signature) = match algorithm.carries_time() {
            true => {
                let (time, signature) = self.signature.split_first_chunk::<8>()?;
                (Some(u64::from_be_bytes(*time)), signature)
            }
            false => (None, self.signature.as_slice()),
        };
        (signature.len() == algorithm.key_algorithm().signature_bytes()).then_some((time, signature))
    }
}

impl fmt::Display for Line {
    /// Writes the line without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.key_id.as_slice(), &self.signature].concat();
        write!(f, "{START}{} {}", self.name, BASE64.encode(&bytes))
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = data_encoding::HEXLOWER.encode(&self.key_id);
        write!(f, "Line({:?} {id}, {} bytes)", self.name, self.signature.len())
    }
}

impl FromStr for Line {
    type Err = LineError;

    /// Reads a line without its newline.
    fn from_str(text: &str) -> Result<Self, LineError> {
        let (name, encoded) = text.strip_prefix(START).and_then(|rest| rest.split_once(' ')).ok_or(LineError::Form)?;
        let bytes = base64::decode(encoded).ok_or(LineError::Base64)?;
        match bytes.split_first_chunk::<4>() {
            Some((key_id, signature)) if bytes.len() >= MIN_BYTES => Self::new(name, *key_id, signature.to_vec()),
            _ => Err(LineError::Short),
        }
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_back_as_written() {
        for text in ["— verbale/XB AQIDBAU=", "— ключ AQIDBAUG", "— a/b-c.d AQIDBAUGBw=="] {
            assert_eq!(text.parse::<Line>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_line_is_refused_with_its_reason() {
        let reason = |text: &str| text.parse::<Line>().unwrap_err();
        for text in ["", "verbale/XB AQIDBAU=", "- verbale/XB AQIDBAU=", "—verbale/XB AQIDBAU=", "— AQIDBAU="] {
            assert_eq!(reason(text), LineError::Form, "{text:?}");
        }
        for text in ["—  AQIDBAU=", "— a+b AQIDBAU=", "— a\u{a0}b AQIDBAU=", "— a\u{2003} AQIDBAU=", "— a\tb AQIDBAU="]
        {
            assert_eq!(reason(text), LineError::Name, "{text:?}");
        }
        for text in [
            "— a AQIDBAU",
            "— a AQIDBAV=",
            "— a AQID BAU=",
            "— a AQIDBAU= ",
            "— a  AQIDBAU=",
            "— a AQID_-U=",
            "— a AQIDBAU=AQID",
        ] {
            assert_eq!(reason(text), LineError::Base64, "{text:?}");
        }
        for text in ["— a ", "— a AQID", "— a AQIDBA=="] {
            assert_eq!(reason(text), LineError::Short, "{text:?}");
        }
        assert!("— a AQIDBAU=".parse::<Line>().is_ok(), "five bytes are enough");
    }

    #[test]
    fn a_time_is_read_only_from_a_line_of_the_right_length() {
        let line = |length: usize| Line::new("a", [0; 4], [vec![0, 0, 0, 0, 0, 0, 1, 2], vec![9; length]].concat());
        assert_eq!(line(64).unwrap().timestamp(Algorithm::CosignatureV1), Some(258));
        assert_eq!(line(2420).unwrap().timestamp(Algorithm::MlDsa44), Some(258));
        for length in [0, 63, 65] {
            assert_eq!(line(length).unwrap().timestamp(Algorithm::CosignatureV1), None);
        }
        assert_eq!(line(64 - 8).unwrap().timestamp(Algorithm::Ed25519), None);
    }
}
