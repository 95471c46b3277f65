//! The commands that read a node's folder without its daemon: an auditor has the files and nothing else.
//!
//! The journal's files are only read. Texts and enclosures are opened where the keys lie in the folder and no daemon
//! holds it; without keys everything else is verified, and it is said that texts were not opened.

use std::fs;
use std::path::{Path, PathBuf};

use crate::api::{Failure, VerifyView, code};
use crate::audit::{FileFound, FileName, Opener, Unsealed, VerifyOptions, verify};
use crate::cli::out::own;
use crate::identity::Introduction;
use crate::journal::{EnclosureError, EnclosureStore, FolderLock, LockError, Reader, SlotError, Vault, WrappingKey};
use crate::node::verify_view;
use crate::note::PublicKeys;
use crate::store::{Index, Store};

// The names that the daemon gives to what lies in its folder.
const JOURNAL: &str = "journal";
const ENCLOSURES: &str = "enclosures";
const SLOTS: &str = "slots";
const SLOT_KEY: &str = "keys/slots.key";
const STORE: &str = "store";
const INTRODUCTION: &str = "introduction.txt";

/// A folder without its daemon.
pub(super) struct Offline {
    folder: PathBuf,
    /// Held where this user may write: no daemon starts meanwhile.
    lock: Option<FolderLock>,
    keys: Option<Keys>,
    /// Why texts are not opened.
    closed: Option<String>,
}

fn own_trouble(doing: &str, why: impl std::fmt::Display, todo: &str) -> Failure {
    Failure::new(own::OWN, doing, why.to_string(), todo)
}

impl Offline {
    /// Opens a folder in which no daemon runs; with `with_keys` also what is encrypted in it.
    ///
    /// # Errors
    /// There is no journal, or a process holds the folder.
    pub fn open(folder: &Path, with_keys: bool) -> Result<Self, Failure> {
        let doing = "reading the node's folder";
        Self::journal_in(folder)?;
        let lock = match FolderLock::acquire(folder) {
            Ok(lock) => Some(lock),
            Err(error @ LockError::Held { .. }) => {
                let why = format!("{error}, whose daemon does not answer");
                return Err(Failure::new(code::BUSY, doing, why, "Wait until it has started, or look at its log."));
            }
            // A copy on a medium that cannot be written: nobody else writes there either.
            Err(LockError::Io { .. }) => None,
        };
        let (keys, closed) = match (with_keys, &lock) {
            (false, _) => (None, None),
            (true, None) => {
                (None, Some("texts and enclosures were not opened: the folder cannot be locked".to_owned()))
            }
            (true, Some(_)) => match Keys::open(folder) {
                Ok(keys) => (Some(keys), None),
                Err(why) => (None, Some(format!("texts and enclosures were not opened: {why}"))),
            },
        };
        Ok(Self { folder: folder.to_owned(), lock, keys, closed })
    }

    /// Opens a folder together with its texts, for which its daemon must be stopped.
    ///
    /// # Errors
    /// As [`Offline::open`].
    pub fn open_texts(folder: &Path) -> Result<Self, Failure> {
        Self::open(folder, true).map_err(|failure| match failure.code == code::BUSY {
            true => {
                let why = "the daemon of this node runs, and texts are opened only while it is stopped";
                let todo = "Leave out --texts: everything else is told while it runs. Or stop it first; `verbale show` \
                            opens single messages meanwhile.";
                Failure::new(code::BUSY, "replaying the journal with its texts", why, todo)
            }
            false => failure,
        })
    }

    /// The folder of the journal in a node's folder.
    ///
    /// # Errors
    /// There is none.
    pub fn journal_in(folder: &Path) -> Result<PathBuf, Failure> {
        let journal = folder.join(JOURNAL);
        if journal.is_dir() {
            return Ok(journal);
        }
        let why = format!("{} holds no journal", folder.display());
        Err(own_trouble("reading the node's folder", why, "Was the node ever started? Is this its folder (--dir)?"))
    }

    /// The folder of the journal.
    pub fn journal(&self) -> PathBuf {
        self.folder.join(JOURNAL)
    }

    /// What opens sealed texts.
    pub fn opener(&self) -> Option<&dyn Opener> {
        self.keys.as_ref().map(|keys| keys as &dyn Opener)
    }

    /// Verifies everything that can be without the daemon.
    ///
    /// # Errors
    /// The folder cannot be read. What does not hold is in the view.
    pub fn verify(&self, progress: &mut dyn FnMut(u64)) -> Result<VerifyView, Failure> {
        let doing = "verifying the journal";
        let own_keys = own_keys(&self.folder);
        let options = VerifyOptions { opener: self.opener(), progress: Some(progress), own_keys, ..Default::default() };
        let report = verify(&self.journal(), options).map_err(|error| own_trouble(doing, error, ""))?;
        let mut view = verify_view(report);
        view.remarks.extend(self.closed.clone());
        self.verify_store(&mut view);
        view.good = view.faults.is_empty();
        Ok(view)
    }

    /// Holds sled against the journal. It needs the lock, because sled writes when it is opened.
    fn verify_store(&self, view: &mut VerifyView) {
        if self.lock.is_none() || !self.folder.join(STORE).is_dir() {
            return;
        }
        let reader = Reader::open(&self.journal());
        let checked = Store::open(&self.folder.join(STORE), &reader).and_then(|(store, report)| match report.rebuild {
            Some(rebuild) => {
                Ok((None, vec![format!("{}; it was put aside, and the next start builds it anew", rebuild.reason)]))
            }
            None => store.verify_against(&reader).map(|(checked, faults)| (Some(checked.rows()), faults)),
        });
        match checked {
            Ok((rows, faults)) => {
                view.rows = rows;
                view.faults.extend(faults.into_iter().map(|fault| format!("index: {fault}")));
            }
            Err(error) => view.faults.push(format!("index: {error}")),
        }
    }

    /// Throws sled away and fills it again from the journal.
    ///
    /// # Errors
    /// The folder cannot be locked or written.
    pub fn rebuild(&self) -> Result<(), Failure> {
        let doing = "rebuilding what is looked up";
        if self.lock.is_none() {
            return Err(own_trouble(doing, "this folder cannot be written", "Run it as the daemon's user."));
        }
        let failed = |error: &dyn std::fmt::Display| own_trouble(doing, error, "");
        let reader = Reader::open(&self.journal());
        let mut scan = reader.scan(0).map_err(|error| failed(&error))?;
        scan.by_ref().for_each(drop);
        let records = scan.next_record();
        let (store, opened) = Store::open(&self.folder.join(STORE), &reader).map_err(|error| failed(&error))?;
        if opened.rebuild.is_none() {
            store.begin_anew("a person asked for it".to_owned()).map_err(|error| failed(&error))?;
        }
        let index = Index::start(store, reader, records).map_err(|error| failed(&error))?;
        match records.checked_sub(1) {
            Some(last) => index.wait_until(last).map_err(|error| failed(&error)),
            None => Ok(()),
        }
    }
}

/// The key slots and the enclosures of a folder.
struct Keys {
    vault: Vault,
    enclosures: EnclosureStore,
}

impl Keys {
    fn open(folder: &Path) -> Result<Self, String> {
        let key = folder.join(SLOT_KEY);
        fs::metadata(&key).map_err(|error| format!("{}: {error}", key.display()))?;
        let wrapping = WrappingKey::load(&key).map_err(|error| error.to_string())?;
        // Nothing is sealed here: of the slots that were used it is enough that there is one.
        let vault = Vault::open(&folder.join(SLOTS), &wrapping, 1).map_err(|error| error.to_string())?;
        let enclosures = EnclosureStore::open(&folder.join(ENCLOSURES)).map_err(|error| error.to_string())?;
        Ok(Self { vault, enclosures })
    }
}

impl Opener for Keys {
    fn open(&self, slot: u64, sealed: &[u8]) -> Unsealed {
        match self.vault.open_sealed(slot, sealed) {
            Ok((salt, body)) => Unsealed::Body { salt, body: body.to_vec() },
            Err(SlotError::Destroyed(_)) => Unsealed::Erased,
            Err(error) => Unsealed::Damaged(error.to_string()),
        }
    }

    fn file(&self, name: &FileName) -> FileFound {
        let Some(slot) = self.enclosures.slot_of(&name.entry, name.ordinal).or(name.slot) else {
            return FileFound::Missing("it is not in the folder".to_owned());
        };
        let key = match self.vault.key(slot) {
            Ok(key) => key,
            Err(SlotError::Destroyed(_)) => return FileFound::Erased,
            Err(error) => return FileFound::Missing(error.to_string()),
        };
        let read = self.enclosures.read(&name.entry, name.ordinal, &key).and_then(|mut file| file.verify());
        match read {
            Ok(found) => FileFound::Present { size: found.size, sha256: found.sha256 },
            Err(EnclosureError::Absent(_)) => FileFound::Missing("it is not in the folder".to_owned()),
            Err(error) => FileFound::Missing(error.to_string()),
        }
    }
}

/// The keys that this State's introduction lists for its nodes; without them the own receipts are not judged, and the
/// report says so.
fn own_keys(folder: &Path) -> Vec<PublicKeys> {
    let text = fs::read_to_string(folder.join(INTRODUCTION)).ok();
    let introduction = text.and_then(|text| Introduction::parse(&text).ok());
    let signing = introduction.iter().flat_map(|introduction| introduction.nodes()).flat_map(|node| &node.signing);
    signing
        .filter_map(|keys| PublicKeys::from_parts(&keys.public.ed25519, keys.public.ml_dsa_44.as_slice()).ok())
        .collect()
}
