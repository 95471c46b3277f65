//! What is signed, and the lines that come of it.

use std::fmt;

use super::algorithm::{Algorithm, KeyAlgorithm, key_id};
use super::head::Head;
use super::keys::Signer;
use super::line::Line;
use crate::name::{NodeName, cosigner_name};

/// The largest time of a line, in seconds since 1970: 2^63 − 1 (c2sp.org/tlog-cosignature).
pub const MAX_TIME_SECONDS: u64 = (1 << 63) - 1;

/// The author's ML-DSA-44 line makes no statement about time.
const NO_TIME: u64 = 0;

/// The label of the structure that ML-DSA-44 lines sign, filled up to twelve bytes.
const SUBTREE_LABEL: &[u8; 12] = b"subtree/v1\n\0";

/// The bytes that a log line of the author signs over `head`.
pub fn log_message<O: fmt::Display>(algorithm: KeyAlgorithm, head: &Head<O>) -> Vec<u8> {
    match algorithm {
        KeyAlgorithm::Ed25519 => head.text().into_bytes(),
        KeyAlgorithm::MlDsa44 => subtree_message(head, &head.origin.to_string(), NO_TIME),
    }
}

/// The bytes that a receipt line of `holder` signs over `head` at `time_seconds` (since 1970, by the holder's clock, at
/// most [`MAX_TIME_SECONDS`]).
pub fn receipt_message(algorithm: KeyAlgorithm, head: &Head, holder: NodeName, time_seconds: u64) -> Vec<u8> {
    match algorithm {
        KeyAlgorithm::Ed25519 => cosignature_message(head, time_seconds),
        KeyAlgorithm::MlDsa44 => subtree_message(head, &cosigner_name(holder), time_seconds),
    }
}

/// The log line that carries a signature over [`log_message`].
///
/// # Panics
/// Where `signature` is empty, which is no signature.
pub fn log_line(head: &Head, algorithm: KeyAlgorithm, public_key: &[u8], signature: &[u8]) -> Line {
    let (kind, time) = match algorithm {
        KeyAlgorithm::Ed25519 => (Algorithm::Ed25519, None),
        KeyAlgorithm::MlDsa44 => (Algorithm::MlDsa44, Some(NO_TIME)),
    };
    line(head.origin.to_string(), kind, public_key, time, signature)
}

/// The receipt line that carries a signature over [`receipt_message`] of the same holder and time.
pub fn receipt_line(
    holder: NodeName,
    algorithm: KeyAlgorithm,
    public_key: &[u8],
    time_seconds: u64,
    signature: &[u8],
) -> Line {
    let kind = match algorithm {
        KeyAlgorithm::Ed25519 => Algorithm::CosignatureV1,
        KeyAlgorithm::MlDsa44 => Algorithm::MlDsa44,
    };
    line(cosigner_name(holder), kind, public_key, Some(time_seconds), signature)
}

/// Signs `head` as its author.
pub fn sign_log_line(head: &Head, algorithm: KeyAlgorithm, signer: &dyn Signer) -> Line {
    let signature = signer.sign(algorithm, &log_message(algorithm, head));
    log_line(head, algorithm, signer.public_key(algorithm), &signature)
}

/// Signs a receipt for `head` as its `holder` at `time_seconds` since 1970.
pub fn sign_receipt_line(
    head: &Head,
    holder: NodeName,
    algorithm: KeyAlgorithm,
    time_seconds: u64,
    signer: &dyn Signer,
) -> Line {
    let signature = signer.sign(algorithm, &receipt_message(algorithm, head, holder, time_seconds));
    receipt_line(holder, algorithm, signer.public_key(algorithm), time_seconds, &signature)
}

/// The bytes that a line of `algorithm` under `name` signs, whoever's log it is.
pub(super) fn message<O: fmt::Display>(algorithm: Algorithm, head: &Head<O>, name: &str, time: Option<u64>) -> Vec<u8> {
    match (algorithm, time) {
        (Algorithm::Ed25519, _) => head.text().into_bytes(),
        (Algorithm::CosignatureV1, time) => cosignature_message(head, time.unwrap_or(NO_TIME)),
        (Algorithm::MlDsa44, time) => subtree_message(head, name, time.unwrap_or(NO_TIME)),
    }
}

/// The Ed25519 signed message of c2sp.org/tlog-cosignature.
fn cosignature_message<O: fmt::Display>(head: &Head<O>, time_seconds: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {time_seconds}\n{}", head.text()).into_bytes()
}

/// The `cosigned_message` of c2sp.org/tlog-cosignature, for a whole tree (`start` is zero).
fn subtree_message<O: fmt::Display>(head: &Head<O>, name: &str, time_seconds: u64) -> Vec<u8> {
    let origin = head.origin.to_string();
    let mut message = SUBTREE_LABEL.to_vec();
    push_counted(&mut message, name);
    message.extend_from_slice(&time_seconds.to_be_bytes());
    push_counted(&mut message, &origin);
    message.extend_from_slice(&0_u64.to_be_bytes());
    message.extend_from_slice(&head.size.to_be_bytes());
    message.extend_from_slice(head.root.as_bytes());
    message
}

/// Appends a name behind its length in one byte. Origins and the names of keys that are judged have at most 255 bytes.
fn push_counted(message: &mut Vec<u8>, name: &str) {
    debug_assert!(name.len() <= super::MAX_ORIGIN_BYTES);
    message.push(name.len() as u8);
    message.extend_from_slice(name.as_bytes());
}

fn line(name: String, algorithm: Algorithm, public_key: &[u8], time: Option<u64>, signature: &[u8]) -> Line {
    let id = key_id(&name, algorithm, public_key);
    let mut bytes = time.map(u64::to_be_bytes).map(Vec::from).unwrap_or_default();
    bytes.extend_from_slice(signature);
    Line::new(name, id, bytes).expect("names of logs and nodes can stand in a line, and a signature is not empty")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Hash;

    fn head() -> Head {
        Head { origin: "verbale/XA/XB/1.5f0c9a3e7b2d4410".parse().unwrap(), size: 258, root: Hash([0xaa; 32]) }
    }

    #[test]
    fn the_classical_messages_are_the_text_and_the_text_behind_the_time() {
        let text = head().text();
        assert_eq!(log_message(KeyAlgorithm::Ed25519, &head()), text.as_bytes());
        let receipt = receipt_message(KeyAlgorithm::Ed25519, &head(), "XB".parse().unwrap(), 1_772_366_400);
        assert_eq!(receipt, format!("cosignature/v1\ntime 1772366400\n{text}").as_bytes());
    }

    #[test]
    fn the_post_quantum_message_has_the_bytes_of_the_standard() {
        let mut expected = b"subtree/v1\n\0\x0averbale/XB".to_vec();
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 1, 3]);
        expected.extend_from_slice(b"\x20verbale/XA/XB/1.5f0c9a3e7b2d4410");
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        expected.extend_from_slice(&[0xaa; 32]);
        assert_eq!(receipt_message(KeyAlgorithm::MlDsa44, &head(), "XB".parse().unwrap(), 259), expected);
        let log = log_message(KeyAlgorithm::MlDsa44, &head());
        assert_eq!(&log[..45], b"subtree/v1\n\0\x20verbale/XA/XB/1.5f0c9a3e7b2d4410");
        assert_eq!(&log[45..53], &[0; 8]);
    }
}
