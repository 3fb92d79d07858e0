"""``python -m sessiongate.gateway.cli.manual FOLDER`` writes the manual there, as in share/man.

The pages' date is that of SOURCE_DATE_EPOCH, in seconds since 1970, or today's.
"""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

from sessiongate.gateway.cli.manual.pages import pages


def main() -> None:
    """Write a file for each page, in man1 and man5."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m sessiongate.gateway.cli.manual FOLDER")
    folder = Path(sys.argv[1])
    moment = os.environ.get("SOURCE_DATE_EPOCH") or str(int(time.time()))
    if not re.fullmatch("[0-9]{1,11}", moment):
        sys.exit(f"SOURCE_DATE_EPOCH must be a number of seconds since 1970, got {moment!r}")
    for name, text in pages(time.strftime("%Y-%m-%d", time.gmtime(int(moment)))).items():
        try:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="ascii")
        except OSError as error:
            sys.exit(f"{folder / name}: {error.strerror}")


main()
