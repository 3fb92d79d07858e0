"""Sources of a configuration file, as the command and its core read it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import sessiongate.gateway.cli.main
from sessiongate.core.settings import CoreConfig
from sessiongate.core.sources.base import SourceConfig
from tests.invoking import invoke


def sources_in(text: str, folder: Path) -> tuple[SourceConfig, ...]:
    """Write a configuration into a file of the folder; return the sources that it names."""
    file = folder / "sessiongate.toml"
    file.write_text(text, encoding="utf-8")
    told: list[Mapping[str, object]] = []
    without = {name: None for name in os.environ if name.startswith("SESSIONGATE_")}
    with patch.object(
        sessiongate.gateway.cli.main, "become_core", told.append
    ):  # it would replace this process
        result = invoke("core", "--config", str(file), **without)
    assert result.exit_code == 0, result.output
    (settings,) = told
    return CoreConfig.from_json(json.dumps(settings)).sources
