"""The ``fields[TYPE]`` parameter: which fields of a resource to return.

    fields[sessions]=state,connections,client/cipher,services

A field is the name of an attribute or a relationship or, as in MaxScale, a JSON Pointer
to a part of one; its first slash is optional. The pointer starts inside ``attributes``
or ``relationships``: if it begins with one of these words, the word is a field's name. It
does not enter arrays: an array or a scalar is returned whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from sessiongate.gateway.jsonapi.members import Members
from sessiongate.gateway.jsonapi.parameters import invalid, names
from sessiongate.gateway.jsonapi.paths import PathError, Resource, pointer_tokens
from sessiongate.runtime.suggestion import quoted_name

MAX_FIELDS = 100

# Maps names to the fields selected below them; None means all.
_Tree: TypeAlias = "Mapping[str, _Tree | None]"


@dataclass(frozen=True, slots=True)
class Fieldset:
    """The fields selected from resources of one type."""

    tree: _Tree

    @classmethod
    def parse(cls, parameter: str, value: str, members: Members | None = None) -> Fieldset:
        """Parse the parameter ``fields[TYPE]``; empty means no fields. Raises `RequestError`.

        ``members`` are the TYPE's, and check the names.
        """
        tree: dict[str, Any] = {}
        for name in names(parameter, value, MAX_FIELDS) if value else ():
            try:
                tokens = pointer_tokens(name)
            except PathError as error:
                raise invalid(parameter, str(error)) from None
            if not all(tokens):
                raise invalid(
                    parameter, f"{quoted_name(name)} is not a field, such as user or client/cipher"
                )
            if members is not None:
                members.check_field(parameter, tokens)
            _add(tree, tokens)
        return cls(tree)

    def apply(self, resource: Resource) -> Resource:
        """Return the resource object with only these fields, in their original order.

        ``attributes`` and ``relationships`` are left out if nothing remains in them;
        every other member stays. The given object is not modified.
        """
        cut = {}
        for name, value in resource.items():
            if name in ("attributes", "relationships"):
                value = _pruned(value, self.tree)
                if not value:
                    continue
            cut[name] = value
        return cut


def fieldset_type(parameter: str) -> str | None:
    """Return the TYPE of a parameter ``fields[TYPE]``; None for any other parameter."""
    if parameter.startswith("fields[") and parameter.endswith("]"):
        return parameter[len("fields[") : -1]
    return None


def _add(tree: dict[str, Any], tokens: list[str]) -> None:
    for token in tokens[:-1]:
        below = tree.setdefault(token, {})
        if below is None:  # all of it is already selected
            return
        tree = below
    tree[tokens[-1]] = None


def _pruned(value: dict[str, Any], tree: _Tree) -> dict[str, Any]:
    cut: dict[str, Any] = {}
    for name, member in value.items():
        if name not in tree:
            continue
        below = tree[name]
        if below is None or not isinstance(member, dict):
            cut[name] = member
        elif part := _pruned(member, below):
            cut[name] = part
    return cut
