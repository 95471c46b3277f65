//! An end of the journal that was durable once and is gone: the start is refused until the file is put back, or until a
//! person decides to go on without it. Then the decision is recorded, and the node is in doubt about its own memory.

use std::path::{Path, PathBuf};

use super::clock::Clock;
use super::roster::Roster;
use super::run::RunError;
use super::start::{SNAPSHOTS, STORE};
use crate::exchange::{Act, Fold, Record};
use crate::journal::{Change, Damage, Fault, Journal, Look, Sentinel, SentinelState, SnapshotStore};
use crate::store::Store;

/// The subject of the record that tells of a loss.
pub(super) const LOSS_SUBJECT: &str = "journal-loss";

/// Refuses a lost end that nobody has accepted.
pub(super) fn judge(folder: &Path, lost: &[String], accepted: bool) -> Result<(), RunError> {
    match lost.first() {
        Some(what) if !accepted => Err(RunError::EndLost { folder: folder.to_owned(), what: what.clone() }),
        _ => Ok(()),
    }
}

/// Whether this folder is a copy that was taken while the node ran: then what says how far the journal was may have been
/// copied after the journal itself. What a copy lacks at its end is no damage; a group that was written whole and does
/// not hold is, in a copy as well.
pub(super) fn is_of_a_copy(folder: &Path, looked: &Look) -> bool {
    let lost = |damage: &Damage| matches!(damage.fault, Fault::EndLost(_));
    let whole = looked.torn.as_ref().is_some_and(|torn| torn.whole);
    if whole || !looked.lost.iter().all(lost) {
        return false;
    }
    let another_file = |what: &Change| matches!(what, Change::Inode | Change::BirthTime);
    let alien = |what: &Change| matches!(what, Change::Contents | Change::Journal);
    match Sentinel::check(folder, &looked.journal_id) {
        Ok(SentinelState::Moved { what }) => what.iter().any(another_file) && !what.iter().any(alien),
        Ok(SentinelState::Same | SentinelState::Missing) | Err(_) => false,
    }
}

/// Sets aside what was made from the lost records. The sentinel goes first: should the process end in between, the next
/// start is in doubt all the same.
pub(super) fn set_aside(folder: &Path, snapshots: &[PathBuf]) -> Result<(), RunError> {
    let failed = |error| RunError::Io { path: folder.to_owned(), error };
    match Sentinel::remove(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let store = SnapshotStore::at(&folder.join(SNAPSHOTS));
    snapshots.iter().try_for_each(|path| store.set_aside(path)).map_err(failed)?;
    Store::set_aside(&folder.join(STORE))?;
    Ok(())
}

/// Records what was lost and who decided to go on.
pub(super) fn record(
    journal: &Journal,
    lost: &[String],
    by_a_person: bool,
    fold: &mut Fold,
    roster: &mut Roster,
) -> Result<(), RunError> {
    let lost = lost.join("; ");
    let text = if by_a_person {
        format!("accepted by the user {} of this machine: {lost}", rustix::process::getuid().as_raw())
    } else {
        format!("this folder is a copy that was taken while the node ran, and its end is not in it: {lost}")
    };
    tracing::warn!("{text}");
    let act = Act::Noted { subject: LOSS_SUBJECT.to_owned(), peer: None, text, officer: 0 };
    let record = Record { time: Clock.now(), act };
    let durable =
        journal.append_and_wait(vec![record.encode()]).map_err(|error| RunError::Journal(error.to_string()))?;
    fold.apply(durable.first_record(), &record);
    roster.apply(&record);
    Ok(())
}
