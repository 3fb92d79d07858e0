"""Several servers behind the ledger's name that accept writes; real servers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable

import pytest

from sessiongate.core.fleet import primaries
from sessiongate.core.fleet.primaries import PrimaryWatch
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.sources.base import SourceConnectError
from tests.core.engines import ROLE, running_engine
from tests.polling import eventually
from tests.postgres import PASSWORD, STORED, running_postgres


def test_two_servers_that_accept_writes_are_named_until_one_is_stopped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = ["127.0.0.1", "::1"]

    async def addresses(of: Hashable, host: str) -> list[str]:
        assert host == "localhost"
        if not found:
            raise SourceConnectError("the name service does not respond")
        return found

    monkeypatch.setattr(primaries, "addresses", addresses)
    caplog.set_level(logging.WARNING, "sessiongate.core.fleet.primaries")
    with running_engine(listen_addresses="127.0.0.1") as engine:
        port = engine.server.port
        place = LedgerPlace.parse(f"postgresql://{ROLE}:{PASSWORD}@localhost:{port}/postgres")
        watch = PrimaryWatch(place)

        def trouble() -> str:
            asyncio.run(watch.look())
            return watch.trouble

        assert trouble() == ""
        found[:] = ["127.0.0.1", "127.0.0.1"]
        assert trouble() == "", "one server at two addresses"
        found[:] = ["127.0.0.1", "::1"]
        with running_postgres(PASSWORD, listen_addresses="::1", port=port) as another:
            with another.connect(host="::1", port=port) as connection:
                connection.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{STORED}'".encode())
            text = eventually(trouble)
            assert text.startswith("several servers of the ledger accept writes: 127.0.0.1 (system")
            assert " and ::1 (system" in text
            assert PASSWORD not in text
            found.clear()
            assert trouble() == text, "the name service tells nothing of the servers"
            found[:] = ["127.0.0.1", "::1"]
        eventually(trouble, lambda text: not text)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
