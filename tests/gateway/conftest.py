"""Programs that many tests can share, since these tests only read.

What a caller may rely on is tested over both views: each test that requests `http` or
`fleet` runs with a gateway that answers from a replica, and with one that asks the core.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import cast

import httpx
import pytest

from tests.gateway.fleet import write_fleet
from tests.gateway.programs import (
    DATA,
    VIEWS,
    Gateway,
    client_of,
    running_core,
    viewing_gateway,
)
from tests.gateway.scripted import ScriptedCore, listening


@pytest.fixture(scope="session", params=VIEWS)
def view(request: pytest.FixtureRequest) -> str:
    """Name the view that the gateways answer from."""
    return cast(str, request.param)


@pytest.fixture(scope="session")
def core() -> Iterator[str]:
    """Run a core that shows the reference text's sessions."""
    with running_core(f"document:{DATA / 'sessions.json'}") as address:
        yield address


@pytest.fixture(scope="session")
def gateway(core: str, view: str) -> Iterator[Gateway]:
    """Run a gateway in front of `core`."""
    with viewing_gateway(core, view) as running:
        yield running


@pytest.fixture(scope="session")
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    """Open a client of `gateway`."""
    with client_of(gateway) as client:
        yield client


@pytest.fixture(scope="session")
def fleet_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a core whose sessions have every field."""
    path = write_fleet(tmp_path_factory.mktemp("fleet") / "fleet.json")
    with running_core(f"document:{path}") as address:
        yield address


@pytest.fixture(scope="session")
def fleet_gateway(fleet_core: str, view: str) -> Iterator[Gateway]:
    """Run a gateway in front of `fleet_core`."""
    with viewing_gateway(fleet_core, view) as running:
        yield running


@pytest.fixture(scope="session")
def fleet(fleet_gateway: Gateway) -> Iterator[httpx.Client]:
    """Open a client of `fleet_gateway`."""
    with client_of(fleet_gateway) as client:
        # Another change could still come in the second of the last one.
        while "last-modified" not in client.get("/v1/sessions").headers:
            time.sleep(0.05)
        yield client


@pytest.fixture(scope="session")
def walker(fleet_gateway: Gateway, fleet: httpx.Client) -> Iterator[httpx.Client]:
    """Open a client that asks for hundreds of documents, each only once, after `fleet`'s wait."""
    with client_of(fleet_gateway, again=False) as client:
        yield client


@pytest.fixture
def scripted() -> Iterator[tuple[ScriptedCore, str]]:
    """Serve a core that tests script; yield it and its address."""
    core = ScriptedCore()
    with listening(core) as address:
        yield core, address
