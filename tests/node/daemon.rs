//! The process of a daemon and what it says: its log is followed on its pipe, and each line is an event by which whoever
//! waits for something asks again. Nothing sleeps.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::JoinHandle;

use tokio::sync::watch;

/// Counts what any daemon of this test program has said.
static EVENTS: LazyLock<watch::Sender<u64>> = LazyLock::new(|| watch::Sender::new(0));

fn happened() {
    EVENTS.send_modify(|count| *count += 1);
}

/// All that happens from now on.
pub fn events() -> watch::Receiver<u64> {
    EVENTS.subscribe()
}

/// How far a daemon has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    Serving,
    Ended,
}

/// What all daemons of one folder have said, without the lines that only serve as events.
pub type Said = Arc<Mutex<String>>;

/// A running daemon; killed on every way out.
pub struct Daemon {
    child: Child,
    stage: watch::Receiver<Stage>,
    follower: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Starts the daemon of a folder, below `wrapper` where there is one: a program that runs its arguments in its own
    /// process.
    pub fn spawn(folder: &Path, wrapper: &[String], said: Said) -> Self {
        let program = env!("CARGO_BIN_EXE_verbale");
        let mut command = match wrapper {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command.arg("run").arg("--dir").arg(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // The rig plays the officer, as the demonstration does.
        command.env(verbale::node::DEMO_VARIABLE, "1");
        let mut child = command.spawn().unwrap();
        let (stage, watched) = watch::channel(Stage::Starting);
        let lines = BufReader::new(child.stderr.take().unwrap());
        let follower = std::thread::spawn(move || {
            for line in lines.split(b'\n').map_while(Result::ok) {
                hear(&String::from_utf8_lossy(&line), &stage, &said);
            }
            stage.send_replace(Stage::Ended);
            happened();
        });
        Self { child, stage: watched, follower: Some(follower) }
    }

    /// Waits until it serves; `false` where it ended before.
    pub async fn serves(&mut self) -> bool {
        let stage = *self.stage.wait_for(|stage| *stage != Stage::Starting).await.unwrap();
        stage == Stage::Serving
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let _ = self.stage.wait_for(|stage| *stage == Stage::Ended).await;
        self.finish()
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        *self.stage.borrow() == Stage::Ended
    }

    /// The process.
    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        // One that has ended already is as dead as can be.
        let _ = self.child.kill();
        self.finish();
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        rustix::process::kill_process(self.pid(), rustix::process::Signal::TERM).unwrap();
        self.finish()
    }

    /// Takes leave of a process that has ended or is about to, and of its last words.
    fn finish(&mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        if let Some(follower) = self.follower.take() {
            follower.join().unwrap();
        }
        status
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

fn hear(line: &str, stage: &watch::Sender<Stage>, said: &Said) {
    if line.contains(" the node serves ") {
        stage.send_replace(Stage::Serving);
    }
    if !line.contains(" TRACE ") && !line.contains(" DEBUG ") {
        let mut said = said.lock().unwrap();
        said.push_str(line);
        said.push('\n');
    }
    happened();
}
