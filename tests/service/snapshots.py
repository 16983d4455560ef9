"""Catalogues with something to save, and the keepers that save it in tests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.catalogue import Catalogue
from service.lexicon import Lexicon
from service.popularity import PopularityUpdate
from service.ports import Activation
from service.saved import Saved
from service.saving import Keeper
from tests.service.fakes import (
    ACTIVATION,
    DIM,
    HOUR,
    NOW,
    a_catalogue_with,
    a_stored,
    a_take_down,
)

POSITION = ("birth", "17")
# Of every process that writes; a word keeps its code in it.
LEXICON = Lexicon()


def a_keeper(folder: Path, **other: Any) -> Keeper:
    """Build the keeper of a process that starts: it knows no word yet."""
    space = {"activation": replace(ACTIVATION, generation=0), "dim": DIM, "lexicon": Lexicon()}
    return Keeper(folder, **{**space, **other})


def a_writer(folder: Path) -> Keeper:
    """Build the keeper of a process that has `a_state` to save."""
    return a_keeper(folder, lexicon=LEXICON)


def write(folder: Path, saved: Saved) -> None:
    """Write a snapshot as a process that ends then."""
    writer = a_writer(folder)
    assert writer.save(saved)
    writer.close()


def is_there(folder: Path, number: int = 1) -> bool:
    """Say whether a snapshot of that number is kept."""
    return (folder / str(number)).is_dir()


def a_catalogue(lexicon: Lexicon) -> Catalogue:
    """Build a catalogue that has seen changes: N1 to N3 are there, N9 waits for its vector."""
    catalogue = a_catalogue_with(
        a_stored("N1", title="Cup final", topic="sports"),
        a_stored("N2", title="Older", topic="sports"),
        a_stored("N4", title="Secret"),
        terms=lexicon.terms,
        logits=first_numbers,
    )
    catalogue.apply(
        [
            a_stored(
                "N2", version=2, title="Newer", topic="health", published_at="2026-01-01T00:00:00Z"
            ),
            a_stored("N3", title="Rain tomorrow", url="https://example.com/1", source="AP"),
            a_stored("N9", version=4, vector=None),
            a_take_down("N4"),
        ],
        NOW,
    )
    catalogue.set_popularity(PopularityUpdate({"N1": 0.5, "N8": 1.5}))
    return catalogue


def first_numbers(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stand in for the attention logit of an article."""
    return vectors[:, 0].copy()


def a_state(position: tuple[str, ...] = POSITION) -> Saved:
    """Build what such a catalogue has to save."""
    return a_catalogue(LEXICON).saved(position, 0)


def loaded(folder: Path, **options: Any) -> tuple[Catalogue, Lexicon, Saved]:
    """Go on from a folder in what would be another process."""
    lexicon = Lexicon()
    catalogue = Catalogue(
        Activation(0, "", ""), DIM, history_ttl_s=HOUR, terms=lexicon.terms, **options
    )
    saved = a_keeper(folder, lexicon=lexicon).load(catalogue.spare_rows)
    assert saved is not None
    catalogue.restore(saved)
    return catalogue, lexicon, saved
