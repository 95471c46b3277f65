//! Reads the configuration: file and environment together, every unknown key and every wrong value with its place.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use config::{Config, Environment, File as Source, FileFormat, Map, Value, ValueKind};

use super::raw::{KNOWN, Raw};
use super::*;
use crate::identity::MAX_ADDRESSES;
use crate::name::{Desk, State};

/// What the variables of the environment begin with; `VERBALE__LIMITS__WINDOW` is `limits.window`.
const PREFIX: &str = "VERBALE";
const SEPARATOR: &str = "__";
const ENVIRONMENT: &str = "the environment";

impl Settings {
    /// Reads `verbale.toml` in a node's folder and the environment over it.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn load(folder: &Path) -> Result<Self, SettingsError> {
        let path = folder.join(FILE_NAME);
        let text = read_file(&path)?;
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("VERBALE__"));
        parse(&text, &path.display().to_string(), variables)
    }
}

fn read_file(path: &Path) -> Result<String, SettingsError> {
    let unreadable = |error| SettingsError::Unreadable { path: path.to_owned(), error };
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => SettingsError::Missing(path.to_owned()),
        _ => unreadable(error),
    })?;
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(SettingsError::TooLarge { path: path.to_owned(), limit: MAX_FILE_BYTES });
    }
    Ok(text)
}

/// Reads a configuration from its text and from variables whose names begin with `VERBALE__`; `file` is named in errors.
///
/// # Errors
/// [`SettingsError::Wrong`] with everything that is wrong.
pub fn parse(
    text: &str,
    file: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, SettingsError> {
    let reading = Reading { text, file };
    let variables = variables.into_iter().collect();
    let environment =
        Environment::with_prefix(PREFIX).prefix_separator(SEPARATOR).separator(SEPARATOR).source(Some(variables));
    let root = Config::builder()
        .add_source(Source::from_str(text, FileFormat::Toml))
        .add_source(environment)
        .build()
        .map_err(|error| reading.not_toml(&error))?
        .cache;
    let root = with_node_names(root);
    let unknown = reading.unknown_keys(&root);
    if !unknown.is_empty() {
        return Err(SettingsError::Wrong(unknown));
    }
    let raw = root.clone().try_deserialize::<Raw>().map_err(|error| reading.wrong_values(&root, &error))?;
    reading.check(raw, &root)
}

/// The annotated configuration for a node: [`ANNOTATED`] with its State, desk and addresses put in.
pub fn annotated(state: State, desk: Option<Desk>, listen: &[SocketAddr], announce: &[Address]) -> String {
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    let quoted = |text: String| format!("\"{text}\"");
    let listen = list(listen.iter().map(|address| quoted(address.to_string())).collect());
    let announce = list(announce.iter().map(|address| quoted(address.to_string())).collect());
    let mut text = String::with_capacity(ANNOTATED.len() + 256);
    for line in ANNOTATED.lines() {
        match (line.split('=').next().unwrap_or_default().trim(), desk) {
            ("state", _) => text.push_str(&format!("state = \"{state}\"")),
            ("#desk", Some(desk)) => text.push_str(&format!("desk = \"{desk}\"")),
            ("listen", _) => text.push_str(&format!("listen = {listen}")),
            ("announce", _) => text.push_str(&format!("announce = {announce}")),
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// Variables come in small letters; a State's code is written in capitals: `VERBALE__PEERS__XB__…` means `peers.XB`.
fn with_node_names(root: Value) -> Value {
    let origin = root.origin().map(str::to_owned);
    let ValueKind::Table(mut tables) = root.kind else { return root };
    if let Some(ValueKind::Table(peers)) = tables.get("peers").map(|peers| peers.kind.clone()) {
        let mut named: Map<String, Value> = Map::new();
        let (small, written): (Vec<_>, Vec<_>) =
            peers.into_iter().partition(|(name, _)| name.len() == 2 && *name == name.to_lowercase());
        for (name, value) in written {
            named.insert(name, value);
        }
        for (name, value) in small {
            let name = name.to_uppercase();
            match (named.get_mut(&name).map(|known| &mut known.kind), value.kind) {
                (Some(ValueKind::Table(known)), ValueKind::Table(over)) => known.extend(over),
                (_, kind) => {
                    named.insert(name, Value::new(Some(&ENVIRONMENT.to_owned()), kind));
                }
            }
        }
        tables.insert("peers".to_owned(), Value::new(None, ValueKind::Table(named)));
    }
    Value::new(origin.as_ref(), ValueKind::Table(tables))
}

/// Every value with its path, in the order of paths.
fn leaves(value: &Value, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, Value)>) {
    match &value.kind {
        ValueKind::Table(table) if !table.is_empty() => {
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            for (key, value) in entries {
                path.push(key.clone());
                leaves(value, path, found);
                path.pop();
            }
        }
        // An empty table sets nothing but its own name.
        _ => found.push((path.clone(), value.clone())),
    }
}

struct Reading<'a> {
    text: &'a str,
    file: &'a str,
}

impl Reading<'_> {
    fn problem(&self, path: &[String], origin: Option<&str>, why: String, cure: String) -> Problem {
        let key = path.join(".");
        if origin == Some(ENVIRONMENT) {
            let name = format!("{PREFIX}{SEPARATOR}{}", path.join(SEPARATOR).to_uppercase());
            return Problem { source: format!("{ENVIRONMENT}, {name}"), line: None, key, why, cure };
        }
        Problem { source: self.file.to_owned(), line: line_of(self.text, path), key, why, cure }
    }

    fn not_toml(&self, error: &config::ConfigError) -> SettingsError {
        let (why, line) = match error {
            config::ConfigError::FileParse { cause, .. } => (cause.to_string(), None),
            other => (other.to_string(), None),
        };
        let cure = "Mend the line; https://toml.io describes the format.".to_owned();
        let why = format!("this is not TOML: {}", why.trim());
        SettingsError::Wrong(vec![Problem { source: self.file.to_owned(), line, key: String::new(), why, cure }])
    }

    fn unknown_keys(&self, root: &Value) -> Vec<Problem> {
        let mut found = Vec::new();
        leaves(root, &mut Vec::new(), &mut found);
        let mut problems: Vec<Problem> = Vec::new();
        for (path, value) in found {
            let Some((path, known)) = first_unknown(&path) else { continue };
            let word = path.last().map(String::as_str).unwrap_or_default();
            let here = if path.len() == 1 { "tables" } else { "keys of this table" };
            let cure = match nearest(word, &known) {
                Some(near) => format!("Did you mean `{near}`? The {here}: {}.", known.join(", ")),
                None => format!("Remove it. The {here}: {}.", known.join(", ")),
            };
            let problem = self.problem(&path, value.origin(), "there is no such key".to_owned(), cure);
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        problems
    }

    /// Tries every value alone over the defaults: the reader below does not say which one it stumbled over.
    fn wrong_values(&self, root: &Value, whole: &config::ConfigError) -> SettingsError {
        let mut found = Vec::new();
        leaves(root, &mut Vec::new(), &mut found);
        let mut problems = Vec::new();
        for (path, value) in found {
            let origin = value.origin().map(str::to_owned);
            let alone = path
                .iter()
                .rev()
                .fold(value, |inner, key| Value::new(None, ValueKind::Table(Map::from_iter([(key.clone(), inner)]))));
            if let Err(error) = alone.try_deserialize::<Raw>() {
                problems.push(self.problem(&path, origin.as_deref(), innermost(&error), cure_for(&path)));
            }
        }
        if problems.is_empty() {
            problems.push(self.problem(&[], None, whole.to_string(), String::new()));
        }
        SettingsError::Wrong(problems)
    }

    fn check(&self, raw: Raw, root: &Value) -> Result<Settings, SettingsError> {
        let mut found = Vec::new();
        leaves(root, &mut Vec::new(), &mut found);
        let mut problems = Vec::new();
        let mut wrong = |table: &str, key: &str, why: String, cure: &str| {
            let table = table.split_once('.').map_or_else(|| vec![table], |(table, peer)| vec![table, peer]);
            let path: Vec<String> = table.into_iter().chain([key]).map(str::to_owned).collect();
            let origin = found.iter().find(|(known, _)| *known == path).and_then(|(_, value)| value.origin());
            problems.push(self.problem(&path, origin, why, cure.to_owned()));
        };
        let Some(state) = raw.node.state else {
            wrong("node", "state", "it is missing".to_owned(), "Say which State this node speaks for: state = \"XA\".");
            return Err(SettingsError::Wrong(problems));
        };
        let mut settings = Settings::of(NodeName::new(state, raw.node.desk));
        fill(&mut settings, raw);
        let limits = &settings.exchange;
        for (table, key, value, least, most) in [
            ("limits", "window", limits.window, MIN_WINDOW, MAX_WINDOW),
            ("limits", "enclosure_max", limits.enclosure_max, 0, MAX_ENCLOSURE),
            ("limits", "enclosures_total_max", limits.enclosures_total_max, limits.enclosure_max, MAX_ENCLOSURE),
            ("limits", "peer_bytes_per_day", limits.bytes_per_day, MIN_BYTES_PER_DAY, MAX_ENCLOSURE),
            ("journal", "segment_size", settings.journal.segment_size, MIN_SEGMENT, MAX_SEGMENT),
        ] {
            if !(least..=most).contains(&value) {
                let range = format!("{} is not between {} and {}", ByteSize(value), ByteSize(least), ByteSize(most));
                wrong(table, key, range, "Choose a size in between.");
            }
        }
        let repeat = settings.on_message.as_ref().map_or(DEFAULT_REPEAT, |alert| alert.repeat);
        for (table, key, value, least, most) in [
            ("limits", "backoff_max", limits.backoff_max, MIN_BACKOFF, MAX_BACKOFF),
            ("limits", "stall", limits.stall, MIN_STALL, MAX_STALL),
            ("on_message", "repeat", repeat, MIN_REPEAT, Duration::MAX),
        ] {
            if !(least..=most).contains(&value) {
                let why = match most {
                    Duration::MAX => format!("{} is less than {}", Span(value), Span(least)),
                    most => format!("{} is not between {} and {}", Span(value), Span(least), Span(most)),
                };
                wrong(table, key, why, "Choose a longer or shorter time.");
            }
        }
        for (node, bytes) in limits.bytes_per_day_of.iter().filter(|(_, bytes)| **bytes < MIN_BYTES_PER_DAY) {
            let why = format!("{} is less than {}", ByteSize(*bytes), ByteSize(MIN_BYTES_PER_DAY));
            wrong(&format!("peers.{node}"), "bytes_per_day", why, "Choose a larger size, or suspend the peer.");
        }
        if settings.listen.is_empty() {
            wrong("network", "listen", "the list is empty".to_owned(), "A node listens on at least one UDP address.");
        }
        if settings.announce.len() > MAX_ADDRESSES {
            let why = format!("{} addresses are more than {MAX_ADDRESSES}", settings.announce.len());
            wrong("network", "announce", why, "Keep those by which most peers reach this node.");
        }
        if settings.on_message.as_ref().is_some_and(|alert| !alert.command.is_absolute()) {
            wrong("on_message", "command", "the path is not absolute".to_owned(), "Write it from / on.");
        }
        if problems.is_empty() { Ok(settings) } else { Err(SettingsError::Wrong(problems)) }
    }
}

/// The part of `path` up to its first unknown key, and what is known there; `None` where all of it is known.
fn first_unknown(path: &[String]) -> Option<(Vec<String>, Vec<&'static str>)> {
    let mut table = String::new();
    for (depth, key) in path.iter().enumerate() {
        let known: Vec<&'static str> = match depth {
            0 => KNOWN.iter().map(|(name, _)| *name).filter(|name| !name.contains('.')).collect(),
            _ => KNOWN.iter().find(|(name, _)| *name == table).map(|(_, keys)| keys.to_vec()).unwrap_or_default(),
        };
        let fits = known.contains(&key.as_str()) || known == ["*"];
        if !fits {
            return Some((path[..=depth].to_vec(), known));
        }
        let part = if known == ["*"] { "*" } else { key };
        table = if table.is_empty() { part.to_owned() } else { format!("{table}.{part}") };
        // What lies below a key that is no table is a matter of its value.
        if !KNOWN.iter().any(|(name, _)| *name == table) {
            return None;
        }
    }
    None
}

/// The message of the error at the bottom, without the places around it that we know better.
fn innermost(error: &config::ConfigError) -> String {
    match error {
        config::ConfigError::At { error, .. } => innermost(error),
        config::ConfigError::Type { unexpected, expected, .. } => format!("found {unexpected}, expected {expected}"),
        other => other.to_string(),
    }
}

fn cure_for(path: &[String]) -> String {
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    match path[..] {
        ["node", "state"] => "Write the State's two capital letters, for example state = \"XA\".",
        ["node", "desk"] => "Write desk = \"technical\" or desk = \"diplomatic\", or leave it out for both desks.",
        ["network", "listen"] => "Write addresses with a port: listen = [\"[::]:7411\"] or [\"192.0.2.1:7411\"].",
        ["network", "announce"] | ["peers", _, "addresses"] => "Write a list like [\"node.example:7411\"].",
        ["network", "mix_exercise"] => "Write mix_exercise = true or mix_exercise = false, without quotation marks.",
        ["journal", "allow_copy_on_write"] => "Write true or false, without quotation marks.",
        ["network", "pq"] => "Write pq = \"prefer\" or pq = \"require\".",
        ["log", "format"] => "Write format = \"human\" or format = \"json\".",
        ["log", "level"] => "Write level = \"error\", \"warn\", \"info\", \"debug\" or \"trace\".",
        ["peers", ..] => "Write a table like [peers.XB]; for one desk [peers.\"XB.diplomatic\"].",
        _ => "See the annotated configuration in the project's config/verbale.toml.",
    }
    .to_owned()
}

fn fill(settings: &mut Settings, raw: Raw) {
    fn set<T>(place: &mut T, value: Option<T>) {
        if let Some(value) = value {
            *place = value;
        }
    }
    set(&mut settings.language, raw.node.language);
    set(&mut settings.listen, raw.network.listen.map(|list| list.0));
    set(&mut settings.announce, raw.network.announce.map(|list| list.0));
    set(&mut settings.pq, raw.network.pq.map(|word| word.0));
    set(&mut settings.exchange.mix_exercise, raw.network.mix_exercise.map(|switch| switch.0));
    set(&mut settings.exchange.window, raw.limits.window.map(|size| size.0));
    set(&mut settings.exchange.enclosure_max, raw.limits.enclosure_max.map(|size| size.0));
    set(&mut settings.exchange.enclosures_total_max, raw.limits.enclosures_total_max.map(|size| size.0));
    set(&mut settings.exchange.bytes_per_day, raw.limits.peer_bytes_per_day.map(|size| size.0));
    set(&mut settings.exchange.pings_per_day, raw.limits.pings_per_day);
    set(&mut settings.exchange.backoff_max, raw.limits.backoff_max.map(|span| span.0));
    set(&mut settings.exchange.stall, raw.limits.stall.map(|span| span.0));
    set(&mut settings.log.format, raw.log.format);
    set(&mut settings.log.level, raw.log.level);
    set(&mut settings.journal.segment_size, raw.journal.segment_size.map(|size| size.0));
    set(&mut settings.journal.allow_copy_on_write, raw.journal.allow_copy_on_write.map(|switch| switch.0));
    settings.socket.path = raw.socket.path.filter(|path| !path.as_os_str().is_empty());
    settings.socket.group = raw.socket.group.filter(|group| !group.is_empty());
    let alert = raw.on_message;
    settings.on_message = alert.command.filter(|command| !command.as_os_str().is_empty()).map(|command| OnMessage {
        command,
        args: alert.args.map(|list| list.0).unwrap_or_default(),
        repeat: alert.repeat.map_or(DEFAULT_REPEAT, |span| span.0),
    });
    for (node, peer) in raw.peers {
        let addresses = peer.addresses.map(|list| list.0).unwrap_or_default().iter().map(ToString::to_string).collect();
        let display_name = peer.display_name.filter(|name| !name.is_empty());
        let bytes_per_day = peer.bytes_per_day.map(|size| size.0);
        settings.exchange.bytes_per_day_of.extend(bytes_per_day.map(|bytes| (node, bytes)));
        settings.peers.insert(node, PeerSettings { addresses, display_name, bytes_per_day });
    }
}
