//! Files on their way into the node and out of it. A file that a person hands over is encrypted from its first byte and
//! lies in a folder of its own until a message takes it. What no message took goes after a while, with the command that
//! was refused, and at the next start.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::enclosures::lost;
use super::super::files;
use super::super::order::Node;
use super::blocking;
use crate::api::{EnclosureToken, Failure, Upload, code};
use crate::journal::{EnclosureError, EnclosureReader, EnclosureStore, EnclosureWriter, Finished};
use crate::name::{EntryId, Hash};
use crate::wire::Enclosure;

/// Files that may wait for their message: several times the most that one message takes.
pub const MAX_UPLOADS: usize = 256;

/// How long a file waits for its message: a command that uploads sends at once, and a slow one uploads again.
pub const UPLOAD_WAITS: Duration = Duration::from_secs(900);

/// Bytes of an enclosure that are read at a time.
const PART_BYTES: usize = 1 << 20;

const DOING: &str = "taking in a file";

/// The files that wait for their message.
#[derive(Clone)]
pub struct Uploads {
    store: EnclosureStore,
    waiting: Arc<Mutex<HashMap<String, Waiting>>>,
}

#[derive(Clone)]
struct Waiting {
    upload: EntryId,
    file: Enclosure,
    since: Instant,
}

impl Uploads {
    /// Opens the folder and removes what an earlier run has left there.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(folder: &Path) -> std::io::Result<Self> {
        files::empty(folder)?;
        Ok(Self { store: EnclosureStore::open(folder)?, waiting: Arc::default() })
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<String, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn begin(
        &self,
        node: &Arc<Node>,
        name: String,
        media_type: String,
        limit: u64,
    ) -> Result<Incoming, Failure> {
        let stale = self.stale(Instant::now());
        if !stale.is_empty() {
            let (uploads, node) = (self.clone(), node.clone());
            blocking(DOING, move || stale.iter().for_each(|waiting| uploads.remove(&node, waiting))).await?;
        }
        if self.waiting().len() >= MAX_UPLOADS {
            let why = format!("{MAX_UPLOADS} files wait for their message already");
            let todo =
                "send the messages that they belong to; a file without one is forgotten after a quarter of an hour";
            return Err(Failure::new(code::BUSY, DOING, why, todo));
        }
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| Failure::new(code::INTERNAL, DOING, "the system gives no random bytes", ""))?;
        let (upload, vault, store) = (EntryId(random), node.vault.clone(), self.store.clone());
        let made = blocking(DOING, move || {
            let key = vault.take_key().map_err(|error| Failure::new(code::DISK_FULL, DOING, error.to_string(), ""))?;
            store.create(&upload, 0, &key, limit).map_err(|error| failed(&error))
        });
        let writer = Some(made.await??);
        Ok(Incoming { uploads: self.clone(), node: node.clone(), upload, name, media_type, writer, whole: false })
    }

    /// Takes out what has waited too long.
    fn stale(&self, now: Instant) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        let stale = |waiting: &Waiting| now.duration_since(waiting.since) > UPLOAD_WAITS;
        let tokens: Vec<String> =
            waiting.iter().filter(|(_, waiting)| stale(waiting)).map(|(token, _)| token.clone()).collect();
        tokens.iter().filter_map(|token| waiting.remove(token)).collect()
    }

    /// Gives the uploaded files to a message: each is written again under the message's own key, so that erasing one
    /// message never touches another. Files that are there already (a repeated command) stay.
    ///
    /// Runs on a thread that may wait for the disk.
    pub(super) fn give(
        &self,
        node: &Node,
        message: EntryId,
        tokens: &[EnclosureToken],
    ) -> Result<Vec<Enclosure>, Failure> {
        let mut files = Vec::with_capacity(tokens.len());
        for (ordinal, token) in (0..).zip(tokens) {
            let waiting = self.waiting().get(&token.token).cloned();
            if node.enclosures.has(&message, ordinal) {
                files.push(waiting.map_or_else(|| as_said(token), |waiting| Ok(waiting.file))?);
                continue;
            }
            let waiting = waiting.ok_or_else(|| unknown_upload(token))?;
            self.copy(node, &waiting, message, ordinal)?;
            files.push(waiting.file);
        }
        Ok(files)
    }

    fn copy(&self, node: &Node, waiting: &Waiting, message: EntryId, ordinal: u32) -> Result<(), Failure> {
        let from = self
            .store
            .slot_of(&waiting.upload, 0)
            .ok_or_else(|| Failure::new(code::INTERNAL, DOING, "the uploaded file is gone", "upload it again"))?;
        let slot = |error: crate::journal::SlotError| Failure::new(code::DISK_FULL, DOING, error.to_string(), "");
        let mut reader = self
            .store
            .read(&waiting.upload, 0, &node.vault.key(from).map_err(slot)?)
            .map_err(|error| failed(&error))?;
        let key = node.vault.take_key().map_err(slot)?;
        let mut writer =
            node.enclosures.create(&message, ordinal, &key, waiting.file.size).map_err(|error| failed(&error))?;
        let mut offset = 0;
        loop {
            let part = part_at(&mut reader, offset).map_err(|error| failed(&error))?;
            if part.is_empty() {
                break;
            }
            offset += part.len() as u64;
            writer.write(&part).map_err(|error| failed(&error))?;
        }
        let announced = Finished { size: waiting.file.size, sha256: waiting.file.sha256.0 };
        writer.finish(Some(announced)).map(|_| ()).map_err(|error| failed(&error))
    }

    /// Forgets files whose message is queued, or was refused.
    ///
    /// Runs on a thread that may wait for the disk.
    pub(super) fn forget(&self, node: &Node, tokens: &[EnclosureToken]) {
        for token in tokens {
            let waiting = self.waiting().remove(&token.token);
            waiting.iter().for_each(|waiting| self.remove(node, waiting));
        }
    }

    fn remove(&self, node: &Node, waiting: &Waiting) {
        self.remove_file(node, waiting.upload);
    }

    fn remove_file(&self, node: &Node, upload: EntryId) {
        let slot = self.store.slot_of(&upload, 0);
        let gone = self.store.delete(&upload, 0);
        let destroyed = slot.map_or(Ok(()), |slot| node.vault.destroy(&[slot]));
        if gone.is_err() || destroyed.is_err() {
            tracing::warn!("an uploaded file was not removed; the next start removes it");
        }
    }
}

fn as_said(token: &EnclosureToken) -> Result<Enclosure, Failure> {
    let sha256 = data_encoding::HEXLOWER_PERMISSIVE
        .decode(token.sha256.as_bytes())
        .ok()
        .and_then(|bytes| Hash::from_slice(&bytes))
        .ok_or_else(|| Failure::new(code::BAD_REQUEST, DOING, "a SHA-256 has 64 hexadecimal digits", ""))?;
    let (name, media_type) = (token.name.clone(), token.media_type.clone());
    Ok(Enclosure { name, media_type, size: token.size, sha256 })
}

fn unknown_upload(token: &EnclosureToken) -> Failure {
    let why = format!("the upload of `{}` is not known; the node was restarted since", token.name);
    Failure::new("unknown-upload", DOING, why, "send the message again with its files")
}

/// A file on its way in.
pub struct Incoming {
    uploads: Uploads,
    node: Arc<Node>,
    upload: EntryId,
    name: String,
    media_type: String,
    /// Away while a thread writes.
    writer: Option<EnclosureWriter>,
    whole: bool,
}

/// A file whose sender went away in the middle leaves nothing behind.
impl Drop for Incoming {
    fn drop(&mut self) {
        if self.whole {
            return;
        }
        let (uploads, node, upload) = (self.uploads.clone(), self.node.clone(), self.upload);
        let remove = move || uploads.remove_file(&node, upload);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

impl Upload for Incoming {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Failure> {
        let mut writer = self.writer.take().ok_or_else(broken)?;
        let (writer, written) = blocking(DOING, move || {
            let written = writer.write(&bytes);
            (writer, written)
        })
        .await?;
        self.writer = Some(writer);
        written.map_err(|error| failed(&error))
    }

    async fn finish(mut self) -> Result<EnclosureToken, Failure> {
        let writer = self.writer.take().ok_or_else(broken)?;
        let finished = blocking(DOING, move || writer.finish(None)).await?.map_err(|error| failed(&error))?;
        self.whole = true;
        let (name, media_type) = (std::mem::take(&mut self.name), std::mem::take(&mut self.media_type));
        let sha256 = Hash(finished.sha256);
        let token = EnclosureToken {
            token: self.upload.to_string(),
            name: name.clone(),
            media_type: media_type.clone(),
            size: finished.size,
            sha256: data_encoding::HEXLOWER.encode(&sha256.0),
        };
        let file = Enclosure { name, media_type, size: finished.size, sha256 };
        let waiting = Waiting { upload: self.upload, file, since: Instant::now() };
        self.uploads.waiting().insert(token.token.clone(), waiting);
        Ok(token)
    }
}

fn broken() -> Failure {
    Failure::new(code::INTERNAL, DOING, "an earlier part of the file could not be written", "")
}

/// Reads the next part of a file of any message, in either direction.
pub(super) fn read(node: &Node, message: EntryId, ordinal: u32, offset: u64) -> Result<Bytes, Failure> {
    const READING: &str = "reading an enclosure";
    let absent = || {
        let why = format!("enclosure {ordinal} of {message} is not here");
        Failure::new(code::UNKNOWN_ENCLOSURE, READING, why, "`verbale show` says which files are here")
    };
    let damaged = |error: &dyn std::error::Error| {
        let again = lost(node, message, ordinal);
        let failure = super::damaged(READING, error);
        if again { Failure { todo: ASKED_AGAIN.to_owned(), ..failure } } else { failure }
    };
    let slot = node.enclosures.slot_of(&message, ordinal).ok_or_else(|| {
        if lost(node, message, ordinal) { Failure { todo: ASKED_AGAIN.to_owned(), ..absent() } } else { absent() }
    })?;
    let key = node.vault.key(slot).map_err(|error| damaged(&error))?;
    match node.enclosures.read(&message, ordinal, &key) {
        Ok(mut reader) => part_at(&mut reader, offset).map_err(|error| damaged(&error)),
        Err(EnclosureError::Absent(_)) => Err(absent()),
        Err(error) => Err(damaged(&error)),
    }
}

const ASKED_AGAIN: &str = "the file was here once; its author is asked for it again, try later";

fn part_at(reader: &mut EnclosureReader, offset: u64) -> Result<Bytes, EnclosureError> {
    let mut part = vec![0; PART_BYTES];
    let count = reader.read_at(&mut part, offset)?;
    part.truncate(count);
    Ok(part.into())
}

fn failed(error: &EnclosureError) -> Failure {
    let (word, todo) = match error {
        EnclosureError::DiskFull => (code::DISK_FULL, "free space in the node's folder and try again"),
        EnclosureError::TooLong { .. } => (code::TOO_LARGE, "`enclosure_max` in verbale.toml is the limit"),
        _ => (code::INTERNAL, "see the daemon's log"),
    };
    Failure::new(word, DOING, error.to_string(), todo)
}
