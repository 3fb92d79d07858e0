"""Filter expressions: conditions on one value, in MaxScale 24.02's grammar.

    expression = json / comparison / logic
    comparison = ("eq" / "ne" / "lt" / "le" / "gt" / "ge") "(" json ")"
    logic      = ("and" / "or" / "not") "(" expression *("," expression) ")"

A JSON value alone means eq(). not() of several expressions matches if none of them matches.
Blanks are allowed between tokens.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn, TypeAlias

from sessiongate.gateway.jsonapi.paths import id_number
from sessiongate.runtime.suggestion import did_you_mean

ValuePredicate: TypeAlias = Callable[[Any], bool]

_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = MappingProxyType(
    {"lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge}
)
COMPARISONS = ("eq", "ne", *_ORDERS)
LOGIC = ("and", "or", "not")
_OTHERWISE = {"gte": "ge", "lte": "le", "neq": "ne", "equal": "eq", "equals": "eq"}

_ALLOWED = (
    "allowed are a JSON value (strings in double quotes),"
    f" {', '.join(f'{name}(JSON)' for name in COMPARISONS)},"
    f" {', '.join(f'{name}(EXPRESSION,…)' for name in LOGIC)}"
)
_BLANKS = re.compile(r"[ \t\r\n]*")
_OPERATION = re.compile(rf"({'|'.join((*COMPARISONS, *LOGIC))})[ \t\r\n]*\(")
_CALL = re.compile(r"([A-Za-z]{1,10})[ \t\r\n]*\(", re.ASCII)
_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"?|([(\[{])|([)\]}])', re.DOTALL)


class ExpressionError(ValueError):
    """An invalid expression; the message says what is wrong, where, and what is allowed."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison: ``operator`` is one of `COMPARISONS`, ``value`` the parsed JSON."""

    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class Logic:
    """A combination: ``operator`` is one of `LOGIC`; there is at least one operand."""

    operator: str
    operands: tuple[Expression, ...]


Expression: TypeAlias = Comparison | Logic


def parse_expression(text: str, start: int, max_depth: int) -> Expression:
    """Parse the expression in ``text`` from ``start`` to the end. Raises `ExpressionError`.

    ``max_depth`` limits the nesting of brackets, including those of JSON values.
    """
    _check_depth(text, start, max_depth)
    expression, end = _expression(text, start)
    end = _skip(text, end)
    if end < len(text):
        raise ExpressionError(
            f"at offset {end}, unexpected {_rest(text, end)} after the expression"
        )
    return expression


def compiled(expression: Expression, *, of_id: bool) -> ValuePredicate:
    """Compile an expression to a function that returns whether a value matches.

    Numbers compare as numbers, integer or real; strings by their code points. Values
    of different types are unequal and have no order. With ``of_id``, a string that is a
    whole decimal number compares with a number as a number.
    """
    if isinstance(expression, Logic):
        return _compiled_logic(expression, of_id=of_id)
    value = expression.value
    if expression.operator == "eq":
        matches = _equality(value)
    elif expression.operator == "ne":
        matches = _logic("not", [_equality(value)])
    else:
        matches = _order(_ORDERS[expression.operator], value)
    return _of_id(matches) if of_id and _is_number(value) else matches


def _compiled_logic(expression: Logic, *, of_id: bool) -> ValuePredicate:
    """Compile an operation; operands that only name values become one lookup in a set."""
    name = expression.operator
    named = "ne" if name == "and" else "eq"  # and() of ne() is not() of any eq()
    values: list[Any] = []
    parts: list[ValuePredicate] = []
    for operand in expression.operands:
        if (
            isinstance(operand, Comparison)
            and operand.operator == named
            and (type(operand.value) is str or _is_number(operand.value))
        ):
            values.append(operand.value)
        else:
            parts.append(compiled(operand, of_id=of_id))
    if values:
        one_of = _one_of(values, of_id=of_id)
        parts.insert(0, _logic("not", [one_of]) if name == "and" else one_of)
    return _logic(name, parts)


def strings(expression: Expression) -> tuple[str, ...] | None:
    """Return the strings that an expression matches if it matches nothing else; else None."""
    if isinstance(expression, Comparison):
        if expression.operator == "eq" and type(expression.value) is str:
            return (expression.value,)
        return None
    if expression.operator != "or":
        return None
    found: list[str] = []
    for operand in expression.operands:
        part = strings(operand)
        if part is None:
            return None
        found += part
    return tuple(dict.fromkeys(found))


def _expression(text: str, start: int) -> tuple[Expression, int]:
    start = _skip(text, start)
    operation = _OPERATION.match(text, start)
    if operation is None:
        value, end = _value(text, start, _ALLOWED)
        return Comparison("eq", value), end
    name = operation[1]
    if name in LOGIC:
        return _operands(name, text, operation.end())
    position = _skip(text, operation.end())
    value, end = _value(text, position, f"{name}() requires one JSON value")
    if name in _ORDERS and not (type(value) is str or _is_number(value)):
        raise ExpressionError(f"at offset {position}, {name}() requires a number or a string")
    return Comparison(name, value), _close(text, end, name)


def _operands(name: str, text: str, start: int) -> tuple[Expression, int]:
    operands = []
    end = start
    while True:
        operand, end = _expression(text, end)
        operands.append(operand)
        end = _skip(text, end)
        if text[end : end + 1] != ",":
            return Logic(name, tuple(operands)), _close(text, end, name)
        end += 1


def _close(text: str, position: int, name: str) -> int:
    position = _skip(text, position)
    if text[position : position + 1] != ")":
        raise ExpressionError(
            f"at offset {position}, expected ')' to close {name}(, got {_rest(text, position)}"
        )
    return position + 1


def _value(text: str, start: int, allowed: str) -> tuple[Any, int]:
    try:
        value, end = _JSON.raw_decode(text, start)
        if not _is_number(value):
            # A lone surrogate is not text: it cannot be stored or sent.
            (value if type(value) is str else _encode(value)).encode()
        return value, end
    except UnicodeEncodeError:
        problem = f"at offset {start}, \\ud800 to \\udfff must come in pairs"
    except json.JSONDecodeError as error:
        # The decoder reports the position of the error, which may be deep inside a value.
        where = f"{error.msg} at offset {error.pos}" if error.pos > start else ""
        problem = where or f"at offset {start}, {_rest(text, start)} is not a JSON value"
        if hint := _operation_meant(text, start):
            raise ExpressionError(f"at offset {start}, {hint}") from None
    except ValueError as error:
        problem = f"at offset {start}, {error}"
    raise ExpressionError(f"{problem}; {allowed}")


def _operation_meant(text: str, start: int) -> str:
    """Suggest an operation for a call of an unknown one; return "" for anything else."""
    called = _CALL.match(text, start)
    if called is None or called[1] in (*COMPARISONS, *LOGIC):
        return ""
    hint = did_you_mean(_OTHERWISE.get(called[1].lower(), called[1]), (*COMPARISONS, *LOGIC))
    return hint and f"there is no {called[1]}(){hint}"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


_JSON = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
_encode = json.JSONEncoder(ensure_ascii=False).encode


def _check_depth(text: str, start: int, max_depth: int) -> None:
    depth = 0
    for found in _BRACKET.finditer(text, start):
        if found[1]:
            depth += 1
            if depth > max_depth:
                raise ExpressionError(
                    f"at offset {found.start()}, brackets nest deeper than the maximum, {max_depth}"
                )
        elif found[2]:
            depth -= 1


def _skip(text: str, start: int) -> int:
    blanks = _BLANKS.match(text, start)
    return blanks.end() if blanks else start


def _rest(text: str, start: int) -> str:
    rest = text[start : start + 20]
    return repr(rest) if rest else "the end"


def _logic(name: str, parts: list[ValuePredicate]) -> ValuePredicate:
    if name == "not":
        any_of = _logic("or", parts)
        return lambda found: not any_of(found)
    if len(parts) == 1:
        return parts[0]
    decides = name == "or"  # one operand with this result decides

    def matches(found: Any) -> bool:
        for part in parts:
            if part(found) is decides:
                return decides
        return not decides

    return matches


def _equality(value: Any) -> ValuePredicate:
    if value is None or type(value) is bool:
        return lambda found: found is value
    if type(value) is str:
        return lambda found: bool(found == value)
    return lambda found: _same(found, value)


def _one_of(values: Iterable[Any], *, of_id: bool) -> ValuePredicate:
    """Return a test of whether a value is one of these strings and numbers."""
    texts = frozenset(value for value in values if type(value) is str)
    numbers = frozenset(value for value in values if _is_number(value))

    def matches(found: Any) -> bool:
        if type(found) is not str:
            return _is_number(found) and found in numbers
        if found in texts:
            return True
        number = id_number(found) if of_id and numbers else None
        return number is not None and number in numbers

    return matches


def _order(order: Callable[[Any, Any], bool], value: Any) -> ValuePredicate:
    if type(value) is str:
        return lambda found: type(found) is str and order(found, value)
    return lambda found: _is_number(found) and order(found, value)


def _of_id(matches: ValuePredicate) -> ValuePredicate:
    def matches_id(found: Any) -> bool:
        number = id_number(found) if type(found) is str else None
        return matches(found if number is None else number)

    return matches_id


def _is_number(value: object) -> bool:
    return type(value) is int or type(value) is float


def _same(found: Any, value: Any) -> bool:
    """Compare JSON values for equality as Python does, except that true is not 1."""
    if type(value) is dict:
        return (
            type(found) is dict
            and found.keys() == value.keys()
            and all(_same(found[name], member) for name, member in value.items())
        )
    if type(value) is list:
        return (
            type(found) is list
            and len(found) == len(value)
            and all(_same(item, element) for item, element in zip(found, value, strict=True))
        )
    if _is_number(value):
        return _is_number(found) and bool(found == value)
    return type(found) is type(value) and bool(found == value)
