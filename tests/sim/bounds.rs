//! What a greedy peer may use of a node, judged by what is durable and what leaves; and how the liar tries to get more.

use std::collections::BTreeMap;

use bytes::Bytes;
use verbale::exchange::{Act, Group, QUOTA_RESERVE_PART, Record, Shown, Stowed, WANTED_FILES, WANTED_FILES_URGENT};
use verbale::name::{EntryId, Hash, Kind, NodeName, Precedence};
use verbale::wire::{Body, Enclosure, MAX_ENCLOSURES, MAX_PUSH_BYTES, Payload, Understood};

use super::rng::Rng;
use super::world::{Verdict, World};

/// Messages with the most files that a greedy liar announces at once: more files than a node keeps waiting.
const GREED: u64 = 90;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// What one node has of one peer.
#[derive(Default)]
pub struct Used {
    day: u64,
    bytes: u64,
    /// Files announced and not settled: message → how many.
    files: BTreeMap<EntryId, u32>,
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what()) }
}

impl Used {
    fn take(&mut self, record: &Record) {
        match &record.act {
            Act::Stored { leaf, payload, enclosures, repeat, .. } => {
                let day = record.time.0 / DAY_MS;
                if self.day != day {
                    (self.day, self.bytes) = (day, 0);
                }
                let body = if matches!(payload, Stowed::Absent(_)) { 0 } else { leaf.body_len() };
                self.bytes += (leaf.bytes().len() + body) as u64;
                if let Some(header) = leaf.header().ok().filter(|_| !repeat && *enclosures > 0) {
                    self.files.insert(header.id, *enclosures);
                }
            }
            Act::EnclosureHeld { entry, .. } | Act::EnclosureEnded { entry, .. } => {
                if let Some(left) = self.files.get_mut(entry) {
                    *left -= 1;
                    if *left == 0 {
                        self.files.remove(entry);
                    }
                }
            }
            _ => {}
        }
    }
}

impl World {
    /// Looks at a durable group for what its records cost, after the ledger has taken it in.
    pub fn check_bounds(&mut self, who: usize, group: &Group) -> Verdict {
        let liars: Vec<NodeName> = self.names.iter().copied().filter(|name| self.is_liar(*name)).collect();
        for liar in liars {
            let instance = &self.instances[who];
            let used = self.oracle.used.entry((who, liar)).or_default();
            let of_liar = |record: &&Record| match &record.act {
                Act::Stored { place, .. } => place.peer == liar,
                Act::EnclosureHeld { peer, .. } | Act::EnclosureEnded { peer, .. } => *peer == liar,
                _ => false,
            };
            group.records.iter().filter(of_liar).for_each(|record| used.take(record));
            let quota = instance.settings.quota_of(liar);
            let most = quota + quota / QUOTA_RESERVE_PART;
            check(used.bytes <= most, || {
                format!("quota: #{who} took {} bytes of {liar} on one day, {most} at the most", used.bytes)
            })?;
            let (files, most) = (used.files.values().sum::<u32>(), WANTED_FILES + WANTED_FILES_URGENT);
            check(files <= most, || format!("#{who} waits for {files} files of {liar}, {most} at the most"))?;
        }
        Ok(())
    }

    /// A liar's word withdraws nothing that it has given a receipt for.
    pub fn check_withdrawal(&self, who: usize, record: &Record) -> Verdict {
        let Act::Appended { place, leaf, .. } = &record.act else { return Ok(()) };
        let header = leaf.header().ok().filter(|header| header.known_kind() == Some(Kind::Void));
        let Some(target) = header.and_then(|header| header.target) else { return Ok(()) };
        if self.plan.damage || !self.is_liar(place.peer) {
            return Ok(());
        }
        let ledger = &self.instances[who].ledger;
        let receipted = ledger.own.get(&ledger.origin(place, true)).map_or(0, |copy| copy.receipted());
        check(target.index >= receipted, || {
            format!("#{who} withdraws {target:?}, for which {} has given a receipt up to {receipted}", place.peer)
        })
    }

    /// A label that nobody knows is not taken for one that is.
    pub fn check_label(&self, who: usize, shown: &Shown) -> Verdict {
        let instance = &self.instances[who];
        let Some((leaf, Payload::Present { .. })) = instance.disk.held_entry(&shown.place) else { return Ok(()) };
        let machine = shown.header.as_ref().is_none_or(|header| header.is_machine());
        let known = machine || shown.repeat || Understood::of(&leaf.header_bytes()).labels;
        check(known || shown.refused.is_some(), || format!("#{who} takes {:?} with an unknown label", shown.place))
    }
}

/// What a greedy liar says beside its other lies; drawn from a generator of its own.
pub enum Greed {
    /// Nothing out of the ordinary.
    None,
    /// Many messages with the most files, none of which will ever come.
    Files(u64),
    /// The newest head once more.
    KnownHead,
    /// A message with a label that nobody knows.
    Label,
    /// As many bytes as one head may cover.
    Bytes,
}

impl Greed {
    pub fn draw(rng: &mut Rng) -> Self {
        match rng.below(60) {
            0 => Self::Files(GREED),
            1..4 => Self::Files(rng.between(1, 3)),
            4..12 => Self::KnownHead,
            12..15 => Self::Label,
            15..18 => Self::Bytes,
            _ => Self::None,
        }
    }

    /// Bodies of the messages to be added, with their precedence and bytes to be put behind the header.
    pub fn messages(&self, rng: &mut Rng) -> Vec<(Bytes, Precedence, &'static [u8])> {
        let precedence = *rng.pick(Precedence::ALL).expect("four");
        match self {
            Self::None | Self::KnownHead => Vec::new(),
            Self::Files(count) => {
                let files = if *count == GREED { MAX_ENCLOSURES } else { 2 };
                (0..*count).map(|_| (with_files(files), precedence, &[][..])).collect()
            }
            Self::Label => vec![(with_files(0), precedence, if rng.chance(500) { &[7 << 3, 9] } else { &[8 << 3, 9] })],
            Self::Bytes => {
                let body = vec![5; 40_000];
                let count = rng.between(1, MAX_PUSH_BYTES / 41_000);
                (0..count).map(|_| (Bytes::from(body.clone()), precedence, &[][..])).collect()
            }
        }
    }
}

fn with_files(files: usize) -> Bytes {
    let file = Enclosure { name: "f".into(), media_type: String::new(), size: 3, sha256: Hash::default() };
    let body = Body { enclosures: vec![file; files], ..Body::default() };
    body.encode().expect("within limits")
}
