//! Why a command was not carried out, and the stable words for it.

use serde::{Deserialize, Serialize};

/// Why a command was not carried out: the first cause, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{doing}: {why}{}{todo}", if todo.is_empty() { "" } else { "\n" })]
pub struct Failure {
    /// A stable word for programs, e.g. `unknown-peer`, `wrong-fingerprint`, `disk-full`; see [`code`].
    pub code: String,
    /// What was being done.
    pub doing: String,
    /// Why it did not work.
    pub why: String,
    /// What to do next; may be empty.
    pub todo: String,
}

impl Failure {
    /// Puts a failure together: the reason without the system's error numbers, the advice as whole sentences.
    pub fn new(code: &str, doing: impl Into<String>, why: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            doing: doing.into(),
            why: without_numbers(why.into()),
            todo: sentence(todo.into()),
        }
    }

    /// The HTTP status that carries it.
    pub fn status(&self) -> u16 {
        match self.code.as_str() {
            code::BAD_REQUEST => 400,
            code::FORBIDDEN | code::NOT_A_TERMINAL => 403,
            code::UNKNOWN_PEER | code::UNKNOWN_MESSAGE | code::UNKNOWN_ENCLOSURE => 404,
            code::TIMEOUT => 504,
            code::TOO_LARGE => 413,
            code::DISK_FULL => 507,
            code::BUSY | code::FENCED => 503,
            code::INTERNAL => 500,
            // Understood, allowed, and still not possible as things stand.
            _ => 409,
        }
    }
}

/// Takes ` (os error 2)` out: the words before it say the same.
fn without_numbers(text: String) -> String {
    const MARK: &str = " (os error ";
    let mut left = text.as_str();
    let mut plain = String::with_capacity(text.len());
    while let Some((before, after)) = left.split_once(MARK) {
        plain.push_str(before);
        match after.split_once(')') {
            Some((number, rest)) if number.parse::<i32>().is_ok() => left = rest,
            _ => {
                plain.push_str(MARK);
                left = after;
            }
        }
    }
    plain.push_str(left);
    plain
}

/// Begins with a capital and ends with a full stop, where it is not so already.
fn sentence(text: String) -> String {
    let mut text = text;
    if let Some(first) = text.chars().next().filter(char::is_ascii_lowercase) {
        text.replace_range(..1, &first.to_ascii_uppercase().to_string());
    }
    if text.ends_with(|last: char| last.is_alphanumeric() || matches!(last, '`' | ')' | '"')) {
        text.push('.');
    }
    text
}

/// The words of [`Failure::code`]. Programs may rely on them; others may be added.
pub mod code {
    /// The command itself is malformed.
    pub const BAD_REQUEST: &str = "bad-request";
    /// This user may not do that.
    pub const FORBIDDEN: &str = "forbidden";
    /// A person must do that on a terminal.
    pub const NOT_A_TERMINAL: &str = "not-a-terminal";
    /// Nobody of that name was accepted here.
    pub const UNKNOWN_PEER: &str = "unknown-peer";
    /// No message of that id here.
    pub const UNKNOWN_MESSAGE: &str = "unknown-message";
    /// No enclosure of that number, or none that is here.
    pub const UNKNOWN_ENCLOSURE: &str = "unknown-enclosure";
    /// The fingerprint read does not fit the introduction.
    pub const WRONG_FINGERPRINT: &str = "wrong-fingerprint";
    /// Something is larger than allowed.
    pub const TOO_LARGE: &str = "too-large";
    /// The disk is full.
    pub const DISK_FULL: &str = "disk-full";
    /// Not now; try again.
    pub const BUSY: &str = "busy";
    /// Another instance has spoken under this node's keys.
    pub const FENCED: &str = "fenced";
    /// It did not come about in the time given. What was queued stays queued.
    pub const TIMEOUT: &str = "timeout";
    /// The node itself is at fault.
    pub const INTERNAL: &str = "internal";
    /// No daemon answers; made by the client.
    pub const NO_DAEMON: &str = "no-daemon";
    /// The connection to the daemon broke; made by the client. Whether the command was carried out is unknown.
    pub const BROKEN: &str = "broken";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_no_error_numbers_and_advice_is_a_sentence() {
        let missing = std::io::Error::from_raw_os_error(2);
        let failure = Failure::new("own", "reading", format!("a: {missing}; b: {missing}"), "see `verbale status`");
        assert_eq!(failure.why, "a: No such file or directory; b: No such file or directory");
        assert_eq!(failure.todo, "See `verbale status`.");
        let whole = |todo: &str| Failure::new("own", "", "x (os error of a kind", todo);
        assert_eq!(whole("`verbale inbox` lists it").todo, "`verbale inbox` lists it.");
        assert_eq!((whole("").todo, whole("").why.as_str()), (String::new(), "x (os error of a kind"));
    }
}
