//! The daemon: wires the rooms together and performs what the core decides. It decides nothing about the exchange.

use std::path::PathBuf;

use crate::settings::Settings;

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// This build is of the commands alone.
    #[error("this build holds the commands without the daemon")]
    Absent,
}

/// Runs the daemon.
///
/// # Errors
/// See [`RunError`].
pub async fn run(_folder: PathBuf, _settings: Settings) -> Result<(), RunError> {
    Err(RunError::Absent)
}
