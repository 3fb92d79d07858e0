"""Credentials for tests, in files: valid ones, wrong ones, expired ones."""

from __future__ import annotations

import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import bcrypt
import jwt

USER, PASSWORD = "alice", "swordfish"
SECRET = "0123456789abcdef0123456789abcdef"
CORE_TOKEN = "c" * 32


class CredentialFiles:
    """Users, a secret for tokens and a core's token, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.users = folder / "users"
        self.token_secret = folder / "token.secret"
        self.core_token = folder / "core.token"
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4))
        self.users.write_text(f"{USER}:{hashed.decode()}\n")
        self.token_secret.write_text(SECRET)
        for path in (self.users, self.token_secret):
            path.chmod(0o600)
        self.core_token.write_text(CORE_TOKEN + "\n")
        self.core_token.chmod(0o600)

    @property
    def settings(self) -> dict[str, Any]:
        """The callers' two files, as settings."""
        return {"users": str(self.users), "token_secret": str(self.token_secret)}

    @property
    def flags(self) -> tuple[str, ...]:
        """The callers' two files, as flags."""
        return ("--users", str(self.users), "--token-secret", str(self.token_secret))


def basic(name: str = USER, password: str = PASSWORD) -> str:
    """Make a value of Authorization: a name and a password, the right ones by default."""
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


def bearer(**claims: Any) -> str:
    """Make a value of Authorization: a token, a valid one by default.

    It is valid for a day: the tests may begin long after their modules, and tokens, were made.
    """
    known = {"sub": "bob", "aud": "sessiongate", "exp": time.time() + 86_400, **claims}
    return "Bearer " + jwt.encode(known, SECRET, "HS256")


def cases() -> dict[str, tuple[str | None, str | None]]:
    """Return values of Authorization, each with the reason for refusing it, if it is refused."""
    return {
        "nothing": (None, "CREDENTIALS_MISSING"),
        "nonsense": ("Negotiate YQ==", "CREDENTIALS_WRONG"),
        "a wrong password": (basic(password="tuna"), "CREDENTIALS_WRONG"),
        "an unknown name": (basic("mallory"), "CREDENTIALS_WRONG"),
        "a forged token": (bearer()[:-4] + "AAAA", "CREDENTIALS_WRONG"),
        "an expired token": (bearer(exp=time.time() - 60), "CREDENTIALS_EXPIRED"),
        "a token for another": (bearer(aud="another"), "CREDENTIALS_WRONG"),
        "the password": (basic(), None),
        "a token": (bearer(), None),
    }
