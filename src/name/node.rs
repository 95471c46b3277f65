//! States and their nodes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Desk;

/// A State, named by its ISO 3166-1 alpha-2 code. A code implies no position on anybody's status.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State([u8; 2]);

impl State {
    /// The two upper-case letters.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("two ASCII letters by construction")
    }

    /// Whether this is an exercise code: XA, XB, XC, XD, QM..QZ, AA, ZZ.
    ///
    /// Other user-assigned codes (XK, XI, XU) are in real use and are not exercise codes.
    pub fn is_exercise(&self) -> bool {
        matches!(&self.0, b"XA" | b"XB" | b"XC" | b"XD" | b"AA" | b"ZZ" | [b'Q', b'M'..=b'Z'])
    }
}

/// Why a node name or a State code was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeNameError {
    /// The State part is not two upper-case ASCII letters.
    #[error("`{0}` is not a State code: two upper-case letters are needed, for example XA")]
    State(String),
    /// The desk part is neither `technical` nor `diplomatic`.
    #[error("`{0}` is not a desk: it is `technical` or `diplomatic`")]
    Desk(String),
    /// The URI is not `verbale://XA` or `verbale://XA/desk`.
    #[error("`{0}` is not a node's URI: it looks like verbale://XA or verbale://XA/diplomatic")]
    Uri(String),
}

impl FromStr for State {
    type Err = NodeNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.as_bytes() {
            [a @ b'A'..=b'Z', b @ b'A'..=b'Z'] => Ok(Self([*a, *b])),
            _ => Err(NodeNameError::State(text.chars().take(64).collect())),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A daemon of a State: `XA` for the one node of a State, `XA.technical` or `XA.diplomatic` where each desk runs its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName {
    state: State,
    desk: Option<Desk>,
}

impl NodeName {
    /// Names the node of `state`, for one desk or (with `None`) for both.
    pub fn new(state: State, desk: Option<Desk>) -> Self {
        Self { state, desk }
    }

    /// The State whose node this is.
    pub fn state(&self) -> State {
        self.state
    }

    /// The desk that this node serves; `None` means both.
    pub fn desk(&self) -> Option<Desk> {
        self.desk
    }

    /// Whether a message to `desk` may be sent to this node.
    pub fn serves(&self, desk: Desk) -> bool {
        self.desk.is_none_or(|own| own == desk)
    }

    /// The URI of the certificate's one SAN: `verbale://XA` or `verbale://XA/diplomatic`.
    pub fn uri(&self) -> String {
        match self.desk {
            None => format!("verbale://{}", self.state),
            Some(desk) => format!("verbale://{}/{desk}", self.state),
        }
    }

    /// Reads a certificate's URI SAN.
    ///
    /// # Errors
    /// Anything but exactly the form that [`NodeName::uri`] writes.
    pub fn from_uri(uri: &str) -> Result<Self, NodeNameError> {
        let wrong = || NodeNameError::Uri(uri.chars().take(64).collect());
        let rest = uri.strip_prefix("verbale://").ok_or_else(wrong)?;
        match rest.split_once('/') {
            None => Ok(Self::new(rest.parse().map_err(|_| wrong())?, None)),
            Some((state, desk)) => {
                Ok(Self::new(state.parse().map_err(|_| wrong())?, Some(desk.parse().map_err(|_| wrong())?)))
            }
        }
    }
}

impl FromStr for NodeName {
    type Err = NodeNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('.') {
            None => Ok(Self::new(text.parse()?, None)),
            Some((state, desk)) => {
                let desk = desk.parse().map_err(|_| NodeNameError::Desk(desk.chars().take(64).collect()))?;
                Ok(Self::new(state.parse()?, Some(desk)))
            }
        }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.desk {
            None => write!(f, "{}", self.state),
            Some(desk) => write!(f, "{}.{desk}", self.state),
        }
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! serde_as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}
pub(super) use serde_as_text;
serde_as_text!(State, NodeName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_names_read_back_as_written() {
        for text in ["XA", "XA.technical", "XB.diplomatic"] {
            let node: NodeName = text.parse().unwrap();
            assert_eq!(node.to_string(), text);
            assert_eq!(NodeName::from_uri(&node.uri()), Ok(node));
        }
    }

    #[test]
    fn what_is_not_a_node_name_is_refused() {
        for text in ["", "X", "XAB", "xa", "XA.", "XA.press", "XA.technical.x", "X\u{410}", "XA "] {
            assert!(text.parse::<NodeName>().is_err(), "{text:?}");
        }
        for uri in ["XA", "verbale:XA", "verbale://", "verbale://XA/", "verbale://XA/technical/", "https://XA"] {
            assert!(NodeName::from_uri(uri).is_err(), "{uri:?}");
        }
    }

    #[test]
    fn only_the_agreed_codes_are_exercise_codes() {
        let is = |code: &str| code.parse::<State>().unwrap().is_exercise();
        for code in ["XA", "XB", "XC", "XD", "QM", "QZ", "AA", "ZZ"] {
            assert!(is(code), "{code}");
        }
        for code in ["XE", "XK", "XI", "XU", "QA", "QL", "FR"] {
            assert!(!is(code), "{code}");
        }
    }
}
