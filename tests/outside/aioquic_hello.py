#!/usr/bin/env python3
"""A second implementation says HELLO: aioquic for QUIC, protobuf by hand, nothing of verbale's own code.

aioquic_hello.py HOST PORT KEYS SERVER_ROOT

KEYS is the folder `keys` of a node's folder (tls.pem, tls.key); its daemon does not run. SERVER_ROOT is the root
certificate of the State that is dialled. aioquic has no ML-KEM, so that State's node needs `pq = "prefer"`.
Prints one JSON object about the HELLO that came back, after a probe was answered; the exit status is 0 only then.
"""

import asyncio
import json
import os
import ssl
import struct
import sys
import time
from pathlib import Path

from aioquic.asyncio import connect
from aioquic.quic.configuration import QuicConfiguration
from cryptography import x509

HELLO, PROBE, PROBE_REPLY = 1, 3, 4
MAX_FRAME = 64 * 1024


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value) if value else b""
    return varint(number << 3 | 2) + varint(len(value)) + value if value else b""


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def read_message(data):
    fields, at = {}, 0
    while at < len(data):
        tag, at = read_varint(data, at)
        if tag & 7 == 0:
            value, at = read_varint(data, at)
        elif tag & 7 == 2:
            length, at = read_varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise ValueError(f"wire type {tag & 7}")
        fields[tag >> 3] = value
    return fields


def frame(kind, message):
    return struct.pack(">IB", len(message) + 1, kind) + message


async def read_frame(reader):
    length, kind = struct.unpack(">IB", await reader.readexactly(5))
    if not 1 <= length <= MAX_FRAME:
        raise ValueError(f"a frame of {length} bytes")
    return kind, await reader.readexactly(length - 1)


def hello():
    return b"".join(
        [
            field(1, 1),  # versions spoken, from … to
            field(2, 1),
            field(3, os.urandom(16)),  # boot nonce
            field(6, int(time.time() * 1000)),
            field(7, 1 << 20),  # window
            field(8, 1 << 20),  # enclosure limits
            field(9, 4 << 20),
            field(10, varint(1) + varint(2)),  # kinds, packed
            field(13, b""),  # no log in either direction
            field(14, b""),
        ]
    )


def judge(leaf, root):
    """The other side's certificate bears the root's signature and one name; returns the name."""
    leaf.verify_directly_issued_by(root)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    [name] = names.get_values_for_type(x509.UniformResourceIdentifier)
    return name


async def main(host, port, keys, root):
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=["verbale/1"],
        # Names in a verbale certificate are URIs, which aioquic cannot compare: `judge` does it.
        verify_mode=ssl.CERT_NONE,
    )
    configuration.load_cert_chain(str(keys / "tls.pem"), str(keys / "tls.key"))
    async with connect(host, port, configuration=configuration) as connection:
        name = judge(connection._quic.tls._peer_certificate, x509.load_pem_x509_certificate(root.read_bytes()))
        reader, writer = await connection.create_stream()
        writer.write(frame(HELLO, hello()))
        kind, message = await read_frame(reader)
        if kind != HELLO:
            raise ValueError(f"type {kind} instead of HELLO")
        said = read_message(message)
        nonce = int.from_bytes(os.urandom(4), "big")
        writer.write(frame(PROBE, field(1, nonce)))
        while kind != PROBE_REPLY:
            kind, message = await read_frame(reader)
        reply = read_message(message)
        if reply.get(1) != nonce or reply.get(2) != said[3]:
            raise ValueError("the probe was answered with something else")
        print(json.dumps({"name": name, "versions": [said[1], said[2]], "boot": said[3].hex(), "window": said[7]}))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    asyncio.run(asyncio.wait_for(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])), 30))
