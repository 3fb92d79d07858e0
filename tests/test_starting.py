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
from tests.closing import lasting
from tests.program import DOCUMENT, PATIENCE, Serving, environment, run, run_given, typed

# Modules that are slow to import, and of no use before a command begins its work.
HEAVY = {"aiohttp", "bcrypt", "cryptography", "google.protobuf", "grpc", "httptools", "jsonpath"}
HEAVY |= {"jwt", "opentelemetry", "psutil", "rich", "sqlite3", "starlette", "uvloop"}

# Tells, after a command, how it ended and what was imported.
TELLING = """
import json, sys
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
ENTRY = "from sessiongate.gateway.__main__ import main"
COMMANDS = "import sessiongate.gateway.cli.main"  # the first that `main` imports
COMMAND = "sys.argv[1:] = {arguments!r}; main()"
CORE = "import runpy; runpy.run_module('sessiongate.core', run_name='__main__')"
HEEDING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
IGNORING = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"

# Runs each program in a process, forked from one that has done what comes before it.
FORKING = """
import os, sys
for number, (before, program) in enumerate({programs!r}):
    exec(before)
    if (pid := os.fork()) == 0:
        for stream in (1, 2):
            os.dup2(os.open(f"{folder}/{{number}}.{{stream}}", os.O_WRONLY | os.O_CREAT), stream)
        exec(program)
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
Ended = tuple[int, str, str]  # a program's exit code, output and errors


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


def each_forked(folder: Path, *programs: tuple[str, str]) -> list[Ended]:
    """Run programs, each after all that is to be done before it and those before."""
    done = python(FORKING.format(programs=programs, folder=folder))
    assert done.returncode == 0, done.stderr
    codes = [*map(int, done.stdout.split())]
    assert len(codes) == len(programs)
    return [
        (code, (folder / f"{number}.1").read_text(), (folder / f"{number}.2").read_text())
        for number, code in enumerate(codes)
    ]


def test_what_costs_time_is_imported_only_where_it_is_used(tmp_path: Path) -> None:
    nowhere = ["--core", "nowhere"]
    commands = (
        ["--version"],
        ["--help"],
        ["serve", "--help"],
        ["list", *nowhere],
        ["history", "--at", "5m", *nowhere],
    )
    # What serves, up to its first worker.
    serving = (
        "import json, sys, sessiongate.gateway.server.main as main\n"
        "print(json.dumps([0, [*sys.modules]])); config = main.GatewayConfig()\n"
        "main._create(*main._in_order(config.core_addresses), config)"
    )
    *ended, served = each_forked(
        tmp_path,
        (f"{ENTRY}; {COMMANDS}", ""),
        *(("", TELLING.format(arguments=arguments)) for arguments in commands),
        ("", serving),
    )
    for arguments, (_, printed, _) in zip(commands, ended[1:], strict=True):
        code, modules = json.loads(printed.splitlines()[-1])
        assert code == (2 if "nowhere" in arguments else 0), arguments
        assert "typer" in modules
        assert not HEAVY & {*modules}, arguments
    assert (served[0], served[2]) == (0, "")
    workers_only = {"grpc", "jsonpath", "sessiongate.gateway.app", "uvloop"}
    _, modules = json.loads(served[1])
    assert not {*workers_only, "prometheus_client", "psutil"} & {*modules}


def test_ctrl_c_amid_the_start_ends_a_program_without_a_word(tmp_path: Path) -> None:
    free = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
    cores = ("sessiongate.core.running", "google.protobuf", "grpc")
    commands = (
        # Whoever started the tests may ignore it.
        (f"{HEEDING}; {ENTRY}", "typer", ["--version"]),
        ("", "sessiongate.gateway.cli.main", ["list"]),
        (COMMANDS, "sessiongate.gateway.cli.questions", ["list"]),
        ("", "grpc", ["watch"]),
        ("", "grpc", ["check"]),
        ("", "sessiongate.gateway.server.main", ["serve", *free]),
    )
    ended = each_forked(
        tmp_path,
        *(("", INTERRUPTED.format(module=module) + CORE) for module in cores),
        *(
            (before, INTERRUPTED.format(module=module) + COMMAND.format(arguments=arguments))
            for before, module, arguments in commands
        ),
    )
    for what, each in zip((*cores, *commands), ended, strict=True):
        assert each == (-signal.SIGINT, "", ""), what


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
        children = program.children()
        program.interrupt()
        assert program.wait() == 0
        assert lasting(children, PATIENCE) == []
        assert "Traceback" not in program.output
        assert "KeyboardInterrupt" not in program.output


def test_who_ignores_ctrl_c_is_not_ended_by_it() -> None:
    program = INTERRUPTED.format(module="typer") + COMMAND.format(arguments=["--version"])
    ended = python(f"{IGNORING}; {ENTRY}\n{program}")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == run("--version").stdout


OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"

# What is handed over, the exit code, and what is said.
SETTINGS = (
    ("workers = 0\nstale_after = 0", 2, "'stale_after' in /dev/"),
    ('ledger = "sqlite://"\nhttp = "127.0.0.1:7"', 0, "http://127.0.0.1:7/v1/sessions"),
)


def test_settings_are_read_from_a_pipe_that_is_handed_over(tmp_path: Path) -> None:
    for settings, code, said in SETTINGS:
        ended = run_given(settings, "check-config", "--config", "/dev/stdin")
        assert (ended.returncode, said in ended.stdout + ended.stderr) == (code, True), ended
    settings, code, said = SETTINGS[0]
    ended = run_given(settings, "check-config", "--config", "/dev/fd/0")
    assert (ended.returncode, said in ended.stderr) == (code, True), ended
    settings, _, said = SETTINGS[1]
    assert said in typed("sessiongate check-config --config <(cat)", tmp_path, settings)


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


def test_what_some_settings_need_is_imported_only_for_them(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1"
    stated = {OTLP: url}
    off = [
        {},
        {**stated, "OTEL_TRACES_EXPORTER": "none"},
        {**stated, "OTEL_SDK_DISABLED": "true"},
    ]
    done = python(
        "import asyncio, json, sys, time\n"
        "from sessiongate.core import running, server\n"
        "from sessiongate.core.ledger.opening import open_ledger\n"
        "from sessiongate.core.ledger.policy import HistoryPolicy\n"
        f"ledger = 'sqlite:///{tmp_path}/ledger.db'\n"
        "asyncio.run(open_ledger(ledger, policy=HistoryPolicy(), now=time.time_ns))\n"
        "print(json.dumps([*sys.modules]))\n"
        "import sessiongate.gateway.app\n"
        "from sessiongate.runtime.telemetry.tracing import open_spans\n"
        f"assert [open_spans('core', each) for each in {off}] == [None] * 3\n"
        "print(json.dumps([*sys.modules]))\n"
        "sys.modules['opentelemetry'] = None  # as if it were not installed\n"
        f"open_spans('core', {stated})"
    )
    assert done.returncode == 0, done.stderr
    core, gateway = map(json.loads, done.stdout.splitlines())
    assert [name for name in core if "psycopg" in name or ".postgresql." in name] == []
    assert not {"jwt", "opentelemetry"} & {*core}
    assert not {"jwt", "opentelemetry"} & {*gateway}
    assert "opentelemetry is not installed: pip install 'sessiongate[otel]'" in done.stderr
