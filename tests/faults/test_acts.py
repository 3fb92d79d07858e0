"""Generated calls of a core that may act: they end what they name, and nothing else."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from google.protobuf.message import DecodeError

from sessiongate.v1.service_names import SESSION_ACTION_SERVICE
from sessiongate.v1.session_action_service_pb2 import TerminateSessionRequest
from tests.core.acting import acting
from tests.faults.calls import METHODS, Call, any_call, make
from tests.faults.scale import SEED, times
from tests.maxscale import RECORDED, MaxScale
from tests.polling import eventually

AT_ONCE = 50
SESSIONS = 20
ACTING = [path for path in METHODS if SESSION_ACTION_SERVICE in path]


@pytest.mark.long
def test_nothing_ends_that_no_call_names(tmp_path: Path) -> None:
    maxscale = MaxScale()
    one = json.loads(RECORDED)["data"][0]
    many = [{**one, "id": str(100 + number)} for number in range(SESSIONS)]
    maxscale.sessions = json.dumps({"data": many}).encode()

    def test(location: str) -> None:
        source = {"url": f"maxscale+http://a@{location}", "interval": 0.2, "password": "b"}
        source["actions"] = ["terminate"]
        with acting(tmp_path, source, max_actions=10**6) as core:
            ids = {session.native_id: session.id for session in core.client.sessions()}
            named: set[int] = set()
            rng = random.Random(SEED)
            for _ in range(0, times(500, 5000), AT_ONCE):
                calls = [any_call(rng, ACTING) for _ in range(AT_ONCE)]
                make(core.address, calls)
                for call in calls:
                    assert call.ended != "UNKNOWN", call
                    assert call.ended != "INTERNAL" or "the core failed" not in call.text, call
                    named |= {*_named(call)}

            def told() -> tuple[set[int], set[int], set[int]]:
                """Return who was ended, who no longer is there, and whose end was begun."""
                begun = (line for line in core.audit() if line["outcome"] == "begun")
                return (
                    {ids[native] for native in maxscale.ended},
                    {*ids.values()} - core.ids(),
                    {line["session"]["id"] for line in begun},
                )

            # Who gave up a call does not wait until its act is over, and its end is seen.
            ended, *_ = eventually(told, lambda found: found[0] == found[1] == found[2])
            assert ended
            assert ended <= named
            assert ended < {*ids.values()}

    async def main() -> None:
        async with maxscale.serving() as location:
            await asyncio.to_thread(test, location)

    asyncio.run(main())


def _named(call: Call) -> Iterator[int]:
    """Yield the ids that a call's messages may name."""
    if not dict(call.headers)[":path"].endswith("/TerminateSession"):
        return
    for start in range(len(call.data)):
        if call.data[start : start + 1] == b"\0":
            with suppress(DecodeError):
                length = int.from_bytes(call.data[start + 1 : start + 5])
                message = call.data[start + 5 : start + 5 + length]
                yield TerminateSessionRequest.FromString(message).id
