//! Runs the State's own command for each message that may be shown: a pager, a telephone, a lamp. It learns metadata
//! only, never content, and it must not be able to hold the exchange up: its number, its time and its queue are bounded.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::name::{Desk, EntryId, Millis, NodeName, Precedence, Tlp};
use crate::settings::{DEFAULT_REPEAT, Settings};
use crate::store::Message;

/// Commands that run at the same time: a burst of messages must not become a burst of processes on a small machine.
pub const MAX_RUNNING: usize = 4;

/// Of these, how many may be for messages that are not urgent: a place is always left for an alarm.
pub const MAX_ORDINARY: usize = MAX_RUNNING - 1;

/// Messages that wait for their command. Beyond it the oldest of the slowest is given up and counted: the inbox has them
/// all.
pub const MAX_WAITING: usize = 1_024;

/// Urgent messages that are repeated until somebody acknowledges them; the newest win.
pub const MAX_REMINDERS: usize = 256;

/// How long a command may run: long enough for a telephone gateway, short enough that a hanging one is noticed.
pub const TIME_LIMIT: Duration = Duration::from_secs(60);

/// What a State has configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnMessage {
    /// Program and arguments; empty: nothing is run.
    pub command: Vec<OsString>,
    /// How often it runs again for IMMEDIATE and FLASH until they are acknowledged.
    pub repeat: Duration,
    /// How long it may run before it is killed.
    pub time_limit: Duration,
}

impl OnMessage {
    /// As configured.
    pub fn of(settings: &Settings) -> Self {
        let Some(configured) = &settings.on_message else { return Self::default() };
        let arguments = configured.args.iter().map(OsString::from);
        let command = std::iter::once(configured.command.clone().into_os_string()).chain(arguments).collect();
        Self { command, repeat: configured.repeat, time_limit: TIME_LIMIT }
    }
}

/// What the command learns about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The entry's id.
    pub id: EntryId,
    /// Who wrote it.
    pub peer: NodeName,
    /// The kind's word.
    pub kind: String,
    /// How fast to handle it.
    pub precedence: Precedence,
    /// The handling label.
    pub tlp: Tlp,
    /// Drill traffic.
    pub exercise: bool,
    /// The desk written to.
    pub to_desk: Option<Desk>,
    /// The author's time.
    pub time: Millis,
    /// Files that follow.
    pub enclosures: u32,
}

impl Metadata {
    /// What may be told of a header, with the number of files that follow.
    pub fn of(peer: NodeName, header: &crate::wire::Header, enclosures: u32) -> Self {
        Self {
            id: header.id,
            peer,
            kind: super::desk::kind_word(header.kind),
            precedence: header.precedence,
            tlp: header.tlp,
            exercise: header.exercise,
            to_desk: header.to_desk,
            time: header.time,
            enclosures,
        }
    }

    /// The same of a row of the index; `None` where the header cannot be read.
    pub fn of_message(message: &Message) -> Option<Self> {
        Some(Self {
            id: message.id?,
            peer: message.peer,
            kind: super::desk::kind_word(message.kind),
            precedence: message.precedence,
            tlp: message.tlp,
            exercise: message.exercise,
            to_desk: message.to_desk,
            time: message.time,
            enclosures: message.enclosures,
        })
    }

    fn is_urgent(&self) -> bool {
        self.precedence >= Precedence::Immediate
    }

    fn environment(&self, folder: &Path, again: bool) -> Vec<(&'static str, String)> {
        vec![
            ("VERBALE_DIR", folder.display().to_string()),
            ("VERBALE_EVENT", if again { "reminder" } else { "new" }.to_owned()),
            ("VERBALE_MESSAGE", self.id.to_string()),
            ("VERBALE_PEER", self.peer.to_string()),
            ("VERBALE_KIND", self.kind.clone()),
            ("VERBALE_PRECEDENCE", self.precedence.to_string()),
            ("VERBALE_TLP", self.tlp.to_string()),
            ("VERBALE_EXERCISE", self.exercise.to_string()),
            ("VERBALE_DESK", self.to_desk.map(|desk| desk.to_string()).unwrap_or_default()),
            ("VERBALE_TIME", self.time.to_string()),
            ("VERBALE_ENCLOSURES", self.enclosures.to_string()),
        ]
    }
}

/// How the command fares, for `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Why the last run failed; `None` where it did not.
    pub failing: Option<String>,
    /// Messages whose command was given up because too many waited, since the start.
    pub given_up: u64,
}

enum News {
    Shown(Metadata),
    Waiting(Metadata),
    Acknowledged(EntryId),
    Configured(OnMessage),
}

/// The way to the task that runs the command.
#[derive(Clone, Debug)]
pub struct Pager {
    news: UnboundedSender<News>,
    health: Arc<Mutex<Health>>,
}

impl Pager {
    /// Starts the task on the current runtime.
    pub fn start(folder: PathBuf, configured: OnMessage) -> Self {
        let (news, receiver) = unbounded_channel();
        let health = Arc::new(Mutex::new(Health::default()));
        let desk = Runner { folder, configured, health: health.clone(), ..Runner::default() };
        tokio::spawn(desk.run(receiver));
        Self { news, health }
    }

    /// A peer's message may be shown; machines' entries are not passed here.
    pub fn shown(&self, message: Metadata) {
        let _ = self.news.send(News::Shown(message));
    }

    /// An urgent message came before this start and nobody has acknowledged it yet.
    pub fn reminded(&self, message: Metadata) {
        let _ = self.news.send(News::Waiting(message));
    }

    /// A person has acknowledged a message.
    pub fn acknowledged(&self, message: EntryId) {
        let _ = self.news.send(News::Acknowledged(message));
    }

    /// The configuration was read again.
    pub fn configured(&self, configured: OnMessage) {
        let _ = self.news.send(News::Configured(configured));
    }

    /// How the command fares.
    pub fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Default for OnMessage {
    fn default() -> Self {
        Self { command: Vec::new(), repeat: DEFAULT_REPEAT, time_limit: TIME_LIMIT }
    }
}

#[derive(Default)]
struct Runner {
    folder: PathBuf,
    configured: OnMessage,
    health: Arc<Mutex<Health>>,
    /// By speed, each in the order of its coming.
    waiting: BTreeMap<Precedence, VecDeque<(Metadata, bool)>>,
    reminders: BTreeMap<EntryId, (Metadata, Instant)>,
    running: JoinSet<(bool, Result<(), String>)>,
    ordinary: usize,
}

impl Runner {
    async fn run(mut self, mut news: UnboundedReceiver<News>) {
        loop {
            self.start_what_fits();
            let due = self.reminders.values().map(|(_, due)| *due).min();
            tokio::select! {
                heard = news.recv() => match heard {
                    Some(heard) => self.hear(heard),
                    None => return,
                },
                Some(ended) = self.running.join_next() => self.ended(ended.ok()),
                () = at(due) => self.remind(),
            }
        }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Shown(message) => {
                if self.configured.command.is_empty() {
                    return;
                }
                if message.is_urgent() {
                    self.reminders.insert(message.id, (message.clone(), Instant::now() + self.configured.repeat));
                    self.forget_surplus();
                }
                self.enqueue(message, false);
            }
            News::Waiting(message) => {
                if !self.configured.command.is_empty() && message.is_urgent() {
                    self.reminders.insert(message.id, (message, Instant::now()));
                    self.forget_surplus();
                }
            }
            News::Acknowledged(message) => {
                self.reminders.remove(&message);
                let unanswered = |(waiting, again): &(Metadata, bool)| !(*again && waiting.id == message);
                self.waiting.values_mut().for_each(|queue| queue.retain(unanswered));
            }
            News::Configured(configured) => {
                if configured.command != self.configured.command {
                    self.health.lock().unwrap_or_else(PoisonError::into_inner).failing = None;
                }
                self.configured = configured;
            }
        }
    }

    fn forget_surplus(&mut self) {
        while self.reminders.len() > MAX_REMINDERS {
            let oldest = self.reminders.iter().min_by_key(|(_, (_, due))| *due).map(|(id, _)| *id);
            let Some(oldest) = oldest else { return };
            self.reminders.remove(&oldest);
        }
    }

    fn enqueue(&mut self, message: Metadata, again: bool) {
        if self.waiting.values().map(VecDeque::len).sum::<usize>() == MAX_WAITING {
            if let Some(slowest) = self.waiting.values_mut().find(|queue| !queue.is_empty()) {
                slowest.pop_front();
            }
            self.health.lock().unwrap_or_else(PoisonError::into_inner).given_up += 1;
        }
        self.waiting.entry(message.precedence).or_default().push_back((message, again));
    }

    /// The fastest message whose command may start now.
    fn next(&mut self) -> Option<(Metadata, bool)> {
        if self.running.len() >= MAX_RUNNING {
            return None;
        }
        let (_, queue) = self.waiting.iter_mut().rev().find(|(_, queue)| !queue.is_empty())?;
        if !queue.front()?.0.is_urgent() && self.ordinary >= MAX_ORDINARY {
            return None;
        }
        queue.pop_front()
    }

    fn remind(&mut self) {
        let now = Instant::now();
        let due: Vec<Metadata> =
            self.reminders.values().filter(|(_, due)| *due <= now).map(|(message, _)| message.clone()).collect();
        for message in due {
            if let Some((_, next)) = self.reminders.get_mut(&message.id) {
                *next = now + self.configured.repeat;
            }
            if !self.waiting.values().flatten().any(|(waiting, _)| waiting.id == message.id) {
                self.enqueue(message, true);
            }
        }
    }

    fn start_what_fits(&mut self) {
        while let Some((message, again)) = self.next() {
            let Some((program, arguments)) = self.configured.command.split_first() else { continue };
            let mut command = Command::new(program);
            command.args(arguments).envs(message.environment(&self.folder, again));
            // A group of its own, so that what the command starts ends with it.
            command.process_group(0).kill_on_drop(true);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let (urgent, time_limit) = (message.is_urgent(), self.configured.time_limit);
            self.ordinary += usize::from(!urgent);
            let run = run_one(command, program.display().to_string(), time_limit);
            self.running.spawn(async move { (urgent, run.await) });
        }
    }

    /// `None`: the task itself broke off, which leaves its place taken rather than one too many.
    fn ended(&mut self, ended: Option<(bool, Result<(), String>)>) {
        let Some((urgent, result)) = ended else { return };
        self.ordinary -= usize::from(!urgent);
        if let Err(why) = &result {
            tracing::warn!(%why, "the on_message command failed");
        }
        self.health.lock().unwrap_or_else(PoisonError::into_inner).failing = result.err();
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn run_one(mut command: Command, program: String, time_limit: Duration) -> Result<(), String> {
    let mut child = command.spawn().map_err(|error| format!("`{program}` cannot be started: {error}"))?;
    match tokio::time::timeout(time_limit, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("`{program}` ended with {}", said(status))),
        Ok(Err(error)) => Err(format!("`{program}` cannot be waited for: {error}")),
        Err(_) => {
            if let Some(pid) = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
                let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            }
            let _ = child.kill().await;
            Err(format!("`{program}` ran longer than {} s and was killed", time_limit.as_secs()))
        }
    }
}

fn said(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| format!("exit status {code}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u8, precedence: Precedence) -> Metadata {
        Metadata {
            id: EntryId([number; 16]),
            peer: "XB".parse().unwrap(),
            kind: "warning".into(),
            precedence,
            tlp: Tlp::Amber,
            exercise: true,
            to_desk: Some(Desk::Technical),
            time: Millis(1),
            enclosures: 2,
        }
    }

    fn shell(script: &str, repeat: Duration, time_limit: Duration) -> OnMessage {
        OnMessage { command: ["/bin/sh", "-c", script].map(OsString::from).to_vec(), repeat, time_limit }
    }

    async fn until(mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "it did not come about in 20 s");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn the_command_learns_the_metadata_of_a_new_message_once() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo $VERBALE_EVENT $VERBALE_PEER $VERBALE_PRECEDENCE $VERBALE_ENCLOSURES >> $VERBALE_DIR/heard";
        let pager = Pager::start(folder.path().to_owned(), shell(script, HOUR, HOUR));
        pager.shown(message(1, Precedence::Routine));
        let heard = folder.path().join("heard");
        until(|| heard.exists()).await;
        until(|| std::fs::read_to_string(&heard).unwrap() == "new XB ROUTINE 2\n").await;
        assert_eq!(pager.health(), Health::default());
    }

    #[tokio::test]
    async fn an_urgent_message_is_repeated_until_it_is_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo $VERBALE_EVENT >> $VERBALE_DIR/heard";
        let pager = Pager::start(folder.path().to_owned(), shell(script, Duration::from_millis(20), HOUR));
        pager.shown(message(1, Precedence::Flash));
        let heard = folder.path().join("heard");
        until(|| std::fs::read_to_string(&heard).is_ok_and(|text| text.matches("reminder").count() >= 2)).await;
        pager.acknowledged(EntryId([1; 16]));
        pager.shown(message(2, Precedence::Routine));
        until(|| std::fs::read_to_string(&heard).unwrap().matches("new").count() == 2).await;
    }

    #[tokio::test]
    async fn a_command_that_fails_or_hangs_is_reported_and_a_good_run_clears_it() {
        let folder = tempfile::tempdir().unwrap();
        let pager = Pager::start(folder.path().to_owned(), shell("exit 3", HOUR, HOUR));
        pager.shown(message(1, Precedence::Routine));
        until(|| pager.health().failing.is_some_and(|why| why.contains("exit status 3"))).await;
        pager.configured(shell("sleep 600", HOUR, Duration::from_millis(50)));
        pager.shown(message(2, Precedence::Routine));
        until(|| pager.health().failing.is_some_and(|why| why.contains("was killed"))).await;
        pager.configured(OnMessage { command: vec!["/nonexistent/pager".into()], ..shell("", HOUR, HOUR) });
        pager.shown(message(3, Precedence::Routine));
        until(|| pager.health().failing.is_some_and(|why| why.contains("cannot be started"))).await;
        pager.configured(shell("true", HOUR, HOUR));
        pager.shown(message(4, Precedence::Routine));
        until(|| pager.health().failing.is_none()).await;
    }

    #[test]
    fn what_waits_and_what_is_repeated_is_bounded() {
        let mut runner = Runner { configured: shell("true", HOUR, HOUR), ..Runner::default() };
        for number in 0..=MAX_WAITING {
            let id = EntryId(u128::try_from(number).unwrap().to_be_bytes());
            runner.hear(News::Shown(Metadata { id, ..message(0, Precedence::Flash) }));
        }
        let waiting: usize = runner.waiting.values().map(VecDeque::len).sum();
        assert_eq!((waiting, runner.reminders.len()), (MAX_WAITING, MAX_REMINDERS));
        assert_eq!(runner.health.lock().unwrap().given_up, 1);
        // What is given up is never faster than what stays.
        runner.hear(News::Shown(message(1, Precedence::Routine)));
        runner.hear(News::Shown(message(2, Precedence::Flash)));
        assert!(runner.waiting[&Precedence::Routine].is_empty());
    }

    #[tokio::test]
    async fn an_alarm_does_not_wait_behind_what_is_slower() {
        let mut runner = Runner { configured: shell("true", HOUR, HOUR), ..Runner::default() };
        for number in 0..10 {
            runner.hear(News::Shown(message(number, Precedence::Routine)));
        }
        let mut started = Vec::new();
        for _ in 0..MAX_RUNNING {
            started.extend(runner.next());
            runner.ordinary = started.len();
            runner.running.spawn(std::future::pending());
        }
        assert_eq!(started.len(), MAX_ORDINARY, "one place is left");
        runner.running.abort_all();
        while runner.running.join_next().await.is_some() {}
        runner.hear(News::Shown(message(11, Precedence::Flash)));
        assert_eq!(runner.next().map(|(message, _)| message.id), Some(EntryId([11; 16])));
    }
}
