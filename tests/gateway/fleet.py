"""A document whose sessions have everything that sessions may have, and services of every name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SERVICES = (
    "RW-Split-Router",
    "a/b",
    "50%",
    "50%25",
    "%2F",
    "..",
    ".",
    "naïve café",
    "😀",
    "a?b#c&d=e;f",
    "sessions",
    "'\"\\",
    "+ +",
    "\u202eright to left",
)
STATES = ("Session started", "Session ready for routing", "Listener Session")
SIZE = 60


def write_fleet(path: Path) -> Path:
    """Write the document, with ids from 1 to `SIZE`."""
    items = [_item(ident) for ident in range(1, SIZE + 1)]
    path.write_text(json.dumps({"data": items}), encoding="utf-8")
    return path


def _item(ident: int) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "state": STATES[ident % 3],
        "connected": f"Wed May {ident % 28 + 1:2} 10:06:{ident % 60:02} 2017",
    }
    if ident % 4:
        attributes |= {
            "user": f"user{ident % 5}",
            "remote": f"192.0.2.{ident}",
            "port": 5000 + ident,
        }
    if ident % 3 == 0:
        attributes |= {
            "idle": ident / 10,
            "database": "shöp",
            "connections": [
                {"server": f"db-{ident % 2}", "connection_id": ident},
                {"server": "db-9", "cipher": "TLS_AES_256_GCM_SHA384"},
            ],
            "client": {
                "cipher": "TLS_AES_256_GCM_SHA384",
                "connection_attributes": {"_client_name": "lib", "program": f"p{ident}"},
            },
            "memory": {"total": 1000 * ident},
            "io_activity": ident,
            "thread": ident % 4,
            "application": '"quoted" \u2028',
        }
    service = SERVICES[ident % len(SERVICES)]
    return {
        "id": str(ident),
        "type": "sessions",
        "relationships": {"services": {"data": [{"id": service, "type": "services"}]}},
        "attributes": attributes,
    }
