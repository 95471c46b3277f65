//! What each record of the journal changes in the store. Total: a record that does not fit changes nothing.

use crate::exchange::{Act, Drop, Place, Record, Stowed};
use crate::merkle::leaf_hash;
use crate::name::{EntryId, Hash, Kind, Millis, NodeName, RefusalCode, Volume, cosigner_name};
use crate::note::{Algorithm, Line};
use crate::wire::{Header, Leaf, MAX_ENCLOSURES, Target, VolumeBody};

use super::StoreError;
use super::batch::Batch;
use super::key::{self, Folder, LogId};
use super::log::{Location, MAX_HOLE, MAX_WITHDRAWN, receipt_value};
use super::pending::{self, Pending};
use super::row::{Flag, Row};

type Done = Result<(), StoreError>;

/// Takes one record in.
pub(super) fn apply(batch: &mut Batch, tree: &sled::Tree, number: u64, record: &Record) -> Done {
    match &record.act {
        Act::Opened { journal, node } => {
            batch.cursor.journal = Some(*journal);
            batch.cursor.me = Some(*node);
            Ok(())
        }
        Act::Queued { peer, header, body_len, enclosures, .. } => {
            let item = Item { number, time: record.time, body_len: *body_len as usize, enclosures: *enclosures };
            queued(batch, tree, *peer, header, item)
        }
        Act::Dropped { peer, id, why, .. } => dropped(batch, tree, *peer, id, *why),
        Act::VolumeOpened { place, leaf, body, .. } => {
            let log = own(place);
            append(batch, tree, log, 0, leaf, Location { record: number, payload: number })?;
            opened(batch, tree, log, VolumeBody::decode(body.clone()).ok().as_ref())
        }
        Act::Appended { place, leaf, queued } => appended(batch, tree, place, leaf, number, *queued),
        Act::Signed { place, root, .. } => compare(batch, tree, own(place), place.index, root),
        Act::Receipt { place, lines } => {
            let time = receipt_time(lines, place.peer);
            receipted(batch, tree, own(place), place.index, time, number)
        }
        Act::Stored { place, leaf, payload, enclosures, repeat, .. } => {
            let item = Item { number, time: record.time, body_len: leaf.body_len(), enclosures: *enclosures };
            stored(batch, tree, place, leaf, payload, item, *repeat)
        }
        Act::Cosigned { place, root, lines, .. } => cosigned(batch, tree, place, root, lines, number),
        Act::Fetched { place, leaf, payload } => {
            let item = Item { number, time: record.time, body_len: leaf.body_len(), enclosures: 0 };
            fetched(batch, tree, place, leaf, payload, item)
        }
        Act::FetchedHead { place, root, lines } => {
            compare(batch, tree, own(place), place.index, root)?;
            let time = receipt_time(lines, place.peer);
            receipted(batch, tree, own(place), place.index, time, number)
        }
        Act::EnclosureHeld { peer, entry, ordinal, .. } => {
            file(batch, tree, *peer, entry, *ordinal, |row, bit| row.enclosures_held |= bit)
        }
        Act::EnclosureEnded { peer, entry, ordinal, .. } => {
            file(batch, tree, *peer, entry, *ordinal, |row, bit| row.enclosures_ended |= bit)
        }
        Act::Read { place, .. } => at_place(batch, tree, theirs(place), place.index, |row| row.set(Flag::Read, true)),
        _ => Ok(()),
    }
}

/// What a record says about an item beside its header.
#[derive(Clone, Copy)]
struct Item {
    number: u64,
    time: Millis,
    body_len: usize,
    enclosures: u32,
}

fn own(place: &Place) -> LogId {
    LogId { peer: place.peer, own: true, volume: place.volume }
}

fn theirs(place: &Place) -> LogId {
    LogId { own: false, ..own(place) }
}

fn folder(peer: NodeName, outgoing: bool) -> Folder {
    Folder { peer, outgoing }
}

fn queued(batch: &mut Batch, tree: &sled::Tree, peer: NodeName, header: &Header, item: Item) -> Done {
    if !header.is_machine() {
        let row = Row::new(item.number, item.time, Some(header), item.body_len, item.enclosures);
        batch.add_row(tree, folder(peer, true), &row)?;
    }
    consequences(batch, tree, peer, true, header, item.number)
}

fn dropped(batch: &mut Batch, tree: &sled::Tree, peer: NodeName, id: &EntryId, why: Drop) -> Done {
    let Some(row) = batch.by_id(tree, folder(peer, true), id)? else { return Ok(()) };
    let flag = match why {
        Drop::Cancelled => Flag::Cancelled,
        Drop::Expired => Flag::Expired,
    };
    batch.change(tree, folder(peer, true), row.record, |row| row.set(flag, true))?;
    // What was only going to be acknowledged is not acknowledged.
    if row.kind == Kind::Acknowledgement.number() && row.has(Flag::HasReply) {
        let target = batch.by_id(tree, folder(peer, false), &EntryId(row.in_reply_to))?;
        if let Some(target) = target.filter(|target| target.acknowledged_record == row.record) {
            batch.change(tree, folder(peer, false), target.record, |row| row.set(Flag::Acknowledged, false))?;
        }
    }
    Ok(())
}

/// Appends a leaf where it belongs; a gap is filled with holes, another branch takes the place of the rest.
fn append(batch: &mut Batch, tree: &sled::Tree, log: LogId, index: u64, leaf: &Leaf, location: Location) -> Done {
    let open = batch.log(tree, log)?;
    let size = open.state.size;
    if index > size {
        let hole = index - size;
        open.state.disagrees = true;
        open.dirty = true;
        if hole > MAX_HOLE {
            return Ok(());
        }
        open.state.holes += hole;
        (0..hole).for_each(|_| batch.push(&log, Hash::default(), Location::HOLE));
    } else if index < size {
        open.state.disagrees = true;
        open.dirty = true;
        return Ok(());
    }
    batch.push(&log, leaf_hash(leaf.bytes()), location);
    Ok(())
}

/// Entry 0 of a volume says which volume came before, and which bodies are gone.
fn opened(batch: &mut Batch, tree: &sled::Tree, log: LogId, body: Option<&VolumeBody>) -> Done {
    let Some(body) = body else { return Ok(()) };
    batch.log(tree, log)?.open_with(body.before.as_ref());
    withdrawn(batch, tree, log, body)
}

/// The bodies that a VOLUME entry lists as gone.
fn withdrawn(batch: &mut Batch, tree: &sled::Tree, log: LogId, body: &VolumeBody) -> Done {
    let mut left = MAX_WITHDRAWN;
    for span in &body.unavailable {
        let Some(gone) = batch.log_numbered(tree, log.peer, log.own, span.volume)? else { continue };
        let end = span.to.min(span.from.saturating_add(left));
        for index in span.from..end {
            if batch.location(tree, gone, index)?.is_none() {
                break;
            }
            at_place(batch, tree, gone, index, |row| row.set(Flag::Withdrawn, true))?;
            left -= 1;
        }
    }
    Ok(())
}

fn appended(batch: &mut Batch, tree: &sled::Tree, place: &Place, leaf: &Leaf, number: u64, queued: u64) -> Done {
    let log = own(place);
    append(batch, tree, log, place.index, leaf, Location { record: number, payload: queued })?;
    let Ok(header) = leaf.header() else { return Ok(()) };
    if header.is_machine() {
        return void(batch, tree, log, &header);
    }
    batch.change(tree, folder(place.peer, true), queued, |row| {
        row.place(place.volume, place.index, number, Some(header.time));
    })?;
    Ok(())
}

fn stored(
    batch: &mut Batch,
    tree: &sled::Tree,
    place: &Place,
    leaf: &Leaf,
    payload: &Stowed,
    item: Item,
    repeat: bool,
) -> Done {
    let log = theirs(place);
    append(batch, tree, log, place.index, leaf, Location { record: item.number, payload: item.number })?;
    let header = leaf.header().ok();
    if place.index == 0 {
        volume_stored(batch, tree, log, payload, item.number)?;
    }
    if let Some(header) = header.as_ref().filter(|header| header.is_machine()) {
        return says(batch, tree, log, place.index, leaf, header, item.number);
    }
    let mut row = Row::new(item.number, item.time, header.as_ref(), item.body_len, item.enclosures);
    row.place(place.volume, place.index, item.number, None);
    row.set(Flag::Repeat, repeat);
    batch.add_row(tree, folder(place.peer, false), &row)?;
    match header.filter(|_| !repeat) {
        Some(header) => says(batch, tree, log, place.index, leaf, &header, item.number),
        None => Ok(()),
    }
}

/// What a received entry says about other messages counts once a receipt of this node covers it.
fn says(
    batch: &mut Batch,
    tree: &sled::Tree,
    log: LogId,
    index: u64,
    leaf: &Leaf,
    header: &Header,
    record: u64,
) -> Done {
    if batch.log(tree, log)?.state.receipted > index {
        void(batch, tree, log, header)?;
        return consequences(batch, tree, log.peer, false, header, record);
    }
    use Kind::{Acknowledgement, Answer, Decline, Held, Refused, Void, Withdrawal};
    let about_others = [Acknowledgement, Answer, Decline, Held, Refused, Void, Withdrawal];
    if header.known_kind().is_some_and(|kind| about_others.contains(&kind)) {
        pending::keep_entry(batch, &log, index, &leaf.header_bytes(), record);
    }
    Ok(())
}

/// The volume before is known at once, because a receipt reaches back through it; what is listed as gone, with the receipt.
fn volume_stored(batch: &mut Batch, tree: &sled::Tree, log: LogId, payload: &Stowed, record: u64) -> Done {
    let (Some(body), Stowed::Clear { body: bytes, .. }) = (volume_body(payload), payload) else { return Ok(()) };
    let open = batch.log(tree, log)?;
    open.open_with(body.before.as_ref());
    if open.state.receipted > 0 {
        return withdrawn(batch, tree, log, &body);
    }
    if !body.unavailable.is_empty() {
        pending::keep_volume(batch, &log, bytes, record);
    }
    Ok(())
}

/// A receipt of this node over `size` entries of a peer's log: what they say about other messages is told from now on.
fn release(batch: &mut Batch, tree: &sled::Tree, log: LogId, size: u64) -> Done {
    loop {
        let some = pending::take(batch, tree, &log, size)?;
        if some.is_empty() {
            return Ok(());
        }
        for pending in some {
            match pending {
                Pending::Entry(header, record) => {
                    void(batch, tree, log, &header)?;
                    consequences(batch, tree, log.peer, false, &header, record)?;
                }
                Pending::Volume(body) => withdrawn(batch, tree, log, &body)?,
            }
        }
        if batch.is_due() {
            // What is left is still there if the process ends here: the same record is taken in again.
            batch.commit(tree)?;
        }
    }
}

fn volume_body(payload: &Stowed) -> Option<VolumeBody> {
    match payload {
        Stowed::Clear { body, .. } => VolumeBody::decode(body.clone()).ok(),
        _ => None,
    }
}

fn fetched(batch: &mut Batch, tree: &sled::Tree, place: &Place, leaf: &Leaf, payload: &Stowed, item: Item) -> Done {
    let log = own(place);
    let known = batch.log(tree, log)?.state.size;
    if place.index < known {
        // The holder's branch takes the place of the own one from here on. What was pushed so far must be readable.
        batch.commit(tree)?;
        batch.log(tree, log)?.cut(tree, &log, place.index)?;
        batch.cursor.entries -= known - place.index;
    }
    let folder = folder(place.peer, true);
    let header = leaf.header().ok();
    let message = header.as_ref().filter(|header| !header.is_machine());
    let row = match message {
        Some(header) => batch.by_id(tree, folder, &header.id)?,
        None => None,
    };
    // Where the item is known, its payload and its row are those of its Queued record.
    let payload_record = row.map_or(item.number, |row| row.record);
    let location = Location { record: item.number, payload: payload_record };
    append(batch, tree, log, place.index, leaf, location)?;
    if place.index == 0 {
        return opened(batch, tree, log, volume_body(payload).as_ref());
    }
    let Some(header) = message else {
        return header.map_or(Ok(()), |header| void(batch, tree, log, &header));
    };
    let placed = |row: &mut Row| row.place(place.volume, place.index, item.number, Some(header.time));
    if row.is_some() {
        batch.change(tree, folder, payload_record, placed)?;
        return Ok(());
    }
    let mut row = Row::new(item.number, item.time, Some(header), item.body_len, item.enclosures);
    placed(&mut row);
    batch.add_row(tree, folder, &row)?;
    consequences(batch, tree, place.peer, true, header, item.number)
}

/// Compares a signed root with the one of the entries, where both are of the same size.
fn compare(batch: &mut Batch, tree: &sled::Tree, log: LogId, size: u64, root: &Hash) -> Done {
    let Some(open) = batch.known_log(tree, log)? else { return Ok(()) };
    if open.edge.size() == size && open.edge.root() != *root {
        open.state.disagrees = true;
        open.dirty = true;
    }
    Ok(())
}

fn cosigned(batch: &mut Batch, tree: &sled::Tree, place: &Place, root: &Hash, lines: &[String], number: u64) -> Done {
    compare(batch, tree, theirs(place), place.index, root)?;
    let Some(me) = batch.cursor.me.filter(|_| !lines.is_empty()) else { return Ok(()) };
    let time = receipt_time(lines, me);
    receipted(batch, tree, theirs(place), place.index, time, number)
}

/// Notes a receipt; it covers the volumes before too, up to the sizes that are named of them.
fn receipted(batch: &mut Batch, tree: &sled::Tree, log: LogId, size: u64, time: Option<u64>, record: u64) -> Done {
    let (mut log, mut size) = (log, size);
    loop {
        let receipted = batch.known_log(tree, log)?.map(|open| open.state.receipted);
        if !log.own && receipted.is_some_and(|receipted| receipted < size) {
            release(batch, tree, log, size)?;
        }
        let Some(open) = batch.known_log(tree, log)?.filter(|open| open.state.receipted < size) else { return Ok(()) };
        open.state.receipted = size;
        open.state.receipts += 1;
        open.dirty = true;
        let before: Option<(Volume, u64)> = open.state.before;
        batch.put(key::receipt(&log, size), receipt_value(time, record));
        let Some((volume, named)) = before else { return Ok(()) };
        (log, size) = (LogId { volume, ..log }, named);
    }
}

/// The time that a receipt line of the holder states.
fn receipt_time(lines: &[String], holder: NodeName) -> Option<u64> {
    let name = cosigner_name(holder);
    let lines = lines.iter().filter_map(|line| line.parse::<Line>().ok()).filter(|line| line.name() == name);
    lines.filter_map(|line| line.timestamp(Algorithm::CosignatureV1).or(line.timestamp(Algorithm::MlDsa44))).min()
}

/// What an entry of `peer`'s log (or of the own log to it) says about other messages.
fn consequences(
    batch: &mut Batch,
    tree: &sled::Tree,
    peer: NodeName,
    by_us: bool,
    header: &Header,
    record: u64,
) -> Done {
    match (header.known_kind(), header.in_reply_to, header.target) {
        (Some(Kind::Acknowledgement), Some(id), _) => answered(batch, tree, folder(peer, !by_us), &id, |row| {
            if !row.has(Flag::Acknowledged) {
                row.set(Flag::Acknowledged, true);
                row.acknowledged_time = header.time.0;
                row.acknowledged_record = record;
            }
        }),
        (Some(Kind::Answer), Some(id), _) => {
            answered(batch, tree, folder(peer, !by_us), &id, |row| row.set(Flag::Answered, true))
        }
        (Some(Kind::Decline), Some(id), _) => {
            answered(batch, tree, folder(peer, !by_us), &id, |row| row.set(Flag::Declined, true))
        }
        (Some(Kind::Withdrawal), Some(id), _) => {
            answered(batch, tree, folder(peer, by_us), &id, |row| row.set(Flag::Withdrawn, true))
        }
        (Some(Kind::Held), _, Some(target)) => {
            at_target(batch, tree, peer, !by_us, target, |row| row.set(Flag::Held, true))
        }
        (Some(Kind::Refused), _, Some(target)) => {
            let about_files = RefusalCode::from_number(header.code).is_some_and(RefusalCode::is_about_files);
            at_target(batch, tree, peer, !by_us, target, |row| {
                if !about_files {
                    row.set(Flag::Refused, true);
                    row.refused = header.code;
                } else if !row.has(Flag::Refused) {
                    row.set(Flag::FilesRefused, true);
                    row.refused = header.code;
                }
            })
        }
        _ => Ok(()),
    }
}

/// A VOID withdraws an entry of its own log.
fn void(batch: &mut Batch, tree: &sled::Tree, log: LogId, header: &Header) -> Done {
    match (header.known_kind(), header.target) {
        (Some(Kind::Void), Some(target)) => {
            at_target(batch, tree, log.peer, log.own, target, |row| row.set(Flag::Withdrawn, true))
        }
        _ => Ok(()),
    }
}

fn answered(batch: &mut Batch, tree: &sled::Tree, folder: Folder, id: &EntryId, change: impl FnOnce(&mut Row)) -> Done {
    if let Some(row) = batch.by_id(tree, folder, id)? {
        batch.change(tree, folder, row.record, change)?;
    }
    Ok(())
}

fn at_target(
    batch: &mut Batch,
    tree: &sled::Tree,
    peer: NodeName,
    own: bool,
    target: Target,
    change: impl FnOnce(&mut Row),
) -> Done {
    match batch.log_numbered(tree, peer, own, target.volume)? {
        Some(log) => at_place(batch, tree, log, target.index, change),
        None => Ok(()),
    }
}

fn at_place(batch: &mut Batch, tree: &sled::Tree, log: LogId, index: u64, change: impl FnOnce(&mut Row)) -> Done {
    if let Some(location) = batch.location(tree, log, index)? {
        batch.change(tree, folder(log.peer, log.own), location.payload, change)?;
    }
    Ok(())
}

fn file(
    batch: &mut Batch,
    tree: &sled::Tree,
    peer: NodeName,
    entry: &EntryId,
    ordinal: u32,
    change: impl FnOnce(&mut Row, u64),
) -> Done {
    if ordinal as usize >= MAX_ENCLOSURES {
        return Ok(());
    }
    answered(batch, tree, folder(peer, false), entry, |row| change(row, 1 << ordinal))
}
