"""The arrows of ARCHITECTURE.md, read off the import statements."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    path.relative_to(ROOT)
    for room in ("core", "gateway", "runtime", "proto/sessiongate")
    for path in (ROOT / room).rglob("*.py")
    if not path.stem.endswith(("_pb2", "_pb2_grpc"))
)


def parse(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """The dotted names that a module imports, wherever in it."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the arrows"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(*rooms: str) -> list[Path]:
    """The modules in folders, or at paths, of the repository."""
    found = [path for path in MODULES if any(path.is_relative_to(room) for room in rooms)]
    assert found, rooms
    return found


def reached(paths: list[Path], *packages: str) -> list[str]:
    """What of ``packages`` the modules import, as "module imports name"."""
    return [
        f"{path} imports {name}"
        for path in paths
        for name in imports(path)
        if name in packages or name.startswith(tuple(f"{package}." for package in packages))
    ]


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("core", ("gateway",)),
        ("gateway", ("core",)),
        ("runtime", ("core", "gateway")),
        ("proto/sessiongate", ("core", "gateway", "runtime")),
        # A small library of its own: JSON:API and HTTP, no session, no contract.
        ("gateway/jsonapi", ("sessiongate", "grpc", "google")),
        # The table, its queries and the ledger answer to whoever calls.
        ("core/table.py", ("grpc", "sqlalchemy", "core.sources", "core.ledger", "core.service")),
        ("core/query.py", ("grpc", "sqlalchemy", "core.sources", "core.ledger", "core.table")),
        ("core/ledger.py", ("grpc", "sessiongate", "core.table", "core.sources")),
        # A kind of source knows what a source must be, and nothing of who runs it.
        (
            "core/sources",
            ("grpc", "sqlalchemy", "core.table", "core.ledger", "core.collector", "core.service"),
        ),
        # What a session looks like is decided without asking how it came.
        ("gateway/resources.py", ("grpc", "starlette", "gateway.client", "gateway.sessions")),
    ],
)
def test_a_room_does_not_import(room: str, forbidden: tuple[str, ...]) -> None:
    assert reached(within(room), *forbidden) == []


def test_jsonapi_imports_nothing_of_the_gateway_around_it() -> None:
    arrows = reached(within("gateway/jsonapi"), "gateway", "runtime")
    # Of what both programs share, the nearest right name of any words.
    known = (" gateway.jsonapi", " runtime.suggestion")
    assert [arrow for arrow in arrows if not any(name in arrow for name in known)] == []
    assert reached(within("runtime/suggestion.py"), "runtime", "grpc", "sessiongate") == []


def test_only_the_client_opens_channels() -> None:
    openers = {
        path.as_posix()
        for path in MODULES
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Attribute) and node.attr in ("insecure_channel", "secure_channel")
    }
    assert openers == {"gateway/client.py"}


def test_middleware_is_pure_asgi() -> None:
    assert [path for path in MODULES if "BaseHTTPMiddleware" in (ROOT / path).read_text()] == []


def test_the_event_loop_is_asyncio_only() -> None:
    assert reached(MODULES, "anyio", "trio") == []


def test_a_client_needs_nothing_of_the_servers() -> None:
    """What the base distribution installs is enough for the contract's modules."""
    base = {"__future__", "collections", "types", "grpc", "google", "sessiongate"}
    outside = {
        name.partition(".")[0] for path in within("proto/sessiongate") for name in imports(path)
    }
    assert outside <= base


def test_no_module_is_longer_than_one_can_take_in() -> None:
    lengths = {path: len((ROOT / path).read_text().splitlines()) for path in MODULES}
    assert {path: length for path, length in lengths.items() if length > 350} == {}
