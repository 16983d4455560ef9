"""Pseudonyms: the keyed hash under which a reader is stored, so that no store holds a user id."""

import hmac
from collections.abc import Callable
from typing import Final

from service.errors import NotReady

# 128 bits: no two of any number of readers will ever share one.
HEX_DIGITS: Final = 32


class Pseudonyms:
    """Turns user ids into pseudonyms; `key` gives None until the shared key is known."""

    def __init__(self, key: Callable[[], bytes | None]) -> None:
        self._key = key

    def of(self, user_id: str) -> str:
        """Return the pseudonym of a user id; raise NotReady before the key is known."""
        key = self._key()
        if key is None:
            raise NotReady("the key of readers' pseudonyms is not known yet")
        return hmac.digest(key, user_id.encode(), "sha256").hex()[:HEX_DIGITS]
