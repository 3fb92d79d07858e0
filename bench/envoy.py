"""Envoy as a gRPC-JSON transcoder: its configuration, and the contract with routes added.

The routes are added to the compiled contract, so that there is no second copy of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from google.api.annotations_pb2 import http  # type: ignore[import-untyped]  # has no stubs
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from sessiongate.v1 import session_service_pb2

SERVICE = "sessiongate.v1.SessionService"
ROUTES = {"ListSessions": "/v1/sessions", "GetSession": "/v1/sessions/{id}"}

# Envoy buffers a whole response to transcode it; the core's pages are under 3 MiB,
# and several times that as JSON.
_BUFFER = 64 * 1024 * 1024
_EXTENSIONS = "type.googleapis.com/envoy.extensions"


def write_config(folder: Path, core: str) -> Path:
    """Write the configuration of an Envoy on free ports in front of a core at ``HOST:PORT``."""
    descriptors = folder / "contract.binpb"
    descriptors.write_bytes(annotated().SerializeToString())
    path = folder / "envoy.json"
    path.write_text(json.dumps(_config(core, descriptors), indent=2))
    return path


def annotated() -> FileDescriptorSet:
    """Return the contract and all that it imports, with ``google.api.http`` on measured methods."""
    found = FileDescriptorSet()
    seen: set[str] = set()

    def add(file: FileDescriptor) -> None:
        if file.name in seen:
            return
        seen.add(file.name)
        for dependency in file.dependencies:
            add(dependency)
        file.CopyToProto(found.file.add())

    add(session_service_pb2.DESCRIPTOR)
    for method in found.file[-1].service[0].method:
        if method.name in ROUTES:
            method.options.Extensions[http].get = ROUTES[method.name]
    return found


def _config(core: str, descriptors: Path) -> dict[str, Any]:
    return {
        "admin": {"address": _address("127.0.0.1", 0)},
        "static_resources": {"listeners": [_listener(descriptors)], "clusters": [_cluster(core)]},
    }


def _listener(descriptors: Path) -> dict[str, Any]:
    transcoder = {
        "@type": f"{_EXTENSIONS}.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor": str(descriptors),
        "services": [SERVICE],
        "max_response_body_size": _BUFFER,
    }
    router = {"@type": f"{_EXTENSIONS}.filters.http.router.v3.Router"}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "core", "timeout": "60s"}}
    manager = {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "rest",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "envoy.filters.http.grpc_json_transcoder", "typed_config": transcoder},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ],
    }
    chain = {
        "filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        ]
    }
    return {
        "name": "rest",
        "address": _address("127.0.0.1", 0),
        "per_connection_buffer_limit_bytes": _BUFFER,
        "filter_chains": [chain],
    }


def _cluster(core: str) -> dict[str, Any]:
    host, _, port = core.rpartition(":")
    endpoint = {"endpoint": {"address": _address(host, int(port))}}
    http2 = {
        "@type": f"{_EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    return {
        "name": "core",
        "type": "STATIC",
        "per_connection_buffer_limit_bytes": _BUFFER,
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2
        },
        "load_assignment": {
            "cluster_name": "core",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
