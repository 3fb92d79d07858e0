"""The limits of a gateway, as settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sessiongate.runtime.settings import integer_from, seconds, setting

if TYPE_CHECKING:  # else imported on use: settings need no query parser
    from sessiongate.gateway.jsonapi.query import QueryLimits

# Seconds after which a client that receives nothing of what it is sent is disconnected.
STALLED = 30.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits beyond which a request is refused, while others are answered as before."""

    max_url: int = setting(
        8192, integer_from(1), "Maximum length of a request's path and query.", "BYTES"
    )
    max_headers: int = setting(
        16384, integer_from(1), "Maximum size of a request's header.", "BYTES"
    )
    max_body: int = setting(
        0,
        integer_from(0),
        "Maximum size of the body of a GET or HEAD request; it is ignored.",
        "BYTES",
    )
    max_filter: int = setting(4096, integer_from(1), "Maximum length of a filter.", "CHARACTERS")
    max_filter_depth: int = setting(
        32, integer_from(1, 200), "Maximum nesting depth of a filter.", "N"
    )
    max_page: int = setting(10_000, integer_from(1), "Maximum number of resources on a page.", "N")
    max_answer: int = setting(
        1_000_000, integer_from(1), "Maximum number of sessions in a response without pages.", "N"
    )
    max_requests: int = setting(
        64, integer_from(1), "Maximum concurrent requests per worker (except event streams).", "N"
    )
    max_streams: int = setting(
        2000, integer_from(1), "Maximum concurrent event streams per worker.", "N"
    )
    max_connections: int = setting(
        8192,
        integer_from(1),
        "Maximum connections per worker; further ones wait until one ends.",
        "N",
    )
    max_in_flight: int = setting(
        256 << 20,
        integer_from(1),
        "Maximum bytes of responses in flight per worker; large ones wait, then get 503.",
        "BYTES",
    )
    header_timeout: float = setting(
        10.0, seconds, "Maximum time for a request's header to arrive.", "SECONDS"
    )
    request_timeout: float = setting(
        60.0, seconds, "Abort a request after this long (except event streams).", "SECONDS"
    )

    @property
    def query(self) -> QueryLimits:
        """The limits of a query."""
        from sessiongate.gateway.jsonapi.query import QueryLimits

        return QueryLimits(self.max_page, self.max_filter, self.max_filter_depth)
