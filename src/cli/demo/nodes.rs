//! The daemons of the demonstration: real processes that are ended on every way out.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::api::{Client, Failure, Reply, Request};
use crate::cli::init::set_up;
use crate::cli::out::own;
use crate::cli::place::unexpected;
use crate::identity::{Passphrase, RootChoice};
use crate::name::NodeName;

/// How long anything may take here; a slow machine under load needs seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// How often the daemons are asked while something is waited for.
const TICK: Duration = Duration::from_millis(25);
/// Lines of a daemon's log that are shown with a failure.
const LOG_LINES: usize = 12;
/// The roots of a demonstration are nobody's secret.
pub(super) const PASSPHRASE: &str = "exercise only, not a secret";

/// A State's node in the demonstration. Its process ends with this value.
pub(super) struct DemoNode {
    pub name: NodeName,
    pub folder: PathBuf,
    pub client: Client,
    /// The text of its introduction and its fingerprint.
    pub introduction: (String, String),
    child: Option<Child>,
}

fn failed(doing: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(own::NOT_SO, doing, why.to_string(), "")
}

/// Chooses UDP ports that are free now, all different.
pub(super) fn free_ports(count: usize) -> Result<Vec<u16>, Failure> {
    let doing = "looking for free UDP ports";
    let open = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    // All are held until the last is chosen.
    let sockets: Vec<UdpSocket> =
        (0..count).map(|_| open()).collect::<Result<_, _>>().map_err(|error| failed(doing, error))?;
    sockets.iter().map(|socket| socket.local_addr().map(|a| a.port()).map_err(|error| failed(doing, error))).collect()
}

impl DemoNode {
    /// Makes the node's folder in `stage` and starts its daemon.
    pub async fn open(stage: &Path, name: NodeName, port: u16) -> Result<Self, Failure> {
        let folder = stage.join(name.to_string());
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let announce = listen.to_string().parse().map_err(|error| failed("setting up the node", error))?;
        let passphrase = Passphrase::new(PASSPHRASE.to_owned()).map_err(|error| failed("making a root", error))?;
        let root = RootChoice::New { path: &stage.join(format!("{name}-root.key")), passphrase: &passphrase };
        let made = set_up(&folder, name, &[listen], &[announce], root, false)?;
        let introduction = (made.introduction.to_text(), made.introduction.fingerprint().to_string());
        let child = Some(spawn(&folder)?);
        let (client, child) = answering(&folder, child).await?;
        Ok(Self { name, folder, client, introduction, child })
    }

    /// Ends the daemon as an administrator would: SIGTERM to its process, and waits until it is gone.
    pub async fn stop(&mut self) -> Result<(), Failure> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let doing = format!("stopping {}", self.name);
        if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).map_err(|error| failed(&doing, error))?;
        }
        match tokio::time::timeout(PATIENCE, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(failed(&doing, format!("it ended with {status}\n{}", log_end(&self.folder)))),
            Ok(Err(error)) => Err(failed(&doing, error)),
            // Dropping the child kills it.
            Err(_) => Err(failed(&doing, format!("it did not end in {} s", PATIENCE.as_secs()))),
        }
    }

    /// Starts the daemon again on the same folder.
    pub async fn start(&mut self) -> Result<(), Failure> {
        let child = Some(spawn(&self.folder)?);
        (self.client, self.child) = answering(&self.folder, child).await?;
        Ok(())
    }

    /// Carries out a command within the patience of the demonstration.
    pub async fn call(&self, doing: &str, request: Request) -> Result<Reply, Failure> {
        let called = self.client.call_within(PATIENCE, doing, &request).await;
        called.map_err(|failure| Failure {
            why: format!("{}: {}\n{}", self.name, failure.why, self.log_end()),
            ..failure
        })
    }

    /// The node's correspondents.
    pub async fn status_of_peers(&self) -> Result<Vec<crate::api::PeerView>, Failure> {
        match self.call("asking for the correspondents", Request::PeerList).await? {
            Reply::Peers(peers) => Ok(peers),
            other => Err(unexpected(&other)),
        }
    }

    /// The end of the daemon's log lines.
    pub fn log_end(&self) -> String {
        log_end(&self.folder)
    }
}

/// Asks again and again until `ask` yields something, no longer than the patience of the demonstration.
pub(super) async fn until<T>(
    doing: &str,
    mut ask: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let deadline = Instant::now() + PATIENCE;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while Instant::now() < deadline {
        tick.tick().await;
        if let Some(found) = ask().await? {
            return Ok(found);
        }
    }
    Err(failed(doing, format!("it did not come about in {} seconds", PATIENCE.as_secs())))
}

fn log_path(folder: &Path) -> PathBuf {
    folder.with_extension("log")
}

fn spawn(folder: &Path) -> Result<Child, Failure> {
    let doing = format!("starting the daemon in {}", folder.display());
    let program = std::env::current_exe().map_err(|error| failed(&doing, error))?;
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log_path(folder));
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        // The nodes of the demonstration are configured by their files alone.
        if name.to_string_lossy().starts_with("VERBALE") {
            command.env_remove(name);
        }
    }
    command
        .arg("run")
        .arg("--dir")
        .arg(folder)
        .env("NO_COLOR", "1")
        .env(crate::node::DEMO_VARIABLE, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.map_err(|error| failed(&doing, error))?)
        // A group of its own: Ctrl-C reaches the demonstration, which ends its daemons itself.
        .process_group(0)
        .kill_on_drop(true);
    command.spawn().map_err(|error| failed(&doing, error))
}

/// Waits until the daemon answers, or has ended.
async fn answering(folder: &Path, mut child: Option<Child>) -> Result<(Client, Option<Child>), Failure> {
    let doing = format!("waiting for the daemon in {}", folder.display());
    let client = until(&doing, async || {
        if let Some(status) = child.as_mut().and_then(|child| child.try_wait().transpose()) {
            let ended = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            return Err(failed(&doing, format!("it ended ({ended})\n{}", log_end(folder))));
        }
        let Ok(client) = Client::connect(folder).await else { return Ok(None) };
        Ok(client.call(&Request::Status).await.ok().map(|_| client))
    })
    .await?;
    Ok((client, child))
}

fn log_end(folder: &Path) -> String {
    let text = std::fs::read(log_path(folder)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
    if end.is_empty() { String::new() } else { format!("Its last log lines:\n{end}") }
}
