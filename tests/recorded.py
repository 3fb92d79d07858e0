"""A document source whose sessions a test chooses from those of the reference text."""

from __future__ import annotations

import json
from pathlib import Path

from tests.program import DATA

_ALL = json.loads((DATA / "sessions.json").read_text())


def show(file: Path, *numbers: int, state: str = "Listener Session") -> None:
    """Make a document hold some of the reference text's sessions."""
    sessions = json.loads(json.dumps([_ALL["data"][number - 1] for number in numbers]))
    for session in sessions:
        session["attributes"]["state"] = state
    new = file.with_suffix(".new")
    new.write_text(json.dumps({**_ALL, "data": sessions}))
    new.replace(file)
