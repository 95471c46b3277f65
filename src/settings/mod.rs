//! The node's configuration: `verbale.toml` in its folder and `VERBALE__…` variables; must not know what is done with it.
//!
//! Every key has a default but `node.state`. An unknown key is an error that names file, line, key and cure. The
//! annotated file that `init` writes is [`ANNOTATED`]; a test holds it equal to the defaults here.

mod error;
mod measure;
mod place;
mod raw;
mod read;

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use error::{Problem, SettingsError};
pub use measure::{ByteSize, MeasureError, Span};
pub use place::{line_of, nearest};
pub use read::{annotated, parse};

use crate::exchange;
use crate::identity::{Address, PostQuantum};
use crate::name::NodeName;

/// The configuration's name in the node's folder.
pub const FILE_NAME: &str = "verbale.toml";

/// The annotated configuration: every key with its default and the reason for it.
pub const ANNOTATED: &str = include_str!("../../config/verbale.toml");

/// The UDP port where none is said: unassigned at IANA, above the privileged ones.
pub const DEFAULT_PORT: u16 = 7411;

/// The largest configuration file: ten thousand peers with three addresses fit.
pub const MAX_FILE_BYTES: u64 = 2 << 20;

/// The least window: one entry of the largest size must pass.
pub const MIN_WINDOW: u64 = 64 << 10;
/// The largest window: that much of a peer's push may lie in memory.
pub const MAX_WINDOW: u64 = 256 << 20;
/// The largest enclosure that can be allowed: offsets stay exact in every reader's JSON (2^53).
pub const MAX_ENCLOSURE: u64 = 1 << 53;
/// The least that a peer may be allowed in a day: several of the largest pushes, and the reserve for what is urgent.
pub const MIN_BYTES_PER_DAY: u64 = 64 << 20;
/// The shortest cap of the back-off: below a second a dead link becomes a busy loop.
pub const MIN_BACKOFF: Duration = Duration::from_secs(1);
/// The longest cap of the back-off: DOMAIN's "no back-off cliff".
pub const MAX_BACKOFF: Duration = Duration::from_secs(15 * 60);
/// The shortest stall: a satellite link with loss needs that long for one push.
pub const MIN_STALL: Duration = Duration::from_secs(10);
/// The longest stall: beyond it a dead path is never noticed.
pub const MAX_STALL: Duration = Duration::from_secs(3600);
/// The shortest interval at which `on_message` is repeated.
pub const MIN_REPEAT: Duration = Duration::from_secs(10);
/// The smallest journal segment: a few of the largest groups.
pub const MIN_SEGMENT: u64 = 16 << 20;
/// The largest journal segment: what is pre-filled at once.
pub const MAX_SEGMENT: u64 = 1 << 30;

/// How the daemon's log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// How much the daemon logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Now.
    Error,
    /// Soon.
    Warn,
    /// A quiet day.
    #[default]
    Info,
    /// Every peer event.
    Debug,
    /// Every packet and entry.
    Trace,
}

impl LogLevel {
    /// The word of the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// What this State has set for one peer, over what the introduction says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerSettings {
    /// Where to dial instead of the introduced addresses; empty: as introduced.
    pub addresses: Vec<String>,
    /// The State's name as shown here.
    pub display_name: Option<String>,
    /// Bytes that it may have stored here in a day; `None`: as for every peer.
    pub bytes_per_day: Option<u64>,
}

/// The command that is run for each new message, with its metadata only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnMessage {
    /// The program; no shell is involved.
    pub command: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// How often it is run again for IMMEDIATE and FLASH until acknowledged.
    pub repeat: Duration,
}

/// The daemon's log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// How they look.
    pub format: LogFormat,
    /// How many there are.
    pub level: LogLevel,
}

/// The journal on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// Bytes of a segment.
    pub segment_size: u64,
    /// Whether a copy-on-write file system is accepted, on which overwriting a key slot may leave the old bytes.
    pub allow_copy_on_write: bool,
}

/// The local interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketSettings {
    /// Where it lies; `None`: `verbale.sock` in the node's folder.
    pub path: Option<PathBuf>,
    /// The group that may use it (mode 0660); `None`: the daemon's own user only (mode 0600).
    pub group: Option<String>,
}

/// A node's configuration. A value that exists is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The node.
    pub node: NodeName,
    /// BCP 47 tag of the language in which messages are written here by default; empty: not said.
    pub language: String,
    /// UDP addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Addresses that the introduction announces, `host:port`.
    pub announce: Vec<Address>,
    /// Post-quantum key exchange.
    pub pq: PostQuantum,
    /// What the core needs: window, enclosures, pings, back-off, stall, mixing of exercise and real States.
    pub exchange: exchange::Settings,
    /// Per peer.
    pub peers: BTreeMap<NodeName, PeerSettings>,
    /// The alert; `None`: none.
    pub on_message: Option<OnMessage>,
    /// The daemon's log lines.
    pub log: LogSettings,
    /// The journal.
    pub journal: JournalSettings,
    /// The local interface.
    pub socket: SocketSettings,
}

/// The interval at which `on_message` is repeated where the file does not say.
pub const DEFAULT_REPEAT: Duration = Duration::from_secs(300);
/// The size of a journal segment where the file does not say.
pub const DEFAULT_SEGMENT: u64 = 16 << 20;

impl Settings {
    /// The defaults for a node.
    pub fn of(node: NodeName) -> Self {
        Self {
            node,
            language: String::new(),
            listen: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT))],
            announce: Vec::new(),
            pq: PostQuantum::default(),
            exchange: exchange::Settings::default(),
            peers: BTreeMap::new(),
            on_message: None,
            log: LogSettings::default(),
            journal: JournalSettings { segment_size: DEFAULT_SEGMENT, allow_copy_on_write: false },
            socket: SocketSettings::default(),
        }
    }

    /// The name under which a peer's State is shown: the configured one, or the short English name.
    pub fn display_name(&self, peer: NodeName) -> String {
        let configured = self.peers.get(&peer).and_then(|peer| peer.display_name.clone());
        configured.unwrap_or_else(|| peer.state().short_name().to_owned())
    }
}
