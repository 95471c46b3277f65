//! Enclosures: files encrypted from the first byte of the temporary one, one per entry and ordinal. It does not know
//! whether anybody wants them; bytes go in, checked bytes come out.
//!
//! `enclosures/<entry id>.<ordinal>`, and `….part` until it is whole. The file is a header of 96 bytes (magic 8, slot
//! u64be, entry id 16, ordinal u32be, salt 32, zeros, CRC32C of the 92 bytes before), then chunks: nonce\[12\] ‖
//! AES-256-GCM(file key, nonce, AAD = index u64be ‖ last u8, up to [`CHUNK_BYTES`] of the file) ‖ tag\[16\]. All chunks
//! but the last are full; the last is marked, so a file cut at a chunk is noticed. The file key is
//! HKDF-SHA256(slot key, salt, info = "verbale enclosure v1\0" ‖ slot ‖ entry id ‖ ordinal): a chunk opens in no other
//! file and at no other place. Nonces are random, so a chunk may be written again after a crash.
//!
//! Finishing: `pwrite`, `fsync` of the file, `rename`, `fsync` of the folder (D5: before HELD is said).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::disk::{ReadAt, create_file, create_folder, is_disk_full, remove_if_present, sync_folder, with_suffix};
use super::frame::Hash;
use super::slot_key::{NONCE_BYTES, SlotKey, TAG_BYTES, aead};
use crate::name::EntryId;

/// Bytes of the file in one chunk: large enough that the overhead is nothing, small enough for many at a time.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Longest enclosure in bytes that this format takes (a chunk's place is far below 2⁶³); the configured limit is lower.
pub const MAX_ENCLOSURE_BYTES: u64 = 1 << 40;

const STORED_CHUNK_BYTES: u64 = (NONCE_BYTES + CHUNK_BYTES + TAG_BYTES) as u64;
const CHUNK_OVERHEAD_BYTES: u64 = (NONCE_BYTES + TAG_BYTES) as u64;
const HEADER_BYTES: usize = 96;
const MAGIC: &[u8; 8] = b"vblenc\0\x01";
const INFO_LABEL: &[u8] = b"verbale enclosure v1\0";

/// Why an enclosure was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum EnclosureError {
    /// There is no such enclosure.
    #[error("there is no enclosure {0}")]
    Absent(PathBuf),
    /// A chunk does not open: the file was changed, cut, or the chunk belongs to another file or place.
    #[error("{} is damaged in the chunk at byte {offset} of the enclosure", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// First byte of the enclosure that is affected.
        offset: u64,
    },
    /// The header is damaged, or names another entry, ordinal or slot.
    #[error("{} is not the enclosure that it should be", .0.display())]
    Foreign(PathBuf),
    /// More bytes came than were announced or allowed.
    #[error("the enclosure is longer than {limit} bytes")]
    TooLong {
        /// What was allowed.
        limit: u64,
    },
    /// The bytes that came are not those whose size and SHA-256 were announced. The partial file is removed.
    #[error("the enclosure is not the one that was announced")]
    Mismatch,
    /// There is no room.
    #[error("no room on the disk for the enclosure")]
    DiskFull,
    /// The system gave no random bytes, or the cipher refused.
    #[error("the system gave no random bytes")]
    Random,
    /// The operating system refused something.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

fn failed(path: &Path, error: io::Error) -> EnclosureError {
    if is_disk_full(&error) { EnclosureError::DiskFull } else { EnclosureError::Io { path: path.to_owned(), error } }
}

/// Size and SHA-256 of an enclosure's own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Bytes.
    pub size: u64,
    /// SHA-256.
    pub sha256: Hash,
}

/// A partial file that was found at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The entry it belongs to.
    pub entry: EntryId,
    /// Its place among the entry's enclosures.
    pub ordinal: u32,
    /// The slot that its header names; `None` if the header is damaged.
    pub slot: Option<u64>,
    /// The file.
    pub path: PathBuf,
}

/// The folder of enclosures.
#[derive(Clone, Debug)]
pub struct EnclosureStore {
    folder: PathBuf,
}

impl EnclosureStore {
    /// Opens the folder, making it if need be.
    pub fn open(folder: &Path) -> io::Result<Self> {
        create_folder(folder)?;
        Ok(Self::at(folder))
    }

    /// Takes the folder as it is, for reading; one that is not there holds no enclosure.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn path(&self, entry: &EntryId, ordinal: u32) -> PathBuf {
        self.folder.join(format!("{entry}.{ordinal}"))
    }

    /// The slot that an enclosure's header names, whole or partial.
    pub fn slot_of(&self, entry: &EntryId, ordinal: u32) -> Option<u64> {
        let path = self.path(entry, ordinal);
        let file = File::open(&path).or_else(|_| File::open(with_suffix(&path, ".part"))).ok()?;
        Some(Header::read(&file)?.slot)
    }

    /// Why the slot of an enclosure is not known: there is no such file, or its header cannot be read.
    pub fn why_no_slot(&self, entry: &EntryId, ordinal: u32) -> String {
        let path = self.path(entry, ordinal);
        if path.exists() {
            format!("the header of {} is damaged", path.display())
        } else {
            format!("{} is not there", path.display())
        }
    }

    /// Whether the enclosure is whole and under its final name.
    pub fn has(&self, entry: &EntryId, ordinal: u32) -> bool {
        self.path(entry, ordinal).is_file()
    }

    /// Removes an enclosure, whole or partial, and makes that durable. One that is not there is no error.
    pub fn delete(&self, entry: &EntryId, ordinal: u32) -> io::Result<()> {
        let path = self.path(entry, ordinal);
        remove_if_present(&path)?;
        remove_if_present(&with_suffix(&path, ".part"))?;
        sync_folder(&self.folder)
    }

    /// All partial files: transfers to be resumed, or left behind by a crash.
    pub fn orphans(&self) -> io::Result<Vec<Orphan>> {
        let mut orphans = Vec::new();
        for item in fs::read_dir(&self.folder)? {
            let path = item?.path();
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".part"));
            let Some((entry, ordinal)) = name.and_then(|name| name.split_once('.')) else { continue };
            let (Ok(entry), Ok(ordinal)) = (entry.parse(), ordinal.parse()) else { continue };
            let slot = File::open(&path).ok().and_then(|file| Header::read(&file)).map(|header| header.slot);
            orphans.push(Orphan { entry, ordinal, slot, path });
        }
        orphans.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(orphans)
    }

    /// Starts an enclosure; a partial file of the same place is overwritten.
    pub fn create(
        &self,
        entry: &EntryId,
        ordinal: u32,
        key: &SlotKey,
        limit: u64,
    ) -> Result<EnclosureWriter, EnclosureError> {
        let path = self.path(entry, ordinal);
        let part = with_suffix(&path, ".part");
        let mut salt = [0; 32];
        rand::fill(&mut salt).map_err(|_| EnclosureError::Random)?;
        let header = Header { slot: key.slot(), entry: *entry, ordinal, salt };
        let file = create_file(&part).map_err(|error| failed(&part, error))?;
        file.write_all_at(&header.encode(), 0).map_err(|error| failed(&part, error))?;
        Ok(EnclosureWriter::new(Cipher::new(key, &header)?, file, path, limit))
    }

    /// Goes on with a partial file: every chunk that is there is opened and hashed, and whatever follows the last good
    /// one is written again. [`EnclosureWriter::offset`] says from where.
    pub fn resume(
        &self,
        entry: &EntryId,
        ordinal: u32,
        key: &SlotKey,
        limit: u64,
    ) -> Result<EnclosureWriter, EnclosureError> {
        let path = self.path(entry, ordinal);
        let part = with_suffix(&path, ".part");
        let file = match OpenOptions::new().read(true).write(true).open(&part) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(EnclosureError::Absent(path)),
            other => other.map_err(|error| failed(&part, error))?,
        };
        let header = Header::read(&file).filter(|header| header.is(entry, ordinal, key));
        let header = header.ok_or_else(|| EnclosureError::Foreign(part.clone()))?;
        let mut writer = EnclosureWriter::new(Cipher::new(key, &header)?, file, path, limit);
        let mut stored = vec![0; STORED_CHUNK_BYTES as usize];
        loop {
            let count = writer.file.read_full_at(&mut stored, chunk_place(writer.chunks));
            let count = count.map_err(|error| failed(&part, error))?;
            if count < stored.len() || writer.offset() + CHUNK_BYTES as u64 > limit {
                break;
            }
            let Some(plain) = writer.cipher.open(writer.chunks, false, &stored) else { break };
            writer.hash.update(&plain);
            writer.chunks += 1;
        }
        writer.file.set_len(chunk_place(writer.chunks)).map_err(|error| failed(&part, error))?;
        Ok(writer)
    }

    /// Opens a whole enclosure.
    pub fn read(&self, entry: &EntryId, ordinal: u32, key: &SlotKey) -> Result<EnclosureReader, EnclosureError> {
        let path = self.path(entry, ordinal);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(EnclosureError::Absent(path)),
            other => other.map_err(|error| failed(&path, error))?,
        };
        let header = Header::read(&file).filter(|header| header.is(entry, ordinal, key));
        let header = header.ok_or_else(|| EnclosureError::Foreign(path.clone()))?;
        let stored = file.length().map_err(|error| failed(&path, error))?.saturating_sub(HEADER_BYTES as u64);
        let chunks = stored.div_ceil(STORED_CHUNK_BYTES);
        let damaged = || EnclosureError::Damaged { path: path.clone(), offset: 0 };
        let size = stored.checked_sub(chunks * CHUNK_OVERHEAD_BYTES).filter(|_| chunks > 0).ok_or_else(damaged)?;
        Ok(EnclosureReader { cipher: Cipher::new(key, &header)?, file, path, chunks, size, at_hand: None })
    }
}

fn chunk_place(index: u64) -> u64 {
    HEADER_BYTES as u64 + index * STORED_CHUNK_BYTES
}

struct Header {
    slot: u64,
    entry: EntryId,
    ordinal: u32,
    salt: [u8; 32],
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.slot.to_be_bytes());
        bytes.extend_from_slice(self.entry.as_bytes());
        bytes.extend_from_slice(&self.ordinal.to_be_bytes());
        bytes.extend_from_slice(&self.salt);
        bytes.resize(HEADER_BYTES - 4, 0);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        bytes
    }

    fn read(file: &File) -> Option<Self> {
        let mut bytes = [0; HEADER_BYTES];
        let count = file.read_full_at(&mut bytes, 0).ok()?;
        let (body, checksum) = bytes.split_at(HEADER_BYTES - 4);
        if count < HEADER_BYTES || body[..8] != MAGIC[..] || checksum != crc32c::crc32c(body).to_be_bytes() {
            return None;
        }
        Some(Self {
            slot: u64::from_be_bytes(body[8..16].try_into().ok()?),
            entry: EntryId::from_slice(&body[16..32])?,
            ordinal: u32::from_be_bytes(body[32..36].try_into().ok()?),
            salt: body[36..68].try_into().ok()?,
        })
    }

    fn is(&self, entry: &EntryId, ordinal: u32, key: &SlotKey) -> bool {
        self.entry == *entry && self.ordinal == ordinal && self.slot == key.slot()
    }
}

struct Cipher(LessSafeKey);

struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        32
    }
}

impl Cipher {
    fn new(key: &SlotKey, header: &Header) -> Result<Self, EnclosureError> {
        let info: [&[u8]; 4] =
            [INFO_LABEL, &header.slot.to_be_bytes(), header.entry.as_bytes().as_slice(), &header.ordinal.to_be_bytes()];
        let mut file_key = Zeroizing::new([0; 32]);
        let secret = Salt::new(HKDF_SHA256, &header.salt).extract(key.bytes());
        let expanded = secret.expand(&info, KeyLength).and_then(|okm| okm.fill(file_key.as_mut()));
        expanded.map_err(|_| EnclosureError::Random)?;
        Ok(Self(aead(&file_key)))
    }

    fn aad(index: u64, last: bool) -> Aad<[u8; 9]> {
        let mut aad = [0; 9];
        aad[..8].copy_from_slice(&index.to_be_bytes());
        aad[8] = u8::from(last);
        Aad::from(aad)
    }

    fn seal(&self, index: u64, last: bool, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_BYTES];
        rand::fill(&mut nonce).ok()?;
        let mut stored = Vec::with_capacity(NONCE_BYTES + plain.len() + TAG_BYTES);
        stored.extend_from_slice(&nonce);
        stored.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Self::aad(index, last), &mut stored[NONCE_BYTES..]).ok()?;
        stored.extend_from_slice(tag.as_ref());
        Some(stored)
    }

    fn open(&self, index: u64, last: bool, stored: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = stored.split_first_chunk::<NONCE_BYTES>()?;
        let mut plain = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.0.open_in_place(nonce, Self::aad(index, last), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

/// Writes one enclosure. Dropped unfinished, it leaves a partial file that can be resumed.
pub struct EnclosureWriter {
    cipher: Cipher,
    file: File,
    path: PathBuf,
    limit: u64,
    chunks: u64,
    /// The newest bytes, held back until it is known whether they are the last; encrypted before they touch the disk.
    held: Zeroizing<Vec<u8>>,
    hash: Context,
}

impl EnclosureWriter {
    fn new(cipher: Cipher, file: File, path: PathBuf, limit: u64) -> Self {
        let held = Zeroizing::new(Vec::with_capacity(CHUNK_BYTES));
        let (limit, hash) = (limit.min(MAX_ENCLOSURE_BYTES), Context::new(&SHA256));
        Self { cipher, file, path, limit, chunks: 0, held, hash }
    }

    fn part(&self) -> PathBuf {
        with_suffix(&self.path, ".part")
    }

    /// How many bytes of the enclosure were taken so far; after resuming, where the next ones belong.
    pub fn offset(&self) -> u64 {
        self.chunks * CHUNK_BYTES as u64 + self.held.len() as u64
    }

    /// Takes the next bytes; refuses what goes beyond the limit.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), EnclosureError> {
        if self.offset() + bytes.len() as u64 > self.limit {
            return Err(EnclosureError::TooLong { limit: self.limit });
        }
        while !bytes.is_empty() {
            if self.held.len() == CHUNK_BYTES {
                self.flush_chunk(false)?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.held.len()));
            self.held.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn flush_chunk(&mut self, last: bool) -> Result<(), EnclosureError> {
        let stored = self.cipher.seal(self.chunks, last, &self.held).ok_or(EnclosureError::Random)?;
        self.file.write_all_at(&stored, chunk_place(self.chunks)).map_err(|error| failed(&self.part(), error))?;
        self.hash.update(&self.held);
        self.held.clear();
        self.chunks += 1;
        Ok(())
    }

    /// Makes the whole chunks so far durable and returns how many bytes of the enclosure they hold.
    pub fn sync(&mut self) -> Result<u64, EnclosureError> {
        self.sync_file()?;
        Ok(self.chunks * CHUNK_BYTES as u64)
    }

    fn sync_file(&self) -> Result<(), EnclosureError> {
        // Never "disk full": after a failed sync nothing is known.
        self.file.sync_all().map_err(|error| EnclosureError::Io { path: self.part(), error })
    }

    /// Writes the last chunk, syncs, gives the file its name and syncs the folder. With an announced size and SHA-256,
    /// other bytes are removed and refused.
    pub fn finish(mut self, announced: Option<Finished>) -> Result<Finished, EnclosureError> {
        let size = self.offset();
        if announced.is_some_and(|announced| announced.size != size) {
            return self.refuse();
        }
        self.flush_chunk(true)?;
        let sha256 = self.hash.clone().finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
        let finished = Finished { size, sha256 };
        if announced.is_some_and(|announced| announced != finished) {
            return self.refuse();
        }
        self.sync_file()?;
        let named = fs::rename(self.part(), &self.path);
        named
            .and_then(|()| sync_folder(super::disk::parent_of(&self.path)))
            .map_err(|error| failed(&self.path, error))?;
        Ok(finished)
    }

    fn refuse(self) -> Result<Finished, EnclosureError> {
        let part = self.part();
        remove_if_present(&part).map_err(|error| failed(&part, error))?;
        Err(EnclosureError::Mismatch)
    }
}

/// Reads one whole enclosure; each byte was authenticated before it is given out.
pub struct EnclosureReader {
    cipher: Cipher,
    file: File,
    path: PathBuf,
    chunks: u64,
    size: u64,
    at_hand: Option<(u64, Zeroizing<Vec<u8>>)>,
}

impl EnclosureReader {
    /// Bytes of the enclosure, as its file's length says; reading the last chunk proves it.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn chunk(&mut self, index: u64) -> Result<&[u8], EnclosureError> {
        if self.at_hand.as_ref().is_none_or(|(at_hand, _)| *at_hand != index) {
            let mut stored = vec![0; STORED_CHUNK_BYTES as usize];
            let count = self.file.read_full_at(&mut stored, chunk_place(index));
            stored.truncate(count.map_err(|error| failed(&self.path, error))?);
            let plain = self.cipher.open(index, index + 1 == self.chunks, &stored);
            let offset = index * CHUNK_BYTES as u64;
            let plain = plain.ok_or_else(|| EnclosureError::Damaged { path: self.path.clone(), offset })?;
            self.at_hand = Some((index, Zeroizing::new(plain)));
        }
        Ok(self.at_hand.as_ref().map_or(&[], |(_, plain)| plain.as_slice()))
    }

    /// Fills the buffer from an offset of the enclosure; fewer bytes than asked for only at its end.
    pub fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> Result<usize, EnclosureError> {
        let mut filled = 0;
        while filled < buffer.len() && offset + (filled as u64) < self.size {
            let place = offset + filled as u64;
            let within = (place % CHUNK_BYTES as u64) as usize;
            let chunk = self.chunk(place / CHUNK_BYTES as u64)?;
            let rest = chunk.get(within..).unwrap_or_default();
            let count = rest.len().min(buffer.len() - filled);
            if count == 0 {
                break;
            }
            buffer[filled..filled + count].copy_from_slice(&rest[..count]);
            filled += count;
        }
        Ok(filled)
    }

    /// Reads everything and returns size and SHA-256.
    pub fn verify(&mut self) -> Result<Finished, EnclosureError> {
        let mut hash = Context::new(&SHA256);
        let mut size = 0;
        for index in 0..self.chunks {
            let chunk = self.chunk(index)?;
            hash.update(chunk);
            size += chunk.len() as u64;
        }
        Ok(Finished { size, sha256: hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes") })
    }
}
