"""The image, started by podman as docs/installation.md has it, in a network of its own."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from release.image import USER
from tests.polling import eventually
from tests.release.machine import CLIENT, NEEDS_ROOT, Machine, lasting_ids
from tests.servers import require
from tests.snippets import texts

pytestmark = NEEDS_ROOT
# podman with folders of its own, and without what this machine's kernel may not give to tests.
_PODMAN = """
podman() {{
    verb=$1
    shift
    [ "$verb" != run ] || set -- --cgroups=disabled \\
        --ulimit nofile=4096:4096 --ulimit nproc=4096:4096 "$@"
    command podman --root {0}/root --runroot {0}/run --tmpdir {0}/tmp --storage-driver vfs \\
        --runtime crun --cgroup-manager cgroupfs "$verb" "$@"
}}
cd {1}
"""


class Engine(Machine):
    """A machine on which the image runs; ``run`` is a shell in which podman is a function."""

    def __init__(self, folder: Path, dist: Path) -> None:
        self._prelude = _PODMAN.format(folder, shlex.quote(str(dist)))
        super().__init__(None, "sleep", "infinity")

    def run(self, command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a line of shell, in which podman is known."""
        return super().run(self._prelude + command, check)

    def podman(self, line: str) -> str:
        """Run a line of shell; return what it prints."""
        return self.run(line).stdout


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, dist: Path) -> Iterator[Engine]:
    for program in ("podman", "crun"):
        require(program, program)
    (lines,) = texts("docs/installation.md", "sh", "As a container")
    load, run, _ = lines.strip().splitlines()
    with Engine(tmp_path_factory.mktemp("podman"), dist) as engine:
        engine.start(CLIENT)
        engine.podman(load)
        engine.podman(run)
        yield engine
        engine.podman("podman rm --force --volumes sessiongate")


def ids(engine: Engine) -> dict[str, str]:
    return lasting_ids(engine, command="podman exec sessiongate sessiongate")


def test_it_shows_that_machine_s_sessions(engine: Engine) -> None:
    *_, ask = texts("docs/installation.md", "sh", "As a container")[0].strip().splitlines()
    eventually(lambda: "127.0.0.1:" in engine.run(ask, check=False).stdout)
    assert ids(engine)


def test_it_runs_without_rights_from_a_root_that_is_read_only(engine: Engine) -> None:
    (told,) = json.loads(engine.podman("podman inspect sessiongate"))
    assert told["HostConfig"]["ReadonlyRootfs"]
    status = engine.podman(f"cat /proc/{told['State']['Pid']}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert fields["Uid"].split() == fields["Gid"].split() == [str(USER)] * 4
    assert fields["CapEff"] == "0" * 16
    assert fields["NSpid"].split()[-1] == "1", "it is the first process, with no shell before it"


def test_its_health_can_be_asked_for(engine: Engine) -> None:
    assert "core" in engine.podman("podman exec sessiongate sessiongate check")


def test_stopped_and_started_it_keeps_every_id(engine: Engine) -> None:
    before = ids(engine)
    engine.podman("podman stop --time 50 sessiongate")
    (told,) = json.loads(engine.podman("podman inspect sessiongate"))
    assert told["State"]["ExitCode"] == 0, "SIGTERM has ended it, not SIGKILL"
    engine.podman("podman start sessiongate")
    eventually(lambda: ids(engine) == before)


def test_there_is_no_shell_in_it(engine: Engine) -> None:
    done = engine.podman("podman exec sessiongate sh -c true 2>&1 || true")
    assert "not found" in done
