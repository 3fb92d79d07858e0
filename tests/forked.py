"""The command in a process that need not import it: it is forked from one that has."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

# What the command imports, some of it only for some commands.
IMPORTED = ["sessiongate.gateway.__main__", "sessiongate.gateway.cli.main", "typer._adapters"]
IMPORTED += ["sessiongate.gateway.cli.questions", "sessiongate.gateway.cli.tables"]


def command(
    arguments: Sequence[str], environment: Mapping[str, str], output: Path, errors: Path
) -> None:
    """Become the command, with this environment, and these files as its output."""
    from sessiongate.gateway.__main__ import main

    for stream, path in ((1, output), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()  # to the zone of this environment
    sys.argv[1:] = arguments
    main()
