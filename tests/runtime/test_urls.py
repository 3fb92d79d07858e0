"""URLs of sources and ledgers, and which parts of a text an error may repeat."""

from __future__ import annotations

import re

import pytest

from sessiongate.runtime.urls import Url, UrlError, harmless, ledger_file


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("host:", "host"),
        ("document:/srv/a%20b/sessions.json", "sessions.json"),
        ("document:/home/ann@example/sessions.json", "sessions.json"),
        ("haproxy:/run/haproxy%40one.sock", "haproxy@one.sock"),
        ("postgresql://app:secret@db1:5432/postgres", "db1:5432"),
        ("postgresql://app:s[cret@db1", "db1"),
        ("postgresql://app@[::1]:5432", "[::1]:5432"),
        ("postgresql://app@%2Frun%2Fpg:5433", "%2Frun%2Fpg:5433"),
        # No name is shown if a password may be in its place.
        ("postgresql://app:secret", "postgresql"),
        ("postgresql://app:secret/db", "postgresql"),
        ("postgresql://app%3Asecret", "postgresql"),
        ("postgresql://app:secret@", "postgresql"),
        ("postgresql://app@db:port", "postgresql"),
        ("postgresql:/secret@db1", "db1"),
    ],
)
def test_a_name_is_never_taken_from_where_a_password_may_stand(url: str, name: str) -> None:
    assert Url.parse(url).name == name


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:sec#ret@db1",
        "postgresql://app:sec/ret@db1",
        "postgresql://app:sec?ret@db1",
        "postgresql://app:sec?r=et@db1",
        "postgresql:/app:secret@db1",
        "postgresql:app:secret@db1",
        "postgresql:app:secret",
        "postgresql//app:secret@db1",
        "app:secret@db1",
        "secret@db1",
        ":secret@db1",
        "postgresql://app@db1?interval=5password=secret",
        "postgresql://app@db1?name=x;password=secret",
        "postgresql://app@db1?password=sec&ret",
        "postgresql://app@db1?password=s&et=1&et=2",
    ],
)
def test_what_is_refused_is_not_repeated(url: str) -> None:
    with pytest.raises(UrlError) as caught:
        Url.parse(url)
    assert not re.search(r"sec|ret|et'|app|db1", str(caught.value).replace("secret", ""))


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite://", None),
        ("sqlite:///", None),
        ("sqlite:///:memory:", None),
        ("sqlite:///ledger.db", "ledger.db"),
        ("sqlite+pysqlite:////var/lib/ledger.db", "/var/lib/ledger.db"),
        ("sqlite:////home/ann@example/ledger.db", "/home/ann@example/ledger.db"),
        ("sqlite:////srv/a%20b#c.db", "/srv/a%20b#c.db"),
    ],
)
def test_a_ledger_is_a_file_or_in_memory(url: str, path: str | None) -> None:
    assert ledger_file(url) == path


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:hunter2@db1",
        "postgresql://app:hunter2",
        "sqlite://app:hunter2@db1/ledger.db",
        "sqlite://app:hunter2",
        "sqlite:///app:hunter2@db1/ledger.db",
        "sqlite:////app:hunter2@db1/ledger.db",
        "sqlite:/app:hunter2@db1",
        "sqlite:///ledger.db?password=hunter2",
        "app:hunter2@db1",
        "app:hunter2/x",
        "hunter2:/x",
    ],
)
def test_what_is_no_ledger_is_not_repeated(url: str) -> None:
    with pytest.raises(UrlError) as caught:
        ledger_file(url)
    assert "hunter2" not in str(caught.value)


def test_what_may_hold_a_password_is_not_harmless() -> None:
    plain = ("127.0.0.1:x", "localhost:http", "http://[::1]:80/x", "https://h:1?a", "a b", 5)
    for value in plain:
        assert harmless(value), value
    secrets = (
        "app:pw@h",
        "https://app:pw",
        "http:/app:pw/x",
        "https://h?token=x",
        ["a@b"],
        "Password: x",
    )
    for text in secrets:
        assert not harmless(text), text
