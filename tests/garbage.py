"""What a search for garbage costs."""

from __future__ import annotations

import gc


def searched() -> int:
    """Return how many objects a search goes through."""
    gc.collect()
    return len(gc.get_objects())


def visited() -> int:
    """Return how many objects a search visits, each as often as it does.

    It goes through what is searched, and looks at all that this refers to.
    """
    gc.collect()
    return sum(1 + len(gc.get_referents(each)) for each in gc.get_objects())
