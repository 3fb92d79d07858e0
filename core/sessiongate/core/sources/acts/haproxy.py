"""Ends streams of HAProxy, as well as it can be done.

HAProxy's ``shutdown session`` takes a pointer only, which it gives to another stream as soon as
this one has ended. So the stream is looked at, compared, and in one line of commands looked at
again and shut down. Only in the moment between can another one take its place; the second look
shows whether that has happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from sessiongate.core.sources.acting import ActError, ActFault, Strike, Target
from sessiongate.core.sources.base import SourceError, UnreadableError
from sessiongate.core.sources.support.runtime_api import process_of
from sessiongate.core.sources.support.stats_socket import ask_socket, connect_socket, socket_cause
from sessiongate.core.sources.support.stream import Stream
from sessiongate.core.sources.support.streams import stream_key
from sessiongate.runtime.addresses import Address

# Seconds that two looks at the same stream's age may differ by, however busy this machine is. A
# client's port, which is part of the key, is not used again as soon.
_STARTS_APART = 30
_NOT_FOUND, _NO_SUCH = "Session not found.", "No such session"
_DENIED = "Permission denied"
_GONE = "the session has ended"
_NEEDS_ADMIN = (
    "'shutdown session' is not allowed on this socket: it requires level admin; name such a"
    " socket in action_socket"
)


@asynccontextmanager
async def aim(
    owner: object, place: Address | str, now: Callable[[], float], target: Target
) -> AsyncIterator[Strike]:
    """Aim at a stream: see `ActingSource`. ``now`` is in seconds since the epoch."""
    pid, pointer, *_ = target.item.key.split(" ")
    # Connect before looking: a new connection's stream may take the place of one that ends.
    reader, writer = await connect_socket(owner, place)
    try:
        looking = await connect_socket(owner, place)
        try:
            answer = await _answer(*looking, place, f"show info;show sess {pointer}\n")
        finally:
            looking[1].transport.abort()
        info, _, block = answer.partition("\n\n")
        if process_of(info) != pid:
            raise ActError(ActFault.GONE, "HAProxy has another process, and the session has ended")
        if block.startswith(_NOT_FOUND) or not _is_same(block, target, now()):
            raise ActError(ActFault.GONE, _GONE)
        yield partial(_strike, reader, writer, place, pointer, _first_line(block))
    finally:
        writer.transport.abort()


async def _strike(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    place: Address | str,
    pointer: str,
    seen: str,
) -> None:
    commands = f"show sess {pointer};shutdown session {pointer}\n"
    block, _, rest = (await _answer(reader, writer, place, commands)).partition("\n\n")
    if rest.startswith(_DENIED):
        raise ActError(ActFault.REFUSED, f"{place}: {_NEEDS_ADMIN}")
    if block.startswith(_NOT_FOUND) or rest.startswith(_NO_SUCH):
        raise ActError(ActFault.GONE, _GONE)
    if rest.strip():
        raise SourceError(f"{place}: unexpected response to 'shutdown session'")
    if _first_line(block) != seen:
        text = "the session had just ended, and another one, which had its pointer, was shut down"
        raise ActError(ActFault.HIT_ANOTHER, text)


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, place: Address | str, commands: str
) -> str:
    try:
        return "".join(await ask_socket(reader, writer, commands))
    except OSError as error:
        raise SourceError(f"{place}: {socket_cause(error)}") from None
    except SourceError as error:
        raise SourceError(f"{place}: {error}") from None


def _first_line(block: str) -> str:
    """Return what states a stream's pointer, its start to the microsecond, and its client."""
    return block.partition("\n")[0]


def _is_same(block: str, target: Target, moment: float) -> bool:
    """Return whether a block of ``show sess`` is the stream that was observed."""
    key, began = target.item.key, target.session.connect_time.seconds
    try:
        stream = Stream.parse(block.strip("\n"))
        if stream_key(key.partition(" ")[0], stream) != key:
            return False
        start = stream.start(moment, began)
        # HAProxy does not state the age of a stream that has only just begun.
        return abs((moment if start is None else start) - began) <= _STARTS_APART
    except UnreadableError:
        return False
