"""The limits of a gateway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sessiongate.runtime.settings import count, seconds, setting, size, up_to

if TYPE_CHECKING:  # else imported on use: settings need no query parser
    from sessiongate.gateway.jsonapi.query import QueryLimits

# Seconds after which a client that takes nothing of what it is sent is cut off.
STALLED = 30.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits beyond which a request is refused, while others are answered as before."""

    max_url: int = setting(8192, count, "Longest path and query of a request.", "BYTES")
    max_headers: int = setting(16384, count, "Largest header of a request.", "BYTES")
    max_body: int = setting(0, size, "Largest body of a GET or HEAD; it is not read.", "BYTES")
    max_filter: int = setting(4096, count, "Longest filter of a query.", "CHARACTERS")
    max_filter_depth: int = setting(
        32, up_to(200), "Most brackets in each other, in a filter.", "N"
    )
    max_page: int = setting(10_000, count, "Resources on a page.", "N")
    max_answer: int = setting(
        1_000_000, count, "Sessions to be answered with at once, without pages.", "N"
    )
    max_requests: int = setting(
        64, count, "Requests that a worker works on at once; event streams do not count.", "N"
    )
    max_streams: int = setting(2000, count, "Event streams of a worker at once.", "N")
    max_connections: int = setting(
        8192, count, "Connections of a worker at once; others wait for one to end.", "N"
    )
    max_in_flight: int = setting(
        256 << 20,
        count,
        "Bytes of a worker's answers that are not taken yet; large ones wait, then get 503.",
        "BYTES",
    )
    header_timeout: float = setting(
        10.0, seconds, "Wait this long for a request's header to arrive.", "SECONDS"
    )
    request_timeout: float = setting(
        60.0, seconds, "Give a request up after this long, but for event streams.", "SECONDS"
    )

    @property
    def query(self) -> QueryLimits:
        """The limits of a query."""
        from sessiongate.gateway.jsonapi.query import QueryLimits

        return QueryLimits(self.max_page, self.max_filter, self.max_filter_depth)
