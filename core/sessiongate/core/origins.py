"""Where a wrong setting came from, as whoever started the core says."""

from __future__ import annotations

import json
from collections.abc import Mapping


def origins_of(configuration: str) -> Mapping[str, str]:
    """Return the origins that a configuration states, even a wrong one."""
    try:
        return dict(json.loads(configuration)["origins"])
    except (ValueError, TypeError, KeyError):
        return {}


def named(text: str, setting: str, origins: Mapping[str, str]) -> str:
    """Put the place that a setting's value came from before a text about the setting."""
    if not setting:
        return text
    place = origins.get(setting, "--" + setting.replace("_", "-"))
    return f"{place}: {text.removeprefix(f'{setting}: ')}"
