"""Which articles, texts and impressions are held out of training: the same ones always."""

import hashlib

# "Every tenth, by hash of its id": labelled texts that no model may learn from.
HELD_OUT_SHARE = 0.1


def hold_out(identity: str, share: float = HELD_OUT_SHARE) -> bool:
    """Tell by its hash whether an id is among the `share` held out."""
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big") < share * 2**32
