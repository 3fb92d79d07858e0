"""Calls the cores of a fleet for a front: as a gateway does, in the name of the front's caller."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from pathlib import Path

from sessiongate.client.asynchronous import AsyncClient
from sessiongate.core.follow.shard import Connect
from sessiongate.runtime.addresses import Address
from sessiongate.runtime.auth.core_token import token_to_send
from sessiongate.runtime.auth.identity import caller_address, caller_metadata
from sessiongate.runtime.telemetry.correlation import current
from sessiongate.runtime.tls import ClientTls, grpc_channel_credentials
from sessiongate.runtime.watched_file import in_time

log = logging.getLogger(__name__)


def connecting(tls: ClientTls | None, token_file: Path | None, *, open_to_all: bool) -> Connect:
    """Return what makes a client of a core, by its address. Raises `FileError`.

    ``token_file`` holds the secret that is sent to all of them. With ``open_to_all``, callers
    without credentials have the role of an operator.
    """
    credentials = None
    if tls is not None:
        credentials = in_time(lambda: grpc_channel_credentials(tls), *tls.files)
    token = None if token_file is None else token_to_send(token_file)
    metadata = partial(_call_metadata, open_to_all)

    def connect(address: str) -> AsyncClient:
        sent = token
        if token is not None and tls is None and not _stays_here(address):
            log.error("core at %s: the secret is sent only by TLS; name its CA in core_ca", address)
            sent = None
        return AsyncClient(address, credentials=credentials, token=sent, metadata=metadata)

    return connect


def _stays_here(address: str) -> bool:
    """Return whether what is sent to an address, as the ledger has it, stays on this machine."""
    with suppress(ValueError):
        return address.startswith("unix:") or Address.parse(address).is_loopback
    return False


def _call_metadata(open_to_all: bool) -> list[tuple[str, str]]:
    """Return what names the caller of the front to a core."""
    metadata = caller_metadata(caller_address.get(), open_to_all=open_to_all)
    if correlation := current.get():
        metadata += correlation.metadata()
    return metadata
