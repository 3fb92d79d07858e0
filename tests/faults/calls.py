"""Calls of the core that no gRPC library makes: any method, metadata, deadline and message."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from hpack import Decoder

from sessiongate.v1 import (
    session_action_service_pb2,
    session_service_pb2,
    source_service_pb2,
)
from tests.faults.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    RST_STREAM,
    WINDOW_UPDATE,
    connect,
    fields,
    frame,
    opening,
)
from tests.program import PATIENCE

_OURS = (session_service_pb2, source_service_pb2, session_action_service_pb2)
METHODS = {
    f"/{service.full_name}/{method.name}": method.input_type
    for file in (*_OURS, health_pb2, reflection_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
_UNKNOWN = ("/", "//", "/a", "/sessiongate.v1.SessionService/", "/a/b", "", "/%00/\xff", "*")
_TEXTS = (
    "",
    "CLI",
    "id",
    "id desc",
    "connect_time",
    "*",
    "10.0.0.0/8",
    "::1",
    "\0",
    "😀",
    "x" * 500,
)
_NUMBERS = (0, 1, -1, 2, 10_000, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 2**64 - 1, 253402300800)
_METADATA = {
    "content-type": (
        "application/grpc",
        "application/grpc+proto",
        "application/grpc+x",
        "text/plain",
    ),
    "te": ("trailers", "gzip", ""),
    "grpc-timeout": (
        "1S",
        "1m",
        "99999999H",
        "999999999S",
        "0n",
        "-1S",
        "1",
        "S",
        "",
        "1X",
        "1.5S",
    ),
    "grpc-encoding": ("identity", "gzip", "deflate", "snappy", ""),
    "grpc-accept-encoding": ("gzip", "none", ",,"),
    "grpc-status": ("0", "13"),
    "authorization": ("Basic eA==", "Basic", "Bearer a.b.c", "\xff"),
    "traceparent": ("00-" + "0" * 32 + "-x-01", "\x7f", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"),
    "tracestate": ("a=b", " ", "x" * 600),
    "x-request-id": ("id", "", "x" * 200, "\x1b[31m"),
    "x-sessiongate-caller": ("password:alice", ":", "", "\xff", "a" * 3000),
    "x-bin": ("AAAA", "A", "====", "\xff"),
    "user-agent": ("x", ""),
    "host": ("localhost", "example.org"),
}
_STATUSES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}
_HEAD = 9  # bytes before a frame's body
_WINDOW = 2**31 - 1
_MORE = (_WINDOW - 65535).to_bytes(4)  # beyond a connection's initial window
_QUIET = 0.1  # seconds; what has not answered by then waits for more, or streams


@dataclass(slots=True)
class Call:
    """A call to make, and how it ends: with gRPC's status, or a substitute for it."""

    headers: list[tuple[str, str]]
    data: bytes
    ended: str = "open"
    text: str = ""

    def end(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Note what these headers say of the end, if anything."""
        for name, value in headers:
            if name == b":status" and value != b"200":
                self.ended = f"HTTP {value.decode()}"
            elif name == b"grpc-status":
                self.ended = _STATUSES[int(value)]
            elif name == b"grpc-message":
                self.text = unquote(value.decode("latin-1"))


def any_call(rng: random.Random, methods: Sequence[str] = ()) -> Call:
    """Make a call of one of these methods, by default of any, with any number of faults."""
    path = rng.choice(methods or [*METHODS])
    message = any_message(METHODS[path], rng)
    if rng.random() < 0.05:
        path = rng.choice(_UNKNOWN)
    headers = {
        ":method": "POST" if rng.random() < 0.97 else rng.choice(["GET", "PUT", "OPTIONS"]),
        ":scheme": "http",
        ":path": path,
        ":authority": rng.choice(["localhost", "127.0.0.1:1", "example.org"]),
        "te": "trailers",
        "content-type": "application/grpc",
    }
    for name in rng.sample([*_METADATA], rng.choice([0, 1, 1, 2, 3])):
        headers[name] = rng.choice(_METADATA[name])
    return Call(
        [*headers.items()],
        b"".join(_framed(message, rng) for _ in range(rng.choice([0, 1, 1, 1, 2]))),
    )


def any_message(kind: Descriptor, rng: random.Random) -> bytes:
    """Make a message of a kind, with any values in it; or something that is not a message."""
    if rng.random() < 0.2:
        return rng.randbytes(rng.randrange(100))
    message = GetMessageClass(kind)()
    _fill(message, rng, 3)
    data = bytearray(message.SerializeToString())
    while data and rng.random() < 0.3:
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def _fill(message: Message, rng: random.Random, depth: int) -> None:
    for one in message.DESCRIPTOR.fields:
        if rng.random() < 0.5:
            continue
        if one.message_type is None:
            values = [_scalar(one, rng) for _ in range(rng.choice([1, 1, 3]))]
            if one.is_repeated:
                getattr(message, one.name).extend(values)
            else:
                setattr(message, one.name, values[0])
        elif depth:
            below: Any = getattr(message, one.name)
            _fill(below.add() if one.is_repeated else below, rng, depth - 1)


def _scalar(one: Any, rng: random.Random) -> object:
    match one.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            text = rng.choice(_TEXTS)
            return text.encode() if one.type == FieldDescriptor.TYPE_BYTES else text
        case FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return rng.choice([0.0, -1.5, float("inf")])
        case FieldDescriptor.CPPTYPE_ENUM:
            return rng.choice([0, 1, 4, 99, -1])
        case FieldDescriptor.CPPTYPE_INT32:
            return rng.choice([number for number in _NUMBERS if -(2**31) <= number < 2**31])
        case FieldDescriptor.CPPTYPE_INT64:
            return rng.choice([number for number in _NUMBERS if -(2**63) <= number < 2**63])
        case FieldDescriptor.CPPTYPE_UINT32:
            return rng.choice([number for number in _NUMBERS if 0 <= number < 2**32])
    return rng.choice([number for number in _NUMBERS if number >= 0])


def _framed(message: bytes, rng: random.Random) -> bytes:
    """Frame the message as gRPC does; now and then with a false length or flag."""
    length, flag = len(message), 0
    if rng.random() < 0.05:
        length = rng.choice([0, length + 1, max(0, length - 1), 2**20 + 1, 2**32 - 1])
    if rng.random() < 0.05:
        flag = rng.choice([1, 2, 255])
    return bytes([flag]) + length.to_bytes(4) + message


def _making(calls: Sequence[Call]) -> bytes:
    """Return what a client sends that makes calls at once and has room for all answers."""
    said = opening({INITIAL_WINDOW_SIZE: _WINDOW}) + frame(WINDOW_UPDATE, 0, 0, _MORE)
    for number, call in enumerate(calls):
        stream, last = 2 * number + 1, 0 if call.data else END_STREAM
        said += frame(HEADERS, END_HEADERS | last, stream, fields(*call.headers))
        if call.data:
            said += frame(DATA, END_STREAM, stream, call.data)
    return said


def make(address: str, calls: Sequence[Call]) -> None:
    """Make calls at once on one connection, and note how each ends."""
    waiting = {2 * number + 1: call for number, call in enumerate(calls)}
    with connect(address, PATIENCE) as peer:
        peer.sendall(_making(calls))
        peer.settimeout(_QUIET)
        with suppress(TimeoutError, ConnectionResetError):
            received = b""
            decoder = Decoder()
            while waiting and (data := peer.recv(65536)):
                received = _take(received + data, decoder, waiting)


def _take(received: bytes, decoder: Decoder, waiting: dict[int, Call]) -> bytes:
    """Take the complete frames, and note what they say; return the rest."""
    while len(received) >= _HEAD:
        end = _HEAD + int.from_bytes(received[:3])
        if len(received) < end:
            break
        kind, flags = received[3], received[4]
        stream = int.from_bytes(received[5:_HEAD])
        call = waiting.get(stream)
        if kind == HEADERS:
            headers = decoder.decode(received[_HEAD:end], raw=True)
            if call is not None:
                call.end(headers)
        if kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM):
            waiting.pop(stream, None)
            if call is not None and call.ended == "open":
                call.ended = "reset"
        received = received[end:]
    return received
