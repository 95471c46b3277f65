//! Merkle trees as tiles of 256 hashes, in the shape of c2sp.org/tlog-tiles: the tile at `level` and `index` holds the
//! roots of up to 256 complete subtrees of 256^level leaves each.

use crate::merkle::{CompactRange, empty_root, node_hash};
use crate::name::Hash;

use super::key::{self, LogId};
use super::{StoreError, sealed};

/// Hashes in a full tile.
pub(super) const TILE: u64 = 256;

/// log2 of [`TILE`].
const TILE_BITS: u32 = 8;

const HASH_BYTES: usize = 32;

/// How many complete subtrees of 256^level leaves a tree of `size` leaves has.
pub(super) fn subtrees(size: u64, level: u8) -> u64 {
    size.checked_shr(TILE_BITS * u32::from(level)).unwrap_or(0)
}

/// How many levels of tiles a tree of `size` leaves has.
pub(super) fn levels(size: u64) -> u8 {
    (0..).take_while(|level| subtrees(size, *level) > 0).last().map_or(0, |level| level + 1)
}

/// The last, unfilled tile of one level.
#[derive(Clone, Debug, Default)]
struct Open {
    /// Index of this tile in its level.
    index: u64,
    hashes: Vec<Hash>,
    range: CompactRange,
    dirty: bool,
}

impl Open {
    fn push(&mut self, hash: Hash) {
        self.hashes.push(hash);
        self.range.push(hash);
        self.dirty = true;
    }
}

/// The right edge of a tree: all that is needed to append to it and to know its root.
#[derive(Clone, Debug, Default)]
pub(super) struct Edge {
    size: u64,
    open: Vec<Open>,
}

impl Edge {
    /// Loads the right edge of the tree of the first `size` leaves.
    ///
    /// # Errors
    /// A tile that is missing, damaged or too short.
    pub(super) fn load(tree: &sled::Tree, log: &LogId, size: u64) -> Result<Self, StoreError> {
        let mut edge = Self { size, open: Vec::new() };
        for level in 0..levels(size) {
            let count = subtrees(size, level);
            let (index, width) = (count / TILE, count % TILE);
            let mut open = Open { index, ..Open::default() };
            if width > 0 {
                let stored = hashes(tree, log, level, index)?;
                let part = stored.get(..width as usize).ok_or_else(|| missing(level, index))?;
                part.iter().for_each(|hash| open.push(*hash));
            }
            // A tile that is cut back must be written again; writing an unchanged one costs nothing that matters.
            open.dirty = width > 0;
            edge.open.push(open);
        }
        Ok(edge)
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash. Tiles that become full go to `full`.
    pub(super) fn push(&mut self, leaf_hash: Hash, full: &mut impl FnMut(u8, u64, &[Hash])) {
        self.size += 1;
        let mut hash = leaf_hash;
        for level in 0..=u8::MAX {
            if self.open.len() == usize::from(level) {
                self.open.push(Open::default());
            }
            let open = &mut self.open[usize::from(level)];
            open.push(hash);
            if (open.hashes.len() as u64) < TILE {
                return;
            }
            full(level, open.index, &open.hashes);
            hash = open.range.root();
            *open = Open { index: open.index + 1, ..Open::default() };
        }
    }

    /// The root of the whole tree.
    pub(super) fn root(&self) -> Hash {
        let right_to_left = self.open.iter().flat_map(|open| open.range.peaks().iter().rev());
        right_to_left.copied().reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }

    /// Hands out the unfilled tiles that changed since the last call.
    pub(super) fn flush(&mut self, out: &mut impl FnMut(u8, u64, &[Hash])) {
        for (level, open) in (0_u8..).zip(&mut self.open) {
            if open.dirty && !open.hashes.is_empty() {
                out(level, open.index, &open.hashes);
            }
            open.dirty = false;
        }
    }
}

/// Writes the hashes of a tile.
pub(super) fn encode(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

fn missing(level: u8, index: u64) -> StoreError {
    StoreError::Damaged(format!("tile {index} of level {level} is missing or too short"))
}

/// Reads the hashes of a tile.
///
/// # Errors
/// A tile that is missing or damaged.
pub(super) fn hashes(tree: &sled::Tree, log: &LogId, level: u8, index: u64) -> Result<Vec<Hash>, StoreError> {
    let value = sealed::get(tree, &key::tile(log, level, index))?.ok_or_else(|| missing(level, index))?;
    let chunks = value.as_chunks::<HASH_BYTES>();
    if chunks.1.is_empty() { Ok(chunks.0.iter().map(|hash| Hash(*hash)).collect()) } else { Err(missing(level, index)) }
}

/// The root over a power of two of hashes.
fn complete_root(hashes: &[Hash]) -> Hash {
    let mut range = CompactRange::default();
    hashes.iter().for_each(|hash| range.push(*hash));
    range.root()
}

/// Gives the hashes of complete subtrees from tiles; keeps the tiles of one proof at hand.
pub(super) struct Subtrees<'a> {
    tree: &'a sled::Tree,
    log: &'a LogId,
    tiles: Vec<((u8, u64), Vec<Hash>)>,
    /// The first thing that went wrong.
    pub fault: Option<StoreError>,
}

impl<'a> Subtrees<'a> {
    pub(super) fn new(tree: &'a sled::Tree, log: &'a LogId) -> Self {
        Self { tree, log, tiles: Vec::new(), fault: None }
    }

    /// The hash of the complete subtree over the leaves `index · 2^level ..`.
    pub(super) fn get(&mut self, level: u32, index: u64) -> Option<Hash> {
        let tile_level = u8::try_from(level / TILE_BITS).ok()?;
        let width = 1_u64 << (level % TILE_BITS);
        let first = index.checked_mul(width)?;
        let tile = self.tile(tile_level, first / TILE)?;
        let start = (first % TILE) as usize;
        Some(complete_root(tile.get(start..start + width as usize)?))
    }

    fn tile(&mut self, level: u8, index: u64) -> Option<&[Hash]> {
        if let Some(at) = self.tiles.iter().position(|(name, _)| *name == (level, index)) {
            return Some(&self.tiles[at].1);
        }
        match hashes(self.tree, self.log, level, index) {
            Ok(hashes) => {
                self.tiles.push(((level, index), hashes));
                self.tiles.last().map(|(_, hashes)| hashes.as_slice())
            }
            Err(error) => {
                self.fault.get_or_insert(error);
                None
            }
        }
    }
}

/// Checks every tile of a tree: that it is there, as long as it should be, and that the root of each full one stands in
/// the tile above. Returns the root of the tree.
///
/// # Errors
/// The first tile that is missing or does not fit.
pub(super) fn check(tree: &sled::Tree, log: &LogId, size: u64) -> Result<Hash, StoreError> {
    for level in 0..levels(size) {
        let count = subtrees(size, level);
        let mut above: Option<(u64, Vec<Hash>)> = None;
        for index in 0..count.div_ceil(TILE) {
            let stored = hashes(tree, log, level, index)?;
            let width = (count - index * TILE).min(TILE) as usize;
            let Some(part) = stored.get(..width) else { return Err(missing(level, index)) };
            if width < TILE as usize {
                continue;
            }
            let parent = index / TILE;
            if above.as_ref().is_none_or(|(at, _)| *at != parent) {
                above = Some((parent, hashes(tree, log, level + 1, parent)?));
            }
            let expected = above.as_ref().and_then(|(_, hashes)| hashes.get((index % TILE) as usize));
            if expected != Some(&complete_root(part)) {
                return Err(StoreError::Damaged(format!("tile {index} of level {level} does not lead to its root")));
            }
        }
    }
    Ok(Edge::load(tree, log, size)?.root())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{inclusion_proof, leaf_hash, over_leaves, root_of};

    fn log() -> LogId {
        LogId { peer: "XB".parse().unwrap(), own: true, volume: "1.5f0c9a3e7b2d4410".parse().unwrap() }
    }

    fn write(tree: &sled::Tree, level: u8, index: u64, hashes: &[Hash]) {
        let key = key::tile(&log(), level, index);
        let value = sealed::seal(&key, encode(hashes));
        tree.insert(key, value).unwrap();
    }

    #[test]
    fn tiles_give_the_roots_and_proofs_of_the_tree_at_every_border() {
        let db = sled::Config::new().temporary(true).open().unwrap();
        let leaves: Vec<Hash> = (0..66_000_u32).map(|number| leaf_hash(&number.to_be_bytes())).collect();
        let mut edge = Edge::default();
        let mut range = CompactRange::default();
        let borders = [0, 1, 2, 255, 256, 257, 511, 512, 1000, 65_535, 65_536, 65_537, 65_792, 66_000];
        for size in 0..=leaves.len() as u64 {
            assert_eq!(edge.size(), size);
            if borders.contains(&size) {
                edge.flush(&mut |level, index, hashes| write(&db, level, index, hashes));
                assert_eq!(edge.root(), range.root(), "{size}");
                assert_eq!(Edge::load(&db, &log(), size).unwrap().root(), range.root(), "{size}");
                assert_eq!(check(&db, &log(), size).unwrap(), range.root(), "{size}");
            }
            if let Some(leaf) = leaves.get(size as usize) {
                edge.push(*leaf, &mut |level, index, hashes| write(&db, level, index, hashes));
                range.push(*leaf);
            }
        }
        for size in borders {
            let part = &leaves[..size as usize];
            let log = log();
            let mut from_tiles = Subtrees::new(&db, &log);
            assert_eq!(root_of(size, |level, index| from_tiles.get(level, index)), root_of(size, over_leaves(part)));
            for index in [0, 1, 254, 255, 256, size / 2, size.saturating_sub(1)] {
                let proof = inclusion_proof(index, size, |level, index| from_tiles.get(level, index));
                assert_eq!(proof, inclusion_proof(index, size, over_leaves(part)), "{index} in {size}");
            }
        }
    }

    #[test]
    fn a_tile_that_is_missing_short_or_of_other_hashes_is_noticed() {
        let db = sled::Config::new().temporary(true).open().unwrap();
        let mut edge = Edge::default();
        let fill = |tree: &sled::Tree, edge: &mut Edge| {
            for number in 0..600_u32 {
                edge.push(leaf_hash(&number.to_be_bytes()), &mut |level, index, hashes| {
                    write(tree, level, index, hashes)
                });
            }
            edge.flush(&mut |level, index, hashes| write(tree, level, index, hashes));
        };
        fill(&db, &mut edge);
        assert_eq!(check(&db, &log(), 600).unwrap(), edge.root());
        let first = hashes(&db, &log(), 0, 0).unwrap();
        let mut other = first.clone();
        other[3] = leaf_hash(b"other");
        write(&db, 0, 0, &other);
        assert!(check(&db, &log(), 600).is_err());
        write(&db, 0, 0, &first[..255]);
        assert!(check(&db, &log(), 600).is_err());
        db.remove(key::tile(&log(), 0, 0)).unwrap();
        assert!(check(&db, &log(), 600).is_err());
        write(&db, 0, 0, &first);
        assert!(check(&db, &log(), 600).is_ok());
    }

    #[test]
    fn levels_of_tiles_grow_with_the_tree() {
        for (size, expected) in [(0, 0), (1, 1), (255, 1), (256, 2), (65_535, 2), (65_536, 3), (u64::MAX, 8)] {
            assert_eq!(levels(size), expected, "{size}");
        }
    }
}
