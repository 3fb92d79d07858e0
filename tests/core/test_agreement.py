"""The differences between the configurations of a fleet's cores."""

from __future__ import annotations

import pytest

from sessiongate.core.fleet.agreement import MemberSources, disagreements, stated_place
from sessiongate.core.sources.base import SourceConfig, SourceConfigError
from sessiongate.core.sources.locality import named_at

MINE = MemberSources(
    "core-a",
    "east",
    {"orders": "postgresql://db1:5432", "app": "document:a.json", "host@core-a": "host: at a"},
)


def test_cores_that_are_alike_say_nothing() -> None:
    others = [
        MINE,
        MINE._replace(core="core-b"),
        MemberSources("front-1", None, {}),
        MemberSources("core-c", "west", {"billing": "postgresql://db2:5432"}),
    ]
    assert [*disagreements(MINE, others)] == []


def test_what_differs_within_a_shard_is_named() -> None:
    other = MemberSources("core-b", "east", {"orders": "postgresql://db9:5432", "x": "document:x"})
    assert [*disagreements(MINE, [other])] == [
        "core-b of this shard has no source app: its sessions would end there",
        "the source orders is postgresql://db1:5432 at this core, and postgresql://db9:5432 at"
        " core-b",
        "this core has no source x, which core-b of this shard has",
    ]


def test_a_server_that_two_shards_read_is_named() -> None:
    other = MemberSources("core-c", "west", {"shop": "postgresql://db1:5432"})
    (text,) = disagreements(MINE, [other])
    assert text == (
        "the source orders is read from postgresql://db1:5432, which core-c reads as shop in the"
        " shard west: sessions are listed twice"
    )


def test_options_that_change_what_is_read_are_stated_and_secrets_are_not() -> None:
    url = (
        "pgbouncer://app:hunter2@pool:6432?name=pool&password_file=/etc/a&tls_ca=/etc/b&interval=2"
        "&timezone=Europe/Berlin&include_self=true&max_sessions=9&actions=terminate,cancel"
    )
    stated = stated_place(SourceConfig.parse(url), "host-a")
    assert stated == (
        "pgbouncer://pool:6432?actions=cancel,terminate&include_self=true&max_sessions=9"
        "&timezone=Europe/Berlin"
    )
    mine = MINE._replace(places={"pool": stated})
    same = "pgbouncer://app@pool?name=pool&include_self=false"
    plain = stated_place(SourceConfig.parse(same), "host-b")
    assert plain == "pgbouncer://pool:6432"
    other = MemberSources("core-b", "east", {"pool": plain})
    (text,) = disagreements(mine, [other])
    assert text == f"the source pool is {stated} at this core, and {plain} at core-b"
    (text,) = disagreements(mine, [other._replace(shard="west")])
    assert text.startswith(f"the source pool is read from {plain}, which core-b reads as pool")
    here = stated_place(SourceConfig.parse("host:?max_sessions=9"), "host-a")
    assert here == "host: at host-a?max_sessions=9"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("host:", "host@core-a"),
        ("haproxy:/run/haproxy.sock?name=lb", "lb@core-a"),
        ("haproxy:/run/haproxy.sock?name=lb&shared=true", "lb"),
        ("haproxy://10.0.0.1:9999?name=lb", "lb"),
        ("postgresql://app@localhost?name=pg", "pg@core-a"),
        ("postgresql://app@[::1]:5432/x?name=pg", "pg@core-a"),
        ("postgresql://app@%2Frun%2Fpostgresql?name=pg", "pg@core-a"),
        ("postgresql://app@db.example.com?name=pg", "pg"),
        ("maxscale://127.0.0.1:8989?name=mx", "mx@core-a"),
        ("document:/srv/app.json?name=app", "app"),
    ],
)
def test_what_is_of_a_core_s_own_machine_has_its_name(url: str, name: str) -> None:
    assert named_at(SourceConfig.parse(url), "core-a").name == name


def test_shared_is_true_or_false() -> None:
    with pytest.raises(SourceConfigError, match="shared must be true or false, got 'yes'"):
        SourceConfig.parse("host:?shared=yes")
