"""The documentation shows what the program does."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup, TyperOption

from sessiongate.core.sources.base import open_source
from sessiongate.gateway.cli.main import app
from tests.configured import sources_in
from tests.program import BIN, PATIENCE, Forked, ForkedProgram, environment, typed
from tests.program import run as run_command
from tests.snippets import examples, texts

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted(ROOT.glob("*.md"))


def blocks(language: str) -> list[str]:
    """Return the README's code blocks in a language."""
    return texts("README.md", language)


@pytest.fixture(scope="module")
def served() -> Iterator[Forked]:
    """Run the program with the README's arguments, but on free ports."""
    (command,) = (block for block in blocks("sh") if block.startswith("sessiongate serve "))
    with Forked(*shlex.split(command)[2:]) as program:
        yield program


def run(arguments: list[str], served: Forked) -> str:
    """Return what a program prints; it and its output appear to use the default ports."""
    ports = {"8989": served.http.rpartition(":")[2], "50051": served.grpc.rpartition(":")[2]}

    def moved(text: str, ports: dict[str, str]) -> str:
        return re.sub(r"(?<=:)\d+\b", lambda found: ports.get(found[0], found[0]), text)

    program, *others = (moved(argument, ports) for argument in arguments)
    if program == "sessiongate":
        done = run_command(*others, SESSIONGATE_CORE=served.grpc)
    else:
        done = subprocess.run(
            [program, *others],
            cwd=ROOT,
            env=environment(PATH=f"{BIN}:/usr/bin:/bin"),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return moved(done.stdout, {port: default for default, port in ports.items()})


@pytest.mark.parametrize(
    ("command", "output"),
    [
        *examples("README.md", "A request and its answer"),
        *examples("README.md", "From a microservice"),
    ],
)
def test_each_command_prints_what_stands_below_it(
    command: str, output: str, served: Forked
) -> None:
    printed = run(shlex.split(command), served)
    assert printed
    if output:
        assert [line.rstrip() for line in printed.splitlines()] == output.splitlines()


def test_the_client_in_python_works_as_it_stands(served: Forked) -> None:
    (program,) = blocks("python")
    assert run([sys.executable, "-c", program], served) == "3 CLI 2017-05-17 10:06:35\n"


def test_the_configuration_file_is_taken_as_it_stands(tmp_path: Path) -> None:
    (text,) = (block for block in blocks("toml") if "http = " in block)
    for shown, here in (
        (":8989", ":0"),
        (":50051", ":0"),
        ("/var/lib/sessiongate/recorded.json", str(ROOT / "tests/data/sessions.json")),
        ("/var/lib/sessiongate", str(tmp_path)),
    ):
        assert shown in text
        text = text.replace(shown, here)
    file = tmp_path / "sessiongate.toml"
    file.write_text(text, encoding="utf-8")
    with ForkedProgram("serve", "--config", file) as program:
        assert program.expect(r"Sources +(.*)")[1].startswith("host:, recorded (document:")
        program.expect("Try")
        program.interrupt()
        assert program.wait() == 0
    assert (tmp_path / "ledger.db").exists()


def test_each_kind_of_source_is_shown_as_it_is_configured(tmp_path: Path) -> None:
    kinds = set()
    for block in blocks("toml"):
        for config in sources_in(block, tmp_path):
            open_source(config)
            kinds.add(config.kind)
    assert {"postgresql", "pgbouncer", "mariadb", "haproxy", "maxscale+https", "host"} <= kinds


def settings() -> list[str]:
    """Return the lines of the table of settings, as the commands themselves define them."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    options: dict[str, TyperOption] = {}
    commands: dict[str, list[str]] = {}
    for name, command in group.commands.items():
        if name == "check-config":  # takes the same as serve
            continue
        for option in command.params:
            if isinstance(option, TyperOption) and option.envvar:
                options.setdefault(option.opts[0], option)
                commands.setdefault(option.opts[0], []).append(f"`{name}`")
    return [
        f"| `{' '.join(filter(None, (flag, option.metavar)))}` | `{option.envvar}` "
        f"| {default(option)} | {', '.join(commands[flag])} | {option.help} |"
        for flag, option in options.items()
    ]


def default(option: TyperOption) -> str:
    if callable(option.default):
        return str(option.show_default)
    if option.default is None or option.default is False or option.default == []:
        return ""
    return f"`{' '.join(option.default) if option.multiple else option.default}`"


def test_the_table_of_settings_is_the_commands_own() -> None:
    table = README.partition("| Flag | Variable |")[2].partition("\n\n")[0]
    assert table.splitlines()[2:] == settings()


def test_make_knows_what_to_do() -> None:
    (commands,) = texts("README.md", "sh", "Three commands")
    assert commands.count("make ") == 3
    dry = commands.replace("make ", "make --dry-run ")
    typed(dry, ROOT)


def test_a_contributor_s_first_commands_work() -> None:
    (commands,) = texts("CONTRIBUTING.md", "sh", "Set up")
    one = next(line for line in commands.splitlines() if "pytest" in line)
    assert len(re.findall("^make ", commands, re.MULTILINE)) == 3
    here = commands.replace(one, one.replace(".venv/bin/pytest", f"{sys.executable} -m pytest -q"))
    assert " passed" in typed(here.replace("make ", "make --dry-run "), ROOT)


def test_the_files_of_the_tour_are_there() -> None:
    """Paths leave out a level, as the page says."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = [Path(found) for found in re.findall(r"`([\w/]+(?:/|\.py|\.proto))`", page)]
    assert len(paths) > 30
    for path in paths:
        room, *_ = path.parts
        inside = ROOT / room / "sessiongate" / path
        assert (ROOT / path).exists() or inside.exists(), path


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for document in DOCUMENTS:
        named = re.findall(r"\bmake ([a-z-]+)\b(?=`|  )", document.read_text(encoding="utf-8"))
        assert set(named) <= targets, document.name


def in_full(path: str) -> str:
    """Return a path with the level that texts leave out: `core/` for `core/sessiongate/core/`."""
    room, below = path.split("/")[:2]
    is_short = room in ("core", "gateway", "runtime") and below != "sessiongate"
    return f"{room}/sessiongate/{path}" if is_short else path


def test_links_and_paths_lead_somewhere() -> None:
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
        paths = re.findall(r"`((?:core|gateway|proto|runtime|tests|bench)/[\w./-]*)`", text)
        missing = [path for path in links if not (ROOT / path).exists()]
        missing += [path for path in paths if not (ROOT / in_full(path)).exists()]
        assert missing == [], document.name
