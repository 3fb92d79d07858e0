"""The configuration file that a package installs: each setting of `serve`, with its default.

It is made from what `sessiongate serve --help` is made from. Nothing in it is in force.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from sessiongate.gateway.cli.main import app

_HEAD = """\
# Settings of Sessiongate, in TOML. Each line that begins with "#name =" is a setting with its
# default, or with a placeholder in capitals: remove the "#" and change the value.
#
# The service reads this file when it starts. Look for mistakes first:
#   sessiongate check-config --config /etc/sessiongate/sessiongate.toml
#   systemctl restart sessiongate
"""
_WIDTH = 100


def settings_file() -> str:
    """Return the file's text."""
    command = get_command(app).commands["serve"]  # type: ignore[attr-defined] # a group
    titles: dict[str, list[Any]] = {}
    for option in command.params:
        if option.envvar and option.name != "config":
            title = getattr(option, "rich_help_panel", None) or "Sources, ledger and listeners"
            titles.setdefault(title, []).append(option)
    parts = [_HEAD]
    for title, options in titles.items():
        parts += [f"\n## {title}\n", *(text for option in options for text in _lines(option))]
    return "".join(parts)


def _lines(option: Any) -> Iterator[str]:
    yield "\n"
    for line in textwrap.wrap(option.help, _WIDTH - 2):
        yield f"# {line}\n"
    yield f"#{option.name} = {_value(option)}\n"


def _value(option: Any) -> str:
    """Return an option's default as TOML has it, or a placeholder."""
    default = None if callable(option.default) else option.default
    if isinstance(default, str) and default in ("on", "off"):
        return "true" if default == "on" else "false"
    if option.multiple:
        return json.dumps([*(default or [option.metavar])])
    if default is None:
        return json.dumps(option.metavar)
    return json.dumps(default)
