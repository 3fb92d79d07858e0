"""The fast path: remembered responses, sent as soon as a request has arrived, without a task.

Starting a task for a request and awaiting each middleware takes longer than all of their work.
A client that asks again on a connection mostly sends the same head, so what depends on nothing
else is decided once for a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic

from starlette.types import Message, Scope

from sessiongate.gateway.http.admission import Admission
from sessiongate.gateway.http.authentication import AuthenticationMiddleware
from sessiongate.gateway.http.cross_origin import CrossOrigin
from sessiongate.gateway.http.forwarded import Forwarded
from sessiongate.gateway.http.normalize_path import NormalizePath
from sessiongate.gateway.http.request_log import RequestLog
from sessiongate.gateway.http.response_cache import Key, ResponseCache, key_of
from sessiongate.gateway.http.response_tracker import Answer, with_request_id
from sessiongate.gateway.http.trusted_hosts import TrustedHosts
from sessiongate.runtime.telemetry.correlation import CORRELATION_HEADERS, from_headers


@dataclass(frozen=True, slots=True)
class FastPath:
    """Asks the middlewares, in the order in which they see a request, what they would do.

    If any of them would refuse the request, or wait, the request takes the usual path.
    """

    cross_origin: CrossOrigin | None
    forwarded: Forwarded | None
    admission: Admission
    hosts: TrustedHosts
    path: NormalizePath
    authentication: AuthenticationMiddleware | None
    cache: ResponseCache
    log: RequestLog

    def __call__(self, given: Scope) -> Answer:
        """Return what answers requests of one connection that have this head, and no body."""
        if given["method"] != "GET":
            return _never
        scope = {**given, "state": {}}
        if self.forwarded is not None:
            self.forwarded.apply(scope)
        if self.admission.refuses(scope) or self.hosts.refusal(scope) is not None:
            return _never
        self.path.apply(scope)
        mark = None
        if self.authentication is not None:
            mark = self.authentication.mark(scope)
            if mark is None:
                return _never
        _, key = key_of(scope)
        correlating = [pair for pair in scope["headers"] if pair[0] in CORRELATION_HEADERS]
        return partial(self._answer, scope, mark, key, correlating)

    def _answer(
        self,
        scope: Scope,
        mark: bytes | None,
        key: Key,
        correlating: Sequence[tuple[bytes, bytes]],
        most: int,
    ) -> Message | None:
        """Decide what may differ from request to request."""
        began = monotonic()
        if self.admission.is_full(scope):
            return None
        if mark is not None and not self._recognizes(mark, scope):
            return None
        message = self.cache.remembered(key, scope)
        if message is None or len(message["body"]) > most:
            return None
        correlation = from_headers(correlating)
        with_request_id(message, correlation.request_id.encode())
        if self.cross_origin is not None:
            self.cross_origin.allow(scope, message)
        self.log.ended(scope, message["status"], monotonic() - began, correlation)
        return message

    def _recognizes(self, mark: bytes, scope: Scope) -> bool:
        return self.authentication is not None and self.authentication.recognizes(mark, scope)


def _never(most: int) -> None:
    """Answer nothing: each request with this head takes the usual path."""
