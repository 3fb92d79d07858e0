"""Each kind of credential, asked for on the page and kept in its memory only."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import HttpCredentials, Page, expect

from sessiongate.runtime.auth.throttle import BURST
from tests.browser.opening import Opener
from tests.browser.sessions_page import SessionsPage
from tests.certificates import Authority
from tests.credentials import PASSWORD, USER, CredentialFiles, bearer
from tests.program import DOCUMENT, PATIENCE, Forked, ForkedProgram


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> CredentialFiles:
    return CredentialFiles(tmp_path_factory.mktemp("credentials"))


@pytest.fixture(scope="module")
def http(files: CredentialFiles) -> Iterator[str]:
    """Serve to callers with a password or a token; yield the address."""
    with Forked("--source", DOCUMENT, *files.flags) as served:
        yield served.http


@pytest.fixture(scope="module")
def opened(shared_opener: Opener, http: str) -> SessionsPage:
    return open_asking(shared_opener, http)


@pytest.fixture
def asking(opened: SessionsPage) -> SessionsPage:
    """Return the module's page, which asks who one is."""
    forget = opened.page.get_by_role("button", name="Forget credentials")
    if forget.is_visible():
        forget.click()
    opened.reset()
    expect(opened.login).to_be_visible()
    return opened


def token(**claims: Any) -> str:
    """Return a token as one pastes it."""
    return bearer(**claims).removeprefix("Bearer ")


def open_asking(opener: Opener, http: str, **options: Any) -> SessionsPage:
    """Open the page, which asks who one is."""
    page = SessionsPage(opener.open(f"http://{http}/", **options))
    expect(page.login).to_be_visible()
    return page


def fill(page: SessionsPage, **fields: str) -> None:
    """Fill the dialog in and send it."""
    for name, text in fields.items():
        page.login.get_by_role("textbox", name=name).or_(page.login.get_by_label(name)).first.fill(
            text
        )
    page.login.get_by_role("button", name="Log in").click()


def kept(page: Page) -> str:
    """Return all that the page has stored, and its URL."""
    stored: str = page.evaluate(
        """async () => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie,
            await indexedDB.databases(), await caches?.keys?.() ?? [], location.href,
            history.state])"""
    )
    return stored + str(page.context.cookies())


def test_right_credentials_show_the_sessions(asking: SessionsPage, shared_opener: Opener) -> None:
    page = asking
    for given in ({"User": USER, "Password": PASSWORD}, {"Token": token()}):
        page.await_count(0)
        fill(page, **given)
        page.await_live()
        page.await_count(3)
        expect(page.login).to_be_hidden()
        expect(page.page.get_by_role("button", name="Forget credentials")).to_be_visible()
        for secret in given.values():
            assert secret not in kept(page.page)
            assert not [each.url for each in shared_opener.requests if secret in each.url]
        drawer = page.open_session(1)
        assert drawer.attributes()["state"] == "Listener Session"
        drawer.close()

        # They are gone with the page.
        page.page.reload()
        expect(page.login).to_be_visible()


def test_wrong_credentials_are_said_to_be_wrong(opener: Opener, http: str) -> None:
    # What a prompt of the browser's own would send: the page never lets it ask.
    prompted: HttpCredentials = {"username": USER, "password": PASSWORD}
    page = open_asking(opener, http, http_credentials=prompted)
    alert = page.login.get_by_role("alert")
    expect(alert).to_be_hidden()
    fill(page, User=USER, Password="tuna")
    expect(alert).to_be_visible()
    expect(page.login.get_by_label("Password")).to_have_attribute("type", "password")
    fill(page, User="", Password="", Token=token(aud="another"))
    expect(alert).to_be_visible()
    fill(page, Token=token(exp=time.time() - 60))
    expect(alert).to_contain_text(re.compile("expired", re.IGNORECASE))
    fill(page, Token=token())
    page.await_live()
    page.page.get_by_role("button", name="Forget credentials").click()
    expect(page.login).to_be_visible()
    page.await_count(0)
    assert "Listener" not in page.page.content()


def test_a_token_that_expires_is_asked_for_again_and_the_view_stays(asking: SessionsPage) -> None:
    page = asking
    fill(page, Token=token(exp=time.time() + 8))
    page.await_live()
    page.search.fill("CLI")
    page.await_count(1)
    expect(page.login).to_be_visible()
    expect(page.login).to_contain_text(re.compile("expired", re.IGNORECASE))
    expect(page.search).to_have_value("CLI")
    fill(page, Token=token())
    page.await_live()
    page.await_count(1)


def test_only_what_is_accepted_is_asked_for_and_too_many_attempts_are_said(
    opener: Opener, files: CredentialFiles
) -> None:
    with Forked("--source", DOCUMENT, "--users", files.users) as served:
        page = open_asking(opener, served.http)
        expect(page.login.get_by_label("Token")).to_be_hidden()
        said = page.login.get_by_role("alert").filter(has_text=re.compile("too many", re.I))
        fill(page, User=USER, Password="wrong")
        expect(page.login.get_by_role("alert")).to_be_visible()
        for attempt in range(BURST):
            if said.count():
                break
            # One more is allowed every few seconds: the page alone may not be quick enough.
            for number in range(BURST):
                wrong = (USER, f"wrong {number}")
                httpx.get(f"http://{served.http}/v1/", auth=wrong, timeout=PATIENCE)
            fill(page, User=USER, Password=f"wrong {attempt}")
            expect(page.login.get_by_role("button", name="Log in")).to_be_enabled()
        expect(said).to_be_visible()


def test_a_client_certificate_and_a_token(
    opener: Opener, files: CredentialFiles, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    server, client = authority.issue("server"), authority.issue("client", "client")
    tls = ("--tls-cert", server.cert, "--tls-key", server.key, "--tls-client-ca", authority.cert)
    with ForkedProgram(
        *("serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--ledger", "sqlite://"),
        *("--source", DOCUMENT, "--token-secret", files.token_secret, *tls),
    ) as served:
        port = served.expect(r"REST +https://\S+:(\d+)/v1/sessions$")[1]
        served.expect("Try +curl")
        origin = f"https://localhost:{port}"
        page = SessionsPage(
            opener.open(
                f"{origin}/",
                ignore_https_errors=True,
                client_certificates=[
                    {"origin": origin, "certPath": client.cert, "keyPath": client.key}
                ],
            )
        )
        expect(page.login).to_be_visible()
        expect(page.login.get_by_label("Password")).to_be_hidden()
        fill(page, Token=token())
        page.await_live()
        page.await_count(3)
