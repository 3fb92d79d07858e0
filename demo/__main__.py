"""``python -m demo``: real servers with lively clients, and Sessiongate over them.

``make demo`` runs it. It exits with 0 when it is stopped, with 1 if a part fails, and with 2 if
the command line is wrong.
"""

from __future__ import annotations

import sys

from demo.stop import Stop, Stopped


def main() -> int:
    """Run the demonstration until it is stopped; return the exit code."""
    stop = Stop()  # before what takes a second to import
    from demo.demonstration import demonstrate
    from tests.servers import ServerError

    try:
        demonstrate(stop)
    except (ServerError, OSError) as error:  # also a full disk, or output that nobody reads
        print(f"\n{error}", file=sys.stderr)
        return 1
    except Stopped:
        return 0


if __name__ == "__main__":
    sys.exit(main())
