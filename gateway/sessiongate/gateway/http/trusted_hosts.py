"""Accepts requests for known hosts only, and determines the base URL of links.

A web page can give a loopback service a name of its own (DNS rebinding), but it
cannot make a browser send a Host other than that name.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from sessiongate.gateway.jsonapi.errors import Error, errors_response
from sessiongate.gateway.settings import GatewayConfig
from sessiongate.runtime.addresses import Address, parse_ip, split_host
from sessiongate.runtime.suggestion import quoted_name


class TrustedHosts:
    """Middleware that accepts requests for known hosts only.

    Known are localhost, the loopback addresses, the listener's host, the host of
    ``public_url``, and ``allowed_host``; on any port, and also with the trailing dot of
    a fully qualified name. Requests for other hosts get 421. For the rest of the request,
    ``scope["state"]["base_url"]`` is the base of all URLs, without a trailing slash.
    """

    def __init__(self, app: ASGIApp, config: GatewayConfig) -> None:
        self._app = app
        self._listener = Address.parse(config.http)
        own = parse_ip(self._listener.host)
        self._everywhere = own is not None and own.is_unspecified
        self._public_url = config.public_url.rstrip("/") if config.public_url else None
        hosts = ["localhost", self._listener.host, *config.allowed_host]
        if self._public_url:
            hosts.append(urlsplit(self._public_url).hostname or "")
        self._known = {_plain(host) for host in hosts} - {""}
        self._base_url = lru_cache(maxsize=64)(self._find)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        error = self.refusal(scope)
        if error is not None:
            await errors_response([error])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def refusal(self, scope: Scope) -> Error | None:
        """Return the error for an unknown host; set the base of URLs for a known one."""
        base = self._base_url(scope["scheme"], self._host(scope))
        if isinstance(base, Error):
            return base
        scope.setdefault("state", {})["base_url"] = base
        return None

    def _find(self, scheme: str, host: str) -> str | Error:
        """Return the base of URLs for a known host, else the error."""
        found = split_host(host)
        if found is None:
            return Error(
                400, "INVALID_HOST", "the request must have exactly one valid Host", header="Host"
            )
        name = _plain(found[0])
        if not self._knows(name):
            detail = f"{quoted_name(name)} is not a known host; allowed_host can add it"
            return Error(421, "UNKNOWN_HOST", detail, header="Host")
        # An empty port means the scheme's default.
        return self._public_url or f"{scheme}://{host.removesuffix(':')}"

    def _host(self, scope: Scope) -> str:
        """Return the request's only Host; for HTTP/1.0 without one, the listener."""
        found = b""  # a server may pass on a missing Host like this
        for key, value in scope["headers"]:
            if key == b"host" and value:
                if found:
                    return ""
                found = value
        if not found and scope["http_version"] in ("1", "1.0"):
            return str(self._listener)
        return found.decode("latin-1")

    def _knows(self, name: str) -> bool:
        if name in self._known:
            return True
        address = parse_ip(name)
        if address is None:
            return False
        # A listener on every address owns each address of this machine.
        return address.is_loopback or self._everywhere


def _plain(name: str) -> str:
    """Return a name or address in its normal form."""
    return name.lower().removesuffix(".")
