//! From a folder to a state that can be believed: lock, keys, journal, snapshot, replay, slots, sentinel. Nothing is
//! skipped silently and nothing starts empty.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::desk::UploadFolder;
use super::order::Order;
use super::roster::Roster;
use super::run::RunError;
use super::{officers, snapshot};
use crate::exchange::{Doubt, Fold, Record};
use crate::identity::NodeKeys;
use crate::journal::{
    Change, Condition, EnclosureStore, FilesystemKind, FolderLock, Journal, Opened, Options, Sentinel, SentinelState,
    SnapshotStore, Vault, WrappingKey, filesystem_kind,
};
use crate::name::Millis;
use crate::settings::Settings;

/// The folders and files of a node, inside its folder.
const JOURNAL: &str = "journal";
const SNAPSHOTS: &str = "snapshots";
const ENCLOSURES: &str = "enclosures";
const UPLOADS: &str = "uploads";
const SLOTS: &str = "slots";
const SLOT_KEY: &str = "keys/slots.key";
/// The store's folder.
pub(super) const STORE: &str = "store";

/// What the disk gave.
pub(super) struct Ground {
    /// Ends with the process.
    pub(super) _lock: FolderLock,
    pub(super) keys: NodeKeys,
    pub(super) journal: Journal,
    pub(super) journal_id: [u8; 16],
    pub(super) fold: Fold,
    pub(super) roster: Roster,
    pub(super) snapshots: SnapshotStore,
    /// Records that are in no snapshot.
    pub(super) replayed: u64,
    /// The time of the newest record.
    pub(super) newest: Millis,
    pub(super) vault: Arc<Vault>,
    pub(super) enclosures: EnclosureStore,
    pub(super) uploads: UploadFolder,
    pub(super) doubt: Option<Doubt>,
    /// The sentinel must be written once the start is durable.
    pub(super) sentinel_due: bool,
    /// Damage before the snapshot, in words.
    pub(super) damages: Vec<String>,
}

/// Reads everything. Blocks; runs before anything is served.
///
/// # Errors
/// See [`RunError`].
pub(super) fn read(folder: &Path, settings: &Settings, orders: &UnboundedSender<Order>) -> Result<Ground, RunError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| RunError::Io { path, error }
    };
    let lock = FolderLock::acquire(folder)?;
    let keys = NodeKeys::load(folder)?;
    if keys.node() != settings.node {
        return Err(RunError::OtherNode { configured: settings.node, keys: keys.node() });
    }
    judge_file_system(folder, settings.journal.allow_copy_on_write)?;
    let (journal, opened) = open_journal(folder, settings, orders)?;
    let snapshots = SnapshotStore::open(&folder.join(SNAPSHOTS)).map_err(at(&folder.join(SNAPSHOTS)))?;
    let replay = replay(&journal, &opened, &snapshots).map_err(|error| error.in_folder(folder))?;
    if let Some(name) = replay.fold.me.filter(|name| *name != settings.node) {
        return Err(RunError::OtherNode { configured: settings.node, keys: name });
    }
    let enclosures = EnclosureStore::open(&folder.join(ENCLOSURES)).map_err(at(&folder.join(ENCLOSURES)))?;
    let vault = open_vault(folder, &replay.fold, &enclosures)?;
    let uploads = UploadFolder::open(&folder.join(UPLOADS)).map_err(at(&folder.join(UPLOADS)))?;
    let (doubt, sentinel_due) = ask_sentinel(folder, &opened, replay.fold.next_record() == 0)?;
    let Replay { fold, roster, replayed, newest, damages } = replay;
    let vault = Arc::new(vault);
    let journal_id = opened.journal_id;
    Ok(Ground {
        _lock: lock,
        keys,
        journal,
        journal_id,
        fold,
        roster,
        snapshots,
        replayed,
        newest,
        vault,
        enclosures,
        uploads,
        doubt,
        sentinel_due,
        damages,
    })
}

fn judge_file_system(folder: &Path, allowed: bool) -> Result<(), RunError> {
    let kind = filesystem_kind(folder).map_err(|error| RunError::Io { path: folder.to_owned(), error })?;
    match kind {
        FilesystemKind::CopyOnWrite(name) if !allowed => Err(RunError::CopyOnWrite { folder: folder.to_owned(), name }),
        FilesystemKind::CopyOnWrite(name) => {
            tracing::warn!(name, "on this file system an erased text may live on in older blocks; it was allowed");
            Ok(())
        }
        FilesystemKind::Memory => {
            tracing::warn!("the node's folder lies in memory: nothing survives a restart of this machine");
            Ok(())
        }
        FilesystemKind::InPlace => Ok(()),
    }
}

/// Opens the journal, or makes the first one of a folder in which no node has ever run.
fn open_journal(
    folder: &Path,
    settings: &Settings,
    orders: &UnboundedSender<Order>,
) -> Result<(Journal, Opened), RunError> {
    let path = folder.join(JOURNAL);
    let create = !path.exists();
    if create
        && let Some(left) = [SNAPSHOTS, SLOTS, ENCLOSURES, "sentinel"].iter().find(|name| folder.join(name).exists())
    {
        return Err(RunError::NoJournal { journal: path, left: folder.join(left) });
    }
    let orders = orders.clone();
    let on_condition = move |condition: Condition| {
        let _ = orders.send(Order::Journal(condition));
    };
    let options = Options {
        create,
        segment_bytes: settings.journal.segment_size,
        on_condition: Arc::new(on_condition),
        ..Options::default()
    };
    let (journal, opened) = Journal::open(&path, options)?;
    if let Some(torn) = &opened.torn {
        tracing::info!(file = %torn.file.display(), bytes = torn.length, "a last write that was never durable is dropped");
    }
    Ok((journal, opened))
}

struct Replay {
    fold: Fold,
    roster: Roster,
    replayed: u64,
    newest: Millis,
    damages: Vec<String>,
}

/// Why the state cannot be believed.
enum ReplayError {
    Damage(String),
    Io(std::io::Error),
    Beyond { snapshot: u64, journal: u64 },
}

impl ReplayError {
    fn in_folder(self, folder: &Path) -> RunError {
        match self {
            Self::Damage(what) => RunError::Damaged { folder: folder.to_owned(), what },
            Self::Io(error) => RunError::Io { path: folder.to_owned(), error },
            Self::Beyond { snapshot, journal } => {
                RunError::ShortJournal { folder: folder.to_owned(), snapshot, journal }
            }
        }
    }
}

fn replay(journal: &Journal, opened: &Opened, snapshots: &SnapshotStore) -> Result<Replay, ReplayError> {
    let loaded = snapshots.load(&opened.journal_id, snapshot::FORMAT).map_err(ReplayError::Io)?;
    for rejected in &loaded.rejected {
        tracing::warn!(file = %rejected.path.display(), why = %rejected.why, "a snapshot is passed over");
    }
    let end = opened.tail.next_record;
    let (mut fold, mut roster) = (Fold::default(), Roster::default());
    if let Some(found) = loaded.snapshot {
        if found.next_record > end {
            return Err(ReplayError::Beyond { snapshot: found.next_record, journal: end });
        }
        match snapshot::read(&found.contents).filter(|(fold, _)| fold.next_record() == found.next_record) {
            Some((from_fold, from_roster)) => (fold, roster) = (from_fold, from_roster),
            None => tracing::warn!("a snapshot of another version is passed over"),
        }
    }
    let from = fold.next_record();
    let mut damages: Vec<String> =
        opened.damages.iter().filter(|damage| damage.first_record < from).map(ToString::to_string).collect();
    let mut newest = Millis(0);
    // A scan begins with the group that holds the record, so what a damage there covers may lie before it.
    for group in journal.reader().scan(from).map_err(ReplayError::Io)? {
        match group {
            Ok(group) => {
                for record in group.records.iter().filter(|record| record.number >= from) {
                    let read = Record::decode(&record.bytes);
                    newest = read.time;
                    fold.apply(record.number, &read);
                    roster.apply(&read);
                }
            }
            Err(damage) if damage.next_record.is_some_and(|next| next <= from) => damages.push(damage.to_string()),
            Err(damage) => return Err(ReplayError::Damage(damage.to_string())),
        }
    }
    if fold.next_record() != end {
        let what = format!("records up to {} can be read, but there are {end}", fold.next_record());
        return Err(ReplayError::Damage(what));
    }
    Ok(Replay { replayed: end - from, fold, roster, newest, damages })
}

fn open_vault(folder: &Path, fold: &Fold, enclosures: &EnclosureStore) -> Result<Vault, RunError> {
    let io = |error| RunError::Io { path: folder.to_owned(), error };
    let (slots, key) = (folder.join(SLOTS), folder.join(SLOT_KEY));
    crate::journal::create_folder(&slots).map_err(io)?;
    let fresh = fold.slots_used() == 0 && !key.exists() && !slots.join("slots.1").exists();
    let wrapping = if fresh { WrappingKey::create(&key)? } else { WrappingKey::load(&key)? };
    let names = officers::slots_used(folder).map_err(io)?;
    let files = enclosure_slots(&folder.join(ENCLOSURES), enclosures).map_err(io)?;
    let used = fold.slots_used().max(names).max(files);
    let vault = Vault::open(&slots, &wrapping, used)?;
    for repair in vault.take_repairs() {
        tracing::warn!(file = %repair.file.display(), slot = repair.first_slot, count = repair.count, "key slots were repaired from their copy");
    }
    Ok(vault)
}

/// One more than the highest slot under which a file of a message lies: those of own messages stand in no record.
fn enclosure_slots(folder: &Path, enclosures: &EnclosureStore) -> std::io::Result<u64> {
    let mut used = 0;
    for file in std::fs::read_dir(folder)? {
        let name = file?.file_name();
        let Some((entry, rest)) = name.to_str().and_then(|name| name.split_once('.')) else { continue };
        let ordinal = rest.strip_suffix(".part").unwrap_or(rest);
        let (Ok(entry), Ok(ordinal)) = (entry.parse(), ordinal.parse()) else { continue };
        if let Some(slot) = enclosures.slot_of(&entry, ordinal) {
            used = used.max(slot.saturating_add(1));
        }
    }
    Ok(used)
}

/// Whether this is the folder that was written, and whether the sentinel must be written.
fn ask_sentinel(folder: &Path, opened: &Opened, fresh: bool) -> Result<(Option<Doubt>, bool), RunError> {
    let state = Sentinel::check(folder, &opened.journal_id)
        .map_err(|error| RunError::Io { path: PathBuf::from(folder), error })?;
    Ok(match state {
        _ if fresh => (None, true),
        SentinelState::Same => (None, false),
        SentinelState::Moved { what } if what == [Change::Device] => {
            tracing::info!("the disk of the node's folder has another number than before; all else is the same");
            (None, true)
        }
        SentinelState::Moved { what } => {
            tracing::warn!(
                ?what,
                "this folder was copied, restored or moved: the node asks its peers what it has said"
            );
            (Some(Doubt::Sentinel), true)
        }
        SentinelState::Missing => {
            tracing::warn!("the sentinel is missing: the node asks its peers what it has said");
            (Some(Doubt::Sentinel), true)
        }
    })
}
