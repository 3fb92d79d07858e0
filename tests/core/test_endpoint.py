"""The locations of networked sources: how they are parsed, and that they reveal no secret."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from pathlib import Path

import pytest

from sessiongate.core.sources.base import SourceConfig, SourceConfigError, SourceError, open_source
from sessiongate.core.sources.support import endpoint as module
from sessiongate.core.sources.support.endpoint import Endpoint, Tls, flag

SECRET = "tr:e/a@s?ure"
ENCODED = "tr%3Ae%2Fa%40s%3Fure"


def endpoint(url: str, **options: str) -> Endpoint:
    return Endpoint.of(SourceConfig.parse(url, {"name": "here", **options}), port=5432)


@pytest.mark.parametrize(
    ("location", "host", "port", "user", "path", "shown"),
    [
        ("//db1", "db1", 5432, None, "", "db1:5432"),
        ("//db1/", "db1", 5432, None, "", "db1:5432"),
        ("//ann@db1:6000/shop", "db1", 6000, "ann", "shop", "db1:6000"),
        ("//a%40b:x@192.0.2.1/a%2Fb", "192.0.2.1", 5432, "a@b", "a/b", "192.0.2.1:5432"),
        ("//[2001:db8::1]:6000", "2001:db8::1", 6000, None, "", "[2001:db8::1]:6000"),
        ("//[fe80::1%25eth0]", "fe80::1%eth0", 5432, None, "", "[fe80::1%eth0]:5432"),
        ("//ann@%2Frun%2Fpostgresql/shop", "/run/postgresql", 5432, "ann", "shop", None),
    ],
)
def test_a_location_is_taken_apart(
    location: str, host: str, port: int, user: str | None, path: str, shown: str | None
) -> None:
    found = endpoint(f"kind:{location}")
    assert (found.host, found.port, found.user, found.path) == (host, port, user, path)
    assert str(found) == (shown or host)
    assert found.is_unix == host.startswith("/")


@pytest.mark.parametrize(
    ("location", "complaint"),
    [
        ("db1", "does not start with //"),
        ("//", "HOST:PORT"),
        (f"//{SECRET}@:5432", "HOST:PORT"),
        ("//ann:treasure@db1:port", "HOST:PORT"),
        ("//ann:treasure/ure@db1", "HOST:PORT"),
        ("//ann:treasure@db1:65536", "1 to 65535"),
        ("//ann:treasure@db1:0", "1 to 65535"),
        ("//ann:treasure@[db1]", "IPv6"),
        ("//ann:treasure@[192.0.2.1]", "IPv6"),
        ("//ann:treasure@d b", "is not a name"),
    ],
)
def test_a_wrong_location_is_named_without_being_shown(location: str, complaint: str) -> None:
    config = SourceConfig(kind="kind", location=location, name="here")
    with pytest.raises(SourceConfigError, match=f"source here: .*{complaint}") as caught:
        Endpoint.of(config, port=5432)
    assert "treasure" not in str(caught.value)
    assert "a@s" not in str(caught.value)


def test_the_password_comes_from_the_url(tmp_path: Path) -> None:
    found = endpoint(f"kind://ann:{ENCODED}@db1")
    assert found.password() == SECRET
    assert SECRET not in f"{found!r} {found}"


def test_the_password_comes_from_an_option() -> None:
    found = endpoint("kind://ann@db1", password=SECRET)
    assert found.password() == SECRET
    assert SECRET not in f"{found!r} {found}"


def test_no_password_is_not_an_empty_one() -> None:
    assert endpoint("kind://ann@db1").password() is None
    assert endpoint("kind://ann:@db1").password() == ""


def test_the_password_file_is_read_each_time(tmp_path: Path) -> None:
    path = tmp_path / "password"
    found = endpoint("kind://ann@db1", password_file=str(path))
    with pytest.raises(SourceError, match=re.escape(f"{path}: no such file")):
        found.password()
    path.write_text(f"{SECRET}\n")
    assert found.password() == SECRET
    path.write_text("other ")
    assert found.password() == "other "
    path.write_bytes(b"\xff")
    with pytest.raises(SourceError, match=re.escape(f"password_file: {path} is not UTF-8")):
        found.password()
    path.write_bytes(b"x" * (64 * 1024 + 1))
    with pytest.raises(SourceError, match=re.escape(f"{path} is larger than 64 KiB")):
        found.password()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SourceError, match=re.escape(f"password_file: {path} is a FIFO, not a reg")):
        found.password()


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("kind://ann:one@db1", {"password": "two"}),
        ("kind://ann:one@db1", {"password_file": "two"}),
        ("kind://ann@db1", {"password": "one", "password_file": "two"}),
    ],
)
def test_two_passwords_are_one_too_many(url: str, options: dict[str, str]) -> None:
    with pytest.raises(SourceConfigError, match="more than one password"):
        endpoint(url, **options)


@pytest.mark.parametrize(
    ("host", "options", "expected"),
    [
        ("db1", {}, Tls(None)),
        ("192.0.2.1", {}, Tls(None)),
        ("192.0.2.1", {"tls": "off"}, None),
        ("localhost", {}, None),
        ("127.0.0.1", {}, None),
        ("[::1]", {}, None),
        ("%2Frun%2Fdb", {}, None),
        ("localhost", {"tls": "verify"}, Tls(None)),
        ("db1", {"tls_ca": "ca.pem"}, Tls(Path("ca.pem"))),
    ],
)
def test_all_but_this_machine_is_spoken_to_in_tls(
    host: str, options: dict[str, str], expected: Tls | None
) -> None:
    assert endpoint(f"kind://{host}", **options).tls == expected


@pytest.mark.parametrize(
    ("host", "options", "complaint"),
    [
        ("db1", {"tls": "require"}, "tls must be verify or off, got 'require'"),
        ("db1", {"tls": "off", "tls_ca": "ca.pem"}, "tls_ca"),
        ("localhost", {"tls_ca": "ca.pem"}, "tls_ca"),
        ("%2Frun%2Fdb", {"tls": "verify"}, "Unix socket"),
    ],
)
def test_tls_that_cannot_be_is_refused(host: str, options: dict[str, str], complaint: str) -> None:
    with pytest.raises(SourceConfigError, match=complaint):
        endpoint(f"kind://{host}", **options)


def test_a_scheme_may_decide_on_tls() -> None:
    config = SourceConfig.parse("kind://db1")
    assert Endpoint.of(config, port=1, tls=False).tls is None
    config = SourceConfig.parse("kind://localhost")
    assert Endpoint.of(config, port=1, tls=True).tls == Tls(None)


def test_a_file_that_holds_no_certificate_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    tls = Tls(path)
    for said in ("ca.pem: no such file", "ca.pem is a FIFO, not a regular file"):
        if "FIFO" in said:
            os.mkfifo(path)
        for read in (tls.context, tls.ca_file):
            with pytest.raises(SourceError, match=re.escape(f"tls_ca: {tmp_path}/{said}")):
                read()
    path.unlink()
    path.write_text("none")
    with pytest.raises(SourceError, match=re.escape(f"{path} contains no PEM certificate")):
        tls.context()


def test_a_flag_is_true_or_false() -> None:
    assert flag(SourceConfig.parse("kind://db1?loud=true"), "loud")
    assert not flag(SourceConfig.parse("kind://db1?loud=false"), "loud")
    assert not flag(SourceConfig.parse("kind://db1"), "loud")
    with pytest.raises(SourceConfigError, match="loud must be true or false, got 'yes'"):
        flag(SourceConfig.parse("kind://db1?loud=yes"), "loud")


@pytest.mark.parametrize("kind", ["postgresql", "mariadb", "maxscale+https"])
@pytest.mark.parametrize("option", ["password_file", "tls_ca"])
def test_a_file_that_hangs_holds_up_no_other_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, option: str
) -> None:
    monkeypatch.setattr(module, "_FILE_TIMEOUT", 0.5)
    answers = threading.Event()

    def hang(_path: Path, _most: int) -> bytes:
        answers.wait()
        return b""

    monkeypatch.setattr(module, "read_file", hang)
    tls = "" if kind == "maxscale+https" else "&tls=verify"
    text = f"{kind}://ann@127.0.0.1:1/?{option}={tmp_path}/file{tls}"

    async def main() -> int:
        source = open_source(SourceConfig.parse(text))
        observing = asyncio.create_task(source.observe())
        turns = 0
        while not observing.done():
            await asyncio.sleep(0.01)
            turns += 1
        with pytest.raises(
            SourceError, match=f"{option}: {tmp_path}/file: the file system does not"
        ):
            await observing
        await source.close()
        return turns

    assert asyncio.run(main()) > 1, "the loop went on"
    answers.set()
