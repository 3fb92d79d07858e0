"""The measured paths, and the requests to each server on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from bench.stack import (
    AUTHORIZATION,
    BARE,
    ENVOY,
    ENVOY_PAGE,
    GATEWAY,
    GATEWAY_2,
    HELLO,
    SECURED,
    USER,
    Stack,
    Stage,
)

ONE = "one-session"
NOT_MODIFIED = "not-modified"
PAGE = "page-of-100"
FILTERED = "filtered-page"
ALL = "all"
PATHS = (ONE, NOT_MODIFIED, PAGE, FILTERED, ALL)

PAGE_SIZE = 100

# At other sizes, only the paths whose cost may depend on the size are measured.
FULL_SIZE = 10_000
SIZED = (PAGE, ALL)


@dataclass(frozen=True, slots=True)
class Question:
    """Requests, made in turn, whose responses together are the result of a path."""

    paths: Sequence[str]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def servers_of(path: str, stage: Stage) -> tuple[str, ...]:
    """Return the servers that are compared on a path."""
    compared = {
        ONE: (GATEWAY, GATEWAY_2, SECURED, ENVOY, BARE, HELLO),
        NOT_MODIFIED: (GATEWAY, GATEWAY_2, BARE),
        PAGE: (GATEWAY, GATEWAY_2, ENVOY, BARE),
        FILTERED: (GATEWAY, GATEWAY_2, ENVOY),
        ALL: (GATEWAY, GATEWAY_2, ENVOY, BARE),
    }[path]
    if stage.churning:
        return tuple(name for name in compared if name in (GATEWAY, GATEWAY_2, ENVOY))
    if stage.sessions != FULL_SIZE:
        return tuple(name for name in compared if name in (GATEWAY, ENVOY))
    return compared


def paths_of(stage: Stage) -> tuple[str, ...]:
    """Return the paths that are measured at a stage."""
    if stage.sessions != FULL_SIZE:
        return SIZED
    return PATHS


def question(path: str, server: str, stack: Stack) -> Question:
    """Return the requests to a server. On NOT_MODIFIED, add a validator to the headers."""
    if server == HELLO:
        return Question(["/hello"])
    status = 304 if path == NOT_MODIFIED else 200
    if server == BARE:
        return Question([f"/{path}"], status)
    if server == ENVOY:
        return _of_envoy(path, stack)
    queries: dict[str, dict[str, object]] = {
        PAGE: {"page[size]": PAGE_SIZE},
        FILTERED: {"filter": f'/attributes/user="{USER}"', "page[size]": PAGE_SIZE},
        ALL: {},
    }
    headers = {"Authorization": AUTHORIZATION} if server == SECURED else {}
    return Question([_path(queries.get(path), stack)], status, headers)


def _of_envoy(path: str, stack: Stack) -> Question:
    if path == ALL:
        pages = [{"page_size": ENVOY_PAGE, "page_token": token} for token in stack.tokens]
        return Question([_path(page, stack) for page in pages])
    queries: dict[str, dict[str, object]] = {
        PAGE: {"page_size": PAGE_SIZE},
        FILTERED: {"filter.users": USER, "page_size": PAGE_SIZE},
    }
    return Question([_path(queries.get(path), stack)])


def _path(query: Mapping[str, object] | None, stack: Stack) -> str:
    """Return the collection's path with a query; for None, that of the session that stays."""
    if query is None:
        return f"/v1/sessions/{stack.steady}"
    return f"/v1/sessions?{urlencode(query, quote_via=quote)}" if query else "/v1/sessions"
