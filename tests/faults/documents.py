"""Documents of many sessions, as a source to serve."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


def write_document(path: Path, sessions: int) -> None:
    """Write that many sessions, with ids from 1 and users of the same number."""
    write_users(path, {number: number for number in range(1, sessions + 1)})


def write_users(path: Path, users: Mapping[int, int]) -> None:
    """Write a session for each id, of the user with that number."""
    data = [
        {
            "id": str(ident),
            "type": "sessions",
            "relationships": {"services": {"data": [{"id": "app", "type": "services"}]}},
            "attributes": {
                "state": "Session started",
                "connected": "Wed May 17 10:06:35 2017",
                "user": f"user-{user}",
            },
        }
        for ident, user in users.items()
    ]
    written = path.with_suffix(".new")
    written.write_text(json.dumps({"data": data}))
    written.replace(path)  # so that readers never see half of it
