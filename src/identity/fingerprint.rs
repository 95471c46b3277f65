//! The fingerprint of an introduction: sixty digits that two people read to each other over another channel.
//!
//! It is SHA-256, taken as a number (big-endian) modulo 10^60, written with leading zeros as twelve groups of five
//! digits, of these bytes:
//!
//! ```text
//! "verbale fingerprint v1" 0x00
//! State code                                  2 bytes
//! SHA-256 of the root certificate (DER)      32 bytes
//! number of nodes                             1 byte
//! for each node, in the byte order of its name:
//!     length of the name                      1 byte
//!     name                                    e.g. "XA.technical"
//!     number of pairs of signing keys         1 byte
//!     for each pair, in the byte order of its Ed25519 key:
//!         Ed25519 public key                 32 bytes
//!         ML-DSA-44 public key             1312 bytes
//! ```
//!
//! Addresses and TLS certificates are not in it: they change in the ordinary course, under the same root.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256, digest};

use super::introduction::Introduction;

/// Groups of a fingerprint.
pub const GROUPS: usize = 12;
/// Digits of a group.
pub const GROUP_DIGITS: usize = 5;
const DIGITS: usize = GROUPS * GROUP_DIGITS;
/// One more than the largest group.
const GROUP_END: u32 = 100_000;
const DOMAIN: &[u8] = b"verbale fingerprint v1\0";

/// Sixty decimal digits that stand for a State, its root, its nodes' names and all their signing keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u32; GROUPS]);

/// Why a text is not a fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// Not sixty digits.
    #[error("a fingerprint has {DIGITS} digits in {GROUPS} groups of {GROUP_DIGITS}; this has {0} digits")]
    Length(usize),
    /// A character that is neither digit, space nor dash.
    #[error("`{0}` does not belong in a fingerprint; it has digits, spaces and dashes only")]
    Character(char),
}

/// Two fingerprints that are not the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the fingerprint does not fit: {} of {GROUPS} groups differ (group {})", .groups.len(), listed(.groups))]
pub struct FingerprintMismatch {
    /// The groups that differ, counted from 1.
    pub groups: Vec<usize>,
}

fn listed(groups: &[usize]) -> String {
    groups.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Fingerprint {
    pub(super) fn of(introduction: &Introduction) -> Self {
        let mut hash = Context::new(&SHA256);
        hash.update(DOMAIN);
        hash.update(introduction.state().code().as_bytes());
        hash.update(digest(&SHA256, &introduction.root().der).as_ref());
        let mut nodes: Vec<_> = introduction.nodes().iter().map(|node| (node.name.to_string(), node)).collect();
        nodes.sort_by(|a, b| a.0.cmp(&b.0));
        hash.update(&[short(nodes.len())]);
        for (name, node) in nodes {
            hash.update(&[short(name.len())]);
            hash.update(name.as_bytes());
            let mut keys: Vec<_> = node.signing.iter().map(|keys| &keys.public).collect();
            keys.sort();
            hash.update(&[short(keys.len())]);
            for key in keys {
                hash.update(&key.ed25519);
                hash.update(key.ml_dsa_44.as_slice());
            }
        }
        Self::from_digest(hash.finish().as_ref())
    }

    /// Long division by 100,000, twelve times: each remainder is a group, the last group first.
    fn from_digest(digest: &[u8]) -> Self {
        let mut number = digest.to_vec();
        let mut groups = [0; GROUPS];
        for group in groups.iter_mut().rev() {
            let mut remainder = 0;
            for byte in &mut number {
                let part = remainder * 256 + u32::from(*byte);
                *byte = u8::try_from(part / GROUP_END).expect("the remainder is below the divisor");
                remainder = part % GROUP_END;
            }
            *group = remainder;
        }
        Self(groups)
    }

    /// Compares what was read over another channel with what the file says.
    ///
    /// # Errors
    /// [`FingerprintMismatch`] with the groups that differ.
    pub fn compare(&self, read: &Self) -> Result<(), FingerprintMismatch> {
        let groups: Vec<_> = (0..GROUPS).filter(|at| self.0[*at] != read.0[*at]).map(|at| at + 1).collect();
        if groups.is_empty() { Ok(()) } else { Err(FingerprintMismatch { groups }) }
    }
}

fn short(count: usize) -> u8 {
    u8::try_from(count).expect("an introduction holds three nodes with two pairs of keys and short names at most")
}

/// Plain: one line, groups apart by spaces. Alternate (`{:#}`): three lines of four groups.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, group) in self.0.iter().enumerate() {
            let before = match at {
                0 => "",
                at if at % 4 == 0 && f.alternate() => "\n",
                _ => " ",
            };
            write!(f, "{before}{group:05}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Reads sixty digits, Arabic-Indic ones too; spaces, line ends and dashes between them do not matter.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let mut digits = Vec::with_capacity(DIGITS);
        let mut count = 0;
        for character in text.chars() {
            match character {
                c if c.is_whitespace() || matches!(c, '-' | '\u{2010}'..='\u{2015}') => {}
                // Marks of direction come along when digits are copied out of Arabic text.
                '\u{200e}' | '\u{200f}' | '\u{061c}' => {}
                c => {
                    count += 1;
                    let digit = decimal(c).ok_or(FingerprintError::Character(c))?;
                    if count <= DIGITS {
                        digits.push(digit);
                    }
                }
            }
        }
        if count != DIGITS {
            return Err(FingerprintError::Length(count));
        }
        let mut groups = [0; GROUPS];
        for (group, digits) in groups.iter_mut().zip(digits.chunks(GROUP_DIGITS)) {
            *group = digits.iter().fold(0, |number, digit| number * 10 + digit);
        }
        Ok(Self(groups))
    }
}

fn decimal(character: char) -> Option<u32> {
    match character {
        '\u{0660}'..='\u{0669}' => Some(u32::from(character) - 0x0660),
        '\u{06f0}'..='\u{06f9}' => Some(u32::from(character) - 0x06f0),
        c => c.to_digit(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_are_the_digest_modulo_ten_to_the_sixtieth() {
        // int.from_bytes(bytes(range(32)), "big") % 10**60, by another program.
        let bytes: Vec<u8> = (0..32).collect();
        let shown = Fingerprint::from_digest(&bytes).to_string().replace(' ', "");
        assert_eq!(shown, DIGITS_BY_PYTHON);
        assert_eq!(Fingerprint::from_digest(&[0; 32]).to_string(), ["00000"; 12].join(" "));
    }

    const DIGITS_BY_PYTHON: &str = "700044960722568376592200742329637303199754547598369979440671";

    #[test]
    fn it_is_read_with_spaces_dashes_line_ends_and_arabic_digits() {
        let plain = Fingerprint::from_digest(&[0x5a; 32]);
        let text = plain.to_string();
        for variant in [
            text.clone(),
            format!("{plain:#}\n"),
            text.replace(' ', "-"),
            text.replace(' ', ""),
            format!("\u{200f}{}", text.chars().map(arabic).collect::<String>()),
        ] {
            assert_eq!(variant.parse(), Ok(plain), "{variant}");
        }
    }

    fn arabic(character: char) -> char {
        character.to_digit(10).and_then(|digit| char::from_u32(0x0660 + digit)).unwrap_or(character)
    }

    #[test]
    fn one_digit_less_or_more_and_letters_are_refused() {
        let digits = "1".repeat(60);
        assert!(digits.parse::<Fingerprint>().is_ok());
        assert_eq!(digits[1..].parse::<Fingerprint>(), Err(FingerprintError::Length(59)));
        assert_eq!(format!("{digits}1").parse::<Fingerprint>(), Err(FingerprintError::Length(61)));
        assert_eq!("12a".parse::<Fingerprint>(), Err(FingerprintError::Character('a')));
    }

    #[test]
    fn a_comparison_names_the_groups_that_differ() {
        let one: Fingerprint = "1".repeat(60).parse().unwrap();
        let two: Fingerprint = format!("{}2{}3", "1".repeat(10), "1".repeat(48)).parse().unwrap();
        assert_eq!(one.compare(&one), Ok(()));
        let mismatch = one.compare(&two).unwrap_err();
        assert_eq!(mismatch.groups, [3, 12]);
        assert_eq!(mismatch.to_string(), "the fingerprint does not fit: 2 of 12 groups differ (group 3, 12)");
    }
}
