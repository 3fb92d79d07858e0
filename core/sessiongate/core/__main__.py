"""The core program: ``python -P -m sessiongate.core``, started by the command line.

It reads its configuration, one line of JSON, from standard input, prints
``listening on ADDRESS`` on standard output once it listens, and logs to standard
error. It exits with 0 after SIGTERM, SIGINT or, if so configured, the end of
standard input, and with 2 if a restart would not help.

With the argument ``check`` it reads the same configuration, prints its faults, one a line,
and exits with 0 or 2; it starts nothing. ``ledger ACTION`` reads the ledger's URL and the
action's parameters in the same way; a fault is one line on standard output.
"""

from __future__ import annotations

import signal
import sys

from sessiongate.runtime.descriptors import need_no_output, open_standard_streams

open_standard_streams()
need_no_output()


def main() -> int:
    """Run a core until it is stopped, or check its configuration; return the exit code."""
    # Until the core handles it, Ctrl-C ends this process silently, even during imports.
    # The parent process may have blocked it so far.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    if sys.argv[1:] == ["check"]:
        from sessiongate.core.checking import check

        return check()
    if sys.argv[1:2] == ["ledger"]:
        from sessiongate.core.ledger.tools import run_tool as keep

        return keep(sys.argv[2])
    from sessiongate.core.running import run

    return run()


if __name__ == "__main__":
    sys.exit(main())
