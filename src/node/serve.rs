//! Answers what a peer asks for: entries of its own log, of which this node is the holder, and files of messages between
//! the two. Whatever concerns anybody else does not exist for it.

use std::sync::Arc;

use bytes::Bytes;

use super::history;
use super::order::Node;
use crate::exchange::{Act, Core};
use crate::journal::{EnclosureError, EnclosureReader, SlotError};
use crate::name::{EntryId, NodeName, Origin};
use crate::net::{EnclosureReply, FETCH_ANSWER, FetchReply};
use crate::note::Head;
use crate::store::Message;
use crate::wire::EnclosureAbsent;

/// Bytes of a file that are read at a time.
const PART_BYTES: usize = 256 << 10;

/// Answers FETCH. Without an answer the peer learns that there is none.
pub(super) fn fetch(
    node: &Arc<Node>,
    core: &Core,
    peer: NodeName,
    origin: Origin,
    from: u64,
    to: u64,
    reply: FetchReply,
) {
    if origin.from != peer || origin.to != node.me {
        tracing::debug!(%peer, %origin, "a log was asked for that is not the peer's own");
        return;
    }
    let in_memory = held(core, origin);
    let node = node.clone();
    tokio::spawn(async move {
        let read = move || {
            let (size, note) = in_memory.or_else(|| held_long_ago(&node, origin))?;
            let to = to.min(size);
            (from < to).then(|| (history::load(&node, origin, from, to, FETCH_ANSWER), note))
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(None) => tracing::debug!(%origin, from, "nothing that was asked for is held"),
            Ok(Some((entries, note))) if !entries.is_empty() => reply.send(entries, note).await,
            Ok(_) | Err(_) => tracing::warn!(%origin, from, "entries that the peer asked for cannot be read"),
        }
    });
}

/// Size and newest receipted note of a volume that is older than those in memory. What the index says is read in the
/// journal.
fn held_long_ago(node: &Node, origin: Origin) -> Option<(u64, Bytes)> {
    let record = node.index.newest_receipt(origin)?;
    match history::record(node, record).ok()?.act {
        Act::Cosigned { place, root, author_lines, lines }
            if (place.peer, place.volume) == (origin.from, origin.volume) =>
        {
            let head = Head { origin, size: place.index, root };
            Some((place.index, text(&head, &author_lines, &lines)))
        }
        _ => None,
    }
}

/// Size and newest note of a volume that this node holds.
fn held(core: &Core, origin: Origin) -> Option<(u64, Bytes)> {
    let volume = core.fold().peers.get(&origin.from)?.theirs.volumes.get(&origin.volume)?;
    let head = volume.head.as_ref()?;
    let at = Head { origin, size: head.size, root: head.root };
    Some((head.size, text(&at, &head.author_lines, &head.lines)))
}

fn text(head: &Head, author_lines: &[String], lines: &[String]) -> Bytes {
    let mut text = head.text();
    text.push('\n');
    for line in author_lines.iter().chain(lines) {
        text.push_str(line);
        text.push('\n');
    }
    text.into()
}

/// A file as far as it can be given to a peer.
enum File {
    Here(Box<EnclosureReader>),
    Absent(EnclosureAbsent),
}

/// Answers a request for a file.
pub(super) fn enclosure(
    node: &Arc<Node>,
    peer: NodeName,
    entry: EntryId,
    ordinal: u32,
    offset: u64,
    reply: EnclosureReply,
) {
    let node = node.clone();
    tokio::spawn(async move {
        let found = tokio::task::spawn_blocking(move || find(&node, peer, entry, ordinal)).await;
        match found {
            Ok(Ok(File::Here(reader))) => send(*reader, entry, offset, reply).await,
            Ok(Ok(File::Absent(why))) => reply.absent(why).await,
            Ok(Err(error)) => tracing::error!(%entry, ordinal, %error, "a file that the peer asked for cannot be read"),
            Err(_) => tracing::error!(%entry, ordinal, "reading a file broke off"),
        }
    });
}

fn find(node: &Node, peer: NodeName, entry: EntryId, ordinal: u32) -> Result<File, EnclosureError> {
    let Some(message) = message(node, peer, entry) else { return Ok(File::Absent(EnclosureAbsent::NoSuch)) };
    if ordinal >= message.enclosures {
        return Ok(File::Absent(EnclosureAbsent::NoSuch));
    }
    let missing = if message.outgoing { EnclosureAbsent::Gone } else { EnclosureAbsent::NotYet };
    let Some(slot) = node.enclosures.slot_of(&entry, ordinal) else { return Ok(File::Absent(missing)) };
    let key = match node.vault.key(slot) {
        Ok(key) => key,
        Err(SlotError::Destroyed(_)) => return Ok(File::Absent(EnclosureAbsent::Gone)),
        Err(error) => {
            tracing::error!(%entry, ordinal, %error, "the key of a file cannot be read");
            return Ok(File::Absent(EnclosureAbsent::NotYet));
        }
    };
    match node.enclosures.read(&entry, ordinal, &key) {
        Ok(reader) => Ok(File::Here(Box::new(reader))),
        Err(EnclosureError::Absent(_)) => Ok(File::Absent(missing)),
        Err(error) => Err(error),
    }
}

/// The message, if it stands in a log between the two. The index may be a moment behind the receipt that made the peer
/// ask.
fn message(node: &Node, peer: NodeName, entry: EntryId) -> Option<Message> {
    let between = |message: &Message| message.peer == peer && message.place.is_some();
    let look = || node.index.message(entry).ok().flatten().filter(between);
    look().or_else(|| {
        node.index.caught_up_blocking(node.journal_end());
        look()
    })
}

async fn send(mut reader: EnclosureReader, entry: EntryId, mut offset: u64, reply: EnclosureReply) {
    let size = reader.size();
    let Ok(mut writer) = reply.present(size).await else { return };
    while offset < size {
        let read = tokio::task::spawn_blocking(move || {
            let mut part = vec![0; PART_BYTES];
            let count = reader.read_at(&mut part, offset);
            (
                reader,
                count.map(|count| {
                    part.truncate(count);
                    part
                }),
            )
        });
        let Ok((back, part)) = read.await else { return };
        reader = back;
        let part = match part {
            Ok(part) if !part.is_empty() => part,
            Ok(_) => return,
            Err(error) => {
                tracing::error!(%entry, %error, "a file that the peer asked for is damaged");
                return;
            }
        };
        offset += part.len() as u64;
        match writer.write(part.into()).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => return,
        }
    }
    writer.finish();
}
