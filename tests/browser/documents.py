"""Documents of sessions that are doing something, as a source that a test rewrites."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sessiongate.v1.activities import ACTIVITY_WORDS

USERS = ("billing", "webshop", "reports", "nightly", "anna")
APPLICATIONS = ("checkout", "invoicer", "dashboard", "psql")
DATABASES = ("orders", "warehouse", "ledger")
SERVICES = ("orders-rw", "orders-ro", "reports/eu")
CROWD = 72
_WORDS = sorted(ACTIVITY_WORDS.values())


def ago(seconds: float) -> str:
    """Return the time so many seconds ago, as an activity states it."""
    moment = datetime.now(UTC) - timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def session(ident: int, service: str = "shop", **attributes: Any) -> dict[str, Any]:
    """Make a session; ``attributes`` are those of REST."""
    return {
        "id": str(ident),
        "type": "sessions",
        "relationships": {"services": {"data": [{"id": service, "type": "services"}]}},
        "attributes": {
            "state": "Session started",
            "connected": "Wed May 17 10:06:35 2017",
            **attributes,
        },
    }


def blocked(ident: int, by: Sequence[int], seconds: float = 90, **attributes: Any) -> Any:
    """Make a session that waits for others."""
    activity = {
        "state": "waiting",
        "since": ago(seconds),
        "wait": "Lock: transactionid",
        "transaction_started": ago(seconds + 5),
        "blocked_by": [str(each) for each in by],
    }
    return session(ident, activity=activity, **attributes)


def fleet(size: int) -> list[dict[str, Any]]:
    """Make sessions, with ids from 1 on, of every activity, and some that lack values."""
    return [_member(ident) for ident in range(1, size + 1)]


def _member(ident: int) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "connected": f"Wed May {1 + ident % 28:2} 10:{ident % 60:02}:35 2017"
    }
    if ident % 7:
        attributes |= {
            "user": USERS[ident % len(USERS)],
            "remote": f"192.0.2.{1 + ident % 50}",
            "port": 40000 + ident,
            "application": APPLICATIONS[ident % len(APPLICATIONS)],
        }
    if ident % 5:
        attributes["database"] = DATABASES[ident % len(DATABASES)]
    if ident % 3:
        word = _WORDS[ident // 3 % len(_WORDS)]
        attributes["activity"] = {"state": word, "since": ago(10 * ident)}
        if "transaction" in word:
            attributes["activity"]["transaction_started"] = ago(20 * ident)
    if ident % 11 == 0:
        attributes |= {
            "connections": [{"server": "db-1", "connection_id": ident, "cipher": ""}],
            "client": {"cipher": "TLS_AES_256_GCM_SHA384",
                       "connection_attributes": {"_client_name": "lib", "program": "x"}},
            "memory": {"total": 2**40 + ident},
            "thread": 3,
        }  # fmt: skip
    return session(ident, SERVICES[ident % len(SERVICES)], **attributes)


def crowd() -> list[dict[str, Any]]:
    """Make a fleet, and some that wait for its first session; in all, `CROWD` sessions."""
    return [*fleet(CROWD - 8), *(blocked(CROWD - each, [1]) for each in range(8))]


def write(path: Path, sessions: Iterable[dict[str, Any]]) -> Path:
    """Write the document, whole or not at all."""
    written = path.with_suffix(".new")
    written.write_text(json.dumps({"data": [*sessions]}), encoding="utf-8")
    return written.replace(path)
