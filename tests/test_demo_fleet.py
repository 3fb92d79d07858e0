"""``make demo-fleet``: a core is killed, another one takes over, and ids stay.

Ctrl-C ends the tests' other demonstration, a closed terminal this one.
"""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.fleet import SHARDS
from tests.closing import lasting
from tests.program import BIN, PATIENCE, Program, run
from tests.servers import free_port
from tests.snippets import ROOT, examples
from tests.test_demo import PATH, demo_folder

pytestmark = pytest.mark.long

HEADING = "See one"
# What differs from one start to the next.
_VARYING = re.compile(r"\d+(\.\d+)?")


class FleetDemo(Program):
    """The demonstration at a terminal, on which keys can be pressed."""

    def __init__(self, folder: Path, keyboard: int) -> None:
        self._keyboard = keyboard
        self.http, self.grpc = free_port(), free_port()
        ports = ("--http", self.http, "--grpc", self.grpc)
        super().__init__("--fleet", *ports, PATH=PATH, TMPDIR=str(folder))

    def _start(
        self, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "demo", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=self._keyboard,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def as_shown(self) -> str:
        """Return what is printed as if the ports were the default ones, and .venv the folder."""
        text = self.output.replace(f" --core 127.0.0.1:{self.grpc}", "")
        text = text.replace(f":{self.http}/", ":8989/")
        return text.replace(f"{os.path.relpath(BIN, ROOT)}/", ".venv/bin/")


@contextmanager
def running() -> Iterator[tuple[FleetDemo, int]]:
    """Run the demonstration; yield it, and where to press its keys."""
    with demo_folder() as folder:
        typing, keyboard = pty.openpty()
        try:
            with FleetDemo(folder, keyboard) as demo:
                yield demo, typing
        finally:
            os.close(typing)
            os.close(keyboard)
        assert [*folder.iterdir()] == []


def test_make_starts_it() -> None:
    dry = ["make", "--no-print-directory", "--dry-run", "demo-fleet"]
    done = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ".venv/bin/python -m demo --fleet"


def test_another_core_takes_over_with_the_same_ids() -> None:
    ((make, shown),) = examples("docs/fleet.md", HEADING)
    assert make == "make demo-fleet"
    with running() as (demo, typing):
        for begun in ("PgBouncer", "MariaDB", "HAProxy", "core-a", "core-c", "a front"):
            demo.expect(f"^Starting {begun} ")
        demo.expect("^Waiting until ")
        demo.expect("^core-a is killed in 20 seconds")
        os.write(typing, b"\n")
        demo.expect("^Killed core-a, which was active for the shard shop")
        demo.expect("^core-b took over: the front shows its sessions .* s later")
        kept, lasted = demo.expect(r"^(\d+) of (\d+) sessions that are still there").groups()
        assert int(kept) == int(lasted) > 5
        demo.expect("^core-a runs again, and stands by")
        demo.expect("^Press Enter to kill another one")
        printed = [line for line in demo.as_shown().splitlines() if "Installing" not in line]
        assert unvarying("\n".join(printed)) == unvarying(shown)
        listed = run("sources", "--core", f"127.0.0.1:{demo.grpc}").stdout
        assert all(kind in listed for shard in SHARDS for kind in shard.kinds)
        started = demo.children()
        demo.process.send_signal(signal.SIGHUP)  # as a terminal does that is closed
        assert demo.wait() == 0
        assert lasting(started, PATIENCE) == []


def unvarying(text: str) -> str:
    return _VARYING.sub("#", text).strip()
