//! Many peers of one node, all in one process: each a whole node on a thread of its own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};

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
    let ready = Arc::new(Barrier::new(folders.len() + 1));
    let threads: Vec<_> = folders
        .into_iter()
        .map(|folder| {
            let (acceptance, ready, stopped) = (acceptance.clone(), ready.clone(), stopped.clone());
            std::thread::spawn(move || node(folder, *acceptance, &ready, stopped))
        })
        .collect();
    ready.wait();
    say(&Said::Counting);
    while orders.blocking_recv().is_some() {}
    stop.send_replace(true);
    for thread in threads {
        thread.join().map_err(|_| "a node of the crowd panicked")??;
    }
    Ok(())
}

fn node(
    folder: PathBuf,
    acceptance: Request,
    ready: &Barrier,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let settings = Settings::load(&folder)?;
    runtime.block_on(verbale::node::run_with(folder.clone(), settings, |front| async move {
        if let Err(failure) = front.call(caller(), acceptance).await {
            say(&Said::Failed(format!("{}: {failure}", folder.display())));
        }
        ready.wait();
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }))?;
    Ok(())
}
