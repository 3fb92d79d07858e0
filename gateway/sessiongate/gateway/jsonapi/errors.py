"""JSON:API errors: their objects, and the response that contains them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sessiongate.gateway.jsonapi.document import MEDIA_TYPE, dump

if TYPE_CHECKING:
    from starlette.responses import Response

# Caches store a 404 unless this forbids it, and a resource may exist a second later.
_HEADERS = {"Cache-Control": "no-store", "Vary": "Accept, Accept-Encoding"}


@dataclass(frozen=True, slots=True)
class Error:
    """One error object. Clients branch on ``code``; ``detail`` is for people."""

    status: int
    code: str
    detail: str
    parameter: str | None = None  # the query parameter at fault
    header: str | None = None  # the request header at fault
    about: str | None = None  # the URL of more about this problem

    def members(self) -> dict[str, Any]:
        """Return the error object."""
        members: dict[str, Any] = {
            "status": str(self.status),
            "code": self.code,
            "title": HTTPStatus(self.status).phrase,
            "detail": self.detail,
        }
        if self.parameter is not None:
            members["source"] = {"parameter": self.parameter}
        elif self.header is not None:
            members["source"] = {"header": self.header}
        if self.about is not None:
            members["links"] = {"about": self.about}
        return members


class RequestError(Exception):
    """One or more errors in a request, all of the same status."""

    def __init__(self, *errors: Error) -> None:
        super().__init__("; ".join(error.detail for error in errors))
        self.errors = errors


def errors_response(errors: Sequence[Error], headers: Mapping[str, str] | None = None) -> Response:
    """Return the response for errors of one status."""
    from starlette.responses import Response  # the command has errors too, but no Starlette

    document = {"errors": [error.members() for error in errors]}
    return Response(
        dump(document, pretty=False),
        errors[0].status,
        headers={**_HEADERS, **(headers or {})},
        media_type=MEDIA_TYPE,
    )
