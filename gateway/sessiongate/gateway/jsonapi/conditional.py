"""Conditional requests (RFC 9110, section 13) for GET and HEAD, and the validators for them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from hashlib import blake2b

from sessiongate.gateway.jsonapi.errors import Error, RequestError

_ETAG = re.compile(r'(?:^|,)[ \t]*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*(?=,|$)')
_PARTS = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{1,16})-[0-9a-f]{16}")

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LONG_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_DAY, _LONG_DAY = f"(?:{'|'.join(_DAYS)})", f"(?:{'|'.join(_LONG_DAYS)})"
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_DATES = (
    # Sun, 06 Nov 1994 08:49:37 GMT
    re.compile(rf"{_DAY}, (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_TIME} GMT", re.ASCII),
    # Sunday, 06-Nov-94 08:49:37 GMT
    re.compile(rf"{_LONG_DAY}, (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_TIME} GMT", re.ASCII),
    # Sun Nov  6 08:49:37 1994
    re.compile(rf"{_DAY} {_MONTH} (?P<day>[ \d]\d) {_TIME} (?P<year>\d{{4}})", re.ASCII),
)


@dataclass(frozen=True, slots=True)
class ETag:
    """An entity tag: the text between the quotes, and whether it is weak."""

    opaque: str
    weak: bool

    def __str__(self) -> str:
        return f'W/"{self.opaque}"' if self.weak else f'"{self.opaque}"'

    def same_as(self, other: ETag) -> bool:
        """Compare weakly: return whether both tags stand for equivalent representations."""
        return self.opaque == other.opaque


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditional headers of a request; None for one that is absent."""

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None

    @classmethod
    def read(cls, headers: Iterable[tuple[bytes, bytes]]) -> Conditions:
        """Read the headers of an ASGI request; a repeated header counts as one list.

        Returns `NO_CONDITIONS` if none of them is present.
        """
        found: dict[str, str] = {}
        for name, value in headers:
            if name.startswith(b"if-") and name in _FIELDS:
                field, text = _FIELDS[name], value.decode("latin-1")
                found[field] = f"{found[field]}, {text}" if field in found else text
        return cls(**found) if found else NO_CONDITIONS


NO_CONDITIONS = Conditions()

_FIELDS = {
    field.replace("_", "-").encode(): field
    for field in ("if_match", "if_none_match", "if_modified_since", "if_unmodified_since")
}


def unchanged(
    conditions: Conditions, etag: ETag | None, last_modified: int | None, now: float
) -> bool:
    """Return whether a GET or HEAD gets 304, in RFC 9110's order of precedence.

    ``etag`` and ``last_modified`` (seconds since the epoch) are the response's validators;
    None if it has none. Raises `RequestError` (412). A weak tag satisfies If-Match, because
    MaxScale's clients send back the tag that they received. An invalid date is ignored, and
    so is a condition on a date if the response has no date.
    """
    if conditions.if_match is not None:
        if not _any_of(conditions.if_match, etag):
            raise _failed("If-Match")
    elif conditions.if_unmodified_since is not None and last_modified is not None:
        since = parse_date(conditions.if_unmodified_since, now)
        if since is not None and last_modified > since:
            raise _failed("If-Unmodified-Since")
    if conditions.if_none_match is not None:
        return _any_of(conditions.if_none_match, etag)
    if conditions.if_modified_since is not None and last_modified is not None:
        since = parse_date(conditions.if_modified_since, now)
        return since is not None and last_modified <= since
    return False


def parse_etags(header: str) -> tuple[ETag, ...]:
    """Return the tags in a list, skipping everything that is not a tag."""
    return tuple(ETag(found[2], found[1] is not None) for found in _ETAG.finditer(header))


def weak_etag(revision: int, fingerprint: bytes, identity: int | None = None) -> ETag:
    """Return the tag of the response to a request at this revision of the table.

    ``fingerprint`` covers everything else that the response depends on: path, query, media
    type, host. ``identity`` is, of one resource, the revision of the last change of who or
    what it is: a part of its own, so that a later request can depend on that alone.
    """
    parts = [f"{revision:x}", blake2b(fingerprint, digest_size=8).hexdigest()]
    if identity is not None:
        parts.insert(1, f"{identity:x}")
    return ETag("-".join(parts), True)


def revisions_of(tag: ETag) -> tuple[int, int] | None:
    """Return revision and ``identity`` of a tag that `weak_etag` made of both, else None."""
    found = _PARTS.fullmatch(tag.opaque)
    return (int(found[1], 16), int(found[2], 16)) if found else None


def last_modified_of(changed: float, now: float) -> int | None:
    """Return the date of a change in seconds since the epoch; None while it is ambiguous.

    Dates are whole seconds: until the second of a change has passed, another change
    could have the same date.
    """
    return int(changed) if changed < int(now) else None


def format_date(seconds: int) -> str:
    """Format a date as ``Sun, 06 Nov 1994 08:49:37 GMT``."""
    return formatdate(seconds, usegmt=True)


def parse_date(text: str, now: float) -> int | None:
    """Parse an HTTP-date in any of its three forms to seconds since the epoch; else None.

    A two-digit year that appears to be more than 50 years after ``now`` is in the past.
    """
    found = next(filter(None, (form.fullmatch(text) for form in _DATES)), None)
    if found is None:
        return None
    year, month = int(found["year"]), _MONTHS.index(found["month"]) + 1
    if len(found["year"]) == 2:
        present = datetime.fromtimestamp(now, UTC).year
        year += present - present % 100
        if year > present + 50:
            year -= 100
    day, hour, minute, second = (int(found[part]) for part in ("day", "hour", "minute", "second"))
    leap = second == 60  # valid in the grammar, not in datetime
    try:
        moment = datetime(year, month, day, hour, minute, second - leap, tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp()) + leap


def _any_of(header: str, etag: ETag | None) -> bool:
    """Return whether the header lists the tag; ``*`` matches even a response without a tag."""
    if header.strip() == "*":
        return True
    return etag is not None and any(etag.same_as(tag) for tag in parse_etags(header))


def _failed(header: str) -> RequestError:
    detail = f"{header} is not met: the resource has changed"
    return RequestError(Error(412, "PRECONDITION_FAILED", detail, header=header))
