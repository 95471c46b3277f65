//! The program, and a daemon that answers by a script instead of a node.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::oneshot;
use verbale::api::{
    Backend, Caller, EnclosureState, EnclosureToken, EnclosureView, Failure, Folder, MessageRow, MessageState,
    MessageView, PeerView, QueueView, Reference, Reply, Request, SOCKET_NAME, Sent, Socket, TextView, Upload,
    VerifyView, code, serve,
};
use verbale::name::{Desk, EntryId, Millis, Pap, Precedence, Tlp};
use verbale::wire::ReplyExpected;

pub fn verbale(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verbale"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("VERBALE") {
            command.env_remove(name);
        }
    }
    command.env("TZ", "UTC").args(arguments).stdin(Stdio::null());
    command
}

pub fn run(arguments: &[&str]) -> Output {
    verbale(arguments).output().expect("the program runs")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Exit code, standard output, standard error.
pub fn said(output: &Output) -> (Option<i32>, String, String) {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

pub fn path(folder: &TempDir) -> &str {
    folder.path().to_str().expect("UTF-8")
}

/// A daemon with one message, whose author tries tricks.
#[derive(Clone, Default)]
pub struct Scripted(Arc<Mutex<Vec<Request>>>);

pub struct Swallowed(String);

impl Upload for Swallowed {
    async fn write(&mut self, _: Bytes) -> Result<(), Failure> {
        Ok(())
    }

    async fn finish(self) -> Result<EnclosureToken, Failure> {
        Ok(EnclosureToken {
            token: "t".into(),
            name: self.0,
            media_type: String::new(),
            size: 5,
            sha256: String::new(),
        })
    }
}

pub const MESSAGE: EntryId = EntryId([0x3f; 16]);
/// A message that was sent from here.
pub const OWN: EntryId = EntryId([0x4e; 16]);
pub const FILE: &[u8] = b"bytes";
pub const FILE_SHA256: &str = "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9";

pub fn row() -> MessageRow {
    MessageRow {
        id: MESSAGE,
        folder: Folder::Inbox,
        peer: "XB".parse().expect("a name"),
        kind: "warning".into(),
        time: Millis(1_772_366_400_000),
        recorded: Millis(1_772_366_400_500),
        sent: Some(Millis(1_772_366_400_000)),
        record: 40,
        precedence: Precedence::Priority,
        tlp: Tlp::Amber,
        exercise: true,
        state: MessageState::Received,
        subject: "انقطاع \u{202e}\u{1b}[2J".into(),
        enclosures: 1,
        case: None,
        repeat: false,
        read: false,
        files_refused: String::new(),
    }
}

pub fn view() -> MessageView {
    MessageView {
        row: row(),
        origin: "verbale/XB/XA/1.5f0c9a3e7b2d4410".into(),
        index: Some(7),
        from_desk: Some(Desk::Technical),
        to_desk: Some(Desk::Technical),
        pap: Pap::None,
        marking: "OFFICIAL\nforged: line".into(),
        own_reference: String::new(),
        justification: String::new(),
        reply_expected: ReplyExpected::IfConvenient,
        in_reply_to: None,
        texts: vec![TextView {
            language: "ar".into(), subject: String::new(), text: "سطر أول\nline \u{1b}two".into()
        }],
        absent: String::new(),
        enclosures: vec![EnclosureView {
            ordinal: 0,
            name: "../../up.txt".into(),
            media_type: "text/plain".into(),
            size: 5,
            sha256: FILE_SHA256.into(),
            state: EnclosureState::Held,
        }],
        receipt_time: Some(Millis(1_772_366_401_000)),
        acknowledged: None,
        references: vec![Reference {
            id: EntryId([0xd1; 16]),
            folder: Folder::Inbox,
            kind: "withdrawal".into(),
            time: Millis(1_772_366_400_000),
        }],
        refused: String::new(),
        expires: None,
    }
}

pub fn peer() -> PeerView {
    PeerView {
        peer: "XB".parse().expect("a name"),
        status: "active".into(),
        connection: "up".into(),
        since: verbale::name::Millis(1_772_366_400_000),
        why: String::new(),
        todo: String::new(),
        own_frozen: false,
        last_heard: None,
        clock_offset_ms: None,
        addresses: Vec::new(),
        fingerprint: String::new(),
        certificate_days: None,
        queue: QueueView { queued: 2, unreceipted: 1, oldest_ms: 0 },
        own_log: String::new(),
        own_size: 0,
        own_receipted: 0,
        peer_log: String::new(),
        peer_size: 0,
        today_bytes: 0,
        quota_bytes: 4 << 30,
        not_taken: String::new(),
    }
}

impl Backend for Scripted {
    type Upload = Swallowed;

    async fn call(&self, _: Caller, request: Request) -> Result<Reply, Failure> {
        self.0.lock().expect("no panic elsewhere").push(request.clone());
        let sent = |state, receipt_time| {
            move |to: &verbale::api::SendTo| Sent {
                peer: to.peer,
                id: to.id,
                state,
                receipt_time,
                case: None,
                files_refused: String::new(),
            }
        };
        Ok(match request {
            Request::Inbox(filter) if filter.peer == Some("XC".parse().expect("a name")) => Reply::Messages(
                (0..u64::from(filter.limit.min(3))).map(|at| MessageRow { record: 40 - at, ..row() }).collect(),
            ),
            Request::Inbox(_) => Reply::Messages(vec![row()]),
            Request::Show { message: OWN } => {
                let state = MessageState::Delivered;
                let row = MessageRow { id: OWN, folder: Folder::Outbox, state, ..row() };
                Reply::Message(Box::new(MessageView { row, ..view() }))
            }
            Request::Cancel { .. } => return Err(Failure::new("in-the-log", "cancelling", "it is in the log", "")),
            Request::PeerShow { .. } => Reply::Peers(vec![peer()]),
            Request::PeerAct { .. } => Reply::Done,
            Request::Outbox(_) => {
                let row = MessageRow { id: OWN, folder: Folder::Outbox, state: MessageState::Delivered, ..row() };
                let files_refused = "file-too-large".to_owned();
                Reply::Messages(vec![MessageRow { files_refused, ..row.clone() }, row])
            }
            Request::Show { message: MESSAGE } => Reply::Message(Box::new(view())),
            Request::Send(send) if send.wait == verbale::api::WaitFor::Queued => {
                Reply::Sent(send.to.iter().map(sent(MessageState::Queued, None)).collect())
            }
            Request::Send(send) => {
                let time = Some(Millis(1_772_366_402_000));
                Reply::Sent(send.to.iter().map(sent(MessageState::Delivered, time)).collect())
            }
            Request::Acknowledge(ack) => {
                let (peer, state) = ("XB".parse().expect("a name"), MessageState::Queued);
                Reply::Sent(vec![Sent {
                    peer,
                    id: ack.id,
                    state,
                    receipt_time: None,
                    case: None,
                    files_refused: String::new(),
                }])
            }
            Request::LogVerify => Reply::Verified(Box::new(VerifyView {
                faults: vec!["journal/000001: group at 4096 is damaged".into()],
                ..VerifyView::default()
            })),
            _ => return Err(Failure::new(code::UNKNOWN_MESSAGE, "asking", "there is none", "Look elsewhere.")),
        })
    }

    async fn upload(&self, _: Caller, name: String, _: String) -> Result<Swallowed, Failure> {
        Ok(Swallowed(name))
    }

    async fn enclosure(&self, _: Caller, _: EntryId, _: u32, offset: u64) -> Result<Bytes, Failure> {
        Ok(Bytes::from_static(&FILE[FILE.len().min(usize::try_from(offset).expect("small"))..]))
    }
}

/// The scripted daemon in a thread of its own, as long as this lives.
pub struct Daemon {
    pub folder: TempDir,
    script: Scripted,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Daemon {
    pub fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let script = Scripted::default();
        let socket = Socket::bind(&folder.path().join(SOCKET_NAME), None).expect("binds");
        let (stop, stopped) = oneshot::channel::<()>();
        let backend = script.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let serving = serve(socket, backend, async {
                let _ = stopped.await;
            });
            runtime.block_on(serving).expect("serves");
        });
        Self { folder, script, stop: Some(stop), thread: Some(thread) }
    }

    pub fn ask(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        said(&verbale(arguments).arg("--dir").arg(self.folder.path()).output().expect("the program runs"))
    }

    pub fn requests(&self) -> Vec<Request> {
        self.script.0.lock().expect("no panic elsewhere").clone()
    }

    /// Asks on a terminal of its own, made by `script` (util-linux); `None` where that is not installed.
    pub fn ask_on_a_terminal(&self, arguments: &str, typed: &str) -> Option<(Option<i32>, String)> {
        let program = format!("{} {arguments} --dir {}", env!("CARGO_BIN_EXE_verbale"), self.folder.path().display());
        let mut terminal = Command::new("script")
            .args(["-q", "-e", "-c", &program, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut keyboard = terminal.stdin.take().expect("piped");
        keyboard.write_all(format!("{typed}\n").as_bytes()).expect("types");
        let output = terminal.wait_with_output().expect("ends");
        drop(keyboard);
        Some((output.status.code(), text(&output.stdout)))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
