"""The command ``sessiongate``."""

from __future__ import annotations

import errno
import os
import signal
import sys

from sessiongate.runtime.descriptors import open_standard_streams
from sessiongate.runtime.exit_codes import EXIT_UNRECOVERABLE

open_standard_streams()

# Ctrl-C ends this process silently until a command has something to clean up and handles it.
# It may arrive during imports, also in a worker, which imports this module first.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

# Error numbers of a write if nothing more fits or nothing is open.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def main() -> None:
    """Run the command; if a package that it needs is missing, say how to install it."""
    try:
        _run()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "sessiongate":
            raise
        wanted = "pip install 'sessiongate[server]'"
        if error.name == "typer":  # the base is installed alone
            wanted = f"pip install 'sessiongate[cli]', or {wanted} to run a server"
        print(f"sessiongate: {error.name} is not installed: {wanted}", file=sys.stderr)
        sys.exit(EXIT_UNRECOVERABLE)


def _run() -> None:
    from sessiongate.gateway.cli.main import app

    try:
        try:
            app(prog_name="sessiongate")
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.EPIPE, *_FULL):
            raise
        # Keeps Python from trying to write the rest when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            sys.exit(1)  # its reader has seen enough
        sys.exit(f"sessiongate: the output cannot be written: {error.strerror}")


if __name__ == "__main__":
    main()
