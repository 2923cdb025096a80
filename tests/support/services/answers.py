"""Whether a server answers: the first words of its protocol, without a client."""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
from collections.abc import Sequence
from pathlib import Path

PATIENCE = 2.0  # seconds, for one answer; the next look comes at once


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


def redis(port: int, *words: Sequence[str], ca: Path | None = None) -> bytes:
    """Say commands to a Redis server, give the beginning of its last answer."""
    answer = b""
    connection = _connect(port)
    if ca is not None:
        context = ssl.create_default_context(cafile=ca)
        connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
    with connection:
        for command in words:
            connection.sendall(" ".join(command).encode() + b"\r\n")
            answer = connection.recv(4096)
    return answer


def postgres(port: int, user: str, database: str) -> bool:
    """Begin a session: a server that still recovers says so instead of R."""
    words = f"user\0{user}\0database\0{database}\0\0".encode()
    with _connect(port) as connection:
        connection.sendall(struct.pack("!ii", len(words) + 8, 196608) + words)
        return connection.recv(1) == b"R"


def mysql(port: int) -> bool:
    """Be greeted in version 10 of the protocol; refusals begin with 255."""
    with _connect(port) as connection:
        return connection.recv(5)[4:] == b"\x0a"


def mongo(port: int) -> bool:
    """Say hello, in an OP_MSG of one document."""
    said = b"\x10hello\0\1\0\0\0" + b"\x02$db\0\6\0\0\0admin\0" + b"\0"
    message = b"\0\0\0\0" + b"\0" + struct.pack("<i", len(said) + 4) + said
    header = struct.pack("<iiii", len(message) + 16, 1, 0, 2013)
    with _connect(port) as connection:
        connection.sendall(header + message)
        return len(connection.recv(16)) > 0


def http_status(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()
