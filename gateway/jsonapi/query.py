"""The query parameters that a request may have, strictly read."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

from gateway.jsonapi.errors import Error, RequestError

# Far more than there are parameters: a bound on the errors of one answer.
MAX_PARAMETERS = 100

_SWITCH = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


@dataclass(frozen=True, slots=True)
class Query:
    """What a request asks for."""

    pretty: bool = False  # indent the document for people

    @classmethod
    def parse(cls, query_string: bytes) -> Query:
        """Read a query string. Raises `RequestError` with an error for each fault."""
        try:
            pairs = parse_qsl(
                query_string.decode("latin-1"),
                keep_blank_values=True,
                max_num_fields=MAX_PARAMETERS,
            )
        except ValueError:
            raise RequestError(_error(f"there are more than {MAX_PARAMETERS} parameters")) from None
        errors: list[Error] = []
        values: dict[str, str] = {}
        for name, value in pairs:
            if name in values:
                errors.append(_error(f"{name!r} is given more than once", name))
            values[name] = value
        pretty = values.pop("pretty", "false")
        if pretty.lower() not in _SWITCH:
            errors.append(_error(f"{pretty!r} is none of {', '.join(_SWITCH)}", "pretty"))
        values.pop("sync", None)  # for MaxScale's clients: a view has nothing to write through
        errors += [
            _error(f"{name!r} is not a parameter; allowed are pretty and sync", name)
            for name in values
        ]
        if errors:
            raise RequestError(*errors)
        return cls(pretty=_SWITCH[pretty.lower()])


def _error(detail: str, parameter: str | None = None) -> Error:
    return Error(400, "INVALID_PARAMETER", detail, parameter=parameter)
