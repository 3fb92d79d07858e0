from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from sessiongate.runtime.descriptors import fitted


@pytest.fixture(autouse=True)
def narrow() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_as_many_connections_as_there_is_room_for(caplog: pytest.LogCaptureFixture) -> None:
    assert fitted("max_any", 872) == 872
    assert not caplog.records
    assert fitted("max_any", 873) == 872
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith(
        "max_any is reduced to 872 from 873: this process may open 1000 descriptors"
    )
