//! Makes what peers wrote safe to look at on a terminal, and readable in every script.
//!
//! Every control character, every invisible one without a use in running text, and every embedding, override and isolate
//! of Unicode's bidirectional algorithm (UAX #9) is shown as an escape: those reach beyond their place and can make a
//! text look like another one. The three *marks* of direction (LRM, RLM, ALM) are letters without a shape: they settle
//! only how the characters beside them stand, Arabic and Hebrew texts need them, and they are kept where such letters
//! stand. In names of files they are shown too: there they would only hide an ending. Text that runs from right to
//! left is isolated, so that it cannot reorder what stands beside it.

use unicode_width::UnicodeWidthStr;

/// Isolates what follows from the direction of its surroundings.
const FIRST_STRONG_ISOLATE: char = '\u{2068}';
const POP_DIRECTIONAL_ISOLATE: char = '\u{2069}';
const LEFT_TO_RIGHT_ISOLATE: char = '\u{2066}';
const RIGHT_TO_LEFT_ISOLATE: char = '\u{2067}';

/// Stands before each line of a peer's text.
const BAR: &str = "  | ";

/// A peer's text as one line beside other text.
pub fn one_line(text: &str) -> String {
    let marks_are_needed = text.chars().any(|c| is_right_to_left(c) && !is_mark(c));
    isolated(escape(text, |c| is_control(c) || changes_direction(c) || (is_mark(c) && !marks_are_needed) || hides(c)))
}

/// The name of a peer's file as one line beside other text.
pub fn file_name(text: &str) -> String {
    isolated(escape(text, |c| is_control(c) || changes_direction(c) || is_mark(c) || hides(c)))
}

fn isolated(shown: String) -> String {
    if shown.chars().any(is_right_to_left) {
        return format!("{FIRST_STRONG_ISOLATE}{shown}{POP_DIRECTIONAL_ISOLATE}");
    }
    shown
}

/// A text that was cut: an isolate that lost its end gets it back.
pub fn closed(mut text: String) -> String {
    if text.starts_with(FIRST_STRONG_ISOLATE) && !text.ends_with(POP_DIRECTIONAL_ISOLATE) {
        text.push(POP_DIRECTIONAL_ISOLATE);
    }
    text
}

/// The parts of a line that was broken: an isolate that goes on in the next part ends in this one and begins there again,
/// because a terminal takes each line for itself.
pub fn closed_each(parts: &mut [String]) {
    let mut open = false;
    for part in parts {
        if open {
            let indent = part.len() - part.trim_start_matches(' ').len();
            part.insert(indent, FIRST_STRONG_ISOLATE);
        }
        let last = part.rfind([FIRST_STRONG_ISOLATE, POP_DIRECTIONAL_ISOLATE]);
        open = last.is_some_and(|at| part[at..].starts_with(FIRST_STRONG_ISOLATE));
        if open {
            part.push(POP_DIRECTIONAL_ISOLATE);
        }
    }
}

/// A peer's text as lines of their own.
pub fn body(text: &str) -> Vec<String> {
    let shown = |line: &str| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        escape(line, |c| (is_control(c) && c != '\t') || changes_direction(c) || hides(c))
    };
    text.split('\n').map(shown).collect()
}

/// A peer's text behind a bar, so that none of its lines can be taken for one of this program's. On a terminal long lines
/// are broken, each part in the direction of its whole line.
pub fn quoted(text: &str, columns: Option<usize>) -> Vec<String> {
    let mut quoted = Vec::new();
    for line in body(text) {
        // A tab would jump to a place that only the terminal knows.
        let line = line.replace('\t', "    ");
        let parts = match columns {
            Some(columns) => super::page::broken(&line, columns.saturating_sub(width(BAR)), 0),
            None => vec![line.clone()],
        };
        let isolate = line.chars().any(is_right_to_left).then(|| direction_of(&line));
        for part in parts {
            let part = match isolate {
                Some(isolate) => format!("{isolate}{part}{POP_DIRECTIONAL_ISOLATE}"),
                None => part,
            };
            quoted.push(format!("{BAR}{part}").trim_end().to_owned());
        }
    }
    quoted
}

/// Isolates in the direction of a line's first letter (UAX #9, P2).
fn direction_of(line: &str) -> char {
    match line.chars().find(|c| is_right_to_left(*c) || c.is_alphabetic()) {
        Some(first) if is_right_to_left(first) => RIGHT_TO_LEFT_ISOLATE,
        _ => LEFT_TO_RIGHT_ISOLATE,
    }
}

/// JSON with the same characters as escapes of `\u` and four digits, which means the same to a parser and nothing to a terminal.
pub fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // Line ends of pretty JSON stand between values; within strings they are escaped already.
        if (is_control(c) && c != '\n') || changes_direction(c) || is_mark(c) || hides(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// How many columns a text takes in a terminal (UAX #11): wide characters two, marks that stand over others none.
pub fn width(text: &str) -> usize {
    text.width()
}

fn escape(text: &str, shows: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' if shows(c) => shown.push_str("\\n"),
            '\r' if shows(c) => shown.push_str("\\r"),
            '\t' if shows(c) => shown.push_str("\\t"),
            c if shows(c) => shown.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown
}

/// C0, DEL, C1, and the two separators that some programs take for line ends.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Embeddings, overrides and isolates.
fn changes_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Marks of direction.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}')
}

/// Invisible characters without a use in running text; the joiners of Persian, Indic scripts and emoji are not among them.
fn hides(c: char) -> bool {
    matches!(
        c,
        '\u{00ad}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    )
}

fn is_right_to_left(c: char) -> bool {
    matches!(
        c,
        '\u{0590}'..='\u{08ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}' | '\u{10800}'..='\u{10fff}'
            | '\u{1e800}'..='\u{1efff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_would_move_the_cursor_or_turn_the_line_is_shown_instead() {
        assert_eq!(one_line("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(one_line("pay\u{202e}txt.exe"), "pay\\u{202e}txt.exe");
        assert_eq!(one_line("two\nlines\tand\r\u{85}"), "two\\nlines\\tand\\r\\u{85}");
        assert_eq!(one_line("\u{200f}\u{200e}\u{61c}\u{2067}"), "\\u{200f}\\u{200e}\\u{61c}\\u{2067}");
        assert_eq!(file_name("تقرير\u{200f}gpj.exe"), "\u{2068}تقرير\\u{200f}gpj.exe\u{2069}");
    }

    #[test]
    fn arabic_and_chinese_stay_as_they_are() {
        assert_eq!(one_line("انقطاع الخدمة"), "\u{2068}انقطاع الخدمة\u{2069}");
        assert_eq!(one_line("CERT-XB\u{200f}: انقطاع"), "\u{2068}CERT-XB\u{200f}: انقطاع\u{2069}");
        assert_eq!(one_line("服务中断"), "服务中断");
        assert_eq!(body("انقطاع\u{200f}: 12\r\nسطر"), ["انقطاع\u{200f}: 12", "سطر"]);
        // The joiner that Persian needs is no trick.
        assert_eq!(body("می\u{200c}شود"), ["می\u{200c}شود"]);
        assert_eq!(body("a\u{202e}b\u{1b}c\td"), ["a\\u{202e}b\\u{1b}c\td"]);
    }

    #[test]
    fn no_line_of_a_text_can_pass_for_one_of_the_programs() {
        let forged = "Good morning.\n  acknowledgement  2026-03-01\n\nسطر: 12";
        let shown = ["  | Good morning.", "  |   acknowledgement  2026-03-01", "  |", "  | \u{2067}سطر: 12\u{2069}"];
        assert_eq!(quoted(forged, None), shown);
        assert_eq!(quoted("XB: سطر", None), ["  | \u{2066}XB: سطر\u{2069}"]);
        assert!(
            quoted(&"سطر ".repeat(40), Some(60))
                .iter()
                .all(|line| line.starts_with("  | \u{2067}") && width(line) <= 60)
        );
    }

    #[test]
    fn columns_are_counted_as_terminals_draw_them() {
        assert_eq!(width("XA"), 2);
        assert_eq!(width("服务"), 4);
        assert_eq!(width("e\u{301}"), 1);
        assert_eq!(width("\u{2068}نص\u{2069}"), 2);
    }

    fn dangerous(c: char) -> bool {
        (c.is_control() || changes_direction(c) || hides(c)) && c != '\n'
    }

    proptest! {
        #[test]
        fn one_line_is_one_line_without_tricks(text in "(?s).{0,80}|[\\u{202a}-\\u{202e}\\u{2066}-\\u{2069}\\x00-\\x1f]{0,20}") {
            let shown = one_line(&text);
            let inner: Vec<char> = shown.chars().collect();
            let inner = match inner.as_slice() {
                [FIRST_STRONG_ISOLATE, inner @ .., POP_DIRECTIONAL_ISOLATE] => inner,
                inner => inner,
            };
            prop_assert!(!inner.iter().any(|c| dangerous(*c) || *c == '\n'), "{:?}", shown);
        }

        #[test]
        fn a_body_keeps_its_lines_and_no_escapes_reach_the_terminal(text in "(?s).{0,80}") {
            let lines = body(&text);
            prop_assert_eq!(lines.len(), text.split('\n').count());
            let safe = |c: char| !c.is_control() || c == '\t';
            prop_assert!(lines.iter().all(|line| line.chars().all(|c| safe(c) && !changes_direction(c))));
        }

        #[test]
        fn json_means_the_same_and_shows_no_tricks(text in "(?s).{0,80}") {
            let shown = json(&serde_json::to_string(&text).unwrap());
            prop_assert!(!shown.chars().any(|c| dangerous(c) || is_mark(c)), "{:?}", shown);
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }
    }
}
