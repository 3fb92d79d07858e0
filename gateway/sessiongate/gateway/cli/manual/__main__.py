"""``python -m sessiongate.gateway.cli.manual FOLDER`` writes the manual there, as in share/man.

The pages' date is that of SOURCE_DATE_EPOCH, in seconds since 1970, or today's.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from sessiongate.gateway.cli.manual.pages import pages


def main() -> None:
    """Write a file for each page, in man1 and man5."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m sessiongate.gateway.cli.manual FOLDER")
    folder = Path(sys.argv[1])
    moment = float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    for name, text in pages(time.strftime("%Y-%m-%d", time.gmtime(moment))).items():
        try:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="ascii")
        except OSError as error:
            sys.exit(f"{folder / name}: {error.strerror}")


main()
