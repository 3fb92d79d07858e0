"""Options and checks that several commands have which ask a core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from sessiongate.gateway.cli.completion import completion
from sessiongate.gateway.cli.exposure import refuse_cleartext_secrets
from sessiongate.gateway.cli.groups import reading
from sessiongate.gateway.cli.login import LoginSettings
from sessiongate.gateway.cli.origin import refuse
from sessiongate.gateway.jsonapi.ids import parse_id
from sessiongate.runtime.settings import must_be, one_of


def session_id(value: object) -> int:
    """Read a session's id."""
    found = parse_id(str(value))
    if found is None:
        raise must_be("an integer from 1 to 18446744073709551615", value)
    return found


DOCUMENT_FORMS = ("table", "json", "yaml")
_FORMS = ("table", "wide", "json", "jsonl", "csv", "yaml")
_OUTPUT = "Print a table or the JSON:API document, as JSON or YAML: table, json or yaml."


def _output_option(help: str, forms: Sequence[str]) -> Any:
    return typer.Option("--output", "-o", help=help, metavar="FORM", parser=reading(one_of(*forms)))


AsJsonOption = Annotated[bool, typer.Option("--json", help="The same as --output json.")]
FollowOption = Annotated[
    bool,
    typer.Option(
        "--follow", help="Show the session again when it has changed, until it has ended."
    ),
]
DocumentOption = Annotated[Any, _output_option(_OUTPUT, DOCUMENT_FORMS)]
ListingOption = Annotated[
    Any,
    _output_option(
        "Print a table, one as wide as it gets, the JSON:API document as JSON or YAML, an object"
        f" on each line, or CSV: {', '.join(_FORMS[:-1])} or {_FORMS[-1]}.",
        _FORMS,
    ),
]
SessionIdArgument = Annotated[
    int,
    typer.Argument(
        metavar="ID",
        help="The session's id.",
        parser=reading(session_id),
        show_default=False,
        autocompletion=completion("id"),
    ),
]


def check_connection(context: typer.Context, upstream: LoginSettings) -> None:
    """Refuse settings with which no core can be reached, and name their origin."""
    refuse_cleartext_secrets(
        context, upstream, ("core_token_file", "core_user", "core_password_file")
    )
    for name, text in upstream.core_troubles().items():
        if text:
            refuse(context, text, name)


def refuse_columns(context: typer.Context, columns: Sequence[str] | None, form: str) -> None:
    """Refuse columns of a form that has none."""
    if columns and form in ("json", "jsonl", "yaml"):
        refuse(context, f"is only for tables and CSV, not for {form}, which has members", "columns")


def refuse_with_counts(context: typer.Context, **flags: object) -> None:
    """Refuse flags, by their names, that say how to print sessions, not counts."""
    for name, value in flags.items():
        if value:
            refuse(context, "is for sessions; --by prints the largest counts first", name)
