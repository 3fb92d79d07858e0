"""The Authorization header, parsed."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.runtime.auth.authorization import (
    MAX_AUTHORIZATION_LENGTH,
    Password,
    Token,
    read_authorization,
)
from sessiongate.runtime.auth.identity import WrongCredentialsError


def basic(text: str | bytes) -> str:
    return "Basic " + b64encode(text.encode() if isinstance(text, str) else text).decode()


sendable = st.text(
    st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"])
)


@given(name=sendable.filter(lambda text: ":" not in text), password=sendable)
def test_basic_gives_name_and_password_back(name: str, password: str) -> None:
    value = basic(f"{name}:{password}")
    if len(value) <= MAX_AUTHORIZATION_LENGTH:
        assert read_authorization(value) == Password(name, password.encode())


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_bearer_gives_the_token_back(scheme: str) -> None:
    assert read_authorization(f"{scheme} a.b-c_d~e+f/g==") == Token("a.b-c_d~e+f/g==")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Basic",
        "Basic ",
        "Basic *",
        "Basic YQ",
        "Basic YWxpY2U=",  # no colon
        basic("alice:sword\nfish"),
        basic("ali\x00ce:swordfish"),
        basic(b"alice:\xff"),
        basic("alice:swordfish") + ", " + basic("alice:swordfish"),
        "Bearer a b",
        "Bearer é",
        "Digest username=alice",
        "Basic " + "A" * MAX_AUTHORIZATION_LENGTH,
    ],
)
def test_anything_else_is_wrong_and_not_repeated(value: str) -> None:
    with pytest.raises(WrongCredentialsError) as refused:
        read_authorization(value)
    assert "alice" not in str(refused.value)


@given(st.text())
def test_no_text_breaks_the_reader(value: str) -> None:
    for text in (value, f"Basic {value}", f"Bearer {value}"):
        try:
            read_authorization(text)
        except WrongCredentialsError:
            continue


def test_secrets_do_not_show() -> None:
    for value in (basic("alice:swordfish"), "Bearer swordfish"):
        assert "swordfish" not in repr(read_authorization(value))
