"""The identity of a caller."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.runtime.auth.identity import Identity, Proof

texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(texts, st.sampled_from(Proof))
def test_an_identity_travels_as_printable_ascii(name: str, proof: Proof) -> None:
    identity = Identity(name, proof)
    encoded = identity.encode()
    assert encoded.isascii()
    assert encoded.isprintable()
    assert Identity.decode(encoded) == identity


@pytest.mark.parametrize("text", ["", "alice", "password", "king alice", "password %ff"])
def test_what_is_no_identity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Identity.decode(text)
