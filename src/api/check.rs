//! What a message must have before it is sent; commands ask before they upload, the daemon asks again.

use super::{Failure, Send, code};
use crate::name::{Kind, Precedence};
use crate::wire::MAX_ENCLOSURES;

/// Words in a message at IMMEDIATE or FLASH: one page on a telephone at night. Detail goes into an enclosure.
pub const MAX_URGENT_WORDS: usize = 200;
/// Characters of a subject: one line on a wide terminal.
pub const MAX_SUBJECT_CHARS: usize = 160;
/// Characters of the justification at IMMEDIATE and FLASH: one line.
pub const MAX_JUSTIFICATION_CHARS: usize = 160;
/// Recipients of one command: more States than there are.
pub const MAX_RECIPIENTS: usize = 256;

/// Characters of Chinese or Japanese that stand for a word, as translators count.
const IDEOGRAPHS_PER_WORD: usize = 2;
/// Letters that stand for a word in Thai, Lao, Khmer and Burmese, which do not part words by spaces.
const LETTERS_PER_UNSPACED_WORD: usize = 5;

/// Counts words, also in scripts that do not part them by spaces.
pub fn words(text: &str) -> usize {
    let (mut words, mut ideographs, mut unspaced) = (0, 0usize, 0usize);
    for token in text.split_whitespace() {
        let mut spaced = false;
        for c in token.chars().filter(|c| c.is_alphanumeric()) {
            match c {
                '\u{3040}'..='\u{30ff}'
                | '\u{3400}'..='\u{4dbf}'
                | '\u{4e00}'..='\u{9fff}'
                | '\u{f900}'..='\u{faff}'
                | '\u{20000}'..='\u{3ffff}' => ideographs += 1,
                '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' => unspaced += 1,
                _ => spaced = true,
            }
        }
        words += usize::from(spaced);
    }
    words + ideographs.div_ceil(IDEOGRAPHS_PER_WORD) + unspaced.div_ceil(LETTERS_PER_UNSPACED_WORD)
}

impl Send {
    /// Whether a person must type the recipient's code again: the top two speeds, and TLP RED.
    pub fn needs_confirmation(&self) -> bool {
        self.precedence >= Precedence::Immediate || self.tlp == crate::name::Tlp::Red
    }

    /// Checks what can be checked without the node.
    ///
    /// # Errors
    /// A [`code::BAD_REQUEST`] that says what is missing or too long, and what to do.
    pub fn check(&self) -> Result<(), Failure> {
        let wrong = |why: String, todo: &str| Err(Failure::new(code::BAD_REQUEST, "sending", why, todo));
        if self.to.is_empty() || self.to.len() > MAX_RECIPIENTS {
            return wrong(format!("a message has 1 to {MAX_RECIPIENTS} recipients"), "");
        }
        let mut peers: Vec<_> = self.to.iter().map(|to| to.peer).collect();
        peers.sort();
        if let Some(twice) = peers.windows(2).find(|pair| pair[0] == pair[1]) {
            return wrong(format!("{} is named twice", twice[0]), "Name each recipient once.");
        }
        if self.kind.is_machine() {
            return wrong(format!("entries of kind {} are made by machines", self.kind), "");
        }
        if self.kind == Kind::Acknowledgement {
            return wrong("an acknowledgement is given to one message by a person".into(), "Use `verbale ack`.");
        }
        self.check_texts()
    }

    fn check_texts(&self) -> Result<(), Failure> {
        let wrong = |why: String, todo: &str| Err(Failure::new(code::BAD_REQUEST, "sending", why, todo));
        if self.subject.trim().is_empty() {
            return wrong("the subject is missing".into(), "Say in one line what it is about (--subject).");
        }
        for (what, text, limit) in [
            ("subject", &self.subject, MAX_SUBJECT_CHARS),
            ("justification", &self.justification, MAX_JUSTIFICATION_CHARS),
        ] {
            if text.contains(['\n', '\r', '\u{2028}', '\u{2029}']) {
                return wrong(format!("the {what} has more than one line"), "Put the rest into the text.");
            }
            if text.contains(char::is_control) {
                return wrong(format!("the {what} holds a control character (a tab or the like)"), "Write it without.");
            }
            let count = text.chars().count();
            if count > limit {
                let why = format!("the {what} is one line of at most {limit} characters; this one has {count}");
                return wrong(why, "Put the rest into the text.");
            }
        }
        if self.enclosures.len() > MAX_ENCLOSURES {
            let why = format!("{} enclosures are more than the {MAX_ENCLOSURES} of one message", self.enclosures.len());
            return wrong(why, "Send a second message in the same case.");
        }
        if self.precedence >= Precedence::Immediate {
            let speed = self.precedence;
            if self.justification.trim().is_empty() {
                return wrong(
                    format!("{speed} needs a justification"),
                    "Say in one line why it cannot wait (--justification).",
                );
            }
            let count = words(&self.text);
            if count > MAX_URGENT_WORDS {
                let why = format!("at {speed} the text has at most {MAX_URGENT_WORDS} words; this one has {count}");
                return wrong(why, "Shorten it and enclose the detail (--enclose FILE), or send it as PRIORITY.");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{SendTo, WaitFor};
    use crate::name::{EntryId, Pap, Tlp};
    use crate::wire::ReplyExpected;

    fn message(precedence: Precedence, text: String) -> Send {
        Send {
            to: vec![SendTo { peer: "XB".parse().unwrap(), id: EntryId([1; 16]), fresh: false }],
            kind: Kind::Warning,
            language: "en".into(),
            subject: "Service down".into(),
            text,
            precedence,
            justification: "it spreads".into(),
            tlp: Tlp::Amber,
            pap: Pap::None,
            marking: String::new(),
            exercise: true,
            from_desk: None,
            to_desk: None,
            expires: None,
            case: None,
            new_case: false,
            in_reply_to: None,
            reply_expected: ReplyExpected::No,
            own_reference: String::new(),
            enclosures: Vec::new(),
            wait: WaitFor::Queued,
            confirmed_by_flag: false,
        }
    }

    #[test]
    fn words_are_counted_in_scripts_with_and_without_spaces() {
        assert_eq!(words("One two,  three\n- four"), 4);
        assert_eq!(words("انقطاع الخدمة منذ الساعة"), 4);
        assert_eq!(words("服务中断三小时"), 4);
        assert_eq!(words("사고 통보"), 2);
        assert_eq!(words("บริการหยุดชะงัก"), 3);
        assert_eq!(words(" … — "), 0);
    }

    #[test]
    fn two_hundred_words_pass_at_flash_and_one_more_does_not() {
        let text = |count: usize| vec!["word"; count].join(" ");
        for (count, passes) in [(MAX_URGENT_WORDS - 1, true), (MAX_URGENT_WORDS, true), (MAX_URGENT_WORDS + 1, false)] {
            assert_eq!(message(Precedence::Flash, text(count)).check().is_ok(), passes, "{count}");
            assert!(message(Precedence::Priority, text(count)).check().is_ok());
        }
    }

    #[test]
    fn what_is_missing_or_doubled_is_said() {
        let why = |send: &Send| send.check().unwrap_err().why;
        let mut send = message(Precedence::Flash, "text".into());
        send.justification = " ".into();
        assert_eq!(why(&send), "FLASH needs a justification");
        send.subject = " ".into();
        assert_eq!(why(&send), "the subject is missing");
        send.subject = "x".repeat(MAX_SUBJECT_CHARS + 1);
        assert!(why(&send).contains("at most 160 characters; this one has 161"));
        send.subject = "two\nlines".into();
        assert_eq!(why(&send), "the subject has more than one line");
        send.subject = "a\ttab".into();
        assert!(why(&send).contains("control character"));
        send.to.push(send.to[0]);
        assert_eq!(why(&send), "XB is named twice");
        send.to.clear();
        assert!(why(&send).contains("recipients"));
    }
}
