//! Nodes from outside: their folders, their processes, and how they come to know each other.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use verbale::api::{PeerAdd, Reply, Request, WaitFor};
use verbale::identity::{InitRequest, Introduction, Passphrase, RootChoice, init};
use verbale::name::{Millis, NodeName, Precedence};

use crate::Failed;
use crate::child::{Order, Said};
use crate::load::message;

/// How long two nodes may take to find each other.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// A process of this program.
#[derive(Debug)]
pub struct Process {
    child: Child,
    orders: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
    /// What it said when it was ready.
    pub ready: Option<(SocketAddr, Vec<u8>)>,
}

impl Process {
    /// Starts a child and waits until it is ready.
    pub fn start(words: &[&str]) -> Result<Self, Failed> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("child").args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VERBALE")) {
            command.env_remove(name);
        }
        command.env("VERBALE__LOG__LEVEL", "warn");
        let mut child = command.spawn()?;
        let orders = child.stdin.take();
        let said = BufReader::new(child.stdout.take().ok_or("the child has no standard output")?);
        let mut process = Self { child, orders, said, ready: None };
        match process.listen()? {
            Said::Ready(ready) => process.ready = ready,
            other => return Err(format!("instead of being ready the child says {other:?}").into()),
        }
        Ok(process)
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives an order.
    pub fn tell(&mut self, order: &Order) -> Result<(), Failed> {
        let orders = self.orders.as_mut().ok_or("the child was told to end")?;
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        orders.write_all(&line)?;
        Ok(orders.flush()?)
    }

    /// Waits for what it says next.
    pub fn listen(&mut self) -> Result<Said, Failed> {
        let mut line = String::new();
        if self.said.read_line(&mut line)? == 0 {
            return Err(format!("the child has ended: {}", self.child.wait()?).into());
        }
        match serde_json::from_str(&line)? {
            Said::Failed(why) => Err(why.into()),
            said => Ok(said),
        }
    }

    /// Carries out a command of the local interface.
    pub fn call(&mut self, request: Request) -> Result<Reply, Failed> {
        self.tell(&Order::Call(Box::new(request)))?;
        match self.listen()? {
            Said::Reply(reply) => Ok(*reply),
            other => Err(format!("instead of an answer: {other:?}").into()),
        }
    }

    /// Lets it end in good order.
    pub fn end(mut self) -> Result<(), Failed> {
        drop(self.orders.take());
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the child ended with {status}").into()) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Only where something failed before: a child that has ended cannot be killed.
        drop(self.orders.take());
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A node that does not run.
#[derive(Debug)]
pub struct Folder {
    /// Who.
    pub node: NodeName,
    /// Where.
    pub path: PathBuf,
    /// How it presents itself.
    pub introduction: Introduction,
}

impl Folder {
    /// Sets a node up on a free port of loopback. `more` is put at the end of its configuration.
    pub fn make(stage: &Path, node: NodeName, more: &str) -> Result<Self, Failed> {
        let path = stage.join(node.to_string());
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        let listen = free_address()?;
        let announce = listen.to_string().parse()?;
        let text = verbale::settings::annotated(node.state(), node.desk(), &[listen], &[announce]);
        std::fs::write(path.join(verbale::settings::FILE_NAME), text.replace("mix_exercise = false", more))?;
        let passphrase = Passphrase::new("exercise only, not a secret".to_owned())?;
        let root = stage.join(format!("{node}-root.key"));
        #[allow(clippy::disallowed_methods, reason = "the bench plays the operator, who looks at the clock")]
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let made = init(&InitRequest {
            dir: &path,
            node,
            addresses: vec![listen.to_string().parse()?],
            root: RootChoice::New { path: &root, passphrase: &passphrase },
            paper: false,
            now: Millis(u64::try_from(now.as_millis())?),
        })?;
        Ok(Self { node, path, introduction: made.introduction })
    }

    /// Starts it.
    pub fn start(&self) -> Result<Process, Failed> {
        Process::start(&["node", &self.path.to_string_lossy()])
    }

    /// The command by which another node accepts this one.
    pub fn acceptance(&self) -> Request {
        Request::PeerAdd(PeerAdd {
            introduction: self.introduction.to_text(),
            fingerprint: self.introduction.fingerprint().to_string(),
            read_by: "the measurement".to_owned(),
            channel: "one process to another".to_owned(),
        })
    }
}

/// An address that nobody uses now, and that was not given before.
fn free_address() -> Result<SocketAddr, Failed> {
    static GIVEN: Mutex<BTreeSet<SocketAddr>> = Mutex::new(BTreeSet::new());
    loop {
        let address = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(address) {
            return Ok(address);
        }
    }
}

/// Two nodes that know each other and run.
#[derive(Debug)]
pub struct Pair {
    /// The author, `XA`.
    pub author: (Folder, Process),
    /// The holder, `XB`.
    pub holder: (Folder, Process),
    _stage: tempfile::TempDir,
}

impl Pair {
    /// Sets up and starts both, and waits until a first message would travel at once.
    pub fn start() -> Result<Self, Failed> {
        let stage = stage()?;
        let make = |name: &str| Folder::make(stage.path(), name.parse()?, "mix_exercise = false");
        let (a, b) = (make("XA")?, make("XB")?);
        let (mut author, mut holder) = (a.start()?, b.start()?);
        author.call(b.acceptance())?;
        holder.call(a.acceptance())?;
        until_up(&mut author, 1)?;
        // Both have their volume open before anything is measured, as between two States that speak with each other.
        for (from, to) in [(&mut holder, a.node), (&mut author, b.node)] {
            let hello = message(to, Precedence::Routine, "Hello.", Vec::new(), WaitFor::Receipt)?;
            from.call(Request::Send(Box::new(hello)))?;
        }
        Ok(Self { author: (a, author), holder: (b, holder), _stage: stage })
    }

    /// Ends both, keeps the folders, and calls `look` with them.
    pub fn end<T>(self, look: impl FnOnce(&Folder, &Folder) -> Result<T, Failed>) -> Result<T, Failed> {
        self.author.1.end()?;
        self.holder.1.end()?;
        look(&self.author.0, &self.holder.0)
    }
}

/// A folder that ends with the measurement: below the working folder, because `/tmp` may lie in memory.
pub fn stage() -> Result<tempfile::TempDir, Failed> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    std::fs::create_dir_all(&target)?;
    Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(target)?)
}

/// Waits until a node is connected with so many peers.
pub fn until_up(process: &mut Process, peers: usize) -> Result<(), Failed> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let Reply::Status(status) = process.call(Request::Status)? else { return Err("no status".into()) };
        let up = status.peers.iter().filter(|peer| peer.connection == "up").count();
        if up >= peers {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("{up} of {peers} peers were up in time: {status:?}").into());
        }
        std::thread::sleep(LOOK);
    }
}
