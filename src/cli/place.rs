//! Which node a command is about, how its daemon is reached, and under which names States are shown.

use std::path::{Path, PathBuf};

use super::out::own;
use crate::api::{Client, Failure, LogFilter, Reply, Request, code};
use crate::name::{EntryId, NodeName};
use crate::settings::Settings;

/// Where an installed daemon's socket lies (see `config/installed.toml`).
const INSTALLED_SOCKET: &str = "/run/verbale/verbale.sock";

/// The shortest part of an id that is looked up: four hexadecimal digits.
const MIN_PREFIX: usize = 4;

/// Messages among which a part of an id is looked up: the newest of each folder.
const LOOKED_THROUGH: u32 = 10_000;

/// What says which node is meant; the same for every command.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Place {
    /// The node's folder
    #[arg(long, global = true, env = "VERBALE_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The daemon's socket, where it is not in the node's folder
    #[arg(long, global = true, env = "VERBALE_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

impl Place {
    /// The node's folder.
    ///
    /// # Errors
    /// [`own::USAGE`] where none was said.
    pub fn folder(&self) -> Result<&Path, Failure> {
        self.dir.as_deref().ok_or_else(|| {
            let why = "it was not said which node's folder is meant";
            Failure::new(own::USAGE, "looking for the node", why, "Say --dir DIR, or set VERBALE_DIR.")
        })
    }

    /// Reaches the daemon.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn client(&self) -> Result<Client, Failure> {
        if let Some(socket) = &self.socket {
            let folder = self.dir.as_deref().or_else(|| socket.parent()).unwrap_or(Path::new("."));
            return Client::connect_to(socket, folder).await;
        }
        match &self.dir {
            Some(folder) => {
                // The configuration may have put it elsewhere; who may not read it needs --socket.
                let socket = Settings::load(folder).ok().and_then(|settings| settings.socket.path);
                match socket {
                    Some(socket) => Client::connect_to(&socket, folder).await,
                    None => Client::connect(folder).await,
                }
            }
            None if Path::new(INSTALLED_SOCKET).exists() => {
                Client::connect_to(Path::new(INSTALLED_SOCKET), Path::new("/var/lib/verbale")).await
            }
            None => Err(self.folder().err().unwrap_or_else(|| unreachable!("there is no folder in this arm"))),
        }
    }

    /// The names under which States are shown, as far as this user may read the configuration.
    pub fn names(&self) -> Names {
        Names(self.dir.as_deref().and_then(|folder| Settings::load(folder).ok()))
    }
}

/// The names under which States are shown.
#[derive(Debug)]
pub struct Names(Option<Settings>);

impl Names {
    /// Without a configuration: the short English names.
    #[cfg(test)]
    pub fn none() -> Self {
        Self(None)
    }

    /// The State's name: as configured here, or the short English one.
    pub fn of(&self, peer: NodeName) -> String {
        match &self.0 {
            Some(settings) => super::safe::one_line(&settings.display_name(peer)),
            None => peer.state().short_name().to_owned(),
        }
    }

    /// Code and name: `XB (Exercise State XB)`.
    pub fn full(&self, peer: NodeName) -> String {
        format!("{peer} ({})", self.of(peer))
    }

    /// Sorts by the States' names, then by the nodes'. Never by a result.
    pub fn sort<T>(&self, rows: &mut [T], peer: impl Fn(&T) -> NodeName) {
        rows.sort_by_cached_key(|row| (self.of(peer(row)).to_lowercase(), peer(row)));
    }

    /// The language in which messages are written here; empty where not said.
    pub fn language(&self) -> String {
        self.0.as_ref().map(|settings| settings.language.clone()).unwrap_or_default()
    }
}

/// Finds the message that a whole id or its first digits name.
///
/// # Errors
/// [`code::UNKNOWN_MESSAGE`] where none or more than one begins so; as [`Client::call`].
pub async fn message(client: &Client, text: &str) -> Result<EntryId, Failure> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let doing = format!("looking for message {}", super::safe::one_line(text));
    let text = text.to_ascii_lowercase();
    if text.len() < MIN_PREFIX || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let todo = "Give the id that `verbale inbox` or `verbale outbox` shows, or its first digits (at least four).";
        return Err(Failure::new(own::USAGE, doing, "this is no id of a message", todo));
    }
    // With acknowledgements, which `show` names too.
    let filter = LogFilter { limit: LOOKED_THROUGH, machine: true, ..LogFilter::default() };
    let mut found = Vec::new();
    for request in [Request::Inbox(filter.clone()), Request::Outbox(filter)] {
        if let Reply::Messages(rows) = client.call(&request).await? {
            found.extend(rows.into_iter().map(|row| row.id).filter(|id| id.to_string().starts_with(&text)));
        }
    }
    found.sort();
    found.dedup();
    match found[..] {
        [id] => Ok(id),
        [] => {
            let why = format!("none of the newest {LOOKED_THROUGH} messages received or sent begins so");
            let todo = "Look for it with `verbale inbox` or `verbale outbox`; an older one is named by its whole id.";
            Err(Failure::new(code::UNKNOWN_MESSAGE, doing, why, todo))
        }
        _ => {
            let why = format!("{} messages begin so", found.len());
            Err(Failure::new(code::UNKNOWN_MESSAGE, doing, why, "Give more digits of the id."))
        }
    }
}

/// A fresh random id, so that repeating a command is the same command.
///
/// # Errors
/// [`own::OWN`] where the system has no randomness.
pub fn fresh_id() -> Result<EntryId, Failure> {
    let mut bytes = [0; 16];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => Ok(EntryId(bytes)),
        Err(_) => Err(Failure::new(own::OWN, "drawing a random id", "the system has no randomness", "")),
    }
}

/// The failure for an answer that does not fit the command.
pub fn unexpected(reply: &Reply) -> Failure {
    let got = serde_json::to_value(reply).ok().and_then(|value| value["reply"].as_str().map(str::to_owned));
    let why = format!("the daemon answered with `{}`", got.unwrap_or_default());
    Failure::new(code::BROKEN, "reading the answer", why, "Are daemon and command of the same version?")
}
