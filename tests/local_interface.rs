//! The local interface: what goes in at a command's end comes out at the daemon's, and the other way round.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use verbale::api::{
    Backend, Caller, Client, EnclosureToken, Failure, LogFilter, MAX_CALL_BYTES, PeerAdd, Reply, Request, SOCKET_NAME,
    Socket, Upload, code, serve,
};
use verbale::name::EntryId;

/// Keeps in memory what was called and uploaded.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    calls: Vec<(Caller, Request)>,
    files: BTreeMap<String, Vec<u8>>,
    lost_uploads: usize,
}

struct Uploading {
    memory: Memory,
    name: String,
    media_type: String,
    bytes: Vec<u8>,
    finished: bool,
}

const LARGEST_FILE: usize = 3 << 20;
const PART: usize = 1 << 20;

impl Upload for Uploading {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Failure> {
        if self.bytes.len() + bytes.len() > LARGEST_FILE {
            return Err(Failure::new(code::TOO_LARGE, "enclosing a file", "it is larger than 3 MiB", "Split it."));
        }
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(mut self) -> Result<EnclosureToken, Failure> {
        self.finished = true;
        let size = self.bytes.len() as u64;
        let mut kept = self.memory.0.lock().expect("no panic elsewhere");
        kept.files.insert(self.name.clone(), std::mem::take(&mut self.bytes));
        let (name, media_type) = (self.name.clone(), self.media_type.clone());
        Ok(EnclosureToken { token: "t1".into(), name, media_type, size, sha256: String::new() })
    }
}

impl Drop for Uploading {
    fn drop(&mut self) {
        if !self.finished {
            self.memory.0.lock().expect("no panic elsewhere").lost_uploads += 1;
        }
    }
}

impl Backend for Memory {
    type Upload = Uploading;

    async fn call(&self, caller: Caller, request: Request) -> Result<Reply, Failure> {
        self.0.lock().expect("no panic elsewhere").calls.push((caller, request.clone()));
        match request {
            Request::PeerList => Ok(Reply::Peers(Vec::new())),
            Request::Inbox(_) => Ok(Reply::Messages(Vec::new())),
            Request::PeerAdd(_) => Ok(Reply::Done),
            _ => Err(Failure::new(code::UNKNOWN_PEER, "pinging XB", "XB is not a peer of this node", "Add it.")),
        }
    }

    async fn upload(&self, _: Caller, name: String, media_type: String) -> Result<Uploading, Failure> {
        Ok(Uploading { memory: self.clone(), name, media_type, bytes: Vec::new(), finished: false })
    }

    async fn enclosure(&self, _: Caller, _: EntryId, ordinal: u32, offset: u64) -> Result<Bytes, Failure> {
        let kept = self.0.lock().expect("no panic elsewhere");
        let file = kept.files.values().nth(ordinal as usize).ok_or_else(|| {
            Failure::new(code::UNKNOWN_ENCLOSURE, "reading an enclosure", "there is no such file", "")
        })?;
        let from = file.len().min(usize::try_from(offset).expect("small"));
        Ok(Bytes::copy_from_slice(&file[from..file.len().min(from + PART)]))
    }
}

/// A served folder; the task ends when `stop` is dropped.
struct House {
    folder: TempDir,
    memory: Memory,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<io::Result<()>>,
}

impl House {
    fn open() -> Self {
        let folder = TempDir::new().expect("a folder");
        let memory = Memory::default();
        let socket = Socket::bind(&folder.path().join(SOCKET_NAME), None).expect("binds");
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(socket, memory.clone(), async {
            let _ = stopped.await;
        }));
        Self { folder, memory, stop: Some(stop), served }
    }

    async fn client(&self) -> Client {
        Client::connect(self.folder.path()).await.expect("the daemon answers")
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).expect("writes");
        path
    }
}

#[tokio::test]
async fn a_command_reaches_the_daemon_with_its_callers_user() {
    let house = House::open();
    let filter = LogFilter { limit: 7, ..LogFilter::default() };
    let reply = house.client().await.call(&Request::Inbox(filter.clone())).await;
    assert_eq!(reply, Ok(Reply::Messages(Vec::new())));
    let kept = house.memory.0.lock().expect("no panic elsewhere");
    let (caller, request) = &kept.calls[0];
    assert_eq!(*request, Request::Inbox(filter));
    assert_eq!((caller.uid, caller.is_daemon_user), (rustix::process::getuid().as_raw(), true));
}

#[tokio::test]
async fn a_failure_comes_back_as_it_was_said() {
    let house = House::open();
    let request = Request::Retry { peer: "XB".parse().expect("a name") };
    let failure = house.client().await.call(&request).await.expect_err("refused");
    assert_eq!(failure, Failure::new(code::UNKNOWN_PEER, "pinging XB", "XB is not a peer of this node", "Add it."));
}

#[tokio::test]
async fn without_a_daemon_the_cure_is_named() {
    let folder = TempDir::new().expect("a folder");
    let failure = Client::connect(folder.path()).await.expect_err("nobody is there");
    assert_eq!(failure.code, code::NO_DAEMON);
    assert_eq!(failure.todo, format!("Start it with `verbale run --dir {}`.", folder.path().display()));
}

#[tokio::test]
async fn a_file_goes_in_and_comes_out_byte_equal_under_a_name_in_any_script() {
    let house = House::open();
    let bytes: Vec<u8> = (0..LARGEST_FILE).map(|at| (at % 251) as u8).collect();
    let path = house.file("file", &bytes);
    let seen = Mutex::new(0);
    let client = house.client().await;
    let name = "تقرير & ?.json";
    let progress = |done| *seen.lock().expect("no panic") = done;
    let token = client.upload(&path, name, "application/json", &progress).await.expect("taken in");
    assert_eq!((token.name.as_str(), token.size), (name, bytes.len() as u64));
    assert_eq!(*seen.lock().expect("no panic"), bytes.len() as u64);

    let mut out = tokio::fs::File::from_std(tempfile::tempfile().expect("a file"));
    let written = client.download(EntryId([1; 16]), 0, &mut out, &|_| ()).await.expect("saved");
    assert_eq!(written, bytes.len() as u64);
    let mut back = Vec::new();
    out.rewind().await.expect("seeks");
    out.read_to_end(&mut back).await.expect("reads");
    assert!(back == bytes);
    let missing = client.download(EntryId([1; 16]), 1, &mut out, &|_| ()).await.expect_err("no second file");
    assert_eq!(missing.code, code::UNKNOWN_ENCLOSURE);
}

#[tokio::test]
async fn a_file_one_byte_too_large_is_refused_and_forgotten() {
    let house = House::open();
    let path = house.file("file", &vec![7; LARGEST_FILE + 1]);
    let refused = house.client().await.upload(&path, "file", "text/plain", &|_| ()).await.expect_err("too large");
    // The daemon may close before it has read all; then the client sees the break, not the reason.
    assert!(refused.code == code::TOO_LARGE || refused.code == code::BROKEN, "{refused:?}");
    let kept = house.memory.0.lock().expect("no panic elsewhere");
    assert_eq!((kept.files.len(), kept.lost_uploads), (0, 1));
}

#[tokio::test]
async fn a_command_at_the_limit_passes_and_one_byte_over_is_refused() {
    let house = House::open();
    let client = house.client().await;
    let request = |length: usize| {
        Request::PeerAdd(PeerAdd {
            introduction: "x".repeat(length),
            fingerprint: String::new(),
            read_by: String::new(),
            channel: String::new(),
        })
    };
    let around = serde_json::to_vec(&request(0)).expect("JSON").len();
    assert_eq!(client.call(&request(MAX_CALL_BYTES - around)).await, Ok(Reply::Done));
    assert_eq!(client.call(&request(MAX_CALL_BYTES - around - 1)).await, Ok(Reply::Done));
    let over = client.call(&request(MAX_CALL_BYTES - around + 1)).await.expect_err("too large");
    assert!(over.code == code::TOO_LARGE || over.code == code::BROKEN, "{over:?}");
}

/// Sends bytes as they are and returns the answer's text.
async fn raw(house: &House, request: &str) -> String {
    let mut stream = tokio::net::UnixStream::connect(house.folder.path().join(SOCKET_NAME)).await.expect("connects");
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("reads");
    answer
}

#[tokio::test]
async fn what_is_no_command_is_answered_with_a_reason() {
    let house = House::open();
    let post = |body: &str| {
        format!(
            "POST /v1/call HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for (request, status) in [
        (post("{\"do\":\"dance\"}"), "400"),
        (post("[]"), "400"),
        (post("\u{1b}[2J"), "400"),
        (post("{\"do\":\"inbox\",\"surprise\":1}"), "400"),
        ("GET /v1/enclosures/zz/0 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(), "400"),
        ("GET /etc/passwd HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(), "400"),
        (
            "PUT /v1/enclosures?name= HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned(),
            "400",
        ),
    ] {
        let answer = raw(&house, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {answer}");
        assert!(answer.contains("\"code\":\"bad-request\""), "{request:?}: {answer}");
    }
}

#[tokio::test]
async fn serving_ends_when_told_and_takes_the_socket_away() {
    let mut house = House::open();
    house.client().await;
    drop(house.stop.take());
    house.served.await.expect("no panic").expect("ends well");
    assert!(!house.folder.path().join(SOCKET_NAME).exists());
}
