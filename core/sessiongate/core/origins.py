"""Where a setting that is wrong came from, as whoever started the core told it."""

from __future__ import annotations

import json
from collections.abc import Mapping


def origins_of(configuration: str) -> Mapping[str, str]:
    """The origins that a configuration tells, also one that is wrong."""
    try:
        return dict(json.loads(configuration)["origins"])
    except (ValueError, TypeError, KeyError):
        return {}


def named(text: str, setting: str, origins: Mapping[str, str]) -> str:
    """A text about a setting, behind the place that its value came from."""
    if not setting:
        return text
    place = origins.get(setting, "--" + setting.replace("_", "-"))
    return f"{place}: {text.removeprefix(f'{setting}: ')}"
