//! Values with a checksum that covers their key too: a value that was cut, changed or moved is not taken for good.

use super::{StoreError, key};

const CHECK_BYTES: usize = 4;

/// The largest value that is written. sled keeps values of more than about 128 KiB in files that it never syncs.
pub(super) const MAX_VALUE: usize = 64 * 1024;

fn check(key: &[u8], value: &[u8]) -> [u8; CHECK_BYTES] {
    crc32c::crc32c_append(crc32c::crc32c(key), value).to_be_bytes()
}

/// Puts the checksum behind a value.
pub(super) fn seal(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    debug_assert!(value.len() + CHECK_BYTES <= MAX_VALUE);
    let check = check(key, &value);
    value.extend_from_slice(&check);
    value
}

/// Takes the checksum off again.
///
/// # Errors
/// A value that does not match it.
pub(super) fn open<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], StoreError> {
    let damaged = || StoreError::Damaged(format!("a value of family `{}` does not match its checksum", family(key)));
    let split = value.len().checked_sub(CHECK_BYTES).ok_or_else(damaged)?;
    let (value, stored) = value.split_at(split);
    if check(key, value) == stored { Ok(value) } else { Err(damaged()) }
}

/// The value of a key, checked.
pub(super) fn get(tree: &sled::Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    match tree.get(key)? {
        Some(value) => Ok(Some(open(key, &value)?.to_vec())),
        None => Ok(None),
    }
}

/// What a key is about, for people.
pub(super) fn family(key: &[u8]) -> &'static str {
    match key.first() {
        Some(b'o') => "logs",
        Some(b't') => "tiles",
        Some(b'l') => "locations",
        Some(b'r') => "receipts",
        Some(b'm') => "messages",
        Some(b'p' | b'q') => "lookups",
        _ if key == key::CURSOR => "cursor",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_was_changed_cut_or_moved_is_not_opened() {
        let sealed = seal(b"key", b"value".to_vec());
        assert_eq!(open(b"key", &sealed).unwrap(), b"value");
        assert!(open(b"kez", &sealed).is_err());
        assert!(open(b"key", &sealed[1..]).is_err());
        assert!(open(b"key", &sealed[..3]).is_err());
        for byte in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[byte] ^= 0x10;
            assert!(open(b"key", &changed).is_err(), "{byte}");
        }
    }
}
