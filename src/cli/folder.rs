//! The commands that read a node's folder without its daemon: an auditor has the files and nothing else.
//!
//! A verification only reads: nothing in the folder is written, renamed, made or repaired, so that a second one finds
//! what the first one found. sled writes when it is opened, so a copy of it is looked at. In a node's own folder texts and
//! enclosures must open, and what lies beside the journal must be whole; in an export without keys everything else is
//! verified, and it is said that texts were not opened.

use std::fs;
use std::path::{Path, PathBuf};

use crate::api::{Failure, VerifyView, code};
use crate::audit::{FileFound, FileName, Opener, Unsealed, VerifyOptions, verify};
use crate::cli::out::own;
use crate::identity::Introduction;
use crate::journal::{
    EnclosureError, EnclosureStore, FolderLock, LockError, OpenError, Reader, SlotError, SlotFiles, Witness,
    WrappingKey, look,
};
use crate::node::{Inventory, shows_a_node, verify_view};
use crate::note::PublicKeys;
use crate::store::{Examined, Index, Store, StoreError, examine};

// The names that the daemon gives to what lies in its folder.
const JOURNAL: &str = "journal";
const ENCLOSURES: &str = "enclosures";
const KEYS: &str = "keys";
const SLOTS: &str = "slots";
const SLOT_KEY: &str = "keys/slots.key";
const STORE: &str = "store";
const INTRODUCTION: &str = "introduction.txt";
const CONFIGURATION: &str = "verbale.toml";

/// What a verification of a node's own folder does not look at.
const NOT_COVERED: &str = "not covered: verbale.toml, lock files, the socket, uploads that no message uses, the journal's \
reserve, and what an earlier start set aside";

/// A folder without its daemon.
pub(super) struct Offline {
    folder: PathBuf,
    /// No daemon starts meanwhile.
    _lock: FolderLock,
    keys: Option<Keys>,
    /// Why texts are not opened.
    closed: Option<String>,
}

fn own_trouble(doing: &str, why: impl std::fmt::Display, todo: &str) -> Failure {
    Failure::new(own::OWN, doing, why.to_string(), todo)
}

impl Offline {
    /// Opens a folder in which no daemon runs, for reading; with `with_keys` also what is encrypted in it.
    ///
    /// # Errors
    /// There is no journal and nothing shows that there was one, or a process holds the folder.
    pub fn open(folder: &Path, with_keys: bool) -> Result<Self, Failure> {
        if shows_a_node(folder).is_none() {
            Self::journal_in(folder)?;
        }
        let lock = FolderLock::share(folder).map_err(busy)?;
        let (keys, closed) = match with_keys.then(|| Keys::open(folder)) {
            None => (None, None),
            Some(Ok(keys)) => (Some(keys), None),
            Some(Err(why)) => (None, Some(why)),
        };
        Ok(Self { folder: folder.to_owned(), _lock: lock, keys, closed })
    }

    /// Whether this is the folder of a node, with its keys or with a place for them, and not an export of its record.
    fn is_own(&self) -> bool {
        [KEYS, SLOTS, CONFIGURATION].iter().any(|name| self.folder.join(name).exists())
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

    /// Verifies everything that can be without the daemon. Changes nothing.
    ///
    /// # Errors
    /// The folder cannot be read. What does not hold is in the view.
    pub fn verify(&self, progress: &mut dyn FnMut(u64)) -> Result<VerifyView, Failure> {
        let looked = match look(&self.journal()) {
            Ok(looked) => Some(looked.journal_id),
            Err(OpenError::NoJournal(_)) => return Ok(self.without_journal()),
            Err(_) => None,
        };
        let mut found = if self.is_own() { self.inventory(looked) } else { Inventory::default() };
        let (rows, index) = self.examine_store(&mut found);
        let options = VerifyOptions {
            opener: self.opener(),
            progress: Some(progress),
            own_keys: own_keys(&self.folder),
            witnesses: found.witnesses,
            ..VerifyOptions::default()
        };
        let report = verify(&self.journal(), options);
        let mut view = verify_view(report.map_err(|error| own_trouble("verifying the journal", error, ""))?);
        view.faults.extend(found.faults.into_iter().chain(index));
        view.remarks.extend(found.remarks);
        view.rows = rows;
        view.good = view.faults.is_empty();
        Ok(view)
    }

    /// The journal is gone, and something shows that there was one.
    fn without_journal(&self) -> VerifyView {
        let left =
            shows_a_node(&self.folder).map(|left| format!(", although {} shows that there was one", left.display()));
        let what = format!("the journal is gone: {} holds no segment", self.journal().display());
        let mut view = VerifyView::default();
        view.faults.push(format!("{what}{}; affected: every record", left.unwrap_or_default()));
        if self.is_own() {
            let found = self.inventory(None);
            view.faults.extend(found.faults);
            view.remarks.extend(found.remarks);
        }
        view
    }

    /// What lies beside the journal in a node's own folder.
    fn inventory(&self, journal_id: Option<[u8; 16]>) -> Inventory {
        let mut found = Inventory::of(&self.folder, journal_id, self.opener());
        if let Some(journal_id) = &journal_id {
            found.end_mark(&self.folder, journal_id);
        }
        found.slots(&self.folder);
        found.faults.extend(self.closed.iter().map(|why| {
            format!("no sealed text, enclosure or name can be opened: {why}; affected: all of them. Put it back from a backup")
        }));
        found.remarks.push(NOT_COVERED.to_owned());
        found
    }

    /// Holds a copy of sled against the journal. Gives the rows that were compared, and what differs.
    fn examine_store(&self, found: &mut Inventory) -> (Option<u64>, Vec<String>) {
        let reader = Reader::open(&self.journal());
        match examine(&self.folder.join(STORE), &std::env::temp_dir(), &reader) {
            Ok(Examined::Compared(checked, faults)) => {
                (Some(checked.rows()), faults.into_iter().map(|fault| format!("index: {fault}")).collect())
            }
            Ok(Examined::Beyond(records)) => {
                found.witnesses.push(Witness { records, what: "the index".to_owned() });
                (None, Vec::new())
            }
            Ok(Examined::Unusable(why)) => {
                (None, vec![format!("index: {why}; the next start builds it anew from the journal")])
            }
            Err(why) => {
                found.remarks.push(format!("the index was not checked: {why}"));
                (None, Vec::new())
            }
        }
    }

    /// Throws sled away and fills it again from the journal. Takes the folder for itself.
    ///
    /// # Errors
    /// The folder cannot be locked or written; the index knows of records that the journal has lost.
    pub fn rebuild(folder: &Path) -> Result<(), Failure> {
        let doing = "rebuilding what is looked up";
        let journal = Self::journal_in(folder)?;
        let _lock = FolderLock::acquire(folder).map_err(busy)?;
        let failed = |error: &dyn std::fmt::Display| own_trouble(doing, error, "");
        let reader = Reader::open(&journal);
        let mut scan = reader.scan(0).map_err(|error| failed(&error))?;
        scan.by_ref().for_each(drop);
        let records = scan.next_record();
        let (store, opened) = match Store::open(&folder.join(STORE), &reader) {
            Ok(opened) => opened,
            Err(error @ StoreError::Beyond(_)) => {
                let todo =
                    "Run `verbale log verify`; it names the place. The index is kept, because it proves the loss.";
                return Err(own_trouble(doing, error, todo));
            }
            Err(error) => return Err(failed(&error)),
        };
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

fn busy(error: LockError) -> Failure {
    let doing = "reading the node's folder";
    match error {
        LockError::Held { .. } => {
            let why = format!("{error}, which does not answer on its socket");
            Failure::new(code::BUSY, doing, why, "Wait until it has started, or look at its log.")
        }
        LockError::Io { .. } => own_trouble(doing, error, "Run it as the daemon's user."),
    }
}

/// The key slots and the enclosures of a folder.
struct Keys {
    vault: SlotFiles,
    enclosures: EnclosureStore,
}

impl Keys {
    fn open(folder: &Path) -> Result<Self, String> {
        let wrapping = WrappingKey::load(&folder.join(SLOT_KEY)).map_err(|error| error.to_string())?;
        let vault = SlotFiles::open(&folder.join(SLOTS), &wrapping).map_err(|error| error.to_string())?;
        Ok(Self { vault, enclosures: EnclosureStore::at(&folder.join(ENCLOSURES)) })
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
            return FileFound::Missing(self.enclosures.why_no_slot(&name.entry, name.ordinal));
        };
        let key = match self.vault.key(slot) {
            Ok(key) => key,
            Err(SlotError::Destroyed(_)) => return FileFound::Erased,
            Err(error) => return FileFound::Missing(error.to_string()),
        };
        let read = self.enclosures.read(&name.entry, name.ordinal, &key).and_then(|mut file| file.verify());
        match read {
            Ok(found) => FileFound::Present { size: found.size, sha256: found.sha256 },
            Err(error @ EnclosureError::Io { .. }) => FileFound::Missing(error.to_string()),
            Err(EnclosureError::Absent(_)) => {
                FileFound::Missing(self.enclosures.why_no_slot(&name.entry, name.ordinal))
            }
            Err(error) => FileFound::Missing(format!("{}.{}: {error}", name.entry, name.ordinal)),
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
