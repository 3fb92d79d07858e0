"""Operators end sessions on the page, once they have typed which."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from sessiongate.core.sources.base import Action, Observed, TcpLink
from sessiongate.runtime.auth.protection import Protection
from sessiongate.v1.session_pb2 import ACTIVITY_STATE_ACTIVE, ACTIVITY_STATE_IDLE, ActivityState
from tests.browser.opening import PHONE, WIDE, Opener
from tests.browser.sessions_page import SessionsPage, ask
from tests.browser.test_accessibility import STYLES, accept
from tests.credentials import PASSWORD, USER, CredentialFiles, bearer
from tests.doing import Shown, showing, stated
from tests.gateway.programs import running_gateway
from tests.polling import eventually

OPEN = Protection(insecure_actions=True)
HIDDEN = "an\u202en\n#9"
BETWEEN = TcpLink(("10.0.0.9", 1), ("10.0.0.8", 2))


def native(key: str, activity: ActivityState, **fields: object) -> Observed:
    """Return a session that shows its source."""
    made = stated(key, activity, native_id=key, **fields)  # type: ignore[arg-type] # of names
    return Observed(key, made.session, accepted=made.accepted, opened=made.opened)


def sessions() -> dict[str, list[Observed]]:
    return {
        "proxy": [native("1", ACTIVITY_STATE_ACTIVE, user=HIDDEN, opened=[BETWEEN])],
        "db": [
            native("2", ACTIVITY_STATE_ACTIVE, user="ann", database="shop", accepted=BETWEEN),
            native("3", ACTIVITY_STATE_IDLE, user="bob"),
        ],
        "closed": [native("4", ACTIVITY_STATE_IDLE, user="eve")],
    }


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    actions = {"proxy": "terminate", "db": "cancel,terminate", "closed": ""}
    audit = str(tmp_path_factory.mktemp("audit") / "audit.log")
    with showing(sessions(), actions, protection=OPEN, audit_log=audit) as running:
        yield running


@pytest.fixture(scope="module")
def http(core: Shown) -> Iterator[str]:
    with running_gateway(core.address, protection=OPEN) as gateway:
        yield gateway.address


@pytest.fixture
def shown(core: Shown, http: str, page: SessionsPage) -> Shown:
    """Return the core once REST and the page show its sessions as they are at first."""
    core.sources |= sessions()
    first = {(HIDDEN, "active"), ("ann", "active"), ("bob", "idle"), ("eve", "idle")}
    eventually(lambda: {*map(activity, ask(http))}, lambda found: found == first)
    page.await_sessions(http)
    core.acts.clear()
    return core


def activity(resource: Any) -> tuple[str, str]:
    """Return a session's user, and what it has been doing since it connected, if it has."""
    stated = resource["attributes"]["activity"]
    is_old = "14:13:20" in stated["since"]
    return resource["attributes"]["user"], stated["state"] if is_old else ""


def of_user(page: SessionsPage, user: str) -> str:
    """Return the id of the session with a user."""
    page.await_count(4)
    (ident,) = (row.id for row in page.shown() if row.cells["user"] == user)
    return ident


def acts(page: SessionsPage) -> Locator:
    return page.page.get_by_role("region", name="Actions")


def confirm(page: SessionsPage, button: str, ident: str) -> Locator:
    """Open the dialog of an act, and type the session's id; return the dialog."""
    acts(page).get_by_role("button", name=button).click()
    dialog = page.page.locator("#act")
    expect(dialog).to_be_visible()
    submit = dialog.get_by_role("button", name=button)
    expect(submit).to_be_disabled()
    dialog.get_by_role("textbox").fill(f"{ident}0")
    expect(submit).to_be_disabled()
    dialog.get_by_role("textbox").fill(ident)
    expect(submit).to_be_enabled()
    return dialog


def test_a_session_ends_once_its_id_is_typed(
    page: SessionsPage, shared_opener: Opener, shown: Shown, http: str
) -> None:
    asked = len(shared_opener.requests)
    ident = of_user(page, "ann")
    drawer = page.open_session(ident)
    dialog = confirm(page, "End the session", ident)
    for told in ("ann", "shop", "db", "active", "may stay", "at proxy"):
        expect(dialog).to_contain_text(told)
    dialog.get_by_role("button", name="End the session").click()
    expect(dialog).to_be_hidden()
    expect(drawer.element).to_contain_text(f"Session {ident} has been ended.")
    expect(page.row(ident)).to_have_count(0)
    expect(acts(page)).to_be_hidden()
    assert shown.acts == [(Action.TERMINATE, "2")]
    (sent,) = (each for each in shared_opener.requests[asked:] if each.method == "DELETE")
    assert sent.url == f"http://{http}/v1/sessions/{ident}"
    assert sent.headers["if-match"].startswith('W/"')


def test_a_statement_is_cancelled(page: SessionsPage, shown: Shown) -> None:
    ident = of_user(page, "ann")
    drawer = page.open_session(ident)
    dialog = confirm(page, "Cancel the statement", ident)
    page.page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(drawer.element).to_contain_text("has been cancelled")
    assert shown.acts == [(Action.CANCEL, "2")]
    expect(acts(page)).to_be_visible()  # the session lives


def test_what_has_changed_meanwhile_is_left_alone(
    page: SessionsPage, shown: Shown, http: str
) -> None:
    ident = of_user(page, "ann")
    page.open_session(ident)
    dialog = confirm(page, "Cancel the statement", ident)
    other = native("2", ACTIVITY_STATE_ACTIVE, user="ann", since=9, database="shop")
    shown.sources["db"] = [other, *sessions()["db"][1:]]
    eventually(
        lambda: ask(http, f"/v1/sessions/{ident}")["attributes"]["activity"]["since"],
        lambda since: "14:13:29" in since,
    )
    dialog.get_by_role("button", name="Cancel the statement").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Nothing was done")
    assert shown.acts == []


@pytest.mark.usefixtures("shown")
def test_what_is_not_allowed_is_not_offered(page: SessionsPage) -> None:
    page.open_session(of_user(page, "eve"))
    assert page.drawer().attributes()
    expect(acts(page)).to_be_hidden()
    page.drawer().close()
    page.open_session(of_user(page, "an\\u202en\\n#9"))
    expect(acts(page).get_by_role("button", name="End the session")).to_be_visible()
    expect(acts(page).get_by_role("button", name="Cancel the statement")).to_be_hidden()


def test_what_is_refused_is_said(page: SessionsPage, shown: Shown) -> None:
    ident = of_user(page, "bob")
    page.open_session(ident)
    dialog = confirm(page, "Cancel the statement", ident)
    dialog.get_by_role("button", name="Cancel the statement").click()
    expect(dialog.get_by_role("alert")).to_contain_text("it runs no statement")
    page.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.drawer(ident).element).to_be_visible()
    assert shown.acts == []


def test_only_operators_are_offered_anything(opener: Opener, tmp_path: Path) -> None:
    files = CredentialFiles(tmp_path)
    names = tmp_path / "operators"
    names.write_text(f"{USER}\n")
    protection = Protection(**files.settings, operators=str(names))
    given = {"core_token_file": str(files.core_token)}
    audit = tmp_path / "audit.log"
    with (
        showing(sessions(), {"db": "terminate"}, audit_log=str(audit), **given) as shown,
        running_gateway(shown.address, protection=protection, **given) as gateway,
    ):
        page = SessionsPage(opener.open(f"{gateway.url}/"))
        page.login.get_by_label("Token").fill(bearer().removeprefix("Bearer "))
        page.login.get_by_role("button", name="Log in").click()
        page.await_live()
        page.open_session(of_user(page, "ann"))
        assert page.drawer().attributes()
        expect(acts(page)).to_be_hidden()
        page.drawer().close()
        page.page.get_by_role("button", name="Forget credentials").click()
        page.login.get_by_label("User").fill(USER)
        page.login.get_by_label("Password").fill(PASSWORD)
        page.login.get_by_role("button", name="Log in").click()
        page.await_live()
        ident = of_user(page, "ann")
        page.open_session(ident)
        dialog = confirm(page, "End the session", ident)
        dialog.get_by_role("button", name="End the session").click()
        expect(dialog).to_be_hidden()
        assert shown.acts == [(Action.TERMINATE, "2")]
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert {line["operator"] for line in lines} == {USER}


def test_a_gateway_without_actions_offers_none(opener: Opener, shown: Shown) -> None:
    with running_gateway(shown.address) as gateway:
        page = SessionsPage.open(opener, gateway.address)
        page.open_session(of_user(page, "ann"))
        assert page.drawer().attributes()
        expect(acts(page)).to_be_hidden()
        assert not [each for each in opener.requests if each.url.endswith("/v1/sources/db")]


def test_it_is_done_by_keys_alone_and_the_focus_comes_back(
    page: SessionsPage, shown: Shown
) -> None:
    ident = of_user(page, "ann")
    page.open_session(ident)
    button = acts(page).get_by_role("button", name="End the session")
    button.focus()
    keyboard = page.page.keyboard
    keyboard.press("Enter")
    dialog = page.page.locator("#act")
    expect(dialog.get_by_role("textbox")).to_be_focused()
    keyboard.press("Escape")
    expect(button).to_be_focused()
    keyboard.press("Enter")
    expect(dialog).to_contain_text("shop")
    keyboard.type(ident)
    keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(acts(page)).to_be_hidden()
    expect(page.page.locator("#drawer-title")).to_be_focused()
    assert shown.acts == [(Action.TERMINATE, "2")]


@pytest.mark.usefixtures("shown")
def test_a_dialog_that_is_opened_again_at_once_shows_its_session(page: SessionsPage) -> None:
    page.open_session(of_user(page, "ann"))
    button = acts(page).get_by_role("button", name="End the session")
    # Within one task, so that the browser says that the first was closed after the second opened.
    button.evaluate(
        "button => { button.click(); document.getElementById('act').close(); button.click(); }"
    )
    dialog = page.page.locator("#act")
    expect(dialog).to_contain_text("shop")
    expect(dialog.get_by_role("textbox")).to_be_focused()


def test_a_session_that_ends_by_itself_does_not_take_the_focus_along(
    page: SessionsPage, shown: Shown
) -> None:
    page.open_session(of_user(page, "ann"))
    button = acts(page).get_by_role("button", name="End the session")
    button.focus()
    expect(button).to_be_focused()
    shown.sources["db"] = []
    expect(acts(page)).to_be_hidden()
    expect(page.page.locator("#drawer-title")).to_be_focused()


@pytest.mark.usefixtures("shown")
def test_nobody_is_kept_from_it(page: SessionsPage) -> None:
    for user in ("an\\u202en\\n#9", "ann"):
        page.page.set_viewport_size(WIDE)
        ident = of_user(page, user)
        page.open_session(ident)
        expect(acts(page)).to_be_visible()
        # Both look the same: one is enough for axe-core.
        if user == "ann":
            accept(page.page, STYLES)
        page.page.set_viewport_size(PHONE)
        dialog = confirm(page, "End the session", ident)
        expect(dialog).to_contain_text("Source")
        assert "\u202e" not in dialog.inner_text()
        if user == "ann":
            accept(page.page, STYLES)
        for width in (390, 1280, 2560):
            page.page.set_viewport_size({"width": width, "height": 900})
            fits = page.page.evaluate(
                "() => { const box = document.getElementById('act').getBoundingClientRect();"
                " return box.left >= 0 && box.right <= innerWidth && box.bottom <= innerHeight"
                " && document.getElementById('act').scrollWidth"
                " <= document.getElementById('act').clientWidth; }"
            )
            assert fits, width
        page.page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        page.drawer().close()
