//! One pass over the journal that rebuilds every log and checks what was signed over it.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;

use crate::exchange::{Act, KEYS_SUBJECT, Place, Record, Stowed, read_keys_note};
use crate::journal::{Damage, Group, Position, Record as Raw, Witness};
use crate::merkle::{CompactRange, leaf_hash};
use crate::name::{Hash, Kind, NodeName, Volume};
use crate::note::{Crypto, PublicKeys, Verifier};
use crate::wire::{Header, Leaf, Span, VolumeBody};

use super::again::{Again, MAX_AGAIN};
use super::fault::{At, FaultKind, VerifyReport};
use super::heads::{Deferred, HeadRecord};
use super::opener::Opener;
use super::payload::{Expected, is_lawfully_absent, is_opening, listed_keys};
use super::volume::{MAX_MISSING, PairState, SeenId, VolumeState, keys_of, log_name};

/// How many records pass between two calls of the progress callback.
const PROGRESS_EVERY: u64 = 65_536;

/// How a verification is run.
pub struct VerifyOptions<'a> {
    /// The judge of signatures.
    pub verifier: &'a dyn Verifier,
    /// Opens sealed bodies and reads files; without it they are counted.
    pub opener: Option<&'a dyn Opener>,
    /// The node's own signing keys, where its introduction is at hand. A journal lists them only from the first log on
    /// that the node opened; without them the receipts of a node that only listens cannot be judged.
    pub own_keys: Vec<PublicKeys>,
    /// What else remembers how many records were durable: snapshots, the index. [`verify()`] asks the end mark itself.
    pub witnesses: Vec<Witness>,
    /// Called with the number of records read, every now and then.
    pub progress: Option<&'a mut dyn FnMut(u64)>,
}

impl Default for VerifyOptions<'_> {
    fn default() -> Self {
        Self { verifier: &Crypto, opener: None, own_keys: Vec::new(), witnesses: Vec::new(), progress: None }
    }
}

/// Verifies the journal in a folder: every group, every tree, every signature, every body that can be opened.
///
/// It needs no daemon and takes no lock; while a daemon writes, it ends with the last complete group. Memory does not
/// grow with the journal.
///
/// # Errors
/// The folder cannot be listed. Everything else is in the report.
pub fn verify(folder: &Path, mut options: VerifyOptions<'_>) -> std::io::Result<VerifyReport> {
    // Asked before the scan begins: a daemon may write meanwhile.
    let mut witnesses = std::mem::take(&mut options.witnesses);
    witnesses.extend(Witness::of_end_mark(folder));
    let mut scan = crate::journal::scan(folder, 0)?;
    let (mut report, again) = run(&mut scan, options);
    if !again.is_empty() {
        super::again::look(&mut report, again, crate::journal::scan(folder, 0)?);
    }
    match (scan.lost_end(&witnesses), scan.torn()) {
        (Some(lost), _) => report.damage(&lost),
        (None, Some(torn)) => report.remark(torn.to_string()),
        (None, None) => {}
    }
    Ok(report)
}

/// Verifies groups from anywhere, in their order from the first one on. Heads of sizes that lie too far back are
/// remarks here: only [`verify()`] can look at the groups a second time.
pub fn verify_groups(
    groups: impl IntoIterator<Item = Result<Group, Damage>>,
    options: VerifyOptions<'_>,
) -> VerifyReport {
    let (mut report, again) = run(groups, options);
    again.iter().for_each(|again| again.remark(&mut report));
    report
}

fn run(
    groups: impl IntoIterator<Item = Result<Group, Damage>>,
    options: VerifyOptions<'_>,
) -> (VerifyReport, Vec<Again>) {
    let mut auditor = Auditor::new(options.verifier, options.opener);
    auditor.own_keys = options.own_keys;
    let mut progress = options.progress;
    let mut told = 0;
    for group in groups {
        match group {
            Ok(group) => {
                auditor.report.groups += 1;
                group.records.iter().for_each(|record| auditor.take(record));
            }
            Err(damage) => auditor.damage(&damage),
        }
        if let Some(progress) = progress.as_deref_mut().filter(|_| auditor.report.records >= told + PROGRESS_EVERY) {
            told = auditor.report.records;
            progress(told);
        }
    }
    auditor.finish()
}

/// Verifies encoded records that lie in no file, as a simulation keeps them; their number stands for their offset.
///
/// Total: arbitrary bytes are records that nobody understands, at worst.
pub fn verify_records(records: impl IntoIterator<Item = Bytes>, options: VerifyOptions<'_>) -> VerifyReport {
    let mut auditor = Auditor::new(options.verifier, options.opener);
    auditor.own_keys = options.own_keys;
    for (number, bytes) in (0..).zip(records) {
        let blinding = [0; crate::journal::BLINDING_BYTES];
        let leaf = crate::journal::leaf_hash(&blinding, &bytes);
        let position = Position { segment: 0, offset: number };
        auditor.take(&Raw { number, bytes, blinding, leaf, position });
    }
    let (mut report, again) = auditor.finish();
    again.iter().for_each(|again| again.remark(&mut report));
    report
}

/// What is known so far.
pub(super) struct Auditor<'a> {
    pub report: VerifyReport,
    pub verifier: &'a dyn Verifier,
    pub opener: Option<&'a dyn Opener>,
    pub pairs: BTreeMap<NodeName, PairState>,
    /// Keys with which this node signs.
    pub own_keys: Vec<PublicKeys>,
    pub expected: Expected,
    /// The journal's own tree.
    pub journal: CompactRange,
    /// Records could not be read: what follows may lack its beginning.
    pub damaged: bool,
    /// Receipts that wait for the keys that made them.
    pub deferred: Vec<Deferred>,
    /// Roots of sizes that lie too far back, for a second look at the journal.
    pub again: Vec<Again>,
    pub appended_again: u64,
}

impl<'a> Auditor<'a> {
    fn new(verifier: &'a dyn Verifier, opener: Option<&'a dyn Opener>) -> Self {
        Self {
            report: VerifyReport::default(),
            verifier,
            opener,
            pairs: BTreeMap::new(),
            own_keys: Vec::new(),
            expected: Expected::new(),
            journal: CompactRange::default(),
            damaged: false,
            deferred: Vec::new(),
            again: Vec::new(),
            appended_again: 0,
        }
    }

    fn damage(&mut self, damage: &Damage) {
        self.report.damage(damage);
        if damage.next_record.is_none_or(|next| next > damage.first_record) {
            self.damaged = true;
        }
    }

    fn take(&mut self, raw: &Raw) {
        let at = At::of(raw);
        let record = Record::decode(&raw.bytes);
        if self.report.records == 0 && !self.damaged && !is_opening(&record) {
            self.report.fault(FaultKind::Beginning, at, "the journal does not begin with its opening", "");
        }
        self.report.records += 1;
        self.apply(at, &record);
        self.journal.push(Hash(raw.leaf));
    }

    fn apply(&mut self, at: At, record: &Record) {
        match &record.act {
            Act::Opened { journal, node } => {
                if self.report.journal.is_some() {
                    self.report.fault(FaultKind::Beginning, at, "the journal is opened a second time", "");
                    return;
                }
                (self.report.journal, self.report.node) = (Some(*journal), Some(*node));
            }
            Act::PeerAdded { peer, keys, .. } => {
                let pair = self.pairs.entry(*peer).or_default();
                pair.introduced.extend(keys.iter().cloned());
                pair.know_peer_keys(keys);
            }
            Act::Queued { .. } => self.queued(at, &record.act),
            Act::Dropped { peer, id, .. } => self.dropped(*peer, id),
            Act::VolumeOpened { place, leaf, salt, body } => {
                let payload = Stowed::Clear { salt: *salt, body: body.clone() };
                self.entry(at, place, true, leaf, None, Some(&payload), 0, false);
            }
            Act::Appended { place, leaf, queued } => {
                self.entry(at, place, true, leaf, Some(*queued), None, 0, false);
            }
            Act::Stored { place, leaf, payload, enclosures, repeat, .. } => {
                self.entry(at, place, false, leaf, None, Some(payload), *enclosures, *repeat);
            }
            Act::Fetched { place, leaf, payload } => self.fetched(at, place, leaf, payload),
            Act::Signed { place, root, lines } => {
                self.head(at, place, true, &HeadRecord { root: Some(*root), author: lines, holder: &[], mixed: false });
            }
            Act::Receipt { place, lines } => {
                self.head(at, place, true, &HeadRecord { root: None, author: &[], holder: lines, mixed: false });
            }
            Act::Cosigned { place, root, author_lines, lines } => {
                self.head(
                    at,
                    place,
                    false,
                    &HeadRecord { root: Some(*root), author: author_lines, holder: lines, mixed: false },
                );
            }
            Act::FetchedHead { place, root, lines } => self.fetched_head(at, place, *root, lines),
            Act::EnclosureHeld { peer, entry, ordinal, slot } => {
                self.enclosure_held(at, *peer, *entry, *ordinal, *slot);
            }
            Act::Frozen { peer, own_log, proof, reason } => self.frozen(at, *peer, *own_log, proof, *reason),
            Act::Fenced { peer, .. } => {
                self.report.remark(format!("record {}: the node was fenced; {peer} showed a second copy", at.record));
            }
            Act::Noted { subject, text, .. } if subject == KEYS_SUBJECT => {
                let noted = read_keys_note(text).filter(|key| !self.own_keys.contains(key));
                self.own_keys.extend(noted);
            }
            Act::Unknown(_) => {
                self.report.unknown_records += 1;
                self.report.remark(format!("record {} is of a kind that this version does not know", at.record));
            }
            _ => {}
        }
    }

    /// Leaves a root to a second look.
    pub(super) fn look_again(&mut self, again: Again) {
        if self.again.len() < MAX_AGAIN {
            self.again.push(again);
        } else {
            again.remark(&mut self.report);
        }
    }

    fn name(&self, place: &Place, own: bool) -> String {
        log_name(self.report.node, place.peer, own, place.volume)
    }

    /// The volume, new where it is met for the first time.
    pub(super) fn volume(&mut self, peer: NodeName, own: bool, volume: Volume) -> &mut VolumeState {
        self.pairs.entry(peer).or_default().log(own).volumes.entry(volume).or_default()
    }

    /// An entry that this node appended or stored.
    #[allow(clippy::too_many_arguments, reason = "these are the fields of two kinds of records")]
    fn entry(
        &mut self,
        at: At,
        place: &Place,
        own: bool,
        leaf: &Leaf,
        queued: Option<u64>,
        payload: Option<&Stowed>,
        enclosures: u32,
        repeat: bool,
    ) {
        self.report.entries += 1;
        let header = leaf.header().ok();
        if !self.place_leaf(at, place, own, leaf) {
            return;
        }
        if let Some(queued) = queued {
            self.item(at, place.peer, leaf, header.as_ref(), queued);
            self.appended(place, queued);
        }
        let whose =
            || format!("entry {} of {}", place.index, log_name(self.report.node, place.peer, own, place.volume));
        let body = match payload {
            Some(payload) => {
                let whose = whose();
                self.payload(at, payload, leaf.commitment(), leaf.body_len(), &whose)
            }
            None => None,
        };
        if place.index == 0 {
            self.volume_opened(at, place, own, header.as_ref(), body.clone());
        }
        if !own {
            self.note_missing(place, header.as_ref(), payload);
        }
        let Some(header) = header else { return };
        if !header.is_machine() {
            self.note_id(at, place, own, &header, leaf, repeat);
        }
        match (header.known_kind(), header.target, body) {
            (Some(Kind::Void), Some(target), _) => {
                let span = Span { volume: target.volume, from: target.index, to: target.index.saturating_add(1) };
                self.pairs.entry(place.peer).or_default().log(own).excuse(span);
            }
            (Some(Kind::Key), _, Some(body)) if !own => self.new_keys(place, own, &listed_keys(&body)),
            (_, _, Some(body)) if enclosures > 0 && !own && self.opener.is_some() => {
                self.expect_files(place.peer, header.id, body);
            }
            _ => {}
        }
    }

    /// Appends a leaf to its tree; `false` where it does not belong there.
    fn place_leaf(&mut self, at: At, place: &Place, own: bool, leaf: &Leaf) -> bool {
        let name = self.name(place, own);
        let volume = self.volume(place.peer, own, place.volume);
        let size = volume.tree.size();
        if place.index == size {
            volume.tree.push(leaf_hash(leaf.bytes()));
            return true;
        }
        if volume.broken {
            return true;
        }
        volume.broken = true;
        let what = if place.index > size {
            format!("entries {size} to {} of the log are missing before entry {}", place.index - 1, place.index)
        } else {
            format!("entry {} is recorded a second time; the log has {size} entries", place.index)
        };
        self.report.fault(FaultKind::Index, at, what, format!("{name}, from entry {} on", place.index.min(size)));
        false
    }

    fn appended(&mut self, place: &Place, queued: u64) {
        let pair = self.pairs.entry(place.peer).or_default();
        let keys = pair.items.get(&queued).map(|item| item.keys.clone()).unwrap_or_default();
        let volume = pair.own.volumes.entry(place.volume).or_default();
        volume.queued.push_back((place.index, queued));
        if !keys.is_empty() {
            self.new_keys(place, true, &keys);
        }
    }

    fn new_keys(&mut self, place: &Place, own: bool, keys: &[PublicKeys]) {
        self.volume(place.peer, own, place.volume).take_keys(keys);
        self.know_keys(place.peer, own, keys);
    }

    fn know_keys(&mut self, peer: NodeName, own: bool, keys: &[PublicKeys]) {
        if !own {
            self.pairs.entry(peer).or_default().know_peer_keys(keys);
            return;
        }
        for key in keys {
            if !self.own_keys.contains(key) {
                self.own_keys.push(key.clone());
            }
        }
    }

    /// Entry 0 must be a VOLUME that continues the volume before.
    fn volume_opened(&mut self, at: At, place: &Place, own: bool, header: Option<&Header>, body: Option<Bytes>) {
        let name = self.name(place, own);
        let is_volume = header.is_some_and(|header| header.known_kind() == Some(Kind::Volume));
        let body = body.filter(|_| is_volume).and_then(|body| VolumeBody::decode(body).ok());
        let Some(body) = body else {
            self.report.fault(FaultKind::Volume, at, "entry 0 is not a VOLUME that can be read", name);
            return;
        };
        let keys = keys_of(&body.keys);
        let pair = self.pairs.entry(place.peer).or_default();
        if !own && !pair.introduced.is_empty() && !keys.iter().all(|key| pair.introduced.contains(key)) {
            self.report.remark(format!("{name}: its keys are others than those that were introduced"));
        }
        self.know_keys(place.peer, own, &keys);
        self.check_before(at, place, own, &body, &name);
        let log = self.pairs.entry(place.peer).or_default().log(own);
        if place.volume.number <= log.highest {
            let what = format!("the volume has a number that is not above {}", log.highest);
            self.report.fault(FaultKind::Volume, at, what, name);
        }
        log.highest = log.highest.max(place.volume.number);
        body.unavailable.iter().for_each(|span| log.excuse(*span));
        let volume = log.volumes.entry(place.volume).or_default();
        volume.take_keys(&keys);
        volume.before = body.before;
    }

    /// The volume before must be there with that size and root; only a first volume names none.
    fn check_before(&mut self, at: At, place: &Place, own: bool, body: &VolumeBody, name: &str) {
        let me = self.report.node;
        let log = self.pairs.entry(place.peer).or_default().log(own);
        let Some(before) = body.before else {
            let receipted = |(volume, state): (&Volume, &VolumeState)| *volume != place.volume && state.receipted > 0;
            let any = log.volumes.iter().any(receipted) && !self.damaged;
            let what = "the volume names none before it, and there is one with a receipt";
            match any {
                // The holder showed none: it has lost its copy, or people agreed to begin anew.
                true if own || body.reason.needs_people() => {
                    self.report.remark(format!("record {}: {what} ({name})", at.record));
                }
                true => self.report.fault(FaultKind::Volume, at, what, name),
                false => {}
            }
            return;
        };
        let (from, to) = if own { (me, Some(place.peer)) } else { (Some(place.peer), me) };
        let foreign = me.is_some() && (Some(before.origin.from) != from || Some(before.origin.to) != to);
        let known = log.volumes.get(&before.origin.volume).filter(|_| !foreign && before.origin.volume != place.volume);
        let Some(known) = known else {
            if !self.damaged || foreign {
                let what = format!("the volume names {} as the one before, which is not here", before.origin);
                self.report.fault(FaultKind::Volume, at, what, name);
            }
            return;
        };
        if known.broken {
            return;
        }
        let root = known.heads.root_at(before.size).or_else(|| known.tree.root_at(before.size));
        match root {
            Some(root) if root == before.root => {}
            Some(_) => {
                let what =
                    format!("the root that is named of {} at size {} is not its root", before.origin, before.size);
                self.report.fault(FaultKind::Volume, at, what, name);
            }
            // An own volume may stand on a head that another instance of this node signed: then its root is looked up.
            None if !own && known.heads.remembers(before.size) || before.size > known.tree.size() => {
                let what = format!("{} has no head of size {}, which is named as its end", before.origin, before.size);
                self.report.fault(FaultKind::Volume, at, what, name);
            }
            None => {
                if known.heads.remembers(before.size) {
                    let what = "a head of that size is not recorded here; another instance of this node signed it";
                    let (record, origin, size) = (at.record, before.origin, before.size);
                    self.report.remark(format!("record {record}: {name} stands on {origin} at size {size}: {what}"));
                }
                let what =
                    format!("the root that is named of {} at size {} is not its root", before.origin, before.size);
                let (log, whose) = ((place.peer, own, before.origin.volume), name.to_owned());
                let (size, root) = (before.size, before.root);
                self.look_again(Again { at, log, size, root, kind: FaultKind::Volume, what, whose });
            }
        }
    }

    fn note_missing(&mut self, place: &Place, header: Option<&Header>, payload: Option<&Stowed>) {
        let kind = header.and_then(Header::known_kind);
        let Some(Stowed::Absent(reason)) = payload else { return };
        let log = &mut self.pairs.entry(place.peer).or_default().theirs;
        if !is_lawfully_absent(*reason, kind) && log.missing.len() < MAX_MISSING {
            log.missing.insert((place.volume.number, place.index));
        }
    }

    fn note_id(&mut self, at: At, place: &Place, own: bool, header: &Header, leaf: &Leaf, repeat: bool) {
        let tag = leaf.commitment().0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        let ids = &mut self.pairs.entry(place.peer).or_default().log(own).ids;
        let seen = ids.get(&header.id);
        ids.insert(header.id, SeenId { volume: place.volume, commitment: tag });
        let Some(seen) = seen else { return };
        let shown_twice = if own { seen.volume == place.volume } else { !repeat && seen.commitment == tag };
        if shown_twice {
            let what = "the id was used before and the entry is not marked as a repeat";
            let whose = format!("message {} in {}", header.id, self.name(place, own));
            self.report.fault(FaultKind::DuplicateId, at, what, whose);
        }
    }

    /// An own entry that was got back from its holder.
    fn fetched(&mut self, at: At, place: &Place, leaf: &Leaf, payload: &Stowed) {
        self.report.entries += 1;
        let name = self.name(place, true);
        let volume = self.volume(place.peer, true, place.volume);
        let continues = volume.fetching.as_ref().map_or(0, |fetching| fetching.size()) == place.index;
        if place.index == 0 {
            volume.fetching = Some(Default::default());
        } else if !continues || volume.fetching.is_none() {
            if volume.tree.size() != place.index {
                let size = volume.tree.size();
                let broken = std::mem::replace(&mut volume.broken, true);
                if !broken {
                    let what = format!("entry {} was got back, and the log has {size} entries", place.index);
                    self.report.fault(FaultKind::Index, at, what, name);
                }
                return;
            }
            volume.fetching = Some(volume.tree.clone());
        }
        if let Some(fetching) = &mut volume.fetching {
            fetching.push(leaf_hash(leaf.bytes()));
        }
        let whose = format!("entry {} of {name}", place.index);
        let body = self.payload(at, payload, leaf.commitment(), leaf.body_len(), &whose);
        if place.index == 0 {
            let keys = body.and_then(|body| VolumeBody::decode(body).ok()).map(|body| keys_of(&body.keys));
            let keys = keys.unwrap_or_default();
            self.know_keys(place.peer, true, &keys);
            let log = self.pairs.entry(place.peer).or_default().log(true);
            log.highest = log.highest.max(place.volume.number);
            log.volumes.entry(place.volume).or_default().take_keys(&keys);
        }
    }

    fn fetched_head(&mut self, at: At, place: &Place, root: Hash, lines: &[String]) {
        let name = self.name(place, true);
        let volume = self.volume(place.peer, true, place.volume);
        let Some(fetched) = volume.fetching.take().filter(|fetched| fetched.size() == place.index) else {
            // The holder has no more than this node: its head changes nothing, and must not contradict the entries.
            let known = volume.heads.root_at(place.index).or_else(|| volume.tree.root_at(place.index));
            if known.is_some_and(|known| known != root) {
                let what = "the holder shows another history";
                self.report.remark(format!("record {}: {what} of {name} at size {}", at.record, place.index));
            }
            return;
        };
        let common = fetched.size().min(volume.tree.size());
        let (own, theirs) = (volume.tree.root_at(common), fetched.root_at(common));
        let differs = own.is_some() && theirs.is_some() && own != theirs;
        let newest = volume.heads.newest().map_or(0, |head| head.size);
        if own.is_none() || own != theirs || fetched.size() < newest {
            volume.heads = Default::default();
        }
        volume.tree = fetched;
        volume.broken = false;
        if differs {
            let what = "the holder's branch took the place of the own one";
            self.report.remark(format!("record {}: {what} in {name}", at.record));
        }
        // The holder shows its own lines among the author's.
        self.head(at, place, true, &HeadRecord { root: Some(root), author: lines, holder: lines, mixed: true });
    }
}
