"""``make demo``: what it prints is what the README shows, and what it prints can be typed."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import pytest

from demo import servers as demo_servers
from demo.demonstration import demonstrate
from demo.stop import Stop
from tests.closing import lasting
from tests.polling import eventually
from tests.program import BIN, PATIENCE, Program, environment, run, typed
from tests.servers import ServerError, free_port, require
from tests.snippets import ROOT, examples

HEADING = "The demonstration"
PATH = "/usr/local/bin:/usr/bin:/bin"  # without the folder of the command itself
# What differs from one start to the next: ids, durations, times and ports.
VARYING = re.compile(r"\d+([smhd]\d*)*|\d{4}-\d\d-\d\d|\d\d:\d\d:\d\dZ")
PORT = re.compile(r"(?<=\.\d\d:)\d+\b|(?<=\.1:)\d+\b")
BELOW = re.compile(r"│|\s+[├└]")  # how a line begins that belongs to the one above


class Demo(Program):
    """The demonstration on free ports, as ``make`` starts it."""

    command = (sys.executable, "-m", "demo")
    started_in = ROOT

    def __init__(self, folder: Path) -> None:
        self.folder = folder  # where it makes its own
        self.http, self.grpc = free_port(), free_port()
        super().__init__(
            *("--http", self.http, "--grpc", self.grpc),
            PATH=PATH,
            TMPDIR=str(folder),
            PGSERVICE="another",  # for this user's own programs
            PGSSLMODE="verify-full",
        )
        try:
            for begun in ("PgBouncer", "MariaDB", "HAProxy", "Sessiongate"):
                self.expect(f"^Starting {begun} ")
            self.expect("^Waiting until ")
            self.expect("^Ctrl-C ends")
        except BaseException:
            self.close()
            raise

    def as_shown(self, text: str) -> str:
        """Return what is printed as if the ports were the default ones, and .venv the folder."""
        for here, shown in (
            (f" --core 127.0.0.1:{self.grpc}", ""),
            (f":{self.http}/", ":8989/"),
            (f"{os.path.relpath(BIN, ROOT)}/", ".venv/bin/"),
        ):
            text = text.replace(here, shown)
        return text

    def as_typed(self, command: str) -> str:
        """Return a command of the README for this core and this folder."""
        before, _, after = command.partition(".venv/bin/sessiongate")
        return f"{before}{BIN / 'sessiongate'} {after} --core 127.0.0.1:{self.grpc}"

    def run(self, command: str) -> str:
        """Return what a command prints in another terminal, in the same folder."""
        return typed(command, ROOT, PATH=PATH)

    def commands(self) -> list[str]:
        """Return the commands that it says to type."""
        return re.findall(r"^    (\S.*?(?:\\\n.*)?)$", self.output, re.MULTILINE)


@contextmanager
def demo_folder() -> Iterator[Path]:
    """Make a folder for the demonstration's own, once its programs are installed."""
    for package, program in demo_servers.PROGRAMS.items():
        require(program, package)
    folder = Path(tempfile.mkdtemp(prefix="sgd-"))
    folder.chmod(0o1777)  # as /tmp: the servers run as another user
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def demos() -> Iterator[Callable[[], Demo]]:
    """Return what returns a demonstration that runs: the last one, unless a test has ended it."""
    with ExitStack() as stack:
        started: list[Demo] = []

        def running() -> Demo:
            if not started or started[-1].process.poll() is not None:
                folder = stack.enter_context(demo_folder())
                started.append(stack.enter_context(Demo(folder)))
            return started[-1]

        yield running


@pytest.fixture
def demo(demos: Callable[[], Demo]) -> Demo:
    return demos()


def unvarying(text: str) -> list[list[list[str]]]:
    """Return the words of a text's lines without what varies; each with the lines below it."""
    found: list[list[list[str]]] = []
    for line in text.splitlines():
        words = re.sub("[├└│]─?", " ", PORT.sub("#", line)).split()
        kept = ["#" if VARYING.fullmatch(word) else word for word in words]
        if found and BELOW.match(line):
            found[-1].append(kept)
        else:
            found.append([kept])
    return sorted(found)


def is_alike(one: str, other: str) -> bool:
    """Return whether two texts differ only in what varies."""
    return unvarying(one) == unvarying(other)


def shown() -> Iterator[tuple[str, str]]:
    """Yield the commands of the README's demonstration, each with what it prints."""
    return iter(examples("README.md", HEADING))


def test_make_starts_it() -> None:
    dry = ["make", "--no-print-directory", "--dry-run", "demo"]
    done = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ".venv/bin/python -m demo"


@pytest.mark.long
def test_it_prints_what_the_readme_shows(demo: Demo) -> None:
    (make, start), *others = shown()
    assert make == "make demo"
    begun = [line for line in demo.output.splitlines() if not line.startswith("Installing ")]
    assert demo.as_shown("\n".join(begun)).splitlines() == start.splitlines()
    assert others
    for command, output in others:
        line = demo.as_typed(command)
        if not is_alike(output, demo.run(line)):
            # A client that works may be seen between two statements: look again.
            _, *arguments = shlex.split(line)
            eventually(partial(answer_to, arguments), partial(is_alike, output))


def answer_to(arguments: Sequence[str]) -> str:
    return run(*arguments).stdout


def test_the_commands_that_it_prints_answer(demo: Demo) -> None:
    *listed, curl = demo.commands()
    # The README shows what these print: that is tested above.
    _, *others = shown()
    assert [demo.as_shown(command) for command in listed] == [command for command, _ in others]
    assert [*answers(json.loads(demo.run(curl)))] == [
        ("checkout", "webshop", "invoicing", "billing", "pgbouncer", "127.0.0.11"),
        ("picking", "warehouse", "restock", "purchasing", "haproxy", "127.0.0.52"),
    ]


def answers(document: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return who waits for whom, and came through which proxy from where."""
    sessions = {each["id"]: each for each in (*document["data"], *document["included"])}
    found = []
    for session in document["data"]:
        said = session["attributes"]
        if said["activity"]["state"] != "waiting" or "downstream" not in session["relationships"]:
            continue
        assert said["activity"]["since"]
        (blocking,) = said["activity"]["blocked_by"]
        blocker = sessions[blocking]["attributes"]
        (through,) = session["relationships"]["downstream"]["data"]
        proxy = sessions[through["id"]]["attributes"]
        who = (said["application"], said["user"], blocker["application"], blocker["user"])
        found.append((*who, proxy["source"], proxy["remote"]))
    return sorted(found)


def test_it_listens_on_this_machine_only_and_shows_no_password(demo: Demo) -> None:
    (file,) = demo.folder.glob("*/clients.json")
    password = json.loads(file.read_text(encoding="utf-8"))["password"]
    assert file.stat().st_mode & 0o077 == 0
    assert password not in demo.output
    listening = set()
    for process in demo.children():
        with suppress(psutil.NoSuchProcess):
            assert password not in " ".join(process.cmdline())
            connections = process.net_connections("inet")
            listening |= {each.laddr.ip for each in connections if each.status == "LISTEN"}
    here = {ip for ip in listening if ip_address(ip.removeprefix("::ffff:")).is_loopback}
    assert listening == here != set()


def test_it_says_that_a_server_has_ended_and_ctrl_c_leaves_nothing(demo: Demo) -> None:
    started = demo.children()
    (master,) = filter(is_haproxy_master, started)
    master.kill()
    demo.expect("^HAProxy has ended")
    assert demo.process.poll() is None
    demo.interrupt()
    demo.expect("^Stopping everything")
    demo.process.send_signal(signal.SIGINT)  # as impatient people do
    assert demo.wait() == 0
    assert lasting(started, PATIENCE) == []
    assert [*demo.folder.iterdir()] == []


def is_haproxy_master(process: psutil.Process) -> bool:
    try:
        parent = process.parent()
        return process.name() == "haproxy" and parent is not None and parent.name() != "haproxy"
    except psutil.NoSuchProcess:  # as of a server's worker, which comes and goes
        return False


def test_missing_packages_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_servers, "find", lambda program: program != "mariadbd" or None)
    monkeypatch.setattr(demo_servers, "can_install", lambda: False)
    with pytest.raises(ServerError) as caught:
        demo_servers.install_programs(pytest.fail)
    command = "sudo apt-get install --no-install-recommends mariadb-server"
    assert command in str(caught.value)


def test_a_wrong_port_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["demo", "--http", "localhost"])
    stop = object.__new__(Stop)  # which each step would use, and fails
    with pytest.raises(SystemExit) as ended:
        demonstrate(stop)
    assert ended.value.code == 2
    assert "must be a port from 1 to 65535, got 'localhost'" in capsys.readouterr().err


def test_a_temporary_folder_that_does_not_do_is_named_with_what_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("long" * 20, "with space"):
        folder = tmp_path / name
        folder.mkdir()
        said = re.escape(f"got {str(folder)!r}. Choose another:\n    TMPDIR=/tmp make demo")
        fault = rf"The temporary folder must be at most 60 letters, digits.* {said}"
        with pytest.raises(ServerError, match=f"^{fault}$"):
            check_temporary_folder(folder, monkeypatch)
    done = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        env=environment(TMPDIR=str(folder)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert re.fullmatch(f"\n{fault}\n", done.stderr)


@pytest.mark.skipif(os.geteuid() != 0, reason="others run the servers as themselves")
def test_a_temporary_folder_of_root_alone_does_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as folder,
        pytest.raises(ServerError, match="must be open to the user nobody"),
    ):
        check_temporary_folder(folder, monkeypatch)


def check_temporary_folder(folder: str | Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the demonstration check this one, which is as if TMPDIR named it."""
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    demo_servers.check_temporary_folder()
