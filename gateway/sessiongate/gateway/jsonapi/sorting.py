"""The ``sort`` parameter: the order of a collection.

    sort=-connected,attributes.user

Names are as in `Path.of_name`; a minus sign means descending.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from sessiongate.gateway.jsonapi.members import Members, as_name
from sessiongate.gateway.jsonapi.parameters import invalid, names
from sessiongate.gateway.jsonapi.paths import Path, PathError, Resource, id_number

PARAMETER = "sort"
MAX_SORT_FIELDS = 8

_Row = TypeVar("_Row")
SortKey: TypeAlias = tuple[tuple[Any, ...], ...]

_LAST: tuple[Any, ...] = (1,)  # after every (0, …)
_INVERTED = bytes(max(0, 254 - byte) for byte in range(256))


@dataclass(frozen=True, slots=True)
class SortField:
    """One field to sort by."""

    path: Path
    descending: bool

    def part(self, value: object) -> tuple[Any, ...]:
        """Return the field's part of a row's sort key, given the row's value.

        Booleans come before numbers and numbers before strings, or in reverse if
        descending. Any other value counts as missing and comes last either way.
        """
        if type(value) is str:
            if self.path.names_id and (number := id_number(value)) is not None:
                return self._number(1, number)
            return (0, -2, _reversed(value)) if self.descending else (0, 2, value)
        if type(value) is int or type(value) is float:
            return self._number(1, value)
        if type(value) is bool:
            return self._number(0, int(value))
        return _LAST

    def _number(self, rank: int, value: float) -> tuple[Any, ...]:
        return (0, -rank, -value) if self.descending else (0, rank, value)


@dataclass(frozen=True, slots=True)
class Sort:
    """An order: by the first field, then by the second, and so on."""

    fields: tuple[SortField, ...]

    @classmethod
    def parse(cls, value: str, members: Members | None = None) -> Sort:
        """Parse the parameter; ``members`` checks the names. Raises `RequestError`."""
        fields: dict[str | None, SortField] = {}
        for name in names(PARAMETER, value, MAX_SORT_FIELDS):
            text = name.removeprefix("-")
            try:
                field = SortField(Path.of_name(text), name.startswith("-"))
            except PathError as error:
                raise invalid(PARAMETER, str(error)) from None
            if members is not None:
                members.check(PARAMETER, text, field.path.steps, as_name)
            fields.setdefault(field.path.pointer, field)  # a repeated field has no effect
        return cls(tuple(fields.values()))

    def key(self) -> Callable[[Resource], SortKey]:
        """Return a function from resource objects to sort keys, for `sorted` and `heapq`.

        Keys are equal if the order does not distinguish the objects: a stable sort
        keeps their existing order.
        """
        return self.key_by(lambda path: path.getter())

    def key_by(
        self, getter: Callable[[Path], Callable[[_Row], object]]
    ) -> Callable[[_Row], SortKey]:
        """Return the same for rows of another kind, or for values other than those shown.

        For a path, ``getter`` returns a function from a row to the value to compare, such as a
        time for a field that shows a string. It is called once for each field.
        """
        parts = [(getter(field.path), field.part) for field in self.fields]
        return lambda row: tuple([part(get(row)) for get, part in parts])


def _reversed(text: str) -> bytes:
    """Encode text so that it sorts in reverse: UTF-8 keeps code point order and has no byte 255."""
    return text.encode("utf-8", "surrogatepass").translate(_INVERTED) + b"\xff"
