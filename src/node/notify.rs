//! How the daemon and the system's service manager speak: readiness on a socket, stop and reload as signals.
//!
//! Implements the datagram protocol of `sd_notify(3)` in the few lines that it takes. Without `NOTIFY_SOCKET` nothing is
//! sent.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the service manager, or a person at the terminal, wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// SIGTERM or SIGINT: stop in good order.
    Stop,
    /// SIGHUP: read peers, limits and log level again.
    Reload,
}

/// The signals that the daemon listens to.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Starts to listen.
    ///
    /// # Errors
    /// What the system says.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next wish. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.hang_up.recv() => Wish::Reload,
        }
    }
}

/// Tells the service manager how the daemon fares (units of `Type=notify` with an `ExecReload` that sends SIGHUP).
#[derive(Debug)]
pub struct ServiceManager {
    socket: Option<OsString>,
}

impl ServiceManager {
    /// Looks where the service manager listens.
    pub fn from_environment() -> Self {
        Self { socket: std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) }
    }

    /// Says that the node serves.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// Says that the configuration is being read again; [`Self::ready`] ends it.
    pub fn reloading(&self) {
        self.send("RELOADING=1");
    }

    /// Says that the node stops.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    fn send(&self, state: &str) {
        let Some(path) = &self.socket else { return };
        if let Err(error) = send_to(path, state) {
            tracing::debug!(%error, "the service manager was not told");
        }
    }
}

fn send_to(path: &OsStr, state: &str) -> io::Result<()> {
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.send_to_addr(state.as_bytes(), &address).map(|_| ())
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_arrives_at_the_socket_as_the_protocol_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = ServiceManager { socket: Some(path.into()) };
        manager.ready("XA listens\non two addresses");
        let mut buffer = [0; 128];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1\nSTATUS=XA listens on two addresses");
    }

    #[test]
    fn a_service_manager_that_is_gone_stops_nobody() {
        ServiceManager { socket: Some("/nonexistent/notify".into()) }.ready("up");
        ServiceManager { socket: None }.stopping();
    }
}
