//! Many peers of one node, all in one process: each a whole node on a thread of its own.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};

use tokio::sync::watch;
use verbale::api::{Backend, Request};
use verbale::settings::Settings;

use crate::Failed;
use crate::child::{Order, Said, caller, orders, say};

/// Runs every node whose folder lies in `stage` until the standard input ends. The first order is the command by which
/// each accepts the node that is measured; it is answered when all have.
pub fn child(stage: &Path) -> Result<(), Failed> {
    let folders: Vec<PathBuf> = std::fs::read_dir(stage)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join(verbale::settings::FILE_NAME).is_file())
        .collect();
    let (stop, stopped) = watch::channel(false);
    say(&Said::Ready(None));
    let mut orders = orders();
    let Some(Order::Call(acceptance)) = orders.blocking_recv() else {
        return Err("a crowd is told whom to accept".into());
    };
    let (ready, readied) = channel();
    let threads: Vec<_> = folders
        .into_iter()
        .map(|folder| {
            let (acceptance, ready, stopped) = (acceptance.clone(), ready.clone(), stopped.clone());
            std::thread::spawn(move || {
                let ended = node(&folder, *acceptance, &ready, stopped);
                ended.map_err(|error| {
                    let why = format!("{}: {error}", folder.display());
                    let _ = ready.send(Some(why.clone()));
                    why
                })
            })
        })
        .collect();
    for _ in &threads {
        if let Some(why) = readied.recv()? {
            return Err(why.into());
        }
    }
    say(&Said::Counting);
    while orders.blocking_recv().is_some() {}
    stop.send_replace(true);
    for thread in threads {
        thread.join().map_err(|_| "a node of the crowd panicked")??;
    }
    Ok(())
}

/// One node; tells by `ready` that it has accepted the one that is measured.
fn node(
    folder: &Path,
    acceptance: Request,
    ready: &Sender<Option<String>>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let settings = Settings::load(folder)?;
    runtime.block_on(verbale::node::run_with(folder.to_owned(), settings, |front| async move {
        let accepted = front.call(caller(), acceptance).await;
        let _ = ready.send(accepted.err().map(|failure| failure.to_string()));
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }))?;
    Ok(())
}
