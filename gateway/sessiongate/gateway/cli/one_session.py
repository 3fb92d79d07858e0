"""All that is known about one session, as people at a terminal read it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.client.errors import CallError
from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.cli.columns import Columns
from sessiongate.gateway.cli.relations import Surroundings
from sessiongate.gateway.cli.reporting import report
from sessiongate.gateway.cli.session_fields import SESSION_FIELDS
from sessiongate.gateway.cli.tables import print_gaps
from sessiongate.gateway.cli.texts import (
    bold,
    duration_text,
    has_styles,
    output_width,
    plain,
    time_text,
)
from sessiongate.gateway.errors import error_of
from sessiongate.gateway.representation.session import session_resource
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.v1.errors import Reason
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import GetSessionResponse
from sessiongate.v1.times import seconds_of

_ENDED = Reason.SESSION_NOT_FOUND
_INTERVAL = 1.0  # seconds between two questions
_CLEAR = "\x1b[H\x1b[2J"  # the terminal
# Attributes that are moments.
_MOMENTS = ("connected", "activity.since", "activity.transaction_started")


async def print_session(client: CoreClient, found: GetSessionResponse) -> None:
    """Print a session, and the sessions around it."""
    _print(await _drawn(client, found.session))
    print_gaps(Gaps.of_response(found))


async def follow_session(client: CoreClient, ident: int) -> None:
    """Print a session again whenever it has changed, until it ends.

    A terminal shows it once a second. Raises `CallError` if the core cannot be asked at first.
    """
    is_screen = has_styles(sys.stdout)
    shown: int | None = None  # the revision that was printed last
    is_lost = False
    while True:
        try:
            session = (await client.get_session(ident)).session
            if is_screen or session.revision != shown:
                lines = await _drawn(client, session)
                above = _CLEAR if is_screen else "" if shown is None else "\n"
                _print([above + lines[0], *lines[1:]])
                shown = session.revision
            is_lost = False
        except CallError as error:
            if shown is None or not (error.is_transient or error.reason == _ENDED):
                raise
            if error.reason == _ENDED:
                report(f"session {ident} has ended")
                return
            if not is_lost:
                report(f"{error_of(error).detail}; asking again")
            is_lost = True
        await asyncio.sleep(_INTERVAL)


async def _drawn(client: CoreClient, session: Session) -> Sequence[str]:
    title = bold if has_styles(sys.stdout) else str
    return await draw_session(client, session, output_width(), title)


async def draw_session(
    client: CoreClient,
    session: Session,
    room: int | None,
    mark: Callable[[str], str] = str,
) -> Sequence[str]:
    """Return the lines of a session, and of those around it, in ``room`` cells; ``mark`` titles."""
    now = time.time()
    lines = [*Columns(room=room).lines(session_rows(session, now))]
    around = Surroundings(client, session, now, room)
    for title, tree in (
        ("Chain", await around.chain()),
        ("Blocked by", await around.blockers()),
        ("Blocks", await around.blocked()),
    ):
        if tree:
            lines += ["", mark(title), *tree]
    return lines


def session_rows(session: Session, now: float) -> Iterator[tuple[str, str]]:
    """Yield the name and text of each attribute that a session has."""
    known = {"id": session.id, "source": session.source, "service": session.service}
    known |= {"filters": [*session.filters]}
    attributes = session_resource(session, "", now)["attributes"]
    values = known | attributes | {"source": session.source}
    yield from attribute_rows(values, _moments(session), now)


def attribute_rows(
    values: Mapping[str, object],
    moments: Mapping[str, Timestamp],
    now: float,
    moment_text: Callable[[Timestamp], str] = time_text,
) -> Iterator[tuple[str, str]]:
    """Yield the name and text of each value; ``moments`` are those that are times."""
    for name, text in _flat(values):
        if moment := moments.get(name):
            yield name, f"{moment_text(moment)}  ({duration_text(now - seconds_of(moment))} ago)"
        elif name == "idle":
            yield name, duration_text(float(text))
        elif text:
            yield plain(name), plain(text)


def _moments(session: Session) -> Mapping[str, Timestamp]:
    """Return the moments that a session states, by the names of their attributes."""
    found = {name: SESSION_FIELDS[name].read(session) for name in _MOMENTS}
    for number, query in enumerate(session.queries):
        if query.HasField("receive_time"):
            found[f"queries.{number}.received"] = query.receive_time
        if query.HasField("complete_time"):
            found[f"queries.{number}.completed"] = query.complete_time
    return {name: value for name, value in found.items() if isinstance(value, Timestamp)}


def _flat(value: object, name: str = "") -> Iterable[tuple[str, str]]:
    """Yield the leaves of a JSON value, each with its path."""
    prefix = name and name + "."
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from _flat(member, prefix + key)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _flat(member, f"{prefix}{index}")
    else:
        yield name, str(value)


def _print(lines: Sequence[str]) -> None:
    print("\n".join(lines), flush=True)
