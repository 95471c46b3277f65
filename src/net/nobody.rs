//! Whether the machine at an address says that nothing listens on the port: ICMP "port unreachable", which tells a node
//! that is not running from a path that carries nothing.
//!
//! One empty datagram to the address of an accepted peer that was just dialled, and nothing else: this is no scan.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

/// How long the machine has for its answer: one round trip of 700 ms each way, and a little.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the machine, or one on the way, answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nobody {
    /// Nothing listens on that port.
    PortClosed,
    /// The machine or its network cannot be reached from here.
    Unreachable,
}

/// Asks; `None` where nothing came, which says nothing.
pub(super) async fn listens_at(from: SocketAddr, to: SocketAddr) -> Option<Nobody> {
    // Its own port, so that the answer is for this question; the own address, so that it takes the same way.
    let from = SocketAddr::new(usable(from.ip(), to.ip()), 0);
    let socket = UdpSocket::bind(from).await.ok()?;
    let asked = async {
        socket.connect(to).await?;
        socket.send(&[]).await?;
        socket.recv(&mut [0; 1]).await
    };
    match timeout(PATIENCE, asked).await {
        Ok(Err(error)) => match error.kind() {
            ErrorKind::ConnectionRefused => Some(Nobody::PortClosed),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Some(Nobody::Unreachable),
            _ => None,
        },
        Ok(Ok(_)) | Err(_) => None,
    }
}

/// A socket on loopback reaches nothing outside; one that listens everywhere stays so.
fn usable(from: IpAddr, to: IpAddr) -> IpAddr {
    let any = match to {
        IpAddr::V4(_) => IpAddr::from([0; 4]),
        IpAddr::V6(_) => IpAddr::from([0; 16]),
    };
    if from.is_ipv4() == to.is_ipv4() && from.is_loopback() == to.is_loopback() { from } else { any }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[tokio::test]
    async fn a_port_without_a_process_is_told_from_one_that_says_nothing() {
        let closed = UdpSocket::bind(HERE).await.unwrap().local_addr().unwrap();
        assert_eq!(listens_at(HERE, closed).await, Some(Nobody::PortClosed));
        let silent = UdpSocket::bind(HERE).await.unwrap();
        assert_eq!(listens_at(HERE, silent.local_addr().unwrap()).await, None);
    }
}
