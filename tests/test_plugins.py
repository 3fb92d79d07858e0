"""A plugin's mistakes: each costs the plugin's own source at most, and is named."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from sessiongate.core import sources
from tests.program import DATA, PATIENCE, Forked, run
from tests.snippets import ROOT

ENTRY_POINTS = """\
[sessiongate.sources]
faulty = faulty:open_source
absent = absent_module:open_source
unnamed = faulty:absent_function
synthetic = faulty:open_source
"""
PLUGIN = '''\
"""A kind of source that makes the mistake that its option names."""

import asyncio
import sys

from sessiongate.core.sources import Observation, Observed
from sessiongate.v1.session_pb2 import Session


def odd_times():
    session = Session(service="odd")
    session.connect_time.seconds = session.last_active_time.seconds = 10**15
    session.queries.add(statement="SELECT 1").receive_time.nanos = -1
    return Observation([Observed("1", session)])


MISTAKES = {
    "raises": lambda: 1 / 0,
    "exits": lambda: sys.exit(3),
    "none": lambda: None,
    "key": lambda: Observation([Observed(1, Session())]),
    "session": lambda: Observation([Observed("1", {})]),
    "partial": lambda: Observation([], partial=5),
    "times": odd_times,
}


class Faulty:
    def __init__(self, mistake):
        self.mistake = mistake

    async def observe(self):
        if self.mistake == "hangs":
            await asyncio.sleep(3600)
        return MISTAKES[self.mistake]()

    async def close(self):
        1 / 0


def open_source(config):
    at_once = config.options.get("at_once")
    return MISTAKES[at_once]() if at_once else Faulty(config.options.get("mistake"))
'''
# What is said of each source that makes a mistake in an observation.
ERRORS = {
    "raises": "failed unexpectedly: ZeroDivisionError",
    "exits": "failed unexpectedly: SystemExit",
    "hangs": "did not respond within 1 s",
    "none": "observe() must return an Observation, got NoneType",
    "key": "failed unexpectedly: TypeError",
    "session": "failed unexpectedly: AttributeError",
    "partial": "failed unexpectedly: TypeError",
}


def test_each_name_that_a_plugin_may_use_is_described() -> None:
    page = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
    assert [name for name in sources.__all__ if f"`{name}`" not in page] == []


@pytest.fixture
def plugin(tmp_path: Path) -> str:
    """Install the plugin in a folder, and return it for ``PYTHONPATH``."""
    metadata = tmp_path / "faulty-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "faulty.py").write_text(PLUGIN)
    return str(tmp_path)


def test_a_mistake_in_an_observation_costs_only_its_source(plugin: str) -> None:
    names = [*ERRORS, "times"]
    faulty = [f"--source=faulty:?mistake={name}&name={name}" for name in names]
    faulty[names.index("hangs")] += "&timeout=1"
    document = f"--source=document:{DATA / 'sessions.json'}"
    with (
        Forked("--ledger", "sqlite://", document, *faulty, PYTHONPATH=plugin) as program,
        httpx.Client(
            base_url=f"http://{program.http}", timeout=PATIENCE, trust_env=False
        ) as client,
    ):
        found = client.get("/v1/sources").json()["data"]
        errors = {each["id"]: each["attributes"].get("last_error") for each in found}
        assert {name: errors[name] for name in ERRORS} == ERRORS
        assert errors["sessions.json"] is None
        sessions = client.get("/v1/sessions").json()
        assert sorted(sessions["meta"]["unreachable"]) == sorted(ERRORS)
        assert len(sessions["data"]) == 4
        listed = run("list", "--core", program.grpc)
        assert listed.returncode == 0, listed.stderr
        assert "odd" in listed.stdout


def line_of(mistake: str) -> int:
    """Return the number of the plugin's line that makes a mistake."""
    return PLUGIN[: PLUGIN.index(f'"{mistake}": ')].count("\n") + 1


# What is said of each source that cannot be opened. The text of an error in `open_source`
# may hold a password, so its place is named instead.
REFUSALS = {
    "absent:": "source absent: absent_module:open_source cannot be loaded: ModuleNotFoundError:"
    " No module named 'absent_module'",
    "unnamed:": "source unnamed: faulty:absent_function cannot be loaded: AttributeError:"
    " module 'faulty' has no attribute 'absent_function'",
    "synthetic:": "source synthetic: more than one package adds the kind 'synthetic': faulty,"
    " sessiongate; uninstall all but one",
    "faulty:?at_once=raises&name=raises": "source raises: faulty:open_source failed:"
    f" ZeroDivisionError in faulty.py, line {line_of('raises')}",
    "faulty:?at_once=exits&name=exits": "source exits: faulty:open_source failed:"
    f" SystemExit in faulty.py, line {line_of('exits')}",
    "faulty:?at_once=none&name=none": "source none: faulty:open_source must return a Source,"
    " which has observe and close; it returned NoneType",
}


def test_sources_that_cannot_be_opened_are_refused_with_a_line_each(plugin: str) -> None:
    arguments = [f"--source={source}" for source in REFUSALS]
    ended = run("check-config", *arguments, PYTHONPATH=plugin)
    lines = [f"sessiongate: --source: {text}" for text in REFUSALS.values()]
    assert (ended.returncode, ended.stderr.splitlines()) == (2, lines)
    ended = run("core", "--ledger", "sqlite://", arguments[-3], PYTHONPATH=plugin)
    refusal = REFUSALS["faulty:?at_once=raises&name=raises"]
    assert (ended.returncode, ended.stderr) == (2, f"sessiongate core: --source: {refusal}\n")


def test_what_fails_to_close_is_no_fault_of_the_settings(plugin: str) -> None:
    ended = run("check-config", "--source", "faulty:?mistake=none", PYTHONPATH=plugin)
    assert (ended.returncode, ended.stderr) == (0, "")
