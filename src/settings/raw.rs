//! The tables of the configuration as they are written, before they are checked.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::{ByteSize, LogFormat, LogLevel, Span};
use crate::identity::{Address, PostQuantum};
use crate::name::{Desk, NodeName, State};

/// The tables and their keys; `*` stands for any node's name.
pub(super) const KNOWN: [(&str, &[&str]); 9] = [
    ("node", &["state", "desk", "language"]),
    ("network", &["listen", "announce", "pq", "mix_exercise"]),
    (
        "limits",
        &[
            "window",
            "enclosure_max",
            "enclosures_total_max",
            "peer_bytes_per_day",
            "pings_per_day",
            "backoff_max",
            "stall",
        ],
    ),
    ("on_message", &["command", "args", "repeat"]),
    ("log", &["format", "level"]),
    ("journal", &["segment_size", "allow_copy_on_write"]),
    ("socket", &["path", "group"]),
    ("peers", &["*"]),
    ("peers.*", &["addresses", "display_name", "bytes_per_day"]),
];

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    pub node: RawNode,
    pub network: RawNetwork,
    pub limits: RawLimits,
    pub on_message: RawOnMessage,
    pub log: RawLog,
    pub journal: RawJournal,
    pub socket: RawSocket,
    pub peers: BTreeMap<NodeName, RawPeer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawNode {
    pub state: Option<State>,
    pub desk: Option<Desk>,
    pub language: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawNetwork {
    pub listen: Option<List<SocketAddr>>,
    pub announce: Option<List<Address>>,
    pub pq: Option<Word<PostQuantum>>,
    pub mix_exercise: Option<Switch>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLimits {
    pub window: Option<ByteSize>,
    pub enclosure_max: Option<ByteSize>,
    pub enclosures_total_max: Option<ByteSize>,
    pub peer_bytes_per_day: Option<ByteSize>,
    pub pings_per_day: Option<u32>,
    pub backoff_max: Option<Span>,
    pub stall: Option<Span>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawOnMessage {
    pub command: Option<PathBuf>,
    pub args: Option<List<String>>,
    pub repeat: Option<Span>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLog {
    pub format: Option<LogFormat>,
    pub level: Option<LogLevel>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawJournal {
    pub segment_size: Option<ByteSize>,
    pub allow_copy_on_write: Option<Switch>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSocket {
    pub path: Option<PathBuf>,
    pub group: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawPeer {
    pub addresses: Option<List<Address>>,
    pub display_name: Option<String>,
    pub bytes_per_day: Option<ByteSize>,
}

/// A word that its type reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<T>(pub T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(de::Error::custom)
    }
}

/// `true` or `false`, in a file or in a variable, and nothing that might mean one of them: these are switches of safety.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Switch(pub bool);

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Exact;

        impl Visitor<'_> for Exact {
            type Value = bool;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
                Ok(value)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<bool, E> {
                text.parse().map_err(|_| E::custom(format!("`{text}` is neither true nor false")))
            }
        }

        deserializer.deserialize_any(Exact).map(Self)
    }
}

/// A list in a file, or words between commas in a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List<T>(pub Vec<T>);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(std::marker::PhantomData<T>);

        impl<'de, T: FromStr<Err: fmt::Display>> Visitor<'de> for Either<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                words.map(|word| read(word).map_err(E::custom)).collect()
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element::<String>()? {
                    list.push(read(&item).map_err(de::Error::custom)?);
                }
                Ok(list)
            }
        }

        fn read<T: FromStr<Err: fmt::Display>>(word: &str) -> Result<T, String> {
            word.parse().map_err(|error| format!("`{word}`: {error}"))
        }

        deserializer.deserialize_any(Either(std::marker::PhantomData)).map(Self)
    }
}
