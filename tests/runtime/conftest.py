"""Settings of all tests of the runtime."""

from __future__ import annotations

import pytest

from sessiongate.runtime import watched_file
from tests.servers import PATIENCE


@pytest.fixture(autouse=True)
def files_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a change of a file be seen as soon as it is looked for, however slow the machine is."""
    monkeypatch.setattr(watched_file, "_WAIT", PATIENCE)
    monkeypatch.setattr(watched_file, "_QUICK", PATIENCE)
