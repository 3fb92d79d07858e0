"""How the programs start: quickly, and without a traceback if Ctrl-C interrupts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.certificates import Authority
from tests.program import COMMAND as COMMAND_PATH
from tests.program import DOCUMENT, PATIENCE, Serving, environment, run

# Modules that are slow to import, and of no use before a command begins its work.
HEAVY = {"aiohttp", "bcrypt", "cryptography", "google.protobuf", "grpc", "httptools", "jsonpath"}
HEAVY |= {"jwt", "opentelemetry", "psutil", "rich", "sqlite3", "starlette", "uvloop"}

WHICH = """
import json, sys
from sessiongate.gateway.__main__ import main
sys.argv[1:] = {arguments!r}
try:
    main()
except SystemExit as ended:
    print("\\n" + json.dumps([ended.code, sorted(sys.modules)]))
"""

# Presses Ctrl-C as the import of a module begins.
INTERRUPTED = """
import os, signal, sys
class Finder:
    def find_spec(name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder)
"""
COMMAND = "from sessiongate.gateway.__main__ import main; sys.argv[1:] = {arguments!r}; main()"
CORE = "import runpy; runpy.run_module('sessiongate.core', run_name='__main__')"


def python(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program until it ends."""
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["serve", "--help"],
        ["list", "--core", "nowhere"],
        ["history", "--at", "5m", "--core", "nowhere"],
    ],
)
def test_what_costs_time_is_imported_only_where_it_is_used(arguments: list[str]) -> None:
    ended = python(WHICH.format(arguments=arguments))
    code, modules = json.loads(ended.stdout.splitlines()[-1])
    assert code == (2 if "nowhere" in arguments else 0)
    assert "typer" in modules
    assert not HEAVY & {*modules}


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("typer", ["--version"]),
        ("sessiongate.gateway.cli.main", ["list"]),
        ("sessiongate.gateway.cli.questions", ["list"]),
        ("grpc", ["watch"]),
        ("grpc", ["check"]),
        (
            "sessiongate.gateway.server.main",
            ["serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"],
        ),
    ],
)
def test_ctrl_c_amid_the_start_ends_a_command_without_a_word(
    module: str, arguments: list[str]
) -> None:
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program = INTERRUPTED.format(module=module) + COMMAND.format(arguments=arguments)
    ended = python(heeding + program)  # whoever started the tests may ignore it
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize("module", ["sessiongate.core.running", "google.protobuf", "grpc"])
def test_ctrl_c_amid_the_start_ends_a_core_without_a_word(module: str) -> None:
    ended = python(INTERRUPTED.format(module=module) + CORE)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


def test_ctrl_c_amid_the_start_of_a_worker_is_not_the_workers(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if '--multiprocessing-fork' in sys.orig_argv:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
    )
    with Serving("--source", DOCUMENT, PYTHONPATH=str(tmp_path)) as program:
        answer = httpx.get(
            f"http://{program.http}/v1/sessions/1", timeout=PATIENCE, trust_env=False
        )
        assert answer.status_code == 200
        program.interrupt()
        assert program.wait() == 0
        assert "KeyboardInterrupt" not in program.output


def test_who_ignores_ctrl_c_is_not_ended_by_it() -> None:
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    program = INTERRUPTED.format(module="typer") + COMMAND.format(arguments=["--version"])
    ended = python(ignoring + program)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == run("--version").stdout


# What is handed over, the exit code, and what is said.
SETTINGS = (
    ("workers = 0\nstale_after = 0", 2, "'stale_after' in /dev/"),
    ('ledger = "sqlite://"\nhttp = "127.0.0.1:7"', 0, "http://127.0.0.1:7/v1/sessions"),
)


def test_settings_are_read_from_a_pipe_that_is_handed_over() -> None:
    for place in ("/dev/stdin", "/dev/fd/0", "<(cat)"):
        for settings, code, said in SETTINGS[: 2 if place == "/dev/stdin" else 1]:
            line = f"exec {COMMAND_PATH} check-config --config {place}"
            ended = subprocess.run(
                ["bash", "-c", line],
                env=environment(),
                input=settings,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            assert (ended.returncode, said in ended.stdout + ended.stderr) == (code, True), ended


MORE_FILES = ("--users", "--core-token-file", "--tls-client-ca")
FILES = ("--config", "--token-secret", "--token-key", *MORE_FILES)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


@pytest.fixture
def others(tmp_path: Path) -> list[str]:
    """Return the flags that `--tls-client-ca` requires."""
    Authority(tmp_path).issue("server")
    return [f"--tls-cert={tmp_path}/server.pem", f"--tls-key={tmp_path}/server.key"]


@pytest.mark.parametrize("flag", FILES)
@pytest.mark.parametrize("command", ["serve", "core"])
def test_what_is_no_file_ends_the_start_with_one_plain_line(
    fifo: Path, others: list[str], command: str, flag: str
) -> None:
    ended = run(command, "--ledger", "sqlite://", flag, fifo, *others)
    assert ended.returncode == 2
    (line,) = (line for line in ended.stderr.splitlines() if line[:2] in ("Er", "se"))
    assert line.endswith(f"{flag}: {fifo} is a FIFO, not a regular file")


# The key excludes the secret.
@pytest.mark.parametrize(
    "flags", [("--config",), ("--token-key",), ("--token-secret", *MORE_FILES)]
)
def test_check_config_tells_all_that_are_no_files(
    fifo: Path, others: list[str], flags: tuple[str, ...]
) -> None:
    named = [f"{flag}={fifo}" for flag in flags]
    ended = run("check-config", "--ledger", "sqlite://", *named, *others)
    assert ended.returncode == 2
    lines = [line for line in ended.stderr.splitlines() if line[:2] in ("Er", "se")]
    assert len(lines) == len(flags)
    for flag in flags:
        ending = f"{flag}: {fifo} is a FIFO, not a regular file"
        assert any(line.endswith(ending) for line in lines), ended.stderr


@pytest.mark.parametrize("module", ["core.server", "gateway.app"])
def test_what_verifies_tokens_is_imported_only_if_there_are_any(module: str) -> None:
    program = f"import sys, sessiongate.{module}; print('jwt' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert done.stdout == "False\n"


def test_what_answers_requests_is_imported_only_by_workers() -> None:
    program = "import json, sys, sessiongate.gateway.server.main as main; "
    program += "print(json.dumps([*sys.modules])); config = main.GatewayConfig(); "
    done = python(f"{program}main._create(*main._in_order(config.core_addresses), config)")
    assert done.returncode == 0, done.stderr
    modules = json.loads(done.stdout)
    workers_only = {"grpc", "jsonpath", "sessiongate.gateway.app", "uvloop"}
    assert not {*workers_only, "prometheus_client", "psutil"} & {*modules}
