//! Finds the line of a key in the text of a TOML file, and the known key that is nearest to an unknown one.

/// The line (from 1) in which `path` is set, or in which the nearest table around it begins.
///
/// It reads well enough to name a line; whether the text is TOML was decided before.
pub fn line_of(text: &str, path: &[String]) -> Option<usize> {
    let mut table: Vec<String> = Vec::new();
    let mut around: Option<(usize, usize)> = None;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let here = if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_start_matches('[');
            table = keys(header.split(']').next().unwrap_or_default());
            table.clone()
        } else {
            let Some((left, _)) = split_at_equals(line) else { continue };
            let mut here = table.clone();
            here.extend(keys(left));
            here
        };
        if here == path {
            return Some(at + 1);
        }
        let common = here.len();
        if common > 0 && path.starts_with(&here) && around.is_none_or(|(longest, _)| longest < common) {
            around = Some((common, at + 1));
        }
        // `[peers.XB]` is where `peers` is set when nothing else says so.
        if here.starts_with(path) && around.is_none() {
            around = Some((path.len(), at + 1));
        }
    }
    around.map(|(_, line)| line)
}

/// Splits `key = value` outside of quotes; comments and lines that set nothing yield `None`.
fn split_at_equals(line: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') => return None,
            (None, '=') => return Some((&line[..at], &line[at + 1..])),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

/// The parts of a dotted key, quotes taken off.
fn keys(dotted: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quote = None;
    for c in dotted.trim().chars() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '.') => parts.push(String::new()),
            (None, c) if c.is_whitespace() => {}
            (_, c) => parts.last_mut().expect("starts with one part and only grows").push(c),
        }
    }
    parts
}

/// The known word that is nearest to `word`, where one is near enough to be what was meant.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word: String = word.chars().take(MAX_WORD).collect();
    let (distance, best) = known.iter().map(|known| (distance(&word, known), *known)).min()?;
    (distance <= 1 + word.chars().count() / 3).then_some(best)
}

/// Longer keys are nobody's slip of the finger; the distance costs their square.
const MAX_WORD: usize = 64;

/// Levenshtein's distance: insertions, deletions and changes of a character.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let change = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "# limits.window = 1\n[node]\nstate = \"XA\"\n\n[limits]\nwindow = \"1\"\n\
                        [peers.\"XB.technical\"]\naddresses = [\n  \"a=b\",\n]\npeers.x = 1\n";

    fn path(dotted: &[&str]) -> Vec<String> {
        dotted.iter().map(|part| (*part).to_owned()).collect()
    }

    #[test]
    fn a_key_is_found_in_its_table_and_not_in_a_comment() {
        assert_eq!(line_of(TEXT, &path(&["node", "state"])), Some(3));
        assert_eq!(line_of(TEXT, &path(&["limits", "window"])), Some(6));
        assert_eq!(line_of(TEXT, &path(&["peers", "XB.technical", "addresses"])), Some(8));
        assert_eq!(line_of(TEXT, &path(&["peers"])), Some(7));
        assert_eq!(line_of(TEXT, &path(&["node", "desk"])), Some(2));
        assert_eq!(line_of(TEXT, &path(&["socket", "group"])), None);
    }

    #[test]
    fn the_nearest_known_word_is_offered_only_when_it_is_near() {
        assert_eq!(nearest("listn", &["listen", "announce"]), Some("listen"));
        assert_eq!(nearest("windows", &["window", "stall"]), Some("window"));
        assert_eq!(nearest("favourite_colour", &["listen", "pq"]), None);
        assert_eq!(nearest("x", &[]), None);
    }

    proptest! {
        #[test]
        fn any_text_is_looked_through_without_panic(text in "(?s).{0,200}", key in "\\PC{0,8}") {
            let _ = line_of(&text, std::slice::from_ref(&key));
            let _ = nearest(&key, &["listen", "pq"]);
        }
    }
}
