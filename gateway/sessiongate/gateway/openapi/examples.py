"""Example documents of one session and its service, made by the code for real ones."""

from __future__ import annotations

from typing import Any

from sessiongate.gateway.api.maxscale import maxscale_resource, maxscale_url
from sessiongate.gateway.jsonapi.errors import Error
from sessiongate.gateway.jsonapi.paging import NumberPage, number_links
from sessiongate.gateway.representation.count import count_resource, counts_url
from sessiongate.gateway.representation.service import (
    Service,
    service_resource,
    service_url,
    services_url,
)
from sessiongate.gateway.representation.session import session_resource, session_url, sessions_url
from sessiongate.gateway.upstream.tallies import ServiceTally
from sessiongate.v1.session_pb2 import (
    ACTIVITY_STATE_IDLE_IN_TRANSACTION,
    SESSION_STATE_STARTED,
    Activity,
    BackendConnection,
    Query,
    Session,
)

BASE = "http://localhost:8989"
_NOW = 1495015602.5  # 2017-05-17 10:06:42


def _session() -> Session:
    session = Session(
        id=4,
        source="maxscale-1",
        native_id="21",
        service="RW-Split-Router",
        filters=["Audit"],
        state=SESSION_STATE_STARTED,
        user="app",
        remote="192.0.2.17",
        port=51034,
        database="shop",
        activity=Activity(state=ACTIVITY_STATE_IDLE_IN_TRANSACTION, native="idle in transaction"),
        tls_cipher="TLS_AES_256_GCM_SHA384",
        application="orders",
        connection_attributes={"_client_name": "libmariadb", "_pid": "2001"},
        connections=[
            BackendConnection(server="db-1", connection_id=812, tls_cipher="TLS_AES_256_GCM_SHA384")
        ],
        queries=[Query(statement="SELECT 1")],
        downstream_ids=[7],
        upstream_ids=[2],
        memory_bytes=132544,
        io_activity=12,
        thread=1,
        truncated=["queries"],
    )
    session.connect_time.FromJsonString("2017-05-17T10:06:35Z")
    session.last_active_time.FromJsonString("2017-05-17T10:06:40Z")
    session.activity.since_time.FromJsonString("2017-05-17T10:06:40.002Z")
    session.activity.transaction_start_time.FromJsonString("2017-05-17T10:06:38Z")
    session.queries[0].receive_time.FromJsonString("2017-05-17T10:06:40Z")
    session.queries[0].complete_time.FromJsonString("2017-05-17T10:06:40.002Z")
    return session


SESSION = session_resource(_session(), BASE, _NOW)
SERVICE = service_resource(
    Service(
        "RW-Split-Router",
        ServiceTally(("maxscale-1",), connections=1, listeners=1, started=1495015595),
        router="readwritesplit",
        state="Started",
    ),
    BASE,
)
_SESSION_URL = session_url(BASE, 4)

DOCUMENTS: dict[str, Any] = {
    "Session": {"links": {"self": _SESSION_URL}, "data": SESSION},
    "Sessions": {"links": {"self": sessions_url(BASE)}, "data": [SESSION]},
    "Service": {"links": {"self": service_url(BASE, "RW-Split-Router")}, "data": SERVICE},
    "Services": {"links": {"self": services_url(BASE)}, "data": [SERVICE]},
    "Counts": {
        "links": number_links(
            counts_url(BASE), [("by", "user,application")], NumberPage(1000, 0), 1
        ),
        "data": [count_resource(("user", "application"), ("app", None), 12)],
        "meta": {"total": 1},
    },
    "MaxScale": {"links": {"self": maxscale_url(BASE)}, "data": maxscale_resource(0, BASE)},
    "Linkage": {
        "links": {
            "self": f"{_SESSION_URL}/relationships/services",
            "related": f"{_SESSION_URL}/services",
        },
        "data": SESSION["relationships"]["services"]["data"],
    },
}

ERRORS: dict[int, Error] = {
    400: Error(
        400,
        "INVALID_PARAMETER",
        "page[size] must be an integer of at least 1, got '0'",
        parameter="page[size]",
    ),
    401: Error(401, "CREDENTIALS_MISSING", "credentials are required", header="Authorization"),
    404: Error(404, "SESSION_NOT_FOUND", "no session with id 9"),
    503: Error(
        503, "NOT_READY", "some sources have neither been read nor failed yet; retry shortly"
    ),
}
