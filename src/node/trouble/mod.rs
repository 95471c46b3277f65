//! What is wrong, as `status` lists it: each with what, since when, what is affected, and what to do. It decides nothing.
//!
//! `own`: the node itself · `certificates`: this State's and its peers' · `correspondents`: each peer and what waits for
//! it.

pub(super) mod certificates;
pub(super) mod correspondents;
pub(super) mod own;

use crate::api::Trouble;
use crate::name::{Millis, NodeName};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Worth knowing, and not wrong.
    Notice,
    /// Somebody should look soon.
    Warning,
    /// Somebody should look now.
    Error,
}

/// Begins a trouble; what it does not say is empty.
fn trouble(level: Level, code: &str, what: impl Into<String>) -> Trouble {
    let level = match level {
        Level::Notice => "notice",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    Trouble {
        level: level.into(),
        code: code.into(),
        peer: None,
        what: what.into(),
        since: None,
        affects: String::new(),
        todo: String::new(),
    }
}

/// The rest of a trouble, one after the other.
trait Saying: Sized {
    fn since(self, at: Millis) -> Self;
    fn peer(self, peer: NodeName) -> Self;
    fn affects(self, affects: impl Into<String>) -> Self;
    fn todo(self, todo: impl Into<String>) -> Self;
}

impl Saying for Trouble {
    fn since(self, at: Millis) -> Self {
        Self { since: Some(at), ..self }
    }

    fn peer(self, peer: NodeName) -> Self {
        Self { peer: Some(peer), ..self }
    }

    fn affects(self, affects: impl Into<String>) -> Self {
        Self { affects: affects.into(), ..self }
    }

    fn todo(self, todo: impl Into<String>) -> Self {
        Self { todo: todo.into(), ..self }
    }
}

/// A number of things, in words.
fn count(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}
