"""Finds all faults of a configuration, without starting anything."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from sessiongate.core.ledger.file import ledger_path
from sessiongate.core.ledger.lock import LedgerError, refuse_what_is_no_ledger
from sessiongate.core.origins import named
from sessiongate.core.settings import ConfigError, CoreConfig, read_source
from sessiongate.core.sources.base import SourceConfig, SourceConfigError, SourceError, open_source
from sessiongate.core.sources.document import MAX_DOCUMENT_BYTES, has_login
from sessiongate.core.sources.support.jsonapi_sessions import read_sessions
from sessiongate.core.sources.support.serverzone import ServerZone
from sessiongate.core.sources.support.session_times import DocumentTimes
from sessiongate.runtime.core_settings import SourceValue
from sessiongate.runtime.exit_codes import EXIT_UNRECOVERABLE
from sessiongate.runtime.urls import is_in_postgresql
from sessiongate.runtime.watched_file import MAX_FILE_BYTES, FileError, read_file, trouble

_ELSEWHERE = "//user@host.invalid"  # a valid location
_MAX_OPTIONS = 20  # of a URL, that are tried one by one


def check() -> int:
    """Print the faults of the configuration on standard input; return the exit code."""
    found = list(faults(json.loads(sys.stdin.readline())))
    for line in found:
        print(line)
    return EXIT_UNRECOVERABLE if found else 0


def faults(values: dict[str, Any]) -> Iterator[str]:
    """Yield the faults of a configuration, one per line, with the setting's origin."""
    origins = values.pop("origins", {})
    for text in _of_sources(values.pop("source", ())):
        yield named(text, "source", origins)
    try:
        for text in _ledger(CoreConfig.from_json(json.dumps(values)).ledger):
            yield named(text, "ledger", origins)
    except ConfigError as error:
        yield named(str(error), error.setting, origins)


def _of_sources(sources: Sequence[SourceValue]) -> Iterator[str]:
    names = Counter[str]()
    for value in sources:
        found, config = _of_source(value)
        yield from found
        if config is not None:
            names[config.name] += 1
            yield from _files(config)
    for name, times in names.items():
        if times > 1:
            yield f"{times} sources are named {name!r}; add name=… to all but one"


def _of_source(value: SourceValue) -> tuple[list[str], SourceConfig | None]:
    """Return a source's faults, and its configuration without them; None if there is none.

    A kind reports one fault at a time. So leave out the option or the location that causes
    it, until there is no fault or none that goes away.
    """
    found: list[str] = []
    config = _config(value)
    while fault := _fault(value):
        found.append(fault)
        for other in _variants(value, config):
            if _fault(other) not in found:
                value = other
                break
        else:
            break
    return found, config or _config(value)


def _fault(value: SourceValue) -> str:
    """Return why a source cannot be opened; empty if it can."""
    try:
        source = open_source(read_source(value))
    except SourceConfigError as error:
        return str(error)
    with suppress(Exception):  # a plugin's; its settings are not to blame
        asyncio.run(source.close())
    return ""


def _config(value: SourceValue) -> SourceConfig | None:
    try:
        return read_source(value)
    except SourceConfigError:
        return None


def _variants(value: SourceValue, config: SourceConfig | None) -> Iterator[SourceValue]:
    """Yield a source without each of its options, the last first; then at another location.

    All keep its name, which is part of every error.
    """
    beside = {"url": value} if isinstance(value, str) else dict(value)
    url = str(beside["url"])
    for key in reversed([*beside]):
        if key not in ("url", "name"):
            yield {other: beside[other] for other in beside if other != key}
    location, _, query = url.partition("?")
    pairs = query.split("&") if query else []
    for index in reversed(range(min(len(pairs), _MAX_OPTIONS))):
        if not pairs[index].startswith("name="):
            rest = "&".join(pairs[:index] + pairs[index + 1 :])
            yield {**beside, "url": f"{location}?{rest}" if rest else location}
    if config is not None:
        kind = location.partition(":")[0]
        yield {**beside, "url": f"{kind}:{_ELSEWHERE}?{query}".rstrip("?"), "name": config.label}


def _files(config: SourceConfig) -> Iterator[str]:
    """Yield the faults of the files that a source names."""
    options = config.options
    paths = {key: options[key] for key in ("password_file", "tls_ca") if key in options}
    if config.kind == "document" and config.location and not has_login(config.location):
        paths["document"] = unquote(config.location)
    for key, path in paths.items():
        most = MAX_DOCUMENT_BYTES if key == "document" else MAX_FILE_BYTES
        read = partial(_read_document if key == "document" else read_file, most=most)
        if fault := trouble(read, Path(path)):
            yield f"source {config.name}: {key}: {fault}"


def _read_document(path: Path, most: int) -> None:
    """Read a document as its source does. Raises `FileError`."""
    try:
        read_sessions(read_file(path, most), DocumentTimes(0, ServerZone(ZoneInfo("UTC"))))
    except SourceError as error:
        raise FileError(f"{path}: {error}") from None


def _ledger(url: str) -> Iterator[str]:
    """Yield the reasons why the ledger could not be opened or created, as far as files say."""
    if is_in_postgresql(url):
        from sessiongate.core.ledger.postgresql.place import LedgerPlace

        try:
            LedgerPlace.parse(url).parameters()
        except (LedgerError, SourceError) as error:
            yield str(error)
        return
    try:
        path = ledger_path(url)
        if path is not None:
            refuse_what_is_no_ledger(path)
    except LedgerError as error:
        yield str(error)
        return
    if path is None:
        return
    if path.exists():
        if not os.access(path, os.R_OK | os.W_OK):
            yield f"user {os.geteuid()} cannot read and write {path}"
    elif not (folder := next(each for each in path.absolute().parents if each.exists())).is_dir():
        yield f"{path} cannot be created: {folder} is a file, not a folder"
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield f"{path} cannot be created: user {os.geteuid()} may not write to {folder}"
