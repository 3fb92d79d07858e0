"""The callers beside an attack: they report whatever is not an answer, or not true."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.beside import Beside
from tests.program import DATA, PATIENCE, Forked, Serving


@pytest.fixture
def document(tmp_path: Path) -> Path:
    place = tmp_path / "sessions.json"
    place.write_bytes((DATA / "sessions.json").read_bytes())
    return place


@pytest.fixture
def serving(document: Path) -> Iterator[Serving]:
    with Forked("--source", f"document:{document}?interval=0.1") as found:
        yield found


def lose_the_first(document: Path, serving: Serving) -> None:
    """End session 1, and wait until it has gone."""
    found = json.loads(document.read_bytes())
    new = document.with_suffix(".new")
    new.write_text(json.dumps({"data": found["data"][1:]}))
    new.rename(document)
    with httpx.Client(base_url=f"http://{serving.http}", timeout=PATIENCE) as rest:
        while rest.get("/v1/sessions/1").status_code != 404:
            pass


def test_callers_tell_what_they_were_answered(document: Path, serving: Serving) -> None:
    with Beside(f"http://{serving.http}", serving.grpc) as beside:
        pass
    assert beside.totals == {3}
    assert beside.count().keys() == beside.p99().keys() == beside.slowest().keys()
    with Beside(f"http://{serving.http}", serving.grpc) as beside:
        lose_the_first(document, serving)
    assert {text.partition(":")[0] for text in beside.wrong()} == {
        "GetSession",
        "ListSessions",
        "/v1/sessions/1",
    }
    with pytest.raises(AssertionError, match="no session with id 1"):
        beside.slowest()
    with (
        pytest.raises(AssertionError, match="no first answer"),
        Beside(f"http://{serving.http}", serving.grpc),
    ):
        pass
