//! Real daemons as processes on loopback, each with its own folder; they are killed on every way out.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[path = "daemon.rs"]
pub mod daemon;

use daemon::{Daemon, Said, events};
use verbale::api::{
    Client, EnclosureToken, Failure, LogFilter, MessageRow, MessageState, PeerAdd, PeerView, Reply, Request, Send,
    SendTo, Sent, StatusView, VerifyView, WaitFor,
};
use verbale::identity::{InitRequest, Passphrase, RootChoice, init};
use verbale::name::{EntryId, Kind, Millis, NodeName, Pap, Precedence, Tlp};
use verbale::settings::annotated;
use verbale::wire::ReplyExpected;

/// How long anything may take; a machine under load needs seconds.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// What opens the roots that the rig makes.
pub const PASSPHRASE: &str = "exercise only, not a secret";

/// A folder of a node, with or without its daemon.
pub struct Rig {
    pub name: NodeName,
    pub folder: PathBuf,
    pub introduction: String,
    pub fingerprint: String,
    /// The root of its State, sealed under [`PASSPHRASE`].
    pub root: PathBuf,
    daemon: Option<Daemon>,
    said: Said,
}

pub fn free_port() -> u16 {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// The time by this machine's clock.
pub fn now() -> Millis {
    #[allow(clippy::disallowed_methods, reason = "the rig plays the operator, who looks at the clock")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Millis(u64::try_from(since.as_millis()).unwrap())
}

impl Rig {
    /// Makes the folder of a node under `stage`; the daemon is not started.
    pub fn new(stage: &Path, state: &str, root: RootOf) -> Self {
        Self::made_at(now(), stage, state, root)
    }

    /// Like `new`, with certificates that were made at another time.
    pub fn made_at(time: Millis, stage: &Path, state: &str, root: RootOf) -> Self {
        use std::os::unix::fs::DirBuilderExt;
        let name: NodeName = state.parse().unwrap();
        let (folder, port) = (stage.join(root.folder(state)), free_port());
        fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
        let passphrase = Passphrase::new(PASSPHRASE.into()).unwrap();
        let path = stage.join(format!("{}-root.key", root.folder(state)));
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let request = InitRequest {
            dir: &folder,
            node: name,
            addresses: vec![listen.to_string().parse().unwrap()],
            root: RootChoice::New { path: &path, passphrase: &passphrase },
            paper: false,
            now: time,
        };
        let made = init(&request).unwrap();
        // Temporary folders may lie on any file system.
        let text = annotated(name.state(), None, &[listen], &[])
            .replace("allow_copy_on_write = false", "allow_copy_on_write = true")
            .replace("backoff_max = \"3m\"", "backoff_max = \"1s\"")
            // Each turn of the loop is an event to those who wait; see `daemon`.
            .replace("level = \"info\"", "level = \"trace\"");
        fs::write(folder.join("verbale.toml"), text).unwrap();
        let introduction = made.introduction.to_text();
        let fingerprint = made.introduction.fingerprint().to_string();
        Self { name, folder, introduction, fingerprint, root: path, daemon: None, said: Said::default() }
    }

    /// Starts the daemon and waits until it serves.
    pub async fn start(&mut self) {
        assert!(self.start_under(&[]).await, "{} did not start:\n{}", self.name, self.log());
    }

    /// Starts the daemon below another program; `false` where it ended before it served.
    pub async fn start_under(&mut self, wrapper: &[String]) -> bool {
        let daemon = self.daemon.insert(Daemon::spawn(&self.folder, wrapper, self.said.clone()));
        let serves = tokio::time::timeout(PATIENCE, daemon.serves()).await;
        serves.unwrap_or_else(|_| panic!("{} does not serve:\n{}", self.name, self.log()))
    }

    /// kill -9.
    pub fn kill(&mut self) {
        drop(self.daemon.take());
    }

    /// SIGTERM, and waits for the end in good order.
    pub fn stop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        assert!(daemon.stop().success(), "{}", self.log());
    }

    /// The daemon, which was started.
    pub fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().unwrap()
    }

    /// Whether the daemon has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.daemon.as_ref().is_none_or(Daemon::has_ended)
    }

    /// Forgets what the daemons of this folder have said so far.
    pub fn forget_log(&self) {
        self.said.lock().unwrap().clear();
    }

    /// What the daemons of this folder have said.
    pub fn log(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub async fn client(&self) -> Result<Client, Failure> {
        Client::connect(&self.folder).await
    }

    pub async fn call(&self, request: Request) -> Result<Reply, Failure> {
        self.client().await?.call_within(PATIENCE, "testing", &request).await
    }

    pub async fn add(&self, other: &Rig) -> Result<Reply, Failure> {
        let add = PeerAdd {
            introduction: other.introduction.clone(),
            fingerprint: other.fingerprint.clone(),
            read_by: "desk to desk".into(),
            channel: "telephone".into(),
        };
        self.call(Request::PeerAdd(add)).await
    }

    pub async fn inbox(&self) -> Vec<MessageRow> {
        self.messages(Request::Inbox(LogFilter { limit: 100_000, ..LogFilter::default() })).await
    }

    pub async fn outbox(&self) -> Vec<MessageRow> {
        self.messages(Request::Outbox(LogFilter { limit: 100_000, ..LogFilter::default() })).await
    }

    async fn messages(&self, request: Request) -> Vec<MessageRow> {
        match self.call(request).await {
            Ok(Reply::Messages(rows)) => rows,
            other => panic!("{other:?}\n{}", self.log()),
        }
    }

    pub async fn status(&self) -> StatusView {
        match self.call(Request::Status).await {
            Ok(Reply::Status(view)) => *view,
            other => panic!("{other:?}\n{}", self.log()),
        }
    }

    pub async fn peer(&self, other: &Rig) -> PeerView {
        match self.call(Request::PeerShow { peer: other.name }).await {
            Ok(Reply::Peers(peers)) => peers.into_iter().next().unwrap(),
            other => panic!("{other:?}\n{}", self.log()),
        }
    }

    pub async fn verify(&self) -> VerifyView {
        match self.call(Request::LogVerify).await {
            Ok(Reply::Verified(view)) => *view,
            other => panic!("{other:?}\n{}", self.log()),
        }
    }

    /// The oracle with which every test ends.
    pub async fn all_holds(&self) {
        let view = self.verify().await;
        assert!(view.good, "{}: {:#?}\n{}", self.name, view, self.log());
    }

    pub async fn send(&self, send: Send) -> Sent {
        match self.call(Request::Send(Box::new(send))).await {
            Ok(Reply::Sent(mut sent)) => sent.remove(0),
            other => panic!("{other:?}\n{}", self.log()),
        }
    }

    pub async fn upload(&self, file: &Path) -> EnclosureToken {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        self.client().await.unwrap().upload(file, &name, "application/octet-stream", &|_| ()).await.unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.name, self.log());
        }
    }
}

/// Which of several nodes of one State a folder is for.
#[derive(Clone, Copy)]
pub enum RootOf {
    TheState,
    SomebodyElse,
}

impl RootOf {
    fn folder(self, state: &str) -> String {
        match self {
            Self::TheState => state.to_owned(),
            Self::SomebodyElse => format!("{state}-of-another-root"),
        }
    }
}

/// Two States that have accepted each other and are up.
pub async fn pair(stage: &Path) -> (Rig, Rig) {
    let (mut a, mut b) = (Rig::new(stage, "XA", RootOf::TheState), Rig::new(stage, "XB", RootOf::TheState));
    a.start().await;
    b.start().await;
    a.add(&b).await.unwrap();
    b.add(&a).await.unwrap();
    up(&a, &b).await;
    (a, b)
}

/// Waits until both say that messages pass.
pub async fn up(a: &Rig, b: &Rig) {
    until("both are up", async || a.peer(b).await.connection == "up" && b.peer(a).await.connection == "up").await;
}

/// Waits for something that tells by itself.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(PATIENCE, future).await;
    outcome.unwrap_or_else(|_| panic!("not in {} s: {what}", PATIENCE.as_secs()))
}

/// Asks again after everything that happens, until it is so.
pub async fn until(what: &str, mut asked: impl AsyncFnMut() -> bool) {
    let (mut events, deadline) = (events(), Instant::now() + PATIENCE);
    while !asked().await {
        let more = tokio::time::timeout_at(deadline.into(), events.changed()).await;
        assert!(more.is_ok(), "not in {} s: {what}", PATIENCE.as_secs());
    }
}

/// Gives a command as a person would: without a good answer it is given again, under the same id, once something has
/// happened.
pub async fn insist(folder: &Path, send: Send) {
    let request = Request::Send(Box::new(send.clone()));
    let (mut events, deadline) = (events(), Instant::now() + PATIENCE);
    loop {
        if let Ok(client) = Client::connect(folder).await
            && let Ok(Reply::Sent(sent)) = client.call_within(PATIENCE, "sending", &request).await
            && (send.wait == WaitFor::Queued || sent[0].state == MessageState::Delivered)
        {
            return;
        }
        let more = tokio::time::timeout_at(deadline.into(), events.changed()).await;
        assert!(more.is_ok(), "{} got no good answer", send.subject);
    }
}

/// An id that no other message of this process has.
pub fn fresh_id() -> EntryId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    id[8..12].copy_from_slice(&std::process::id().to_be_bytes());
    EntryId(id)
}

pub fn message(to: &Rig, subject: &str, wait: WaitFor) -> Send {
    Send {
        to: vec![SendTo { peer: to.name, id: fresh_id(), fresh: false }],
        kind: Kind::Warning,
        language: "en".into(),
        subject: subject.into(),
        text: format!("The text of {subject}."),
        precedence: Precedence::Routine,
        justification: String::new(),
        tlp: Tlp::Amber,
        pap: Pap::None,
        marking: String::new(),
        exercise: false,
        from_desk: None,
        to_desk: None,
        expires: None,
        case: None,
        new_case: false,
        in_reply_to: None,
        reply_expected: ReplyExpected::No,
        own_reference: String::new(),
        enclosures: Vec::new(),
        wait,
        confirmed_by_flag: false,
    }
}
