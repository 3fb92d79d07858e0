"""The users' file: how it is parsed, what is refused, how it is edited."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessiongate.runtime.auth import htpasswd
from sessiongate.runtime.auth.htpasswd import (
    Users,
    add_user,
    name_trouble,
    password_trouble,
    read_users,
    remove_user,
)
from sessiongate.runtime.watched_file import FileError

# A hash of "swordfish", with few rounds for the tests.
HASH = bcrypt.hashpw(b"swordfish", bcrypt.gensalt(4)).decode()


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(htpasswd, "COST", 4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users"


def test_users_are_read_past_comments_empty_lines_and_windows_ends(path: Path) -> None:
    path.write_bytes(f"# who\r\nalice:{HASH}\r\n\r\n  \nb ö b:{HASH}".encode())
    assert read_users(path) == {"alice": HASH.encode(), "b ö b": HASH.encode()}


def test_every_kind_of_bcrypt_is_read(path: Path) -> None:
    kinds = [HASH.replace("$2b$", kind) for kind in ("$2a$", "$2b$", "$2y$")]
    path.write_text("".join(f"user{n}:{kind}\n" for n, kind in enumerate(kinds)))
    assert all(bcrypt.checkpw(b"swordfish", each) for each in read_users(path).values())


def test_a_file_without_users_is_one(path: Path) -> None:
    path.touch()
    assert read_users(path) == {}


@pytest.mark.parametrize(
    ("line", "trouble"),
    [
        ("alice", "must be NAME:HASH with a bcrypt hash"),
        ("alice:", "must be NAME:HASH with a bcrypt hash"),
        ("alice:swordfish", "must be NAME:HASH with a bcrypt hash"),
        ("alice:$apr1$12345678$abcdefghijklmnopqrstuv", "must be NAME:HASH with a bcrypt hash"),
        (f"alice:{HASH} ", "must be NAME:HASH with a bcrypt hash"),
        (f"alice:{HASH}:x", "must be NAME:HASH with a bcrypt hash"),
        ("alice:" + HASH.replace("$04$", "$16$"), "cost must be from 4 to 15"),
        ("alice:" + HASH.replace("$04$", "$03$"), "cost must be from 4 to 15"),
        (f":{HASH}", "a name must not be empty"),
        (f" alice:{HASH}", "or have spaces around it"),
        (f"al\x1bice:{HASH}", "all printable"),
        (f"ok:{HASH}", "this user is listed twice"),
    ],
    ids=map(str, range(12)),  # the same in every process: a hash has its own salt
)
def test_a_bad_line_is_named_and_not_repeated(path: Path, line: str, trouble: str) -> None:
    path.write_text(f"ok:{HASH}\n{line}\n")
    with pytest.raises(FileError, match=rf"users, line 2: .*{trouble}") as refused:
        read_users(path)
    assert "swordfish" not in str(refused.value)
    assert HASH not in str(refused.value)


def test_bytes_that_are_no_text_are_refused(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match="users is not UTF-8"):
        read_users(path)


def test_a_new_file_is_its_owners_alone(path: Path) -> None:
    assert add_user(path, "alice", "swordfish") is True
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (hashed,) = read_users(path).values()
    assert hashed.startswith(b"$2y$04$")
    assert bcrypt.checkpw(b"swordfish", hashed)
    assert os.listdir(path.parent) == ["users"]


def test_adding_changes_one_line_and_keeps_the_rest(path: Path) -> None:
    path.write_text(f"# who\nalice:{HASH}\n\nbob:{HASH}\n")
    path.chmod(0o640)
    assert add_user(path, "alice", "new") is False
    lines = path.read_text().split("\n")
    assert lines[0] == "# who"
    assert lines[2:] == ["", f"bob:{HASH}", ""]
    assert bcrypt.checkpw(b"new", read_users(path)["alice"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert add_user(path, "carol", "x") is True
    assert list(read_users(path)) == ["alice", "bob", "carol"]


def test_removing_takes_one_line(path: Path) -> None:
    path.write_text(f"# who\nalice:{HASH}\nbob:{HASH}\n")
    assert remove_user(path, "alice") is True
    assert path.read_text() == f"# who\nbob:{HASH}\n"
    before = path.stat()
    assert remove_user(path, "alice") is False
    assert path.stat() == before
    assert remove_user(path, "bob") is True
    assert read_users(path) == {}


def test_what_a_link_points_to_is_edited(path: Path) -> None:
    link = path.parent / "link"
    link.symlink_to(path)
    path.touch()
    add_user(link, "alice", "x")
    assert link.is_symlink()
    assert list(read_users(path)) == ["alice"]


def test_a_file_that_cannot_be_edited_is_named(path: Path) -> None:
    with pytest.raises(FileError, match=r"users: no such file"):
        remove_user(path, "alice")
    with pytest.raises(FileError, match=r"absent/users cannot be edited: No such file"):
        add_user(path.parent / "absent" / "users", "alice", "x")


def test_an_edit_that_fails_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(f"alice:{HASH}\n")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(FileError, match="users cannot be edited: No space left"):
        add_user(path, "bob", "x")
    assert path.read_text() == f"alice:{HASH}\n"
    assert os.listdir(path.parent) == ["users"]


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("", "x"),
        ("a:b", "x"),
        ("#a", "x"),
        ("a\n", "x"),
        ("a", ""),
        ("a", "x" * 73),
        ("a", "ö" * 37),
    ],
)
def test_what_cannot_be_sent_or_read_is_not_added(path: Path, name: str, password: str) -> None:
    with pytest.raises(ValueError, match=r"^a (name|password) must"):
        add_user(path, name, password)
    assert not path.exists()


def test_edits_at_once_are_all_kept(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from sessiongate.runtime.auth import htpasswd; htpasswd.COST = 4;"
        "[htpasswd.add_user(Path(sys.argv[1]), f'{sys.argv[2]}{n}', 'x') for n in range(10)]"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, path, name]) for name in ("a", "b", "c")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert len(read_users(path)) == 30


names = st.text(max_size=300).filter(lambda text: not name_trouble(text))


@settings(max_examples=50)
@given(name=names, password=st.text(max_size=80).filter(lambda text: not password_trouble(text)))
def test_whatever_is_added_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, name: str, password: str
) -> None:
    path = tmp_path_factory.mktemp("users") / "users"
    add_user(path, name, password)
    ((read, hashed),) = read_users(path).items()
    assert read == name
    assert bcrypt.checkpw(password.encode(), hashed)


@given(st.binary(max_size=300))
def test_any_bytes_are_users_or_a_named_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "some-users"
    path.write_bytes(content)
    trouble = ""
    users: Users = {}
    try:
        users = read_users(path)
    except FileError as error:
        trouble = str(error)
    assert re.fullmatch(rf"({re.escape(str(path))}(, line [0-9]+: .+| is not UTF-8))?", trouble)
    assert all(not name_trouble(name) for name in users)
