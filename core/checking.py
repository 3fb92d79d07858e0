"""What is wrong with a configuration, all of it, found without starting anything."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from core.config import ConfigError, CoreConfig, read_source
from core.ledger_file import ledger_path
from core.ledger_lock import LedgerError
from core.running import EXIT_HOPELESS
from core.sources.base import SourceConfig, SourceConfigError, open_source
from runtime.file_value import read_file, trouble


def check() -> int:
    """Print what is wrong with the configuration on standard input; the exit code."""
    found = list(faults(json.loads(sys.stdin.readline())))
    for line in found:
        print(line)
    return EXIT_HOPELESS if found else 0


def faults(values: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a configuration, a line each."""
    sources = values.pop("source")
    names = Counter[str]()
    for value in sources:
        try:
            config = read_source(value)
            names[config.name] += 1
            asyncio.run(open_source(config).close())
        except (ConfigError, SourceConfigError) as error:
            yield str(error)
        else:
            yield from _files(config)
    for name, times in names.items():
        if times > 1:
            yield f"source: {times} are named {name!r}; add name=… to all but one"
    try:
        yield from _ledger(CoreConfig.from_json(json.dumps(values)).ledger)
    except ConfigError as error:
        yield str(error)


def _files(config: SourceConfig) -> Iterator[str]:
    """What is wrong with the files that a source names."""
    options = config.options
    named = {key: options[key] for key in ("password_file", "tls_ca") if key in options}
    if config.kind == "document":
        named["document"] = unquote(config.location)
    for key, path in named.items():
        if wrong := trouble(read_file, Path(path)):
            yield f"source {config.name}: {key}: {wrong}"


def _ledger(url: str) -> Iterator[str]:
    """Why the ledger's file could not be opened or made."""
    try:
        path = ledger_path(url)
    except LedgerError as error:
        yield f"ledger: {error}"
        return
    if path is None:
        return
    if path.is_dir():
        yield f"ledger: {path} is a folder, not a file"
    elif path.exists():
        if not os.access(path, os.R_OK | os.W_OK):
            yield f"ledger: {path} cannot be read and written by user {os.geteuid()}"
    elif not (folder := next(each for each in path.absolute().parents if each.exists())).is_dir():
        yield f"ledger: {path} cannot be made: {folder} is a file, not a folder"
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield f"ledger: {path} cannot be made: user {os.geteuid()} may not write in {folder}"
