//! Fetches the files of peers' messages: one after another from each peer, from where an earlier attempt ended, encrypted
//! from the first byte, and only taken for good when size and hash are those that the author signed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::history;
use super::links::Links;
use super::order::{Node, Order};
use crate::exchange::{Act, ConnId, Core, Input, Record};
use crate::journal::{EnclosureError, EnclosureWriter, Finished, SlotError};
use crate::name::{EntryId, NodeName, RefusalCode};
use crate::net::{ENCLOSURE_PIECE, EnclosureDownload, EnclosureFault, NetHandle};
use crate::wire::{Body, Enclosure, EnclosureAbsent, Payload};

/// The pause after which a file is asked for again that the peer did not have yet, or that found no room here.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// The pause after a transfer that broke off: the connection may be gone, or the author may not be able to read the file.
const AFTER_BREAK: Duration = Duration::from_secs(2);

/// Bytes of the file system that stay free: what the journal needs to go on is kept back by itself.
const KEEP_FREE: u64 = 256 << 20;

/// Files that were here and are lost or damaged, and that are asked for again at a time; more are found when those are
/// back and somebody opens the next.
const MAX_LOST: usize = 1_024;

/// Answers that cannot be used before a file counts as gone; an author whose node was mended is asked again before.
const MAX_MALFORMED: u32 = 3;

/// Which files are being fetched.
#[derive(Debug, Default)]
pub(super) struct Enclosures {
    /// Records of messages whose files are still to come.
    records: HashMap<EntryId, u64>,
    /// Files that were held and are so no more.
    lost: BTreeMap<(EntryId, u32), NodeName>,
    fetching: HashSet<NodeName>,
    /// At which file the last attempt with a peer broke off.
    broke: HashMap<NodeName, (EntryId, u32)>,
}

/// Places in the journal that are remembered before those that nobody needs any more are looked for: the index knows
/// them all, only less quickly.
const MAX_RECORDS: usize = 8_192;

/// A file that is wanted.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    entry: EntryId,
    ordinal: u32,
    record: Option<u64>,
}

impl Enclosures {
    /// Remembers where a message with files stands in the journal.
    pub(super) fn recorded(&mut self, number: u64, record: &Record) {
        match &record.act {
            Act::Stored { leaf, enclosures, .. } if *enclosures > 0 => {
                if let Ok(header) = leaf.header() {
                    self.records.entry(header.id).or_insert(number);
                }
            }
            _ => {}
        }
    }

    /// Starts to fetch from every peer that is up and of whose messages files are wanted.
    pub(super) fn look(&mut self, core: &Core, links: &Links, node: &Arc<Node>) {
        let peers = &core.fold().peers;
        if self.records.len() > MAX_RECORDS {
            let open = |entry: &EntryId| peers.values().any(|peer| peer.theirs.wanted.contains_key(entry));
            self.records.retain(|entry, _| open(entry));
        }
        for (peer, known) in peers {
            let lost: Vec<(EntryId, u32)> =
                self.lost.iter().filter(|(_, of)| *of == peer).map(|(file, _)| *file).collect();
            if known.theirs.wanted_files == 0 && lost.is_empty() {
                continue;
            }
            let Some(conn) = core.report(*peer).and_then(|report| report.conn) else { continue };
            if !self.fetching.insert(*peer) {
                continue;
            }
            // HELD would say more than the receipt: files of what has none yet are not asked for.
            let wanted = known.theirs.wanted.iter().filter(|(_, wanted)| known.theirs.is_receipted(wanted.target));
            let mut files: Vec<Wanted> = wanted
                .flat_map(|(entry, wanted)| wanted.left.iter().map(|ordinal| (*entry, *ordinal)))
                .chain(lost)
                .map(|(entry, ordinal)| Wanted { entry, ordinal, record: self.records.get(&entry).copied() })
                .collect();
            if let Some(broke) = self.broke.remove(peer) {
                // A file at which the last attempt broke off may be the cause: it comes last this time.
                let at = files.partition_point(|file| (file.entry, file.ordinal) <= broke);
                files.rotate_left(at);
            }
            tokio::spawn(fetch_all(node.clone(), links.net().clone(), *peer, conn, files));
        }
    }

    /// A file that was held is lost or damaged: it is asked for again.
    pub(super) fn lost(&mut self, peer: NodeName, entry: EntryId, ordinal: u32) {
        if self.lost.len() < MAX_LOST {
            self.lost.insert((entry, ordinal), peer);
        }
    }

    /// A file is here, or will not come.
    pub(super) fn settled(&mut self, entry: EntryId, ordinal: u32) {
        self.lost.remove(&(entry, ordinal));
    }

    /// The task for a peer has ended, perhaps at a file: there may be more.
    pub(super) fn ended(&mut self, peer: NodeName, broke: Option<(EntryId, u32)>) {
        self.fetching.remove(&peer);
        self.broke.extend(broke.map(|file| (peer, file)));
    }
}

/// Whether a file of a peer's message was held here and is so no more; if so, it is asked for again.
///
/// Runs on a thread that may wait for the disk.
pub(super) fn lost(node: &Node, entry: EntryId, ordinal: u32) -> bool {
    let Ok(Some(message)) = node.index.message(entry) else { return false };
    let held = !message.outgoing && ordinal < 64 && message.enclosures_held & (1 << ordinal) != 0;
    if held {
        tracing::warn!(%entry, ordinal, peer = %message.peer, "a file that was here is lost or damaged");
        let _ = node.orders.send(Order::FileLost { peer: message.peer, entry, ordinal });
    }
    held
}

/// How a file ended.
enum End {
    Held(u64),
    Refused(RefusalCode),
}

/// Why a task goes no further.
enum Stop {
    /// The connection is gone; the next one starts anew.
    Connection,
    /// Not now: there, or here.
    Later(String),
}

async fn fetch_all(node: Arc<Node>, net: NetHandle, peer: NodeName, conn: ConnId, files: Vec<Wanted>) {
    let (mut pause, mut broke) = (Duration::ZERO, None);
    for wanted in files {
        let Wanted { entry, ordinal, .. } = wanted;
        match fetch_one(&node, &net, conn, wanted).await {
            Ok(End::Held(slot)) => {
                tracing::debug!(%peer, %entry, ordinal, "a file is held");
                let _ = node.orders.send(Order::FileSettled { entry, ordinal });
                node.feed(Input::EnclosureHeld { peer, entry, ordinal, slot });
            }
            Ok(End::Refused(code)) => {
                tracing::info!(%peer, %entry, ordinal, %code, "a file will not come");
                let _ = node.orders.send(Order::FileSettled { entry, ordinal });
                node.feed(Input::EnclosureEnded { peer, entry, ordinal, code });
            }
            Err(Stop::Connection) => {
                (pause, broke) = (AFTER_BREAK, Some((entry, ordinal)));
                break;
            }
            Err(Stop::Later(why)) => {
                tracing::info!(%peer, %entry, ordinal, why, "a file waits");
                pause = TRY_AGAIN;
            }
        }
    }
    tokio::time::sleep(pause).await;
    let _ = node.orders.send(Order::FilesEnded(peer, broke));
}

async fn fetch_one(node: &Arc<Node>, net: &NetHandle, conn: ConnId, wanted: Wanted) -> Result<End, Stop> {
    let listed = blocking(node, move |node| listed(node, wanted)).await?;
    let file = match listed? {
        Ok(file) => file,
        Err(end) => return Ok(end),
    };
    if let Some(slot) = blocking(node, {
        let file = file.clone();
        move |node| whole(node, wanted, &file)
    })
    .await?
    {
        return Ok(End::Held(slot));
    }
    let mut malformed = 0;
    loop {
        let (writer, slot) = blocking(node, {
            let file = file.clone();
            move |node| begin(node, wanted, &file)
        })
        .await??;
        match transfer(net, conn, wanted, &file, writer).await? {
            Transfer::Whole(writer) => return finish(node, wanted, &file, writer, slot).await,
            Transfer::Gone => return Ok(End::Refused(RefusalCode::FileGone)),
            Transfer::Mismatch => return refuse(node, wanted).await,
            Transfer::Malformed(why) => {
                malformed += 1;
                if malformed == MAX_MALFORMED {
                    return Err(Stop::Later(why));
                }
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    node: &Arc<Node>,
    work: impl FnOnce(&Node) -> T + Send + 'static,
) -> Result<T, Stop> {
    let node = node.clone();
    tokio::task::spawn_blocking(move || work(&node)).await.map_err(|_| Stop::Later("the work broke off".into()))
}

/// The file as the author listed it, judged by the limits that this node announces. What cannot be read now is tried
/// again later: neither the index nor a passing error of the disk decides what is answered to the peer.
fn listed(node: &Node, wanted: Wanted) -> Result<Result<Enclosure, End>, Stop> {
    let later = |why: String| Stop::Later(why);
    let record = match wanted.record {
        Some(record) => record,
        None => {
            node.index.caught_up_blocking(node.journal_end());
            let message = node.index.message(wanted.entry).map_err(|error| later(error.to_string()))?;
            message.ok_or_else(|| later("the index does not know the message yet".into()))?.record
        }
    };
    let (_, stowed) = history::entry_of(node, record).map_err(|error| later(error.to_string()))?;
    let body = match history::open(&node.vault, &stowed).map_err(|error| later(error.to_string()))? {
        Payload::Present { body, .. } => Body::decode(body).ok(),
        Payload::Absent(_) => None,
    };
    let Some(body) = body else { return Ok(Err(End::Refused(RefusalCode::FileGone))) };
    Ok(judged(node, wanted, body))
}

fn judged(node: &Node, wanted: Wanted, body: Body) -> Result<Enclosure, End> {
    let limits = node.settings().exchange.clone();
    let total = body.enclosures.iter().fold(0u64, |sum, file| sum.saturating_add(file.size));
    match body.enclosures.into_iter().nth(wanted.ordinal as usize) {
        None => Err(End::Refused(RefusalCode::FileMismatch)),
        Some(file) if file.size > limits.enclosure_max || total > limits.enclosures_total_max => {
            Err(End::Refused(RefusalCode::FileTooLarge))
        }
        Some(file) => Ok(file),
    }
}

fn announced(file: &Enclosure) -> Finished {
    Finished { size: file.size, sha256: file.sha256.0 }
}

/// The slot of a file that is whole already: an earlier run ended between its last byte and its record.
fn whole(node: &Node, wanted: Wanted, file: &Enclosure) -> Option<u64> {
    if !node.enclosures.has(&wanted.entry, wanted.ordinal) {
        return None;
    }
    let slot = node.enclosures.slot_of(&wanted.entry, wanted.ordinal)?;
    let key = node.vault.key(slot).ok()?;
    let mut reader = node.enclosures.read(&wanted.entry, wanted.ordinal, &key).ok()?;
    reader.verify().ok().filter(|found| *found == announced(file)).map(|_| slot)
}

/// Goes on with what an earlier attempt has left, or begins.
fn begin(node: &Node, wanted: Wanted, file: &Enclosure) -> Result<(EnclosureWriter, u64), Stop> {
    let later = |error: &dyn std::fmt::Display| Stop::Later(error.to_string());
    let free = crate::journal::free_bytes(&node.folder).map_err(|error| later(&error))?;
    if free < file.size.saturating_add(KEEP_FREE) {
        return Err(Stop::Later("there is not enough room on the disk".into()));
    }
    if let Some(slot) = node.enclosures.slot_of(&wanted.entry, wanted.ordinal)
        && let Ok(key) = node.vault.key(slot)
        && let Ok(writer) = node.enclosures.resume(&wanted.entry, wanted.ordinal, &key, file.size)
    {
        return Ok((writer, slot));
    }
    let key = node.vault.take_key().map_err(|error: SlotError| later(&error))?;
    let writer = node.enclosures.create(&wanted.entry, wanted.ordinal, &key, file.size);
    writer.map(|writer| (writer, key.slot())).map_err(|error| later(&error))
}

enum Transfer {
    Whole(EnclosureWriter),
    Gone,
    Mismatch,
    Malformed(String),
}

async fn transfer(
    net: &NetHandle,
    conn: ConnId,
    wanted: Wanted,
    file: &Enclosure,
    mut writer: EnclosureWriter,
) -> Result<Transfer, Stop> {
    // A file of no bytes needs no transfer; its hash is checked all the same.
    if file.size == writer.offset() {
        return Ok(Transfer::Whole(writer));
    }
    let mut download = match net.enclosure(conn, wanted.entry, wanted.ordinal, writer.offset()).await {
        Ok(download) => download,
        Err(fault) => return fault_of(fault),
    };
    if download.size() != file.size {
        return Ok(Transfer::Mismatch);
    }
    loop {
        let (bytes, end) = gather(&mut download).await;
        let written = tokio::task::spawn_blocking(move || {
            let written = writer.write(&bytes);
            (writer, written)
        });
        let (back, written) = written.await.map_err(|_| Stop::Later("writing broke off".into()))?;
        writer = back;
        match written {
            Ok(()) => {}
            Err(EnclosureError::TooLong { .. }) => return Ok(Transfer::Mismatch),
            Err(error) => return Err(Stop::Later(error.to_string())),
        }
        match end {
            None => {}
            Some(Ok(())) => return Ok(Transfer::Whole(writer)),
            Some(Err(fault)) => return fault_of(fault),
        }
    }
}

/// Bytes for one turn of a thread, and how the transfer ended, if it did. QUIC gives out about a packet at a time, and
/// handing each to a thread was measured to cost more than everything else about a file. What came before an
/// interruption is written too.
async fn gather(download: &mut EnclosureDownload) -> (Vec<u8>, Option<Result<(), EnclosureFault>>) {
    let mut bytes = Vec::with_capacity(ENCLOSURE_PIECE);
    while bytes.len() < ENCLOSURE_PIECE {
        match download.next().await {
            Ok(Some(piece)) => bytes.extend_from_slice(&piece),
            Ok(None) => return (bytes, Some(Ok(()))),
            Err(fault) => return (bytes, Some(Err(fault))),
        }
    }
    (bytes, None)
}

fn fault_of(fault: EnclosureFault) -> Result<Transfer, Stop> {
    match fault {
        EnclosureFault::Absent(EnclosureAbsent::NotYet) => Err(Stop::Later("the peer does not have it yet".into())),
        EnclosureFault::Absent(_) => Ok(Transfer::Gone),
        EnclosureFault::Ended => Err(Stop::Connection),
        EnclosureFault::Malformed(why) => Ok(Transfer::Malformed(why)),
    }
}

async fn finish(
    node: &Arc<Node>,
    wanted: Wanted,
    file: &Enclosure,
    writer: EnclosureWriter,
    slot: u64,
) -> Result<End, Stop> {
    let expected = announced(file);
    let Wanted { entry, ordinal, .. } = wanted;
    // A damaged file of the same place is replaced, and its slot is of no use any more.
    let finish = move |node: &Node| {
        let before = node.enclosures.has(&entry, ordinal).then(|| node.enclosures.slot_of(&entry, ordinal)).flatten();
        let finished = writer.finish(Some(expected));
        if let Some(old) = before.filter(|old| finished.is_ok() && *old != slot)
            && let Err(error) = node.vault.destroy(&[old])
        {
            tracing::warn!(%error, "the key of a replaced file was not destroyed");
        }
        finished
    };
    match blocking(node, finish).await? {
        Ok(_) => Ok(End::Held(slot)),
        Err(EnclosureError::Mismatch) => refuse(node, wanted).await,
        Err(error) => Err(Stop::Later(error.to_string())),
    }
}

/// The bytes are not those that were listed: nothing of them stays.
async fn refuse(node: &Arc<Node>, wanted: Wanted) -> Result<End, Stop> {
    let Wanted { entry, ordinal, .. } = wanted;
    let removed = blocking(node, move |node| {
        if let Some(slot) = node.enclosures.slot_of(&entry, ordinal) {
            node.vault.destroy(&[slot]).map_err(|error| error.to_string())?;
        }
        node.enclosures.delete(&entry, ordinal).map_err(|error| error.to_string())
    });
    removed.await?.map_err(Stop::Later)?;
    Ok(End::Refused(RefusalCode::FileMismatch))
}
