"""Bytes that are nearly what a server expects."""

from __future__ import annotations

import random

from tests.faults.frames import PREFACE

REQUEST = b"GET /v1/sessions/1 HTTP/1.1\r\nHost: localhost\r\n\r\n"


def mangled(rng: random.Random) -> bytes:
    """Make something like HTTP/1, HTTP/2 or gRPC, with faults in it."""
    kind = rng.randrange(5)
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 2000))
    if kind == 1:
        return PREFACE + rng.randbytes(rng.randrange(1, 500))
    if kind == 2:  # frames with random types, flags, streams and possibly false lengths
        frames = PREFACE + b"\0\0\0\4\0\0\0\0\0"
        for _ in range(rng.randrange(1, 8)):
            body = rng.randbytes(rng.randrange(0, 60))
            length = rng.choice([len(body), rng.randrange(2**24)])
            head = bytes([rng.randrange(12), rng.randrange(256)])
            stream = rng.choice([0, 1, 3, rng.randrange(2**31)])
            frames += length.to_bytes(3) + head + stream.to_bytes(4) + body
        return frames
    data = bytearray(REQUEST * rng.randrange(1, 4))
    for _ in range(rng.randrange(1, 6)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    if kind == 3:
        return bytes(data)
    return bytes(data[: rng.randrange(1, len(data))])
