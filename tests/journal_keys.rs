//! Key slots, enclosures, snapshots and the sentinel: what is destroyed is gone, what is damaged is said, and nothing
//! opens in another place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use verbale::journal::{
    BLOCK_SLOTS, CHUNK_BYTES, Change, EnclosureError, EnclosureStore, Finished, RejectedWhy, SLOT_BYTES, Sentinel,
    SentinelState, SlotError, SlotFiles, SlotKey, Snapshot, SnapshotStore, Vault, VaultError, WrappingKey,
    WrappingKeyError,
};
use verbale::name::EntryId;

const SALT: [u8; 32] = [9; 32];
/// Where the slots begin in a slot file.
const SLOTS_START: usize = 128;

fn wrapping(folder: &Path) -> WrappingKey {
    let path = folder.join("slot.key");
    if path.exists() { WrappingKey::load(&path).unwrap() } else { WrappingKey::create(&path).unwrap() }
}

fn vault(folder: &Path, next_unused: u64) -> Vault {
    Vault::open(folder, &wrapping(folder), next_unused).unwrap()
}

fn slot_bytes(folder: &Path, copy: u32, slot: u64) -> Vec<u8> {
    let bytes = fs::read(folder.join(format!("slots.{copy}"))).unwrap();
    let start = SLOTS_START + slot as usize * SLOT_BYTES;
    bytes[start..start + SLOT_BYTES].to_vec()
}

fn change_slot(folder: &Path, copy: u32, slot: u64, change: impl Fn(&mut [u8])) {
    let path = folder.join(format!("slots.{copy}"));
    let mut bytes = fs::read(&path).unwrap();
    let start = SLOTS_START + slot as usize * SLOT_BYTES;
    change(&mut bytes[start..start + SLOT_BYTES]);
    fs::write(&path, bytes).unwrap();
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn what_is_sealed_opens_again_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let keys = vault(folder.path(), 0);
    let sealed: Vec<_> = (0..3_u8).map(|index| keys.seal(&SALT, &[index; 100]).unwrap()).collect();
    assert_eq!(sealed.iter().map(|sealed| sealed.slot).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(!contains(&sealed[0].bytes, &SALT[..8]), "the salt lies inside the ciphertext");
    drop(keys);
    let keys = vault(folder.path(), 3);
    for (index, sealed) in sealed.iter().enumerate() {
        let (salt, body) = keys.open_sealed(sealed.slot, &sealed.bytes).unwrap();
        assert_eq!((salt, body.as_ref()), (SALT, [index as u8; 100].as_slice()));
    }
    assert_eq!(keys.seal(&SALT, b"").unwrap().slot, 3, "the next unused slot comes from the journal");
    // Bound to its slot, and every byte counts.
    assert!(matches!(keys.open_sealed(1, &sealed[0].bytes), Err(SlotError::SealBroken(1))));
    for index in 0..sealed[0].bytes.len() {
        let mut bytes = sealed[0].bytes.to_vec();
        bytes[index] ^= 1;
        assert!(matches!(keys.open_sealed(0, &bytes), Err(SlotError::SealBroken(0))));
    }
    assert!(matches!(keys.open_sealed(0, &sealed[0].bytes[..59]), Err(SlotError::SealBroken(0))));
    assert!(matches!(keys.open_sealed(BLOCK_SLOTS, b""), Err(SlotError::Absent(_))));
    assert!(keys.take_repairs().is_empty());
}

#[test]
fn a_slot_reused_after_a_lost_group_never_repeats_a_nonce() {
    let folder = tempfile::tempdir().unwrap();
    let lost = vault(folder.path(), 0).seal(&SALT, b"in a group that was torn").unwrap();
    let again = vault(folder.path(), 0).seal(&SALT, b"in the group that came then").unwrap();
    assert_eq!(lost.slot, again.slot);
    assert_ne!(lost.bytes[..12], again.bytes[..12]);
}

#[test]
fn destroying_leaves_the_key_in_neither_copy() {
    let folder = tempfile::tempdir().unwrap();
    let keys = vault(folder.path(), 0);
    let sealed = keys.seal(&SALT, b"to be forgotten").unwrap();
    let other = keys.seal(&SALT, b"to be kept").unwrap();
    keys.open_sealed(sealed.slot, &sealed.bytes).unwrap();
    let before = slot_bytes(folder.path(), 1, sealed.slot);
    assert_eq!(before, slot_bytes(folder.path(), 2, sealed.slot));
    keys.destroy(&[sealed.slot]).unwrap();
    for copy in [1, 2] {
        let file = fs::read(folder.path().join(format!("slots.{copy}"))).unwrap();
        for piece in before[..60].chunks(12) {
            assert!(!contains(&file, piece), "a piece of the wrapped key is left in copy {copy}");
        }
    }
    assert!(matches!(keys.open_sealed(sealed.slot, &sealed.bytes), Err(SlotError::Destroyed(0))));
    keys.destroy(&[sealed.slot]).unwrap();
    drop(keys);
    let keys = vault(folder.path(), 2);
    assert!(matches!(keys.open_sealed(sealed.slot, &sealed.bytes), Err(SlotError::Destroyed(0))));
    assert_eq!(keys.open_sealed(other.slot, &other.bytes).unwrap().1.as_ref(), b"to be kept");
}

#[test]
fn a_destruction_that_was_interrupted_is_completed_and_not_repaired_away() {
    let folder = tempfile::tempdir().unwrap();
    let keys = vault(folder.path(), 0);
    let sealed = keys.seal(&SALT, b"to be forgotten").unwrap();
    let wrapped = slot_bytes(folder.path(), 2, 0);
    keys.destroy(&[0]).unwrap();
    // The power went between the two copies.
    change_slot(folder.path(), 2, 0, |slot| slot.copy_from_slice(&wrapped));
    let keys = vault(folder.path(), 1);
    assert!(matches!(keys.open_sealed(0, &sealed.bytes), Err(SlotError::Destroyed(0))));
    assert_ne!(slot_bytes(folder.path(), 2, 0), wrapped);
    let repairs = keys.take_repairs();
    assert!(repairs.len() == 1 && repairs[0].destroyed, "{repairs:?}");
}

#[test]
fn one_damaged_copy_is_repaired_and_said_and_two_are_damage() {
    for copy in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let sealed = vault(folder.path(), 0).seal(&SALT, b"body").unwrap();
        let whole = slot_bytes(folder.path(), copy, 0);
        // Zeros are damage like any other, and are never taken for an erasure.
        change_slot(folder.path(), copy, 0, |slot| slot.fill(0));
        let keys = vault(folder.path(), 1);
        assert_eq!(keys.open_sealed(0, &sealed.bytes).unwrap().1.as_ref(), b"body");
        assert_eq!(slot_bytes(folder.path(), copy, 0), whole);
        let repairs = keys.take_repairs();
        assert_eq!((repairs.len(), repairs[0].first_slot, repairs[0].destroyed), (1, 0, false));
        for copy in [1, 2] {
            change_slot(folder.path(), copy, 0, |slot| slot[20] ^= 1);
        }
        let keys = vault(folder.path(), 1);
        assert!(matches!(keys.open_sealed(0, &sealed.bytes), Err(SlotError::Damaged(0))));
        assert_eq!(keys.verify(10).unwrap(), [0]);
    }
}

#[test]
fn a_missing_slot_file_is_rebuilt_from_the_other_and_two_missing_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = vault(folder.path(), 0).seal(&SALT, b"body").unwrap();
    for copy in [1, 2] {
        fs::remove_file(folder.path().join(format!("slots.{copy}"))).unwrap();
        let keys = vault(folder.path(), 1);
        assert_eq!(keys.open_sealed(0, &sealed.bytes).unwrap().1.as_ref(), b"body");
        assert!(!keys.take_repairs().is_empty());
        drop(keys);
        let [first, second] = ["slots.1", "slots.2"].map(|name| fs::read(folder.path().join(name)).unwrap());
        assert!(first == second, "both copies are equal again");
    }
    for copy in [1, 2] {
        fs::remove_file(folder.path().join(format!("slots.{copy}"))).unwrap();
    }
    let refused = Vault::open(folder.path(), &wrapping(folder.path()), 1);
    assert!(matches!(refused, Err(VaultError::Missing { used: 1, .. })));
}

#[test]
fn a_byte_of_either_slot_file_is_named_by_who_only_reads_and_repaired_by_who_opens() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = vault(folder.path(), 0).seal(&SALT, b"body").unwrap();
    let whole = fs::read(folder.path().join("slots.1")).unwrap();
    let key = wrapping(folder.path());
    assert_eq!(SlotFiles::open(folder.path(), &key).unwrap().damages(10).unwrap(), []);
    for name in ["slots.1", "slots.2"] {
        let path = folder.path().join(name);
        for at in (0..SLOTS_START + 2 * SLOT_BYTES).chain([whole.len() - 1]) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(&path, &bytes).unwrap();
            let files = SlotFiles::open(folder.path(), &key).unwrap();
            let damages = files.damages(10).unwrap();
            assert_eq!(damages.len(), 1, "byte {at}: {damages:?}");
            assert!(damages[0].file == path && damages[0].repairable && damages[0].offset <= at as u64);
            assert_eq!(&files.open_sealed(sealed.slot, &sealed.bytes).unwrap().1[..], b"body");
            assert!(fs::read(&path).unwrap() == bytes, "who reads writes nothing");
        }
        for length in [0, SLOTS_START - 1, SLOTS_START + 10 * SLOT_BYTES + 5] {
            fs::write(&path, &whole[..length]).unwrap();
            let damages = SlotFiles::open(folder.path(), &key).unwrap().damages(10).unwrap();
            assert!(!damages.is_empty() && damages.iter().all(|damage| damage.file == path), "{length}: {damages:?}");
        }
        let mut bytes = whole.clone();
        (bytes[12], bytes[SLOTS_START + 3]) = (!bytes[12], !bytes[SLOTS_START + 3]);
        fs::write(&path, &bytes).unwrap();
        let opened = vault(folder.path(), 1);
        assert_eq!(opened.verify(10).unwrap(), Vec::<u64>::new());
        assert_eq!(opened.take_repairs().len(), 2, "{name}: the header and a slot");
        drop(opened);
        assert!(fs::read(&path).unwrap() == whole);
    }
    for copy in [1, 2] {
        change_slot(folder.path(), copy, 7, |slot| slot[0] ^= 1);
    }
    let damages = SlotFiles::open(folder.path(), &key).unwrap().damages(10).unwrap();
    assert!(damages.len() == 2 && damages.iter().all(|damage| !damage.repairable && damage.first_slot == Some(7)));
    assert_eq!(vault(folder.path(), 1).verify(10).unwrap(), [7]);
}

#[test]
fn a_wrong_key_is_told_from_damage() {
    let folder = tempfile::tempdir().unwrap();
    vault(folder.path(), 0).seal(&SALT, b"body").unwrap();
    let other = WrappingKey::create(&folder.path().join("other.key")).unwrap();
    assert!(matches!(Vault::open(folder.path(), &other, 1), Err(VaultError::WrongKey(_))));
    let path = folder.path().join("slot.key");
    assert!(WrappingKey::create(&path).is_err(), "a key file is never overwritten");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(WrappingKey::load(&path), Err(WrappingKeyError::Exposed { mode: 0o640, .. })));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, "verbale-slot-key-1 12").unwrap();
    assert!(matches!(WrappingKey::load(&path), Err(WrappingKeyError::Malformed(_))));
}

#[test]
fn blocks_are_made_ahead_and_at_the_border() {
    let folder = tempfile::tempdir().unwrap();
    let keys = vault(folder.path(), 0);
    assert_eq!(keys.spare(), 0);
    keys.ensure_spare(1).unwrap();
    assert_eq!(keys.spare(), BLOCK_SLOTS);
    keys.ensure_spare(BLOCK_SLOTS).unwrap();
    assert_eq!(keys.spare(), BLOCK_SLOTS, "enough is enough");
    keys.ensure_spare(BLOCK_SLOTS + 1).unwrap();
    assert_eq!(keys.spare(), 2 * BLOCK_SLOTS);
    drop(keys);
    let keys = vault(folder.path(), 2 * BLOCK_SLOTS - 1);
    assert_eq!(keys.seal(&SALT, b"last").unwrap().slot, 2 * BLOCK_SLOTS - 1);
    assert_eq!(keys.seal(&SALT, b"first of a new block").unwrap().slot, 2 * BLOCK_SLOTS);
}

#[test]
fn a_block_that_was_half_made_is_levelled() {
    let folder = tempfile::tempdir().unwrap();
    let keys = vault(folder.path(), 0);
    let sealed = keys.seal(&SALT, b"body").unwrap();
    keys.ensure_spare(BLOCK_SLOTS + 1).unwrap();
    drop(keys);
    let one_block = (SLOTS_START + BLOCK_SLOTS as usize * SLOT_BYTES) as u64;
    for (first, second, spare) in [(2 * one_block, one_block + 700, 2 * BLOCK_SLOTS), (one_block + 700, one_block, 0)] {
        let first = first.min(fs::metadata(folder.path().join("slots.1")).unwrap().len());
        for (name, length) in [("slots.1", first), ("slots.2", second)] {
            fs::File::options().write(true).open(folder.path().join(name)).unwrap().set_len(length).unwrap();
        }
        let keys = vault(folder.path(), 1);
        let expected = if spare > 0 { spare - 1 } else { BLOCK_SLOTS - 1 };
        assert_eq!(keys.spare(), expected);
        assert_eq!(keys.open_sealed(0, &sealed.bytes).unwrap().1.as_ref(), b"body");
        assert!(keys.verify(10).unwrap().is_empty());
    }
}

struct Enclosures {
    _folder: tempfile::TempDir,
    store: EnclosureStore,
    vault: Vault,
}

fn enclosures() -> Enclosures {
    let folder = tempfile::tempdir().unwrap();
    let store = EnclosureStore::open(&folder.path().join("enclosures")).unwrap();
    let vault = vault(folder.path(), 0);
    Enclosures { _folder: folder, store, vault }
}

fn contents(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 % 251) as u8).collect()
}

fn entry(number: u8) -> EntryId {
    EntryId([number; 16])
}

fn put(world: &Enclosures, entry: &EntryId, ordinal: u32, bytes: &[u8]) -> (SlotKey, Finished) {
    let key = world.vault.take_key().unwrap();
    let mut writer = world.store.create(entry, ordinal, &key, bytes.len() as u64).unwrap();
    for piece in bytes.chunks(10_007) {
        writer.write(piece).unwrap();
    }
    (key, writer.finish(None).unwrap())
}

fn path_of(world: &Enclosures, name: &str) -> std::path::PathBuf {
    world._folder.path().join("enclosures").join(name)
}

#[test]
fn enclosures_of_every_awkward_length_come_back() {
    let world = enclosures();
    for (number, length) in
        [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 200_000].into_iter().enumerate()
    {
        let bytes = contents(length);
        let entry = entry(number as u8);
        let (key, finished) = put(&world, &entry, 0, &bytes);
        assert_eq!(finished.size, length as u64);
        let stored = fs::read(path_of(&world, &format!("{entry}.0"))).unwrap();
        assert!(length < 16 || !contains(&stored, &bytes[..16]), "plaintext lies on the disk");
        let mut reader = world.store.read(&entry, 0, &key).unwrap();
        assert_eq!((reader.size(), reader.verify().unwrap()), (length as u64, finished));
        let mut buffer = vec![0; length + 10];
        assert_eq!(reader.read_at(&mut buffer, 0).unwrap(), length);
        assert_eq!(buffer[..length], bytes);
        let middle = length / 2;
        assert_eq!(reader.read_at(&mut buffer, middle as u64).unwrap(), length - middle);
        assert_eq!(buffer[..length - middle], bytes[middle..]);
    }
}

#[test]
fn a_chunk_or_file_from_another_place_is_refused() {
    let world = enclosures();
    let bytes = contents(3 * CHUNK_BYTES);
    let (first_key, _) = put(&world, &entry(1), 0, &bytes);
    let (second_key, _) = put(&world, &entry(2), 0, &bytes);
    let (first, second) = (path_of(&world, &format!("{}.0", entry(1))), path_of(&world, &format!("{}.0", entry(2))));
    let (whole, other) = (fs::read(&first).unwrap(), fs::read(&second).unwrap());
    let (start, chunk) = (96, CHUNK_BYTES + 28);
    let damaged_at = |bytes: &[u8]| {
        fs::write(&first, bytes).unwrap();
        match world.store.read(&entry(1), 0, &first_key).and_then(|mut reader| reader.verify()) {
            Err(EnclosureError::Damaged { offset, .. }) => offset,
            other => panic!("{other:?}"),
        }
    };
    let mut swapped = whole.clone();
    swapped[start + chunk..start + 2 * chunk].copy_from_slice(&other[start + chunk..start + 2 * chunk]);
    assert_eq!(damaged_at(&swapped), CHUNK_BYTES as u64, "a chunk of another enclosure");
    let mut swapped = whole.clone();
    swapped[start..start + chunk].copy_from_slice(&whole[start + chunk..start + 2 * chunk]);
    assert_eq!(damaged_at(&swapped), 0, "another chunk of the same enclosure");
    assert_eq!(damaged_at(&whole[..start + 2 * chunk]), CHUNK_BYTES as u64, "cut at a chunk");
    assert_eq!(damaged_at(&whole[..whole.len() - 1]), 2 * CHUNK_BYTES as u64, "cut within a chunk");
    fs::write(&first, &other).unwrap();
    assert!(matches!(world.store.read(&entry(1), 0, &first_key), Err(EnclosureError::Foreign(_))));
    fs::write(&first, &whole).unwrap();
    assert!(matches!(world.store.read(&entry(1), 0, &second_key), Err(EnclosureError::Foreign(_))));
    assert!(matches!(world.store.read(&entry(1), 1, &first_key), Err(EnclosureError::Absent(_))));
}

#[test]
fn a_transfer_goes_on_after_a_crash_where_the_last_whole_chunk_ended() {
    let world = enclosures();
    let bytes = contents(3 * CHUNK_BYTES + 5);
    let key = world.vault.take_key().unwrap();
    let mut writer = world.store.create(&entry(1), 2, &key, bytes.len() as u64).unwrap();
    writer.write(&bytes[..2 * CHUNK_BYTES + 100]).unwrap();
    assert_eq!(writer.sync().unwrap(), 2 * CHUNK_BYTES as u64);
    drop(writer);
    let orphans = world.store.orphans().unwrap();
    assert_eq!((orphans[0].entry, orphans[0].ordinal, orphans[0].slot), (entry(1), 2, Some(key.slot())));
    // The last chunk on the disk is torn: it is not believed.
    let part = path_of(&world, &format!("{}.2.part", entry(1)));
    let mut stored = fs::read(&part).unwrap();
    let last = stored.len() - 1;
    stored[last] ^= 1;
    fs::write(&part, stored).unwrap();
    assert!(!world.store.has(&entry(1), 2));
    let mut writer = world.store.resume(&entry(1), 2, &key, bytes.len() as u64).unwrap();
    assert_eq!(writer.offset(), CHUNK_BYTES as u64);
    writer.write(&bytes[CHUNK_BYTES..]).unwrap();
    let finished = writer.finish(None).unwrap();
    let (other_key, whole) = put(&world, &entry(3), 0, &bytes);
    assert_ne!(key.slot(), other_key.slot());
    assert_eq!(finished, whole, "the hash covers what came before the crash");
    assert!(world.store.has(&entry(1), 2) && world.store.orphans().unwrap().is_empty());
    world.store.delete(&entry(1), 2).unwrap();
    world.store.delete(&entry(1), 2).unwrap();
    assert!(!world.store.has(&entry(1), 2));
}

#[test]
fn bytes_that_were_not_announced_are_refused() {
    let world = enclosures();
    let bytes = contents(1000);
    let (_, announced) = put(&world, &entry(1), 0, &bytes);
    let key = world.vault.take_key().unwrap();
    let mut writer = world.store.create(&entry(2), 0, &key, 1000).unwrap();
    assert!(matches!(writer.write(&[0; 1001]), Err(EnclosureError::TooLong { limit: 1000 })));
    writer.write(&[0; 1000]).unwrap();
    assert!(matches!(writer.finish(Some(announced)), Err(EnclosureError::Mismatch)));
    assert!(!world.store.has(&entry(2), 0) && world.store.orphans().unwrap().is_empty());
    let mut writer = world.store.create(&entry(2), 0, &key, 1000).unwrap();
    writer.write(&bytes).unwrap();
    assert_eq!(writer.finish(Some(announced)).unwrap(), announced);
}

fn snapshot(next_record: u64) -> Snapshot {
    Snapshot { format: 1, journal_id: [5; 16], next_record, contents: contents(next_record as usize).into() }
}

#[test]
fn the_newest_whole_snapshot_is_loaded_and_the_others_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = SnapshotStore::open(&folder.path().join("snapshot")).unwrap();
    assert_eq!(store.load(&[5; 16], 1).unwrap().snapshot, None);
    for next_record in [10, 20, 30] {
        store.save(&snapshot(next_record)).unwrap();
    }
    assert_eq!(store.load(&[5; 16], 1).unwrap().snapshot, Some(snapshot(30)));
    let path = folder.path().join(format!("snapshot/{:020}.snap", 30));
    assert_eq!(fs::read_dir(folder.path().join("snapshot")).unwrap().count(), 2, "two are kept");
    let whole = fs::read(&path).unwrap();
    let check = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let loaded = store.load(&[5; 16], 1).unwrap();
        assert_eq!(loaded.snapshot, Some(snapshot(20)));
        assert_eq!(loaded.rejected[0].why, RejectedWhy::Damaged);
    };
    for index in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[index] ^= 1;
        check(&bytes);
        check(&whole[..index]);
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(store.load(&[6; 16], 1).unwrap().rejected[0].why, RejectedWhy::Foreign);
    assert_eq!(store.load(&[5; 16], 2).unwrap().rejected[1].why, RejectedWhy::Format(1));
}

#[test]
fn a_copied_folder_is_told_from_the_one_that_was_written() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Sentinel::check(folder.path(), &[1; 16]).unwrap(), SentinelState::Missing);
    Sentinel::write(folder.path(), &[1; 16]).unwrap();
    assert_eq!(Sentinel::check(folder.path(), &[1; 16]).unwrap(), SentinelState::Same);
    let other_journal = SentinelState::Moved { what: vec![Change::Journal] };
    assert_eq!(Sentinel::check(folder.path(), &[2; 16]).unwrap(), other_journal);
    let copy = tempfile::tempdir().unwrap();
    fs::copy(folder.path().join("sentinel"), copy.path().join("sentinel")).unwrap();
    match Sentinel::check(copy.path(), &[1; 16]).unwrap() {
        SentinelState::Moved { what } => assert!(what.contains(&Change::Inode), "{what:?}"),
        other => panic!("{other:?}"),
    }
    let unreadable = SentinelState::Moved { what: vec![Change::Contents] };
    let written = fs::read(folder.path().join("sentinel")).unwrap();
    for at in 0..written.len() {
        let mut changed = written.clone();
        changed[at] ^= 1;
        fs::write(folder.path().join("sentinel"), changed).unwrap();
        assert_eq!(Sentinel::check(folder.path(), &[1; 16]).unwrap(), unreadable, "byte {at}");
    }
    fs::write(folder.path().join("sentinel"), [0xff; 600]).unwrap();
    assert_eq!(Sentinel::check(folder.path(), &[1; 16]).unwrap(), unreadable);
    // Renaming a folder on the same disk is no copy.
    Sentinel::write(folder.path(), &[1; 16]).unwrap();
    let renamed = copy.path().join("renamed");
    fs::rename(folder.path(), &renamed).unwrap();
    assert_eq!(Sentinel::check(&renamed, &[1; 16]).unwrap(), SentinelState::Same);
    fs::rename(&renamed, folder.path()).unwrap();
}
