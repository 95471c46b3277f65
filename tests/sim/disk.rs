//! The simulated journal of one instance: groups that are durable, and at most one that is not yet.

use std::collections::{BTreeMap, BTreeSet};

use verbale::exchange::{Act, Fold, Group, Place, Record, StoredHead, Stowed};
use verbale::name::{NodeName, Origin};
use verbale::wire::{Leaf, Payload};

use super::keys::open;

/// What survives a crash.
///
/// A group is one frame with one checksum (D2): after a crash it is there as a whole or not at all.
#[derive(Clone, Default)]
pub struct Disk {
    pub records: Vec<Record>,
    /// Record counts at which groups end, in order.
    ends: Vec<usize>,
    /// A snapshot of the fold and the number of records it covers.
    snapshot: Option<(usize, Vec<u8>)>,
    /// Slots that can no longer be read.
    pub lost_slots: BTreeSet<u64>,
    own: BTreeMap<Place, Vec<usize>>,
    held: BTreeMap<Place, usize>,
    pub writing: Option<Group>,
    pub full: bool,
    /// The first record after the preparations (peers added).
    pub prepared: usize,
}

impl Disk {
    /// Makes the group that is being written durable.
    pub fn sync(&mut self) -> Option<Group> {
        let group = self.writing.take()?;
        for record in &group.records {
            // What is read back is what the next start will see.
            self.index(&Record::decode(&record.encode()));
        }
        self.ends.push(self.records.len());
        Some(group)
    }

    fn index(&mut self, record: &Record) {
        let number = self.records.len();
        match &record.act {
            Act::VolumeOpened { place, .. } | Act::Appended { place, .. } | Act::Fetched { place, .. } => {
                self.own.entry(*place).or_default().push(number);
            }
            Act::Stored { place, .. } => {
                self.held.insert(*place, number);
            }
            _ => {}
        }
        self.records.push(record.clone());
    }

    /// An earlier state of this disk: the first `groups` groups.
    pub fn earlier(&self, groups: usize) -> Self {
        let mut disk = Self { lost_slots: self.lost_slots.clone(), prepared: self.prepared, ..Self::default() };
        let end = if groups == 0 { 0 } else { self.ends[groups - 1] };
        for record in &self.records[..end.max(self.prepared)] {
            disk.index(record);
        }
        disk.ends = self.ends.iter().copied().filter(|at| *at <= disk.records.len()).collect();
        if disk.ends.last() != Some(&disk.records.len()) {
            disk.ends.push(disk.records.len());
        }
        disk
    }

    pub fn groups(&self) -> usize {
        self.ends.len()
    }

    /// Remembers a snapshot of the fold over all that is durable.
    pub fn take_snapshot(&mut self) {
        let fold = self.fold();
        self.snapshot = Some((self.records.len(), postcard::to_stdvec(&fold).expect("a fold can be stored")));
    }

    /// The fold from the first record on.
    pub fn fold(&self) -> Fold {
        let mut fold = Fold::default();
        for (number, record) in self.records.iter().enumerate() {
            fold.apply(number as u64, record);
        }
        fold
    }

    /// The fold from the last snapshot on.
    pub fn fold_from_snapshot(&self) -> Option<Fold> {
        let (covered, bytes) = self.snapshot.as_ref()?;
        let mut fold: Fold = postcard::from_bytes(bytes).expect("a stored fold reads back");
        for (number, record) in self.records.iter().enumerate().skip(*covered) {
            fold.apply(number as u64, record);
        }
        Some(fold)
    }

    /// The payload of an own entry with that leaf, where it can be read.
    ///
    /// More than one record may stand for a place: a branch of the log can be replaced by the holder's.
    pub fn own_payload(&self, place: &Place, leaf: &Leaf) -> Option<Payload> {
        let records = self.own.get(place)?.iter().rev();
        records.filter_map(|number| self.records.get(*number)).find_map(|record| match &record.act {
            Act::VolumeOpened { leaf: own, salt, body, .. } if own == leaf => {
                Some(Payload::Present { salt: *salt, body: body.clone() })
            }
            Act::Appended { leaf: own, queued, .. } if own == leaf => self.queued_payload(*queued),
            Act::Fetched { leaf: own, payload, .. } if own == leaf => self.payload(payload),
            _ => None,
        })
    }

    /// Every head that was ever recorded over entries of an own log.
    pub fn own_heads(&self, origin: Origin, from: u64, to: u64) -> Vec<StoredHead> {
        let head = |record: &Record| match &record.act {
            Act::Signed { place, root, lines } | Act::FetchedHead { place, root, lines } => {
                let here = place.peer == origin.to && place.volume == origin.volume;
                let here = here && place.index > from && place.index <= to;
                here.then(|| StoredHead { size: place.index, root: *root, lines: lines.clone() })
            }
            _ => None,
        };
        self.records.iter().filter_map(head).collect()
    }

    /// The payload of a Queued or VolumeOpened record.
    pub fn queued_payload(&self, record: u64) -> Option<Payload> {
        match &self.records.get(record as usize)?.act {
            Act::Queued { payload, .. } => self.payload(payload),
            Act::VolumeOpened { salt, body, .. } => Some(Payload::Present { salt: *salt, body: body.clone() }),
            Act::Fetched { payload, .. } => self.payload(payload),
            _ => None,
        }
    }

    fn payload(&self, stowed: &Stowed) -> Option<Payload> {
        match stowed {
            Stowed::Absent(reason) => Some(Payload::Absent(*reason)),
            Stowed::Sealed { slot, .. } if self.lost_slots.contains(slot) => None,
            _ => open(stowed).map(|(salt, body)| Payload::Present { salt, body }),
        }
    }

    /// A held entry of a peer's log.
    pub fn held_entry(&self, place: &Place) -> Option<(Leaf, Payload)> {
        match &self.records.get(*self.held.get(place)?)?.act {
            Act::Stored { leaf, payload, .. } => {
                let gone = Payload::Absent(verbale::wire::Absent::Unavailable);
                Some((leaf.clone(), self.payload(payload).unwrap_or(gone)))
            }
            _ => None,
        }
    }

    /// Slots of items that wait for `peer` and could be damaged.
    pub fn slots_for(&self, peer: NodeName) -> Vec<u64> {
        let slot = |record: &Record| match &record.act {
            Act::Queued { peer: to, payload: Stowed::Sealed { slot, .. }, .. } if *to == peer => Some(*slot),
            _ => None,
        };
        self.records.iter().filter_map(slot).collect()
    }
}
