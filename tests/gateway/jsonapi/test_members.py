"""Names that do not exist, and the suggestions made for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.gateway.jsonapi.errors import RequestError
from sessiongate.gateway.jsonapi.fieldsets import Fieldset
from sessiongate.gateway.jsonapi.filters import Filter
from sessiongate.gateway.jsonapi.members import (
    FREE,
    UNLISTED,
    Members,
    as_field,
    as_jsonpath,
    as_name,
    as_pointer,
)
from sessiongate.gateway.jsonapi.sorting import Sort

SHIPS = Members(
    {
        "id": None,
        "type": None,
        "attributes": {
            "name": None,
            "connected": None,
            "engine": {"maker": None, "settings": FREE},
            "berths": [{"number": None, "cabin": {"deck": None}}],
        },
        "relationships": {
            "owners": {"data": [{"id": None, "type": None}]},
            "crew": {"links": {"related": None}},
        },
        "links": {"self": None},
    },
    {
        "attributes": {
            "log": [None],
            "engine": {"serial": None},
            "papers": UNLISTED,
            "stamps": [UNLISTED],
        }
    },
)


def ask(parameter: str, value: str) -> None:
    """Read a parameter of ships."""
    if parameter == "sort":
        Sort.parse(value, SHIPS)
    elif parameter.startswith("fields"):
        Fieldset.parse(parameter, value, SHIPS)
    else:
        Filter.parse(parameter, value, members=SHIPS)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("sort", "-name,id,links.self,engine.maker,engine/settings/any/thing,berths.0.number"),
        ("sort", "attributes.name,/attributes/connected,relationships.owners.data.0.id"),
        ("sort", "log,engine.serial"),
        ("fields[ships]", "name,engine,engine/settings/any/thing,owners,log,engine/serial"),
        ("fields[ships]", "id,type,berths/0/number,berths/whatever"),
        ("fields[ships]", ""),
        ("filter", "id=1"),
        ("filter", "/attributes/berths/12/cabin/deck=1"),
        ("filter", "relationships/owners/data/0/id=1"),
        ("filter", "/attributes/log/0=1"),
        ("filter[attributes.name]", "1"),
        ("filter[$.attributes.berths[*].number]", "1"),
        ("filter[$.attributes.berths[-1].number]", "1"),
        ("filter[$.attributes.engine.settings.any.thing]", "1"),
        ("filter[$..deck]", "1"),
        ("filter[$..[0].number]", "1"),
        ("filter[$.attributes.*.*.deck]", "1"),
        ("filter[$.attributes['name','connected']]", "1"),
        ("filter[$.attributes.berths[?@.number == 1 && @.cabin.deck].cabin]", "1"),
        ("filter[$.attributes.berths[?@.number == $.id].cabin]", "1"),
        ("filter[$.attributes.berths[1:].number]", "1"),
        # Objects that may have any member may have this one, if the path can reach it.
        ("filter[$..nothing]", "1"),
        ("filter[$.attributes.*.*.nothing]", "1"),
        ("filter[$.attributes.engine..nothing]", "1"),
        ("filter[$.attributes.engine.*.nothing]", "1"),
        ("filter[$.attributes.papers.nothing]", "1"),
        ("filter[$.attributes.stamps[*].nothing]", "1"),
        ("filter[$.attributes.stamps..nothing]", "1"),
        ("fields[ships]", "papers/nothing,stamps"),
        ("sort", "papers.nothing"),
    ],
)
def test_what_there_is_may_be_asked_for(parameter: str, value: str) -> None:
    ask(parameter, value)


@pytest.mark.parametrize(
    ("parameter", "value", "detail"),
    [
        ("sort", "nane", "no attribute 'nane'; did you mean 'name'?"),
        ("sort", "id,-Name", "no attribute 'Name'; did you mean 'name'?"),
        ("sort", "attributes.nane", "no attribute 'attributes.nane'; did you mean 'name'?"),
        ("sort", "maker", "no attribute 'maker'; did you mean 'engine.maker'?"),
        ("sort", "engin.makr", "no attribute 'engin.makr'; did you mean 'engine.maker'?"),
        ("sort", "name.first", "no member 'name.first'; did you mean 'name'?"),
        ("sort", "berths.number", "'berths.number'; did you mean 'berths.0.number'?"),
        ("sort", "owner", "'owner'; did you mean 'relationships.owners.data.0.id'?"),
        ("sort", "zzz", "no attribute 'zzz'; allowed are name, connected, engine, berths"),
        ("sort", "engine.zzz", "no member 'engine.zzz'; allowed are maker, settings"),
        ("sort", "berths.zzz", "no member 'berths.zzz'; allowed are number, cabin"),
        ("sort", "n" * 200, "allowed are name"),
        ("filter", "/name=1", "no member '/name'; did you mean '/attributes/name'?"),
        ("filter", "attributes/nane=1", "'attributes/nane'; did you mean '/attributes/name'?"),
        ("filter", "/attributes/berths/0/nr=1", "'/attributes/berths/0/nr'; allowed are number"),
        (
            "filter",
            "/attributes/berths/deck=1",
            "no member '/attributes/berths/deck'; did you mean '/attributes/berths/0/cabin/deck'?",
        ),
        ("filter[name]", "1", "no member 'name'; did you mean 'attributes.name'?"),
        ("filter[nane]", "1", "no member 'nane'; did you mean 'attributes.name'?"),
        (
            "filter[attributes.berths.number]",
            "1",
            "no member 'attributes.berths.number'; did you mean 'attributes.berths[*].number'?",
        ),
        (
            "filter[berths[2].numbr]",
            "1",
            "no member 'berths[2].numbr'; did you mean 'attributes.berths[2].number'?",
        ),
        ("filter[owners]", "1", "did you mean 'relationships.owners.data[0].id'?"),
        ("filter[crew]", "1", "did you mean 'relationships.crew'?"),
        ("filter[$.attributes[0]]", "1", "no attribute '$.attributes[0]'; allowed are name"),
        (
            "filter[$.attributes.berth[?@.number].number]",
            "1",
            "no attribute '$.attributes.berth[?@.number].number';"
            " did you mean '$.attributes.berths[?@.number].number'?",
        ),
        # Names after a step that leads to several places.
        (
            "filter[$.attributes.*.nane]",
            "1",
            "'$.attributes.*.nane'; did you mean 'attributes.name'?",
        ),
        ("filter[$.attributes.*.makr]", "1", "did you mean 'attributes[*].maker'?"),
        ("filter[$.*.nane]", "1", "did you mean '$[*].name'?"),
        ("filter[$.attributes.*[0].nr]", "1", "'$.attributes.*[0].nr'; allowed are number, cabin"),
        ("filter[$.attributes.*.zzz]", "1", "'$.attributes.*.zzz'; allowed are maker, settings"),
        ("filter[$.relationships..tipe]", "1", "did you mean '$.relationships..type'?"),
        ("filter[$.attributes.berths..dekc]", "1", "did you mean '$.attributes.berths..deck'?"),
        ("filter[$.attributes.berths..name]", "1", "did you mean 'attributes.name'?"),
        ("filter[$.attributes.berths..zzz]", "1", "; allowed are number, cabin, deck"),
        ("filter[$.attributes.berths[1:].numbr]", "1", "'$.attributes.berths[1:].number'?"),
        ("filter[$.attributes['name','conected']]", "1", "$.attributes['name','connected']"),
        (
            "filter[$.attributes.berths[?@.nr==1].number]",
            "1",
            "no member '@.nr'; allowed are number",
        ),
        ("filter[$.attributes.berths[?@.numbr==1].number]", "1", "did you mean '@.number'?"),
        (
            "filter[$.attributes.berths[?$.attributes.nane].number]",
            "1",
            "mean '$.attributes.name'?",
        ),
        ("filter", "attributes.nane=1", "'attributes.nane'; did you mean '/attributes/name'?"),
        ("filter", "$.attributes.name=1", "did you mean '/attributes/name'?"),
        ("filter", "/attributes.engine.maker=1", "did you mean '/attributes/engine/maker'?"),
        ("sort", "nmae", "did you mean 'name'?"),
        ("sort", "lgo", "did you mean 'log'?"),
        ("sort", "serail", "did you mean 'engine.serial'?"),
        ("fields[ships]", "lgo", "did you mean 'log'?"),
        (
            "fields[ships]",
            "name,nane",
            "no attribute or relationship 'nane'; did you mean 'name'?",
        ),
        ("fields[ships]", "attributes.name", "did you mean 'name'?"),
        ("fields[ships]", "/attributes/name", "did you mean 'name'?"),
        ("fields[ships]", "relationships/owners", "did you mean 'owners'?"),
        ("fields[ships]", "engine.maker", "did you mean 'engine/maker'?"),
        ("fields[ships]", "engine/makr", "no member 'engine/makr'; did you mean 'engine/maker'?"),
        ("fields[ships]", "number", "did you mean 'berths'?"),
        (
            "fields[ships]",
            "attributes",
            "allowed are name, connected, engine, berths, owners, crew",
        ),
    ],
)
def test_a_misspelt_name_is_refused(parameter: str, value: str, detail: str) -> None:
    with pytest.raises(RequestError) as raised:
        ask(parameter, value)
    [error] = raised.value.errors
    assert (error.status, error.code) == (400, "INVALID_PARAMETER")
    assert error.parameter == parameter
    # The parameter is named once: the name of filter[JSONPATH] contains its text.
    once = "" if "filter[" in parameter else f"{parameter}: "
    assert error.detail.startswith(f"{once}there is no ")
    assert detail in error.detail


def test_what_is_declared_can_be_asked_for_as_it_is_written() -> None:
    places = [*SHIPS.places()]
    assert as_pointer(places[-1]) == "/links/self"
    for place in places:
        ask("sort", as_name(place))
        ask("filter", f"{as_pointer(place)}=1")
        ask(f"filter[{as_jsonpath(place)}]", "1")
    fields = [*map(as_field, SHIPS.fields())]
    assert fields[:3] == ["name", "connected", "engine"]
    for field in fields:
        ask("fields[ships]", field)


@given(st.data())
def test_what_is_suggested_may_be_asked_for(data: st.DataObject) -> None:
    written = [
        *(("sort", as_name(place), "") for place in SHIPS.places()),
        *(("filter", as_pointer(place), "=1") for place in SHIPS.places()),
        *((f"filter[{as_jsonpath(place)}]", "1", "") for place in SHIPS.places()),
        *((f"filter[$.*.{place[-1].name}]", "1", "") for place in SHIPS.places() if place[-1].name),
        *(("fields[ships]", as_field(place), "") for place in SHIPS.fields()),
    ]
    parameter, value, end = data.draw(st.sampled_from(written))
    by_path = parameter.startswith("filter[")
    right = parameter[len("filter[") : -1] if by_path else value
    at = data.draw(st.integers(0, len(right)))
    wrong = right[:at] + data.draw(st.sampled_from(["", "x", "."])) + right[at + 1 :]

    def try_it(text: str) -> None:
        ask(*((f"filter[{text}]", value) if by_path else (parameter, text + end)))

    try:
        try_it(wrong)
    except RequestError as error:
        _, hint, meant = error.errors[0].detail.removesuffix("'?").partition("; did you mean '")
        if hint:
            try_it(meant)
