"""A source's URL, parsed; and a password in it, which appears nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessiongate.core.sources.base import Action, SourceConfig, SourceConfigError, open_source
from sessiongate.core.sources.support.endpoint import Endpoint


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("host:", "host"),
        ("document:/srv/a%20b/sessions.json", "sessions.json"),
        ("postgresql://app:secret@db1:5432/postgres", "db1:5432"),
        ("postgresql://db1", "db1"),
        ("haproxy:/run/haproxy.sock", "haproxy.sock"),
        ("host:?name=here", "here"),
    ],
)
def test_a_name_is_short_and_stable(url: str, name: str) -> None:
    assert SourceConfig.parse(url).name == name


def test_common_options_are_taken_off() -> None:
    config = SourceConfig.parse(
        "x:y?interval=0.5&timeout=3&max_sessions=10&other=1", {"interval": "2"}
    )
    assert (config.interval, config.timeout, config.max_sessions) == (2.0, 3.0, 10)
    assert dict(config.options) == {"other": "1"}


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("nonsense", "a source must be KIND:LOCATION"),
        ("x:y?a=1&a=2", "option 'a' is given twice"),
        ("x:y?a", "options must be NAME=VALUE"),
        ("document:a%00b", "source document: it must not contain %00: no path, name or option"),
        ("host:?name=a%00", "source host: it must not contain %00"),
        ("postgresql://a%00@h", "source postgresql: it must not contain %00"),
        ("x:y?interval=0", "interval must be a number above 0, such as 5, got '0'"),
        ("x:y?timeout=never", "timeout must be a number above 0, such as 5, got 'never'"),
        ("x:y?max_sessions=inf", "max_sessions must be a number above 0, such as 5, got 'inf'"),
        ("x:y?max_sessions=0.5", "max_sessions must be an integer, got '0.5'"),
        ("x:y?actions=kill", "actions must be among cancel, terminate, got 'kill'"),
        ("x:y?actions=cancel,terminat", "got 'terminat'; did you mean 'terminate'"),
    ],
)
def test_what_is_wrong_is_named(url: str, text: str) -> None:
    with pytest.raises(SourceConfigError, match=text):
        SourceConfig.parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:hun/ter2@db1",
        "postgresql://app:hun?ter2@db1",
        "postgresql://app:hun?ter2=1@db1",
    ],
)
def test_no_part_of_a_password_is_taken_for_something_else(url: str) -> None:
    with pytest.raises(SourceConfigError, match="percent-encode") as caught:
        SourceConfig.parse(url)
    assert "hun" not in str(caught.value)
    assert "ter2" not in str(caught.value)


def test_a_name_is_short() -> None:
    assert SourceConfig.parse("x:y", {"name": "n" * 255}).name == "n" * 255
    with pytest.raises(SourceConfigError, match="longer than 255 bytes; add name="):
        SourceConfig.parse(f"x:{'y' * 256}")


def test_a_configuration_shows_no_password() -> None:
    config = SourceConfig.parse("postgresql://app:hunter2@db1", {"password": "swordfish"})
    assert "hunter2" not in repr(config)
    assert "swordfish" not in repr(config)


def test_postgres_is_another_name_of_postgresql() -> None:
    config = SourceConfig.parse("postgres://ann@db1:5432?statements=true")
    assert (config.kind, config.name) == ("postgresql", "db1:5432")
    assert config == SourceConfig.parse("postgresql://ann@db1:5432?statements=true")


@pytest.mark.parametrize(
    "urls",
    [
        ["postgresql://app:pw@DB1.example", "postgres://db1.example.:5432/?name=x", "postgresql://db1.example:05432"],
        ["mariadb://localhost", "mysql://ann@127.0.0.1:3306/?timeout=5&name=x", "mysql://LocalHost/?name=x&timeout=5"],
        ["pgbouncer://[::1]", "pgbouncer://[0:0::1]:6432/"],
        ["postgresql://%2Frun%2Fpg", "postgresql://app@%2frun%2Fpg%2F:5432"],
        ["maxscale+http://proxy/api", "maxscale+http://PROXY:8989/api/"],
        ["document:/srv/a b.json", "document:/srv/./x/../a%20b.json"],
        ["haproxy://proxy:9999", "haproxy://Proxy:9999/"],
        ["host:", "host:?interval=2"],
    ],
)  # fmt: skip
def test_a_place_is_the_same_however_it_is_spelt(urls: list[str]) -> None:
    assert len({SourceConfig.parse(url).place for url in urls}) == 1


def test_other_places_are_told_apart() -> None:
    urls = ["mariadb://db1", "mariadb://db2", "mariadb://db1:3307", "pgbouncer://db1:3306"]
    urls += ["document:/srv/A.json", "document:/srv/a.json", "mariadb://%2Frun%2FA", "host:"]
    assert len({SourceConfig.parse(url).place for url in urls}) == len(urls)


@pytest.mark.parametrize(
    ("query", "advice"),
    [
        ("sslmode=require", "did you mean 'tls'?"),
        ("ssl-ca=/ca.pem", "did you mean 'tls_ca'?"),
        ("connect_timeout=3", "did you mean 'timeout'?"),
        ("passwd=secret", "did you mean 'password'?"),
        ("user=ann", "go in the URL: KIND://USER@HOST:PORT/DATABASE"),
    ],
)
def test_what_other_clients_call_an_option_is_known(query: str, advice: str) -> None:
    with pytest.raises(SourceConfigError) as caught:
        open_source(SourceConfig.parse(f"postgresql://db1?{query}"))
    assert str(caught.value).endswith(advice)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("host:?actions=terminate", "action 'terminate' is impossible; host allows no actions"),
        ("pgbouncer://a@h?actions=cancel", "'cancel' is impossible; pgbouncer allows: terminate"),
        ("mariadb://a@h?action_user=b", "action_user has no effect without actions"),
        ("postgresql://a@h?actions=cancel&action_password=b", "action_password requires action_us"),
        (
            "maxscale+http://a@h?actions=terminate&action_user=a&action_password=b"
            "&action_password_file=c",
            "more than one password; give it in action_password or in action_password_file",
        ),
    ],
)
def test_actions_that_are_impossible_or_contradictory_are_refused(url: str, text: str) -> None:
    with pytest.raises(SourceConfigError, match=text):
        open_source(SourceConfig.parse(url))


def test_who_acts_may_have_a_password_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("swordfish\n")
    given = {"password": "look", "actions": "terminate, cancel", "action_user": "b"}

    def of_actor(**options: str) -> tuple[str | None, str | None]:
        config = SourceConfig.parse("postgresql://a@h", {**given, **options})
        assert config.actions == {Action.CANCEL, Action.TERMINATE}
        endpoint = Endpoint.of(config, port=5432).for_actions(config)
        return endpoint.user, endpoint.password()

    assert of_actor(action_password_file=str(file)) == ("b", "swordfish")
    assert of_actor(action_password="tuna") == ("b", "tuna")
    assert of_actor() == ("b", None), "never the password of another user"
    given.pop("action_user")
    assert of_actor() == ("a", "look")
