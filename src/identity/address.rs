//! Where a node can be reached.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// Longest host name, in bytes (RFC 1035).
pub const MAX_HOST_BYTES: usize = 253;

/// A host and a UDP port: `node.example:7411`, `192.0.2.1:7411`, `[2001:db8::1]:7411`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: String,
    port: u16,
}

/// Text that is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address; write host:port, 192.0.2.1:7411 or [2001:db8::1]:7411")]
pub struct AddressError(pub String);

impl Address {
    /// The host: a name or an IP address, IPv6 without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The IP address, where the host is one and no name has to be looked up.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.chars().take(80).collect());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let plain = !port.is_empty() && !port.starts_with('0') && port.bytes().all(|b| b.is_ascii_digit());
        let port: u16 = if plain { port.parse().map_err(|_| wrong())? } else { return Err(wrong()) };
        if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let ip: Ipv6Addr = inner.parse().map_err(|_| wrong())?;
            return Ok(Self { host: ip.to_string(), port });
        }
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if host.len() > MAX_HOST_BYTES || !host.split('.').all(label) {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_written() {
        for text in ["192.0.2.1:7411", "[2001:db8::1]:7411", "node.example:1", "localhost:65535"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        let long = format!("{}:1", "a.".repeat(127));
        for text in [
            "",
            ":1",
            "host",
            "host:",
            "host:0",
            "host:65536",
            "host:+1",
            "2001:db8::1:7411",
            "[::1]",
            "a b:1",
            "a..b:1",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
        assert!(long.parse::<Address>().is_err());
        let fits = format!("{}a:1", "a.".repeat(126));
        assert!(fits.parse::<Address>().is_ok());
        let over = format!("{}ab:1", "a.".repeat(126));
        assert!(over.parse::<Address>().is_err());
    }
}
