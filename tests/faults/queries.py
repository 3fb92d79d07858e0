"""Query parameters in the grammar of this API, valid and invalid in every part."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeAlias

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from sessiongate.gateway.api.documents import INCLUDES
from sessiongate.gateway.jsonapi.expressions import COMPARISONS, LOGIC
from sessiongate.gateway.jsonapi.members import Members, as_field, as_jsonpath, as_name, as_pointer
from sessiongate.gateway.jsonapi.query import AllowedParameters
from tests.gateway.fleet import SERVICES, STATES

Pairs: TypeAlias = list[tuple[str, str]]


def among(*groups: Sequence[str]) -> SearchStrategy[str]:
    """Return a strategy that draws one of these texts."""
    return st.sampled_from([text for group in groups for text in group])


# Hypothesis draws the ends of a range more often than the values between them.
rarely = st.integers(0, 15).map(lambda number: number == 11)
any_text = st.text(max_size=12)

_slips = st.one_of(
    st.sampled_from(
        [*"\"'\\()[]{}<>,;:=&%$@?*!~/.-+ \t\x00\x7f\x85\u2028\ufeff", "é", "😀", "%00"]
    ),
    any_text,
    st.builds(
        lambda text, times: text * times, st.sampled_from('([{!~%a0"\\ '), st.integers(2, 300)
    ),
)


@st.composite
def slipped(draw: DrawFn, texts: SearchStrategy[str]) -> str:
    """Draw a text, at times with something out of place in it, and with something lost."""
    text = draw(texts)
    if not draw(rarely):
        return text
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(_slips) + text[at + draw(st.integers(0, 3)) :]


# JSON values, and expressions of them.

_scalars = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from([json.dumps(text) for text in (*SERVICES, *STATES, "user1", "192.0.2.1")]),
    st.sampled_from(["0", "1", "60", "0.5", "-0", "1e3", "true", "false", "null", '""', "9" * 400]),
    any_text.map(json.dumps),
    any_text.map(lambda text: json.dumps(text, ensure_ascii=False)),
    among(
        ["01", "1E400", "-1e-400", "0x1", "NaN", "-Infinity", "True", "'x'", '"', '"\\', '"\\x"'],
        ['"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', f'"{"x" * 300}"'],
    ),
)
_values = st.one_of(
    *[_scalars] * 4,
    st.lists(_scalars, max_size=3).map(lambda items: f"[{','.join(items)}]"),
    st.tuples(any_text, _scalars).map(lambda pair: f"{{{json.dumps(pair[0])}:{pair[1]}}}"),
    st.builds(lambda times: "[" * times + "]" * times, st.integers(1, 60)),
)
_expressions = st.recursive(
    st.one_of(_values, st.builds("{}({})".format, st.sampled_from(COMPARISONS), _values)),
    lambda inner: st.builds(
        lambda name, parts: f"{name}({', '.join(parts)})",
        st.sampled_from(LOGIC),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=3,
)

# Names of fields, and paths to them.

_NAMES = (
    *("id", "type", "attributes", "relationships", "links", "meta", "state", "user", "remote"),
    *("port", "database", "idle", "connected", "connections", "server", "connection_id", "client"),
    *("cipher", "connection_attributes", "_client_name", "program", "memory", "total", "services"),
    *("data", "queries", "thread", "io_activity", "application", "source", "kind", "reachable"),
)
_names = rarely.flatmap(lambda rare: any_text if rare else st.sampled_from(_NAMES))
_numbers = st.one_of(
    st.integers(-3, 70).map(str),
    st.sampled_from(["0", "1", "-1", "-0", "01", "1e1", "9" * 15, "9" * 16, "9" * 200]),
)
_pointers = st.builds(
    lambda root, steps: root + "/".join(steps),
    st.sampled_from(["/attributes/", "/", "", "/relationships/"]),
    st.lists(
        st.one_of(_names, _names, st.sampled_from(["0", "-", "01", "~0", "~1", "~", "", "9" * 30])),
        min_size=1,
        max_size=4,
    ),
)
_sorted_by = st.builds(
    "{}{}".format,
    st.sampled_from(["", "-", "--"]),
    st.one_of(_names, _names, st.lists(_names, min_size=2, max_size=4).map(".".join), _pointers),
)
_selectors = st.one_of(
    _numbers,
    st.just("*"),
    _names.map(lambda name: f"'{name}'"),
    _names.map(json.dumps),
    st.lists(st.one_of(_numbers, st.just("")), min_size=2, max_size=3).map(":".join),
)
_singular = st.builds(
    lambda root, steps: root + "".join(steps),
    st.sampled_from("@@$"),
    st.lists(st.one_of(_names.map(".{}".format), _selectors.map("[{}]".format)), max_size=2),
)
_tests = st.recursive(
    st.one_of(
        _singular,
        _scalars,
        st.builds(
            "{}({})".format,
            st.sampled_from(["length", "count", "match", "search", "value", "none"]),
            _singular,
        ),
    ),
    lambda inner: st.one_of(
        st.builds(
            "{}{}{}".format,
            inner,
            st.sampled_from(["==", "!=", "<", "<=", ">", ">=", " && ", "||", "=", " in ", "=~"]),
            inner,
        ),
        st.builds(lambda times, test: "!" * times + test, st.integers(1, 240), inner),
        st.builds(lambda times, test: "(" * times + test + ")" * times, st.integers(1, 110), inner),
        st.builds(
            lambda times, test: "@[?" * times + test + "]" * times, st.integers(1, 60), inner
        ),
    ),
    max_leaves=3,
)
_segments = st.one_of(
    _names.map(".{}".format),
    _names.map("..{}".format),
    st.sampled_from([".*", "..*", "[*]", "..[*]", "[]", "..", "."]),
    st.lists(_selectors, min_size=1, max_size=4).map(lambda found: f"[{','.join(found)}]"),
    _tests.map("[?{}]".format),
)
_jsonpaths = st.builds(
    lambda root, segments: root + "".join(segments),
    st.sampled_from(["$", "$", "attributes", "$.attributes", "$.relationships", "", "^", "_"]),
    st.lists(_segments, max_size=3),
)

# Parameters: each strategy draws some that belong together.

counts = st.one_of(
    *[st.integers(1, 70).map(str)] * 3,
    st.sampled_from(["-1", "", "0", "00", "+1", "1.0", "10000", "10001", "2147483647", "٣", " 1"]),
    st.sampled_from(["2147483648", str(2**63), str(2**64 - 1), str(2**64), "1e9", "9" * 500]),
)


def _one(name: str | SearchStrategy[str], value: SearchStrategy[str]) -> SearchStrategy[Pairs]:
    names = st.just(name) if isinstance(name, str) else slipped(name)
    return st.tuples(names, slipped(value)).map(lambda pair: [pair])


def _fields(types: Sequence[str]) -> SearchStrategy[Pairs]:
    names = st.lists(st.one_of(_names, _names, _pointers), max_size=6, unique=True).map(",".join)
    return _one(st.sampled_from(types).map("fields[{}]".format), names)


_FILTER = _one("filter", st.builds("{}={}".format, _pointers, _expressions))
_FILTER_BY_PATH = _one(_jsonpaths.map("filter[{}]".format), _expressions)
_SORT = _one("sort", st.lists(_sorted_by, min_size=1, max_size=9, unique=True).map(",".join))
_INCLUDE = _one(
    "include", st.lists(st.sampled_from([*INCLUDES, "x"]), max_size=4, unique=True).map(",".join)
)
_PAGE = st.builds(
    lambda names, values: [(f"page[{n}]", v) for n, v in zip(names, values, strict=False)],
    st.sampled_from(
        [("size", "number"), ("size", "after"), ("size", "before"), ("size",), ("after", "before")]
    ),
    st.tuples(slipped(counts), slipped(counts)),
)
_ANYWHERE = st.one_of(
    _one("pretty", st.sampled_from(["true", "true", "off", "TRUE", "2"])), _one("sync", any_text)
)
_STRAY = st.one_of(
    *(
        _FILTER,
        _FILTER_BY_PATH,
        _SORT,
        _INCLUDE,
        _PAGE,
        _fields(["", "x"]),
        _one(any_text, any_text),
    )
)


def _known(members: Members) -> list[SearchStrategy[Pairs]]:
    """Make filters and orders by what resources have: most freely drawn names are refused."""
    places = [*members.places()]
    pointers, paths, names = (
        st.sampled_from([*map(write, places)]) for write in (as_pointer, as_jsonpath, as_name)
    )
    return [
        _one("filter", st.builds("{}={}".format, pointers, _expressions)),
        _one(paths.map("filter[{}]".format), _expressions),
        _one("sort", st.lists(names, min_size=1, max_size=3, unique=True).map(",".join)),
    ]


def parameters(takes: AllowedParameters) -> SearchStrategy[Pairs]:
    """Return a strategy for parameters that an operation takes, and rarely one that it does not."""
    fitting = [_ANYWHERE]
    if takes.collection:
        fitting += [_FILTER, _FILTER_BY_PATH, _SORT, _PAGE, _PAGE, *_known(takes.collection)]
    if takes.include:
        fitting.append(_INCLUDE)
    if takes.fields:
        fitting.append(_fields([*takes.fields]))
        fitting += [
            _one(f"fields[{kind}]", st.sampled_from([*map(as_field, members.fields())]))
            for kind, members in takes.fields.items()
        ]
    chosen = st.one_of(fitting)
    return st.lists(
        rarely.flatmap(lambda rare: _STRAY if rare else chosen),
        max_size=3,
        unique_by=lambda pairs: pairs[0][0],
    ).map(lambda found: [pair for pairs in found for pair in pairs])
