"""A REST API that is read: requests with credentials, and answers of bounded size."""

from __future__ import annotations

import base64
import ssl
from http import HTTPStatus

import aiohttp
from yarl import URL

from core.sources.base import SourceConnectError, SourceError
from core.sources.causes import meaning
from core.sources.network import Endpoint
from core.sources.tls_probe import refuse_tls

MAX_BYTES = 256 * 1024 * 1024  # of one answer
_CHUNK = 1024 * 1024
_SHOWN = 300  # characters of an error's text


class RestClient:
    """Reads from one endpoint over one connection, which stays open between requests.

    Redirects are not followed, no proxy is used, and cookies are not kept.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._session: aiohttp.ClientSession | None = None

    async def get(self, path: str, **query: str) -> bytes | None:
        """The body of a resource; None where there is none (404).

        Raises `SourceError`: no answer, or one whose status is not 200, or
        which is larger than `MAX_BYTES`; `SourceConnectError` if nothing is there.
        """
        endpoint = self._endpoint
        url = URL.build(
            scheme="https" if endpoint.tls else "http",
            host="localhost" if endpoint.is_unix else endpoint.host,
            port=endpoint.port,
            path=path,
            query=query,
        )
        if self._session is None:
            self._session = self._open()
        try:
            async with self._session.get(
                url, headers=self._credentials(), allow_redirects=False
            ) as response:
                if response.status == HTTPStatus.NOT_FOUND:
                    return None
                if response.status != HTTPStatus.OK:
                    raise SourceError(f"GET {path} was answered with {_status(response.status)}")
                body = bytearray()
                async for chunk in response.content.iter_chunked(_CHUNK):
                    body += chunk
                    if len(body) > MAX_BYTES:
                        raise SourceError(f"GET {path}: more than {MAX_BYTES // 1024**2} MiB")
                return bytes(body)
        except aiohttp.ClientConnectorError as error:
            unanswered = isinstance(error.os_error, ssl.SSLError)
            kind = SourceError if unanswered else SourceConnectError
            raise kind(_cause(error)) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if not isinstance(error, ValueError) and not (endpoint.tls or endpoint.is_unix):
                await refuse_tls(endpoint.host, endpoint.port)
            raise SourceError(f"GET {path}: {_cause(error)}") from None

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        endpoint = self._endpoint
        connector: aiohttp.BaseConnector
        if endpoint.is_unix:
            connector = aiohttp.UnixConnector(endpoint.host, limit=1)
        else:
            verified = endpoint.tls.context() if endpoint.tls else True
            connector = aiohttp.TCPConnector(ssl=verified, limit=1)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json, */*", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(),  # the collector waits, for all of an observation
        )

    def _credentials(self) -> dict[str, str]:
        """Of HTTP's Basic scheme. A password's file may have changed: it is read each time."""
        if self._endpoint.user is None:
            return {}
        login = f"{self._endpoint.user}:{self._endpoint.password() or ''}"
        return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def _status(number: int) -> str:
    try:
        return f"{number} {HTTPStatus(number).phrase}"
    except ValueError:
        return str(number)


def _cause(error: Exception) -> str:
    """What went wrong, on one line; the URL that it may name holds no credentials."""
    text = " ".join(str(error).split())[:_SHOWN] or type(error).__name__
    return meaning(text, clear="maxscale+http://")
