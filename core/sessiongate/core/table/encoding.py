"""Messages assembled from encoded parts, so that a session is encoded once per change.

In protobuf's encoding, the concatenated parts of a message are the message. Every
message of the contract that has sessions has them in its field 1: an encoded
session, with that field's tag, is a part of any of them.
"""

from __future__ import annotations

from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.v1.session_pb2 import Session

_LENGTH_DELIMITED = 2


def piece(session: Session) -> bytes:
    """Encode a session as field 1 of a message."""
    return field(1, session.SerializeToString())


class RevisionStamp:
    """Adds revisions and a time to sessions that are encoded already."""

    def __init__(self, update_time: Timestamp) -> None:
        self._tail = Session(update_time=update_time).SerializeToString() + _REVISION
        # Revisions follow each other: their high bits are mostly those of the last one.
        self._high, self._encoded_high = 0, b""

    def piece(self, body: bytes, revision: int, identity: int) -> bytes:
        """Encode a session whose other fields are ``body`` as field 1 of a message.

        ``identity`` is its identity_revision.
        """
        last = self._encoded(revision)
        same = last if identity == revision else _varint(identity)
        size = len(body) + len(self._tail) + len(last) + len(_IDENTITY) + len(same)
        parts = _FIRST, _varint(size), body, self._tail, last, _IDENTITY, same
        return b"".join(parts)

    def _encoded(self, revision: int) -> bytes:
        """Encode a varint; a large one takes a loop over its octets otherwise."""
        high = revision >> 14
        if not high:
            return _varint(revision)
        if high != self._high:
            self._high, self._encoded_high = high, _varint(high)
        return bytes((revision & 0x7F | 0x80, revision >> 7 & 0x7F | 0x80)) + self._encoded_high


def holds(piece: bytes, body: bytes) -> bool:
    """Return whether a stamped piece is of a session whose other fields are ``body``."""
    start = 2  # after the tag, and the last octet of the size
    while piece[start - 1] & 0x80:
        start += 1
    return piece.startswith(body, start) and piece.startswith(_UPDATE_TIME, start + len(body))


def field(number: int, payload: bytes) -> bytes:
    """Encode a message as field ``number`` (up to 15) of another."""
    return bytes((number << 3 | _LENGTH_DELIMITED,)) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80)) + _high(value >> 14)


@lru_cache(1024)
def _high(value: int) -> bytes:
    """Encode the high bits of a number: ids and revisions follow each other, and share them."""
    return _varint(value)


# The tag of a session's update_time, the first of what is stamped.
_UPDATE_TIME = bytes((Session.UPDATE_TIME_FIELD_NUMBER << 3 | _LENGTH_DELIMITED,))
_FIRST = bytes((1 << 3 | _LENGTH_DELIMITED,))
# The tag of a session's revision, a varint.
_REVISION = _varint(Session.REVISION_FIELD_NUMBER << 3)
_IDENTITY = _varint(Session.IDENTITY_REVISION_FIELD_NUMBER << 3)
