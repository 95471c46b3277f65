//! The simulated network: connections with two ends, streams that keep their order and nothing else.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use verbale::exchange::{ConnId, FetchFault, Pushed};
use verbale::name::{BootNonce, Origin};
use verbale::wire::{FaultCode, Hello, LogState, NotNowReason};

/// Milliseconds after which an end notices that the other is gone.
pub const IDLE_TIMEOUT: u64 = 30_000;

/// What travels, after framing.
#[derive(Clone, Debug)]
pub enum Message {
    Hello(Box<Hello>),
    NotNow { reason: NotNowReason, retry_after: std::time::Duration },
    Probe,
    ProbeReply { boot: BootNonce },
    Push { stream: u64, pushed: Pushed },
    Cosigned { origin: Origin, size: u64, lines: Vec<String>, window: u64 },
    Shows(LogState),
    Fault { code: FaultCode, origin: Option<Origin>, index: u64, proof: Bytes },
    Fetch { number: u64, origin: Origin, from: u64, to: u64 },
    Fetched { number: u64, result: Result<Pushed, FetchFault> },
}

/// Which order a message keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    Control,
    /// Pushes; what answers them travels on its back side.
    Push,
    Back,
    Fetch(u64),
}

impl Message {
    /// Whether it is read only once the connection is chosen.
    pub fn waits_for_choice(&self) -> bool {
        matches!(self, Self::Push { .. } | Self::Fetch { .. })
    }

    pub fn stream(&self) -> Stream {
        match self {
            Self::Hello(_) | Self::NotNow { .. } | Self::Probe | Self::ProbeReply { .. } => Stream::Control,
            Self::Push { .. } => Stream::Push,
            Self::Cosigned { .. } | Self::Shows(_) | Self::Fault { .. } => Stream::Back,
            Self::Fetch { number, .. } | Self::Fetched { number, .. } => Stream::Fetch(*number),
        }
    }
}

/// Which end of a connection: 0 dialled, 1 accepted.
pub type End = usize;

/// One end of a connection at one run of one instance.
#[derive(Clone, Debug)]
pub struct Half {
    pub instance: usize,
    pub run: u64,
    pub conn: ConnId,
    /// The core here knows of the connection and it has not ended.
    pub open: bool,
    /// The core was told that the connection is there.
    pub told: bool,
    /// The number of the push stream that is read here; a FAULT resets it.
    pub reads: u64,
    /// The number of the push stream that is written here.
    pub writes: u64,
    pub sent_hello: bool,
    pub got_hello: bool,
    /// The newest HELLO was not the first: it closes the connection, and nobody reads what it says.
    pub got_another: bool,
    /// Fetches asked for here without an answer yet.
    pub fetches: BTreeMap<u64, (Origin, u64)>,
    /// What came before the connection was chosen here; it is read afterwards.
    pub early: VecDeque<Message>,
    /// A PROBE was sent and not answered; its number.
    pub probing: Option<u64>,
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Link {
    pub halves: [Half; 2],
    /// Messages that a cut holds back, per receiving end.
    pub held: [VecDeque<Message>; 2],
    /// When the last message of a stream arrives, per receiving end.
    pub last: [BTreeMap<Stream, u64>; 2],
    /// Since when messages towards this end are held back.
    pub cut_since: [Option<u64>; 2],
}

impl Link {
    pub fn new(halves: [Half; 2]) -> Self {
        Self { halves, held: Default::default(), last: Default::default(), cut_since: [None; 2] }
    }

    pub fn is_dead(&self) -> bool {
        self.halves.iter().all(|half| !half.open)
    }
}
