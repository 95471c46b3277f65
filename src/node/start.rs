//! From a folder to a state that can be believed: lock, keys, journal, snapshot, replay, slots, sentinel. Nothing is
//! skipped silently and nothing starts empty.
//!
//! First everything is weighed and nothing is changed: a start that is refused leaves the folder as it was, so that a
//! byte that is put back is all it takes. Only then the journal is opened, the slots are levelled, and so on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::desk::UploadFolder;
use super::order::Order;
use super::roster::Roster;
use super::run::RunError;
use super::{inventory, loss, officers, snapshot};
use crate::exchange::{Doubt, Fold, Record};
use crate::identity::NodeKeys;
use crate::journal::{
    Change, Condition, EnclosureStore, EndMarkState, FilesystemKind, FolderLock, Journal, Loaded, Look, OpenError,
    Opened, Options, Reader, RejectedWhy, Sentinel, SentinelState, SlotFiles, SnapshotStore, Vault, VaultError,
    Witness, WrappingKey, filesystem_kind, look,
};
use crate::name::Millis;
use crate::settings::Settings;
use crate::store::{OpenReport, Store, StoreError};

// The folders and files of a node, inside its folder.
pub(super) const JOURNAL: &str = "journal";
pub(super) const SNAPSHOTS: &str = "snapshots";
pub(super) const ENCLOSURES: &str = "enclosures";
pub(super) const UPLOADS: &str = "uploads";
pub(super) const SLOTS: &str = "slots";
pub(super) const SLOT_KEY: &str = "keys/slots.key";
pub(super) const STORE: &str = "store";

/// How many slots that are damaged in both copies are named.
const MAX_SLOTS_NAMED: usize = 20;

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
    /// What was found damaged and did not keep the node from starting, in words.
    pub(super) damages: Vec<String>,
    /// What is looked up, and what was found when it was opened.
    pub(super) store: (Store, OpenReport),
}

/// Reads everything. Blocks; runs before anything is served.
///
/// # Errors
/// See [`RunError`].
pub(super) fn read(
    folder: &Path,
    settings: &Settings,
    orders: &UnboundedSender<Order>,
    accept_loss: bool,
) -> Result<Ground, RunError> {
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
    let weighed = weigh(folder, settings, accept_loss)?;
    // From here on the folder is changed.
    if !weighed.lost.is_empty() {
        loss::set_aside(folder, &weighed.beyond)?;
    }
    let (journal, opened) = open_journal(folder, settings, orders, &weighed)?;
    let Weighed { replay, store, slots, lost, .. } = weighed;
    let Replay { mut fold, mut roster, mut replayed, newest, mut damages } = replay;
    if opened.tail.next_record != fold.next_record() {
        let what = format!("{} records can be read, but there are {}", fold.next_record(), opened.tail.next_record);
        return Err(RunError::Damaged { folder: folder.to_owned(), what });
    }
    damages.iter().for_each(|damage| tracing::warn!("damage in the journal: {damage}"));
    damages.extend(told(&opened));
    damages.extend(inventory::of_identity(folder).into_iter().inspect(|fault| tracing::warn!("{fault}")));
    let snapshots = SnapshotStore::open(&folder.join(SNAPSHOTS)).map_err(at(&folder.join(SNAPSHOTS)))?;
    let enclosures = EnclosureStore::open(&folder.join(ENCLOSURES)).map_err(at(&folder.join(ENCLOSURES)))?;
    let vault = open_vault(folder, &fold, &slots, &mut damages)?;
    let uploads = UploadFolder::open(&folder.join(UPLOADS)).map_err(at(&folder.join(UPLOADS)))?;
    let (mut doubt, sentinel_due) = ask_sentinel(folder, &opened, fold.next_record() == 0)?;
    if !lost.is_empty() {
        loss::record(&journal, &lost, accept_loss, &mut fold, &mut roster)?;
        (doubt, replayed) = (Some(Doubt::Restored), replayed + 1);
    }
    let store = match store {
        Some(store) => store,
        None => Store::open(&folder.join(STORE), &journal.reader())?,
    };
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
        store,
    })
}

/// What can be known before anything is changed.
struct Weighed {
    /// A node has run here.
    begun: bool,
    replay: Replay,
    /// What was durable once and is gone from the end of the journal, where a person has accepted that.
    lost: Vec<String>,
    /// Snapshots of records that are lost.
    beyond: Vec<PathBuf>,
    slots: Slots,
    /// Opened last, because sled writes when it is opened; `None` where it is to begin anew.
    store: Option<(Store, OpenReport)>,
}

/// The key slots as they are found.
enum Slots {
    /// No slot was ever used.
    Fresh,
    /// The key, and how many slots are used.
    Used(WrappingKey, u64),
}

/// Looks at everything on which the start depends and refuses what cannot be believed. But for sled's own files nothing
/// is changed.
fn weigh(folder: &Path, settings: &Settings, accept_loss: bool) -> Result<Weighed, RunError> {
    let path = folder.join(JOURNAL);
    let looked = match look(&path) {
        Ok(looked) => looked,
        Err(OpenError::NoJournal(_)) => return not_begun(folder),
        Err(OpenError::EndDamaged(damage)) => {
            return Err(RunError::Damaged { folder: folder.to_owned(), what: damage.to_string() });
        }
        Err(error) => return Err(error.into()),
    };
    let mut accepted = accept_loss || loss::is_of_a_copy(folder, &looked);
    let (mut lost, mut beyond): (Vec<String>, Vec<PathBuf>) = Default::default();
    lost.extend(looked.lost.iter().map(ToString::to_string));
    let snapshots = SnapshotStore::at(&folder.join(SNAPSHOTS));
    let io = |error| RunError::Io { path: folder.join(SNAPSHOTS), error };
    let loaded = snapshots.load_within(&looked.journal_id, snapshot::FORMAT, looked.next_record).map_err(io)?;
    for rejected in &loaded.rejected {
        let RejectedWhy::Beyond(records) = rejected.why else { continue };
        // A snapshot is made seldom, and long after what it knows: that one is newer is not explained by a copy.
        accepted = accept_loss;
        let witness = Witness { records, what: format!("the snapshot {}", rejected.path.display()) };
        // One witness is enough to refuse; each further one would only say the same.
        if lost.is_empty() {
            lost.extend(looked.lost_end(&witness).map(|damage| damage.to_string()));
        }
        beyond.push(rejected.path.clone());
    }
    loss::judge(folder, &lost, accepted)?;
    let reader = Reader::open(&path);
    let replay = replay(&reader, &looked, loaded).map_err(|error| error.in_folder(folder))?;
    if let Some(name) = replay.fold.me.filter(|name| *name != settings.node) {
        return Err(RunError::OtherNode { configured: settings.node, keys: name });
    }
    let slots = weigh_slots(folder, &replay.fold)?;
    let store = match Store::open(&folder.join(STORE), &reader) {
        _ if !lost.is_empty() => None,
        Ok(store) => Some(store),
        Err(StoreError::Beyond(records)) => {
            let witness = Witness { records, what: "the index".to_owned() };
            lost.extend(looked.lost_end(&witness).map(|damage| damage.to_string()));
            loss::judge(folder, &lost, accepted)?;
            None
        }
        Err(error) => return Err(error.into()),
    };
    if accept_loss && lost.is_empty() {
        return Err(RunError::NothingLost { folder: folder.to_owned() });
    }
    Ok(Weighed { begun: true, replay, lost, beyond, slots, store })
}

/// A folder without a journal is a new one, or one from which the journal was taken.
fn not_begun(folder: &Path) -> Result<Weighed, RunError> {
    if let Some(left) = inventory::shows_a_node(folder) {
        return Err(RunError::NoJournal { journal: folder.join(JOURNAL), left });
    }
    let replay = Replay {
        fold: Fold::default(),
        roster: Roster::default(),
        replayed: 0,
        newest: Millis(0),
        damages: Vec::new(),
    };
    let slots = weigh_slots(folder, &replay.fold)?;
    Ok(Weighed { begun: false, replay, lost: Vec::new(), beyond: Vec::new(), slots, store: None })
}

/// Damage that did not keep the journal from being opened; said in the log, and returned where people are to be told.
fn told(opened: &Opened) -> Option<String> {
    if opened.rewritten_group.is_some() {
        let mark = opened.mark.known().filter(|mark| mark.journal_id == opened.journal_id);
        if mark.is_none() {
            let was = if opened.mark == EndMarkState::Missing { "missing" } else { "damaged" };
            tracing::warn!("the end mark of the journal was {was}; it was written anew");
        }
    }
    for lost in &opened.lost {
        tracing::error!(%lost, "the end of the journal is lost; a person has decided to go on without it");
    }
    match opened.torn.as_ref().filter(|_| opened.lost.is_empty()) {
        Some(torn) if torn.whole => {
            tracing::warn!("{torn}");
            Some(torn.to_string())
        }
        Some(torn) => {
            let file = torn.file.display();
            tracing::info!(%file, bytes = torn.length, "a last write that was never durable is dropped");
            None
        }
        None => None,
    }
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
    weighed: &Weighed,
) -> Result<(Journal, Opened), RunError> {
    let orders = orders.clone();
    let on_condition = move |condition: Condition| {
        let _ = orders.send(Order::Journal(condition));
    };
    let options = Options {
        create: !weighed.begun,
        segment_bytes: settings.journal.segment_size,
        accept_loss: !weighed.lost.is_empty(),
        on_condition: Arc::new(on_condition),
        ..Options::default()
    };
    Ok(Journal::open(&folder.join(JOURNAL), options)?)
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
}

impl ReplayError {
    fn in_folder(self, folder: &Path) -> RunError {
        match self {
            Self::Damage(what) => RunError::Damaged { folder: folder.to_owned(), what },
            Self::Io(error) => RunError::Io { path: folder.to_owned(), error },
        }
    }
}

fn replay(journal: &Reader, looked: &Look, loaded: Loaded) -> Result<Replay, ReplayError> {
    for rejected in &loaded.rejected {
        tracing::warn!(file = %rejected.path.display(), why = %rejected.why, "a snapshot is passed over");
    }
    let end = looked.next_record;
    let (mut fold, mut roster) = (Fold::default(), Roster::default());
    if let Some(found) = loaded.snapshot {
        match snapshot::read(&found.contents).filter(|(fold, _)| fold.next_record() == found.next_record) {
            Some((from_fold, from_roster)) => (fold, roster) = (from_fold, from_roster),
            None => tracing::warn!("a snapshot of another version is passed over"),
        }
    }
    let from = fold.next_record();
    let mut damages: Vec<String> =
        looked.damages.iter().filter(|damage| damage.first_record < from).map(ToString::to_string).collect();
    let mut newest = Millis(0);
    // A scan begins with the group that holds the record, so what a damage there covers may lie before it.
    for group in journal.scan(from).map_err(ReplayError::Io)? {
        match group {
            Ok(group) => {
                for record in group.records.iter().filter(|record| record.number >= from) {
                    let read = Record::decode(&record.bytes);
                    newest = read.time;
                    fold.apply(record.number, &read);
                    roster.apply(&read);
                }
            }
            Err(damage) if damage.next_record.is_some_and(|next| next <= from) => {
                let said = damage.to_string();
                if !damages.contains(&said) {
                    damages.push(said);
                }
            }
            // Behind the end that a person has accepted.
            Err(damage) if damage.first_record >= end && !looked.lost.is_empty() => {}
            Err(damage) => return Err(ReplayError::Damage(damage.to_string())),
        }
    }
    if fold.next_record() != end {
        let what = format!("records up to {} can be read, but there are {end}", fold.next_record());
        return Err(ReplayError::Damage(what));
    }
    Ok(Replay { replayed: end - from, fold, roster, newest, damages })
}

/// Whether the texts can be opened, as far as key and slot files tell.
fn weigh_slots(folder: &Path, fold: &Fold) -> Result<Slots, RunError> {
    let io = |error| RunError::Io { path: folder.to_owned(), error };
    let (slots, key) = (folder.join(SLOTS), folder.join(SLOT_KEY));
    let any = ["slots.1", "slots.2"].iter().any(|name| slots.join(name).exists());
    if fold.slots_used() == 0 && !key.exists() && !any {
        return Ok(Slots::Fresh);
    }
    let wrapping = WrappingKey::load(&key)?;
    let files = match SlotFiles::open(&slots, &wrapping) {
        Ok(files) => Some(files),
        Err(VaultError::Missing { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    // A slot that no file has cannot have been used: its number is damage, and must not make the files grow.
    let limit = files.as_ref().map_or(0, SlotFiles::slots);
    let names = officers::slots_used(folder, limit).map_err(io)?;
    let enclosures = enclosure_slots(&folder.join(ENCLOSURES), limit).map_err(io)?;
    let used = fold.slots_used().max(names).max(enclosures);
    match files {
        None if used > 0 => Err(VaultError::Missing { folder: slots, used }.into()),
        _ => Ok(Slots::Used(wrapping, used)),
    }
}

/// Opens the slot files, makes one copy whole from the other where it must, and says so.
fn open_vault(folder: &Path, fold: &Fold, slots: &Slots, damages: &mut Vec<String>) -> Result<Vault, RunError> {
    let io = |error| RunError::Io { path: folder.to_owned(), error };
    crate::journal::create_folder(&folder.join(SLOTS)).map_err(io)?;
    let (wrapping, used) = match slots {
        Slots::Fresh => (WrappingKey::create(&folder.join(SLOT_KEY))?, fold.slots_used()),
        Slots::Used(wrapping, used) => (wrapping.clone(), *used),
    };
    let vault = Vault::open(&folder.join(SLOTS), &wrapping, used)?;
    let damaged = vault.verify(MAX_SLOTS_NAMED).map_err(VaultError::from)?;
    for repair in vault.take_repairs() {
        tracing::warn!("{repair}");
    }
    // What is damaged in both copies and was never used is passed over when its turn comes.
    for slot in damaged.into_iter().filter(|slot| *slot < used) {
        tracing::error!(slot, "a key slot is damaged in both copies: what was sealed under it cannot be read any more");
        damages.push(format!("key slot {slot} is damaged in both copies: what was sealed under it cannot be read"));
    }
    Ok(vault)
}

/// One more than the highest slot under which a file of a message lies: those of own messages stand in no record.
fn enclosure_slots(folder: &Path, limit: u64) -> std::io::Result<u64> {
    let (enclosures, mut used) = (EnclosureStore::at(folder), 0);
    let listed = match std::fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    for file in listed {
        let name = file?.file_name();
        let Some((entry, rest)) = name.to_str().and_then(|name| name.split_once('.')) else { continue };
        let ordinal = rest.strip_suffix(".part").unwrap_or(rest);
        let (Ok(entry), Ok(ordinal)) = (entry.parse(), ordinal.parse()) else { continue };
        if let Some(slot) = enclosures.slot_of(&entry, ordinal).filter(|slot| *slot < limit) {
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
