//! Logs as a whole: their sizes, their leaf hashes, where their entries lie, and proofs from their tiles.

use std::ops::Range;

use crate::merkle::{self, ProveError};
use crate::name::{Hash, NodeName, Volume};

use super::key::{self, LogId};
use super::log::{LOCATIONS_PER_VALUE, Location, LogState, receipt_of};
use super::row::Receipted;
use super::tile::{self, Subtrees, TILE};
use super::{Store, StoreError, sealed};

/// The most leaf hashes that are given at once: 2 MiB.
pub const MAX_LEAF_HASHES: u64 = 65_536;

/// A volume of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogView {
    /// Which.
    pub log: LogId,
    /// Entries.
    pub size: u64,
    /// Entries below the newest receipt: the peer's for an own log, one's own for a peer's.
    pub receipted: u64,
    /// The root over all entries.
    pub root: Hash,
    /// The volume before and the size that entry 0 names of it.
    pub before: Option<(Volume, u64)>,
    /// Entries whose records could not be read from the journal; nothing can be proven then.
    pub holes: u64,
    /// A signed root differed from the one of the entries: run the audit.
    pub disagrees: bool,
}

/// A proof that an entry stands in the tree of a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// The hash of the entry's leaf.
    pub leaf_hash: Hash,
    /// The siblings, the leaf's own first.
    pub hashes: Vec<Hash>,
    /// The root to which they lead. The caller compares it with a signed one.
    pub root: Hash,
}

impl LogView {
    fn new(log: LogId, state: &LogState) -> Self {
        let LogState { size, receipted, root, before, holes, disagrees, .. } = *state;
        Self { log, size, receipted, root, before, holes, disagrees }
    }
}

impl Store {
    /// All volumes of all logs, or those with one peer; by peer, the peer's own log first, then by number.
    ///
    /// # Errors
    /// Damage.
    pub fn logs(&self, peer: Option<NodeName>) -> Result<Vec<LogView>, StoreError> {
        self.query(|_, tree| {
            let mut logs = Vec::new();
            for item in tree.scan_prefix(key::logs(peer)) {
                let (key, value) = item?;
                let Some(log) = key::log_of(&key) else { continue };
                logs.push(LogView::new(log, &LogState::from_value(&key, &value)?));
            }
            Ok(logs)
        })
    }

    /// One volume; `None` where nothing was recorded of it.
    ///
    /// # Errors
    /// Damage.
    pub fn log(&self, log: &LogId) -> Result<Option<LogView>, StoreError> {
        self.query(|_, tree| Ok(LogState::load(tree, log)?.map(|state| LogView::new(*log, &state))))
    }

    /// Where an entry lies in the journal; `None` where there is no such entry, or its record could not be read.
    ///
    /// # Errors
    /// Damage.
    pub fn entry_record(&self, log: &LogId, index: u64) -> Result<Option<Location>, StoreError> {
        self.query(|_, tree| location(tree, log, index))
    }

    /// The first receipt that covers an entry.
    ///
    /// # Errors
    /// Damage.
    pub fn receipt(&self, log: &LogId, index: u64) -> Result<Option<Receipted>, StoreError> {
        self.query(|_, tree| receipt_of(tree, log, index))
    }

    /// Leaf hashes of a range of entries, at most [`MAX_LEAF_HASHES`] of them.
    ///
    /// # Errors
    /// A range that ends beyond the log; damage.
    pub fn leaf_hashes(&self, log: &LogId, range: Range<u64>) -> Result<Vec<Hash>, StoreError> {
        self.query(|_, tree| {
            within(tree, log, range.end)?;
            let end = range.end.min(range.start.saturating_add(MAX_LEAF_HASHES));
            let mut hashes = Vec::new();
            for index in range.start / TILE..end.div_ceil(TILE) {
                let stored = tile::hashes(tree, log, 0, index)?;
                let first = index * TILE;
                let (from, to) = (range.start.max(first) - first, end.min(first + TILE) - first);
                let part = stored.get(from as usize..(to as usize).max(from as usize));
                hashes.extend(part.ok_or_else(|| StoreError::Damaged("a tile is too short".to_owned()))?);
            }
            Ok(hashes)
        })
    }

    /// The root over the first `size` entries.
    ///
    /// # Errors
    /// A size beyond the log; holes; damage.
    pub fn root_at(&self, log: &LogId, size: u64) -> Result<Hash, StoreError> {
        self.prove(log, size, |subtrees| {
            merkle::root_of(size, |level, index| subtrees.get(level, index)).map_err(ProveError::from)
        })
    }

    /// Proves that entry `index` stands in the tree of the first `size` entries (RFC 9162 §2.1.3). The proof was
    /// verified against the root that it names.
    ///
    /// # Errors
    /// An entry beyond the size, a size beyond the log; holes; damage.
    pub fn inclusion_proof(&self, log: &LogId, index: u64, size: u64) -> Result<InclusionProof, StoreError> {
        let proof = self.prove(log, size, |subtrees| {
            let hashes = merkle::inclusion_proof(index, size, |level, index| subtrees.get(level, index))?;
            let leaf_hash = subtrees.get(0, index).unwrap_or_default();
            let root = merkle::root_of(size, |level, index| subtrees.get(level, index))?;
            Ok(InclusionProof { leaf_hash, hashes, root })
        })?;
        let verdict = merkle::verify_inclusion(&proof.leaf_hash, index, size, &proof.hashes, &proof.root);
        verdict.map_err(|error| StoreError::Damaged(error.to_string())).inspect_err(|error| self.suspect(error))?;
        Ok(proof)
    }

    /// Proves that the first `size1` entries are a prefix of the first `size2` (RFC 9162 §2.1.4).
    ///
    /// # Errors
    /// Sizes that do not fit; holes; damage.
    pub fn consistency_proof(&self, log: &LogId, size1: u64, size2: u64) -> Result<Vec<Hash>, StoreError> {
        self.prove(log, size2, |subtrees| {
            merkle::consistency_proof(size1, size2, |level, index| subtrees.get(level, index))
        })
    }

    fn prove<T>(
        &self,
        log: &LogId,
        size: u64,
        build: impl FnOnce(&mut Subtrees<'_>) -> Result<T, ProveError>,
    ) -> Result<T, StoreError> {
        self.query(|_, tree| {
            let state = within(tree, log, size)?;
            if state.holes > 0 {
                return Err(StoreError::Holes(state.holes));
            }
            let mut subtrees = Subtrees::new(tree, log);
            build(&mut subtrees).map_err(|error| match (error, subtrees.fault.take()) {
                (ProveError::OutOfRange { asked, size }, _) => StoreError::OutOfRange { asked, size },
                (ProveError::Missing(_), Some(fault)) => fault,
                (ProveError::Missing(missing), None) => StoreError::Damaged(missing.to_string()),
            })
        })
    }
}

/// The volume, if it has at least `size` entries.
fn within(tree: &sled::Tree, log: &LogId, size: u64) -> Result<LogState, StoreError> {
    let state = LogState::load(tree, log)?.unwrap_or_default();
    if size > state.size { Err(StoreError::OutOfRange { asked: size, size: state.size }) } else { Ok(state) }
}

/// Where an entry lies in the journal.
pub(super) fn location(tree: &sled::Tree, log: &LogId, index: u64) -> Result<Option<Location>, StoreError> {
    let size = LogState::load(tree, log)?.map_or(0, |state| state.size);
    if index >= size {
        return Ok(None);
    }
    let value = sealed::get(tree, &key::locations(log, index / LOCATIONS_PER_VALUE))?;
    let found = value.and_then(|value| Location::in_value(&value, index % LOCATIONS_PER_VALUE));
    let missing = || StoreError::Damaged(format!("the place of entry {index} is missing"));
    Ok(Some(found.ok_or_else(missing)?).filter(|location| *location != Location::HOLE))
}
