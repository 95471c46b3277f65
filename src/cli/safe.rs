//! Makes what peers wrote safe to look at on a terminal, and readable in every script.
//!
//! In one-line fields every control character and every character that changes direction or hides is shown as an
//! escape, and text that runs from right to left is isolated, so that it cannot reorder what stands beside it. In the
//! lines of a body the marks of direction that Arabic and Hebrew texts need are kept; a line's end ends their effect.

/// Isolates what follows from the direction of its surroundings.
const FIRST_STRONG_ISOLATE: char = '\u{2068}';
const POP_DIRECTIONAL_ISOLATE: char = '\u{2069}';

/// A peer's text as one line beside other text.
pub fn one_line(text: &str) -> String {
    let shown = escape(text, |c| is_control(c) || changes_direction(c) || is_mark(c) || hides(c));
    if shown.chars().any(is_right_to_left) {
        return format!("{FIRST_STRONG_ISOLATE}{shown}{POP_DIRECTIONAL_ISOLATE}");
    }
    shown
}

/// A peer's text as lines of their own.
pub fn body(text: &str) -> Vec<String> {
    let shown = |line: &str| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        escape(line, |c| (is_control(c) && c != '\t') || changes_direction(c) || hides(c))
    };
    text.split('\n').map(shown).collect()
}

/// JSON with the same characters written as `\uXXXX`, which means the same to a parser and nothing to a terminal.
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

/// How many columns a text takes in a terminal: wide characters two, marks that stand over others none.
pub fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
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

fn columns(c: char) -> usize {
    match c {
        '\u{0300}'..='\u{036f}'
        | '\u{0483}'..='\u{0489}'
        | '\u{0591}'..='\u{05bd}'
        | '\u{0610}'..='\u{061c}'
        | '\u{064b}'..='\u{065f}'
        | '\u{0670}'
        | '\u{06d6}'..='\u{06dc}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2060}'..='\u{206f}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{fe20}'..='\u{fe2f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
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
    }

    #[test]
    fn arabic_and_chinese_stay_as_they_are() {
        assert_eq!(one_line("انقطاع الخدمة"), "\u{2068}انقطاع الخدمة\u{2069}");
        assert_eq!(one_line("服务中断"), "服务中断");
        assert_eq!(body("انقطاع\u{200f}: 12\r\nسطر"), ["انقطاع\u{200f}: 12", "سطر"]);
        // The joiner that Persian needs is no trick.
        assert_eq!(body("می\u{200c}شود"), ["می\u{200c}شود"]);
        assert_eq!(body("a\u{202e}b\u{1b}c\td"), ["a\\u{202e}b\\u{1b}c\td"]);
    }

    #[test]
    fn columns_are_counted_as_terminals_draw_them() {
        assert_eq!(width("XA"), 2);
        assert_eq!(width("服务"), 4);
        assert_eq!(width("e\u{301}"), 1);
        assert_eq!(width("\u{2068}نص\u{2069}"), 2);
    }

    fn dangerous(c: char) -> bool {
        (c.is_control() || changes_direction(c) || is_mark(c) || hides(c)) && c != '\n'
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
            prop_assert!(!shown.chars().any(dangerous), "{:?}", shown);
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }
    }
}
