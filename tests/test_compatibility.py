"""A release's promises stay, or the changelog says what went."""

from __future__ import annotations

import re

import pytest

from tests.surface import RECORDED, ROOT, surface, unannounced

NOW = ["flag serve --http SESSIONGATE_HTTP", "member Session attributes.user string"]
GONE = "# sessiongate 1.2.0\n" + "\n".join([*NOW, "metric sessiongate_old gauge"])
ANNOUNCED = """
## [2.0.0]

### Removed

- The metric {new}: use `sessiongate_new`.

## [1.2.0]

### Deprecated

- The metric {old}.
"""


def test_nothing_is_dropped_silently() -> None:
    """If this fails on purpose, name what went in CHANGELOG.md, under "Removed", as code."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert unannounced(RECORDED.read_text(encoding="utf-8"), surface(), changelog) == []


@pytest.mark.parametrize(
    ("new", "old", "is_announced"),
    [
        ("`sessiongate_old`", "`sessiongate_old`", True),
        ("`sessiongate_old`", "`another`", False),  # not deprecated before
        ("`another`", "`sessiongate_old`", False),  # deprecated, but it went silently
        ("sessiongate_old", "sessiongate_old", False),  # not as code
    ],
)
def test_what_goes_is_announced_twice(new: str, old: str, is_announced: bool) -> None:
    found = unannounced(GONE, NOW, ANNOUNCED.format(new=new, old=old))
    assert found == ([] if is_announced else ["metric sessiongate_old gauge"])


def test_the_versions_are_those_of_the_page_of_sources() -> None:
    page = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    sources = " ".join((ROOT / "docs" / "sources.md").read_text(encoding="utf-8").split())
    table = page.partition("| Kind | Read |")[2].partition("\n\n")[0]
    ranges = re.findall(r"\| ([0-9.]+ to [0-9.x]+)", table)
    assert len(ranges) == 4
    assert [each for each in ranges if each not in sources] == []


def test_names_may_be_added_but_not_change() -> None:
    recorded = "\n".join(["# sessiongate 0.2.0", *NOW])
    assert unannounced(recorded, [*NOW, "flag serve --new"], "") == []
    changed = [NOW[0], "member Session attributes.user integer"]
    assert unannounced(recorded, changed, "") == [NOW[1]]
    said = "\n## [Unreleased]\n\n### Removed\n\n- `attributes.user` is no string any more.\n"
    assert unannounced(recorded, changed, said) == [], "before 1.0, saying so is enough"


@pytest.mark.parametrize(
    ("said", "is_announced"),
    [("`--user`", False), ("`--user` of `watch`", True), ("`--user` of `list`", False)],
)
def test_a_name_that_others_keep_goes_with_what_it_belongs_to(
    said: str, is_announced: bool
) -> None:
    kept, gone = "flag list --user", "flag watch --user"
    recorded = f"# sessiongate 0.2.0\n{kept}\n{gone}"
    changelog = f"\n## [Unreleased]\n\n### Removed\n\n- {said}\n"
    assert unannounced(recorded, [kept], changelog) == ([] if is_announced else [gone])
