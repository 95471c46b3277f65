//! The one place through which every command speaks: pages for people, JSON for machines.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use serde::Serialize;

pub use super::page::Page;
use super::{page, safe};
use crate::api::{Failure, code};

/// How a command ended, as the shell that called it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; what was asked about is so.
    Good = 0,
    /// What was asked about is not so, or did not come about in the time given.
    NotSo = 1,
    /// The command was not written as it should be.
    Usage = 2,
    /// No daemon answers.
    NoDaemon = 3,
    /// Refused: by the daemon, by a rule, or because a person must confirm it.
    Refused = 4,
    /// This node's own trouble: configuration, keys, disk, or a fault of the program.
    Own = 5,
}

/// The exit codes as `--help` tells them.
pub const EXIT_CODES: &str = "Exit codes: 0 done; 1 what was asked about is not so, or not in the time given; \
2 wrong usage; 3 no daemon answers; 4 refused; 5 this node's own trouble (configuration, keys, disk).";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Codes of failures that the commands make themselves.
pub mod own {
    /// The command line is wrong in a way that its grammar does not show.
    pub const USAGE: &str = "usage";
    /// The node's folder, configuration, keys or files.
    pub const OWN: &str = "own";
    /// What was asked about is not so.
    pub const NOT_SO: &str = "not-so";
}

/// The exit code for a failure.
pub fn exit_of(failure: &Failure) -> Exit {
    match failure.code.as_str() {
        own::USAGE | code::BAD_REQUEST => Exit::Usage,
        code::NO_DAEMON => Exit::NoDaemon,
        own::NOT_SO | code::TIMEOUT => Exit::NotSo,
        own::OWN | code::INTERNAL | code::BROKEN | code::DISK_FULL => Exit::Own,
        _ => Exit::Refused,
    }
}

/// Where a command writes to.
#[derive(Debug)]
pub struct Out {
    json: bool,
    /// Columns of the terminal; none in a pipe or a file.
    columns: Option<usize>,
    /// The reader is gone (`verbale log show | head`); what follows is for nobody.
    closed: bool,
}

impl Out {
    /// Writes pages, or JSON where asked for.
    pub fn new(json: bool) -> Self {
        Self { json, columns: columns_of(&io::stdout()), closed: false }
    }

    /// Whether machines read it.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// A place on the terminal that is drawn again and again; `None` where there is no terminal or machines read.
    pub fn live(&self) -> Option<Live> {
        (self.columns.is_some() && !self.json).then_some(Live { lines: 0 })
    }

    /// Writes `value` as one JSON object, or the page that `render` makes of it.
    pub fn show<T: Serialize + ?Sized>(&mut self, value: &T, render: impl FnOnce(&mut Page)) {
        if self.json {
            match serde_json::to_string(value) {
                Ok(text) => self.write(&(safe::json(&text) + "\n")),
                Err(error) => self.failure(&Failure::new(code::INTERNAL, "writing JSON", error.to_string(), "")),
            }
        } else {
            let mut page = self.columns.map_or_else(Page::plain, Page::on_terminal);
            render(&mut page);
            self.write(page.text());
        }
    }

    /// Writes `value` as JSON on a line of its own, for whoever reads; `false` when nobody does any more.
    pub fn json_line<T: Serialize>(&mut self, value: &T) -> bool {
        match serde_json::to_string(value) {
            Ok(text) => self.write(&(safe::json(&text) + "\n")),
            Err(error) => self.failure(&Failure::new(code::INTERNAL, "writing JSON", error.to_string(), "")),
        }
        !self.closed
    }

    /// Tells people something on the way; machines are not told.
    pub fn tell(&mut self, text: &str) {
        if !self.json {
            let mut page = self.columns.map_or_else(Page::plain, Page::on_terminal);
            text.lines().for_each(|line| page.line(line));
            if text.is_empty() {
                page.raw("");
            }
            self.write(page.text());
        }
    }

    /// Writes why a command was not carried out, on standard error.
    pub fn failure(&mut self, failure: &Failure) {
        let text = if self.json {
            safe::json(&serde_json::json!({ "error": failure }).to_string())
        } else {
            let columns = columns_of(&io::stderr()).unwrap_or(usize::MAX);
            let lines = |text: &str| safe::body(text).join("\n  ");
            let told = format!("verbale: {}: {}", safe::one_line(&failure.doing), lines(&failure.why));
            let todo = if failure.todo.is_empty() { String::new() } else { format!("\n  {}", lines(&failure.todo)) };
            let parts = (told + &todo).lines().flat_map(|line| page::broken(line, columns, 2)).collect::<Vec<_>>();
            parts.join("\n")
        };
        let _ = writeln!(io::stderr(), "{text}");
    }

    fn write(&mut self, text: &str) {
        if self.closed {
            return;
        }
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        self.closed = written.is_err();
    }
}

/// The columns of a terminal; 80 where it does not say, none where it is no terminal.
fn columns_of(stream: &(impl IsTerminal + std::os::fd::AsFd)) -> Option<usize> {
    const UNSAID: usize = 80;
    let said = || rustix::termios::tcgetwinsize(stream).ok().map(|size| usize::from(size.ws_col));
    stream.is_terminal().then(|| said().filter(|columns| *columns > 0).unwrap_or(UNSAID))
}

/// Lines on a terminal that are drawn over each other and are gone when this value is.
#[derive(Debug)]
pub struct Live {
    lines: usize,
}

impl Live {
    /// Columns and rows of the terminal.
    pub fn size(&self) -> (usize, usize) {
        match rustix::termios::tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => (80, 24),
        }
    }

    /// Draws over what was drawn before. Lines that do not fit are cut: one that wraps would not be drawn over.
    pub fn draw(&mut self, text: &str) {
        let columns = self.size().0;
        let mut all = match self.lines {
            0 => String::new(),
            lines => format!("\u{1b}[{lines}A\u{1b}[J"),
        };
        self.lines = 0;
        for line in text.lines() {
            let mut used = 0;
            for c in line.chars() {
                used += safe::width(c.encode_utf8(&mut [0; 4]));
                if used > columns {
                    break;
                }
                all.push(c);
            }
            all.push('\n');
            self.lines += 1;
        }
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(all.as_bytes()).and_then(|()| stdout.flush());
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.draw("");
    }
}

/// Shows on a terminal how far something is that takes more than a moment; silent elsewhere.
#[derive(Debug)]
pub struct Meter {
    shown: bool,
}

impl Meter {
    /// Ready to show.
    pub fn new(out: &Out) -> Self {
        Self { shown: !out.json && io::stderr().is_terminal() }
    }

    /// Shows a state over the one before.
    pub fn show(&self, text: &str) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\u{1b}[K{text}");
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.show("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_of_failures_has_its_exit_code() {
        let exit = |word: &str| exit_of(&Failure::new(word, "", "", ""));
        assert_eq!(exit(code::NO_DAEMON), Exit::NoDaemon);
        assert_eq!(exit(code::UNKNOWN_PEER), Exit::Refused);
        assert_eq!(exit(code::TIMEOUT), Exit::NotSo);
        assert_eq!(exit(own::USAGE), Exit::Usage);
        assert_eq!(exit(code::DISK_FULL), Exit::Own);
    }
}
