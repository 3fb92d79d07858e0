"""The time of the past that a request asks about: a moment, or from one moment to another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sessiongate.gateway.jsonapi.errors import Error, RequestError
from sessiongate.gateway.jsonapi.parameters import invalid
from sessiongate.gateway.jsonapi.query import QueryParameters
from sessiongate.gateway.moments import MomentError, read_moment, write_moment
from sessiongate.v1.history_service_pb2 import PastSession, PastSessionFilter

AT, FROM, TO = "at", "from", "to"
INTERVAL = (FROM, TO)
TIMES = (AT, *INTERVAL)
_CLOCKS_APART = timedelta(minutes=1)  # by which a caller's clock may be ahead


@dataclass(frozen=True, slots=True)
class PastTime:
    """When sessions have to have been connected; None is everything remembered, or until now."""

    at: datetime | None = None
    start: datetime | None = None
    end: datetime | None = None

    @classmethod
    def read(cls, query: QueryParameters, now: float) -> PastTime:
        """Read the parameters of `TIMES` at a time, in seconds since the epoch.

        Raises `RequestError` with an error for each fault.
        """
        errors: list[Error] = []
        found: dict[str, datetime] = {}
        for name in TIMES:
            if (text := query.texts.get(name)) is None:
                continue
            try:
                found[name] = read_moment(text, datetime.fromtimestamp(now, UTC))
            except MomentError as error:
                hint = "; in a URL, write %2B for '+'" if " " in text else ""
                errors += invalid(name, f"{name} {error}{hint}").errors
        if AT in query.texts and (others := [name for name in INTERVAL if name in query.texts]):
            detail = (
                f"{AT} excludes {' and '.join(others)}; ask about a moment, or from one to another"
            )
            errors += invalid(AT, detail).errors
        latest = datetime.fromtimestamp(now, UTC) + _CLOCKS_APART
        for name in (AT, FROM):
            if (moment := found.get(name)) is not None and moment > latest:
                detail = f"{name} must not be in the future, got {write_moment(moment)}"
                errors += invalid(name, detail).errors
        start, end = found.get(FROM), found.get(TO)
        if start is not None and end is not None and end <= start:
            detail = f"{TO} must be after {FROM}, {write_moment(start)}, got {write_moment(end)}"
            errors += invalid(TO, detail).errors
        if errors:
            raise RequestError(*errors)
        return cls(found.get(AT), start, end)

    def absolute(self, query: QueryParameters) -> QueryParameters:
        """Return a query with absolute times, so that links keep what they were resolved to."""
        times = {AT: self.at, FROM: self.start, TO: self.end}
        resolved = [
            (name, text if (time := times.get(name)) is None else write_moment(time))
            for name, text in query.parameters
        ]
        return replace(query, parameters=tuple(resolved))

    def holds(self, past: PastSession) -> bool:
        """Return whether a session was connected then."""
        wanted = self.filter()
        start, end = wanted.start_time.ToNanoseconds(), wanted.end_time.ToNanoseconds()
        if wanted.HasField("at_time"):
            start = wanted.at_time.ToNanoseconds()
            end = start + 1
        is_open = not past.HasField("end_time")
        if not is_open and past.end_time.ToNanoseconds() <= start:
            return False
        until_now = self.at is None and self.end is None
        return until_now or past.session.connect_time.ToNanoseconds() < end

    def filter(self) -> PastSessionFilter:
        """Return a filter of the core for this time."""
        wanted = PastSessionFilter()
        for name, time in (
            ("at_time", self.at),
            ("start_time", self.start),
            ("end_time", self.end),
        ):
            if time is not None:
                getattr(wanted, name).FromDatetime(time)
        return wanted
