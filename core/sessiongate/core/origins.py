"""The origin of an invalid setting, as stated by the program that started the core."""

from __future__ import annotations

import json
from collections.abc import Mapping


def origins_of(configuration: str) -> Mapping[str, str]:
    """Return the origins that a configuration states, even an invalid one."""
    try:
        return dict(json.loads(configuration)["origins"])
    except (ValueError, TypeError, KeyError):
        return {}


def named(text: str, setting: str, origins: Mapping[str, str]) -> str:
    """Prefix a text about a setting with the origin of the setting's value."""
    if not setting:
        return text
    place = origins.get(setting, "--" + setting.replace("_", "-"))
    return f"{place}: {text.removeprefix(f'{setting}: ')}"
