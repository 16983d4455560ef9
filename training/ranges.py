"""Ranges: the types of settings, each with the values that it may have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Annotated, Any, TypeAlias, get_args

from contract.text import TextField


@dataclass(frozen=True)
class Range:
    """Say in words what must hold of a value; of NaN no comparison holds."""

    words: str
    holds: Callable[[Any], bool]


def one_of(*names: str) -> Range:
    """Allow some names alone."""
    return Range(f"{', '.join(names[:-1])} or {names[-1]}", lambda name: name in names)


Count: TypeAlias = Annotated[int, Range("0 or more", lambda n: n >= 0)]
Size: TypeAlias = Annotated[int, Range("1 or more", lambda n: n >= 1)]
Group: TypeAlias = Annotated[int, Range("2 or more", lambda n: n >= 2)]
Tokens: TypeAlias = Annotated[int, Range("4 or more", lambda n: n >= 4)]
Seed: TypeAlias = Annotated[int, Range("from 0 to 2**63 - 1", lambda n: 0 <= n < 2**63)]

Weight: TypeAlias = Annotated[float, Range("0 or more", lambda x: 0 <= x < inf)]
Rate: TypeAlias = Annotated[float, Range("0 or more", lambda x: 0 <= x < inf)]
Temperature: TypeAlias = Annotated[float, Range("above 0", lambda x: 0 < x < inf)]
Clip: TypeAlias = Annotated[float, Range("above 0", lambda x: x > 0)]  # inf: never
Share: TypeAlias = Annotated[float, Range("from 0 to 1", lambda x: 0 <= x <= 1)]
Part: TypeAlias = Annotated[float, Range("from 0 to below 1", lambda x: 0 <= x < 1)]
Decay: TypeAlias = Annotated[float, Range("above 0, at most 1", lambda x: 0 < x <= 1)]

Field: TypeAlias = Annotated[str, one_of(*get_args(TextField))]
Precision: TypeAlias = Annotated[str, one_of("fp32", "bf16", "fp16")]
