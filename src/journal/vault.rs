//! The key slots (D5): two files of wrapped random keys, by which bodies, enclosures and names can be erased. It does
//! not know what is sealed.
//!
//! `slots.1` and `slots.2` are equal: a header of [`HEADER_BYTES`], then slots of 64 bytes. Order of every change:
//! `pwrite` to copy 1, `fdatasync`, and only then `pwrite` to copy 2, `fdatasync`. So at least one copy of each slot is
//! whole after any crash; what one copy lacks is repaired from the other, and reported. A slot that is destroyed in one
//! copy is destroyed in the other: destruction is never repaired away.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::aead::LessSafeKey;
use aws_lc_rs::rand;
use bytes::Bytes;
use zeroize::Zeroizing;

use super::disk::{ReadAt, create_file, is_disk_full, sync_folder, with_suffix};
use super::slot_key::{
    NONCE_BYTES, SLOT_BYTES, SlotKey, SlotState, WrappingKey, destroyed_slot, slot_state, unwrap, wrap,
};

/// Slots that are made at a time: 256 KiB, one write and one sync for each copy, once for 4,096 messages.
pub const BLOCK_SLOTS: u64 = 4_096;

/// Keys that are held unwrapped at most.
pub const MAX_CACHED_KEYS: usize = 1_024;

/// Repairs that are remembered until somebody asks.
pub const MAX_REMEMBERED_REPAIRS: usize = 1_000;

pub(crate) const HEADER_BYTES: u64 = 128;
const MAGIC: &[u8; 8] = b"vblslt\0\x01";
/// The header holds a slot of this number, by which a wrong wrapping key is known before any body is touched.
pub(crate) const CHECK_SLOT: u64 = u64::MAX;
/// Random bytes for nonces are drawn in bulk.
const NONCES_DRAWN: usize = 256;

/// Why a slot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The slot was destroyed on purpose; what was sealed under it is gone.
    #[error("slot {0} was destroyed")]
    Destroyed(u64),
    /// Both copies of the slot are damaged.
    #[error("slot {0} is damaged in both copies")]
    Damaged(u64),
    /// The slot was wrapped under another key.
    #[error("slot {0} does not open under this wrapping key")]
    WrongKey(u64),
    /// There is no such slot.
    #[error("there is no slot {0}")]
    Absent(u64),
    /// The sealed bytes were changed, or belong to another slot.
    #[error("what is sealed under slot {0} is damaged")]
    SealBroken(u64),
    /// There is no room for new slots.
    #[error("no room on the disk for new key slots")]
    DiskFull,
    /// The system gave no random bytes, or the cipher refused.
    #[error("the system gave no random bytes")]
    Random,
    /// A slot file failed; after a failed sync the process must end.
    #[error("{}: {error}", path.display())]
    Io {
        /// The slot file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Why the slot files were not opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Slots were used but both files are gone.
    #[error("both slot files are missing in {}, but {used} slots are in use", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// How many slots the journal says are used.
        used: u64,
    },
    /// Both headers are damaged or foreign.
    #[error("neither slot file in {} has a good header", .0.display())]
    Header(PathBuf),
    /// The files were made under another wrapping key.
    #[error("the slot files in {} do not open under this wrapping key", .0.display())]
    WrongKey(PathBuf),
    /// Something about slots failed.
    #[error(transparent)]
    Slot(#[from] SlotError),
}

/// What was repaired from the other copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The file that was written.
    pub file: PathBuf,
    /// First slot.
    pub first_slot: u64,
    /// How many slots.
    pub count: u64,
    /// Whether the repair completed a destruction.
    pub destroyed: bool,
}

impl std::fmt::Display for Repair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        match (self.count, self.destroyed) {
            (0, _) => f.write_str("the header was made whole from the other copy"),
            (_, true) => write!(f, "the destruction of slot {} was completed", self.first_slot),
            (1, false) => write!(f, "slot {} was made whole from the other copy", self.first_slot),
            (count, false) => {
                write!(f, "slots {} to {} were made whole", self.first_slot, self.first_slot + count - 1)?;
                f.write_str(" from the other copy")
            }
        }
    }
}

/// Sealed bytes and the slot that opens them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Number of the slot.
    pub slot: u64,
    /// Nonce, ciphertext and tag.
    pub bytes: Bytes,
}

/// The open slot files. All methods take `&self`, so that one vault serves several threads.
pub struct Vault {
    copies: [(PathBuf, File); 2],
    wrapping: LessSafeKey,
    vault_id: [u8; 16],
    /// Slots that are durable in both copies.
    total: AtomicU64,
    next: Mutex<Next>,
    extending: Mutex<()>,
    cache: Mutex<HashMap<u64, SlotKey>>,
    repairs: Mutex<Vec<Repair>>,
}

struct Next {
    slot: u64,
    /// The wrapped slots of the block that is in use, so that sealing reads no file.
    block: Vec<u8>,
    block_start: u64,
    nonces: Vec<[u8; NONCE_BYTES]>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Everything behind these locks is whole at any moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn offset_of(slot: u64) -> u64 {
    HEADER_BYTES.saturating_add(slot.saturating_mul(SLOT_BYTES as u64))
}

impl Vault {
    /// Opens the slot files of a folder, or makes them if no slot was ever used.
    ///
    /// `next_unused` is one above the highest slot number that the journal's records name. Slots above it may have
    /// sealed something that got lost; nonces are random, so they can be used again.
    pub fn open(folder: &Path, wrapping: &WrappingKey, next_unused: u64) -> Result<Self, VaultError> {
        let paths = [folder.join("slots.1"), folder.join("slots.2")];
        let wrapping = wrapping.aead();
        let mut repairs = Vec::new();
        if paths.iter().all(|path| !path.exists()) {
            if next_unused > 0 {
                return Err(VaultError::Missing { folder: folder.to_owned(), used: next_unused });
            }
            create_copies(folder, &paths, &wrapping)?;
        }
        let [first, second] = paths;
        let (first, second) = (open_copy(first)?, open_copy(second)?);
        let (header, vault_id) = read_vault_header(folder, &wrapping, [Some(&first.1), Some(&second.1)])?;
        let copies = [first, second];
        let total = level_copies(&copies, &header, next_unused, &mut repairs)?;
        let next = Next { slot: next_unused, block: Vec::new(), block_start: 0, nonces: Vec::new() };
        Ok(Self {
            copies,
            wrapping,
            vault_id,
            total: AtomicU64::new(total),
            next: Mutex::new(next),
            extending: Mutex::new(()),
            cache: Mutex::new(HashMap::new()),
            repairs: Mutex::new(repairs),
        })
    }

    /// Seals a body under a slot of its own; the salt goes inside. The slot's block was synced before.
    pub fn seal(&self, salt: &[u8; 32], body: &[u8]) -> Result<Sealed, SlotError> {
        let (key, nonce) = self.take()?;
        let bytes = key.seal(nonce, salt, body).ok_or(SlotError::Random)?;
        Ok(Sealed { slot: key.slot(), bytes })
    }

    /// Takes a slot for an enclosure.
    pub fn take_key(&self) -> Result<SlotKey, SlotError> {
        Ok(self.take()?.0)
    }

    /// Opens what was sealed under a slot and returns salt and body.
    pub fn open_sealed(&self, slot: u64, sealed: &[u8]) -> Result<([u8; 32], Bytes), SlotError> {
        self.key(slot)?.open(sealed).ok_or(SlotError::SealBroken(slot))
    }

    /// The key of a slot.
    pub fn key(&self, slot: u64) -> Result<SlotKey, SlotError> {
        if let Some(key) = lock(&self.cache).get(&slot) {
            return Ok(key.clone());
        }
        let wrapped = self.read_slot(slot)?;
        let key = unwrap(&self.wrapping, &self.vault_id, slot, &wrapped).ok_or(SlotError::WrongKey(slot))?;
        let mut cache = lock(&self.cache);
        // Sealing order is reading order: when the cache is full, all of it is old.
        if cache.len() >= MAX_CACHED_KEYS {
            cache.clear();
        }
        cache.insert(slot, key.clone());
        Ok(key)
    }

    /// Destroys slots: overwritten in copy 1, synced, then in copy 2, synced (D5). Doing it again is no error.
    pub fn destroy(&self, slots: &[u64]) -> Result<(), SlotError> {
        let total = self.total.load(Ordering::Acquire);
        if let Some(absent) = slots.iter().find(|slot| **slot >= total) {
            return Err(SlotError::Absent(*absent));
        }
        for copy in &self.copies {
            for slot in slots {
                write_copy(copy, &destroyed_slot(*slot), offset_of(*slot))?;
            }
            sync_copy(copy)?;
            // Neither the unwrapped nor the wrapped key stays in memory.
            lock(&self.cache).retain(|slot, _| !slots.contains(slot));
            lock(&self.next).block = Vec::new();
        }
        Ok(())
    }

    /// How many slots are ready and unused.
    pub fn spare(&self) -> u64 {
        self.total.load(Ordering::Acquire).saturating_sub(lock(&self.next).slot)
    }

    /// Makes blocks until `count` slots are ready; meant for a thread beside the one that seals, which is not held up.
    pub fn ensure_spare(&self, count: u64) -> Result<(), SlotError> {
        let _extending = lock(&self.extending);
        while self.spare() < count {
            let first = self.total.load(Ordering::Acquire);
            let block = self.make_block(first)?;
            for copy in &self.copies {
                write_copy(copy, &block, offset_of(first))?;
                sync_copy(copy)?;
            }
            self.total.store(first + BLOCK_SLOTS, Ordering::Release);
        }
        Ok(())
    }

    /// What was repaired since the last call.
    pub fn take_repairs(&self) -> Vec<Repair> {
        std::mem::take(&mut lock(&self.repairs))
    }

    /// Reads every slot in both copies, repairs what can be, and returns the numbers of those damaged in both (at most
    /// `limit` of them). Destroyed slots are whole.
    pub fn verify(&self, limit: usize) -> Result<Vec<u64>, SlotError> {
        let mut damaged = Vec::new();
        let total = self.total.load(Ordering::Acquire);
        let mut blocks = [(); 2].map(|()| vec![0; BLOCK_SLOTS as usize * SLOT_BYTES]);
        for start in (0..total).step_by(BLOCK_SLOTS as usize) {
            for (block, (path, file)) in blocks.iter_mut().zip(&self.copies) {
                block.fill(0);
                file.read_full_at(block, offset_of(start)).map_err(|error| io_failed(path, error))?;
            }
            let [first, second] = &blocks;
            for ((one, two), slot) in first.as_chunks().0.iter().zip(second.as_chunks().0).zip(start..total) {
                if one == two && !matches!(slot_state(one, slot), SlotState::Damaged) {
                    continue;
                }
                match self.read_slot(slot) {
                    Err(SlotError::Damaged(slot)) if damaged.len() < limit => damaged.push(slot),
                    Ok(_) | Err(SlotError::Destroyed(_) | SlotError::Damaged(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(damaged)
    }

    /// The next slot that has a key, and a nonce.
    fn take(&self) -> Result<(SlotKey, [u8; NONCE_BYTES]), SlotError> {
        loop {
            if self.spare() == 0 {
                self.ensure_spare(1)?;
            }
            let mut next = lock(&self.next);
            let slot = next.slot;
            if slot >= self.total.load(Ordering::Acquire) {
                continue;
            }
            let wrapped = match self.wrapped_in_block(&mut next, slot)? {
                Some(wrapped) => Ok(wrapped),
                None => self.read_slot(slot),
            };
            next.slot += 1;
            match wrapped {
                Ok(wrapped) => {
                    let key = unwrap(&self.wrapping, &self.vault_id, slot, &wrapped);
                    return Ok((key.ok_or(SlotError::WrongKey(slot))?, draw_nonce(&mut next.nonces)?));
                }
                // A slot that cannot be used is passed over.
                Err(SlotError::Destroyed(_) | SlotError::Damaged(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The wrapped slot from the block at hand, if it is whole there.
    fn wrapped_in_block(&self, next: &mut Next, slot: u64) -> Result<Option<[u8; SLOT_BYTES]>, SlotError> {
        let start = slot - slot % BLOCK_SLOTS;
        if next.block.is_empty() || next.block_start != start {
            let mut block = vec![0; BLOCK_SLOTS as usize * SLOT_BYTES];
            let (path, file) = &self.copies[0];
            let count = file.read_full_at(&mut block, offset_of(start)).map_err(|error| io_failed(path, error))?;
            block.truncate(count);
            (next.block, next.block_start) = (block, start);
        }
        let offset = (slot - start) as usize * SLOT_BYTES;
        let wrapped = next.block.get(offset..).and_then(|rest| rest.first_chunk::<SLOT_BYTES>()).copied();
        Ok(wrapped.filter(|wrapped| matches!(slot_state(wrapped, slot), SlotState::Wrapped)))
    }

    /// A slot as it lies in the files; one damaged copy is repaired from the other.
    fn read_slot(&self, slot: u64) -> Result<[u8; SLOT_BYTES], SlotError> {
        if slot >= self.total.load(Ordering::Acquire) {
            return Err(SlotError::Absent(slot));
        }
        let mut found = [[0; SLOT_BYTES]; 2];
        for (bytes, (path, file)) in found.iter_mut().zip(&self.copies) {
            file.read_full_at(bytes, offset_of(slot)).map_err(|error| io_failed(path, error))?;
        }
        let [first, second] = &found;
        match (slot_state(first, slot), slot_state(second, slot)) {
            (SlotState::Destroyed, SlotState::Destroyed) => Err(SlotError::Destroyed(slot)),
            (SlotState::Destroyed, _) => self.repair(1, slot, first).and(Err(SlotError::Destroyed(slot))),
            (_, SlotState::Destroyed) => self.repair(0, slot, second).and(Err(SlotError::Destroyed(slot))),
            (SlotState::Damaged, SlotState::Damaged) => Err(SlotError::Damaged(slot)),
            (SlotState::Damaged, SlotState::Wrapped) => self.repair(0, slot, second).map(|()| *second),
            (SlotState::Wrapped, SlotState::Damaged) => self.repair(1, slot, first).map(|()| *first),
            (SlotState::Wrapped, SlotState::Wrapped) => Ok(*first),
        }
    }

    fn repair(&self, copy: usize, slot: u64, bytes: &[u8; SLOT_BYTES]) -> Result<(), SlotError> {
        write_copy(&self.copies[copy], bytes, offset_of(slot))?;
        sync_copy(&self.copies[copy])?;
        let mut repairs = lock(&self.repairs);
        if repairs.len() < MAX_REMEMBERED_REPAIRS {
            let destroyed = *bytes == destroyed_slot(slot);
            repairs.push(Repair { file: self.copies[copy].0.clone(), first_slot: slot, count: 1, destroyed });
        }
        Ok(())
    }

    fn make_block(&self, first: u64) -> Result<Vec<u8>, SlotError> {
        let count = BLOCK_SLOTS as usize;
        let mut random = Zeroizing::new(vec![0; count * (32 + NONCE_BYTES)]);
        rand::fill(&mut random).map_err(|_| SlotError::Random)?;
        let (keys, nonces) = random.split_at(count * 32);
        let keys = keys.as_chunks::<32>().0.iter();
        let mut block = Vec::with_capacity(count * SLOT_BYTES);
        for ((key, nonce), number) in keys.zip(nonces.as_chunks::<NONCE_BYTES>().0).zip(first..) {
            let slot = wrap(&self.wrapping, &self.vault_id, number, *nonce, key).ok_or(SlotError::Random)?;
            block.extend_from_slice(&slot);
        }
        Ok(block)
    }
}

fn draw_nonce(nonces: &mut Vec<[u8; NONCE_BYTES]>) -> Result<[u8; NONCE_BYTES], SlotError> {
    if nonces.is_empty() {
        let mut random = [0; NONCES_DRAWN * NONCE_BYTES];
        rand::fill(&mut random).map_err(|_| SlotError::Random)?;
        nonces.extend_from_slice(random.as_chunks().0);
    }
    nonces.pop().ok_or(SlotError::Random)
}

fn io_failed(path: &Path, error: io::Error) -> SlotError {
    if is_disk_full(&error) { SlotError::DiskFull } else { SlotError::Io { path: path.to_owned(), error } }
}

fn write_copy((path, file): &(PathBuf, File), bytes: &[u8], offset: u64) -> Result<(), SlotError> {
    file.write_all_at(bytes, offset).map_err(|error| io_failed(path, error))
}

fn sync_copy((path, file): &(PathBuf, File)) -> Result<(), SlotError> {
    // Never "disk full": after a failed sync nothing is known.
    file.sync_data().map_err(|error| SlotError::Io { path: path.clone(), error })
}

fn open_copy(path: PathBuf) -> Result<(PathBuf, File), SlotError> {
    use std::os::unix::fs::OpenOptionsExt;
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    match opened {
        Ok(file) => Ok((path, file)),
        Err(error) => Err(io_failed(&path, error)),
    }
}

fn create_copies(folder: &Path, paths: &[PathBuf; 2], wrapping: &LessSafeKey) -> Result<(), SlotError> {
    let mut random = Zeroizing::new([0; 16 + 32 + NONCE_BYTES]);
    rand::fill(random.as_mut()).map_err(|_| SlotError::Random)?;
    let vault_id: [u8; 16] = std::array::from_fn(|index| random[index]);
    let key: [u8; 32] = std::array::from_fn(|index| random[16 + index]);
    let nonce = std::array::from_fn(|index| random[48 + index]);
    let check = wrap(wrapping, &vault_id, CHECK_SLOT, nonce, &key).ok_or(SlotError::Random)?;
    let mut header = Vec::with_capacity(HEADER_BYTES as usize);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&vault_id);
    header.resize(HEADER_BYTES as usize - SLOT_BYTES, 0);
    header.extend_from_slice(&check);
    for path in paths {
        // The name comes last, so a slot file always has a whole header.
        let temporary = with_suffix(path, ".tmp");
        create_file(&temporary)
            .and_then(|file| {
                file.write_all_at(&header, 0)?;
                file.sync_all()?;
                std::fs::rename(&temporary, path)?;
                sync_folder(folder)
            })
            .map_err(|error| io_failed(path, error))?;
    }
    Ok(())
}

/// A header, and the vault id in it.
pub(crate) type VaultHeader = ([u8; HEADER_BYTES as usize], [u8; 16]);

/// The header of whichever copy has one that opens under the wrapping key. The check slot covers the vault id as well.
///
/// # Errors
/// [`VaultError::WrongKey`] where a header is whole and none opens; [`VaultError::Header`] where none is whole.
pub(crate) fn read_vault_header(
    folder: &Path,
    wrapping: &LessSafeKey,
    copies: [Option<&File>; 2],
) -> Result<VaultHeader, VaultError> {
    let whole: Vec<VaultHeader> = copies.into_iter().flatten().filter_map(whole_header).collect();
    let opens = |(header, vault_id): &VaultHeader| {
        let check: &[u8; SLOT_BYTES] = header.last_chunk().expect("the header is longer than a slot");
        unwrap(wrapping, vault_id, CHECK_SLOT, check).is_some()
    };
    match whole.iter().find(|header| opens(header)) {
        Some(header) => Ok(*header),
        None if whole.is_empty() => Err(VaultError::Header(folder.to_owned())),
        None => Err(VaultError::WrongKey(folder.to_owned())),
    }
}

fn whole_header(file: &File) -> Option<VaultHeader> {
    let mut header = [0; HEADER_BYTES as usize];
    let count = file.read_full_at(&mut header, 0).ok()?;
    let check = header.last_chunk().expect("the header is longer than a slot");
    let good = count == header.len()
        && header[..8] == MAGIC[..]
        && header[24..64].iter().all(|byte| *byte == 0)
        && matches!(slot_state(check, CHECK_SLOT), SlotState::Wrapped);
    good.then(|| (header, std::array::from_fn(|index| header[8 + index])))
}

/// Brings both files to the same whole number of blocks and returns how many slots there are.
fn level_copies(
    copies: &[(PathBuf, File); 2],
    header: &[u8; HEADER_BYTES as usize],
    next_unused: u64,
    repairs: &mut Vec<Repair>,
) -> Result<u64, SlotError> {
    let mut slots = [0; 2];
    for ((path, file), slots) in copies.iter().zip(&mut slots) {
        let length = file.length().map_err(|error| io_failed(path, error))?;
        *slots = length.saturating_sub(HEADER_BYTES) / SLOT_BYTES as u64;
    }
    // A block that was begun but is in no file whole was never used; what the journal names was whole once.
    let whole = slots[0].max(slots[1]) / BLOCK_SLOTS * BLOCK_SLOTS;
    let total = whole.max(next_unused.div_ceil(BLOCK_SLOTS) * BLOCK_SLOTS);
    for (copy, slots_here) in [(0, slots[0]), (1, slots[1])] {
        let mut current = [0; HEADER_BYTES as usize];
        let (path, file) = &copies[copy];
        let read = file.read_full_at(&mut current, 0).map_err(|error| io_failed(path, error))?;
        if read < current.len() || current != *header {
            write_copy(&copies[copy], header, 0)?;
            repairs.push(Repair { file: path.clone(), first_slot: 0, count: 0, destroyed: false });
        }
        if slots_here < total {
            copy_slots(&copies[1 - copy], &copies[copy], slots_here, total)?;
            let count = total - slots_here;
            repairs.push(Repair { file: path.clone(), first_slot: slots_here, count, destroyed: false });
        } else if slots_here > total {
            file.set_len(offset_of(total)).map_err(|error| io_failed(path, error))?;
        }
        sync_copy(&copies[copy])?;
    }
    Ok(total)
}

/// Copies slots from one file to the other; what the source lacks becomes zeros, which are damage.
fn copy_slots(from: &(PathBuf, File), to: &(PathBuf, File), first: u64, end: u64) -> Result<(), SlotError> {
    let mut slot = first;
    while slot < end {
        let count = (end - slot).min(BLOCK_SLOTS);
        let mut block = vec![0; count as usize * SLOT_BYTES];
        from.1.read_full_at(&mut block, offset_of(slot)).map_err(|error| io_failed(&from.0, error))?;
        write_copy(to, &block, offset_of(slot))?;
        slot += count;
    }
    Ok(())
}
