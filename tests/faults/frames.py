"""HTTP/2 by hand (RFC 9113, RFC 7541): frames that no well-meaning client would send."""

from __future__ import annotations

import socket
from contextlib import suppress

DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW_SIZE = 4
CANCEL = (8).to_bytes(4)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """Make a frame with its true length."""
    return len(body).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + body


def opening(settings: dict[int, int] | None = None) -> bytes:
    """Return what a connection begins with."""
    pairs = (settings or {}).items()
    body = b"".join(name.to_bytes(2) + value.to_bytes(4) for name, value in pairs)
    return PREFACE + frame(SETTINGS, 0, 0, body)


def field(name: str, value: str, *, indexed: bool = False) -> bytes:
    """Encode a header field in plain Latin-1; the other side remembers it if ``indexed``."""
    return (b"\x40" if indexed else b"\0") + _text(name) + _text(value)


def fields(*pairs: tuple[str, str]) -> bytes:
    """Encode header fields."""
    return b"".join(field(name, value) for name, value in pairs)


def call(path: str, request: bytes, stream: int) -> bytes:
    """Make a complete gRPC call on a stream."""
    headers = fields(
        *((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost")),
        *(("te", "trailers"), ("content-type", "application/grpc")),
    )
    message = b"\0" + len(request).to_bytes(4) + request
    return frame(HEADERS, END_HEADERS, stream, headers) + frame(DATA, END_STREAM, stream, message)


def _text(text: str) -> bytes:
    data = text.encode("latin-1")
    length, more = len(data), b""
    if length < 127:
        return bytes([length]) + data
    length -= 127
    while length >= 128:
        more += bytes([length % 128 + 128])
        length //= 128
    return bytes([127]) + more + bytes([length]) + data


def connect(address: str, timeout: float) -> socket.socket:
    """Connect to ``HOST:PORT``."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=timeout)


def send(peer: socket.socket, data: bytes) -> None:
    """Send as much as the other side takes before it hangs up or stops reading."""
    with suppress(OSError):
        peer.sendall(data)
