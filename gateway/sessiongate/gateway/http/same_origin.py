"""Refuses acts of pages of other origins: they would act in the name of whoever looks at them.

A browser says where a request comes from in ``Origin`` and ``Sec-Fetch-Site``, which no page can
change. Clients that are no browsers send neither.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.types import Scope

from sessiongate.gateway.jsonapi.errors import Error, RequestError

_PORTS = {"http": ":80", "https": ":443"}


def refuse_other_origins(scope: Scope) -> None:
    """Raise `RequestError` (403) if a page of another origin makes a request.

    It must run behind `TrustedHosts`: the origins of this gateway are those of its public URL
    and of the host that the request is for.
    """
    own: set[str] | None = None
    for name, value in scope["headers"]:
        text = value.decode("latin-1").lower()
        if name == b"origin":
            own = own or _own_origins(scope)
            if text not in own:
                raise _refusal("Origin")
        elif name == b"sec-fetch-site" and text != "same-origin":
            raise _refusal("Sec-Fetch-Site")


def _own_origins(scope: Scope) -> set[str]:
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    urls = [scope["state"]["base_url"], *(f"{scope['scheme']}://{host}" for host in hosts)]
    return {_origin_of(url) for url in urls}


def _origin_of(url: str) -> str:
    """Return the origin of a URL as browsers write it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.removesuffix(_PORTS[parts.scheme])}".lower()


def _refusal(header: str) -> RequestError:
    detail = (
        "a page of another origin must not act on sessions; if this is the gateway's own page,"
        " behind a proxy, set public_url"
    )
    return RequestError(Error(403, "OTHER_ORIGIN", detail, header=header))
