"""Checks: refuse a graph or file that holds what no bundle may hold."""

from __future__ import annotations

import re
from collections.abc import Mapping

from contract.bundle_errors import BundleError
from contract.graph_rules import read_graph
from export.errors import GraphRefused

# A directory of the machine at hand; what stands before it shows that it is no URL.
MACHINE_PATH = re.compile(
    rb"(?<![\w.~:/-])/(?:home|root|Users|tmp|work|workspace|mnt|opt|usr|var)/[\w.-]{2,}"
    rb"|[A-Z]:\\(?:Users|Temp|Windows)\\"
)


def check_graph(name: str, raw: bytes) -> None:
    """Raise GraphRefused unless every reader of the bundle will take the graph for a plain one."""
    try:
        read_graph(name, raw)
    except BundleError as error:
        raise GraphRefused(str(error)) from error


def check_paths(files: Mapping[str, bytes]) -> None:
    """Raise GraphRefused when a file names a directory of the machine it was made on."""
    for name, raw in files.items():
        found = MACHINE_PATH.search(raw)
        if found:
            raise GraphRefused(f"{name}: holds the path {found.group().decode(errors='replace')}")
