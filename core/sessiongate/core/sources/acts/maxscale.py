"""Ends sessions of MaxScale, by its REST API.

A session is named by its id, which MaxScale gives once between its start and its end; when it
connected is compared just before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus

from sessiongate.core.sources.acting import ActError, ActFault, Strike, Target
from sessiongate.core.sources.base import SourceError, UnreadableError
from sessiongate.core.sources.support.endpoint import Endpoint
from sessiongate.core.sources.support.json_cursor import JsonCursor
from sessiongate.core.sources.support.jsonapi_sessions import read_session
from sessiongate.core.sources.support.rest import RestClient
from sessiongate.core.sources.support.serverzone import ServerZone
from sessiongate.core.sources.support.session_times import DocumentTimes
from sessiongate.core.sources.support.sessionlist import parse_json
from sessiongate.v1.session_pb2 import Session

_ANY_TIMES = DocumentTimes(0.0, ServerZone(None))  # a key has none
_GONE = "the session has ended"
_DONE = (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT)
_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


@asynccontextmanager
async def aim(endpoint: Endpoint, sessions: str, target: Target) -> AsyncIterator[Strike]:
    """Aim at a session: see `ActingSource`. ``sessions`` is the path of the list."""
    ident = target.item.key.partition(" ")[0]
    if not (ident.isascii() and ident.isalnum()):
        raise ActError(ActFault.UNSUPPORTED, "the session's id cannot be part of a URL")
    client, path = RestClient(endpoint), f"{sessions}/{ident}"
    try:
        try:
            body = await client.get(path, {})
        except SourceError as error:
            raise type(error)(f"{endpoint}: {error}") from None
        if body is None:
            raise ActError(ActFault.GONE, _GONE)
        try:
            now = read_session(JsonCursor(parse_json(body)).member("data"), _ANY_TIMES)
        except (SourceError, UnreadableError) as error:
            raise SourceError(f"{endpoint}: GET {path}: {error}") from None
        if now.key != target.item.key:
            raise ActError(ActFault.GONE, "the session has ended, and another one has its id")
        if _client(now.session) != _client(target.session):
            raise ActError(ActFault.CHANGED, "the session is another one now")
        yield partial(_strike, client, endpoint, path)
    finally:
        await client.close()


def _client(session: Session) -> tuple[str, str, int]:
    return session.user, session.remote, session.port


async def _strike(client: RestClient, endpoint: Endpoint, path: str) -> None:
    try:
        status = await client.delete(path)
    except SourceError as error:
        raise type(error)(f"{endpoint}: {error}") from None
    if status in _DONE:
        return
    answered = f"{endpoint}: DELETE {path} returned {status}"
    if status == HTTPStatus.NOT_FOUND:
        raise ActError(ActFault.GONE, _GONE)
    if status in _REFUSED:
        text = f"{answered}; create the user that acts with --type=admin"
        raise ActError(ActFault.REFUSED, text)
    if status in (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED):
        raise ActError(ActFault.UNSUPPORTED, f"{answered}: this version cannot end sessions")
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ActError(ActFault.REFUSED, answered)
    raise SourceError(answered)
