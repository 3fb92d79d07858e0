"""``python -m bench.bare_grpc METHOD=BYTES…``: a minimal server on grpc.aio and uvloop.

Each method of the service `SERVICE` returns that many bytes from memory, whatever is requested.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping

import grpc
import uvloop

SERVICE = "bench.Bare"


def _sending(size: int) -> Callable[[bytes, object], Awaitable[bytes]]:
    response = bytes(size)

    async def send(request: bytes, context: object) -> bytes:
        return response

    return send


async def _serve(sizes: Mapping[str, int]) -> None:
    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        method: grpc.unary_unary_rpc_method_handler(_sending(size))
        for method, size in sizes.items()
    }
    server.add_registered_method_handlers(SERVICE, handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


def main() -> None:
    """Serve until stopped; print the address."""
    given = (argument.partition("=") for argument in sys.argv[1:])
    uvloop.run(_serve({method: int(size) for method, _, size in given}))


if __name__ == "__main__":
    main()
