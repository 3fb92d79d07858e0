"""Programs that many tests can share, since these only ask."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.gateway.programs import DATA, LONG, Gateway, running_core, running_gateway
from tests.gateway.scripted import ScriptedCore, listening


@pytest.fixture(scope="session")
def core() -> Iterator[str]:
    """A core that shows the reference text's sessions."""
    with running_core(f"document:{DATA / 'sessions.json'}") as address:
        yield address


@pytest.fixture(scope="session")
def gateway(core: str) -> Iterator[Gateway]:
    """A gateway in front of `core`."""
    with running_gateway(core) as running:
        yield running


@pytest.fixture(scope="session")
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    """A client of `gateway`, which calls it by the name that the reference text does."""
    headers = {"Host": "localhost:8989"}
    with httpx.Client(base_url=gateway.url, headers=headers, timeout=LONG) as client:
        yield client


@pytest.fixture
def scripted() -> Iterator[tuple[ScriptedCore, str]]:
    """A core to be told what to do, and its address."""
    core = ScriptedCore()
    with listening(core) as address:
        yield core, address
