"""A client for a REST API: requests with credentials, and responses of bounded size."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from sessiongate.core.sources.base import SourceConnectError, SourceError
from sessiongate.core.sources.support.causes import meaning
from sessiongate.core.sources.support.endpoint import Endpoint
from sessiongate.core.sources.support.resolution import addresses
from sessiongate.core.sources.support.tls_probe import refuse_tls
from sessiongate.runtime.daemon_thread import in_daemon_thread

# The size of one response: of a list, which is read while it arrives, and of any other.
MAX_RESPONSE_BYTES = 256 * 1024 * 1024
MAX_SMALL_RESPONSE_BYTES = 256 * 1024
_BUFFER = 256 * 1024  # bytes that may have arrived unread; up to twice as many
_SHOWN = 300  # characters of an error text


class RestClient:
    """Reads from one endpoint over one connection, which stays open between requests.

    Redirects are not followed, no proxy is used, and cookies are not kept.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._session: aiohttp.ClientSession | None = None

    async def get(self, path: str, query: Mapping[str, str]) -> bytes | None:
        """Return the body of a small resource; None if there is none (404).

        Raises `SourceError` as `stream` does, and above `MAX_SMALL_RESPONSE_BYTES`.
        """
        async with self.stream(path, query, is_small=True) as parts:
            return None if parts is None else b"".join([part async for part in parts])

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], *, is_small: bool = False
    ) -> AsyncIterator[AsyncIterator[bytes] | None]:
        """Yield an iterator over the parts of a resource's body; None if there is none (404).

        Raises `SourceError` if there is no response, if its status is not 200, or if it is
        larger than `MAX_RESPONSE_BYTES`; `SourceConnectError` if connecting fails.
        """
        endpoint = self._endpoint
        url = self._url(path, query)
        if self._session is None:
            self._session = await self._open()
        try:
            async with self._session.get(
                url, headers=await self._credentials(), allow_redirects=False
            ) as response:
                if response.status == HTTPStatus.NOT_FOUND:
                    yield None
                elif response.status != HTTPStatus.OK:
                    raise SourceError(f"GET {path} returned {_status(response.status)}")
                else:
                    most = MAX_SMALL_RESPONSE_BYTES if is_small else MAX_RESPONSE_BYTES
                    yield _parts(response.content, path, most)
        except aiohttp.ClientConnectorError as error:
            unanswered = isinstance(error.os_error, ssl.SSLError)
            kind = SourceError if unanswered else SourceConnectError
            raise kind(_cause(error)) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if not isinstance(error, ValueError) and not (endpoint.tls or endpoint.is_unix):
                await refuse_tls(endpoint.host, endpoint.port)
            raise SourceError(f"GET {path}: {_cause(error)}") from None

    async def delete(self, path: str) -> int:
        """Request that a resource be deleted, once; return the status of the response.

        Raises `SourceError` if there is none; `SourceConnectError` if connecting fails.
        """
        if self._session is None:
            self._session = await self._open()
        headers = await self._credentials()
        try:
            async with self._session.delete(
                self._url(path, {}), headers=headers, allow_redirects=False
            ) as response:
                return response.status
        except aiohttp.ClientConnectorError as error:
            raise SourceConnectError(_cause(error)) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise SourceError(f"DELETE {path}: {_cause(error)}") from None

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()

    def _url(self, path: str, query: Mapping[str, str]) -> URL:
        endpoint = self._endpoint
        return URL.build(
            scheme="https" if endpoint.tls else "http",
            host="localhost" if endpoint.is_unix else endpoint.host,
            port=endpoint.port,
            path=path,
            query=query,
        )

    async def _open(self) -> aiohttp.ClientSession:
        endpoint = self._endpoint
        connector: aiohttp.BaseConnector
        if endpoint.is_unix:
            connector = aiohttp.UnixConnector(endpoint.host, limit=1)
        else:
            verified = (
                await in_daemon_thread(object(), endpoint.tls.context) if endpoint.tls else True
            )
            connector = aiohttp.TCPConnector(ssl=verified, limit=1, resolver=_Resolver())
        return aiohttp.ClientSession(
            connector=connector,
            read_bufsize=_BUFFER,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json, */*", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(),  # the collector limits the whole observation
        )

    async def _credentials(self) -> dict[str, str]:
        """Return HTTP Basic credentials; a password file is read each time: it may have changed."""
        if self._endpoint.user is None:
            return {}
        password = await in_daemon_thread(object(), self._endpoint.password)
        login = f"{self._endpoint.user}:{password or ''}"
        return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


class _Resolver(AbstractResolver):
    """Resolves names for aiohttp with `addresses`."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return a host's addresses, of any family. Raises `SourceConnectError`."""
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await addresses(self, host)
        ]

    async def close(self) -> None:
        """Do nothing: nothing is kept open."""


async def _parts(content: aiohttp.StreamReader, path: str, most: int) -> AsyncIterator[bytes]:
    size = 0
    while part := await content.readany():
        size += len(part)
        if size > most:
            raise SourceError(f"GET {path}: the response is larger than {most // 1024:,} KiB")
        yield part


def _status(number: int) -> str:
    try:
        return f"{number} {HTTPStatus(number).phrase}"
    except ValueError:
        return str(number)


def _cause(error: Exception) -> str:
    """Describe an error on one line; a URL in it holds no credentials."""
    text = " ".join(str(error).split())[:_SHOWN] or type(error).__name__
    return meaning(text, clear="maxscale+http://")
