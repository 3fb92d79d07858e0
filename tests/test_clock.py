"""The machine's clock is set: what has changed is never said to be as it was."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.program import DATA, PATIENCE, Program
from tests.servers import require

HOUR = 3600


class Clock:
    """The clock of the programs that have its environment."""

    def __init__(self, file: Path) -> None:
        self._file = file
        folder = Path(require("faketime", "faketime")).resolve().parents[1] / "lib"
        [library] = folder.glob("*/faketime/libfaketimeMT.so.1")
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, seconds: int) -> None:
        """Set it to so many seconds ahead of this process' clock."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}s\n")
        new.rename(self._file)


class Served:
    """Sessions that the test makes, and a gateway of them."""

    def __init__(self, document: Path, http: httpx.Client) -> None:
        self._document = document
        self._http = http

    def change(self, user: str) -> None:
        """Make the sessions others, and wait until they are shown."""
        sessions = json.loads((DATA / "sessions.json").read_text())
        sessions["data"][0]["attributes"]["user"] = user
        new = self._document.with_suffix(".new")
        new.write_text(json.dumps(sessions))
        new.rename(self._document)
        until = time.monotonic() + PATIENCE
        while f'"user":"{user}"' not in self.get().text.replace(" ", ""):
            assert time.monotonic() < until

    def get(self, since: str = "") -> httpx.Response:
        headers = {"If-Modified-Since": since} if since else {}
        answer = self._http.get("/v1/sessions", headers=headers)
        assert answer.status_code in (200, 304), answer.text
        return answer

    def dated(self) -> str:
        """The date of the sessions, once it may be stated."""
        until = time.monotonic() + PATIENCE
        while (date := self.get().headers.get("last-modified")) is None:
            assert time.monotonic() < until
        return str(date)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture(params=["the gateway's too", "the core's alone"])
def served(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Served]:
    document = tmp_path / "sessions.json"
    document.write_text((DATA / "sessions.json").read_text())
    with ExitStack() as stack:
        core = ["core", "--grpc", "127.0.0.1:0", "--source", f"document:{document}?interval=0.1"]
        core += ["--ledger", "sqlite://"]
        program = stack.enter_context(Program(*core, **clock.environment))
        address = program.expect(r"listening on (\S+)")[1]
        faked = clock.environment if request.param == "the gateway's too" else {}
        gateway = ["serve", "--http", "127.0.0.1:0", "--core", address]
        shown = stack.enter_context(Program(*gateway, **faked)).expect(
            r"REST +http://(\S+)/v1/sessions$"
        )[1]
        http = httpx.Client(base_url=f"http://{shown}", timeout=PATIENCE, trust_env=False)
        yield Served(document, stack.enter_context(http))


def test_no_date_stands_for_two_states_when_the_clock_is_set_back(
    served: Served, clock: Clock
) -> None:
    served.change("first")
    dates = [served.dated()]
    assert served.get(since=dates[0]).status_code == 304
    clock.set(-HOUR)
    for user in ("second", "third", "fourth"):
        served.change(user)
        time.sleep(1.1)  # so that the second is over by the gateway's clock
        for date in dates:
            assert served.get(since=date).status_code == 200
        if date := served.get().headers.get("last-modified"):
            dates.append(date)
    clock.set(2)  # it has caught up
    assert served.get(since=dates[0]).status_code == 200
    served.change("fifth")
    date = served.dated()
    assert served.get(since=date).status_code == 304
    for earlier in dates:
        assert served.get(since=earlier).status_code == 200
