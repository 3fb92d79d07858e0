"""A FieldMask, parsed once: the fields of a session to return."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from sessiongate.v1.session_pb2 import Session

_DESCRIPTOR = cast(Descriptor, Session.DESCRIPTOR)


def is_path(path: str) -> bool:
    """Return whether a path of a FieldMask is valid for `Session`."""
    return FieldMask(paths=[path]).IsValidForDescriptor(_DESCRIPTOR)


@dataclass(frozen=True, slots=True)
class Mask:
    """The parts of a message to omit: a thousand paths cost no more than one."""

    without: tuple[str, ...]  # fields
    within: tuple[tuple[str, Mask], ...]  # fields of which a part is omitted

    @classmethod
    def of(cls, paths: Iterable[str]) -> Mask:
        """Make a mask from valid paths."""
        return cls._of((path.split(".") for path in paths), _DESCRIPTOR)

    @classmethod
    def _of(cls, paths: Iterable[list[str]], of: Descriptor | None) -> Mask:
        fields = {} if of is None else of.fields_by_name
        below: dict[str, list[list[str]]] = {}
        for name, *rest in paths:
            below.setdefault(name, []).append(rest)
        within = []
        for name, parts in below.items():
            if [] not in parts:  # else all of the field is wanted
                within.append((name, cls._of(parts, fields[name].message_type)))
        without = tuple(name for name in fields if name not in below)
        return cls(without, tuple(within))

    def apply(self, session: Session) -> Session:
        """Return a copy of the session with only the fields that the mask names."""
        cut = Session()
        cut.CopyFrom(session)
        self._clear(cut)
        return cut

    def _clear(self, message: Message) -> None:
        for name in self.without:
            message.ClearField(name)
        for name, mask in self.within:
            if message.HasField(name):
                mask._clear(getattr(message, name))
