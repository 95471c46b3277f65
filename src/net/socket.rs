//! UDP sockets with buffers large enough for bursts.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::limits::UDP_BUFFER;

/// Binds a socket. IPv6 sockets take IPv6 only, so that both families can listen on one port.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The kernel gives less where its own limit is lower; that costs speed, not correctness.
    let asked = [socket.set_recv_buffer_size(UDP_BUFFER), socket.set_send_buffer_size(UDP_BUFFER)];
    if asked.iter().any(Result::is_err) || socket.recv_buffer_size()? < UDP_BUFFER {
        tracing::debug!(%address, bytes = socket.recv_buffer_size()?, "a smaller UDP buffer than asked for");
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}
