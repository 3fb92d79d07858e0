"""The file of operators, and the claims that make one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sessiongate.runtime.auth.operators import (
    OperatorClaim,
    operator_claim,
    parse_claim,
    read_operators,
)
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.watched_file import FileError


def test_names_stand_one_on_a_line(tmp_path: Path) -> None:
    file = tmp_path / "operators"
    file.write_text("# dba\n\nalice\n  system:serviceaccount:ops  \njos\u00e9 p\n")
    assert read_operators(file) == {"alice", "system:serviceaccount:ops", "jos\u00e9 p"}
    file.write_text("")
    assert read_operators(file) == frozenset()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"alice\nbob:$2y$10$abc\n", "line 2: this is a line of a file for --users; write only"),
        (b"x" * 256, "line 1: a name must have at most 255 characters"),
        (b"a\x1b[2J", "line 1: a name must have at most 255 characters, all printable"),
        (b"\xff", "is not UTF-8"),
    ],
)
def test_a_wrong_line_is_named_and_not_repeated(content: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "operators"
    file.write_bytes(content)
    with pytest.raises(FileError, match=re.escape(said)) as caught:
        read_operators(file)
    assert "abc" not in str(caught.value)


def test_a_file_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "operators"
    file.write_text("alice")
    file.chmod(0o666)
    with pytest.raises(FileError, match=f"could become an operator; run chmod o-w {file}"):
        read_operators(file)


@pytest.mark.parametrize("text", ["groups=dba", "https://example/roles=a=b", "groups=a b"])
def test_a_claim_is_its_name_and_its_value(text: str) -> None:
    name, value = text.split("=", 1)
    assert parse_claim(operator_claim(text)) == OperatorClaim(name, value)


@pytest.mark.parametrize("text", ["", "groups", "=dba", "groups=", "my group=dba", "a=\n", 5])
def test_what_is_no_claim_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="must be NAME=VALUE, such as groups=dba"):
        operator_claim(text)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"operators": "f"}, "operators: requires --users, --token-key"),
        ({"operator_claim": ("a=b",), "users": "f"}, "operator_claim: requires --token-key"),
        ({"insecure_actions": True, "users": "f"}, "cannot be combined with credentials"),
        ({"insecure_actions": True, "token_key": "f"}, "cannot be combined with credentials"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    settings: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Protection(**settings)  # type: ignore[arg-type] # of any kind
