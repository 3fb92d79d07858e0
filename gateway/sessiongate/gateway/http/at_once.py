"""Remembered responses that are sent as soon as their request has arrived, without a task.

To start a task for a request, and to await each middleware, takes longer than all of their work.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from starlette.types import Message, Scope

from sessiongate.gateway.http.admission import Admission
from sessiongate.gateway.http.authentication import AuthenticationMiddleware
from sessiongate.gateway.http.cross_origin import CrossOrigin
from sessiongate.gateway.http.forwarded import Forwarded
from sessiongate.gateway.http.normalize_path import NormalizePath
from sessiongate.gateway.http.request_log import RequestLog
from sessiongate.gateway.http.response_cache import ResponseCache
from sessiongate.gateway.http.response_tracker import with_request_id
from sessiongate.gateway.http.trusted_hosts import TrustedHosts
from sessiongate.runtime.telemetry.correlation import from_headers


@dataclass(frozen=True, slots=True)
class AtOnce:
    """Asks the middlewares, in the order in which they see a request, what they would do.

    If any of them would refuse the request, or wait, the request takes its usual way.
    """

    cross_origin: CrossOrigin | None
    forwarded: Forwarded | None
    admission: Admission
    hosts: TrustedHosts
    path: NormalizePath
    authentication: AuthenticationMiddleware | None
    cache: ResponseCache
    log: RequestLog

    def __call__(self, given: Scope, most: int) -> Message | None:
        """Return the whole response to a request, if it is remembered and right.

        Its body has at most ``most`` bytes. What is returned is logged and counted: send it.
        """
        if given["method"] != "GET":
            return None
        began = monotonic()
        scope = {**given, "state": {}}
        if self.forwarded is not None:
            self.forwarded.apply(scope)
        if self.admission.refuses(scope) or self.hosts.refusal(scope) is not None:
            return None
        self.path.apply(scope)
        if self.authentication is not None and not self.authentication.recognizes(scope):
            return None
        message = self.cache.remembered(scope)
        if message is None or len(message["body"]) > most:
            return None
        correlation = from_headers(scope["headers"])
        with_request_id(message, correlation.request_id.encode())
        if self.cross_origin is not None:
            self.cross_origin.allow(scope, message)
        self.log.ended(scope, message["status"], monotonic() - began, correlation)
        return message
