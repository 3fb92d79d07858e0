"""The settings of a core that shares its ledger."""

from __future__ import annotations

import json

import pytest

from sessiongate.core.settings import ConfigError, CoreConfig

ENGINE = "postgresql://app@db.example.com"


@pytest.mark.parametrize(
    ("values", "setting", "text"),
    [
        ({"shard": "east"}, "shard", "needs a ledger that cores can share"),
        ({"name": "core-a", "ledger": "sqlite:////x"}, "name", "only one core uses a ledger of"),
        ({"advertise": "h:1"}, "advertise", "needs a ledger that cores can share"),
        ({"takeover_after": 3}, "takeover_after", "needs a ledger that cores can share"),
        ({"takeover_after": 1, "ledger": ENGINE}, "takeover_after", "of at least 2, got 1"),
        ({"shard": "a b", "ledger": ENGINE}, "shard", "must be 1 to 63 letters, digits"),
        ({"name": "a@b", "ledger": ENGINE}, "name", "must be 1 to 63 letters, digits"),
        (
            {"shard": "east", "grpc": "0.0.0.0:1", "ledger": ENGINE},
            "advertise",
            "must be given, for other machines cannot call 0.0.0.0:1",
        ),
        (
            {"advertise": "[::]:1", "ledger": ENGINE},
            "advertise",
            r"must be an address that others can call, HOST:PORT, got '\[::\]:1'",
        ),
    ],
)
def test_what_cannot_be_shared_is_named(values: dict[str, object], setting: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as raised:
        CoreConfig.from_json(json.dumps({"source": ["host:"], **values}))
    assert raised.value.setting == setting


def test_a_core_of_a_shard_says_where_it_is_called() -> None:
    shared = {"source": ["host:"], "ledger": ENGINE, "shard": "east"}
    config = CoreConfig.from_json(json.dumps({**shared, "grpc": "10.0.0.1:50051"}))
    assert (config.shard_name, config.advertise) == ("east", None)
    named = {**shared, "grpc": "0.0.0.0:50051", "advertise": "core-a:50051"}
    assert CoreConfig.from_json(json.dumps(named)).advertise == "core-a:50051"
