"""``document:PATH`` over real files: what it shows, when it reads, how it reports a bad one."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.core.sources.base import (
    Observation,
    Source,
    SourceConfig,
    SourceConfigError,
    SourceError,
    open_source,
)
from sessiongate.core.sources.document import MAX_DOCUMENT_BYTES, DocumentSource

DATA = Path(__file__).parent.parent / "data"
SESSIONS = (DATA / "sessions.json").read_bytes()
LONG_AGO = 1_495_015_595_000_000_000  # ns: so long ago that a file is not being written to


@contextmanager
def opened(url: str) -> Iterator[Source]:
    source = open_source(SourceConfig.parse(url))
    try:
        yield source
    finally:
        asyncio.run(source.close())


def observe(source: Source) -> Observation:
    return asyncio.run(source.observe())


def refusal(source: Source) -> str:
    with pytest.raises(SourceError) as raised:
        observe(source)
    return str(raised.value)


def write(path: Path, content: bytes, modified: int = LONG_AGO) -> None:
    """Write in place: the same file, with a time of modification that reveals nothing."""
    path.write_bytes(content)
    os.utime(path, ns=(modified, modified))


def in_a_while() -> int:
    """Return a time by which everything written until now is settled."""
    return time.time_ns() + 10_000_000_000


@contextmanager
def unread(path: Path) -> Iterator[None]:
    """Fail if the file is opened meanwhile. Every opening by this process is noted."""
    opened: list[object] = []
    _watching.append(opened)
    yield
    _watching.remove(opened)
    assert str(path) not in map(str, opened)


_watching: list[list[object]] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open":
        for opened in _watching:
            opened.append(arguments[0])


sys.addaudithook(_note)


def services(observation: Observation) -> list[str]:
    return [item.session.service for item in observation.sessions]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.json"


def test_the_reference_texts_sessions_come_as_they_are() -> None:
    with opened(f"document:{quote(str(DATA / 'sessions.json'))}") as source:
        observation = observe(source)
    assert services(observation) == ["RW-Split-Router", "Read-Connection-Router", "CLI"]
    assert observation.incarnation is None
    for item in observation.sessions:
        assert not item.session.id
    assert [item.stated_id for item in observation.sessions] == [1, 2, 3]


@pytest.mark.parametrize(
    ("ident", "kept"),
    [
        ("57", 57),
        ("9007199254740991", 2**53 - 1),
        ("9007199254740992", None),
        ("99999999999999999999", None),
        ("0", None),
        ("01", None),
        ("-1", None),
        ("1.0", None),
        ("1e3", None),
        (" 1", None),
        ("\u0661", None),
        ("abc", None),
    ],
)
def test_an_id_is_to_be_kept_if_it_is_one_of_ours(path: Path, ident: str, kept: int | None) -> None:
    session = json.loads((DATA / "session_1.json").read_bytes())
    session["data"]["id"] = ident
    write(path, json.dumps(session).encode())
    with opened(f"document:{path}") as source:
        (item,) = observe(source).sessions
    assert item.stated_id == kept
    assert item.session.native_id == ident


def test_a_session_that_cannot_be_read_costs_itself(path: Path) -> None:
    document = json.loads(SESSIONS)
    document["data"][1]["id"] = 5
    document["data"][2]["attributes"]["port"] = "SECRET"
    write(path, json.dumps(document).encode())
    with opened(f"document:{path}") as source:
        observation = observe(source)
        assert observe(source) is observation
    assert services(observation) == ["RW-Split-Router", "CLI"]
    (lost,) = observation.unreadable
    assert lost.text == "/data/1/id: expected a string, found a number"
    (part,) = observation.sessions[1].unreadable
    assert part.text == "/data/2/attributes/port: expected an integer, found a string"


def test_local_times_are_of_the_zone_that_is_configured(path: Path) -> None:
    write(path, SESSIONS)
    starts = []
    for option in ("", "?timezone=UTC", "?timezone=Europe/Helsinki"):
        with opened(f"document:{path}{option}") as source:
            starts.append(observe(source).sessions[0].session.connect_time.seconds)
    assert starts == [1495015595, 1495015595, 1495015595 - 3 * 3600]


def test_the_path_is_relative_and_percent_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "what? 100%.json", SESSIONS)
    with opened("document:what%3F%20100%25.json") as source:
        monkeypatch.chdir("/")
        assert len(observe(source).sessions) == 3


def test_idle_counts_back_from_when_the_file_was_modified(path: Path) -> None:
    write(path, (DATA / "maxscale-24.02/session_one.json").read_bytes())
    with opened(f"document:{path}") as source:
        (item,) = observe(source).sessions
    assert item.session.last_active_time.ToNanoseconds() == LONG_AGO - 95_500_000_000


@pytest.mark.parametrize(
    ("option", "count"), [("", 0), ("?statements=false", 0), ("?statements=true", 1)]
)
def test_statements_are_read_only_where_configured(path: Path, option: str, count: int) -> None:
    query = b'"queries": [{"statement": "SELECT 1", "received": "2017-05-17T10:06:36.000"}]'
    session = (DATA / "session_1.json").read_bytes()
    write(path, session.replace(b'"state":', query + b', "state":'))
    with opened(f"document:{path}{option}") as source:
        (item,) = observe(source).sessions
    assert len(item.session.queries) == count


def test_a_file_that_has_not_changed_is_not_read_again(path: Path) -> None:
    write(path, SESSIONS)
    source = DocumentSource(str(path), statements=False, now=in_a_while)
    first = observe(source)
    with unread(path):
        assert observe(source) is first
    write(path, b"{")
    refused = refusal(source)
    with unread(path):
        assert refusal(source) == refused


def test_a_file_edited_in_place_is_read_though_its_size_and_time_are_kept(path: Path) -> None:
    write(path, SESSIONS)
    source = DocumentSource(str(path), statements=False, now=in_a_while)
    assert services(observe(source))[-1] == "CLI"
    write(path, SESSIONS.replace(b"CLI", b"ILC"))
    assert services(observe(source))[-1] == "ILC"


def test_a_file_written_to_just_now_is_read_again(path: Path) -> None:
    write(path, SESSIONS)
    with opened(f"document:{path}") as source:
        first = observe(source)
        assert observe(source) is first, "what it holds is the same"
        write(path, SESSIONS.replace(b"CLI", b"ILC"))
        assert services(observe(source))[-1] == "ILC"


def test_a_document_changes_breaks_and_heals(path: Path) -> None:
    with opened(f"document:{path}") as source:
        assert refusal(source) == f"{path}: no such file"
        write(path, SESSIONS)
        assert len(observe(source).sessions) == 3
        write(path, (DATA / "session_1.json").read_bytes())
        assert len(observe(source).sessions) == 1
        write(path, SESSIONS[:-1])
        assert refusal(source).startswith(f"{path}: not JSON: line 79, column 1: ")
        write(path, SESSIONS)
        assert len(observe(source).sessions) == 3
        path.unlink()
        assert refusal(source) == f"{path}: no such file"
        path.symlink_to(path)
        assert refusal(source) == f"{path} cannot be read: Too many levels of symbolic links"
        path.unlink()
        write(path, SESSIONS)
        assert len(observe(source).sessions) == 3


def test_a_file_put_in_its_place_is_read(path: Path, tmp_path: Path) -> None:
    write(path, SESSIONS)
    with opened(f"document:{path}") as source:
        observe(source)
        write(tmp_path / "new", SESSIONS.replace(b"CLI", b"ILC"))
        (tmp_path / "new").rename(path)
        assert services(observe(source))[-1] == "ILC"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON: line 1, column 1: Expecting value"),
        (b'{\n  "data": [\n  }', "not JSON: line 3, column 3: Expecting value"),
        (b"{} {}", "not JSON: line 1, column 4: Extra data"),
        (b"\xff\xff", "not JSON: line 1, column 1: Expecting value"),
        (b"[" * 100_000, "not JSON: line 1, column 1: Expecting value"),
        (
            b'{"data": ' + b"9" * 5000 + b"}",
            "/data: expected an array or an object, found a number",
        ),
        (b'{"data": NaN}', "/data: expected an array or an object, found a number"),
        (b"[]", "the document: expected an object, found an array"),
    ],
)
def test_an_error_names_the_file_and_the_place(path: Path, content: bytes, message: str) -> None:
    write(path, content)
    with opened(f"document:{path}") as source:
        assert refusal(source).startswith(f"{path}: {message}")


def test_a_file_that_is_too_large_is_not_read(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_DOCUMENT_BYTES + 1)
    with opened(f"document:{path}") as source:
        assert refusal(source) == f"{path} is larger than 64 MiB"


def test_only_a_file_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, kind in ((pipe, "a FIFO, not a regular file"), (tmp_path, "a folder, not a file")):
        with opened(f"document:{path}") as source:
            assert refusal(source) == f"{path} is {kind}"


def test_a_file_that_may_not_be_read_is_named(path: Path) -> None:
    write(path, SESSIONS)
    path.chmod(0)
    with opened(f"document:{path}") as source:
        with _nobody():
            assert refusal(source) == f"{path} cannot be read by user 65534: permission denied"
        path.chmod(stat.S_IRUSR)
        assert len(observe(source).sessions) == 3


@contextmanager
def _nobody() -> Iterator[None]:
    """Become another user if this is root, who may read every file."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_name_in_any_bytes_can_be_told(tmp_path: Path) -> None:
    with opened(f"document:{tmp_path}/%FF") as source:
        assert refusal(source) == f"{tmp_path}/\\xff: no such file"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("document:", r"source document: the URL must be document:PATH"),
        ("document:a%00b", r"source document: it must not contain %00: .*"),
        ("document:a?statements=yes", r"source a: statements must be true or false, got 'yes'"),
        (
            "document:a?timezone=Mars/Base",
            r"source a: timezone must be AREA/CITY.*, got 'Mars/Base'",
        ),
        (
            "document:a?state=true",
            r"source document: unknown option 'state'; .* statements, timezone; .*",
        ),
    ],
)
def test_a_wrong_configuration_is_refused(url: str, message: str) -> None:
    with pytest.raises(SourceConfigError, match=f"^{message}$"):
        open_source(SourceConfig.parse(url))


@given(cut=st.integers(0, len(SESSIONS)), inserted=st.binary(max_size=4))
def test_any_content_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, cut: int, inserted: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    write(path, SESSIONS[:cut] + inserted + SESSIONS[cut:])
    with opened(f"document:{path}") as source:
        try:
            observation = observe(source)
            count = len(observation.sessions) + len(observation.unreadable)
        except SourceError:
            count = 3
    assert count == 3
