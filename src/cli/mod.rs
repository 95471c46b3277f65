//! The command line: one file per family of commands; must not know the network, nor (but for its file `folder`) the disk.
//!
//! [`main`] parses, runs one command and yields its exit code. Everything is said through [`out`]; everything that a
//! peer wrote passes [`safe`] on its way to the terminal; every change goes through the daemon's local interface.

mod ack;
mod ask;
mod demo;
mod doctor;
mod folder;
mod inbox;
mod init;
mod log;
pub mod out;
mod page;
mod peer;
mod ping;
mod place;
mod run;
pub mod safe;
mod send;
mod show;
mod status;
mod when;
mod words;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::api::Failure;
use out::{EXIT_CODES, Exit, Out, exit_of, own};
use place::Place;

/// States warn and ask each other about computer attacks: directly, calmly, provably.
#[derive(Debug, Parser)]
#[command(name = "verbale", version, after_help = EXIT_CODES, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    place: Place,
    /// Answer with one JSON object
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Three exercise States on this machine: real daemons, real messages, and the proof that all arrived
    Demo(demo::Demo),
    /// Set up a node: folder, configuration, root, certificates, keys
    Init(init::Init),
    /// Run the node in the foreground
    Run(run::Run),
    /// Print this State's introduction
    Introduction(init::Introduce),
    /// Accept, list and part with correspondents
    #[command(subcommand)]
    Peer(peer::Peer),
    /// Test the way to correspondents with an entry that travels all of it
    Ping(ping::Ping),
    /// Go through the layers on the way to a correspondent
    Doctor(doctor::Doctor),
    /// Send a message
    Send(Box<send::SendCommand>),
    /// List what was received
    Inbox(inbox::Inbox),
    /// List what was sent or waits; cancel, try again
    Outbox(inbox::Outbox),
    /// Show a message
    Show(show::Show),
    /// Save the files of a message
    #[command(subcommand)]
    Enclosure(show::Enclosure),
    /// Acknowledge that the desk has read a message
    Ack(ack::Ack),
    /// Answer a message
    Reply(Box<send::ReplyCommand>),
    /// What is up, what is wrong, what to do
    Status(status::Status),
    /// Show and verify the record
    #[command(subcommand)]
    Log(log::Log),
    /// Go on after a restored backup, with the help of the peers
    Recover(status::Recover),
}

/// Parses the command line, runs the command, and says how it ended.
pub fn main() -> ExitCode {
    let cli = match Cli::from_arg_matches(&grammar().get_matches()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    // What a node or a command writes is for its own user, whatever the shell around it says.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let mut out = Out::new(cli.json);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(&cli, &mut out)),
        Err(error) => Err(Failure::new(own::OWN, "starting", error.to_string(), "")),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            out.failure(&failure);
            exit_of(&failure).into()
        }
    }
}

/// The commands, each with the exit codes below its help.
fn grammar() -> clap::Command {
    fn with_exit_codes(command: clap::Command) -> clap::Command {
        let help = command.get_after_help().map(|help| format!("{help}\n\n")).unwrap_or_default();
        command.after_help(help + EXIT_CODES).mut_subcommands(with_exit_codes)
    }
    Cli::command().mut_subcommands(with_exit_codes)
}

async fn dispatch(cli: &Cli, out: &mut Out) -> Result<Exit, Failure> {
    let place = &cli.place;
    match &cli.command {
        Command::Demo(command) => demo::run(out, command).await,
        Command::Init(command) => init::run(place, out, command),
        Command::Run(command) => run::run(place, out, command).await,
        Command::Introduction(command) => init::introduction(place, out, command),
        Command::Peer(command) => peer::run(place, out, command).await,
        Command::Ping(command) => ping::run(place, out, command).await,
        Command::Doctor(command) => doctor::run(place, out, command).await,
        Command::Send(command) => send::send(place, out, command).await,
        Command::Inbox(command) => inbox::inbox(place, out, command).await,
        Command::Outbox(command) => inbox::outbox(place, out, command).await,
        Command::Show(command) => show::run(place, out, command).await,
        Command::Enclosure(command) => show::enclosure(place, out, command).await,
        Command::Ack(command) => ack::run(place, out, command).await,
        Command::Reply(command) => send::reply(place, out, command).await,
        Command::Status(command) => status::run(place, out, command).await,
        Command::Log(command) => log::run(place, out, command).await,
        Command::Recover(command) => status::recover(place, out, command).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(command: &clap::Command, see: &mut impl FnMut(&clap::Command)) {
        see(command);
        command.get_subcommands().for_each(|inner| walk(inner, see));
    }

    #[test]
    fn the_grammar_holds_and_every_command_has_help_with_an_example() {
        grammar().debug_assert();
        walk(&grammar(), &mut |command| {
            if command.has_subcommands() {
                return;
            }
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example: verbale "), "{} has no example", command.get_name());
            assert!(help.contains("Exit codes: 0 "), "{} does not say its exit codes", command.get_name());
            assert!(command.get_about().is_some(), "{} does not say what it is for", command.get_name());
        });
    }

    #[test]
    fn every_command_has_its_chapter_in_the_page_of_commands() {
        fn chapters(path: &str, command: &clap::Command, found: &mut Vec<String>) {
            // `outbox` lists by itself and has commands below it.
            if !command.has_subcommands() || command.get_name() == "outbox" {
                found.push(format!("## {path}"));
            }
            command.get_subcommands().for_each(|inner| chapters(&format!("{path} {}", inner.get_name()), inner, found));
        }
        let page = include_str!("../../docs/COMMANDS.md");
        let mut found = Vec::new();
        chapters("verbale", &grammar(), &mut found);
        for chapter in found {
            assert!(page.lines().any(|line| line == chapter), "docs/COMMANDS.md has no `{chapter}`");
        }
    }
}
