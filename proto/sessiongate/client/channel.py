"""The options of channels and calls that both clients give gRPC."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from sessiongate.v1.history_service_pb2_grpc import HistoryServiceStub
from sessiongate.v1.service_names import HISTORY_SERVICE, SESSION_SERVICE, SOURCE_SERVICE
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from sessiongate.v1.source_service_pb2_grpc import SourceServiceStub

if TYPE_CHECKING:  # else imported when used
    from sessiongate.v1.fleet_service_pb2_grpc import FleetServiceStub
    from sessiongate.v1.session_action_service_pb2 import (
        CancelStatementRequest,
        TerminateSessionRequest,
    )
    from sessiongate.v1.session_action_service_pb2_grpc import SessionActionServiceStub

Metadata = Callable[[], Iterable[tuple[str, str]]]
Sent = list[tuple[str, str]]  # the metadata of one call

CALL_TIMEOUT = 5.0
# The requests that act, by name: few programs import them.
ACTS = frozenset(("TerminateSessionRequest", "CancelStatementRequest"))
_MAX_WAIT = 5.0  # seconds that a core waits until an action's end is known, unless told otherwise

# The contract keeps a page under 3 MiB, so this, gRPC's own default, is large enough.
MAX_MESSAGE_BYTES = 4 << 20
# Bytes of a stream that are received before they are read, unless told otherwise.
DEFAULT_READ_AHEAD = 128 << 10


# Only reads, so retrying is safe. All attempts share the call's one deadline. If there are several
# cores, the next one is tried instead.
_RETRIES = {
    "name": [
        {"service": SESSION_SERVICE, "method": "ListSessions"},
        {"service": SESSION_SERVICE, "method": "CountSessions"},
        {"service": SESSION_SERVICE, "method": "GetSession"},
        {"service": SOURCE_SERVICE, "method": "ListSources"},
        {"service": HISTORY_SERVICE, "method": "ListPastSessions"},
        {"service": HISTORY_SERVICE, "method": "GetPastSession"},
        {"service": HISTORY_SERVICE, "method": "CountPastSessions"},
    ],
    "retryPolicy": {
        "maxAttempts": 3,
        "initialBackoff": "0.05s",
        "maxBackoff": "0.2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    },
}

# A watch is a call that stays open. When one connection has as many calls as the core allows,
# gRPC opens another (gRFC A105).
_CONNECTIONS = 1000


class CoreStubs:
    """The methods of one core, on a channel to it."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.sessions = SessionServiceStub(channel)
        self.sources = SourceServiceStub(channel)
        self.history = HistoryServiceStub(channel)


def channel_options(read_ahead: int, *, retries: bool) -> list[tuple[str, Any]]:
    """Return the options of a channel; with ``retries``, gRPC repeats calls that find no core."""
    config = {
        "methodConfig": [_RETRIES] if retries else [],
        "connectionScaling": {"maxConnectionsPerSubchannel": _CONNECTIONS},
    }
    return [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.max_connections_per_subchannel_cap", _CONNECTIONS),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        # Finds a core that is back within a second, however long it was away.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        # How long an attempt to connect may take, with TLS: not the pause between two.
        ("grpc.min_reconnect_backoff_ms", 1000),
        # The core is a neighbour: never call it through the proxy in http_proxy.
        ("grpc.enable_http_proxy", 0),
        # Fixes how much of a stream is buffered unread; gRPC would grow it with bandwidth.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", read_ahead),
    ]


def action_stub(channel: Any) -> SessionActionServiceStub:
    """Return the methods that act, on a channel; few programs import them."""
    from sessiongate.v1.session_action_service_pb2_grpc import SessionActionServiceStub

    return SessionActionServiceStub(channel)


def fleet_stub(channel: Any) -> FleetServiceStub:
    """Return the methods of a front that tell of its fleet; few programs import them."""
    from sessiongate.v1.fleet_service_pb2_grpc import FleetServiceStub

    return FleetServiceStub(channel)


def action_timeout(
    timeout: float, request: TerminateSessionRequest | CancelStatementRequest
) -> float:
    """Return the timeout of a call that waits until what it did is known."""
    stated = request.max_wait.seconds + request.max_wait.nanos / 1e9
    return timeout + (stated if request.HasField("max_wait") else _MAX_WAIT)


def call_metadata(token: str | Callable[[], str] | None, metadata: Metadata | None) -> Sent:
    """Return the metadata of a call that begins now. Raises what the functions raise."""
    sent = [] if metadata is None else [*metadata()]
    if token is not None:
        value = f"Bearer {token if isinstance(token, str) else token()}"
        if not (value.isascii() and value.isprintable()):  # as of a file with its line break
            raise ValueError("the token has a character that gRPC cannot send")
        sent.append(("authorization", value))
    return sent
