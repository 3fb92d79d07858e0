"""Servers that answer endlessly, or next to nothing, each in the protocol of its kind."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from multiprocessing.connection import Connection

from tests.faults.processes import MIB

_CHUNK = 256 * 1024

Speaks = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def pg(kind: bytes, body: bytes) -> bytes:
    """Make a message of PostgreSQL's protocol."""
    return kind + struct.pack(">I", len(body) + 4) + body


def row(*cells: bytes) -> bytes:
    """Make a row of an answer in that protocol."""
    data = b"".join(struct.pack(">I", len(cell)) + cell for cell in cells)
    return pg(b"D", struct.pack(">H", len(cells)) + data)


def columns(*names: bytes) -> bytes:
    """Make the description of its columns, by name."""
    of_text = struct.pack(">IHIhih", 0, 0, 25, -1, -1, 0)
    each = b"".join(name + b"\0" + of_text for name in names)
    return pg(b"T", struct.pack(">H", len(names)) + each)


_DONE = pg(b"C", b"SELECT 1\0")
_READY = pg(b"Z", b"I")
_CELLS = (b"1700000000.5", b"127.0.0.1", b"5432", b"1024", b"UTF8")


async def endless(writer: asyncio.StreamWriter, data: bytes) -> None:
    data *= max(1, _CHUNK // len(data))
    while True:
        writer.write(data)
        await writer.drain()


async def trickle(writer: asyncio.StreamWriter, data: bytes) -> None:
    while True:
        for number in range(len(data)):
            writer.write(data[number : number + 1])
            await writer.drain()
            await asyncio.sleep(1)


def postgresql(flood: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> Speaks:
    """Make one that identifies itself, and answers the query after that with a flood."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        await reader.readexactly(length - 4)
        writer.write(pg(b"R", struct.pack(">I", 0)))
        writer.write(pg(b"S", b"client_encoding\0SQL_ASCII\0") + _READY)
        for number in range(2):
            _, length = struct.unpack(">cI", await reader.readexactly(5))
            await reader.readexactly(length - 4)
            if number:
                await flood(writer)
            for _ in range(4):
                writer.write(pg(b"C", b"SET\0"))
            names = [b"%d" % name for name in range(5)]
            writer.write(columns(*names) + row(*_CELLS) + _DONE + _READY)

    return speak


_PG_COLUMNS = columns(*[b"%d" % name for name in range(13)])
_PG_ROWS = row(*[b"1"] * 13)


async def pg_rows(writer: asyncio.StreamWriter) -> None:
    writer.write(_PG_COLUMNS)
    await endless(writer, _PG_ROWS)


async def pg_one_row(writer: asyncio.StreamWriter) -> None:
    writer.write(_PG_COLUMNS + b"D" + struct.pack(">IHI", 200 * MIB, 13, 200 * MIB - 1000))
    await endless(writer, b"x" * 1000)


async def pg_results(writer: asyncio.StreamWriter) -> None:
    await endless(writer, _DONE)


async def pg_trickle(writer: asyncio.StreamWriter) -> None:
    await trickle(writer, _PG_COLUMNS)


def packet(number: int, body: bytes) -> bytes:
    """Make a packet of MariaDB's protocol."""
    return struct.pack("<I", len(body))[:3] + bytes([number & 255]) + body


def mariadb(flood: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> Speaks:
    """Make one that lets anybody in, and answers the first query after that with a flood."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        capabilities = 0x0081_F7FF | 1 << 15 | 1 << 19
        writer.write(
            packet(
                0,
                b"\x0a10.11.0-MariaDB\0"
                + struct.pack("<I", 1)
                + b"a" * 8
                + b"\0"
                + struct.pack("<HBHH", capabilities & 0xFFFF, 45, 2, capabilities >> 16)
                + bytes([21])
                + bytes(10)
                + b"b" * 12
                + b"\0mysql_native_password\0",
            )
        )
        for number in range(9):
            length = int.from_bytes(await reader.readexactly(3), "little")
            (sequence,) = await reader.readexactly(1)
            body = await reader.readexactly(length)
            if number and b"VERSION" in body:
                await flood(writer)
            writer.write(packet(sequence + 1, b"\0\0\0\2\0\0\0"))

    return speak


def _column(name: bytes) -> bytes:
    texts = b"".join(bytes([len(text)]) + text for text in (b"def", b"", b"", b"", name, name))
    return texts + b"\x0c" + struct.pack("<HIBHBH", 45, 1000, 253, 0, 0, 0)


_MARIADB_COLUMNS = (
    packet(1, b"\2")
    + packet(2, _column(b"a"))
    + packet(3, _column(b"b"))
    + packet(4, b"\xfe" + bytes(4))
)


async def mariadb_rows(writer: asyncio.StreamWriter) -> None:
    writer.write(_MARIADB_COLUMNS)
    await endless(writer, b"".join(packet(5 + n, b"\1a\1b") for n in range(256)))


async def mariadb_one_row(writer: asyncio.StreamWriter) -> None:
    writer.write(_MARIADB_COLUMNS)
    number = 5
    while True:
        writer.write(b"\xff\xff\xff" + bytes([number & 255]))
        for _ in range((2**24 - 1) // 4096):
            writer.write(b"\xfd" * 4096)
            await writer.drain()
        writer.write(b"\xfd" * 4095)
        number += 1


async def mariadb_columns(writer: asyncio.StreamWriter) -> None:
    writer.write(packet(1, b"\xfd\xff\xff\xff"))
    await endless(writer, b"".join(packet(2 + n, _column(b"a")) for n in range(256)))


async def mariadb_trickle(writer: asyncio.StreamWriter) -> None:
    await trickle(writer, _MARIADB_COLUMNS)


def haproxy(flood: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> Speaks:
    """Make one that states its process id, and then floods."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"Pid: 7\nUptime_sec: 5\n\n")
        await flood(writer)

    return speak


async def haproxy_rows(writer: asyncio.StreamWriter) -> None:
    await endless(writer, b"0x1: proto=tcpv4 src=1.2.3.4:5 fe=a be=b srv=c ts=00 age=1s\n")


async def haproxy_lines(writer: asyncio.StreamWriter) -> None:
    for _ in range(120 * MIB // _CHUNK):
        writer.write(b"\n\xff" * (_CHUNK // 2))
        await writer.drain()
    writer.write(b"0x1: \n\n")
    await writer.drain()


async def haproxy_one_row(writer: asyncio.StreamWriter) -> None:
    await endless(writer, b"0x1: proto=tcpv4 ")


async def haproxy_trickle(writer: asyncio.StreamWriter) -> None:
    await trickle(writer, b"0x1: proto=tcpv4 ")


SERVERS: dict[str, tuple[str, Speaks]] = {
    "postgresql, rows without end": ("postgresql://u@{}/d", postgresql(pg_rows)),
    "postgresql, one row without end": ("postgresql://u@{}/d", postgresql(pg_one_row)),
    "postgresql, results without end": ("postgresql://u@{}/d", postgresql(pg_results)),
    "postgresql, a byte a second": ("postgresql://u@{}/d", postgresql(pg_trickle)),
    "pgbouncer, rows without end": ("pgbouncer://u@{}", postgresql(pg_rows)),
    "mariadb, rows without end": ("mariadb://u@{}", mariadb(mariadb_rows)),
    "mariadb, one row without end": ("mariadb://u@{}", mariadb(mariadb_one_row)),
    "mariadb, columns without end": ("mariadb://u@{}", mariadb(mariadb_columns)),
    "mariadb, a byte a second": ("mariadb://u@{}", mariadb(mariadb_trickle)),
    "haproxy, rows without end": ("haproxy://{}", haproxy(haproxy_rows)),
    "haproxy, one row without end": ("haproxy://{}", haproxy(haproxy_one_row)),
    "haproxy, 120 MiB of lines": ("haproxy://{}", haproxy(haproxy_lines)),
    "haproxy, a byte a second": ("haproxy://{}", haproxy(haproxy_trickle)),
}


def serve(told: Connection) -> None:
    """Serve all of them until killed; tell where each is, by what it does."""
    asyncio.run(_serve(told))


async def _serve(told: Connection) -> None:
    places = {}
    for what, (_, speaks) in SERVERS.items():

        async def handle(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, speaks: Speaks = speaks
        ) -> None:
            with suppress(OSError, asyncio.IncompleteReadError):
                await speaks(reader, writer)
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        places[what] = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    told.send(places)
    await asyncio.Event().wait()
