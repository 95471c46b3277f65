//! The processes that are measured: what each is told on its standard input, one JSON line an order, and what it answers
//! on its standard output.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use verbale::api::{Backend, Caller, Client, Failure, Reply, Request};
use verbale::node::Front;
use verbale::settings::Settings;

use crate::enclosure::{Enclose, Enclosed};
use crate::load::{Load, Loaded};
use crate::{Failed, ceiling, crowd, enclosure, load};

/// What a child is told to do.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// One command of the local interface.
    Call(Box<Request>),
    /// Send in a closed loop.
    Load(Load),
    /// Send a file, and urgent messages beside it.
    Enclose(Enclose),
}

/// What it says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Said {
    /// It can be told something; for the end of a bare connection: at this address, with this certificate.
    Ready(Option<(SocketAddr, Vec<u8>)>),
    /// The answer to a command.
    Reply(Box<Reply>),
    /// From now on everything counts.
    Counting,
    /// The loop has ended.
    Loaded(Loaded),
    /// The file is there.
    Enclosed(Enclosed),
    /// It did not work.
    Failed(String),
}

/// Says one thing.
pub fn say(said: &Said) {
    let mut line = serde_json::to_vec(said).expect("every field is a number, a text or a list of them");
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    // Without a parent there is nobody to tell; the end of the orders follows.
    let _ = out.write_all(&line).and_then(|()| out.flush());
}

/// Is a child of the kind that the words say, until its standard input ends.
pub fn run(words: &[&str]) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match words {
        ["node", folder] => {
            let settings = Settings::load(Path::new(folder))?;
            runtime.block_on(verbale::node::run_with(folder.into(), settings, |front| obey(Through::Node(front))))?;
            Ok(())
        }
        ["caller", folder] => runtime.block_on(async {
            let client = Client::connect(Path::new(folder)).await?;
            obey(Through::Socket(client)).await;
            Ok(())
        }),
        ["crowd", folder] => crowd::child(Path::new(folder)),
        ["echo"] => runtime.block_on(ceiling::echo(orders())),
        ["ask", address, certificate] => {
            runtime.block_on(ceiling::ask(address.parse()?, Path::new(certificate), orders()))
        }
        other => Err(format!("there is no child {other:?}").into()),
    }
}

/// Lines of standard input, read beside the runtime.
pub fn orders() -> UnboundedReceiver<Order> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let Ok(order) = serde_json::from_str(&line) else { return };
            if sender.send(order).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The two ways into a node.
#[derive(Clone)]
pub enum Through {
    /// Inside its process.
    Node(Front),
    /// Through its local socket.
    Socket(Client),
}

impl Through {
    /// Carries out a command.
    pub async fn call(&self, request: Request) -> Result<Reply, Failure> {
        match self {
            Self::Node(front) => front.call(caller(), request).await,
            Self::Socket(client) => client.call(&request).await,
        }
    }
}

/// The user whose process this is.
pub fn caller() -> Caller {
    Caller { uid: rustix::process::getuid().as_raw(), is_daemon_user: true, terminal: None }
}

async fn obey(through: Through) {
    let mut orders = orders();
    say(&Said::Ready(None));
    let through = Arc::new(through);
    while let Some(order) = orders.recv().await {
        let done = match order {
            Order::Call(request) => through.call(*request).await.map(|reply| Said::Reply(Box::new(reply))),
            Order::Load(load) => load::run(&through, load, || say(&Said::Counting)).await.map(Said::Loaded),
            Order::Enclose(enclose) => enclosure::send(&through, enclose).await.map(Said::Enclosed),
        };
        say(&done.unwrap_or_else(|failure| Said::Failed(failure.to_string())));
    }
}
