"""The server and the database in a ledger's URL, ``postgresql://USER@HOST:PORT/DATABASE``."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.sources.base import SourceConfigError
from sessiongate.core.sources.support.endpoint import CREDENTIAL_OPTIONS, TLS_OPTIONS, Endpoint
from sessiongate.core.sources.support.libpq import parameters_of
from sessiongate.runtime.suggestion import did_you_mean
from sessiongate.runtime.urls import Url, UrlError, harmless

PORT = 5432
DATABASE = "sessiongate"  # unless the URL names another one
_OPTIONS = (*CREDENTIAL_OPTIONS, *TLS_OPTIONS)


@dataclass(frozen=True, slots=True)
class LedgerPlace:
    """The server and the database of a ledger; its text has no user and no password."""

    endpoint: Endpoint
    database: str

    @classmethod
    def parse(cls, url: str) -> LedgerPlace:
        """Parse a ledger's URL. Raises `LedgerError`, whose text repeats no password."""
        try:
            found = Url.parse(url)
            for name in found.options:
                if name not in _OPTIONS:
                    stated = f" {name!r}" if found.names_are_plain and harmless(name) else ""
                    raise LedgerError(
                        f"the ledger has an unknown option{stated}; allowed are:"
                        f" {', '.join(_OPTIONS)}{did_you_mean(name, _OPTIONS)}"
                    )
            endpoint = Endpoint.parse("the ledger", found.location, found.options, port=PORT)
        except UrlError as error:
            raise LedgerError(f"the ledger's URL is malformed: {error}") from None
        except SourceConfigError as error:
            raise LedgerError(str(error)) from None
        if "/" in endpoint.path:
            raise LedgerError("the ledger's URL must name one database after its host")
        return cls(endpoint, unquote(endpoint.path) or DATABASE)

    def parameters(self, **others: str) -> str:
        """Return libpq's parameters; this reads files. Raises `SourceError`."""
        return parameters_of(self.endpoint, self.database, **others)

    def __str__(self) -> str:
        return f"{self.database} at {self.endpoint}"
