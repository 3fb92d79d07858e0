"""The machine's clock is set: what has changed is never reported as unchanged."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import httpx
import pytest

from tests.clocks import OwnClock
from tests.polling import eventually
from tests.program import DATA, PATIENCE, ForkedProgram

pytestmark = pytest.mark.long

HOUR = 3600


class Served:
    """Sessions that the test makes, and a gateway of them."""

    def __init__(self, document: Path, http: httpx.Client) -> None:
        self._document = document
        self._http = http

    def change(self, user: str) -> None:
        """Change the sessions, and wait until the change is shown."""
        sessions = json.loads((DATA / "sessions.json").read_text())
        sessions["data"][0]["attributes"]["user"] = user
        new = self._document.with_suffix(".new")
        new.write_text(json.dumps(sessions))
        new.rename(self._document)
        eventually(lambda: f'"user":"{user}"' in self.get().text.replace(" ", ""))

    def get(self, since: str = "") -> httpx.Response:
        headers = {"If-Modified-Since": since} if since else {}
        answer = eventually(
            lambda: self._http.get("/v1/sessions", headers=headers),
            lambda answer: answer.status_code not in (503, 504),  # the core is starting
        )
        assert answer.status_code in (200, 304), answer.text
        return answer

    def dated(self) -> str:
        """Return the date of the sessions, once it may be stated."""
        return str(eventually(lambda: self.get().headers.get("last-modified")))

    def await_unchanged(self, date: str) -> None:
        """Wait until they are said not to have changed since a date that was stated.

        A gateway that gets no CPU for a while knows that only once the core says so again.
        """
        eventually(lambda: self.get(since=date).status_code, lambda status: status == 304)


@pytest.fixture
def clock(tmp_path: Path) -> OwnClock:
    return OwnClock(tmp_path / "clock")


@pytest.fixture
def document(tmp_path: Path) -> Path:
    document = tmp_path / "sessions.json"
    document.write_text((DATA / "sessions.json").read_text())
    return document


@pytest.fixture
def core(tmp_path: Path, document: Path) -> Sequence[str]:
    """Return the command of a core with its own address, which nobody takes between two starts."""
    source = f"document:{document}?interval=0.1"
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    return "core", "--grpc", f"unix:{tmp_path}/core.sock", "--source", source, "--ledger", ledger


@contextmanager
def running(core: Sequence[str], clock: OwnClock) -> Iterator[None]:
    """Run a core that listens, by a clock."""
    with ForkedProgram(*core, **clock.environment) as program:
        program.expect("listening on")
        yield


@contextmanager
def served(
    core: Sequence[str], document: Path, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Served]:
    command = "serve", "--http", "127.0.0.1:0", "--core", core[2]
    with ForkedProgram(*command, **environment) as gateway:
        address = gateway.expect(r"REST +http://(\S+)/v1/sessions$")[1]
        with httpx.Client(base_url=f"http://{address}", timeout=PATIENCE, trust_env=False) as http:
            yield Served(document, http)


@pytest.mark.parametrize("everywhere", [True, False], ids=["everywhere", "at the core"])
def test_no_date_stands_for_two_states_when_the_clock_is_set_back(
    core: Sequence[str], document: Path, clock: OwnClock, *, everywhere: bool
) -> None:
    environment = clock.environment if everywhere else {}
    with (
        running(core, clock),
        served(core, document, environment) as sessions,
    ):
        sessions.change("first")
        dates = [sessions.dated()]
        sessions.await_unchanged(dates[0])
        clock.set(-HOUR)
        for user in ("second", "third", "fourth"):
            sessions.change(user)
            time.sleep(1.1)  # so that the second is over by the gateway's clock
            for date in dates:
                assert sessions.get(since=date).status_code == 200
            if date := sessions.get().headers.get("last-modified"):
                dates.append(date)
        clock.set(2)  # it has caught up
        assert sessions.get(since=dates[0]).status_code == 200
        sessions.change("fifth")
        date = sessions.dated()
        sessions.await_unchanged(date)
        for earlier in dates:
            assert sessions.get(since=earlier).status_code == 200


def test_a_core_that_starts_again_knows_that_the_clock_was_set_back(
    core: Sequence[str], document: Path, clock: OwnClock
) -> None:
    with served(core, document) as sessions:
        with running(core, clock):
            sessions.change("first")
            date = sessions.dated()
        clock.set(-HOUR)
        with running(core, clock):
            sessions.change("second")
            time.sleep(2.5)  # so that the second is over, and the gateway knows it
            assert sessions.get(since=date).status_code == 200
            clock.set(5)
            sessions.change("third")
            assert sessions.dated() != date
            assert sessions.get(since=date).status_code == 200
