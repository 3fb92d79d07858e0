"""The client of a core, for microservices: synchronous and asyncio.

Needs the base distribution only. `Client` and `AsyncClient` call a core; ``follow`` keeps a copy
of its sessions current. Messages are the contract's, in `sessiongate.v1`.
"""

from sessiongate.client.asynchronous import AsyncClient
from sessiongate.client.errors import CallError
from sessiongate.client.session_copy import SessionChange, SessionCopy, Update
from sessiongate.client.synchronous import Client
from sessiongate.v1.errors import Reason

__all__ = [
    "AsyncClient",
    "CallError",
    "Client",
    "Reason",
    "SessionChange",
    "SessionCopy",
    "Update",
]
