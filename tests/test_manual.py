"""The pages of the manual: complete, and without fault to the programs that show them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from sessiongate.gateway.cli.manual.pages import pages
from sessiongate.gateway.cli.manual.roff import in_bold, in_words
from sessiongate.gateway.cli.settings_file import settings
from sessiongate.runtime.exit_codes import ASKING, SERVING
from tests.program import BIN, PATIENCE, environment
from tests.servers import require
from tests.snippets import texts
from tests.test_help import COMMANDS, ROOT

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@cache
def written_pages() -> Mapping[str, str]:
    return pages("2017-05-17")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], str]:
    """Type the documented lines; return the pages' files, and what is printed."""
    (lines,) = texts("docs/terminal.md", "sh", "The manual")
    require("man", "man-db")
    home = tmp_path_factory.mktemp("home")
    typed = subprocess.run(
        ["bash", "-euc", lines],
        env=environment(
            HOME=str(home), PATH=f"{BIN}:/usr/bin:/bin", SOURCE_DATE_EPOCH="1495015595"
        ),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    folder = home / ".local/share/man"
    paths = [folder / path for path in written_pages()]
    assert {*paths} == {path for path in folder.rglob("*") if path.is_file()}
    return paths, typed.stdout


def test_the_documented_lines_write_the_pages_and_show_one(written: tuple[list[Path], str]) -> None:
    paths, shown = written
    assert [path.read_text() for path in paths] == [*written_pages().values()]
    assert shown.startswith("SESSIONGATE-SERVE(1)")
    assert "--source URL\n" in shown


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_each_command_has_a_page_with_its_options(path: tuple[str, ...]) -> None:
    text = written_pages()[f"man1/{'-'.join(('sessiongate', *path))}.1"]
    command = COMMANDS[path]
    for option in command.params:
        if option.param_type_name == "option" and option.name not in getattr(
            command, "refused", ()
        ):
            assert f"{in_bold(option.opts[0])}" in text, option.name
            assert in_words(option.help).split()[-1] in text
    for name in getattr(command, "commands", ()):
        assert f".TP\n{in_bold(name)}\n" in text
    assert ".SH EXAMPLES\n.EX\n" in text


def test_each_setting_is_on_the_page_of_the_file() -> None:
    text = written_pages()["man5/sessiongate.toml.5"]
    keys = re.findall(r"^\.TP\n\\fB(\w+)\\fR = ", text, re.M)
    assert sorted(keys) == sorted(settings(ROOT))
    for name in settings(ROOT):
        assert in_bold(f"SESSIONGATE_{name.upper()}") in text
    assert "Commands: serve, core, ledger, fleet." in " ".join(_entry(text, "ledger").split())


def _entry(text: str, key: str) -> str:
    return text.partition(f".TP\n\\fB{key}\\fR = ")[2].partition(".TP\n")[0]


@pytest.mark.parametrize(
    "checker",
    [
        ("mandoc", "mandoc", "-T", "lint"),
        ("groff", "groff-base", "-man", "-ww", "-z", "-T", "utf8"),
    ],
    ids=lambda each: each[0],
)
def test_programs_that_show_them_have_nothing_to_say(
    checker: tuple[str, ...], written: tuple[list[Path], str]
) -> None:
    name, package, *flags = checker
    done = subprocess.run(
        [require(name, package), *flags, *written[0]],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_name_is_hyphenated(written: tuple[list[Path], str]) -> None:
    shown = subprocess.run(
        [require("groff", "groff-base"), "-man", "-T", "utf8", "-rLL=60n", *written[0]],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    ).stdout
    assert "\N{HYPHEN}\n" not in shown


def test_a_wrong_date_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sessiongate.gateway.cli.manual", tmp_path],
        env=environment(SOURCE_DATE_EPOCH="today"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "SOURCE_DATE_EPOCH must be a number of seconds since 1970, got 'today'\n"
    )


def test_exit_codes_are_those_of_the_readme() -> None:
    table = README.partition("## Exit codes\n")[2].partition("\n\n`serve`")[0]
    rows = [f"| {code} | {serving} | {ASKING[code]} |" for code, serving in SERVING.items()]
    assert table.strip().splitlines()[2:] == rows
