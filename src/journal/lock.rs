//! A lock on a folder, so that two processes never write into it; it knows nothing of what lies there.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

const FILE: &str = "lock";

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
    /// `None`: there is no such file, so nobody has ever locked this folder.
    _file: Option<File>,
}

impl FolderLock {
    /// Takes the lock of a folder, or says which process holds it.
    pub fn acquire(folder: &Path) -> Result<Self, LockError> {
        let io_error = |error| LockError::Io { folder: folder.to_owned(), error };
        let path = folder.join(FILE);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(path).map_err(io_error)?;
        flock_or_say_who(folder, &mut file, FlockOperation::NonBlockingLockExclusive)?;
        file.set_len(0).and_then(|()| file.rewind()).map_err(io_error)?;
        writeln!(file, "{}", std::process::id()).map_err(io_error)?;
        Ok(Self { _file: Some(file) })
    }

    /// Keeps daemons out of a folder that is only read, and changes nothing in it: a shared lock on the file as it is.
    ///
    /// # Errors
    /// A daemon holds the folder, or the file cannot be read.
    pub fn share(folder: &Path) -> Result<Self, LockError> {
        let mut file = match File::open(folder.join(FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self { _file: None }),
            Err(error) => return Err(LockError::Io { folder: folder.to_owned(), error }),
        };
        flock_or_say_who(folder, &mut file, FlockOperation::NonBlockingLockShared)?;
        Ok(Self { _file: Some(file) })
    }
}

fn flock_or_say_who(folder: &Path, file: &mut File, how: FlockOperation) -> Result<(), LockError> {
    match flock(&*file, how) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let _ = file.take(16).read_to_string(&mut text);
            Err(LockError::Held { folder: folder.to_owned(), pid: text.trim().parse().ok() })
        }
        Err(error) => Err(LockError::Io { folder: folder.to_owned(), error: error.into() }),
    }
}
