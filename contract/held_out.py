"""Which articles, texts and impressions are held out of training: the same ones always."""

import hashlib

# "Every tenth, by hash of its id": labelled texts whose topics no model may learn. The texts alone
# may take part where topics play no role, as in text distillation.
HELD_OUT_SHARE = 0.1


def hold_out(identity: str, share: float = HELD_OUT_SHARE) -> bool:
    """Tell by its hash whether an id is among the `share` held out."""
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big") < share * 2**32
