//! The few system calls that durability rests on, behind one trait so that a test can make each of them fail; it knows
//! nothing of what is written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Zeros are written in pieces of this size: large enough for the disk, small enough to hold in memory.
const FILL_BYTES: usize = 256 * 1024;

/// The system calls by which the journal changes the disk.
///
/// [`LocalDisk`] is the real one. A test passes its own to see what happens when one call fails.
pub trait Disk: Send + Sync + 'static {
    /// Writes all bytes at an offset (`pwrite`).
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the contents and the length of a file durable (`fdatasync`).
    fn sync_data(&self, file: &File) -> io::Result<()>;
    /// Makes the names in a folder durable (`fsync` of the folder).
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Gives a file another name, replacing what had that name (`rename`).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
}

/// The disk of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalDisk;

impl Disk for LocalDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        sync_folder(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }
}

/// Whether an error says that the disk or the quota is used up, and nothing worse.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Creates a folder that only its owner may enter (0700) and makes its name durable; an existing one is left as it is.
pub fn create_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if folder.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    sync_folder(parent_of(folder))
}

/// The folder that a path lies in; the working folder for a bare name.
pub(crate) fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens a new file for reading and writing that only its owner may read (0600); one that was there is emptied.
pub(crate) fn create_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Writes zeros from one offset up to another.
pub(crate) fn fill_with_zeros(disk: &dyn Disk, file: &File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; FILL_BYTES.min(usize::try_from(to.saturating_sub(from)).unwrap_or(FILL_BYTES))];
    let mut offset = from;
    while offset < to {
        let piece = usize::try_from(to - offset).unwrap_or(FILL_BYTES).min(FILL_BYTES);
        disk.write_at(file, &zeros[..piece], offset)?;
        offset += piece as u64;
    }
    Ok(())
}

/// Writes a whole small file so that after a crash either the old or the new contents are there: temporary file,
/// `fsync`, `rename`, `fsync` of the folder.
pub(crate) fn replace_file(path: &Path, pieces: &[&[u8]]) -> io::Result<()> {
    let temporary = with_suffix(path, ".tmp");
    let mut file = create_file(&temporary)?;
    for piece in pieces {
        file.write_all(piece)?;
    }
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_folder(parent_of(path))
}

/// A path with a few more characters at the end of its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Removes a file; one that is not there is no error.
pub(crate) fn remove_if_present(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What kind of file system a folder lies on, as far as it matters to erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesystemKind {
    /// Writes in place: overwriting a key slot destroys it (ext4, xfs, and others that are not listed below).
    InPlace,
    /// Never overwrites: an erased key may live on in an older block or snapshot. The name says which.
    CopyOnWrite(&'static str),
    /// Lies in memory: nothing survives a restart of the machine.
    Memory,
}

/// `f_type` of the file systems that copy on write (`statfs(2)`, and the sources of those not in the kernel tree).
const COPY_ON_WRITE: [(u32, &str); 6] = [
    (0x9123_683e, "btrfs"),
    (0x2fc1_2fc1, "zfs"),
    (0xca45_1a4e, "bcachefs"),
    (0x794c_7630, "overlay"),
    (0x0000_3434, "nilfs2"),
    (0xf2f5_2010, "f2fs"),
];
const TMPFS: u32 = 0x0102_1994;
const RAMFS: u32 = 0x8584_58f6;

/// Tells what kind of file system a folder lies on.
pub fn filesystem_kind(folder: &Path) -> io::Result<FilesystemKind> {
    let answer = rustix::fs::statfs(folder)?;
    // The field is signed on some machines; only its low 32 bits carry the number.
    let number = answer.f_type as u32;
    if let Some((_, name)) = COPY_ON_WRITE.iter().find(|(magic, _)| *magic == number) {
        return Ok(FilesystemKind::CopyOnWrite(name));
    }
    Ok(if number == TMPFS || number == RAMFS { FilesystemKind::Memory } else { FilesystemKind::InPlace })
}

/// How many bytes this process may still write on the file system of a folder.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let answer = rustix::fs::statvfs(folder)?;
    Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
}

/// Bytes that can be read at an offset: a file, or a slice in tests and fuzzing.
pub(crate) trait ReadAt {
    /// Reads up to `buffer.len()` bytes; fewer only at the end.
    fn read_full_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// How many bytes there are.
    fn length(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_full_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for [u8] {
    fn read_full_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_full_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_full_at(buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        (**self).length()
    }
}
