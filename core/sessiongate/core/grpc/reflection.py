"""gRPC reflection in v1, which tools request first, and in v1alpha.

Only their names differ. The library has v1alpha; v1 is derived from it.
"""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc


def _described_as_v1() -> FileDescriptor:
    """Return the descriptor of v1, which reflection must know too."""
    older = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(older)
    older.ClearField("options")  # of generated code, and deprecated
    text = text_format.MessageToString(older).replace("v1alpha", "v1")
    newer = text_format.Parse(text, FileDescriptorProto())
    return descriptor_pool.Default().AddSerializedFile(newer.SerializeToString())


V1 = _described_as_v1()

_NAME = "ServerReflection"
_V1_SERVICE = V1.services_by_name[_NAME].full_name


def add_reflection(services: Iterable[str], server: grpc.aio.Server) -> None:
    """Add reflection to a server, for services by their full names and for itself."""
    names = (*services, reflection.SERVICE_NAME, _V1_SERVICE)
    servicer = reflection.aio.ReflectionServicer(names)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    handlers = {
        "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(
            servicer.ServerReflectionInfo,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_V1_SERVICE, handlers),))
    server.add_registered_method_handlers(_V1_SERVICE, handlers)
