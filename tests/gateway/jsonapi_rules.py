"""Checks every document that a test receives against the rules of JSON:API 1.1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
from jsonschema_rs import Draft202012Validator

_DATA = Path(__file__).resolve().parents[1] / "data"
_SCHEMA = Draft202012Validator(
    json.loads((_DATA / "jsonapi-1.1.schema.json").read_text(encoding="utf-8")),
    validate_formats=True,
)
_MEDIA_TYPE = "application/vnd.api+json"


def check_answer(answer: httpx.Response) -> None:
    """Fail if the answer is a document that breaks a rule; for a client's event hooks."""
    if answer.request.method != "HEAD" and _is_document(answer):
        check_document(json.loads(answer.read()))


async def check_answer_async(answer: httpx.Response) -> None:
    """Do the same for asynchronous clients."""
    if answer.request.method != "HEAD" and _is_document(answer):
        check_document(json.loads(await answer.aread()))


def check_document(document: Any) -> None:
    """Fail if the document breaks a rule."""
    _SCHEMA.validate(document)
    primary = document.get("data") or []
    resources = primary if isinstance(primary, list) else [primary]
    included = document.get("included", [])
    identities = [(item["type"], item["id"]) for item in (*resources, *included)]
    assert len(set(identities)) == len(identities), "a resource stands there twice"
    for item in (*resources, *included):
        both = item.get("attributes", {}).keys() & item.get("relationships", {}).keys()
        assert not both, f"{both} are attributes and relationships"


def _is_document(answer: httpx.Response) -> bool:
    content_type: str = answer.headers.get("content-type", "")
    return content_type.partition(";")[0] == _MEDIA_TYPE
