//! The root key on paper: lines that can be typed again, each with a check of its own, so that a slip is found at once.
//!
//! A line is its number, sixteen letters in base32 (RFC 4648) in groups of four, and four letters of check: the first
//! 20 bits of SHA-256("verbale paper v1" 0x00 ‖ number of the line ‖ its ten bytes). The bytes are: version 1, State
//! code, algorithm (1 P-256, 2 P-384, 3 Ed25519), the bare secret, and the first four bytes of the SHA-256 of all that;
//! zeros fill the last line.

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

use super::key::{KeyError, PrivateAlgorithm, PrivateKey};
use crate::name::State;

const DOMAIN: &[u8] = b"verbale paper v1\0";
const VERSION: u8 = 1;
const HEAD_LEN: usize = 4;
const CHECK_LEN: usize = 4;
/// Bytes of a line: sixteen letters, the most that people copy without losing the line.
const LINE_BYTES: usize = 10;
const LINE_LETTERS: usize = 16;
/// The longest text looked at, in bytes: a page of paper has less.
const MAX_TEXT_BYTES: usize = 16 * 1024;
/// Written at the top, and looked for where no root key may lie.
pub(super) const TITLE: &str = "VERBALE ROOT KEY ON PAPER";

/// Why a paper copy could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaperError {
    /// The key has no paper form, or the library failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Far more text than a paper copy has.
    #[error("this is more text than a paper copy has")]
    TooLong,
    /// A line was typed wrongly.
    #[error("line {0} was not typed as it is printed; compare it letter by letter (the letters are A-Z and 2-7)")]
    Line(usize),
    /// A line is missing or out of order.
    #[error("line {0} is missing; type all lines in their order")]
    Missing(usize),
    /// All lines are right alone but not together.
    #[error("the lines are not of one paper copy")]
    Whole,
    /// A later version, or a State code that cannot be read.
    #[error("this paper copy is not of a form that this program reads")]
    Form,
}

/// Writes the paper copy of a root key. It opens everything: print it, lock it away, keep no file.
///
/// # Errors
/// [`PaperError::Key`] for an ML-DSA key, which has no paper form.
pub fn paper_text(state: State, key: &PrivateKey) -> Result<Zeroizing<String>, PaperError> {
    let number = match key.algorithm() {
        PrivateAlgorithm::P256 => 1,
        PrivateAlgorithm::P384 => 2,
        PrivateAlgorithm::Ed25519 => 3,
        PrivateAlgorithm::MlDsa44 => return Err(KeyError::Unreadable.into()),
    };
    let secret = key.secret()?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(HEAD_LEN + secret.len() + CHECK_LEN + LINE_BYTES));
    bytes.push(VERSION);
    bytes.extend_from_slice(state.code().as_bytes());
    bytes.push(number);
    bytes.extend_from_slice(&secret);
    let check = check_of(0, &bytes);
    bytes.extend_from_slice(&check[..CHECK_LEN]);
    let whole = bytes.len().next_multiple_of(LINE_BYTES);
    bytes.resize(whole, 0);

    let mut text = Zeroizing::new(String::with_capacity(2048));
    text.push_str(&format!(
        "{TITLE}\nState {state}. Whoever holds this page can speak for the State. Lock it away; keep no copy in a file.\n\n"
    ));
    for (at, line) in bytes.chunks(LINE_BYTES).enumerate() {
        let letters = Zeroizing::new(BASE32_NOPAD.encode(line));
        text.push_str(&format!("{:02}  ", at + 1));
        for group in letters.as_bytes().chunks(4) {
            text.push_str(std::str::from_utf8(group).expect("base32 is ASCII"));
            text.push(' ');
        }
        text.push_str(&format!(" {}\n", line_check(at + 1, line)));
    }
    Ok(text)
}

/// Reads what was typed from a paper copy; small letters and other spacing do not matter.
///
/// # Errors
/// Names the line that is wrong or missing.
pub fn parse_paper(text: &str) -> Result<(State, PrivateKey), PaperError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(PaperError::TooLong);
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(128));
    let mut next = 1;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(number) = words.next().and_then(|word| word.parse::<usize>().ok()) else { continue };
        if number != next {
            return Err(PaperError::Missing(next));
        }
        let wrong = || PaperError::Line(number);
        let typed = Zeroizing::new(words.collect::<String>().to_ascii_uppercase());
        let (letters, check) = typed.split_at_checked(LINE_LETTERS).ok_or_else(wrong)?;
        let part = Zeroizing::new(BASE32_NOPAD.decode(letters.as_bytes()).map_err(|_| wrong())?);
        if line_check(number, &part) != check {
            return Err(wrong());
        }
        bytes.extend_from_slice(&part);
        next += 1;
    }
    from_bytes(&bytes, next)
}

fn from_bytes(bytes: &[u8], next: usize) -> Result<(State, PrivateKey), PaperError> {
    let [version, a, b, number, ..] = bytes else { return Err(PaperError::Missing(next)) };
    let (algorithm, secret_len) = match (version, number) {
        (1, 1) => (PrivateAlgorithm::P256, 32),
        (1, 2) => (PrivateAlgorithm::P384, 48),
        (1, 3) => (PrivateAlgorithm::Ed25519, 32),
        _ => return Err(PaperError::Form),
    };
    let end = HEAD_LEN + secret_len;
    let whole = (end + CHECK_LEN).next_multiple_of(LINE_BYTES);
    if bytes.len() < whole {
        return Err(PaperError::Missing(next));
    }
    let check = check_of(0, &bytes[..end]);
    let filled = bytes[end + CHECK_LEN..].iter().all(|byte| *byte == 0);
    if bytes.len() > whole || bytes[end..end + CHECK_LEN] != check[..CHECK_LEN] || !filled {
        return Err(PaperError::Whole);
    }
    let state = std::str::from_utf8(&[*a, *b]).ok().and_then(|code| code.parse().ok()).ok_or(PaperError::Form)?;
    Ok((state, PrivateKey::from_secret(algorithm, &bytes[HEAD_LEN..end])?))
}

fn check_of(line: u8, bytes: &[u8]) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    hash.update(DOMAIN);
    hash.update(&[line]);
    hash.update(bytes);
    hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn line_check(number: usize, bytes: &[u8]) -> String {
    // A typed number above 255 has no line of its own; its check then does not fit.
    let check = check_of(u8::try_from(number).unwrap_or(0), bytes);
    BASE32_NOPAD.encode(&check[..LINE_BYTES])[..4].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xa() -> State {
        "XA".parse().unwrap()
    }

    #[test]
    fn a_paper_copy_reads_back_for_every_algorithm_of_roots() {
        for algorithm in [PrivateAlgorithm::P256, PrivateAlgorithm::P384, PrivateAlgorithm::Ed25519] {
            let key = PrivateKey::generate(algorithm).unwrap();
            let text = paper_text(xa(), &key).unwrap();
            let typed = text.to_lowercase().replace("  ", " ");
            let (state, again) = parse_paper(&typed).unwrap();
            assert_eq!((state, again.public()), (xa(), key.public()));
        }
        let key = PrivateKey::generate(PrivateAlgorithm::MlDsa44).unwrap();
        assert!(paper_text(xa(), &key).is_err());
    }

    #[test]
    fn every_wrong_letter_is_found_in_its_line() {
        let key = PrivateKey::generate(PrivateAlgorithm::P384).unwrap();
        let text = paper_text(xa(), &key).unwrap();
        let lines: Vec<_> = text.lines().collect();
        for (at, line) in lines.iter().enumerate().skip(3) {
            for (column, letter) in line.char_indices().skip(4).filter(|(_, c)| *c != ' ') {
                let other = if letter == 'A' { "B" } else { "A" };
                let mut wrong = (*line).to_owned();
                wrong.replace_range(column..=column, other);
                let mut typed = lines.clone();
                typed[at] = &wrong;
                assert_eq!(parse_paper(&typed.join("\n")).unwrap_err(), PaperError::Line(at - 2));
            }
        }
    }

    #[test]
    fn a_missing_or_swapped_line_is_named() {
        let key = PrivateKey::generate(PrivateAlgorithm::P384).unwrap();
        let text = paper_text(xa(), &key).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        let last = lines.pop().unwrap();
        assert_eq!(parse_paper(&lines.join("\n")).unwrap_err(), PaperError::Missing(6));
        lines.push(last);
        lines.remove(4);
        assert_eq!(parse_paper(&lines.join("\n")).unwrap_err(), PaperError::Missing(2));
        assert_eq!(parse_paper("").unwrap_err(), PaperError::Missing(1));
    }

    #[test]
    fn lines_of_two_copies_do_not_mix() {
        let page = || {
            let key = PrivateKey::generate(PrivateAlgorithm::P384).unwrap();
            paper_text(xa(), &key).unwrap()
        };
        let (one, two) = (page(), page());
        let mixed: Vec<_> = one.lines().take(5).chain(two.lines().skip(5)).collect();
        assert_eq!(parse_paper(&mixed.join("\n")).unwrap_err(), PaperError::Whole);
    }

    #[test]
    fn text_beyond_a_page_is_not_looked_at() {
        let key = PrivateKey::generate(PrivateAlgorithm::P256).unwrap();
        let page = paper_text(xa(), &key).unwrap();
        let padded = |length: usize| format!("{}{}", page.as_str(), "\n".repeat(length - page.len()));
        assert!(parse_paper(&padded(MAX_TEXT_BYTES - 1)).is_ok());
        assert!(parse_paper(&padded(MAX_TEXT_BYTES)).is_ok());
        assert_eq!(parse_paper(&padded(MAX_TEXT_BYTES + 1)).unwrap_err(), PaperError::TooLong);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_refused_without_panic(text in "(?s).{0,400}") {
            proptest::prop_assert!(parse_paper(&text).is_err());
        }
    }
}
