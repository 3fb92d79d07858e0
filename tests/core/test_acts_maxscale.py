"""Acting on the sessions of a MaxScale, by its REST API as recorded."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable

import pytest

from sessiongate.core.sources.base import ActFault, Action, SourceConfig, SourceError, Target
from sessiongate.core.sources.maxscale import MaxScaleSource, open_source
from tests.core.acting import struck
from tests.maxscale import MaxScale

LOGIN = {"action_user": "ann", "action_password": "swordfish"}


def run(test: Callable[[MaxScale, MaxScaleSource, Target], Awaitable[None]]) -> MaxScale:
    """Run a test with the first session that is shown as its target."""
    maxscale = MaxScale()

    async def main() -> None:
        async with maxscale.serving() as location:
            options = {"password": "look", "actions": "terminate", **LOGIN}
            config = SourceConfig.parse(f"maxscale+http://reader@{location}", options)
            source = open_source(config)
            try:
                observation = await source.observe()
                item = observation.sessions[0]
                await test(maxscale, source, Target(item, item.session, observation.incarnation))
            finally:
                await source.close()

    asyncio.run(main())
    return maxscale


def test_a_session_is_ended_by_its_id_and_by_another_user() -> None:
    async def test(maxscale: MaxScale, source: MaxScaleSource, target: Target) -> None:
        assert await struck(source, Action.TERMINATE, target) is None
        assert maxscale.ended == [target.session.native_id]
        look, act = maxscale.requests[-2:]
        assert (look.method, act.method) == ("GET", "DELETE")
        assert act.path == f"/v1/sessions/{target.session.native_id}"
        login = base64.b64encode(b"ann:swordfish").decode()
        assert {each.headers["Authorization"] for each in (look, act)} == {f"Basic {login}"}
        assert await struck(source, Action.TERMINATE, target) is ActFault.GONE
        assert maxscale.requests[-1].method == "GET"

    run(test)


@pytest.mark.parametrize(
    ("member", "value", "fault"),
    [
        ("connected", "Mon, 23 Nov 2026 18:31:05 GMT", ActFault.GONE),
        ("user", "another", ActFault.CHANGED),
        ("remote", "192.0.2.1", ActFault.CHANGED),
    ],
)
def test_an_id_that_is_another_sessions_by_now_hits_nobody(
    member: str, value: str, fault: ActFault
) -> None:
    async def test(maxscale: MaxScale, source: MaxScaleSource, target: Target) -> None:
        document = json.loads(maxscale.sessions or b"")
        (changed,) = (one for one in document["data"] if one["id"] == target.session.native_id)
        changed["attributes"][member] = value
        maxscale.sessions = json.dumps(document).encode()
        assert await struck(source, Action.TERMINATE, target) is fault
        assert maxscale.ended == []

    run(test)


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (200, None),
        (202, None),
        (400, ActFault.REFUSED),
        (401, ActFault.REFUSED),
        (403, ActFault.REFUSED),
        (404, ActFault.GONE),
        (405, ActFault.UNSUPPORTED),
        (501, ActFault.UNSUPPORTED),
    ],
)
def test_what_maxscale_answers_is_what_has_become_of_it(
    status: int, fault: ActFault | None
) -> None:
    async def test(maxscale: MaxScale, source: MaxScaleSource, target: Target) -> None:
        maxscale.deletion = status
        assert await struck(source, Action.TERMINATE, target) is fault

    run(test)


def test_after_an_error_of_the_server_nothing_is_certain() -> None:
    async def test(maxscale: MaxScale, source: MaxScaleSource, target: Target) -> None:
        maxscale.deletion = 503
        async with source.aim(Action.TERMINATE, target) as strike:
            with pytest.raises(SourceError, match="returned 503"):
                await strike()
        maxscale.status = 401
        with pytest.raises(SourceError, match=r"GET \S+ returned 401"):
            await struck(source, Action.TERMINATE, target)

    run(test)
