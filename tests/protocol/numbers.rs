//! The field numbers in the tables of the page are those of `proto/verbale/v1`, and every field there stands on the page.

use std::collections::BTreeMap;

use super::PAGE;

const SOURCES: [&str; 5] = [
    include_str!("../../proto/verbale/v1/carriage.proto"),
    include_str!("../../proto/verbale/v1/entry.proto"),
    include_str!("../../proto/verbale/v1/evidence.proto"),
    include_str!("../../proto/verbale/v1/frame.proto"),
    include_str!("../../proto/verbale/v1/introduction.proto"),
];

/// What the page calls by another name than the message has.
const FRAMES: [(&str, &str); 16] = [
    ("TRUST", "Trust"),
    ("PROBE", "Probe"),
    ("PROBE_REPLY", "ProbeReply"),
    ("NOT_NOW", "NotNow"),
    ("BYE", "Bye"),
    ("ENTRY", "Entry"),
    ("CHECKPOINT", "Checkpoint"),
    ("COSIGNED", "Cosigned"),
    ("SHOWS", "Shows"),
    ("FAULT", "Fault"),
    ("FETCH", "Fetch"),
    ("ENCLOSURE", "EnclosureRequest"),
    ("ENCLOSURE_REPLY", "EnclosureReply"),
    ("CARRIAGE", "Carriage"),
    ("CARRIED_ENCLOSURE", "CarriedEnclosure"),
    ("CARRIAGE_END", "CarriageEnd"),
];

type Messages = BTreeMap<String, BTreeMap<u32, String>>;

fn messages_of_proto() -> Messages {
    let mut messages = Messages::new();
    for source in SOURCES {
        let mut current = None;
        for line in source.lines().map(|line| line.split("//").next().unwrap().trim()) {
            if let Some(rest) = line.strip_prefix("message ") {
                let name = rest.split([' ', '{']).next().unwrap().to_owned();
                messages.entry(name.clone()).or_default();
                current = (!line.ends_with("{}")).then_some(name);
            } else if line.starts_with('}') {
                current = None;
            } else if let (Some(message), Some((left, number))) = (&current, line.split_once(" = ")) {
                let number = number.trim_end_matches(';').parse().expect("a field number");
                let field = left.rsplit(' ').next().unwrap().to_owned();
                messages.get_mut(message).unwrap().insert(number, field);
            }
        }
    }
    messages
}

/// Pairs of a number and a name in backticks right after it.
fn numbered(text: &str) -> Vec<(u32, String)> {
    let parts: Vec<&str> = text.split('`').collect();
    let before = |at: usize| parts[at - 1].strip_suffix(' ').and_then(|text| text.rsplit([' ', '·', '|']).next());
    let pair = |at: usize| Some((before(at)?.parse().ok()?, parts[at].to_owned()));
    (1..parts.len()).step_by(2).filter_map(pair).collect()
}

fn messages_of_page() -> Messages {
    let mut messages = Messages::new();
    let mut table = None;
    for line in PAGE.lines() {
        for braced in line.split('`').filter(|part| part.ends_with('}')) {
            let Some((name, fields)) = braced.trim_end_matches('}').split_once('{') else { continue };
            for field in fields.split(", ") {
                let (number, rest) = field.split_once(' ').expect("a number and a name");
                let field = rest.split(':').next().unwrap().to_owned();
                messages.entry(name.to_owned()).or_default().insert(number.parse().unwrap(), field);
            }
        }
        table = match line {
            _ if line.starts_with("### 3.2") => Some("Header"),
            _ if line.starts_with("### 3.3") => Some("Body"),
            _ if line.starts_with("| no. | field of HELLO") => Some("Hello"),
            _ if line.starts_with('#') || line.starts_with("**") => None,
            _ => table,
        };
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if cells.len() < 4 {
            continue;
        }
        let name = |cell: &str| cell.split(',').next().unwrap().trim_matches('`').to_owned();
        let frame = FRAMES.iter().find(|(word, _)| *word == name(cells[2])).map(|(_, message)| (*message).to_owned());
        let message = frame.or_else(|| cells[1].starts_with('`').then(|| name(cells[1])));
        let message = message.or_else(|| cells[2].starts_with('`').then(|| name(cells[2])));
        match (table, message) {
            (Some(message), _) => {
                let numbers = cells[1].split(", ").map(str::parse);
                let names = cells[2].split('`').skip(1).step_by(2).map(str::to_owned);
                let fields = numbers.zip(names).filter_map(|(number, name)| Some((number.ok()?, name)));
                messages.entry(message.to_owned()).or_default().extend(fields);
            }
            (None, Some(message)) => messages.entry(message).or_default().extend(numbered(line)),
            (None, None) => {}
        }
    }
    messages
}

#[test]
fn the_tables_of_the_page_have_the_numbers_of_the_proto_files() {
    let page = messages_of_page();
    let nothing = BTreeMap::new();
    for (name, fields) in messages_of_proto() {
        assert_eq!(page.get(&name).unwrap_or(&nothing), &fields, "{name}");
    }
}
