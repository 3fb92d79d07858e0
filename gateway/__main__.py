"""The command ``sessiongate``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; where its needs are not installed, say how to install them."""
    try:
        from gateway.cli import app
    except ModuleNotFoundError as error:
        sys.exit(
            f"sessiongate: the module {error.name!r} is missing: the base package is for"
            " clients. Install the servers' needs too: pip install 'sessiongate[server]'"
        )
    app(prog_name="sessiongate")


if __name__ == "__main__":
    main()
