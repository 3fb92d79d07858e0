"""Ids of resources and events that are numbers of 64 bits."""

from __future__ import annotations

import re

_ID = re.compile("0*([1-9][0-9]{0,19})")
_MAX_ID = 2**64 - 1


def parse_id(text: str) -> int | None:
    """Parse an id from 1 to 2^64-1; return None if the text is not one."""
    found = _ID.fullmatch(text)
    return int(found[1]) if found and int(found[1]) <= _MAX_ID else None
