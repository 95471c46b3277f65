//! One volume of a log inside sled: its size, its receipts, its tiles, and where its entries lie in the journal.

use crate::name::{Hash, Volume};
use crate::wire::HeadRef;

use super::key::{self, LogId};
use super::row::{Fields, Receipted};
use super::tile::Edge;
use super::{StoreError, sealed};

/// Entries whose places lie in one value.
pub(super) const LOCATIONS_PER_VALUE: u64 = 256;

const LOCATION_BYTES: usize = 16;

/// How many entries may be missing in a row before a log is taken for unreadable: a damaged stretch of the journal is
/// at most a segment, and a number from a record must not decide how much is written.
pub(super) const MAX_HOLE: u64 = 65_536;

/// The most entries that one VOLUME entry marks as withdrawn here, so that one record changes no more than one step may;
/// the rest is read from the entry itself.
pub(super) const MAX_WITHDRAWN: u64 = 2_048;

/// Where an entry lies in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The record that put it there: VolumeOpened, Appended, Stored or Fetched.
    pub record: u64,
    /// The record that holds its payload: Queued for what was appended, the same record otherwise.
    pub payload: u64,
}

impl Location {
    /// Stands where the journal's record of an entry could not be read.
    pub(super) const HOLE: Self = Self { record: u64::MAX, payload: u64::MAX };

    fn bytes(self) -> [u8; LOCATION_BYTES] {
        let mut bytes = [0; LOCATION_BYTES];
        bytes[..8].copy_from_slice(&self.record.to_be_bytes());
        bytes[8..].copy_from_slice(&self.payload.to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Self {
        let mut fields = Fields(bytes);
        Self { record: fields.u64(), payload: fields.u64() }
    }

    /// The location in a value of them.
    pub(super) fn in_value(value: &[u8], at: u64) -> Option<Self> {
        let start = usize::try_from(at).ok()?.checked_mul(LOCATION_BYTES)?;
        value.get(start..start.checked_add(LOCATION_BYTES)?).map(Self::read)
    }
}

/// What is known of a volume as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LogState {
    pub size: u64,
    pub receipted: u64,
    pub receipts: u64,
    pub root: Hash,
    /// The volume before and the size that is named of it.
    pub before: Option<(Volume, u64)>,
    /// Entries whose records could not be read.
    pub holes: u64,
    /// A signed root differed from the one of the entries.
    pub disagrees: bool,
}

impl LogState {
    fn encode(&self) -> Vec<u8> {
        let (volume, size) = self.before.unwrap_or((Volume { number: 0, random: [0; 8] }, 0));
        let mut out = Vec::with_capacity(96);
        for number in [self.size, self.receipted, self.receipts, self.holes, size] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.root.0);
        out.extend_from_slice(&volume.number.to_be_bytes());
        out.extend_from_slice(&volume.random);
        out.push(self.disagrees.into());
        out
    }

    fn decode(value: &[u8]) -> Self {
        let mut fields = Fields(value);
        let (size, receipted, receipts, holes, before) =
            (fields.u64(), fields.u64(), fields.u64(), fields.u64(), fields.u64());
        let root = Hash(fields.take());
        let volume = Volume { number: fields.u32(), random: fields.take() };
        let disagrees = fields.take::<1>()[0] == 1;
        let before = (volume.number != 0).then_some((volume, before));
        Self { size, receipted, receipts, root, before, holes, disagrees }
    }

    pub(super) fn load(tree: &sled::Tree, log: &LogId) -> Result<Option<Self>, StoreError> {
        Ok(sealed::get(tree, &key::log(log))?.map(|value| Self::decode(&value)))
    }

    pub(super) fn from_value(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        Ok(Self::decode(sealed::open(key, value)?))
    }
}

/// A volume that is being written to.
#[derive(Debug, Default)]
pub(super) struct OpenLog {
    pub state: LogState,
    pub edge: Edge,
    locations: Vec<u8>,
    pub dirty: bool,
}

impl OpenLog {
    pub(super) fn load(tree: &sled::Tree, log: &LogId) -> Result<Self, StoreError> {
        let state = LogState::load(tree, log)?.unwrap_or_default();
        let mut open = Self { state, ..Self::default() };
        open.load_edge(tree, log, state.size)?;
        if open.edge.root() != state.root && state.size > 0 {
            return Err(StoreError::Damaged("the tiles of a log do not lead to its root".to_owned()));
        }
        Ok(open)
    }

    fn load_edge(&mut self, tree: &sled::Tree, log: &LogId, size: u64) -> Result<(), StoreError> {
        self.edge = Edge::load(tree, log, size)?;
        let width = (size % LOCATIONS_PER_VALUE) as usize * LOCATION_BYTES;
        self.locations.clear();
        if width > 0 {
            let value = sealed::get(tree, &key::locations(log, size / LOCATIONS_PER_VALUE))?;
            let part = value.as_ref().and_then(|value| value.get(..width));
            let missing = || StoreError::Damaged("the places of a log's newest entries are missing".to_owned());
            self.locations.extend_from_slice(part.ok_or_else(missing)?);
        }
        Ok(())
    }

    /// Goes back to the first `size` entries: another branch takes the place of the rest. All that was pushed before
    /// must lie in `tree`.
    pub(super) fn cut(&mut self, tree: &sled::Tree, log: &LogId, size: u64) -> Result<(), StoreError> {
        self.load_edge(tree, log, size)?;
        self.state.size = size;
        self.dirty = true;
        Ok(())
    }

    /// Appends an entry; values that become full go to `put`.
    pub(super) fn push(
        &mut self,
        log: &LogId,
        leaf_hash: Hash,
        location: Location,
        put: &mut impl FnMut(Vec<u8>, Vec<u8>),
    ) {
        let at = self.state.size / LOCATIONS_PER_VALUE;
        self.locations.extend_from_slice(&location.bytes());
        if self.locations.len() == LOCATIONS_PER_VALUE as usize * LOCATION_BYTES {
            put(key::locations(log, at), std::mem::take(&mut self.locations));
        }
        self.edge.push(leaf_hash, &mut |level, index, hashes| {
            put(key::tile(log, level, index), super::tile::encode(hashes));
        });
        self.state.size += 1;
        self.dirty = true;
    }

    /// The location of an entry in the unfilled value.
    pub(super) fn open_location(&self, index: u64) -> Option<Location> {
        let first = self.state.size / LOCATIONS_PER_VALUE * LOCATIONS_PER_VALUE;
        Location::in_value(&self.locations, index.checked_sub(first)?)
    }

    /// Hands out everything that changed and is not full.
    pub(super) fn flush(&mut self, log: &LogId, put: &mut impl FnMut(Vec<u8>, Vec<u8>)) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        self.state.root = self.edge.root();
        if !self.locations.is_empty() {
            put(key::locations(log, self.state.size / LOCATIONS_PER_VALUE), self.locations.clone());
        }
        self.edge.flush(&mut |level, index, hashes| put(key::tile(log, level, index), super::tile::encode(hashes)));
        put(key::log(log), self.state.encode());
    }

    /// Takes what a VOLUME entry says of the volume before.
    pub(super) fn open_with(&mut self, before: Option<&HeadRef>) {
        self.state.before = before.map(|before| (before.origin.volume, before.size));
    }
}

/// The value of a receipt: its time and its record.
pub(super) fn receipt_value(time_seconds: Option<u64>, record: u64) -> Vec<u8> {
    [time_seconds.unwrap_or(u64::MAX), record].iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// The first receipt that covers an entry.
pub(super) fn receipt_of(tree: &sled::Tree, log: &LogId, index: u64) -> Result<Option<Receipted>, StoreError> {
    let from = key::receipt(log, index.saturating_add(1));
    let Some(item) = tree.range(from..=key::receipt(log, u64::MAX)).next() else { return Ok(None) };
    let (key, value) = item?;
    let mut fields = Fields(sealed::open(&key, &value)?);
    let (time, record) = (fields.u64(), fields.u64());
    let size = key.last_chunk().map_or(0, |size| u64::from_be_bytes(*size));
    Ok(Some(Receipted { time_seconds: (time != u64::MAX).then_some(time), size, record }))
}
