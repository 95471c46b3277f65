//! The daemon's log lines on standard error: human or JSON, their level changed without a restart. They hold no content
//! of messages and no keys; that is the matter of whoever writes a line.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::settings::{LogFormat, LogLevel, LogSettings};

static HANDLE: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Lines of other crates are shown from this level on: what strangers can trigger there has no rate limit.
const OTHERS: &str = "error";

fn filter(level: LogLevel) -> EnvFilter {
    let text = format!("{OTHERS},verbale={}", level.word());
    EnvFilter::try_new(&text).expect("two levels by name are a filter")
}

/// Starts to write. Where the process writes log lines already, nothing changes.
pub(super) fn start(settings: LogSettings) {
    let (filter, handle) = reload::Layer::new(filter(settings.level));
    let registry = tracing_subscriber::registry().with(filter);
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let started = match settings.format {
        LogFormat::Human => registry.with(lines.with_target(false)).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    if started.is_ok() {
        let _ = HANDLE.set(handle);
    }
}

/// Changes how much is written.
pub(super) fn set_level(level: LogLevel) {
    if let Some(handle) = HANDLE.get() {
        let _ = handle.reload(filter(level));
    }
}
