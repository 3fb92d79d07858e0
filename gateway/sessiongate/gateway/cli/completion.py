"""Shell completions: names and ids of the core that the command line asks, and REST's words."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

import typer

from sessiongate.gateway.cli.login import LoginSettings
from sessiongate.runtime.settings import settings_of

if TYPE_CHECKING:  # else imported when used: it is slow to import
    from sessiongate.gateway.upstream.client import CoreClient

Completion: TypeAlias = Callable[[typer.Context, str], list[str]]

_SPECIAL = re.compile(r"[^\w@%+=:,./-]")  # characters that bash does not take as they are
_PATIENCE = 1.0  # seconds that a core may take: somebody waits at the keyboard
_MOST = 10_000  # names, or ids, that are asked for


def completion(name: str) -> Completion | None:
    """Return what completes the values of a flag or argument; None if nothing does."""
    if name in _LIVE:
        return _live(_LIVE[name])
    if name in ("user", "application", "database", "service"):
        return _live(_counted(name))
    if name in ("state", "activity"):
        return _known(lambda _, begun: _matching(_words(name), begun))
    if name in ("sort", "columns", "by"):
        return _known(lambda command, begun: _in_list(command, name, begun))
    return None


def _known(find: Callable[[str | None, str], list[str]]) -> Completion:
    """Return a completion that knows what a command takes; Typer finds its parameter by name."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        return find(context.command.name, incomplete)

    return complete


def _live(find: Callable[[CoreClient], Awaitable[Iterable[str]]]) -> Completion:
    """Return a completion that asks the core; without an answer, it completes nothing."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        import asyncio

        from sessiongate.client.errors import CallError
        from sessiongate.gateway.cli.questions import client_of

        async def asking(settings: LoginSettings) -> Iterable[str]:
            timeout = min(settings.core_timeout, _PATIENCE)
            client = client_of(settings, timeout, settings.basic())
            try:
                return await find(client)
            finally:
                await client.close()

        with suppress(CallError, ValueError, OSError):
            settings = LoginSettings(
                **{
                    name: value
                    for name in settings_of(LoginSettings)
                    if (value := context.params.get(name)) is not None
                }
            )
            if settings.core_user is None or settings.core_password_file:  # it prompts for nothing
                return _matching(asyncio.run(asking(settings)), incomplete)
        return []

    return complete


def _matching(words: Iterable[str], begun: str) -> list[str]:
    """Return the words that begin so, as they are typed; none that controls a terminal."""
    found = sorted(word for word in words if word.startswith(begun) and word.isprintable())
    is_bash = os.environ.get("_SESSIONGATE_COMPLETE") == "complete_bash"  # others quote themselves
    return [_SPECIAL.sub(r"\\\g<0>", word) for word in found] if is_bash else found


def _words(name: str) -> Iterable[str]:
    from sessiongate.v1.activities import ACTIVITY_WORDS
    from sessiongate.v1.states import STATE_WORDS

    return (STATE_WORDS if name == "state" else ACTIVITY_WORDS).values()


def _in_list(command: str | None, name: str, incomplete: str) -> list[str]:
    """Complete the last of several names with commas between them."""
    from sessiongate.gateway.cli.choice import counted_by
    from sessiongate.gateway.cli.past_choice import past_counted_by
    from sessiongate.gateway.cli.past_fields import PAST_FIELDS
    from sessiongate.gateway.cli.session_fields import SESSION_FIELDS

    is_past = command == "history"
    names: Iterable[str] = PAST_FIELDS if is_past else SESSION_FIELDS
    if name == "by":
        names = past_counted_by() if is_past else counted_by()
    before, comma, last = incomplete.rpartition(",")
    sign = "-" if name == "sort" and last.startswith("-") else ""
    return [f"{before}{comma}{sign}{word}" for word in _matching(names, last.removeprefix(sign))]


async def _sources(client: CoreClient) -> Iterable[str]:
    return [source.name for source in await client.list_sources()]


async def _ids(client: CoreClient) -> Iterable[str]:
    from google.protobuf.field_mask_pb2 import FieldMask

    from sessiongate.v1.session_service_pb2 import ListSessionsRequest

    request = ListSessionsRequest(page_size=_MOST, read_mask=FieldMask(paths=["id"]))
    return [str(session.id) for session in (await client.list_sessions(request)).sessions]


async def _past_ids(client: CoreClient) -> Iterable[str]:
    from sessiongate.v1.history_service_pb2 import ListPastSessionsRequest

    request = ListPastSessionsRequest(page_size=_MOST, order_by="connect_time desc")
    page = await client.list_past_sessions(request)
    return [str(past.session.id) for past in page.sessions]


_LIVE = {"id": _ids, "past id": _past_ids, "source": _sources}


def _counted(name: str) -> Callable[[CoreClient], Awaitable[Iterable[str]]]:
    async def find(client: CoreClient) -> Iterable[str]:
        from sessiongate.v1.session_service_pb2 import CountSessionsRequest

        request = CountSessionsRequest(by=[f"COUNT_BY_{name.upper()}"], page_size=_MOST)
        groups = (await client.count_sessions(request)).groups
        return [group.values[0].text for group in groups if group.values[0].text]

    return find
