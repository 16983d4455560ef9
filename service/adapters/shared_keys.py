"""Random keys as stores hold them: text that any process reads back to the same bytes."""

import secrets
from typing import Final

from service.errors import StoreError

KEY_BYTES: Final = 32


def field_of(name: str) -> str:
    """Return the field of the store's own record that holds the key of a name."""
    return f"secret:{name}"


def new_key() -> str:
    """Make the text of a new random key."""
    return secrets.token_hex(KEY_BYTES)


def read_key(text: str) -> bytes:
    """Return the key (32 bytes) that a text holds; raise StoreError for any other text."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        # Making a new one in its place would quietly part this process from all others.
        raise StoreError("a shared key in the store is damaged")
    return key
