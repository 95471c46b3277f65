//! Carries requests to a [`Backend`] and its answers back.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::serve::IncomingStream;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Frame;
use serde::Deserialize;
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use super::socket::Socket;
use super::{Backend, Caller, Failure, Request, Upload, code};
use crate::name::EntryId;

/// The largest command: a peer's introduction (1 MiB) as JSON text, twice over.
pub const MAX_CALL_BYTES: usize = 2 << 20;
/// The longest name of a file: what file systems take.
pub const MAX_NAME_BYTES: usize = 255;
/// The longest media type (RFC 6838: two names of 127 characters).
pub const MAX_MEDIA_TYPE_BYTES: usize = 255;
/// Parts of an enclosure that may wait for a slow reader.
const DOWNLOAD_PARTS: usize = 2;

/// The process at the other end.
#[derive(Clone, Copy, Debug)]
struct Speaker(Option<tokio::net::unix::UCred>);

impl Connected<IncomingStream<'_, UnixListener>> for Speaker {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok())
    }
}

/// Serves `backend` on `socket` until `stop` ends; commands under way are finished first.
///
/// # Errors
/// What the system says where the socket cannot be waited on.
pub async fn serve<B: Backend>(
    socket: Socket,
    backend: B,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (listener, _file) = socket.into_parts();
    let listener = UnixListener::from_std(listener)?;
    let app = router(backend).into_make_service_with_connect_info::<Speaker>();
    axum::serve(listener, app).with_graceful_shutdown(stop).await
}

fn router<B: Backend>(backend: B) -> Router {
    Router::new()
        .route("/v1/call", post(call::<B>).layer(DefaultBodyLimit::max(MAX_CALL_BYTES)))
        // The daemon counts the bytes itself: how large a file may be is its configuration.
        .route("/v1/enclosures", put(upload::<B>).layer(DefaultBodyLimit::disable()))
        .route("/v1/enclosures/{message}/{ordinal}", get(download::<B>))
        .fallback(|| async { Refused(Failure::new(code::BAD_REQUEST, DOING, "there is no such path", "")) })
        .with_state(backend)
}

const DOING: &str = "reading the command";

/// A failure as an HTTP answer.
struct Refused(Failure);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, axum::Json(self.0)).into_response()
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

fn bad(why: impl Into<String>) -> Refused {
    Refused(Failure::new(code::BAD_REQUEST, DOING, why, ""))
}

impl Speaker {
    fn caller(self) -> Result<Caller, Refused> {
        let forbidden = || {
            let why = "the system does not say which user speaks";
            Refused(Failure::new(code::FORBIDDEN, DOING, why, ""))
        };
        let credentials = self.0.ok_or_else(forbidden)?;
        let uid = credentials.uid();
        let terminal = credentials.pid().and_then(has_terminal);
        Ok(Caller { uid, is_daemon_user: uid == rustix::process::getuid().as_raw(), terminal })
    }
}

/// Whether a process has a controlling terminal; `None` where the system hides other users' processes (`ProtectProc=`,
/// `hidepid`) or the process is gone.
fn has_terminal(pid: i32) -> Option<bool> {
    terminal_in(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Field 7 of `/proc/PID/stat`, `tty_nr` (proc_pid_stat(5)). The program's name, in parentheses, may hold anything, so
/// fields are counted behind its end.
fn terminal_in(stat: &str) -> Option<bool> {
    let (_, fields) = stat.rsplit_once(')')?;
    let terminal: i32 = fields.split_ascii_whitespace().nth(4)?.parse().ok()?;
    Some(terminal != 0)
}

async fn call<B: Backend>(
    State(backend): State<B>,
    ConnectInfo(speaker): ConnectInfo<Speaker>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, Refused> {
    let body = body.map_err(|error| {
        let why = format!("{} (at most {MAX_CALL_BYTES} bytes)", error.body_text());
        let word = if error.status() == StatusCode::PAYLOAD_TOO_LARGE { code::TOO_LARGE } else { code::BAD_REQUEST };
        Refused(Failure::new(word, DOING, why, ""))
    })?;
    let request: Request = serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
    let reply = backend.call(speaker.caller()?, request).await?;
    Ok(axum::Json(reply).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UploadQuery {
    name: String,
    media_type: String,
}

async fn upload<B: Backend>(
    State(backend): State<B>,
    ConnectInfo(speaker): ConnectInfo<Speaker>,
    query: Result<Query<UploadQuery>, axum::extract::rejection::QueryRejection>,
    mut body: Body,
) -> Result<Response, Refused> {
    let Query(query) = query.map_err(|error| bad(error.body_text()))?;
    if query.name.is_empty() || query.name.len() > MAX_NAME_BYTES {
        return Err(bad(format!("a file's name has 1 to {MAX_NAME_BYTES} bytes")));
    }
    if query.media_type.len() > MAX_MEDIA_TYPE_BYTES {
        return Err(bad(format!("a media type has at most {MAX_MEDIA_TYPE_BYTES} bytes")));
    }
    let mut upload = backend.upload(speaker.caller()?, query.name, query.media_type).await?;
    while let Some(frame) = body.frame().await {
        // A broken connection drops the upload, which the daemon then forgets.
        let frame = frame.map_err(|error| bad(format!("the file broke off: {error}")))?;
        if let Ok(bytes) = frame.into_data() {
            upload.write(bytes).await?;
        }
    }
    Ok(axum::Json(upload.finish().await?).into_response())
}

async fn download<B: Backend>(
    State(backend): State<B>,
    ConnectInfo(speaker): ConnectInfo<Speaker>,
    Path((message, ordinal)): Path<(String, String)>,
) -> Result<Response, Refused> {
    let caller = speaker.caller()?;
    let message: EntryId = message.parse().map_err(|error| bad(format!("{error}")))?;
    let ordinal: u32 = ordinal.parse().map_err(|_| bad("an enclosure's number counts from 0"))?;
    // The first part is read before the answer begins, so that a failure is still told as one.
    let first = backend.enclosure(caller, message, ordinal, 0).await?;
    let (parts, body) = mpsc::channel(DOWNLOAD_PARTS);
    tokio::spawn(async move {
        let (mut part, mut offset) = (first, 0);
        while !part.is_empty() {
            offset += part.len() as u64;
            if parts.send(Ok(part)).await.is_err() {
                return;
            }
            part = match backend.enclosure(caller, message, ordinal, offset).await {
                Ok(part) => part,
                Err(failure) => {
                    // Cutting the body short is the one way left to tell the reader, who may be gone too.
                    let _ = parts.send(Err(io::Error::other(failure))).await;
                    return;
                }
            };
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], Body::new(Parts(body))).into_response())
}

/// A body that is made while it is read.
struct Parts(mpsc::Receiver<io::Result<Bytes>>);

impl hyper::body::Body for Parts {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|part| part.map(|part| part.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_found_whatever_the_program_is_called() {
        assert_eq!(terminal_in("7 (ver) 0 (x) S 1 7 7 34816 7 4194304 98"), Some(true));
        assert_eq!(terminal_in("7 (verbale) S 1 7 7 0 -1 4194304 98"), Some(false));
        for broken in ["", "7 verbale", "7 (verbale) S 1 7 7", "7 (verbale) S 1 7 7 x"] {
            assert_eq!(terminal_in(broken), None);
        }
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(has_terminal(own), Some(std::fs::File::open("/dev/tty").is_ok()));
        assert_eq!(has_terminal(-1), None);
    }
}
