//! The text around an introduction: lines for people, and between two lines of dashes the bytes in base64.

use super::parse::IntroductionError;
use super::{Introduction, MAX_INTRODUCTION_BYTES};

const BEGIN: &str = "-----BEGIN VERBALE INTRODUCTION-----";
const END: &str = "-----END VERBALE INTRODUCTION-----";
const LINE: usize = 64;

/// Finds the one armoured block and decodes it; what stands around it is not looked at.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, IntroductionError> {
    if text.len() > MAX_INTRODUCTION_BYTES {
        return Err(IntroductionError::TooLarge);
    }
    let mut base64 = String::new();
    let (mut inside, mut blocks, mut last_line_seen) = (false, 0, false);
    for line in text.lines().map(str::trim_end) {
        match line {
            BEGIN if !inside && blocks == 0 => inside = true,
            END if inside => {
                inside = false;
                blocks += 1;
            }
            BEGIN | END => return Err(IntroductionError::Armour("its lines of dashes are not one BEGIN and one END")),
            _ if inside => {
                if last_line_seen || line.is_empty() || line.len() > LINE {
                    return Err(IntroductionError::Armour("a line between the dashes is too long, too short or empty"));
                }
                last_line_seen = line.len() < LINE;
                base64.push_str(line);
            }
            _ => {}
        }
    }
    if inside || blocks == 0 {
        return Err(IntroductionError::Armour("there is no whole block between BEGIN and END VERBALE INTRODUCTION"));
    }
    data_encoding::BASE64
        .decode(base64.as_bytes())
        .map_err(|_| IntroductionError::Armour("the text between the dashes is not base64; was it cut or changed?"))
}

impl Introduction {
    /// The whole file: lines for people, then the armour.
    pub fn to_text(&self) -> String {
        let mut text =
            format!("Introduction of {} for verbale, number {}, issued {}.\n\n", self.state, self.serial, self.issued);
        for node in &self.nodes {
            let desks: Vec<_> = node.desks.iter().map(|desk| desk.word()).collect();
            let addresses: Vec<_> = node.addresses.iter().map(ToString::to_string).collect();
            text.push_str(&format!("Node         {}\n", node.name));
            text.push_str(&format!("  desks      {}\n", desks.join(", ")));
            text.push_str(&format!("  addresses  {}\n", addresses.join(", ")));
        }
        text.push_str(&format!("\nFingerprint\n{:#}\n\n", self.fingerprint()));
        text.push_str(
            "These lines are for people; a program does not read them, and anybody could have changed them.\n\
             Ask for the fingerprint over another channel (a known telephone number, in person) before you accept it.\n\n",
        );
        text.push_str(&self.to_armour());
        text
    }

    /// The armoured block alone.
    pub fn to_armour(&self) -> String {
        let base64 = data_encoding::BASE64.encode(&self.to_signed_bytes());
        let mut text = format!("{BEGIN}\n");
        for line in base64.as_bytes().chunks(LINE) {
            text.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
            text.push('\n');
        }
        text.push_str(END);
        text.push('\n');
        text
    }
}
