//! Officers: in the journal they are numbers, and nothing of them leaves the node. Which user of the machine a number
//! stands for is journalled once; the name lies beside the journal, sealed under a slot of its own, so that it can be
//! erased like any body.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::Mutex;

use super::files;
use super::order::{Node, Stopped};
use super::roster::{OFFICER_SUBJECT, officer_note};
use crate::api::Caller;
use crate::audit::{Opener, Unsealed};
use crate::exchange::Command;
use crate::journal::{SlotError, Vault};

/// The folder of sealed names inside the node's folder.
const FOLDER: &str = "officers";

/// Bytes of a name that are kept.
const MAX_NAME_BYTES: usize = 256;

/// Bytes of a file with a sealed name: its slot's number, the name, and what sealing adds.
const MAX_FILE_BYTES: u64 = 1_024;

/// Bytes of the system's list of users that are read.
const MAX_USERS_BYTES: usize = 4 << 20;

/// Gives officers their numbers, one at a time.
#[derive(Debug, Default)]
pub(super) struct Officers {
    giving: Mutex<()>,
}

impl Officers {
    /// The number of the person who speaks; a new one is journalled before it is used.
    pub(super) async fn number(&self, node: &Node, caller: Caller) -> Result<u32, Stopped> {
        if let Some(known) = node.with_roster(|roster| roster.officer(caller.uid)) {
            return Ok(known);
        }
        let _giving = self.giving.lock().await;
        if let Some(known) = node.with_roster(|roster| roster.officer(caller.uid)) {
            return Ok(known);
        }
        let number = node.with_roster(super::roster::Roster::free_officer);
        if let Some(name) = user_name(caller.uid)
            && let Err(error) = write_name(&node.folder, &node.vault, number, &name)
        {
            tracing::warn!(number, %error, "the name of an officer was not kept; the number stands for the user id");
        }
        let text = officer_note(number, caller.uid);
        node.command(Command::Note { subject: OFFICER_SUBJECT.into(), peer: None, text, officer: 0 }).await?;
        Ok(number)
    }
}

fn path_of(folder: &Path, number: u32) -> PathBuf {
    folder.join(FOLDER).join(number.to_string())
}

fn write_name(folder: &Path, vault: &Vault, number: u32, name: &str) -> io::Result<()> {
    let sealed = vault.seal(&[0; 32], name.as_bytes()).map_err(|error| io::Error::other(error.to_string()))?;
    crate::journal::create_folder(&folder.join(FOLDER))?;
    let bytes = [&sealed.slot.to_be_bytes()[..], &sealed.bytes].concat();
    files::replace(&path_of(folder, number), &bytes)
}

/// The name of an officer by the number that the journal has; `None` where there is none, or where it was erased.
pub fn officer_name(folder: &Path, vault: &Vault, number: u32) -> Option<String> {
    let bytes = files::read_limited(&path_of(folder, number), MAX_FILE_BYTES).ok()?;
    let (slot, sealed) = bytes.split_first_chunk()?;
    match vault.open_sealed(u64::from_be_bytes(*slot), sealed) {
        Ok((_, name)) => String::from_utf8(name.to_vec()).ok(),
        Err(SlotError::Destroyed(_)) => None,
        Err(error) => {
            tracing::warn!(number, %error, "the name of an officer cannot be read");
            None
        }
    }
}

/// One more than the highest slot under `limit` under which a name lies; 0 where there is none.
pub(super) fn slots_used(folder: &Path, limit: u64) -> io::Result<u64> {
    let listed = match fs::read_dir(folder.join(FOLDER)) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut used = 0;
    for file in listed {
        let path = file?.path();
        let Ok(bytes) = files::read_limited(&path, MAX_FILE_BYTES) else {
            tracing::warn!(file = %path.display(), "the name of an officer cannot be read");
            continue;
        };
        match bytes.first_chunk().map(|slot| u64::from_be_bytes(*slot)) {
            Some(slot) if slot < limit => used = used.max(slot + 1),
            _ => tracing::warn!(file = %path.display(), "the name of an officer is damaged"),
        }
    }
    Ok(used)
}

/// Reads the name of every officer and says which cannot be opened any more.
pub(super) fn damages(folder: &Path, opener: &dyn Opener) -> Vec<String> {
    let mut found = Vec::new();
    for file in fs::read_dir(folder.join(FOLDER)).into_iter().flatten().flatten() {
        let path = file.path();
        let read = files::read_limited(&path, MAX_FILE_BYTES);
        let opened = match read.as_ref().map(|bytes| bytes.split_first_chunk()) {
            Ok(Some((slot, sealed))) => opener.open(u64::from_be_bytes(*slot), sealed),
            Ok(None) => Unsealed::Damaged("it is too short".to_owned()),
            Err(error) => Unsealed::Damaged(error.to_string()),
        };
        if let Unsealed::Damaged(why) = opened {
            found.push(format!("{}: the name of an officer cannot be read: {why}", path.display()));
        }
    }
    found.sort();
    found
}

/// The login name of a user as the machine's own list has it.
fn user_name(uid: u32) -> Option<String> {
    let list = fs::read("/etc/passwd").ok().filter(|list| list.len() <= MAX_USERS_BYTES)?;
    name_in(&String::from_utf8_lossy(&list), uid)
}

fn name_in(list: &str, uid: u32) -> Option<String> {
    let line = list.lines().find(|line| line.split(':').nth(2).and_then(|field| field.parse().ok()) == Some(uid))?;
    let name = line.split(':').next().filter(|name| !name.is_empty())?;
    Some(name.chars().take(MAX_NAME_BYTES / 4).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::WrappingKey;

    #[test]
    fn a_name_lies_sealed_beside_the_journal_and_is_gone_with_its_slot() {
        let folder = tempfile::tempdir().unwrap();
        let key = WrappingKey::create(&folder.path().join("slots.key")).unwrap();
        let vault = Vault::open(folder.path(), &key, 0).unwrap();
        assert_eq!(slots_used(folder.path(), 1).unwrap(), 0);
        write_name(folder.path(), &vault, 3, "duty").unwrap();
        let file = fs::read(path_of(folder.path(), 3)).unwrap();
        assert!(!file.windows(4).any(|part| part == b"duty"));
        assert_eq!(officer_name(folder.path(), &vault, 3).as_deref(), Some("duty"));
        assert_eq!(officer_name(folder.path(), &vault, 4), None);
        let slot = slots_used(folder.path(), u64::MAX).unwrap() - 1;
        assert_eq!(slots_used(folder.path(), slot).unwrap(), 0, "a number beyond all slots is damage");
        vault.destroy(&[slot]).unwrap();
        assert_eq!(officer_name(folder.path(), &vault, 3), None);
    }

    #[test]
    fn a_user_is_found_by_number_and_broken_lines_are_passed_over() {
        let list = "root:x:0:0::/root:/bin/sh\nbroken\n::7\nduty:x:1000:1000:Duty Officer:/home/duty:/bin/sh\n";
        assert_eq!(name_in(list, 1000).as_deref(), Some("duty"));
        assert_eq!(name_in(list, 0).as_deref(), Some("root"));
        assert_eq!(name_in(list, 7), None);
        assert_eq!(name_in(list, 8), None);
    }
}
