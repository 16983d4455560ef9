"""Serving loads no torch: asked of the interpreter, since lazy imports escape static rules."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "onnx", "matplotlib", "sklearn", "training", "export")
CHECK = "import sys, {module}; print(*sorted(set({heavy!r}) & set(sys.modules)))"
CONTRACT = sorted(f"contract.{path.stem}" for path in (ROOT / "contract").glob("[a-z]*.py"))


def heavy_modules_loaded(module: str, *, paths: tuple[Path, ...] = ()) -> list[str]:
    """Import a module in a process of its own and list what it must not have loaded."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*paths, ROOT)))}
    command = [sys.executable, "-c", CHECK.format(module=module, heavy=HEAVY)]
    found = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=60
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.split()


@pytest.mark.parametrize("module", ["service.app", "service.commands", "newsbert"])
def test_serving_loads_no_torch(module: str) -> None:
    """The application and its commands load neither torch nor anything else for training."""
    assert heavy_modules_loaded(module) == []


def test_the_contract_loads_no_torch() -> None:
    """All modules of the contract together load nothing heavy."""
    assert heavy_modules_loaded(", ".join(CONTRACT)) == []


@pytest.mark.parametrize(
    "code",
    ["import torch", "def f():\n    import torch\nf()", "__import__('torch')", "import innocent"],
    ids=["plain", "lazy", "dynamic", "indirect"],
)
def test_the_check_notices_torch(code: str, tmp_path: Path) -> None:
    """A module that gets torch in any way is reported (the torch here is empty)."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("")
    (tmp_path / "innocent.py").write_text("import torch")
    (tmp_path / "leaky.py").write_text(code)
    assert heavy_modules_loaded("leaky", paths=(tmp_path,)) == ["torch"]


def test_the_check_notices_a_module_that_does_not_import(tmp_path: Path) -> None:
    """A crash is no proof of innocence."""
    (tmp_path / "broken.py").write_text("raise RuntimeError('not importable')")
    with pytest.raises(AssertionError, match="not importable"):
        heavy_modules_loaded("broken", paths=(tmp_path,))
