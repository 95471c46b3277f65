//! Signature lines of one side of a head: what is added to those that are known, and what there is room for.

use crate::wire::{MAX_SIDE_BYTES, MAX_SIDE_LINES};

/// A line once stored never changes; lines of other keys may be added.
pub(super) fn add_lines(known: &mut Vec<String>, lines: &[String]) {
    for line in unknown_lines(known, lines.to_vec()) {
        known.push(line);
        if !fits_side(known) {
            known.pop();
        }
    }
}

/// Whether one side's lines leave the other side its half of a note.
pub(in crate::exchange) fn fits_side(lines: &[String]) -> bool {
    lines.len() <= MAX_SIDE_LINES && lines.iter().map(|line| line.len() + 1).sum::<usize>() <= MAX_SIDE_BYTES
}

/// The lines by keys that made none of the known ones.
pub(in crate::exchange) fn unknown_lines(known: &[String], lines: Vec<String>) -> Vec<String> {
    let same_key = |line: &String| known.iter().any(|other| key_of(other) == key_of(line));
    lines.into_iter().filter(|line| !same_key(line)).collect()
}

/// What names the key of a line: everything up to the first five letters of its base64, which hold the key id's first
/// thirty bits, and the length, which tells the algorithms apart.
fn key_of(line: &str) -> (&str, usize) {
    let (name, signature) = line.rsplit_once(' ').unwrap_or((line, ""));
    let id = signature.get(..5).unwrap_or(signature);
    let end = name.len() + 1 + id.len();
    (line.get(..end).unwrap_or(line), line.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: u8, length: usize) -> String {
        let prefix = format!("— verbale/XB {}", (b'A' + key) as char);
        format!("{prefix}{}", "A".repeat(length - prefix.len()))
    }

    #[test]
    fn a_line_by_a_known_key_changes_nothing_and_one_by_another_key_is_added() {
        let mut known = vec![line(0, 100)];
        let other = line(0, 99) + "B";
        add_lines(&mut known, &[other, line(1, 100)]);
        assert_eq!(known, [line(0, 100), line(1, 100)]);
    }

    #[test]
    fn one_side_has_half_of_the_lines_and_of_the_bytes_of_a_note() {
        let mut known: Vec<String> = (0..MAX_SIDE_LINES as u8).map(|key| line(key, 100)).collect();
        assert!(fits_side(&known));
        let full = known.clone();
        add_lines(&mut known, &[line(20, 100)]);
        assert_eq!(known, full, "one line over");
        let mut long = vec![line(0, MAX_SIDE_BYTES - 101)];
        add_lines(&mut long, &[line(1, 100)]);
        assert_eq!(long.len(), 1, "one byte over");
        add_lines(&mut long, &[line(1, 99)]);
        assert_eq!(long.len(), 2, "at the bound");
    }
}
