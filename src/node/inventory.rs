//! All that lies in a node's folder beside the journal's segments and the index, looked over for a verification: read,
//! never written, repaired or made. It knows nothing of connections, and asks an [`Opener`] for what is sealed.

use std::path::{Path, PathBuf};

use super::start::{ENCLOSURES, JOURNAL, SLOT_KEY, SLOTS, SNAPSHOTS, UPLOADS};
use super::{officers, snapshot};
use crate::audit::Opener;
use crate::identity::look_at_identity;
use crate::journal::{
    Change, EndMarkState, RejectedWhy, Sentinel, SentinelState, SlotFiles, SnapshotStore, Witness, WrappingKey,
};

/// How many stretches of damaged key slots are named.
const MAX_SLOT_DAMAGES: usize = 20;

/// What was found beside the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// What is damaged or missing, each with its file.
    pub faults: Vec<String>,
    /// What is worth knowing and no fault.
    pub remarks: Vec<String>,
    /// What remembers how many records were durable.
    pub witnesses: Vec<Witness>,
}

/// What shows that a node has run in this folder, where its journal is not there; `None` in a new folder.
pub fn shows_a_node(folder: &Path) -> Option<PathBuf> {
    let left = [SNAPSHOTS, SLOTS, ENCLOSURES, SLOT_KEY, UPLOADS, "officers", "sentinel", "journal/end"];
    left.iter().map(|name| folder.join(name)).find(|path| path.exists())
}

/// Keys, certificates and introduction; empty where all fit.
pub(super) fn of_identity(folder: &Path) -> Vec<String> {
    look_at_identity(folder).faults
}

impl Inventory {
    /// Looks over a node's own folder: identity, snapshots, sentinel, the names of officers.
    pub fn of(folder: &Path, journal_id: Option<[u8; 16]>, opener: Option<&dyn Opener>) -> Self {
        let identity = look_at_identity(folder);
        let mut found = Self { faults: identity.faults, remarks: identity.remarks, witnesses: Vec::new() };
        if let Some(journal_id) = journal_id {
            found.snapshots(folder, &journal_id);
            found.sentinel(folder, &journal_id);
        }
        if let Some(opener) = opener {
            found.faults.extend(officers::damages(folder, opener));
        }
        found
    }

    /// Looks at the end mark of the journal. Not beside a writer, who changes it.
    pub fn end_mark(&mut self, folder: &Path, journal_id: &[u8; 16]) {
        let path = folder.join(JOURNAL).join(crate::journal::END_MARK);
        let what = match EndMarkState::read(&folder.join(JOURNAL)) {
            EndMarkState::Known(mark) if mark.journal_id == *journal_id => return,
            EndMarkState::Known(_) => "belongs to another journal",
            EndMarkState::Missing => "is missing",
            EndMarkState::Damaged => "is damaged",
        };
        self.faults.push(format!(
            "{}: the end mark {what}: whether the journal was cut off at its end can be told from snapshots and the index \
             only; the next start writes it anew",
            path.display()
        ));
    }

    /// Looks at both copies of every key slot. Not beside a daemon, which makes new ones.
    pub fn slots(&mut self, folder: &Path) {
        let Ok(wrapping) = WrappingKey::load(&folder.join(SLOT_KEY)) else { return };
        let Ok(files) = SlotFiles::open(&folder.join(SLOTS), &wrapping) else { return };
        match files.damages(MAX_SLOT_DAMAGES) {
            Ok(damages) => self.faults.extend(damages.iter().map(ToString::to_string)),
            Err(error) => self.faults.push(format!("{}: {error}", folder.join(SLOTS).display())),
        }
    }

    fn snapshots(&mut self, folder: &Path, journal_id: &[u8; 16]) {
        let folder = folder.join(SNAPSHOTS);
        let looked = match SnapshotStore::at(&folder).look(journal_id, snapshot::FORMAT) {
            Ok(looked) => looked,
            Err(error) => return self.faults.push(format!("{}: {error}", folder.display())),
        };
        for (path, good) in looked {
            let what = format!("the snapshot {}", path.display());
            match good {
                Ok(records) => self.witnesses.push(Witness { records, what }),
                Err(why @ RejectedWhy::Format(_)) => self.remarks.push(format!("{what}: {why}")),
                Err(why) => self
                    .faults
                    .push(format!("{what}: {why}; the next start passes it over and reads more of the journal")),
            }
        }
    }

    fn sentinel(&mut self, folder: &Path, journal_id: &[u8; 16]) {
        let path = folder.join("sentinel");
        let path = path.display();
        match Sentinel::check(folder, journal_id) {
            Ok(SentinelState::Same) => {}
            Ok(SentinelState::Missing) => {
                self.faults.push(format!("{path} is missing: the next start asks the peers what this node has said"));
            }
            Ok(SentinelState::Moved { what }) if what.contains(&Change::Contents) => {
                self.faults.push(format!("{path} is damaged: the next start asks the peers what this node has said"));
            }
            Ok(SentinelState::Moved { what }) if what == [Change::Journal] => {
                self.faults.push(format!("{path} belongs to another journal: this folder was put together from two"));
            }
            Ok(SentinelState::Moved { .. }) => {
                self.remarks
                    .push(format!("{path}: this folder was copied, restored or moved since the node last ran in it"));
            }
            Err(error) => self.faults.push(format!("{path}: {error}")),
        }
    }
}
