"""Writes the figures of a full run into the documentation: between the two marks of that name."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    """Run ``python -m tests.faults.report FIGURES DOCUMENT NAME``."""
    figures, document, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    rows = [json.loads(line) for line in figures.read_text(encoding="utf-8").splitlines()]
    lines = ["| what | figure |", "|---|---|"]
    lines += [f"| {name} | {_shown(value)} |" for name, value in rows]
    text = document.read_text(encoding="utf-8")
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    document.write_text("\n".join([before + begin, *lines, end + after]), encoding="utf-8")


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {count:,}" for name, count in sorted(value.items()))
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
