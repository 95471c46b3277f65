//! `verbale init` and `verbale introduction`: a node begins, and presents itself.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::Args;

use super::out::{Exit, Out, own};
use super::place::Place;
use super::{ask, when, words};
use crate::api::Failure;
use crate::identity::{
    Address, InitRequest, Initialised, Introduction, MAX_PASSPHRASE_BYTES, NodeKeys, Passphrase, RootChoice, init,
};
use crate::name::{Desk, NO_POSITION, NodeName, State};
use crate::settings::{DEFAULT_PORT, FILE_NAME, annotated};

/// `verbale init`
#[derive(Debug, Args)]
#[command(after_help = "Example: verbale init --dir ./XA --state XA --listen 127.0.0.1:7411\n\n\
The root key of the State is written, encrypted, beside the folder (DIR-root.key) or where --root-to says: keep it off \
the node, on a medium that is locked away. XA, XB, XC, XD, QM to QZ, AA and ZZ are exercise States.")]
pub struct Init {
    /// The State's ISO 3166-1 alpha-2 code, or an exercise code
    #[arg(long)]
    pub state: State,
    /// Take a code that is neither of a Member or observer State of the United Nations nor for exercises
    #[arg(long)]
    pub unlisted_state: bool,
    /// The desk, where each desk has a node of its own
    #[arg(long)]
    pub desk: Option<Desk>,
    /// UDP address to listen on; may be repeated
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:7411")]
    pub listen: Vec<SocketAddr>,
    /// Address by which peers reach it (host:port); default: as it listens. May be repeated
    #[arg(long, value_name = "HOST:PORT")]
    pub announce: Vec<Address>,
    /// Make a new root and write its key, encrypted, to this file outside of the folder
    #[arg(long, value_name = "PATH", conflicts_with = "root_from")]
    pub root_to: Option<PathBuf>,
    /// Use the State's root in this file
    #[arg(long, value_name = "PATH")]
    pub root_from: Option<PathBuf>,
    /// A file with the passphrase of the root key, instead of asking
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Print a paper copy of the root key
    #[arg(long)]
    pub paper: bool,
}

/// `verbale introduction`
#[derive(Debug, Args)]
#[command(after_help = "Example: verbale introduction --out xa.introduction\n\n\
Hand the file to the other State, and read the fingerprint to it over another channel.")]
pub struct Introduce {
    /// Write it to this file instead of printing it
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

const DOING: &str = "setting up the node";

fn own_trouble(why: impl Into<String>, todo: &str) -> Failure {
    Failure::new(own::OWN, DOING, why, todo)
}

/// Runs `verbale init`.
///
/// # Errors
/// What is missing or in the way; nothing is half made.
pub fn run(place: &Place, out: &mut Out, command: &Init) -> Result<Exit, Failure> {
    let folder = place.folder()?;
    if let Some((why, todo)) = words::unlisted(command.state).filter(|_| !command.unlisted_state) {
        return Err(Failure::new(own::USAGE, DOING, why, todo));
    }
    let addresses = announced(command)?;
    let (root_path, is_new) = match &command.root_from {
        Some(path) => (path.clone(), false),
        None => (command.root_to.clone().unwrap_or_else(|| beside(folder)), true),
    };
    let passphrase = passphrase(command, is_new)?;
    let root = if is_new {
        RootChoice::New { path: &root_path, passphrase: &passphrase }
    } else {
        RootChoice::Existing { path: &root_path, passphrase: &passphrase }
    };
    let node = NodeName::new(command.state, command.desk);
    let made = set_up(folder, node, &command.listen, &addresses, root, command.paper)?;
    report(out, node, folder, is_new.then_some(root_path.as_path()), &made);
    Ok(Exit::Good)
}

/// Makes a node's folder (0700), its configuration, and everything of its identity; or nothing of it but a new root.
///
/// # Errors
/// What is in the way.
pub(super) fn set_up(
    folder: &Path,
    node: NodeName,
    listen: &[SocketAddr],
    announce: &[Address],
    root: RootChoice<'_>,
    paper: bool,
) -> Result<Initialised, Failure> {
    let made = make_folder(folder)?;
    let config = write_config(folder, &annotated(node.state(), node.desk(), listen, announce))?;
    let request = InitRequest { dir: folder, node, addresses: announce.to_vec(), root, paper, now: when::now() };
    init(&request).map_err(|error| {
        // A configuration without a node would be in the way of the next attempt.
        let _ = fs::remove_file(&config);
        // Nor a folder that was not there before; what is not empty stays.
        made.iter().for_each(|folder| _ = fs::remove_dir(folder));
        own_trouble(error.to_string(), "Nothing was set up. Mend it and run `verbale init` again.")
    })
}

fn report(out: &mut Out, node: NodeName, folder: &Path, root: Option<&Path>, made: &Initialised) {
    let fingerprint = made.introduction.fingerprint();
    let view = serde_json::json!({
        "node": node,
        "dir": folder,
        "root": root,
        "exercise": node.state().is_exercise(),
        "fingerprint": fingerprint.to_string(),
        "paper": made.paper.as_ref().map(|paper| paper.as_str()),
    });
    let shown = folder.display();
    out.show(&view, |page| {
        page.strong(format!("{node} ({}) is set up in {shown}.", node.state().short_name()));
        if node.state().is_exercise() {
            page.line("It is an exercise State: everything that it sends is marked as exercise.");
        }
        if let Some(root) = root {
            page.line(format!("Root key, encrypted: {}", root.display()));
            page.line("Keep it off this machine, and a second copy elsewhere: it renews certificates and adds nodes.");
        }
        page.gap();
        page.line("Fingerprint, to be read to other States over another channel:");
        page.line(format!("{fingerprint:#}"));
        if let Some(paper) = &made.paper {
            page.gap();
            page.line(paper.as_str());
        }
        page.gap();
        page.line("Next:");
        page.line(format!("  verbale run --dir {shown}"));
        page.line(format!(
            "  verbale introduction --dir {shown} --out {}.introduction",
            node.to_string().to_lowercase()
        ));
        page.line(NO_POSITION);
    });
}

/// Where peers are told to dial: as said, else as the node listens, where that is an address to dial.
fn announced(command: &Init) -> Result<Vec<Address>, Failure> {
    if !command.announce.is_empty() {
        return Ok(command.announce.clone());
    }
    let dialled = |address: &&SocketAddr| !address.ip().is_unspecified() && address.port() != 0;
    let addresses: Vec<Address> =
        command.listen.iter().filter(dialled).filter_map(|address| address.to_string().parse().ok()).collect();
    if addresses.is_empty() {
        let why = "it was not said by which address peers reach this node";
        let todo = format!("Say --announce node.example:{DEFAULT_PORT}, or --listen with an address of this machine.");
        return Err(Failure::new(own::USAGE, DOING, why, todo));
    }
    Ok(addresses)
}

/// `DIR-root.key`, beside the folder.
fn beside(folder: &Path) -> PathBuf {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let mut name = whole.file_name().unwrap_or_default().to_owned();
    name.push("-root.key");
    whole.with_file_name(name)
}

/// Makes the folder; gives those that were not there before, the innermost first.
fn make_folder(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let missing = folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
    let missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(folder) {
        Ok(()) => Ok(missing),
        Err(error) => Err(own_trouble(format!("{}: {error}", folder.display()), "Choose a folder that can be made.")),
    }
}

fn write_config(folder: &Path, text: &str) -> Result<PathBuf, Failure> {
    let path = folder.join(FILE_NAME);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let written = options.open(&path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    match written {
        Ok(()) => Ok(path),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let why = format!("{} exists: a node was set up here before", path.display());
            Err(own_trouble(why, "Choose another folder. If that node is not wanted any more, move its folder away."))
        }
        Err(error) => Err(own_trouble(format!("{}: {error}", path.display()), "")),
    }
}

fn passphrase(command: &Init, is_new: bool) -> Result<Passphrase, Failure> {
    let doing = "reading the passphrase of the root key";
    let wrong = |why: String, todo: &str| Failure::new(own::USAGE, doing, why, todo);
    let words = match &command.passphrase_file {
        Some(path) => {
            let mut words = String::new();
            let file = fs::File::open(path).map_err(|error| {
                wrong(format!("{}: {error}", path.display()), "Is the name right, and may this user read it?")
            })?;
            file.take(MAX_PASSPHRASE_BYTES as u64 + 2)
                .read_to_string(&mut words)
                .map_err(|error| wrong(format!("{}: {error}", path.display()), ""))?;
            words
        }
        None if ask::is_possible() => {
            let ask = |question: &str| rpassword::prompt_password(question).map_err(|e| wrong(e.to_string(), ""));
            let words = ask("Passphrase of the root key: ")?;
            if is_new && ask("The same passphrase again: ")? != words {
                return Err(wrong("the two differ".into(), "Run the command again."));
            }
            words
        }
        None => return Err(wrong("there is no terminal to ask at".into(), "Say --passphrase-file FILE.")),
    };
    Passphrase::new(words).map_err(|error| wrong(error.to_string(), ""))
}

/// Runs `verbale introduction`.
///
/// # Errors
/// Where the node's identity cannot be read.
pub fn introduction(place: &Place, out: &mut Out, command: &Introduce) -> Result<Exit, Failure> {
    let doing = "reading this node's introduction";
    let folder = place.folder()?;
    let keys = NodeKeys::load(folder).map_err(|error| {
        Failure::new(own::OWN, doing, error.to_string(), "Was the node set up with `verbale init`?")
    })?;
    let introduction: &Introduction = &keys.introduction;
    let text = introduction.to_text();
    if let Some(path) = &command.out {
        fs::write(path, &text)
            .map_err(|error| Failure::new(own::OWN, doing, format!("{}: {error}", path.display()), ""))?;
    }
    let view = serde_json::json!({
        "state": introduction.state(),
        "number": introduction.serial(),
        "valid_until": introduction.valid_until(),
        "fingerprint": introduction.fingerprint().to_string(),
        "file": command.out,
        "introduction": text,
    });
    out.show(&view, |page| match &command.out {
        None => page.line(text.trim_end()),
        Some(path) => {
            page.line(format!("Written to {}. Hand it over, and read over another channel:", path.display()));
            page.line(format!("{:#}", introduction.fingerprint()));
        }
    });
    Ok(Exit::Good)
}
