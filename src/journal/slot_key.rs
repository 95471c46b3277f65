//! Keys of slots and the key that wraps them: how 32 random bytes lie in a slot of 64, and how a body is sealed under
//! them. Pure but for randomness and the key file; it knows nothing of slot files.
//!
//! A wrapped slot is nonce\[12\] ‖ AES-256-GCM(wrapping key, nonce, AAD = "verbale slot v1\0" ‖ vault id ‖ number u64be,
//! key\[32\]) ‖ tag\[16\] ‖ CRC32C of the 60 bytes before. A destroyed slot is "destroyed slot v1" ‖ number u64be ‖ zeros ‖
//! CRC32C: a block of zeros is damage and is never taken for an erasure.
//!
//! A sealed body is nonce\[12\] ‖ AES-256-GCM(slot key, nonce, AAD = "verbale sealed v1\0" ‖ number u64be, salt\[32\] ‖
//! body) ‖ tag\[16\]. The nonce is random, so a slot that was used by a group that got lost may be used again.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;
use bytes::Bytes;
use zeroize::Zeroizing;

use super::disk::create_folder;

/// Bytes of one slot: a divisor of a sector, so that a slot is never torn by a power cut.
pub const SLOT_BYTES: usize = 64;

/// Bytes that sealing adds to a body: nonce, salt and tag.
pub const SEALED_OVERHEAD_BYTES: usize = NONCE_BYTES + SALT_BYTES + TAG_BYTES;

pub(crate) const NONCE_BYTES: usize = 12;
pub(crate) const TAG_BYTES: usize = 16;
const SALT_BYTES: usize = 32;
const KEY_BYTES: usize = 32;
const DESTROYED: &[u8; 17] = b"destroyed slot v1";
const SLOT_LABEL: &[u8] = b"verbale slot v1\0";
const SEALED_LABEL: &[u8] = b"verbale sealed v1\0";
const FILE_LABEL: &str = "verbale-slot-key-1 ";

/// Longest key file that is read: the label, 64 digits and a line end, with room for a careless editor.
const MAX_KEY_FILE_BYTES: u64 = 256;

/// Why the wrapping key was not read or made.
#[derive(Debug, thiserror::Error)]
pub enum WrappingKeyError {
    /// The operating system refused something.
    #[error("cannot use the slot key file {}: {error}", path.display())]
    Io {
        /// The key file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// Others may read the file.
    #[error("others may read {} (mode {mode:o}); make it 0600", path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds something else.
    #[error("{} is not a slot key file", .0.display())]
    Malformed(PathBuf),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
}

/// The key under which slots are wrapped; it lives in a file of its own, which may lie on another disk.
#[derive(Clone)]
pub struct WrappingKey(Zeroizing<[u8; KEY_BYTES]>);

impl WrappingKey {
    /// Makes a new key and its file (0600), which must not exist yet, and makes both durable.
    pub fn create(path: &Path) -> Result<Self, WrappingKeyError> {
        let io_error = |error| WrappingKeyError::Io { path: path.to_owned(), error };
        if path.exists() {
            return Err(io_error(io::ErrorKind::AlreadyExists.into()));
        }
        create_folder(super::disk::parent_of(path)).map_err(io_error)?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        rand::fill(key.as_mut()).map_err(|_| WrappingKeyError::Random)?;
        let text = Zeroizing::new(format!("{FILE_LABEL}{}\n", data_encoding::HEXLOWER.encode(key.as_ref())));
        super::disk::replace_file(path, &[text.as_bytes()]).map_err(io_error)?;
        Ok(Self(key))
    }

    /// Reads the key file; refuses one that others may read.
    pub fn load(path: &Path) -> Result<Self, WrappingKeyError> {
        let io_error = |error| WrappingKeyError::Io { path: path.to_owned(), error };
        let file = fs::File::open(path).map_err(io_error)?;
        let mode = file.metadata().map_err(io_error)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(WrappingKeyError::Exposed { path: path.to_owned(), mode });
        }
        let mut text = Zeroizing::new(String::new());
        file.take(MAX_KEY_FILE_BYTES).read_to_string(&mut text).map_err(io_error)?;
        let key = text.trim_end().strip_prefix(FILE_LABEL).and_then(|digits| {
            let bytes = Zeroizing::new(data_encoding::HEXLOWER.decode(digits.as_bytes()).ok()?);
            Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
        });
        key.ok_or_else(|| WrappingKeyError::Malformed(path.to_owned()))
    }

    pub(crate) fn aead(&self) -> LessSafeKey {
        aead(&self.0)
    }
}

pub(crate) fn aead(key: &[u8; KEY_BYTES]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 has keys of 32 bytes"))
}

/// What the 64 bytes of a slot say.
pub(crate) enum SlotState {
    /// A key lies here, wrapped.
    Wrapped,
    /// The key was destroyed on purpose.
    Destroyed,
    /// The checksum is wrong.
    Damaged,
}

pub(crate) fn slot_state(slot: &[u8; SLOT_BYTES], number: u64) -> SlotState {
    let (body, checksum) = slot.split_at(SLOT_BYTES - 4);
    if checksum != crc32c::crc32c(body).to_be_bytes() {
        return SlotState::Damaged;
    }
    if *slot == destroyed_slot(number) { SlotState::Destroyed } else { SlotState::Wrapped }
}

pub(crate) fn destroyed_slot(number: u64) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..DESTROYED.len()].copy_from_slice(DESTROYED);
    slot[DESTROYED.len()..DESTROYED.len() + 8].copy_from_slice(&number.to_be_bytes());
    with_checksum(slot)
}

fn with_checksum(mut slot: [u8; SLOT_BYTES]) -> [u8; SLOT_BYTES] {
    let checksum = crc32c::crc32c(&slot[..SLOT_BYTES - 4]);
    slot[SLOT_BYTES - 4..].copy_from_slice(&checksum.to_be_bytes());
    slot
}

fn slot_aad(vault_id: &[u8; 16], number: u64) -> Aad<Vec<u8>> {
    Aad::from([SLOT_LABEL, vault_id, &number.to_be_bytes()].concat())
}

/// Wraps a key into a slot. `None` only if the cipher refuses, which it has no reason to.
pub(crate) fn wrap(
    wrapping: &LessSafeKey,
    vault_id: &[u8; 16],
    number: u64,
    nonce: [u8; NONCE_BYTES],
    key: &[u8; KEY_BYTES],
) -> Option<[u8; SLOT_BYTES]> {
    let mut slot = [0; SLOT_BYTES];
    slot[..NONCE_BYTES].copy_from_slice(&nonce);
    let body = &mut slot[NONCE_BYTES..NONCE_BYTES + KEY_BYTES];
    body.copy_from_slice(key);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = wrapping.seal_in_place_separate_tag(nonce, slot_aad(vault_id, number), body).ok()?;
    slot[NONCE_BYTES + KEY_BYTES..SLOT_BYTES - 4].copy_from_slice(tag.as_ref());
    Some(with_checksum(slot))
}

/// Takes a key out of a slot whose checksum is right; `None`: it was wrapped under another key or for another place.
pub(crate) fn unwrap(
    wrapping: &LessSafeKey,
    vault_id: &[u8; 16],
    number: u64,
    slot: &[u8; SLOT_BYTES],
) -> Option<SlotKey> {
    let nonce = Nonce::try_assume_unique_for_key(&slot[..NONCE_BYTES]).ok()?;
    let mut body = Zeroizing::new(slot[NONCE_BYTES..SLOT_BYTES - 4].to_vec());
    let key = wrapping.open_in_place(nonce, slot_aad(vault_id, number), &mut body).ok()?;
    Some(SlotKey { number, key: Zeroizing::new((&*key).try_into().ok()?) })
}

/// The key of one slot. It leaves memory with its owner.
#[derive(Clone)]
pub struct SlotKey {
    number: u64,
    key: Zeroizing<[u8; KEY_BYTES]>,
}

impl SlotKey {
    /// The number of the slot.
    pub fn slot(&self) -> u64 {
        self.number
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.key
    }

    /// Seals salt and body under a random nonce that the caller drew. `None` only if the cipher refuses.
    pub(crate) fn seal(&self, nonce: [u8; NONCE_BYTES], salt: &[u8; SALT_BYTES], body: &[u8]) -> Option<Bytes> {
        let mut sealed = Vec::with_capacity(SEALED_OVERHEAD_BYTES + body.len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(salt);
        sealed.extend_from_slice(body);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag =
            aead(&self.key).seal_in_place_separate_tag(nonce, self.sealed_aad(), &mut sealed[NONCE_BYTES..]).ok()?;
        sealed.extend_from_slice(tag.as_ref());
        Some(sealed.into())
    }

    /// Opens what [`Self::seal`] made.
    pub(crate) fn open(&self, sealed: &[u8]) -> Option<([u8; SALT_BYTES], Bytes)> {
        if sealed.len() < SEALED_OVERHEAD_BYTES {
            return None;
        }
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let mut plain = sealed.to_vec();
        let length = aead(&self.key)
            .open_in_place(Nonce::assume_unique_for_key(*nonce), self.sealed_aad(), &mut plain)
            .ok()?
            .len();
        plain.truncate(length);
        let salt = *plain.first_chunk()?;
        Some((salt, Bytes::from(plain).slice(SALT_BYTES..)))
    }

    fn sealed_aad(&self) -> Aad<[u8; SEALED_LABEL.len() + 8]> {
        let mut aad = [0; SEALED_LABEL.len() + 8];
        aad[..SEALED_LABEL.len()].copy_from_slice(SEALED_LABEL);
        aad[SEALED_LABEL.len()..].copy_from_slice(&self.number.to_be_bytes());
        Aad::from(aad)
    }
}
