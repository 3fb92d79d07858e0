"""A reader of server-sent events in WHATWG's format."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.gateway.programs import LONG

EVENTS = {"Accept": "text/event-stream"}


@dataclass
class Event:
    """An event; ``ident`` is the most recent id, like a browser's lastEventId."""

    name: str
    data: Any
    ident: str


def events_in(lines: Iterable[str]) -> Iterator[Event]:
    """Parse lines into events; skip an unfinished one."""
    fields: dict[str, str] = {}
    ident = ""
    for line in lines:
        if not line:
            if "data" in fields:
                yield Event(fields.get("event", "message"), json.loads(fields["data"]), ident)
            fields.clear()
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            ident = value
        elif name:
            assert name not in fields, f"{name} twice in an event"
            fields[name] = value


class Reading:
    """A stream that is being read."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._events = events_in(response.iter_lines())

    def next(self) -> Event:
        """Return the next event."""
        return next(self._events)

    def until(self, name: str) -> list[Event]:
        """Return the next events, up to and with the first one of a name."""
        found = [self.next()]
        while found[-1].name != name:
            found.append(self.next())
        return found

    def rest(self) -> list[Event]:
        """Return all remaining events. Raises `httpx.RemoteProtocolError` if the stream was cut."""
        return list(self._events)


@contextmanager
def reading(
    url: str,
    path: str = "/v1/sessions",
    headers: Mapping[str, str] | None = None,
    **parameters: str,
) -> Iterator[Reading]:
    """Read events over a separate connection."""
    with (
        httpx.Client(base_url=url, timeout=2 * LONG) as client,
        client.stream(
            "GET", path, headers={**EVENTS, **(headers or {})}, params=parameters
        ) as response,
    ):
        assert response.status_code == 200, response.read()
        yield Reading(response)
