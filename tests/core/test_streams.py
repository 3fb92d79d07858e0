"""HAProxy's streams, from recorded answers: what is read, what is kept, what is refused."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.sources.base import SourceError, Wire
from core.sources.streams import Streams
from sessiongate.v1 import session_pb2

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
def test_both_commands_tell_of_the_same_sessions(text: str, blocks: bool) -> None:
    observation = streams().read(text, NOW, blocks=blocks)
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


def test_the_addresses_of_show_sess_all_are_wires() -> None:
    first, *_ = streams().read(BLOCKS, NOW, blocks=True).sessions
    assert first.accepted == Wire(("127.0.0.1", 51576), ("127.0.0.1", 40367))
    assert first.opened == (Wire(("127.0.0.1", 35668), ("127.0.0.1", 42403)),)


def test_another_machines_loopback_is_no_wire() -> None:
    moved = BLOCKS.replace("127.0.0.1:42403", "192.0.2.9:3306")
    moved = moved.replace("127.0.0.1:35668", "192.0.2.1:35668")
    first, second, *_ = streams(is_here=False).read(moved, NOW, blocks=True).sessions
    assert first.accepted is None
    assert first.opened == (Wire(("192.0.2.1", 35668), ("192.0.2.9", 3306)),)
    assert second.opened == ()


@pytest.mark.parametrize(
    ("src", "remote", "port"),
    [
        ("192.0.2.7:4711", "192.0.2.7", 4711),
        ("2001:db8::7:4711", "2001:db8::7", 4711),
        ("2001:DB8:0:0::7:4711", "2001:db8::7", 4711),
        ("::ffff:192.0.2.7:4711", "192.0.2.7", 4711),
        ("unix:2", "", 0),
        ("192.0.2.7:99999", "", 0),
        ("sockpair", "", 0),
    ],
)
def test_the_client_is_its_address_and_port(src: str, remote: str, port: int) -> None:
    (item,) = streams().read(one_line(src), NOW).sessions
    assert (item.session.remote, item.session.port) == (remote, port)
    assert item.session.HasField("remote") == bool(remote)


@pytest.mark.parametrize(
    ("age", "seconds"),
    [("0s", 0), ("59s", 59), ("1m5s", 65), ("3h4m", 11040), ("2d3h", 183600), ("1w2d", 777600)],
)
def test_the_start_is_counted_back_by_the_age(age: str, seconds: int) -> None:
    (item,) = streams().read(one_line(age=age), NOW).sessions
    assert item.session.connect_time.seconds == START + 10 - seconds


@pytest.mark.parametrize("age", ["?", "", "5", "999999999w", "-5s"])
def test_an_age_that_is_none_leaves_the_start_to_the_core(age: str) -> None:
    (item,) = streams().read(one_line(age=age), NOW).sessions
    assert not item.session.HasField("connect_time")


@pytest.mark.parametrize(("text", "blocks"), [(BRIEF, False), (BLOCKS, True)])
def test_time_alone_changes_nothing(text: str, blocks: bool) -> None:
    reader = streams()
    first = reader.read(text, NOW, blocks=blocks)
    older = (
        text.replace("age=2s", "age=3s").replace("exp=57s", "exp=56s").replace("calls=2", "calls=9")
    )
    assert older != text
    assert reader.read(older, NOW + 1.4, blocks=blocks) is first


def test_only_the_stream_that_changed_is_made_anew() -> None:
    reader = streams()
    first = reader.read(BRIEF, NOW)
    second = reader.read(BRIEF.replace("fe=undecided be=<NONE>", "fe=undecided be=servers"), NOW)
    changed = [
        (old.session.state, new.session.state)
        for old, new in zip(first.sessions, second.sessions, strict=True)
        if old is not new
    ]
    assert changed == [(session_pb2.SESSION_STATE_READY, session_pb2.SESSION_STATE_ROUTER_READY)]


def test_pointers_used_again_by_another_process_are_other_sessions() -> None:
    reader = streams()
    keys = {item.key for item in reader.read(BRIEF, NOW).sessions}
    restarted = reader.read(BRIEF.replace("Pid: 16161", "Pid: 16162"), NOW)
    assert keys.isdisjoint(item.key for item in restarted.sessions)


def test_an_uptime_that_stands_still_is_no_restart_and_one_that_falls_is() -> None:
    """As of a process that was stopped; before 2.4 no start is stated."""
    text = re.sub("Start_time_sec: .*\n", "", one_line())
    reader = streams()
    first = reader.read(text.replace("Uptime_sec: 2", "Uptime_sec: 100"), NOW)
    assert first.incarnation == NOW - 100
    assert reader.read(text.replace("Uptime_sec: 2", "Uptime_sec: 100"), NOW + 60) is first
    later = reader.read(text, NOW + 70)
    assert later.incarnation == NOW + 68
    assert later.sessions[0] is not first.sessions[0]


def test_streams_without_a_client_are_left_out() -> None:
    applet = "0x55d523544661: proto=? ts=00 epoch=0 age=2s calls=2\n"
    assert (
        len(streams().read(INFO + applet + OLD.format(src="unix:1", age="1s") + "\n", NOW).sessions)
        == 1
    )


@pytest.mark.parametrize(("text", "blocks"), [(BRIEF, False), (BLOCKS, True)])
def test_every_answer_that_is_cut_short_is_refused(text: str, blocks: bool) -> None:
    for end in range(len(text)):
        # An answer that lacks nothing but the last line's end lacks nothing.
        if text[:end].endswith("\n\n") and text[end:].strip() == "":
            continue
        with pytest.raises(SourceError):
            streams().read(text[:end], NOW, blocks=blocks)


@given(st.text(), st.text(), st.booleans())
def test_no_text_is_more_than_a_source_error(info: str, text: str, blocks: bool) -> None:
    for answer in (text, f"{INFO}{text}", f"Pid: 1\n{info}\n\n{text}", f"{INFO}0x1: {text}\n\n"):
        with suppress(SourceError):
            streams().read(answer, NOW, blocks=blocks)
