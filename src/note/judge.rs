//! Judging the lines of a checkpoint by the keys that are known.
//!
//! A line is known where its name and key id are those of a given key. A known line that does not hold rejects the
//! whole note (c2sp.org/signed-note); an unknown line is kept and is "not judged".

use std::fmt;

use super::algorithm::{Algorithm, KeyAlgorithm, key_id};
use super::checkpoint::Checkpoint;
use super::head::MAX_ORIGIN_BYTES;
use super::keys::{PublicKeys, Verifier};
use super::line::Line;
use super::sign::{MAX_TIME_SECONDS, message};
use super::{Head, VerifierKey};
use crate::name::{NodeName, cosigner_name};

/// A known line whose signature holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoodLine {
    /// Where it stands among the lines, counted from 0.
    pub position: usize,
    /// The time that it states, in seconds since 1970 by the signer's clock; the author's lines state none.
    pub time_seconds: Option<u64>,
}

/// What was found of one node's keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyJudged {
    /// The line of the Ed25519 key.
    pub ed25519: Option<GoodLine>,
    /// The line of the ML-DSA-44 key.
    pub ml_dsa_44: Option<GoodLine>,
}

impl KeyJudged {
    /// The line of one algorithm.
    pub fn get(&self, algorithm: KeyAlgorithm) -> Option<GoodLine> {
        match algorithm {
            KeyAlgorithm::Ed25519 => self.ed25519,
            KeyAlgorithm::MlDsa44 => self.ml_dsa_44,
        }
    }

    /// Whether the lines of both algorithms are there.
    pub fn is_full(&self) -> bool {
        self.ed25519.is_some() && self.ml_dsa_44.is_some()
    }
}

/// The verdict on one side's lines of a checkpoint; every known line of it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// For each of the given keys, in their order.
    pub keys: Vec<KeyJudged>,
    /// Where the lines stand that no given key made: the other side's, and those that nobody here can judge.
    pub not_judged: Vec<usize>,
}

impl Judged {
    /// Whether a line of that algorithm by any of the keys is there.
    pub fn has(&self, algorithm: KeyAlgorithm) -> bool {
        self.keys.iter().any(|key| key.get(algorithm).is_some())
    }

    /// Whether every one of the keys has its lines of both algorithms there (and there is a key).
    pub fn is_full(&self) -> bool {
        !self.keys.is_empty() && self.keys.iter().all(KeyJudged::is_full)
    }

    /// The earliest time that a line states, in seconds since 1970: what all of them together claim holds from the
    /// first on.
    pub fn time_seconds(&self) -> Option<u64> {
        let lines = self.keys.iter().flat_map(|key| [key.ed25519, key.ml_dsa_44]);
        lines.flatten().filter_map(|line| line.time_seconds).min()
    }
}

/// Why a checkpoint is rejected though it was well-formed. Whoever signed it, or altered it, is the one to ask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// A known line does not hold: wrong signature, wrong length, or a time that its kind of line cannot have.
    #[error("the signature line {number} of the known key `{name}` does not hold")]
    BadLine {
        /// Which one, counted from 1.
        number: usize,
        /// The name of the key.
        name: String,
    },
    /// No known key of the author has signed.
    #[error("none of the known keys of `{name}` has signed this head")]
    NoKnownLine {
        /// The name of the log.
        name: String,
    },
}

/// Judges the author's lines of a checkpoint by the author's keys (several while they are rotated).
///
/// # Errors
/// A known line that does not hold, or no known line at all. Whether one algorithm is enough is for the caller to say:
/// see [`Judged::has`] and [`Judged::is_full`].
pub fn judge_log_lines(
    checkpoint: &Checkpoint,
    keys: &[PublicKeys],
    verifier: &dyn Verifier,
) -> Result<Judged, JudgeError> {
    let name = checkpoint.head().origin.to_string();
    let judged = judge(checkpoint, &name, Algorithm::Ed25519, keys, verifier)?;
    let any = KeyAlgorithm::ALL.into_iter().any(|algorithm| judged.has(algorithm));
    if any { Ok(judged) } else { Err(JudgeError::NoKnownLine { name }) }
}

/// Judges the receipt lines of a checkpoint by the keys of `holder` (several while they are rotated).
///
/// A checkpoint without a receipt is no error: [`Judged::has`] says whether there is one.
///
/// # Errors
/// A known line that does not hold.
pub fn judge_receipt_lines(
    checkpoint: &Checkpoint,
    holder: NodeName,
    keys: &[PublicKeys],
    verifier: &dyn Verifier,
) -> Result<Judged, JudgeError> {
    judge(checkpoint, &cosigner_name(holder), Algorithm::CosignatureV1, keys, verifier)
}

/// Judges the line of one verifier key, on a checkpoint of any log; `None` where that key has not signed.
///
/// # Errors
/// A line of that key that does not hold.
pub fn judge_with<O: fmt::Display>(
    checkpoint: &Checkpoint<O>,
    key: &VerifierKey,
    verifier: &dyn Verifier,
) -> Result<Option<GoodLine>, JudgeError> {
    let is_known = |line: &Line| line.name() == key.name() && line.key_id() == key.key_id();
    let Some((position, line)) = checkpoint.lines().iter().enumerate().find(|(_, line)| is_known(line)) else {
        return Ok(None);
    };
    match check(checkpoint.head(), line, key.algorithm(), key.public_key(), verifier) {
        Some(time_seconds) => Ok(Some(GoodLine { position, time_seconds })),
        None => Err(bad(position, line)),
    }
}

/// `classical` is the kind of line that the Ed25519 key makes: it also tells log lines from receipt lines.
fn judge(
    checkpoint: &Checkpoint,
    name: &str,
    classical: Algorithm,
    keys: &[PublicKeys],
    verifier: &dyn Verifier,
) -> Result<Judged, JudgeError> {
    let of_receipts = classical.carries_time();
    let mut judged = Judged { keys: vec![KeyJudged::default(); keys.len()], not_judged: Vec::new() };
    let kinds = [classical, Algorithm::MlDsa44];
    let known: Vec<(usize, Algorithm, &[u8], [u8; 4])> = (0..keys.len())
        .flat_map(|owner| kinds.map(|kind| (owner, kind, keys[owner].get(kind.key_algorithm()))))
        .map(|(owner, kind, key)| (owner, kind, key, key_id(name, kind, key)))
        .collect();
    for (position, line) in checkpoint.lines().iter().enumerate() {
        let (mut is_known, mut holds) = (false, false);
        for (owner, kind, key, id) in &known {
            if line.name() != name || line.key_id() != *id {
                continue;
            }
            is_known = true;
            let Some(time_seconds) = check(checkpoint.head(), line, *kind, key, verifier) else { continue };
            // The author's lines state no time: one that does was not made by the rules.
            if !of_receipts && time_seconds.is_some_and(|time| time != 0) {
                continue;
            }
            holds = true;
            let good = GoodLine { position, time_seconds: time_seconds.filter(|_| of_receipts) };
            match kind.key_algorithm() {
                KeyAlgorithm::Ed25519 => judged.keys[*owner].ed25519 = Some(good),
                KeyAlgorithm::MlDsa44 => judged.keys[*owner].ml_dsa_44 = Some(good),
            }
        }
        match (is_known, holds) {
            (true, false) => return Err(bad(position, line)),
            (true, true) => {}
            (false, _) => judged.not_judged.push(position),
        }
    }
    Ok(judged)
}

fn bad(position: usize, line: &Line) -> JudgeError {
    JudgeError::BadLine { number: position + 1, name: line.name().to_owned() }
}

/// Whether the line holds as one of `algorithm` by `public_key`, and if so the time that it carries.
fn check<O: fmt::Display>(
    head: &Head<O>,
    line: &Line,
    algorithm: Algorithm,
    public_key: &[u8],
    verifier: &dyn Verifier,
) -> Option<Option<u64>> {
    let (time, signature) = line.parts(algorithm)?;
    if time.is_some_and(|time| time > MAX_TIME_SECONDS) || line.name().len() > MAX_ORIGIN_BYTES {
        return None;
    }
    let message = message(algorithm, head, line.name(), time);
    verifier.verify(algorithm.key_algorithm(), public_key, &message, signature).then_some(time)
}
