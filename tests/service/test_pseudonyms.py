"""Pseudonyms: keyed, of one length, and none before the key is known."""

from string import hexdigits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import NotReady
from service.pseudonyms import HEX_DIGITS, Pseudonyms

ONE, OTHER = Pseudonyms(lambda: b"one key"), Pseudonyms(lambda: b"another")


@given(st.text(max_size=40), st.text(max_size=40))
def test_readers_share_no_pseudonym(one: str, other: str) -> None:
    """The same reader always has the same one."""
    assert (ONE.of(one) == ONE.of(other)) == (one == other)


def test_a_pseudonym_tells_nothing_without_the_key() -> None:
    """Hex digits that are others under another key; the user id is not among them."""
    pseudonym = ONE.of("U123")
    assert len(pseudonym) == HEX_DIGITS
    assert set(pseudonym) <= set(hexdigits.lower())
    assert pseudonym != OTHER.of("U123")


def test_key_and_id_do_not_run_into_each_other() -> None:
    """A longer key with a shorter id is another reader."""
    assert Pseudonyms(lambda: b"ab").of("c") != Pseudonyms(lambda: b"a").of("bc")


def test_before_the_key_is_known_nobody_has_one() -> None:
    """The key may come later, and then counts."""
    keys = list[bytes]()
    pseudonyms = Pseudonyms(lambda: keys[0] if keys else None)
    with pytest.raises(NotReady):
        pseudonyms.of("U1")
    keys.append(b"one key")
    assert pseudonyms.of("U1") == ONE.of("U1")
