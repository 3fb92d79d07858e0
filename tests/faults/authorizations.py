"""Values of ``Authorization`` that are all refused."""

from __future__ import annotations

import hmac
import json
from base64 import b64encode, urlsafe_b64encode
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.credentials import SECRET, USER, basic, bearer
from tests.faults.queries import any_text, slipped

_schemes = st.sampled_from(["Basic", "Basic", "Bearer", "Bearer", "basic", "Digest", "", "Basic,"])
_names = st.sampled_from([USER, "mallory", "", "\0", "é", "a" * 300])

_json: SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    any_text,
    st.lists(any_text, max_size=2),
    st.dictionaries(any_text, any_text, max_size=2),
)
_headers = st.fixed_dictionaries(
    {},
    optional={
        "alg": st.one_of(st.sampled_from(["HS256", "none", "RS256", "hs256", ""]), _json),
        "typ": _json,
        "kid": _json,
        "crit": _json,
        "b64": _json,
        "jwk": _json,
        "zip": st.sampled_from(["DEF", 1]),
    },
)
_claims = st.fixed_dictionaries(
    {"aud": st.sampled_from(["another", ["x"], 1, None]), "sub": st.just("bob"), "exp": _json},
    optional={"nbf": _json, "iat": _json, "iss": _json},
)
# Values that take long to read, or are deeply nested.
_deep = st.builds(
    lambda text, times: text * times,
    st.sampled_from(["[", '{"a":', "[],", "-", "9"]),
    st.integers(1, 1100),
)


def _part(text: str) -> str:
    return urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).rstrip(b"=").decode()


def _signed(header: dict[str, Any], claims: str) -> str:
    """Make a token that the key has signed, with content that no issuer would put there."""
    signed = f"{_part(json.dumps({**header, 'alg': 'HS256'}))}.{_part(claims)}"
    signature = hmac.digest(SECRET.encode(), signed.encode(), "sha256")
    return f"{signed}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"


_parts = st.one_of(_headers.map(json.dumps), _claims.map(json.dumps), _deep, any_text).map(_part)
_tokens = st.one_of(
    st.lists(_parts, max_size=4).map(".".join),
    st.builds(lambda header, rest: f"{header}.{rest}", _headers.map(json.dumps).map(_part), _parts),
    st.builds(_signed, _headers, st.one_of(_claims.map(json.dumps), _deep)),
    slipped(st.just(bearer(exp=1).partition(" ")[2])),
)
_passwords = st.one_of(
    st.builds(lambda name, word: basic(name, word).partition(" ")[2], _names, any_text),
    st.binary(max_size=40).map(lambda data: b64encode(data).decode()),
    slipped(st.just(basic("mallory").partition(" ")[2])),
)
authorizations = st.one_of(
    st.builds("{} {}".format, _schemes, _tokens),
    st.builds("{} {}".format, _schemes, _passwords),
    _tokens.map("Bearer {}".format),
    _passwords.map("Basic {}".format),
    slipped(_schemes),
)
