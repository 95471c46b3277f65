//! Notes as bytes from heads and lines, and back.

use bytes::Bytes;

use crate::exchange::env::Env;
use crate::exchange::fold::fits_side;
use crate::exchange::mutant::{self, Mutant};
use crate::name::{Hash, NodeName, Origin, cosigner_name};
use crate::note::{Checkpoint, Head, KeyAlgorithm, Line, PublicKeys, judge_log_lines, judge_receipt_lines};

/// Writes a signed note.
pub(super) fn note(origin: Origin, size: u64, root: Hash, lines: &[&[String]]) -> Bytes {
    let mut text = Head { origin, size, root }.text();
    text.push('\n');
    for line in lines.iter().copied().flatten() {
        text.push_str(line);
        text.push('\n');
    }
    text.into()
}

/// Whether a line of the post-quantum algorithm is among them.
pub(super) fn is_full(lines: &[String]) -> bool {
    let bytes = KeyAlgorithm::MlDsa44.signature_bytes();
    let quantum = |line: &String| line.parse::<Line>().is_ok_and(|line| line.signature().len() == 8 + bytes);
    lines.iter().any(quantum)
}

/// Whether a line bears that key name.
pub(super) fn is_by(name: &str, line: &str) -> bool {
    line.parse::<Line>().is_ok_and(|line| line.name() == name)
}

/// A note whose author's lines hold.
#[derive(Debug)]
pub(super) struct Good {
    pub head: Head,
    /// Every line but those of `holder`.
    pub author_lines: Vec<String>,
    /// The lines that bear the holder's name.
    pub holder_lines: Vec<String>,
    /// Whether the author's lines of both algorithms are there, by each of the keys.
    pub full: bool,
    pub checkpoint: Checkpoint,
}

/// Reads a note and judges the author's lines; `None` where it does not hold.
pub(super) fn judge(env: &dyn Env, bytes: &[u8], keys: &[PublicKeys], holder: NodeName) -> Option<Good> {
    let checkpoint = Checkpoint::parse(bytes).ok()?;
    let blind = mutant::active(Mutant::AcceptBadSignature);
    let judged = judge_log_lines(&checkpoint, keys, env.verifier()).ok();
    if !judged.as_ref().is_some_and(|judged| judged.has(KeyAlgorithm::Ed25519)) && !blind {
        return None;
    }
    let name = cosigner_name(holder);
    let (mut author_lines, mut holder_lines) = (Vec::new(), Vec::new());
    for line in checkpoint.lines() {
        let lines = if line.name() == name { &mut holder_lines } else { &mut author_lines };
        lines.push(line.to_string());
    }
    if !fits_side(&author_lines) || !fits_side(&holder_lines) {
        return None;
    }
    let full = judged.is_some_and(|judged| judged.is_full()) || blind;
    let head = Head { origin: checkpoint.head().origin, size: checkpoint.head().size, root: checkpoint.head().root };
    Some(Good { head, author_lines, holder_lines, full, checkpoint })
}

/// Whether no line that a known key of the holder should have made is a bad one. A note without a receipt is good too.
pub(super) fn receipts_hold(env: &dyn Env, checkpoint: &Checkpoint, holder: NodeName, keys: &[PublicKeys]) -> bool {
    judge_receipt_lines(checkpoint, holder, keys, env.verifier()).is_ok() || mutant::active(Mutant::AcceptBadReceipt)
}

/// What a receipt says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receipted {
    /// POSIX seconds by the holder's clock.
    pub time: u64,
    /// Whether the holder's lines of both algorithms are there.
    pub full: bool,
}

/// Judges the holder's lines of a note; `None` where they do not hold, or where the classical one is missing.
pub(super) fn judge_receipt(
    env: &dyn Env,
    checkpoint: &Checkpoint,
    holder: NodeName,
    keys: &[PublicKeys],
) -> Option<Receipted> {
    if mutant::active(Mutant::AcceptBadReceipt) {
        return Some(Receipted { time: 0, full: true });
    }
    let judged = judge_receipt_lines(checkpoint, holder, keys, env.verifier()).ok()?;
    if !judged.has(KeyAlgorithm::Ed25519) {
        return None;
    }
    Some(Receipted { time: judged.time_seconds()?, full: judged.has(KeyAlgorithm::MlDsa44) })
}
