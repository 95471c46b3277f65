//! The commands' end of the local interface.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Response};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::UnixStream;

use super::{EnclosureToken, Failure, Reply, Request, SOCKET_NAME, code};
use crate::name::EntryId;

/// The largest answer read: a thousand rows and every text fit many times.
const MAX_REPLY_BYTES: usize = 64 << 20;
/// Bytes of a file read at once.
const PART_BYTES: usize = 256 << 10;
/// A daemon that is alive accepts a local connection and answers its greeting within this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Told how many bytes of a file have passed.
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);

/// A node's daemon, as its commands reach it. Each call has a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    folder: PathBuf,
}

impl Client {
    /// Reaches the daemon of the node in `folder`.
    ///
    /// # Errors
    /// A failure with the code [`code::NO_DAEMON`] where none answers.
    pub async fn connect(folder: &Path) -> Result<Self, Failure> {
        Self::connect_to(&folder.join(SOCKET_NAME), folder).await
    }

    /// Reaches a daemon by its socket; `folder` is named in errors.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_to(socket: &Path, folder: &Path) -> Result<Self, Failure> {
        let client = Self { socket: socket.to_owned(), folder: folder.to_owned() };
        client.open().await?;
        Ok(client)
    }

    /// Carries out a command.
    ///
    /// # Errors
    /// What the daemon says, or [`code::NO_DAEMON`], or [`code::BROKEN`].
    pub async fn call(&self, request: &Request) -> Result<Reply, Failure> {
        let body = serde_json::to_vec(request)
            .map_err(|error| Failure::new(code::BAD_REQUEST, "writing the command", error.to_string(), ""))?;
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed();
        let response = self.send(Method::POST, "/v1/call", body).await?;
        read_json(response).await
    }

    /// Streams a file into the node, to be enclosed in a message.
    ///
    /// # Errors
    /// Where the file cannot be read, or as [`Client::call`].
    pub async fn upload(
        &self,
        file: &Path,
        name: &str,
        media_type: &str,
        progress: Progress<'_>,
    ) -> Result<EnclosureToken, Failure> {
        let doing = format!("enclosing {}", file.display());
        let unreadable = |error: io::Error| {
            Failure::new(code::BAD_REQUEST, &doing, error.to_string(), "Is the name right, and may this user read it?")
        };
        let open = File::open(file).await.map_err(unreadable)?;
        if !open.metadata().await.map_err(unreadable)?.is_file() {
            return Err(Failure::new(code::BAD_REQUEST, doing, "it is not a file", "Enclose files one by one."));
        }
        let path = format!("/v1/enclosures?name={}&media_type={}", escaped(name), escaped(media_type));
        let (told, mut counts) = tokio::sync::watch::channel(0);
        let body = FileBody { file: open, buffer: BytesMut::new(), sent: 0, told };
        let sending = self.send(Method::PUT, &path, body.boxed());
        tokio::pin!(sending);
        let response = loop {
            tokio::select! {
                response = &mut sending => break response?,
                Ok(()) = counts.changed() => progress(*counts.borrow_and_update()),
            }
        };
        progress(*counts.borrow());
        read_json(response).await
    }

    /// Streams an enclosure into `to`; returns its bytes' number.
    ///
    /// # Errors
    /// Where the file cannot be written, or as [`Client::call`]. What was written by then is the caller's to remove.
    pub async fn download(
        &self,
        message: EntryId,
        ordinal: u32,
        to: &mut File,
        progress: Progress<'_>,
    ) -> Result<u64, Failure> {
        let path = format!("/v1/enclosures/{message}/{ordinal}");
        let response = self.send(Method::GET, &path, Full::default().map_err(|never| match never {}).boxed()).await?;
        if !response.status().is_success() {
            return Err(read_failure(response).await);
        }
        let doing = "saving the enclosure";
        let mut body = response.into_body();
        let mut written = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                let why = format!("the daemon broke off after {written} bytes: {error}");
                Failure::new(code::BROKEN, doing, why, "See the daemon's log, then try again.")
            })?;
            if let Ok(bytes) = frame.into_data() {
                to.write_all(&bytes)
                    .await
                    .map_err(|error| Failure::new(code::BAD_REQUEST, doing, error.to_string(), ""))?;
                written += bytes.len() as u64;
                progress(written);
            }
        }
        to.flush().await.map_err(|error| Failure::new(code::BAD_REQUEST, doing, error.to_string(), ""))?;
        Ok(written)
    }

    async fn open(&self) -> Result<SendRequest<BoxBody<Bytes, io::Error>>, Failure> {
        let stream = super::socket::connect(&self.socket).and_then(UnixStream::from_std);
        let stream = stream.map_err(|error| self.no_daemon(&error))?;
        let greeting = tokio::time::timeout(CONNECT_TIMEOUT, handshake(TokioIo::new(stream))).await;
        let (sender, connection) = match greeting {
            Ok(Ok(parts)) => parts,
            Ok(Err(error)) => return Err(broken(&error)),
            Err(_) => return Err(Failure::new(code::TIMEOUT, "reaching the daemon", "it does not answer", "")),
        };
        // It ends when the sender or the daemon does; the sender's own error tells why.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn no_daemon(&self, error: &io::Error) -> Failure {
        let folder = self.folder.display();
        let doing = "reaching the daemon";
        if error.kind() == io::ErrorKind::PermissionDenied {
            let why = format!("this user may not use {}", self.socket.display());
            let todo = "Run the command as the daemon's user, or join the group that [socket] group names.";
            return Failure::new(code::FORBIDDEN, doing, why, todo);
        }
        if error.kind() == io::ErrorKind::WouldBlock {
            return Failure::new(code::BUSY, doing, "too many commands wait for it", "Try again in a moment.");
        }
        Failure::new(
            code::NO_DAEMON,
            doing,
            format!("no daemon answers in {folder} ({})", in_words(error)),
            format!("Start it with `verbale run --dir {folder}`."),
        )
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: BoxBody<Bytes, io::Error>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut sender = self.open().await?;
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "verbale")
            .header("content-type", "application/json")
            .body(body)
            .map_err(|error| Failure::new(code::BAD_REQUEST, "writing the command", error.to_string(), ""))?;
        sender.send_request(request).await.map_err(|error| broken(&error))
    }
}

/// What stands in the way of a socket, for people.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no socket".to_owned(),
        io::ErrorKind::ConnectionRefused => "nobody listens on its socket".to_owned(),
        _ => error.to_string(),
    }
}

fn broken(error: &hyper::Error) -> Failure {
    use std::error::Error;
    let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    Failure::new(
        code::BROKEN,
        "waiting for the daemon",
        format!("the connection ended ({error}{cause}); whether the command was carried out is not known"),
        "See `verbale status`. Repeating a command with the same id is harmless.",
    )
}

async fn read_json<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, Failure> {
    if !response.status().is_success() {
        return Err(read_failure(response).await);
    }
    let bytes = read_bytes(response).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let why = format!("the answer cannot be read: {error}");
        Failure::new(code::BROKEN, "reading the answer", why, "Are daemon and command of the same version?")
    })
}

async fn read_failure(response: Response<Incoming>) -> Failure {
    let status = response.status();
    match read_bytes(response).await {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            let why = format!("the daemon answered {status} without saying why");
            Failure::new(code::BROKEN, "reading the answer", why, "")
        }),
        Err(failure) => failure,
    }
}

async fn read_bytes(response: Response<Incoming>) -> Result<Bytes, Failure> {
    let body = Limited::new(response.into_body(), MAX_REPLY_BYTES);
    let collected = body.collect().await;
    collected
        .map(http_body_util::Collected::to_bytes)
        .map_err(|error| Failure::new(code::BROKEN, "reading the answer", error.to_string(), ""))
}

/// Percent-encodes everything but the unreserved characters of RFC 3986.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// A file that is read as the daemon takes it.
struct FileBody {
    file: File,
    buffer: BytesMut,
    sent: u64,
    told: tokio::sync::watch::Sender<u64>,
}

impl hyper::body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        this.buffer.resize(PART_BYTES, 0);
        let mut part = ReadBuf::new(&mut this.buffer);
        match Pin::new(&mut this.file).poll_read(context, &mut part) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
            Poll::Ready(Ok(())) => {
                let read = part.filled().len();
                if read == 0 {
                    return Poll::Ready(None);
                }
                this.sent += read as u64;
                let _ = this.told.send(this.sent);
                Poll::Ready(Some(Ok(Frame::data(this.buffer.split_to(read).freeze()))))
            }
        }
    }
}

impl Client {
    /// Carries out a command, but waits for the answer no longer than `limit`.
    ///
    /// # Errors
    /// As [`Client::call`], and [`code::TIMEOUT`].
    pub async fn call_within(&self, limit: Duration, doing: &str, request: &Request) -> Result<Reply, Failure> {
        match tokio::time::timeout(limit, self.call(request)).await {
            Ok(result) => result,
            Err(_) => {
                let why = format!("not within {} seconds", limit.as_secs());
                Err(Failure::new(code::TIMEOUT, doing, why, "What was queued stays queued; see `verbale outbox`."))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_script_pass_in_a_path() {
        assert_eq!(escaped("a b/ü&=?.txt"), "a%20b%2F%C3%BC%26%3D%3F.txt");
    }
}
