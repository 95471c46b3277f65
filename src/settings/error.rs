//! What is wrong with a configuration, where, and how to mend it.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, or `the environment` with the variable's name.
    pub source: String,
    /// The line in that file, from 1, where it could be found.
    pub line: Option<usize>,
    /// The key, dotted; empty where the whole file is meant.
    pub key: String,
    /// What is wrong.
    pub why: String,
    /// How to mend it.
    pub cure: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": `{}`", self.key)?;
        }
        write!(f, ": {}", self.why)?;
        if !self.cure.is_empty() {
            write!(f, "\n  {}", self.cure)?;
        }
        Ok(())
    }
}

/// Why a configuration was not taken. It is the operator's to mend; nothing was started or changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no configuration.
    #[error("there is no configuration at {}; `verbale init` makes a node's folder with one", .0.display())]
    Missing(PathBuf),
    /// The file could not be read.
    #[error("the configuration {} cannot be read: {error}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is far larger than a configuration.
    #[error("{} is larger than {limit} bytes; that is no configuration", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// It was read, and something in it is wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Wrong(Vec<Problem>),
}
