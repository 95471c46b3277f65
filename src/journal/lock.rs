//! A lock on a folder, so that two processes never write into it; it knows nothing of what lies there.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Why a folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds the lock.
    #[error("{} is in use by process {}", folder.display(), pid.map_or("unknown".to_owned(), |pid| pid.to_string()))]
    Held {
        /// The folder.
        folder: PathBuf,
        /// The process that holds it, if it could be read.
        pid: Option<u32>,
    },
    /// The operating system refused something.
    #[error("cannot lock {}: {error}", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// A held lock (`flock` on the file `lock`); it ends with this value or with the process, also after kill -9.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the lock of a folder, or says which process holds it.
    pub fn acquire(folder: &Path) -> Result<Self, LockError> {
        let io_error = |error| LockError::Io { folder: folder.to_owned(), error };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(folder.join("lock")).map_err(io_error)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = (&mut file).take(16).read_to_string(&mut text);
                return Err(LockError::Held { folder: folder.to_owned(), pid: text.trim().parse().ok() });
            }
            Err(error) => return Err(io_error(error.into())),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(io_error)?;
        writeln!(file, "{}", std::process::id()).map_err(io_error)?;
        Ok(Self { _file: file })
    }
}
