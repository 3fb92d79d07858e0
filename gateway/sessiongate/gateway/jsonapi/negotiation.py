"""Content negotiation: ``Accept``, ``Accept-Encoding`` and ``Content-Type``.

Follows RFC 9110, and JSON:API 1.1's rules for its own media type. List members that
do not parse are skipped, like empty ones; a list without a member that parses counts as
absent. A weight may be any number, because many clients send ``q=.2``, which RFC 9110
does not allow; a weight above 1 counts as 1.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sessiongate.gateway.jsonapi.document import MEDIA_TYPE
from sessiongate.gateway.jsonapi.errors import Error, RequestError

JSON = "application/json"

_MEMBER = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
_PART = re.compile(r'(?:[^";]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_RANGE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_WEIGHT = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+", re.ASCII)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The media type of the response, and the requested profiles that the caller supports."""

    media_type: str
    profiles: tuple[str, ...] = ()

    def content_type(self) -> str:
        """Return the response's ``Content-Type`` with the applied profiles."""
        if not self.profiles:
            return self.media_type
        return f'{self.media_type};profile="{" ".join(self.profiles)}"'


@dataclass(frozen=True, slots=True)
class _Member:
    """One member of a weighted list: its name in lower case, its parameters, its weight."""

    name: str
    parameters: dict[str, str]
    weight: float


def negotiate(
    accept: str | None,
    offers: Sequence[str] = (MEDIA_TYPE, JSON),
    profiles: Sequence[str] = (),
) -> Accepted:
    """Choose the offer that the ``Accept`` header prefers. Raises `RequestError` (406).

    Among equal weights, the offer that the header names more precisely wins, then the
    first offer; likewise, a member with profiles wins over one without. ``profiles``
    are those that the caller supports; others are ignored.
    """
    choose = _remembered_media_type if len(accept or "") <= _SHORT else _media_type
    return choose(accept or "", tuple(offers), tuple(profiles))


def negotiate_encoding(accept_encoding: str | None) -> str:
    """Choose ``gzip`` or ``identity``. Raises `RequestError` (406) if both are excluded.

    gzip is chosen only if the header names it or ``*``, with at least identity's weight.
    """
    choose = _remembered_encoding if len(accept_encoding or "") <= _SHORT else _encoding
    return choose(accept_encoding or "")


def check_content_type(content_type: str | None, *, body: bool) -> None:
    """Raise `RequestError` (415) if JSON:API forbids a request's ``Content-Type``.

    With or without a body, JSON:API's media type may have only the parameters ``profile``
    and ``ext``, and no extension is supported. A body must have that media type or
    ``application/json``.
    """
    member = next(_members(content_type or ""), None)
    name = member.name if member is not None else None
    if member is not None and name == MEDIA_TYPE and not _understood(member.parameters):
        detail = f"{MEDIA_TYPE} must have no parameters except profile, and no extensions"
    elif body and name not in (MEDIA_TYPE, JSON):
        detail = f"a body must be {MEDIA_TYPE} or {JSON}"
    else:
        return
    raise RequestError(Error(415, "UNSUPPORTED_MEDIA_TYPE", detail, header="Content-Type"))


def _media_type(accept: str, offers: tuple[str, ...], profiles: tuple[str, ...]) -> Accepted:
    ranges = [member for member in _members(accept) if _RANGE.fullmatch(member.name)]
    if not ranges:
        return Accepted(offers[0])
    best: tuple[float, int] = (0.0, 0)
    chosen = None
    for offer in offers:
        quality, member = _quality(offer, ranges)
        if quality[0] > 0 and quality > best:
            best = quality
            chosen = Accepted(offer, _known_profiles(offer, member, profiles))
    if _only_modified(ranges):
        raise _not_acceptable("Accept", f"{MEDIA_TYPE} must have no parameters except profile")
    if chosen is None:
        raise _not_acceptable("Accept", f"the available types are {', '.join(offers)}")
    return chosen


def _encoding(accept_encoding: str) -> str:
    weights = {member.name: member.weight for member in _members(accept_encoding)}
    anything = weights.get("*")
    gzip = weights.get("gzip", weights.get("x-gzip", anything)) or 0.0
    identity = weights.get("identity", anything)
    if gzip > 0 and gzip >= (identity or 0.0):
        return "gzip"
    if identity == 0:
        raise _not_acceptable("Accept-Encoding", "gzip and identity are available")
    return "identity"


# Clients send the same few headers with every request. Long headers are unusual, and an
# untrusted caller could use them to fill memory.
_SHORT = 256
_remembered_media_type = lru_cache(maxsize=256)(_media_type)
_remembered_encoding = lru_cache(maxsize=256)(_encoding)


def _not_acceptable(header: str, hint: str) -> RequestError:
    detail = f"{header} excludes everything available; {hint}"
    return RequestError(Error(406, "NOT_ACCEPTABLE", detail, header=header))


def _quality(offer: str, ranges: Sequence[_Member]) -> tuple[tuple[float, int], _Member | None]:
    """Return the weight that the header gives an offer, and how precisely it names the offer.

    The most precise matching range decides. If several ranges name JSON:API's media type,
    with or without profiles, the one with the largest weight decides.
    """
    kind = offer.partition("/")[0]
    for precision, name in ((2, offer), (1, f"{kind}/*"), (0, "*/*")):
        found = [
            member
            for member in ranges
            if member.name == name and (name != MEDIA_TYPE or _understood(member.parameters))
        ]
        if found:
            member = max(found, key=lambda one: (one.weight, len(one.parameters)))
            return (member.weight, precision), member
    return (0.0, 0), None


def _only_modified(ranges: Sequence[_Member]) -> bool:
    """Return whether JSON:API requires 406: its media type appears only in forbidden forms."""
    found = [member for member in ranges if member.name == MEDIA_TYPE]
    return bool(found) and not any(_understood(member.parameters) for member in found)


def _understood(parameters: dict[str, str]) -> bool:
    """Return whether JSON:API's media type may have these parameters here."""
    return parameters.keys() <= {"ext", "profile"} and not parameters.get("ext", "").split()


def _known_profiles(
    offer: str, member: _Member | None, profiles: Collection[str]
) -> tuple[str, ...]:
    if member is None or not offer == member.name == MEDIA_TYPE:
        return ()
    asked = member.parameters.get("profile", "").split()
    return tuple(dict.fromkeys(profile for profile in asked if profile in profiles))


def _members(header: str) -> Iterator[_Member]:
    """Yield the members of ``a;x=y;q=0.5, b, …`` that parse, in order."""
    for text in _MEMBER.findall(header):
        first, *rest = _PART.findall(text) or [""]
        name = first.strip().lower()
        pairs = [part.partition("=") for part in rest if part.strip()]
        parameters = {key.strip().lower(): _unquoted(value.strip()) for key, _, value in pairs}
        weight = parameters.pop("q", "1")
        if name and all(map(_TOKEN.fullmatch, parameters)) and _WEIGHT.fullmatch(weight):
            yield _Member(name, parameters, min(float(weight), 1.0))


def _unquoted(value: str) -> str:
    quoted = _QUOTED.fullmatch(value)
    return re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL) if quoted else value
