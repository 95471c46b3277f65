//! The sentinel: a small file that knows which file it is, so that a copied or restored folder is noticed. It only
//! says what it sees; what to do about it is for the exchange.
//!
//! It holds its own inode number, device and birth time, the journal's id, and a checksum, so that a changed byte is not
//! taken for a copied folder. A copy made file by file, or a restored
//! backup, has another inode or birth time. An image of the whole disk has not: against that stand the volumes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, StatxFlags, statx};

use super::disk::replace_file;

const FILE: &str = "sentinel";
const MAGIC: &str = "verbale-sentinel-2";
const MAX_BYTES: u64 = 512;

/// What differs from what the sentinel wrote down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is another file.
    Inode,
    /// It lies on another device. Alone, this can also be a device that got another number at boot.
    Device,
    /// It was made at another time.
    BirthTime,
    /// It belongs to another journal.
    Journal,
    /// It cannot be understood.
    Contents,
}

/// What the sentinel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SentinelState {
    /// This is the folder that was written.
    Same,
    /// The folder was copied, restored or moved.
    Moved {
        /// What differs.
        what: Vec<Change>,
    },
    /// There is no sentinel.
    Missing,
}

/// The sentinel of a node's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentinel {
    inode: u64,
    device: (u32, u32),
    /// Seconds and nanoseconds; `None` where the file system keeps no birth time.
    birth: Option<(i64, u32)>,
    journal_id: [u8; 16],
}

impl Sentinel {
    /// Writes the sentinel of a folder: after creation, and after a doubt was resolved.
    pub fn write(folder: &Path, journal_id: &[u8; 16]) -> io::Result<()> {
        // The numbers of a file are known only once it exists; renaming keeps them.
        let path = folder.join(FILE);
        let first = Self { inode: 0, device: (0, 0), birth: None, journal_id: *journal_id };
        replace_file(&path, &[first.text().as_bytes()])?;
        let own = Self::observe(&path, journal_id)?;
        let file = File::options().write(true).truncate(true).open(&path)?;
        io::Write::write_all(&mut &file, own.text().as_bytes())?;
        file.sync_all()
    }

    /// Looks whether a folder is the one whose sentinel was written.
    pub fn check(folder: &Path, journal_id: &[u8; 16]) -> io::Result<SentinelState> {
        let path = folder.join(FILE);
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(SentinelState::Missing),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => text.clear(),
            other => _ = other?,
        }
        let Some(written) = Self::parse(&text) else {
            return Ok(SentinelState::Moved { what: vec![Change::Contents] });
        };
        let what = written.differences(&Self::observe(&path, journal_id)?);
        Ok(if what.is_empty() { SentinelState::Same } else { SentinelState::Moved { what } })
    }

    /// Removes the sentinel, so that the next start is in doubt.
    pub fn remove(folder: &Path) -> io::Result<()> {
        fs::remove_file(folder.join(FILE))
    }

    fn observe(path: &PathBuf, journal_id: &[u8; 16]) -> io::Result<Self> {
        let file = File::open(path)?;
        let wanted = StatxFlags::INO | StatxFlags::BTIME;
        let seen = statx(&file, c"", AtFlags::EMPTY_PATH, wanted)?;
        let has_birth = StatxFlags::from_bits_retain(seen.stx_mask).contains(StatxFlags::BTIME);
        Ok(Self {
            inode: seen.stx_ino,
            device: (seen.stx_dev_major, seen.stx_dev_minor),
            birth: has_birth.then_some((seen.stx_btime.tv_sec, seen.stx_btime.tv_nsec)),
            journal_id: *journal_id,
        })
    }

    fn differences(&self, now: &Self) -> Vec<Change> {
        let checks = [
            (self.inode != now.inode, Change::Inode),
            (self.device != now.device, Change::Device),
            (self.birth != now.birth, Change::BirthTime),
            (self.journal_id != now.journal_id, Change::Journal),
        ];
        checks.into_iter().filter_map(|(differs, change)| differs.then_some(change)).collect()
    }

    fn text(&self) -> String {
        let (seconds, nanoseconds) = self.birth.unwrap_or((-1, 0));
        let (major, minor) = self.device;
        let journal = data_encoding::HEXLOWER.encode(&self.journal_id);
        let text = format!("{MAGIC} {} {major} {minor} {seconds} {nanoseconds} {journal}", self.inode);
        format!("{text} {:08x}\n", crc32c::crc32c(text.as_bytes()))
    }

    fn parse(text: &str) -> Option<Self> {
        let (text, checksum) = text.strip_suffix('\n')?.rsplit_once(' ')?;
        if checksum != format!("{:08x}", crc32c::crc32c(text.as_bytes())) {
            return None;
        }
        let mut words = text.split(' ');
        if words.next()? != MAGIC {
            return None;
        }
        let inode = words.next()?.parse().ok()?;
        let device = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let birth = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let journal = data_encoding::HEXLOWER.decode(words.next()?.as_bytes()).ok()?;
        let birth = (birth.0 >= 0).then_some(birth);
        let journal_id = journal.try_into().ok()?;
        words.next().is_none().then_some(Self { inode, device, birth, journal_id })
    }
}
