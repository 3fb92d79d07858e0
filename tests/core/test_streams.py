"""HAProxy's streams, from recorded answers: what is read, what is kept, what is refused."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.core.sources.base import SourceError, TcpLink
from sessiongate.core.sources.support.stream import MAX_STREAM
from sessiongate.core.sources.support.streams import Streams
from sessiongate.v1 import session_pb2
from tests.core.observing import values
from tests.faults.scale import times

DATA = Path(__file__).parent.parent / "data" / "haproxy-2.6"
BRIEF = (DATA / "sess.txt").read_text(encoding="utf-8")
BLOCKS = (DATA / "sess_all.txt").read_text(encoding="utf-8")
START = 1795467306  # Start_time_sec of both
NOW = START + 10.0
INFO = f"Name: HAProxy\nPid: 16161\nUptime_sec: 2\nStart_time_sec: {START}\n\n"
# A line as HAProxy 2.2 writes it.
OLD = (
    "0x55d523544660: proto=tcpv4 src={src} fe=plain be=servers srv=one ts=02 age={age} calls=2"
    " cpu=0 lat=0 rq[f=808000h,i=0,an=00h,rx=59m57s,wx=,ax=] rp[f=80008000h,i=0,an=00h,rx=,wx=,ax=]"
    " s0=[8,0h,fd=20,ex=] s1=[8,118h,fd=21,ex=] exp=57s\n"
)


def streams(**options: bool) -> Streams:
    return Streams(**{"include_self": False, **options})


def one_line(src: str = "192.0.2.7:4711", age: str = "5s") -> str:
    return INFO + OLD.format(src=src, age=age) + "\n"


@pytest.mark.parametrize(("text", "blocks"), [(BRIEF, False), (BLOCKS, True)])
def test_both_commands_tell_of_the_same_activities(text: str, blocks: bool) -> None:
    found = streams().read([text], NOW, blocks=blocks).sessions
    shown = {item.session.native_id: item.session for item in found}
    busy = {ident: session for ident, session in shown.items() if session.HasField("activity")}
    assert {
        ident: (session.activity.native, session.activity.state, session.activity.wait)
        for ident, session in busy.items()
    } == {
        "0x55d523679870": ("EST", session_pb2.ACTIVITY_STATE_ACTIVE, ""),
        "0x7f2c6002a720": ("QUE", session_pb2.ACTIVITY_STATE_WAITING, "queue"),
    }
    assert {session.activity.since_time.seconds for session in busy.values()} == {START + 8}


CONNECTING = session_pb2.ACTIVITY_STATE_CONNECTING


@pytest.mark.parametrize(
    ("changes", "native", "state"),
    [
        ({}, "", 0),
        ({"s1=[8": "s1=[2"}, "QUE", session_pb2.ACTIVITY_STATE_WAITING),
        ({"s1=[8": "s1=[3"}, "TAR", CONNECTING),
        ({"s1=[8": "s1=[5"}, "CON", CONNECTING),
        ({"s1=[8": "s1=[0"}, "", 0),
        ({"s1=[8": "s1=[11"}, "", 0),
        ({"s1=[8": "s1=["}, "", 0),
        ({"rp[f=80008000h,i=0,an=00": "rp[f=80008000h,i=0,an=1400000"}, "EST", 1),
        (
            {"rp[f=80008000h,i=0,an=00": "rp[f=80008000h,i=0,an=4000000", "s1=[8": "s1=[10"},
            "CLO",
            1,
        ),
        ({"rq[f=808000h,i=0,an=00": "rq[f=808000h,i=0,an=4000000"}, "", 0),
        ({"rp[": "rx["}, "", 0),
    ],
)
def test_the_activity_is_what_a_line_says(changes: dict[str, str], native: str, state: int) -> None:
    text = one_line()
    for usual, odd in changes.items():
        assert usual in text
        text = text.replace(usual, odd)
    (item,) = streams().read([text], NOW).sessions
    assert (item.session.activity.native, item.session.activity.state) == (native, state)
    assert item.session.activity.HasField("since_time") == bool(state)
    assert item.unreadable == ()


def test_a_stream_that_gets_another_state_is_read_again() -> None:
    reader = streams()
    first = reader.read([one_line()], NOW)
    assert reader.read([one_line(age="6s")], NOW + 1) is first
    (item,) = reader.read([one_line().replace("s1=[8", "s1=[5")], NOW + 2).sessions
    assert item.session.activity.state == CONNECTING


@pytest.mark.parametrize(
    ("age", "later", "seconds", "kept"),
    [
        ("5s", "6s", 1.9, True),  # rounded down by both clocks
        ("59m59s", "1h", 60, True),
        ("1h5m", "1h5m", 59, True),
        ("23h59m", "1d", 3600, True),
        ("2d3h", "2d4h", 1, True),
        ("5s", "2s", 0, False),  # the next request, with the same pointer
        ("1h5m", "1h3m", 0, False),
        ("5s", "?", 1, False),
    ],
)
def test_an_activity_begins_with_its_stream_however_roughly_the_age_is_written(
    age: str, later: str, seconds: float, kept: bool
) -> None:
    reader = streams()
    queued = one_line(age=age).replace("s1=[8", "s1=[2")
    (first,) = reader.read([queued], NOW).sessions
    assert reader.read([queued], NOW).sessions == [first]
    connecting = one_line(age=later).replace("s1=[8", "s1=[5")
    (second,) = reader.read([connecting], NOW + seconds).sessions
    since = first.session.activity.since_time
    assert first.session.HasField("connect_time")
    assert (second.session.activity.since_time == since) == kept


@pytest.mark.parametrize(("text", "blocks"), [(BRIEF, False), (BLOCKS, True)])
def test_both_commands_tell_of_the_same_sessions(text: str, blocks: bool) -> None:
    observation = streams().read([text], NOW, blocks=blocks)
    assert observation.incarnation == START
    sessions = {item.key: item.session for item in observation.sessions}
    assert [
        (key, session.service, session.state, [backend.server for backend in session.connections])
        for key, session in sorted(sessions.items())
    ] == [
        ("16161 0x55d523544660 plain 127.0.0.1:51576", "plain", 10, ["servers/one"]),
        ("16161 0x55d523676c70 plain ::1:43904", "plain", 10, ["servers/one"]),
        ("16161 0x55d5236778a0 plain unix:3", "plain", 10, ["servers/one"]),
        ("16161 0x55d5236782a0 undecided 127.0.0.1:55994", "undecided", 2, []),
        ("16161 0x55d523678ac0 narrow 127.0.0.1:52576", "narrow", 10, ["narrow/one"]),
        ("16161 0x55d523679870 web 127.0.0.1:56310", "web", 10, ["sites/one"]),
        ("16161 0x7f2c6002a720 narrow 127.0.0.1:52580", "narrow", 3, []),
    ]
    assert {session.connect_time.seconds for session in sessions.values()} == {START + 8}


def many(blocks: bool) -> str:
    """Make an answer of several steps, in which one stream is far too long."""
    info, text = (BLOCKS if blocks else BRIEF).split("\n\n", 1)
    stream = text.partition("\n0x")[0] + "\n"
    answer = [stream.replace("0x55d5", f"0x{number:04x}") for number in range(500)]
    answer.insert(300, f"0xffff: {'x' * 3 * MAX_STREAM}\n")
    return f"{info}\n\n{''.join(answer)}\n"


@pytest.mark.parametrize("size", [7, 65536])
@pytest.mark.parametrize("blocks", [False, True])
def test_an_answer_is_the_same_in_whatever_parts_it_comes(blocks: bool, size: int) -> None:
    text = many(blocks)
    whole = streams().read([text], NOW, blocks=blocks)
    parts = [text[start : start + size] for start in range(0, len(text), size)]
    found = streams().read(parts, NOW, blocks=blocks)
    assert values(found) == values(whole)
    assert replace(found, sessions=()) == replace(whole, sessions=())
    assert len(found.sessions) == 500
    assert len(found.unreadable) == 1


def test_the_addresses_of_show_sess_all_are_wires() -> None:
    first, *_ = streams().read([BLOCKS], NOW, blocks=True).sessions
    assert first.accepted == TcpLink(("127.0.0.1", 51576), ("127.0.0.1", 40367))
    assert first.opened == (TcpLink(("127.0.0.1", 35668), ("127.0.0.1", 42403)),)


def test_another_machines_loopback_is_no_wire() -> None:
    moved = BLOCKS.replace("127.0.0.1:42403", "192.0.2.9:3306")
    moved = moved.replace("127.0.0.1:35668", "192.0.2.1:35668")
    first, second, *_ = streams(is_here=False).read([moved], NOW, blocks=True).sessions
    assert first.accepted is None
    assert first.opened == (TcpLink(("192.0.2.1", 35668), ("192.0.2.9", 3306)),)
    assert second.opened == ()


@pytest.mark.parametrize(
    ("src", "remote", "port"),
    [
        ("192.0.2.7:4711", "192.0.2.7", 4711),
        ("2001:db8::7:4711", "2001:db8::7", 4711),
        ("2001:DB8:0:0::7:4711", "2001:db8::7", 4711),
        ("::ffff:192.0.2.7:4711", "192.0.2.7", 4711),
        ("unix:2", "", 0),
        ("sockpair", "", 0),
    ],
)
def test_the_client_is_its_address_and_port(src: str, remote: str, port: int) -> None:
    (item,) = streams().read([one_line(src)], NOW).sessions
    assert (item.session.remote, item.session.port) == (remote, port)
    assert item.session.HasField("remote") == bool(remote)


@pytest.mark.parametrize(
    ("age", "seconds"),
    [("0s", 0), ("59s", 59), ("1m5s", 65), ("3h4m", 11040), ("2d3h", 183600), ("1w2d", 777600)],
)
def test_the_start_is_counted_back_by_the_age(age: str, seconds: int) -> None:
    (item,) = streams().read([one_line(age=age)], NOW).sessions
    assert item.session.connect_time.seconds == START + 10 - seconds


def test_an_age_that_haproxy_does_not_know_leaves_the_start_to_the_core() -> None:
    (item,) = streams().read([one_line(age="?")], NOW).sessions
    assert not item.session.HasField("connect_time")
    assert item.unreadable == ()


# A text of a line, its replacement, and the fields that cannot be read then.
ODD_MEMBERS = [
    ("age=5s", "", ("connect_time",)),
    ("age=5s", "age=", ("connect_time",)),
    ("age=5s", "age=5", ("connect_time",)),
    ("age=5s", "age=-5s", ("connect_time",)),
    ("age=5s", "age=999999999w", ("connect_time",)),
    ("age=5s", "age=5s age=6s", ("connect_time",)),
    ("src=192.0.2.7:4711", "src=192.0.2.7:99999", ("remote", "port")),
    ("src=192.0.2.7:4711", "src=192.0.2.7", ("remote", "port")),
    ("src=192.0.2.7:4711", "src=192.0.2.777:4711", ("remote", "port")),
    ("be=servers", "", ("state", "connections")),
    ("be=servers", "be=\0", ("state", "connections")),
    ("srv=one", "srv=", ("state", "connections")),
    ("srv=one", "srv=one srv=two", ("state", "connections")),
]


@pytest.mark.parametrize(("usual", "odd", "fields"), ODD_MEMBERS)
def test_an_odd_member_costs_itself(usual: str, odd: str, fields: tuple[str, ...]) -> None:
    text = one_line()
    (whole,) = streams().read([text], NOW).sessions
    odd_text = text.replace(usual, odd)
    assert odd_text != text
    observation = streams().read([odd_text], NOW)
    (item,) = observation.sessions
    assert observation.unreadable == ()
    (part,) = item.unreadable
    assert part.fields == fields
    assert part.text.startswith("show sess: 0x55d523544660: ")
    for descriptor, value in whole.session.ListFields():
        if descriptor.name in fields:
            assert getattr(item.session, descriptor.name) != value
        else:
            assert getattr(item.session, descriptor.name) == value


@pytest.mark.parametrize(
    ("usual", "odd"),
    [
        ("0x55d523544660: ", ""),
        ("0x55d523544660: ", "55d523544660: "),
        ("0x55d523544660: ", "0x55d523544660"),
        ("0x55d523544660: ", "0x55d5235446600000000000000000000: "),
        ("src=192.0.2.7:4711 ", ""),
        ("src=192.0.2.7:4711", "src="),
        ("src=192.0.2.7:4711", "src=192.0.2.7:4711\0"),
        ("src=192.0.2.7:4711", "src=192.0.2.7:4711 src=192.0.2.8:4711"),
        ("fe=plain ", ""),
        ("fe=plain", "fe="),
        ("fe=plain", "fe=pl\x07ain"),
        ("fe=plain", "fe=plain fe=web"),
        (" src=", "\0src="),
    ],
)
def test_a_line_without_a_key_costs_itself(usual: str, odd: str) -> None:
    other = OLD.format(src="unix:2", age="5s").replace("660:", "670:")
    text = one_line().rstrip("\n") + f"\n{other}\n"
    reader = streams()
    first = reader.read([text], NOW)
    assert len(first.sessions) == 2
    odd_text = text.replace(usual, odd, 1)
    assert odd_text != text
    observation = reader.read([odd_text], NOW)
    assert [item is first.sessions[1] for item in observation.sessions] == [True]
    (part,) = observation.unreadable
    assert part.fields == ()
    assert part.text.startswith("show sess: ")
    assert part.text.isprintable()
    assert "plain" not in part.text
    assert "192" not in part.text


@pytest.mark.parametrize("odd", ["", "frontend", "  ", "0x: ", "\0", "0x55d523544660"])
def test_a_block_whose_pointer_is_odd_costs_itself(odd: str) -> None:
    reader = streams()
    first = reader.read([BLOCKS], NOW, blocks=True)
    text = BLOCKS.replace("0x55d523676c70: ", odd, 1)
    observation = reader.read([text], NOW, blocks=True)
    lost = [item for item in first.sessions if item not in observation.sessions]
    assert [item.session.native_id for item in lost] == ["0x55d523676c70"]
    assert [part.text for part in observation.unreadable] == [
        "show sess: expected a line that begins with a pointer"
    ]


@pytest.mark.parametrize("odd", ["127.0.0.1:99999", "\0", "?", "127.0.0.1:40367 addr=::1:1"])
def test_an_address_that_is_odd_costs_its_wire(odd: str) -> None:
    text = BLOCKS.replace("listener=? (id=1) addr=127.0.0.1:40367", f"(id=1) addr={odd}", 1)
    assert text != BLOCKS
    whole, *_ = streams().read([BLOCKS], NOW, blocks=True).sessions
    item, *others = streams().read([text], NOW, blocks=True).sessions
    assert item.accepted is None
    assert item.opened == whole.opened
    assert item.session == whole.session
    assert [part.fields for part in item.unreadable] == [()]
    assert not any(other.unreadable for other in others)


def test_the_start_of_a_line_that_was_odd_is_read_once_it_can_be() -> None:
    reader = streams()
    (odd,) = reader.read([one_line(age="soon")], NOW).sessions
    (item,) = reader.read([one_line(age="5s")], NOW).sessions
    assert odd.unreadable
    assert item.unreadable == ()
    assert item.session.connect_time.seconds == START + 5


# Members of a line and of a block, with what surrounds them.
MEMBER = re.compile(r"(?<==)[^ \n,)]*|^0x[0-9a-f]+(?=:)|\[[^]]*\]|[a-z.]+=[^ \n]*", re.MULTILINE)
ODD_VALUES = (
    *("", "-1", "0", "99999999999999999999", "nan", "inf", "<NONE>", "<none>", "GLOBAL", "?"),
    *("\0", "a\0b", "\n", "\n\n", "a=b", " a=b", "( )", "unix:", "unix:-1", "0x1: ", "  x=\n"),
    *("192.0.2.7:99999", "::1", ":::1", "1s1s", "9999-12-31", "0001-01-01", "é\u2028\x85"),
)
odd_values = st.one_of(
    st.sampled_from(ODD_VALUES),
    st.binary().map(lambda sent: sent.decode(errors="replace")),
    st.integers().map(str),
    st.floats().map(str),
)


@pytest.mark.parametrize(("text", "blocks"), [(BRIEF, False), (BLOCKS, True)])
@given(data=st.data(), value=odd_values)
def test_a_member_replaced_by_anything_costs_its_stream_at_most(
    text: str, blocks: bool, data: st.DataObject, value: str
) -> None:
    beginning = text.index("\n\n") + 2
    members = list(MEMBER.finditer(text, beginning))
    member = data.draw(st.sampled_from(members), label="member")
    pointer = re.findall("^0x[0-9a-f]+", text[: member.end()], re.MULTILINE)[-1]
    odd_text = text[: member.start()] + value + text[member.end() :]
    reader = streams()
    first = reader.read([text], NOW, blocks=blocks)
    observation = reader.read([odd_text], NOW + 1, blocks=blocks)
    others = [item for item in first.sessions if item.session.native_id != pointer]
    assert [item for item in observation.sessions if any(item is it for it in others)] == others
    parts = [*observation.unreadable]
    parts += [part for item in observation.sessions for part in item.unreadable]
    assert all(part.text.isprintable() and len(part.text) < 100 for part in parts)
    assert reader.read([odd_text], NOW + 2, blocks=blocks) is observation


@pytest.mark.parametrize(("text", "blocks"), [(BRIEF, False), (BLOCKS, True)])
def test_time_alone_changes_nothing(text: str, blocks: bool) -> None:
    reader = streams()
    first = reader.read([text], NOW, blocks=blocks)
    older = (
        text.replace("age=2s", "age=3s").replace("exp=57s", "exp=56s").replace("calls=2", "calls=9")
    )
    assert older != text
    assert reader.read([older], NOW + 1.4, blocks=blocks) is first


def test_only_the_stream_that_changed_is_made_anew() -> None:
    reader = streams()
    first = reader.read([BRIEF], NOW)
    second = reader.read([BRIEF.replace("fe=undecided be=<NONE>", "fe=undecided be=servers")], NOW)
    changed = [
        (old.session.state, new.session.state)
        for old, new in zip(first.sessions, second.sessions, strict=True)
        if old is not new
    ]
    assert changed == [(session_pb2.SESSION_STATE_READY, session_pb2.SESSION_STATE_ROUTER_READY)]


def test_pointers_used_again_by_another_process_are_other_sessions() -> None:
    reader = streams()
    keys = {item.key for item in reader.read([BRIEF], NOW).sessions}
    restarted = reader.read([BRIEF.replace("Pid: 16161", "Pid: 16162")], NOW)
    assert keys.isdisjoint(item.key for item in restarted.sessions)


def test_an_uptime_that_stands_still_is_no_restart_and_one_that_falls_is() -> None:
    """As with a process that was stopped; before 2.4 no start is stated."""
    text = re.sub("Start_time_sec: .*\n", "", one_line())
    reader = streams()
    first = reader.read([text.replace("Uptime_sec: 2", "Uptime_sec: 100")], NOW)
    assert first.incarnation == NOW - 100
    assert reader.read([text.replace("Uptime_sec: 2", "Uptime_sec: 100")], NOW + 60) is first
    later = reader.read([text], NOW + 70)
    assert later.incarnation == NOW + 68
    assert later.sessions[0] is not first.sessions[0]


@pytest.mark.parametrize("start", ["", "-1", "1e9", "nan", "9" * 10, "9" * 18, "9" * 5000, "\0"])
def test_a_start_that_is_odd_is_not_known(start: str) -> None:
    stated = f"Start_time_sec: {START}"
    text = one_line().replace(stated, f"Start_time_sec: {start}")
    assert streams().read([text], NOW).incarnation == NOW - 2
    text = text.replace("Uptime_sec: 2", f"Uptime_sec: {start}")
    observation = streams().read([text], NOW)
    assert observation.incarnation is None
    assert len(observation.sessions) == 1
    reader = streams()
    first = reader.read([one_line()], NOW)
    assert reader.read([text], NOW) is first


def test_streams_without_a_client_are_left_out() -> None:
    applet = "0x55d523544661: proto=? ts=00 epoch=0 age=2s calls=2\n"
    assert (
        len(
            streams()
            .read([INFO + applet + OLD.format(src="unix:1", age="1s") + "\n"], NOW)
            .sessions
        )
        == 1
    )


@pytest.mark.parametrize(("text", "blocks"), [(BRIEF, False), (BLOCKS, True)])
def test_every_answer_that_is_cut_short_is_refused(text: str, blocks: bool) -> None:
    """Also in and beside each line's end; in short runs, only now and then within a line."""
    for end in range(len(text)):
        if end % times(7, 1) and "\n" not in text[max(0, end - 2) : end + 2]:
            continue
        # An answer that lacks only the last line's end is complete.
        if text[:end].endswith("\n\n") and text[end:].strip() == "":
            continue
        with pytest.raises(SourceError):
            streams().read([text[:end]], NOW, blocks=blocks)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "uses TLS"),
        ("\x15\x03\x03\0\x02\x02\x28", "uses TLS"),
        ("HTTP/1.0 400 Bad request\r\n\r\n", "this is HTTP"),
        (f"{INFO}Unknown command: 'show sess'.\n\n", "not a response to 'show sess': \"Unknown"),
        (f"{INFO}[3]: Permission denied\n\n", "requires level operator"),
        (f"{INFO}[err]:Permission denied\n\n", "requires level operator"),
        ("5.5.5-10.11.6-MariaDB\0", "not a response to 'show info': \"5.5.5"),
        (INFO.replace("Pid: 16161", "Pid: one") + "\n", "not a response to 'show info'"),
    ],
)
def test_what_is_no_response_of_the_runtime_api_is_refused(text: str, cause: str) -> None:
    with pytest.raises(SourceError, match=re.escape(cause)):
        streams().read([text], NOW)


@given(st.text(), st.text(), st.booleans())
def test_no_text_is_more_than_a_source_error(info: str, text: str, blocks: bool) -> None:
    for answer in (text, f"{INFO}{text}", f"Pid: 1\n{info}\n\n{text}", f"{INFO}0x1: {text}\n\n"):
        with suppress(SourceError):
            streams().read([answer], NOW, blocks=blocks)
