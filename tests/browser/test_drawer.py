"""Who blocks whom, through which proxy: in the panel above the table, and in the drawer."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from sessiongate.core.sources.base import Observed
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import BackendConnection, Query
from tests.browser.documents import fleet, write
from tests.browser.opening import Opener
from tests.browser.sessions_page import SessionsPage, ask, leaves
from tests.doing import Shown, showing, stated
from tests.polling import eventually
from tests.program import Forked, ForkedProgram
from tests.test_showing import sources

WAITING = session_pb2.ACTIVITY_STATE_WAITING
# Notes what is coloured for a moment: the session, the column and the colour.
_NOTE_FLASHES = """() => {
    window.flashed = [];
    const animate = Element.prototype.animate;
    Element.prototype.animate = function (frames, options) {
        const {id} = this.closest("[data-id]").dataset;
        flashed.push([id, this.dataset.column, frames.backgroundColor[0]]);
        return animate.call(this, frames, options);
    };
}"""


def three_tiers() -> dict[str, list[Observed]]:
    """Make sessions of which one blocks two others, one through the other."""
    stated_ones = sources()
    for name, sessions in stated_ones.items():
        for each in sessions:
            each.session.service = name
    return stated_ones


@pytest.fixture(scope="module")
def core() -> Iterator[Shown]:
    with showing(three_tiers()) as core:
        yield core


@pytest.fixture(scope="module")
def http(core: Shown) -> Iterator[str]:
    with ForkedProgram("serve", "--core", core.address, "--http", "127.0.0.1:0") as served:
        address = served.expect(r"REST +http://(\S+)/v1/sessions$")[1]
        served.expect("Try +curl")
        yield address


@pytest.fixture
def shown(core: Shown, http: str, page: SessionsPage) -> Shown:
    """Return the core once the page shows the three tiers, and nobody else."""
    core.sources |= three_tiers()
    users = ["", "alice", "alice", "bob", "carol"]
    eventually(
        lambda: sorted(each["attributes"].get("user", "") for each in ask(http)),
        lambda found: found == users,
    )
    eventually(lambda: "downstream" in ask(http, "/v1/sessions/3")["relationships"])
    page.await_sessions(http)
    return core


def test_the_blocked_panel_names_both_sides_and_the_proxy(
    page: SessionsPage, shown: Shown, http: str
) -> None:
    ids = {each["attributes"].get("user"): each["id"] for each in ask(http)}
    bob, carol = ids["bob"], ids["carol"]
    sentence = page.blocked.locator(f'[data-id="{bob}"]')
    expect(sentence).to_contain_text("bob")
    for part in ("alice", "etl", "idle in transaction", "pool"):
        expect(sentence).to_contain_text(part)
    expect(page.blocked.locator("[data-id]")).to_have_count(2)

    # It opens the drawer, which leads on to who blocks.
    sentence.click()
    drawer = page.drawer(bob)
    expect(drawer.element).to_be_visible()
    eventually(lambda: drawer.sessions("Blocked by"), lambda found: found == ["3"])
    eventually(lambda: drawer.sessions("Blocks"), lambda found: found == [carol])
    drawer.element.get_by_role("list", name="Blocked by").locator('[data-session="3"]').click()
    drawer = page.drawer(3)
    expect(drawer.element).to_be_visible()
    eventually(lambda: drawer.sessions("Path"), lambda found: found == [ids[None], "2", "3"])
    expect(drawer.element.get_by_role("list", name="Path")).to_contain_text("10.0.0.1")
    eventually(lambda: drawer.sessions("Blocks"), lambda found: found == [bob])

    # Nobody waits any more: the panel goes.
    held = shown.sources["pg"]
    shown.sources["pg"] = [each for each in held if isinstance(each, Observed) and each.key == "3"]
    expect(page.blocked).to_be_hidden()
    expect(page.grid).to_have_attribute("aria-rowcount", "4")


def test_many_that_are_blocked_are_one_click_away(page: SessionsPage, shown: Shown) -> None:
    held = [*shown.sources["pg"]]
    crowd = [stated(str(n), WAITING, service="pg", user=f"u{n}", blocked_by=["3"])
             for n in range(10, 40)]  # fmt: skip
    shown.sources["pg"] = [*held, *crowd]
    page.await_count(35)
    expect(page.blocked.locator("[data-id]")).to_have_count(5)
    page.blocked.get_by_role("button", name=re.compile("27 more")).click()
    page.await_count(32)
    eventually(
        lambda: {row.cells["activity"] for row in page.shown()}, lambda found: found == {"waiting"}
    )


def test_the_drawer_has_every_attribute_and_follows_the_session(
    page: SessionsPage, shown: Shown, http: str
) -> None:
    def rich(application: str) -> Observed:
        session = stated(
            "9", session_pb2.ACTIVITY_STATE_ACTIVE, user="zoe", application=application,
            memory_bytes=2**50 + 1, io_activity=2**62 + 1, thread=7, database="d",
            tls_cipher="TLS", remote="10.9.9.9", port=9,
        )  # fmt: skip
        session.session.connections.append(BackendConnection(server="db-1", connection_id=2**40))
        session.session.connection_attributes.update({"a.b": "c", "__proto__": "p"})
        session.session.queries.append(Query(statement="select 'x'\nfrom t", truncated=True))
        return session

    shown.sources["web"] = [rich("one")]
    page.row(9).wait_for()
    drawer = page.open_session(9)

    def wanted() -> dict[str, str]:
        found = leaves(ask(http, "/v1/sessions/9")["attributes"])
        return {path: text.replace("\n", "\\n") for path, text in found.items()}

    # What the clock alone changes is not compared.
    def equal() -> bool:
        found, said = drawer.attributes(), wanted()
        return {path: found.get(path) for path in said if path != "idle"} == {
            path: text for path, text in said.items() if path != "idle"
        }

    eventually(equal)
    page.page.emulate_media(reduced_motion="no-preference")
    page.page.evaluate(_NOTE_FLASHES)
    shown.sources["web"] = [rich("two")]
    eventually(lambda: drawer.attributes()["application"], lambda text: text == "two")
    eventually(equal)
    flashed = [["9", "application", "var(--flash-changed)"]]
    eventually(lambda: page.page.evaluate("flashed"), lambda found: found == flashed)
    page.page.emulate_media(reduced_motion="reduce")
    shown.sources["web"] = []
    expect(drawer.element).to_contain_text(re.compile("ended", re.IGNORECASE))
    expect(page.row(9)).to_have_count(0)
    drawer.close()


def test_the_longest_transaction_is_one_click_away(
    opener: Opener, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.mktemp("fleet") / "fleet.json", fleet(60))
    with Forked("--source", f"document:{path}") as served:
        page = SessionsPage.open(opener, served.http)
        started = {
            each["id"]: each["attributes"].get("activity", {}).get("transaction_started")
            for each in ask(served.http)
        }
        page.view("Long transactions").click()
        expect(page.view("Long transactions")).to_have_attribute("aria-pressed", "true")
        page.await_count(sum(each is not None for each in started.values()))
        longest = min(each for each in started.values() if each)
        eventually(page.shown, lambda shown: shown and started[shown[0].id] == longest)
