"""Asks a core for the commands, and prints its answers."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import grpc

from sessiongate.client.errors import CallError
from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.cli.choice import SessionChoice, SessionOrder
from sessiongate.gateway.cli.counting import print_counts
from sessiongate.gateway.cli.login import LoginSettings
from sessiongate.gateway.cli.one_session import follow_session, print_session
from sessiongate.gateway.cli.outputs import SESSIONS, TABLES, output_in, print_document
from sessiongate.gateway.cli.relations import BlockedSessions
from sessiongate.gateway.cli.reporting import fail
from sessiongate.gateway.cli.session_fields import session_field, sort_by
from sessiongate.gateway.cli.tables import gap_lines, print_gaps, print_sources
from sessiongate.gateway.cli.texts import is_terminal, output_width
from sessiongate.gateway.errors import error_of
from sessiongate.gateway.jsonapi.document import top_meta
from sessiongate.gateway.representation.session import session_resource, session_url
from sessiongate.gateway.representation.source import source_resources, sources_url
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.runtime.exit_codes import EXIT_UNRECOVERABLE
from sessiongate.runtime.suggestion import did_you_mean, quoted_name, shorten
from sessiongate.runtime.watched_file import FileError
from sessiongate.v1.errors import Reason
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import ListSessionsRequest, SessionFilter

# The beginning of links, unless --public-url is given.
LOCAL_URL = "http://localhost:8989"
# Sessions of a page: a table's columns get wider only between two. The core allows no more.
_ALIGNED = 10_000
_EVERY = 1 << 64  # more sessions than there are ids
_NAMED = 20  # sources that an error names


class _Part(NamedTuple):
    """Some of the sessions that are listed."""

    sessions: Sequence[Session]
    gaps: Gaps


Question = Callable[[CoreClient], Awaitable[None]]


def ask(question: Question, settings: LoginSettings) -> None:
    """Ask a core; if it fails, say so and end."""

    async def asking(basic: str | None) -> None:
        client = client_of(settings, settings.core_timeout, basic)
        try:
            await question(client)
        finally:
            await client.close()

    try:
        asyncio.run(asking(settings.basic()))
    except FileError as error:
        fail(str(error), EXIT_UNRECOVERABLE)
    except CallError as error:
        if error.code is grpc.StatusCode.UNAUTHENTICATED:
            fail(settings.refusal(error.reason))
        if error.reason is None and error.code is grpc.StatusCode.UNAVAILABLE:
            fail(_unreached(settings, str(error)))
        fail(error_of(error).detail + _next_step(error))


def _next_step(error: CallError) -> str:
    """Return what to do about an error, if its text does not say so."""
    if error.code is grpc.StatusCode.UNIMPLEMENTED:
        return ": it is of an earlier version; update it"
    if error.reason == Reason.LEDGER_UNAVAILABLE:
        return "; try again, and read the core's log if it stays so"
    return ""


def client_of(settings: LoginSettings, timeout: float, basic: str | None) -> CoreClient:
    """Return a client of the core; ``basic`` are Basic credentials, if any. Raises `FileError`."""
    token_path = None if basic else settings.core_token_path
    return CoreClient(settings.core_addresses, timeout, settings.core_tls, token_path, basic=basic)


def listing(
    choice: SessionChoice,
    order: SessionOrder,
    columns: Sequence[str] | None,
    public_url: str | None,
    form: str,
) -> Question:
    """List the sessions that are chosen."""
    wanted = choice.filter()
    fields = [*map(session_field, columns or ())]

    async def ask(client: CoreClient) -> None:
        await require_sources(client, choice)
        output = output_in(form, SESSIONS, fields, public_url or LOCAL_URL)
        gaps, count = Gaps(), 0
        async for part in _parts(client, wanted, order):
            gaps = gaps.union(part.gaps)
            output.write(part.sessions, {*gaps.unreachable, *gaps.partial})
            count += len(part.sessions)
        if not count and form in TABLES:
            print("no sessions", file=sys.stderr)
        output.end(gaps.meta(), gap_lines(gaps))

    return ask


def counting(
    choice: SessionChoice, by: Sequence[str], limit: int | None, public_url: str | None, form: str
) -> Question:
    """Count the sessions that are chosen."""

    async def ask(client: CoreClient) -> None:
        await require_sources(client, choice)
        await print_counts(client, choice, by, limit, public_url or LOCAL_URL, form)

    return ask


def showing(ident: int, public_url: str | None, form: str) -> Question:
    """Show one session."""

    async def ask(client: CoreClient) -> None:
        found = await client.get_session(ident)
        if form == "table":
            await print_session(client, found)
            return
        base = public_url or LOCAL_URL
        resource = session_resource(found.session, base, time.time())
        link = session_url(base, ident)
        print_document(_document(link, resource, Gaps.of_response(found)), form)

    return ask


def following(ident: int) -> Question:
    """Show one session as it changes, until it ends."""

    async def ask(client: CoreClient) -> None:
        await follow_session(client, ident)

    return ask


def showing_blocked(choice: SessionChoice) -> Question:
    """Show who blocks whom, among the sessions that are chosen."""

    async def ask(client: CoreClient) -> None:
        await require_sources(client, choice)
        blocked = BlockedSessions(client, time.time(), output_width())
        lines = await blocked.trees(choice.filter())
        print("\n".join(lines or ["no session waits for another"]))
        print_gaps(blocked.gaps)

    return ask


def listing_sources(public_url: str | None, form: str) -> Question:
    """List the sources."""

    async def ask(client: CoreClient) -> None:
        sources = await client.list_sources()
        if form != "table":
            base = public_url or LOCAL_URL
            document = _document(sources_url(base), source_resources(sources, base), Gaps())
            print_document(document, form)
        else:
            print_sources(sources)

    return ask


def showing_fleet() -> Question:
    """Show who is in the fleet."""
    from sessiongate.gateway.cli.fleet_table import print_fleet

    async def ask(client: CoreClient) -> None:
        try:
            fleet = await client.list_shards()
        except CallError as error:
            if error.code is grpc.StatusCode.UNIMPLEMENTED:
                fail(
                    "this core is no front, and does not know the fleet; ask one that runs with"
                    " --fleet"
                )
            raise
        print_fleet(fleet)

    return ask


def watching(choice: SessionChoice, order: SessionOrder, columns: Sequence[str] | None) -> Question:
    """Show the sessions that are chosen as they come and go."""
    from sessiongate.gateway.cli.watch import Lines, follow

    fields = [*map(session_field, columns or ())]

    async def ask(client: CoreClient) -> None:
        await require_sources(client, choice)
        if not is_terminal():
            await follow(client, choice.filter(), Lines(fields))
            return
        from sessiongate.gateway.cli.screen.app import WatchApp

        app = WatchApp(client, choice.filter(), fields, order.sort or (), order.limit)
        await app.run_until_left()

    return ask


async def require_sources(client: CoreClient, choice: SessionChoice) -> None:
    """End the command if a source that is chosen does not exist: nothing would match."""
    if not choice.source:
        return
    known = [source.name for source in await client.list_sources()]
    for name in choice.source:
        if name not in known:
            hint = did_you_mean(name, known) or f"; {_sources_named(known)}"
            fail(f"there is no source {quoted_name(name)}{hint}", EXIT_UNRECOVERABLE)


def _sources_named(known: Sequence[str]) -> str:
    """Say which sources there are, if they are few."""
    if len(known) > _NAMED:
        return f"`sessiongate sources` lists the {len(known)} sources"
    return f"sources: {', '.join(map(shorten, known))}"


async def _parts(
    client: CoreClient, wanted: SessionFilter, order: SessionOrder
) -> AsyncIterator[_Part]:
    """Yield the sessions that match, in order, in one part or more."""
    if order.in_core is not None:
        request = ListSessionsRequest(filter=wanted, order_by=order.in_core)
        async for part in _pages(client, request, order.limit):
            yield part
        return
    sessions: list[Session] = []
    gaps = Gaps()
    async for part in _pages(client, ListSessionsRequest(filter=wanted), None):
        sessions += part.sessions
        gaps = gaps.union(part.gaps)
    yield _Part(sort_by(sessions, order.sort or (), session_field)[: order.limit], gaps)


async def _pages(
    client: CoreClient, request: ListSessionsRequest, limit: int | None
) -> AsyncIterator[_Part]:
    """Yield pages until they hold ``limit`` sessions, if there is a limit; read no more."""
    left = limit or _EVERY
    while True:
        request.page_size = min(left, _ALIGNED)
        page = await client.list_sessions(request)
        yield _Part(page.sessions, Gaps.of_response(page))
        left -= len(page.sessions)
        if left <= 0 or not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _document(link: str, data: Any, gaps: Gaps) -> Mapping[str, Any]:
    return {"links": {"self": link}, "data": data, **top_meta(gaps.meta())}


# Parts of gRPC's error texts, and what they mean to the user.
_UNREACHED = {
    "CERTIFICATE_VERIFY_FAILED": "has a certificate that no CA in --core-ca has issued",
    "handshake failed": "does not use TLS, which --core-ca requires",
    "Socket closed": "closes the connection; if it uses TLS, set --core-ca FILE",
    "Failed parsing HTTP/2": "does not use gRPC; --core must be the address of --grpc, not --http",
    "Domain name not found": "is not found: the host name cannot be resolved",
    "address lookup failed": "is not found: the host name cannot be resolved",
}


def _unreached(settings: LoginSettings, text: str) -> str:
    """Return why no core was reached, and what to do."""
    for sign, fault in _UNREACHED.items():
        if sign in text:
            return f"{settings.core_named} {fault}"
    return f"no core responds at {settings.cores_shown}; `sessiongate serve` starts one"
