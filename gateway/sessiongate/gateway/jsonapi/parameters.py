"""Query parameters: their errors, lists of names in them, and their encoding in a URL."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, urlencode

from sessiongate.gateway.jsonapi.errors import Error, RequestError
from sessiongate.runtime.suggestion import quoted_name

INVALID_PARAMETER = "INVALID_PARAMETER"


def invalid(parameter: str, detail: str) -> RequestError:
    """Return the error for a parameter with a bad value: 400."""
    return RequestError(Error(400, INVALID_PARAMETER, detail, parameter=parameter))


def names(parameter: str, value: str, most: int) -> list[str]:
    """Split ``a,b,c`` into names: at most ``most``, none of them empty or repeated.

    Raises `RequestError`.
    """
    found = value.split(",")
    if not all(found):
        raise invalid(parameter, f"{quoted_name(value)} has an empty name; write names as in a,b")
    if len(found) > most:
        raise invalid(parameter, f"at most {most} names are allowed, got {len(found)}")
    if len(set(found)) < len(found):
        twice = next(name for name in found if found.count(name) > 1)
        raise invalid(parameter, f"{quoted_name(twice)} is listed more than once")
    return found


def query_string(parameters: Iterable[tuple[str, str]]) -> str:
    """Percent-encode parameters for a URL, except RFC 3986's unreserved characters."""
    return urlencode(list(parameters), quote_via=quote)
