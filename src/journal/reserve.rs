//! Room kept back on the disk, so that a full node can still record what it refuses; it holds nothing.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{LocalDisk, create_file, fill_with_zeros, remove_if_present, sync_folder};

/// Bytes that are kept back by default: enough for weeks of small acts of a node that can take no messages.
pub const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// The reserve of one journal folder.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    bytes: u64,
    held: bool,
}

impl Reserve {
    /// Looks for the reserve of a folder and takes it if it is not there; a disk that is too full for it is no error.
    pub(crate) fn open(folder: &Path, bytes: u64) -> io::Result<Self> {
        let path = folder.join("reserve");
        let held = bytes > 0 && path.metadata().is_ok_and(|metadata| metadata.len() >= bytes);
        let mut reserve = Self { path, bytes, held };
        match reserve.take() {
            Err(error) if !super::disk::is_disk_full(&error) => Err(error),
            _ => Ok(reserve),
        }
    }

    /// Whether the room is kept back, or none was asked for.
    pub(crate) fn is_whole(&self) -> bool {
        self.held || self.bytes == 0
    }

    /// Keeps the room back.
    pub(crate) fn take(&mut self) -> io::Result<()> {
        if self.is_whole() {
            return Ok(());
        }
        let taken = create_file(&self.path).and_then(|file| allocate(&file, self.bytes));
        match taken {
            Ok(()) => self.held = true,
            Err(_) => remove_if_present(&self.path)?,
        }
        taken
    }

    /// Gives the room free; `false` if it already was.
    pub(crate) fn release(&mut self) -> io::Result<bool> {
        if !self.held {
            return Ok(false);
        }
        remove_if_present(&self.path)?;
        if let Some(folder) = self.path.parent() {
            sync_folder(folder)?;
        }
        self.held = false;
        Ok(true)
    }
}

/// Takes blocks for a file; where the file system cannot, by writing them.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Err(rustix::io::Errno::OPNOTSUPP) => fill_with_zeros(&LocalDisk, file, 0, bytes)?,
        other => other?,
    }
    file.sync_all()
}
