//! Asks the person at the terminal. Where there is none, nothing is assumed.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use crate::api::{Failure, code};

/// The longest line a person is read: a code, a `y`.
const MAX_ANSWER: u64 = 256;

/// Whether a person can be asked: input and messages both go to a terminal.
pub fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks, and returns what was typed, without spaces around it.
///
/// # Errors
/// [`code::NOT_A_TERMINAL`] where nobody can be asked.
pub fn line(doing: &str, question: &str) -> Result<String, Failure> {
    if !is_possible() {
        let why = "a person must confirm this, and there is no terminal";
        return Err(Failure::new(code::NOT_A_TERMINAL, doing, why, "Run the command on a terminal."));
    }
    let failed = |error: io::Error| Failure::new(super::out::own::OWN, doing, error.to_string(), "");
    write!(io::stderr(), "{question} ").and_then(|()| io::stderr().flush()).map_err(failed)?;
    let mut answer = String::new();
    io::stdin().lock().take(MAX_ANSWER).read_line(&mut answer).map_err(failed)?;
    Ok(answer.trim().to_owned())
}

/// The failure of a person who did not confirm.
pub fn not_confirmed(doing: &str) -> Failure {
    Failure::new("not-confirmed", doing, "it was not confirmed; nothing was done", "")
}
