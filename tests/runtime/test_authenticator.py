"""The identity of callers, over real files."""

from __future__ import annotations

import asyncio
import logging
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from sessiongate.runtime.auth import authenticator, htpasswd
from sessiongate.runtime.auth.authenticator import ACCEPTED, Authenticator
from sessiongate.runtime.auth.authorization import Password, Token, read_authorization
from sessiongate.runtime.auth.credentials import Credentials
from sessiongate.runtime.auth.htpasswd import add_user, remove_user
from sessiongate.runtime.auth.identity import (
    ExpiredCredentialsError,
    Identity,
    MissingCredentialsError,
    Proof,
    Refusal,
    TooManyAttemptsError,
    WrongCredentialsError,
)
from sessiongate.runtime.auth.throttle import BURST
from sessiongate.runtime.watched_file import POLL_INTERVAL, FileError

SECRET = "0123456789abcdef0123456789abcdef"
CORE_TOKEN, NEXT_CORE_TOKEN = "c" * 32, "d" * 32


class House:
    """All credential files, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.now = 100.0
        self.users = folder / "users"
        self.token_secret = folder / "token.secret"
        self.core_token = folder / "core.token"
        add_user(self.users, "alice", "swordfish")
        self.token_secret.write_text(SECRET)
        self.token_secret.chmod(0o600)
        self.core_token.write_text(f"{CORE_TOKEN}\n{NEXT_CORE_TOKEN}\n")

    @property
    def everything(self) -> Credentials:
        return Credentials(
            self.users,
            token_secret=self.token_secret,
            core_token=self.core_token,
            certificates=True,
        )


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(htpasswd, "COST", 4)
    return House(tmp_path)


class Asked:
    """An authenticator, called from one address."""

    def __init__(self, tested: Authenticator) -> None:
        self.authenticator = tested

    async def __call__(
        self, authorization: str | None, certificate: str | None = None
    ) -> Identity | type[Refusal]:
        """Return who calls, or how the caller is refused."""
        try:
            return await self.authenticator.authenticate(authorization, certificate, "192.0.2.1")
        except Refusal as refusal:
            return type(refusal)


def run(house: House, credentials: Credentials, test: Callable[[Asked], Any]) -> None:
    async def main() -> None:
        tested = Authenticator(credentials, lambda: house.now)
        try:
            await test(Asked(tested))
        finally:
            tested.close()

    asyncio.run(main())


def basic(name: str, password: str) -> str:
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


def bearer(**changes: Any) -> str:
    claims = {"sub": "bob", "aud": "sessiongate", "exp": time.time() + 600, **changes}
    return "Bearer " + jwt.encode(claims, SECRET, "HS256")


def test_every_proof_names_its_caller(house: House) -> None:
    async def test(ask: Asked) -> None:
        assert await ask(basic("alice", "swordfish")) == Identity("alice", Proof.PASSWORD)
        assert await ask(bearer()) == Identity("bob", Proof.TOKEN)
        assert await ask(None, "billing") == Identity("billing", Proof.CERTIFICATE)
        for token in (CORE_TOKEN, NEXT_CORE_TOKEN):
            assert await ask(f"Bearer {token}") == Identity("gateway", Proof.GATEWAY)

    run(house, house.everything, test)


def test_every_wrong_proof_is_refused(house: House) -> None:
    async def test(ask: Asked) -> None:
        assert await ask(None) is MissingCredentialsError
        for wrong in (
            "",
            "nonsense",
            basic("alice", "tuna"),
            basic("bob", "swordfish"),
            bearer(aud="another"),
            f"Bearer {CORE_TOKEN[:-1]}",
            f"Bearer {CORE_TOKEN}x",
            f"Bearer {CORE_TOKEN}, {basic('alice', 'swordfish')}",
        ):
            assert await ask(wrong) is WrongCredentialsError
            # Credentials that were sent count, even if there is a certificate.
            assert await ask(wrong, "billing") is WrongCredentialsError
        assert await ask(bearer(exp=time.time() - 60)) is ExpiredCredentialsError

    run(house, house.everything, test)


@pytest.mark.parametrize("configured", ["users", "token_secret", "core_token", "certificates"])
def test_only_what_is_configured_counts(house: House, configured: str) -> None:
    only = Credentials(**{configured: getattr(house.everything, configured)})
    assert only.wanted

    async def test(ask: Asked) -> None:
        answers = {
            "users": await ask(basic("alice", "swordfish")),
            "token_secret": await ask(bearer()),
            "core_token": await ask(f"Bearer {CORE_TOKEN}"),
            "certificates": await ask(None, "billing"),
        }
        assert [name for name, answer in answers.items() if isinstance(answer, Identity)] == [
            configured
        ]

    run(house, only, test)


def test_nothing_configured_is_nothing_wanted() -> None:
    assert not Credentials().wanted


def test_challenges_say_what_is_taken(house: House) -> None:
    for credentials, schemes in (
        (Credentials(users=house.users), ["Basic"]),
        (Credentials(token_secret=house.token_secret), ["Bearer"]),
        (Credentials(core_token=house.core_token), ["Bearer"]),
        (Credentials(certificates=True), []),
        (house.everything, ["Basic", "Bearer"]),
    ):
        challenges = Authenticator(credentials).challenges
        assert [challenge.split()[0] for challenge in challenges] == schemes
        assert all('realm="sessiongate"' in challenge for challenge in challenges)


def test_every_file_is_followed(house: House) -> None:
    async def test(ask: Asked) -> None:
        assert await ask(basic("alice", "swordfish")) == Identity("alice", Proof.PASSWORD)
        remove_user(house.users, "alice")
        add_user(house.users, "carol", "tuna")
        token = bearer()
        house.token_secret.write_text(SECRET[::-1] + "longer")
        house.core_token.write_text("e" * 40)
        house.now += 1
        assert await ask(basic("alice", "swordfish")) is WrongCredentialsError
        assert await ask(basic("carol", "tuna")) == Identity("carol", Proof.PASSWORD)
        assert await ask(token) is WrongCredentialsError
        assert await ask(f"Bearer {CORE_TOKEN}") is WrongCredentialsError
        assert await ask("Bearer " + "e" * 40) == Identity("gateway", Proof.GATEWAY)

    run(house, house.everything, test)


def test_what_was_accepted_is_not_read_again_for_a_second(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def noted(value: str) -> Password | Token:
        read.append(value)
        return read_authorization(value)

    monkeypatch.setattr(authenticator, "read_authorization", noted)

    async def test(ask: Asked) -> None:
        shown = {
            basic("alice", "swordfish"): Identity("alice", Proof.PASSWORD),
            bearer(): Identity("bob", Proof.TOKEN),
        }
        for authorization, identity in shown.items():
            assert [await ask(authorization) for _ in range(3)] == [identity] * 3
        assert read == [*shown]
        wrong = basic("alice", "tuna")
        assert [await ask(wrong) for _ in range(2)] == [WrongCredentialsError] * 2
        assert read == [*shown, wrong, wrong]
        house.now += ACCEPTED
        for authorization, identity in shown.items():
            assert await ask(authorization) == identity
        assert read == [*shown, wrong, wrong, *shown]

    run(house, house.everything, test)


def test_a_password_that_is_set_again_is_accepted_at_once(house: House) -> None:
    async def test(ask: Asked) -> None:
        authorization = basic("alice", "swordfish")
        house.now += POLL_INTERVAL / 2
        assert await ask(authorization) == Identity("alice", Proof.PASSWORD)
        add_user(house.users, "alice", "swordfish")  # the same, with another hash
        house.now += POLL_INTERVAL / 2  # now the file is looked at
        assert await ask(authorization) == Identity("alice", Proof.PASSWORD)

    run(house, house.everything, test)


def test_what_was_accepted_is_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authenticator, "_MOST", 2)

    async def test(ask: Asked) -> None:
        for number in range(5):
            assert await ask(bearer(jti=str(number))) == Identity("bob", Proof.TOKEN)
        assert len(vars(ask.authenticator)["_accepted"]) == 1

    run(house, house.everything, test)


def test_what_was_shown_is_confirmed_until_its_file_says_otherwise(house: House) -> None:
    def refused(identity: Identity) -> type[Refusal] | None:
        try:
            identity.confirm()
        except Refusal as refusal:
            return type(refusal)
        return None

    async def test(ask: Asked) -> None:
        shown = [basic("alice", "swordfish"), bearer(), f"Bearer {CORE_TOKEN}"]
        found = [*[await ask(each) for each in shown], await ask(None, "billing")]
        alice, bob, gateway, billing = [each for each in found if isinstance(each, Identity)]
        add_user(house.users, "carol", "tuna")
        house.token_secret.write_text(f"{SECRET}\n")
        house.now += 1
        assert not any(map(refused, (alice, bob, gateway, billing)))
        add_user(house.users, "alice", "tuna")
        house.token_secret.write_text(SECRET[::-1] + "longer")
        house.core_token.write_text("e" * 40)
        house.now += 1
        assert refused(alice) is WrongCredentialsError
        assert refused(bob) is WrongCredentialsError
        assert not any(map(refused, (gateway, billing))), "they are looked at when a call begins"
        carol = await ask(basic("carol", "tuna"))
        assert isinstance(carol, Identity)
        remove_user(house.users, "carol")
        house.now += 1
        assert refused(carol) is WrongCredentialsError

    run(house, house.everything, test)


def test_the_audience_is_a_setting(house: House) -> None:
    async def test(ask: Asked) -> None:
        assert await ask(bearer(aud="fleet")) == Identity("bob", Proof.TOKEN)
        assert await ask(bearer()) is WrongCredentialsError

    run(house, Credentials(token_secret=house.token_secret, token_audience="fleet"), test)


def test_guessing_is_held_up(house: House) -> None:
    async def test(ask: Asked) -> None:
        for number in range(BURST):
            assert await ask(basic("alice", f"guess {number}")) is WrongCredentialsError
        assert await ask(basic("alice", "guess")) is TooManyAttemptsError
        assert await ask(bearer()) == Identity("bob", Proof.TOKEN)

    run(house, house.everything, test)


@pytest.mark.parametrize("name", ["users", "token_secret", "core_token"])
def test_a_file_that_cannot_be_used_is_named_at_the_start(house: House, name: str) -> None:
    path: Path = getattr(house, name)
    path.write_text("swordfish")
    with pytest.raises(FileError, match=path.name) as refused:
        Authenticator(house.everything)
    assert "swordfish" not in str(refused.value)


def test_no_secret_shows_in_logs_errors_or_reprs(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []

    async def test(ask: Asked) -> None:
        for authorization in (
            basic("alice", "tuna"),
            basic("alice", "swordfish"),
            bearer(),
            bearer(exp=1),
            f"Bearer {CORE_TOKEN}",
            "Bearer swordfish",
        ):
            try:
                identity = await ask.authenticator.authenticate(authorization, None, "192.0.2.1")
                shown.append(repr(identity))
            except Refusal as refusal:
                shown.append(f"{refusal} {refusal!r} {refusal.__cause__!r}")
        shown.append(repr(vars(ask.authenticator)))

    run(house, house.everything, test)
    text = caplog.text + "".join(shown)
    secrets = ("swordfish", "tuna", SECRET, CORE_TOKEN)
    assert not [secret for secret in secrets if secret in text]
