//! The words that commands take for kinds and States, and what is said about one that they do not take.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::name::{Kind, NO_POSITION, State};

/// Kinds that a person sends with `verbale send`; an acknowledgement has a command of its own.
pub fn kinds_to_send() -> impl TypedValueParser<Value = Kind> {
    kinds(|kind| !kind.is_machine() && kind != Kind::Acknowledgement)
}

/// Kinds of what people wrote.
pub fn kinds_of_people() -> impl TypedValueParser<Value = Kind> {
    kinds(|kind| !kind.is_machine())
}

/// Every kind, those that machines make included.
pub fn all_kinds() -> impl TypedValueParser<Value = Kind> {
    kinds(|_| true)
}

fn kinds(wanted: impl Fn(Kind) -> bool) -> impl TypedValueParser<Value = Kind> {
    let words: Vec<&'static str> = Kind::ALL.iter().filter(|kind| wanted(**kind)).map(|kind| kind.word()).collect();
    PossibleValuesParser::new(words).try_map(|word| word.parse::<Kind>())
}

/// Codes that stand for a State elsewhere and are not its code in ISO 3166-1.
const OTHER_HABITS: [(&str, &str); 2] = [("UK", "GB"), ("EL", "GR")];

/// Why a code is not taken for a new node without being told that it is meant; `None` where it is.
pub fn unlisted(state: State) -> Option<(String, String)> {
    if state.is_exercise() || state.is_listed() {
        return None;
    }
    let why = format!(
        "{state} is neither the ISO 3166-1 code of a Member or observer State of the United Nations nor an exercise code"
    );
    let meant = OTHER_HABITS.iter().find(|(other, _)| *other == state.code());
    let todo = match meant {
        Some((_, code)) => format!("The code in ISO 3166-1 is {code}: say --state {code}."),
        None => format!("If it is meant, say --unlisted-state, too. {NO_POSITION}"),
    };
    Some((why, todo))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_out_of_habit_is_met_with_the_one_of_the_list() {
        let unlisted = |code: &str| unlisted(code.parse().unwrap());
        assert!(unlisted("UK").unwrap().1.contains("--state GB"));
        assert!(unlisted("XQ").unwrap().1.contains("--unlisted-state"));
        for code in ["GB", "XA", "ZZ", "VA"] {
            assert_eq!(unlisted(code), None);
        }
    }
}
