//! Two histories of one log: whether what was kept proves them to somebody who holds neither copy.

use bytes::Bytes;

use crate::name::{NodeName, Origin};
use crate::note::{Checkpoint, Exclusion, Head, KeyAlgorithm, judge_log_lines};
use crate::wire::{Contradiction, VolumeReason};

use super::fault::At;
use super::verify::Auditor;

impl Auditor<'_> {
    /// A direction that was frozen. It is a remark, never a fault: people decide how to go on.
    pub(super) fn frozen(&mut self, at: At, peer: NodeName, own: bool, proof: &Contradiction, reason: VolumeReason) {
        let whose = if own { "the own log to" } else { "the log of" };
        let said = match (reason, self.proved(peer, own, proof)) {
            (_, Some(proved)) => {
                format!("two histories of {whose} {peer}: {proved}; both are kept, and their signatures hold")
            }
            (VolumeReason::Contradiction, None) => {
                format!("two histories of {whose} {peer}; what is kept does not prove them by itself")
            }
            (_, None) => format!("{whose} {peer} waited for people on both sides"),
        };
        self.report.remark(format!("record {}: {said}", at.record));
    }

    fn proved(&mut self, peer: NodeName, own: bool, proof: &Contradiction) -> Option<Exclusion> {
        let me = self.report.node?;
        let pair = self.pairs.entry(peer).or_default();
        let keys = if own { &self.own_keys } else { &pair.peer_keys };
        let between = if own { (me, peer) } else { (peer, me) };
        let signed = |note: &Bytes| -> Option<Head> {
            let note = Checkpoint::<Origin>::parse(note).ok()?;
            let judged = judge_log_lines(&note, keys, self.verifier).ok()?;
            let origin = note.head().origin;
            let counts = judged.has(KeyAlgorithm::Ed25519) && (origin.from, origin.to) == between;
            counts.then(|| note.head().clone())
        };
        Exclusion::of(&signed(&proof.ours)?, &signed(&proof.theirs)?, &proof.hashes)
    }
}
