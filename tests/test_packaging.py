"""The shipped package: built, and installed from scratch, as an operator does it."""

from __future__ import annotations

import json
import re
import shlex
import socket
import stat
import struct
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import cache_from_source
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from release.__main__ import write_checksums
from release.packages import build_packages
from release.version import Release, ReleaseError, release_of
from tests.gateway.programs import running_core
from tests.program import BIN, DOCUMENT, PATIENCE, Program, Serving, environment
from tests.program import run as run_here
from tests.redis import running_redis
from tests.snippets import texts

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# What each part asks for, beyond the parts before it.
NEEDED = {
    "base": [*map(Requirement, PROJECT["dependencies"])],
    "cli": [*map(Requirement, PROJECT["optional-dependencies"]["cli"])],
    "server": [
        requirement
        for requirement in map(Requirement, PROJECT["optional-dependencies"]["server"])
        if requirement.name != PROJECT["name"]  # with [cli]
    ],
}
# Downloads may take longer than anything that the program does.
LONG = 10 * PATIENCE
# When the packages are said to be made, in seconds since 1970 and as a date.
EPOCH, MOMENT = 1_700_000_000, (2023, 11, 14, 22, 13, 20)


def skip_without_index(said: str) -> None:
    """Skip the test if uv says that it needs a package index and none answers."""
    if "error sending request" in said:
        pytest.skip("no package index answers here")


def uv(*arguments: object, cwd: Path = ROOT) -> None:
    """Run uv; skip the test if it needs a package index and none answers."""
    done = subprocess.run(
        [BIN / "uv", "--quiet", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    if done.returncode:
        skip_without_index(done.stderr)
    assert done.returncode == 0, done.stderr


def installed(folder: Path, *requirements: object) -> Path:
    """Make a separate environment with these requirements; return its folder of commands."""
    uv("venv", "--python", sys.executable, folder)
    uv("pip", "install", "--python", folder / "bin/python", *requirements)
    lend_bytecode(folder)
    return folder / "bin"


def lend_bytecode(folder: Path) -> None:
    """Copy bytecode from the tests' own environment to another that has the same packages.

    Otherwise the first program that runs there would compile all modules that it imports. The
    head of such a file holds the time and the size of the source (PEP 552).
    """
    own = Path(sysconfig.get_path("purelib"))
    (there,) = folder.glob("lib/*/site-packages")
    for record in there.glob("*.dist-info/RECORD"):
        if not (own / record.parent.name).exists():  # it is of another version, or only there
            continue
        for name in re.findall(r"^(?!\.\.)(.+\.py),", record.read_text(), re.MULTILINE):
            compiled = Path(cache_from_source(own / name))
            if compiled.exists():
                source, content = (there / name).stat(), compiled.read_bytes()
                stamp = struct.pack("<II", int(source.st_mtime), source.st_size)
                target = Path(cache_from_source(there / name))
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(content[:8] + stamp + content[16:])


def run(
    command: Path, *arguments: str, patience: float = PATIENCE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [command, *arguments],
        cwd="/",
        env=environment(),
        input="a password\n",
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
    )


# Runs several commands in one process: imports take most of the time of each.
_ANSWERING = """
import contextlib, io, json, sys
from sessiongate.gateway.__main__ import main
found = []
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    errors, ended = io.StringIO(), 0
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()) as output:
        try:
            main()
        except SystemExit as exited:
            ended = exited.code or 0
    found.append([ended, output.getvalue(), errors.getvalue()])
print(json.dumps(found))
"""


def answers(
    command: Path, lines: Iterable[Sequence[str]]
) -> Iterator[tuple[Sequence[str], int, str, str]]:
    """Yield the lines with their exit codes and what an installed command prints for them."""
    lines = [*lines]
    program = ("-P", "-c", _ANSWERING, json.dumps(lines))
    done = run(command.with_name("python"), *program, patience=LONG)
    assert (done.returncode, done.stderr) == (0, "")
    for line, found in zip(lines, json.loads(done.stdout), strict=True):
        yield line, *found


@pytest.fixture(scope="module")
def release() -> Release:
    return release_of(ROOT, EPOCH)


@pytest.fixture(scope="module")
def built(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and from it the wheel, as `make release` does; return their folder."""
    folder = tmp_path_factory.mktemp("built")
    try:
        build_packages(release, folder)
    except ReleaseError as failed:
        skip_without_index(str(failed))
        raise
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    [found] = built.glob("*.whl")
    return found


def test_the_sdist_has_what_a_maintainer_needs(built: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"README.md", "LICENSE", "Makefile", "requirements.txt", "tests/test_packaging.py"}
    wanted |= {"bench/__main__.py", "tests/test_bench.py"}  # the second imports the first
    assert wanted <= names
    assert "deploy/sessiongate.service" in names


def test_the_wheel_has_the_programs_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    rooms = {name.partition("/")[0] for name in names}
    assert {room for room in rooms if not room.endswith(".dist-info")} == {"sessiongate"}
    packages = {name.split("/")[1] for name in names if name.startswith("sessiongate/")}
    # A namespace package: its own module would hide what other distributions add.
    assert packages == {"v1", "client", "core", "gateway", "runtime"}
    assert {f"sessiongate/{package}/py.typed" for package in packages} <= {*names}


def test_the_wheel_and_the_sdist_have_one_time_and_say_all(release: Release, built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert {member.mtime for member in archive.getmembers()} == {EPOCH}
        assert {member.uid for member in archive.getmembers()} == {0}
    with ZipFile(wheel) as archive:
        assert {member.date_time for member in archive.infolist()} == {MOMENT}
        (information,) = {name.partition("/")[0] for name in archive.namelist()} - {"sessiongate"}
        metadata = archive.read(f"{information}/METADATA").decode()
        assert f"{information}/licenses/LICENSE" in archive.namelist()
    head, _, description = metadata.partition("\n\n")
    for field in ("Maintainer-email", "License-Expression", "Keywords", "Requires-Python"):
        assert re.search(rf"^{field}: .", head, re.MULTILINE), field
    for label in ("Homepage", "Source", "Documentation", "Changelog"):
        assert f"Project-URL: {label}, {release.home}" in head
    assert f"({release.home}/source/docs/rest.md" in description
    assert not re.search(r"\]\((?!https:|#)|<picture", description), (
        "only links that lead somewhere"
    )
    write_checksums(built)
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(check, cwd=built, check=True)


def installed_as_documented(wheel: Path, folder: Path) -> Path:
    """Do the steps of the manual in this folder's opt and etc; return the folder of commands.

    The last step, for systemd, is tested with the unit. uv, which takes the same arguments, stands
    in for pip, which takes ten times as long, and as long again to be installed: the tests of a
    release use it.
    """
    (steps,) = texts("docs/operations.md", "sh", "Installing it as a service")
    steps, _, last = steps.strip().rpartition("\n")
    assert last.startswith("systemctl ")
    moved, times = re.subn(r"(?<!\S)/(?=opt/|etc/)", f"{folder}/", steps)
    assert times == len(re.findall(r"(?<!\S)/", steps)), "no other folder of this machine"
    moved, times = re.subn("^python3 -m venv ", r"\g<0>--without-pip ", moved)
    assert times == 1
    pip = re.compile(r"^(\S+)/pip install (?=--require-hashes |--no-deps )", re.M)
    moved, times = pip.subn(r"uv pip install --python \1/python ", moved)
    assert times == 2
    here = folder / "here"
    here.mkdir()
    for file in (wheel, ROOT / "requirements.txt", ROOT / "deploy"):
        (here / file.name).symlink_to(file)
    (here / "sessiongate.toml").write_text('source = "host:"\n', encoding="utf-8")
    (folder / "etc/systemd/system").mkdir(parents=True)
    done = subprocess.run(
        ["bash", "-euc", moved],
        cwd=here,
        env=environment(PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin"),
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lend_bytecode(folder / "opt/sessiongate")
    return folder / "opt/sessiongate/bin"


@pytest.fixture(scope="module")
def server(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install it as documented; return the folder of commands."""
    return installed_as_documented(wheel, tmp_path_factory.mktemp("server"))


@pytest.mark.long
def test_the_documented_installation_runs_it(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands, folder = server, server.parents[2]
    settings = folder / "etc/sessiongate/sessiongate.toml"
    assert stat.filemode(settings.stat().st_mode) == "-rw-------"
    assert (folder / "etc/systemd/system/sessiongate.service").is_file()
    uv("pip", "check", "--python", commands / "python")
    monkeypatch.setattr("tests.program.COMMAND", commands / "sessiongate")
    monkeypatch.chdir("/")
    with Serving("--source", DOCUMENT) as it:
        answer = httpx.get(f"http://{it.http}/v1/sessions/1", timeout=PATIENCE, trust_env=False)
        assert answer.json()["data"]["id"] == "1"


def lacking(commands: Path) -> set[NormalizedName]:
    """Return which of the project's requirements an environment does not have."""
    folders = commands.parent.glob("lib/*/site-packages/*.dist-info")
    there = {canonicalize_name(folder.name.partition("-")[0]) for folder in folders}
    needed = {canonicalize_name(each.name) for part in NEEDED.values() for each in part}
    return needed - there


def extra(part: str, *base: str) -> set[NormalizedName]:
    """Return what a part needs that these parts do not."""
    known = {canonicalize_name(each.name) for name in base for each in NEEDED[name]}
    return {canonicalize_name(each.name) for each in NEEDED[part]} - known


def test_the_base_alone_is_enough_for_a_client(wheel: Path, tmp_path: Path) -> None:
    commands = installed(tmp_path / "env", wheel)
    assert lacking(commands) == extra("cli") | extra("server", "base")
    program = "import sessiongate.client, sessiongate.v1.session_service_pb2_grpc as s; print(s)"
    imported = run(commands / "python", "-W", "error", "-c", program)
    assert "sessiongate.v1.session_service_pb2_grpc" in imported.stdout, imported.stderr
    refused = run(commands / "sessiongate", "list")
    assert (refused.returncode, refused.stderr) == (
        2,
        "sessiongate: typer is not installed: pip install 'sessiongate[cli]',"
        " or pip install 'sessiongate[server]' to run a server\n",
    )


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install only what the commands that ask a core need; return the command."""
    return installed(tmp_path_factory.mktemp("cli") / "env", f"{wheel}[cli]") / "sessiongate"


def test_the_extra_for_the_command_is_enough_to_ask_a_core(
    command: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lacking(command.parent) == extra("server", "base", "cli")
    with running_core(DOCUMENT) as core:
        questions = ("list", "list --json", "show 1", "sources", "sources --json", "check")
        lines = [[*question.split(), "--core", core] for question in questions]
        for words in ("--help", "--version", "serve --help"):
            lines.append(words.split())
        printed = {}
        for line, code, output, errors in answers(command, lines):
            assert (code, errors) == (0, ""), line
            assert output, line
            printed[line[0]] = output
        assert printed["--version"] == f"sessiongate {PROJECT['version']}\n"
        monkeypatch.setattr("tests.program.COMMAND", command)
        with Program("watch", "--core", core) as watching:
            watching.expect(r"^\+\t3\tListener Session\t")
            watching.interrupt()
            assert watching.wait() == 0


def test_without_the_extra_for_servers_their_commands_say_so(command: Path, tmp_path: Path) -> None:
    ledger = ("--ledger", f"sqlite:///{tmp_path}/ledger.db")
    lines = (
        ("serve", *ledger),
        ("core", *ledger, "--source", "host:"),
        ("check-config",),
        ("users", "add", "alice", "--users", str(tmp_path / "users")),
        ("ledger", "backup", str(tmp_path / "copy.db"), *ledger),
    )
    for line, code, _, errors in answers(command, lines):
        assert code == 2, line
        assert re.fullmatch(
            r"sessiongate: \w+ is not installed: pip install 'sessiongate\[server\]'\n", errors
        ), line


def test_the_documented_plugin_is_installed_and_read(
    server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Do what docs/plugins.md says, with uv in place of pip, and another port."""
    page = "docs/plugins.md"
    (project,), (module,), (steps,) = (texts(page, each) for each in ("toml", "python", "sh"))
    install, serve = map(shlex.split, steps.splitlines())
    folder = tmp_path / install[-1]
    folder.mkdir()
    (folder / "pyproject.toml").write_text(project, encoding="utf-8")
    (folder / "sessiongate_redis.py").write_text(module, encoding="utf-8")
    uv(*install[:-1], "--python", server / "python", install[-1], cwd=tmp_path)
    monkeypatch.setattr("tests.program.COMMAND", server / "sessiongate")
    with running_redis() as port, socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"CLIENT SETNAME checkout\r\nSELECT 3\r\n")
        with client.makefile("rb") as answers:
            assert [answers.readline(), answers.readline()] == [b"+OK\r\n"] * 2
        arguments = [part.replace("6379", str(port)) for part in serve[2:]]
        with Serving(*arguments, "--ledger", "sqlite://") as it:
            answer = httpx.get(f"http://{it.http}/v1/sessions/1", timeout=PATIENCE, trust_env=False)
            listed = run_here("list", "--core", it.grpc)
        shown = answer.json()["data"]["attributes"]
        assert (shown["remote"], shown["port"]) == client.getsockname()
    assert (shown["user"], shown["database"]) == ("default", "3")
    (_, row) = listed.stdout.splitlines()
    assert re.match(r" *1 +default +127\.0\.0\.1:[0-9]+ +3 +checkout +localhost:[0-9]+ ", row)
