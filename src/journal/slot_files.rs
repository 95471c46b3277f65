//! The slot files as an auditor reads them: nothing is written, made or repaired, and each difference between the two
//! copies is named with its place. It does not know what is sealed.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::LessSafeKey;
use bytes::Bytes;

use super::disk::ReadAt;
use super::slot_key::{SLOT_BYTES, SlotKey, SlotState, WrappingKey, slot_state, unwrap};
use super::vault::{BLOCK_SLOTS, HEADER_BYTES, SlotError, VaultError, VaultHeader, offset_of, read_vault_header};

/// A stretch of slots that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotDamage {
    /// The damaged file.
    pub file: PathBuf,
    /// First damaged byte, as far as slots can tell.
    pub offset: u64,
    /// First slot that is affected; `None` for the header.
    pub first_slot: Option<u64>,
    /// How many.
    pub count: u64,
    /// The other copy is whole: the next start repairs this one from it.
    pub repairable: bool,
    what: &'static str,
}

impl fmt::Display for SlotDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: ", self.file.display(), self.offset)?;
        match (self.first_slot, self.count) {
            (None, _) => f.write_str("the header")?,
            (Some(slot), 1) => write!(f, "slot {slot}")?,
            (Some(slot), count) => write!(f, "slots {slot} to {}", slot + count - 1)?,
        }
        write!(f, " {}; ", self.what)?;
        f.write_str(if self.repairable {
            "the other copy is whole, and the next start of the node repairs this one from it"
        } else {
            "the other copy does not have it either: what was sealed under it can never be read again"
        })
    }
}

/// The two slot files, open for reading.
pub struct SlotFiles {
    copies: [(PathBuf, Option<File>); 2],
    wrapping: LessSafeKey,
    header: VaultHeader,
    total: u64,
}

impl SlotFiles {
    /// Opens the slot files of a folder; one of the two may be missing.
    ///
    /// # Errors
    /// See [`VaultError`]: both are missing, or nothing in them opens under this key.
    pub fn open(folder: &Path, wrapping: &WrappingKey) -> Result<Self, VaultError> {
        let open = |name: &str| {
            let path = folder.join(name);
            match File::open(&path) {
                Ok(file) => Ok((path, Some(file))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((path, None)),
                Err(error) => Err(SlotError::Io { path, error }),
            }
        };
        let copies = [open("slots.1")?, open("slots.2")?];
        if copies.iter().all(|(_, file)| file.is_none()) {
            return Err(VaultError::Missing { folder: folder.to_owned(), used: 0 });
        }
        let wrapping = wrapping.aead();
        let header = read_vault_header(folder, &wrapping, [copies[0].1.as_ref(), copies[1].1.as_ref()])?;
        let total = copies.iter().map(|(_, file)| slots_in(file.as_ref())).max().unwrap_or(0);
        Ok(Self { copies, wrapping, header, total })
    }

    /// How many slots the longer copy has.
    pub fn slots(&self) -> u64 {
        self.total
    }

    /// The key of a slot, from whichever copy is whole.
    ///
    /// # Errors
    /// As [`super::Vault::key`].
    pub fn key(&self, slot: u64) -> Result<SlotKey, SlotError> {
        if slot >= self.total {
            return Err(SlotError::Absent(slot));
        }
        let mut wrapped = None;
        for (path, file) in &self.copies {
            let Some(file) = file else { continue };
            let mut bytes = [0; SLOT_BYTES];
            let read = file.read_full_at(&mut bytes, offset_of(slot));
            read.map_err(|error| SlotError::Io { path: path.clone(), error })?;
            match slot_state(&bytes, slot) {
                SlotState::Destroyed => return Err(SlotError::Destroyed(slot)),
                SlotState::Wrapped => wrapped = wrapped.or(Some(bytes)),
                SlotState::Damaged => {}
            }
        }
        let wrapped = wrapped.ok_or(SlotError::Damaged(slot))?;
        unwrap(&self.wrapping, &self.header.1, slot, &wrapped).ok_or(SlotError::WrongKey(slot))
    }

    /// Opens what was sealed under a slot and returns salt and body.
    ///
    /// # Errors
    /// As [`super::Vault::open_sealed`].
    pub fn open_sealed(&self, slot: u64, sealed: &[u8]) -> Result<([u8; 32], Bytes), SlotError> {
        self.key(slot)?.open(sealed).ok_or(SlotError::SealBroken(slot))
    }

    /// Reads both files from end to end and names what is missing, damaged, or different from the other copy; at most
    /// `limit` stretches.
    ///
    /// # Errors
    /// The system cannot read a file.
    pub fn damages(&self, limit: usize) -> io::Result<Vec<SlotDamage>> {
        let mut found = Vec::new();
        for (path, file) in &self.copies {
            let mut header = [0; HEADER_BYTES as usize];
            let count = file.as_ref().map_or(Ok(0), |file| file.read_full_at(&mut header, 0))?;
            if count < header.len() || header != self.header.0 {
                let what = if file.is_none() { "is missing, as is the whole file" } else { "is damaged" };
                let file = path.clone();
                found.push(SlotDamage { file, offset: 0, first_slot: None, count: 0, repairable: true, what });
            }
        }
        for start in (0..self.total).step_by(BLOCK_SLOTS as usize) {
            let count = BLOCK_SLOTS.min(self.total - start) as usize;
            let mut blocks = [(); 2].map(|()| vec![0; count * SLOT_BYTES]);
            for (block, (_, file)) in blocks.iter_mut().zip(&self.copies) {
                if let Some(file) = file {
                    file.read_full_at(block, offset_of(start))?;
                }
            }
            let [first, second] = &blocks;
            for ((one, two), slot) in first.as_chunks().0.iter().zip(second.as_chunks().0).zip(start..) {
                self.compare(slot, one, two, limit, &mut found);
            }
        }
        Ok(found)
    }

    fn compare(
        &self,
        slot: u64,
        one: &[u8; SLOT_BYTES],
        two: &[u8; SLOT_BYTES],
        limit: usize,
        found: &mut Vec<SlotDamage>,
    ) {
        let (states, equal) = ([slot_state(one, slot), slot_state(two, slot)], one == two);
        let [damaged_one, damaged_two] = states.each_ref().map(|state| matches!(state, SlotState::Damaged));
        let destroyed = states.iter().any(|state| matches!(state, SlotState::Destroyed));
        let mut add = |copy: usize, what| self.add(found, limit, copy, slot, !(damaged_one && damaged_two), what);
        match (damaged_one, damaged_two) {
            (false, false) if equal => {}
            (false, false) if destroyed => {
                let copy = usize::from(matches!(states[0], SlotState::Destroyed));
                add(copy, "was destroyed in the other copy only");
            }
            (false, false) => {
                let opens = |bytes| unwrap(&self.wrapping, &self.header.1, slot, bytes).is_some();
                add(usize::from(opens(one)), "differs from the other copy");
            }
            (one, two) => {
                let copies = [one, two].into_iter().enumerate().filter(|(_, damaged)| *damaged);
                copies.for_each(|(copy, _)| add(copy, "is damaged"));
            }
        }
    }

    fn add(
        &self,
        found: &mut Vec<SlotDamage>,
        limit: usize,
        copy: usize,
        slot: u64,
        repairable: bool,
        what: &'static str,
    ) {
        let file = &self.copies[copy].0;
        let continued = found.iter_mut().rev().find(|damage| damage.file == *file).filter(|damage| {
            damage.first_slot.is_some_and(|first| first + damage.count == slot)
                && (damage.repairable, damage.what) == (repairable, what)
        });
        if let Some(damage) = continued {
            damage.count += 1;
        } else if found.len() < limit {
            let (file, offset, first_slot) = (file.clone(), offset_of(slot), Some(slot));
            found.push(SlotDamage { file, offset, first_slot, count: 1, repairable, what });
        }
    }
}

impl fmt::Debug for SlotFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotFiles").field("total", &self.total).finish_non_exhaustive()
    }
}

fn slots_in(file: Option<&File>) -> u64 {
    let length = file.and_then(|file| file.length().ok()).unwrap_or(0);
    // A last slot that was cut off counts: it is damage in one copy.
    length.saturating_sub(HEADER_BYTES).div_ceil(SLOT_BYTES as u64)
}
