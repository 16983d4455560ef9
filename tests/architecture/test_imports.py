"""Import rules: kept by the tree as it is, and each of them seen to fail on a violation."""

import re
import shutil
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RULES = PYPROJECT["tool"]["importlinter"]
CONTRACTS: list[dict[str, Any]] = RULES["contracts"]


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on a tree, on that tree's packages and nobody else's."""
    linter = Path(sys.executable).with_name("lint-imports")
    command = [linter, "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


def copy_of_the_tree(target: Path) -> Path:
    """Copy pyproject.toml and the packages that the rules are about."""
    target.mkdir()
    shutil.copy(ROOT / "pyproject.toml", target)
    for package in RULES["root_packages"]:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, target / package, ignore=ignore)
    return target


def plant(tree: Path, importer: str, imported: str) -> None:
    """Add an import to a module of the tree."""
    path = tree / Path(*importer.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    with file.open("a", encoding="utf-8") as module:
        module.write(f"\nimport {imported}\n")


def violations(rule: dict[str, Any]) -> list[tuple[str, str]]:
    """List imports that a rule forbids: (importer, imported) for each part of the rule."""
    return {"layers": layer_violations, "forbidden": forbidden_violations,
            "protected": protected_violations}[rule["type"]](rule)  # fmt: skip


def layer_violations(rule: dict[str, Any]) -> list[tuple[str, str]]:
    """Let each layer import the one above it, and siblings each other."""
    layers = [[name.strip(" ()") for name in layer.split("|")] for layer in rule["layers"]]
    upwards = [(lower[0], upper[0]) for upper, lower in pairwise(layers)]
    sideways = [pair for layer in layers for pair in pairwise(layer)]
    return [
        (f"{prefix}{importer}", f"{prefix}{imported}")
        for prefix in [f"{container}." for container in rule.get("containers", [])] or [""]
        for importer, imported in upwards + sideways
    ]


def forbidden_violations(rule: dict[str, Any]) -> list[tuple[str, str]]:
    """Let each source import something forbidden, and some source each forbidden thing."""
    sources, forbidden = rule["source_modules"], rule["forbidden_modules"]
    return sorted({(s, forbidden[0]) for s in sources} | {(sources[0], f) for f in forbidden})


def protected_violations(rule: dict[str, Any]) -> list[tuple[str, str]]:
    """Let a package that is not on the list import each protected module."""
    outsiders = set(RULES["root_packages"]) - set(rule["allowed_importers"])
    outsiders -= {module.split(".")[0] for module in rule["protected_modules"]}
    return [(min(outsiders), module) for module in rule["protected_modules"]]


def test_the_tree_keeps_every_rule() -> None:
    """Nothing imports what it must not, anywhere."""
    report = lint(ROOT)
    assert report.returncode == 0, report.stdout + report.stderr
    assert f"{len(CONTRACTS)} kept, 0 broken" in report.stdout


def test_a_copy_keeps_every_rule(tmp_path: Path) -> None:
    """What the tests below see fail holds before they plant anything."""
    report = lint(copy_of_the_tree(tmp_path / "copy"))
    assert report.returncode == 0, report.stdout + report.stderr


@pytest.mark.parametrize("rule", CONTRACTS, ids=lambda rule: rule["name"])
def test_a_violation_breaks_the_rule(rule: dict[str, Any], tmp_path: Path) -> None:
    """Every forbidden import that is planted is found and named."""
    tree = copy_of_the_tree(tmp_path / "copy")
    planted = violations(rule)
    for importer, imported in planted:
        plant(tree, importer, imported)
    report = lint(tree)
    assert report.returncode == 1
    assert f"{rule['name']} BROKEN" in report.stdout
    missed = [pair for pair in planted if f"{pair[0]} -> {pair[1]} (" not in report.stdout]
    assert missed == [], report.stdout


def test_an_indirect_violation_breaks_a_rule(tmp_path: Path) -> None:
    """Importing something that imports torch is importing torch."""
    tree = copy_of_the_tree(tmp_path / "copy")
    plant(tree, "contract.article", "torch")
    report = lint(tree)
    assert "Serving is torch-free BROKEN" in report.stdout
    assert re.search(
        r"service\S+ -> contract\.article .*\n +contract\.article -> torch", report.stdout
    )
