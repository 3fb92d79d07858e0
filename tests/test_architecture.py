"""The arrows of ARCHITECTURE.md, checked against the import statements."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Where each package of `sessiongate` is: the folder that holds it.
ROOTS = {
    "core": "core",
    "gateway": "gateway",
    "runtime": "runtime",
    "v1": "proto",
    "client": "proto",
}
MODULES = sorted(
    path.relative_to(ROOT / root / "sessiongate")
    for root in {*ROOTS.values()}
    for path in (ROOT / root).rglob("*.py")
    if not path.stem.endswith(("_pb2", "_pb2_grpc"))
)


def read(path: Path) -> str:
    return (ROOT / ROOTS[path.parts[0]] / "sessiongate" / path).read_text(encoding="utf-8")


def parse(path: Path) -> ast.Module:
    return ast.parse(read(path))


@cache
def imports(path: Path) -> list[str]:
    """Return the dotted names that a module imports anywhere."""
    names = []
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the arrows"
            assert node.module
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def within(*rooms: str) -> list[Path]:
    """Return the modules in folders, or at paths, of the repository."""
    found = [path for path in MODULES if any(path.is_relative_to(room) for room in rooms)]
    assert found, rooms
    return found


def reached(paths: list[Path], *packages: str) -> list[str]:
    """Return what of ``packages`` the modules import, as "module imports name"."""
    return [
        f"{path} imports {name}"
        for path in paths
        for name in imports(path)
        if name in packages or name.startswith(tuple(f"{package}." for package in packages))
    ]


BEGINNING = {"create_task", "ensure_future"}  # functions that begin a task
CORE, GATEWAY, RUNTIME = "sessiongate.core", "sessiongate.gateway", "sessiongate.runtime"


@pytest.mark.parametrize("room", ["table", "collect", "ledger", "sources"])
def test_the_domain_of_the_core_knows_no_grpc_however_far_one_follows(room: str) -> None:
    """Follow the imports of these rooms to their end."""
    known = {".".join(("sessiongate", *path.with_suffix("").parts)): path for path in MODULES}
    following = [name for name in known if name.startswith(f"{CORE}.{room}.")]
    assert following
    seen = set(following)
    while following:
        name = following.pop()
        for imported in imports(known[name]):
            assert imported.partition(".")[0] != "grpc", name
            if imported in known and imported not in seen:
                seen.add(imported)
                following.append(imported)


def within_core(*rooms: str) -> list[str]:
    return [f"{CORE}.{room}" for room in rooms]


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("core", (GATEWAY,)),
        ("gateway", (CORE,)),
        ("runtime", (CORE, GATEWAY)),
        ("v1", (CORE, GATEWAY, RUNTIME)),
        ("client", (CORE, GATEWAY)),
        # A small, separate library: JSON:API and HTTP, no session, no contract.
        ("gateway/jsonapi", ("sessiongate.v1", "grpc", "google")),
        # The table, its queries and the ledger serve any caller.
        (
            "core/table",
            ("grpc", "sqlite3", *within_core("sources", "ledger", "collect", "grpc")),
        ),
        ("core/ledger", ("grpc", *within_core("table", "grpc"))),
        ("core/ledger/store.py", ("sessiongate.v1", *within_core("sources"))),
        # Only the ledger knows which database it is kept in.
        *(
            (room, ("sqlite3", *within_core("ledger.sqlite")))
            for room in ("core/collect", "core/history", "core/grpc")
        ),
        ("core/ledger/base.py", ("sqlite3", *within_core("ledger.sqlite", "ledger.database"))),
        # A kind of source knows what a source must be, and nothing of what runs it.
        (
            "core/sources",
            ("grpc", "sqlite3", *within_core("table", "ledger", "collect", "grpc")),
        ),
        # A session's representation does not depend on how the session arrived.
        (
            "gateway/representation/session.py",
            ("grpc", "starlette", f"{GATEWAY}.upstream", f"{GATEWAY}.api", f"{GATEWAY}.http"),
        ),
    ],
)
def test_a_room_does_not_import(room: str, forbidden: tuple[str, ...]) -> None:
    assert reached(within(room), *forbidden) == []


def test_jsonapi_imports_nothing_of_the_gateway_around_it() -> None:
    arrows = reached(within("gateway/jsonapi"), GATEWAY, RUNTIME)
    # The only shared part it may use: the suggestion of the nearest valid word.
    known = (f" {GATEWAY}.jsonapi", f" {RUNTIME}.suggestion")
    assert [arrow for arrow in arrows if not any(name in arrow for name in known)] == []
    assert reached(within("runtime/suggestion.py"), RUNTIME, "grpc", "sessiongate.v1") == []


def test_only_the_client_opens_channels() -> None:
    openers = {
        path.as_posix()
        for path in MODULES
        if "secure_channel" in read(path)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Attribute) and node.attr in ("insecure_channel", "secure_channel")
    }
    assert openers == {"client/asynchronous_channels.py", "client/synchronous_channels.py"}


def test_middleware_is_pure_asgi() -> None:
    assert [path for path in MODULES if "BaseHTTPMiddleware" in read(path)] == []


def test_opentelemetry_is_imported_only_where_spans_are_recorded() -> None:
    recording = {Path("runtime/telemetry/spans.py"), Path("gateway/http/request_spans.py")}
    assert reached([path for path in MODULES if path not in recording], "opentelemetry") == []


def test_a_core_that_reads_no_maxscale_imports_no_aiohttp() -> None:
    """It would take a quarter of a second at each start."""
    rest = "core/sources/support/rest.py"
    assert reached([path for path in MODULES if path != Path(rest)], "aiohttp") == []
    name = f"{CORE}.sources.support.rest"
    readers = {arrow.partition(" ")[0] for arrow in reached(MODULES, name)}
    assert readers == {"core/sources/maxscale.py", "core/sources/acts/maxscale.py"}


def test_the_event_loop_is_asyncio_only() -> None:
    assert reached(MODULES, "anyio", "trio") == []


def test_a_task_that_goes_on_forever_outlives_errors_that_nobody_foresaw() -> None:
    """Whoever makes one uses `in_background`, or waits for it and so learns why it has ended."""
    ending: dict[str, set[Path]] = {}  # files by the names of loops that end by any error
    tasks = []
    for path in within(*ROOTS):
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.AsyncFunctionDef) and _loops_until_an_error(node):
                ending.setdefault(node.name, set()).add(path)
            elif isinstance(node, ast.Call) and _last_name(node.func) in BEGINNING:
                tasks.append((path, ast.unparse(node.args[0])))
    found = set()
    for path, begun in tasks:
        name = begun.partition("(")[0]
        files = ending.get(name.rpartition(".")[2], set())
        if path in files or (files and name.removeprefix("self.").count(".")):
            found.add(begun)
    assert found == {
        "self._membership.keep()",  # it is waited for
        "self._look_on()",  # each look outlives any error
        "core.start()",  # another one of this name has a loop
        "replica.run()",
    }


def _last_name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _loops_until_an_error(function: ast.AsyncFunctionDef) -> bool:
    return any(
        isinstance(each, ast.While | ast.For)
        and re.search(r"^while True:|\bawait asyncio\.sleep\(", ast.unparse(each))
        and not any(map(_handles_all, each.body))
        for each in function.body
    )


def _handles_all(node: ast.stmt) -> bool:
    handlers = node.handlers if isinstance(node, ast.Try) else []
    return any("Exception" in ast.unparse(each.type) for each in handlers if each.type)


def test_a_client_needs_nothing_of_the_servers() -> None:
    """The base distribution alone installs enough for the contract's modules and the client."""
    base = {*sys.stdlib_module_names, "grpc", "google", "sessiongate"}
    outside = {name.partition(".")[0] for path in within("v1", "client") for name in imports(path)}
    assert outside <= base
    # A clock is all that the client and the programs share besides the contract.
    clock = {f"{RUNTIME}.elapsed", f"{RUNTIME}.elapsed.elapsed"}
    assert {arrow.rpartition(" ")[2] for arrow in reached(within("client"), RUNTIME)} == clock
    assert {*imports(Path("runtime/elapsed.py"))} <= {
        "__future__",
        "__future__.annotations",
        "time",
    }


def test_each_root_holds_a_part_of_one_namespace_and_nothing_else() -> None:
    for package, root in ROOTS.items():
        folder = ROOT / root / "sessiongate"
        assert not (folder / "__init__.py").exists(), "it would hide the other roots"
        packages = {path.name for path in folder.iterdir() if path.is_dir()}
        assert packages == {other for other, home in ROOTS.items() if home == root}
        assert (folder / package / "py.typed").exists()


# Names that mean the same thing wherever they are defined.
SAME = {"aim", "app", "log", "main", "open_source"}


def test_one_public_name_means_one_thing() -> None:
    homes: dict[str, list[Path]] = {}
    for path in MODULES:
        for name in public(parse(path)):
            homes.setdefault(name, []).append(path)
    assert {
        name: paths for name, paths in homes.items() if len(paths) > 1 and name not in SAME
    } == {}


def public(module: ast.Module) -> Iterator[str]:
    """Yield the public classes, functions and constants that a module defines."""
    for node in module.body:
        names: list[str] = []
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        yield from (name for name in names if not name.startswith("_"))


def test_each_file_that_the_plan_names_is_there() -> None:
    """Paths of the programs leave out a level: `core/x.py` is `core/sessiongate/core/x.py`."""
    plan = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = {Path(found) for found in re.findall(r"`([a-z]+/[\w/.-]+\.(?:py|md|proto))`", plan)}
    assert len(named) > 200
    assert [
        path
        for path in sorted(named)
        if not (ROOT / path).exists() and not (ROOT / path.parts[0] / "sessiongate" / path).exists()
    ] == []


def test_no_module_is_longer_than_one_can_take_in() -> None:
    lengths = {path: len(read(path).splitlines()) for path in MODULES}
    assert {path: lines for path, lines in lengths.items() if lines > 350} == {}
