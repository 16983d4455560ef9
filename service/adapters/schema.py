"""Which format of a store this build reads, and the refusal of any other."""

from typing import Final

from service.errors import SchemaUnknown

SCHEMA: Final = "1"


def require_known(found: str) -> None:
    """Raise SchemaUnknown, saying what to do, unless a store is of the format we read."""
    if found != SCHEMA:
        raise SchemaUnknown(
            f"the store holds format {found}, this build reads format {SCHEMA}: run the release of "
            "newsbert that wrote it, or name an empty store and publish the articles again"
        )
