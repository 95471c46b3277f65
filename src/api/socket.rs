//! The Unix socket: where it lies, who may use it, and what becomes of one that a dead process left behind.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// The socket's name in the node's folder.
pub const SOCKET_NAME: &str = "verbale.sock";

/// Connections that wait to be taken: commands are few and short.
const BACKLOG: i32 = 64;

/// The longest path that fits a socket's address on Linux, with its closing zero (108 bytes).
const MAX_SOCKET_PATH: usize = 107;

/// Why the socket could not be opened. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Something that is not a socket lies there.
    #[error("{} exists and is no socket; move it away", .0.display())]
    NotASocket(PathBuf),
    /// The group is not known on this machine.
    #[error("there is no group `{group}` on this machine ([socket] group); make it with `groupadd --system {group}`")]
    UnknownGroup {
        /// As configured.
        group: String,
    },
    /// The system refused something.
    #[error("{doing} {}: {error}", .path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// A bound socket that nobody is served on yet; its file is removed with this value.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: std::os::unix::net::UnixListener,
    file: SocketFile,
}

#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode, so that a successor's socket is never removed.
    identity: (u64, u64),
}

impl Socket {
    /// Binds `path` with mode 0600, or 0660 for `group` (a name or a number).
    ///
    /// The caller holds the folder's lock; so a socket that lies there belongs to a process that is dead, and is
    /// replaced. Nobody can connect before the mode is set: a bound socket refuses until it listens.
    ///
    /// # Errors
    /// See [`SocketError`].
    pub fn bind(path: &Path, group: Option<&str>) -> Result<Self, SocketError> {
        let failed = |doing| move |error: io::Error| SocketError::Io { doing, path: path.to_owned(), error };
        match fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => {
                fs::remove_file(path).map_err(failed("removing the socket of a dead process"))?;
            }
            Ok(_) => return Err(SocketError::NotASocket(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("looking at")(error)),
        }
        let gid = group.map(group_id).transpose()?;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags(), None)
            .map_err(|error| failed("making the socket")(error.into()))?;
        let (address, _folder) = address(path).map_err(failed("looking at the folder of"))?;
        rustix::net::bind(&fd, &address).map_err(|error| failed("binding the socket")(error.into()))?;
        let mode = if gid.is_some() { 0o660 } else { 0o600 };
        if let Some(gid) = gid {
            chown(path, None, Some(gid)).map_err(failed("giving the group (is the daemon's user a member?)"))?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("setting the mode of"))?;
        rustix::net::listen(&fd, BACKLOG).map_err(|error| failed("listening on")(error.into()))?;
        let file = SocketFile { path: path.to_owned(), identity: identity(path).map_err(failed("looking at"))? };
        Ok(Self { listener: fd.into(), file })
    }

    pub(super) fn into_parts(self) -> (std::os::unix::net::UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn flags() -> SocketFlags {
    SocketFlags::CLOEXEC | SocketFlags::NONBLOCK
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// The address for `path`; where it is too long for one, by way of its open folder, which must live as long.
fn address(path: &Path) -> io::Result<(SocketAddrUnix, Option<OwnedFd>)> {
    if path.as_os_str().len() <= MAX_SOCKET_PATH {
        return Ok((SocketAddrUnix::new(path)?, None));
    }
    use std::os::fd::AsRawFd;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let folder = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    Ok((SocketAddrUnix::new(&short)?, Some(folder)))
}

/// Connects to the socket at `path`, whatever its length.
pub(super) fn connect(path: &Path) -> io::Result<std::os::unix::net::UnixStream> {
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags(), None)?;
    let (address, _folder) = address(path)?;
    // A local connect is done or refused at once; with a full backlog it says so instead of waiting.
    rustix::net::connect(&fd, &address)?;
    Ok(fd.into())
}

fn group_id(group: &str) -> Result<u32, SocketError> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let path = Path::new("/etc/group");
    let text =
        fs::read_to_string(path).map_err(|error| SocketError::Io { doing: "reading", path: path.to_owned(), error })?;
    id_in(&text, group).ok_or_else(|| SocketError::UnknownGroup { group: group.to_owned() })
}

/// Reads a line of `/etc/group`: `name:password:number:members`.
fn id_in(text: &str, group: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_name_or_its_number() {
        let text = "root:x:0:\nverbale:x:990:a,b\nverbale2:x:991:\nbroken\n";
        assert_eq!(id_in(text, "verbale"), Some(990));
        assert_eq!(id_in(text, "broken"), None);
        assert_eq!(id_in(text, "verb"), None);
        assert!(matches!(group_id("990"), Ok(990)));
    }

    #[test]
    fn a_socket_is_its_owners_alone_and_goes_with_its_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET_NAME);
        let socket = Socket::bind(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn the_socket_of_a_dead_process_is_replaced_and_another_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET_NAME);
        std::mem::forget(Socket::bind(&path, None).unwrap().into_parts().1);
        assert!(path.exists());
        let again = Socket::bind(&path, None).unwrap();
        drop(again);
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::bind(&path, None), Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_path_that_is_too_long_for_a_sockets_address_works_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a".repeat(120)).join("b".repeat(120));
        fs::create_dir_all(&deep).unwrap();
        let path = deep.join(SOCKET_NAME);
        let _socket = Socket::bind(&path, None).unwrap();
        assert!(connect(&path).is_ok());
    }
}
