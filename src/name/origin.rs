//! Origins: the names of volumes of logs, and the names under which receipts are signed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::NodeName;
use super::node::serde_as_text;

/// A volume of a log: its number and the random part that keeps equal numbers apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Volume {
    /// Counts from 1; a new volume has a number above every number ever seen.
    pub number: u32,
    /// Eight random bytes, needed because exercise codes are reused by everybody.
    pub random: [u8; 8],
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.number, data_encoding::HEXLOWER.encode(&self.random))
    }
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Volume {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let wrong = || OriginError(text.chars().take(120).collect());
        let (number, random) = text.split_once('.').ok_or_else(wrong)?;
        let plain = !number.is_empty() && !number.starts_with('0') && number.bytes().all(|b| b.is_ascii_digit());
        let number: u32 = if plain { number.parse().map_err(|_| wrong())? } else { return Err(wrong()) };
        let random = data_encoding::HEXLOWER.decode(random.as_bytes()).map_err(|_| wrong())?;
        Ok(Self { number, random: random.try_into().map_err(|_| wrong())? })
    }
}

/// The origin of a volume of a log, `verbale/<FROM>/<TO>/<volume>.<16 hex>`; FROM alone writes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The author.
    pub from: NodeName,
    /// The holder.
    pub to: NodeName,
    /// Which volume of the log from `from` to `to`.
    pub volume: Volume,
}

/// Text that is not an origin in the one form that is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the origin of a log: it looks like verbale/XA/XB/1.5f0c9a3e7b2d4410")]
pub struct OriginError(pub String);

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "verbale/{}/{}/{}", self.from, self.to, self.volume)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let wrong = || OriginError(text.chars().take(120).collect());
        let mut parts = text.split('/');
        let mut next = || parts.next().ok_or_else(wrong);
        if next()? != "verbale" {
            return Err(wrong());
        }
        let from: NodeName = next()?.parse().map_err(|_| wrong())?;
        let to: NodeName = next()?.parse().map_err(|_| wrong())?;
        let volume = next()?.parse().map_err(|_| wrong())?;
        if parts.next().is_some() || from == to {
            return Err(wrong());
        }
        Ok(Self { from, to, volume })
    }
}

serde_as_text!(Origin, Volume);

/// The name under which `holder` signs receipts: `verbale/<TO>`.
pub fn cosigner_name(holder: NodeName) -> String {
    format!("verbale/{holder}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_read_back_as_written() {
        for text in
            ["verbale/XA/XB/1.5f0c9a3e7b2d4410", "verbale/XA.technical/XB.diplomatic/4294967295.0000000000000000"]
        {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn every_other_form_is_refused() {
        for text in [
            "verbale/XA/XA/1.5f0c9a3e7b2d4410",
            "verbale/XA/XB/0.5f0c9a3e7b2d4410",
            "verbale/XA/XB/01.5f0c9a3e7b2d4410",
            "verbale/XA/XB/+1.5f0c9a3e7b2d4410",
            "verbale/XA/XB/1.5F0C9A3E7B2D4410",
            "verbale/XA/XB/1.5f0c9a3e7b2d44",
            "verbale/XA/XB/1.5f0c9a3e7b2d4410/",
            "verbale/XA/XB/4294967296.5f0c9a3e7b2d4410",
            "Verbale/XA/XB/1.5f0c9a3e7b2d4410",
            "",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text:?}");
        }
    }
}
