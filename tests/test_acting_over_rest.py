"""Over REST, through the real command: a session of a real PostgreSQL ends, for an operator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sessiongate.gateway.jsonapi.document import MEDIA_TYPE
from tests.core.test_acts_postgresql import pid_of, sleeping
from tests.credentials import USER, CredentialFiles, basic, bearer
from tests.polling import eventually
from tests.postgres import PASSWORD, STORED, Clients, Postgres, is_alive, running_postgres
from tests.program import PATIENCE, Forked

ALICE = {"Authorization": basic()}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        postgres.execute(
            *(f"CREATE ROLE {name} LOGIN PASSWORD '{STORED}'" for name in ("app", "acts")),
            "GRANT pg_read_all_stats, pg_signal_backend TO acts",
        )
        yield postgres


@pytest.fixture
def clients() -> Iterator[Clients]:
    opened = Clients()
    yield opened
    opened.close()


@pytest.fixture
def http(server: Postgres, tmp_path: Path) -> Iterator[httpx.Client]:
    """Serve with two workers, and ask both: each request has a connection of its own."""
    files = CredentialFiles(tmp_path)
    names = tmp_path / "operators"
    names.write_text(f"{USER}\n")
    config = tmp_path / "sessiongate.toml"
    config.touch(mode=0o600)
    config.write_text(
        f'source = [{{ url = "postgresql://acts@127.0.0.1:{server.port}", name = "db",'
        f' password = "{PASSWORD}", interval = 0.2, actions = ["cancel", "terminate"] }}]\n'
    )
    with (
        Forked(
            *("--config", config, *files.flags, "--operators", names, "--workers", 2),
            *("--audit-log", tmp_path / "audit.log"),
        ) as served,
        httpx.Client(
            base_url=f"http://{served.http}", timeout=PATIENCE, headers={"Connection": "close"}
        ) as client,
    ):
        yield client


def the(http: httpx.Client, pid: str) -> tuple[str, str]:
    """Return the path and the ETag of a session, once it is shown; each worker has its copy."""

    def look() -> list[dict[str, Any]]:
        filters = {"filter[attributes.native_id]": json.dumps(pid)}
        answer = http.get("/v1/sessions", params=filters, headers=ALICE).raise_for_status()
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    (one,) = eventually(look)
    path = f"/v1/sessions/{one['id']}"
    return path, eventually(lambda: http.get(path, headers=ALICE).headers.get("etag", ""))


def test_the_right_one_of_two_equal_sessions_ends(
    http: httpx.Client, server: Postgres, clients: Clients, tmp_path: Path
) -> None:
    one, other = (clients.add(server.connect(user="app")) for _ in range(2))
    path, etag = the(http, pid_of(one))
    _, another = the(http, pid_of(other))
    assert http.delete(path, headers={"Authorization": bearer()}).status_code == 403
    assert http.delete(path, headers=ALICE | {"If-Match": another}).status_code == 412
    assert is_alive(one)
    answer = http.delete(path, headers=ALICE | {"If-Match": etag, "X-Request-ID": "of-alice"})
    assert answer.status_code == 204, answer.text
    assert not is_alive(one)
    assert is_alive(other)
    assert http.get("/v1/sessions", headers=ALICE).status_code == 200
    past = http.get(path.replace("/sessions", "/history/sessions"), headers=ALICE).json()["data"]
    assert past["attributes"]["end_reason"] == "terminated"
    assert past["attributes"]["ended_by"] == USER
    lines = [*map(json.loads, (tmp_path / "audit.log").read_text().splitlines())]
    assert [line["outcome"] for line in lines] == [
        *("operator_required", "session_changed", "begun", "done")
    ]
    assert [line["operator"] for line in lines] == ["bob", USER, USER, USER]
    assert {line["address"] for line in lines} == {"127.0.0.1"}
    assert lines[-1]["request_id"] == "of-alice"


def test_the_statement_that_was_seen_is_cancelled(
    http: httpx.Client, server: Postgres, clients: Clients
) -> None:
    client = clients.add(server.connect(user="app"))
    pid = pid_of(client)
    path, before = the(http, pid)
    with sleeping(client) as ended:

        def active() -> str:
            """Return the ETag of the active session; "" if the worker that answers is behind."""
            answer = http.get(path, headers=ALICE)
            if answer.status_code != 200:
                return ""
            activity = answer.json()["data"]["attributes"]["activity"]
            return answer.headers["etag"] if activity["state"] == "active" else ""

        eventually(active)
        sent = ALICE | {"Content-Type": MEDIA_TYPE}
        answer = http.post(f"{path}/cancel", headers=sent | {"If-Match": before})
        assert answer.status_code == 412
        assert not ended
        now = eventually(active)
        answer = http.post(f"{path}/cancel", headers=sent | {"If-Match": now})
        assert answer.status_code == 204, answer.text
        eventually(lambda: ended)
    assert is_alive(client)
