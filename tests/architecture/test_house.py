"""House rules that no linter knows, each of them seen to fail on a violation."""

import ast
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("contract", "training", "export", "service", "newsbert.py")
MAX_LINES, MAX_FUNCTION_LINES = 400, 50

# A home or a root directory of some machine; what stands before it shows that it is no URL.
MACHINE_PATH = re.compile(rb"(?<![\w.~:/-])/(?:home|root|Users)/[\w.-]+")
# Inside an image the paths are ours.
IMAGE_FILES = ("docker/", "docker-compose.yml")

UNSAFE_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"torch.load", "yaml.load", "yaml.unsafe_load", "eval", "exec", "pandas.read_pickle"}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
ADR_HEADINGS = ("Context", "Decision", "Consequences")

Check = Callable[[Path, list[str]], list[str]]


def files_of_the_project() -> list[str]:
    """List what git tracks or would track, relative to the root."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing says which files are the project's")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(name for name in set(listed.split("\0")) if name and (ROOT / name).is_file())


def python_of_packages(root: Path, files: list[str]) -> Iterator[tuple[str, ast.Module]]:
    """Parse the Python files of the packages."""
    for name in files:
        if name.endswith(".py") and name.split("/")[0] in PACKAGES:
            yield name, ast.parse((root / name).read_text(encoding="utf-8"))


def machine_paths(root: Path, files: list[str]) -> list[str]:
    """Find files that name a directory of the machine they were made on."""
    searched = [name for name in files if not name.startswith(IMAGE_FILES)]
    return [name for name in searched if MACHINE_PATH.search((root / name).read_bytes())]


def unsafe_loading(root: Path, files: list[str]) -> list[str]:
    """Find code that would run what a data file says."""
    return [
        f"{name}:{getattr(node, 'lineno', 0)}"
        for name, tree in python_of_packages(root, files)
        for node in ast.walk(tree)
        if _imports_unsafe(node) or _calls_unsafe(node)
    ]


def long_files(root: Path, files: list[str]) -> list[str]:
    """Find Python files that answer more than one question."""
    python = [name for name in files if name.endswith(".py")]
    return [name for name in python if len((root / name).read_bytes().splitlines()) > MAX_LINES]


def long_functions(root: Path, files: list[str]) -> list[str]:
    """Find functions of the packages that no screen holds."""
    return [
        f"{name}:{node.name}"
        for name, tree in python_of_packages(root, files)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES
    ]


def vague_names(root: Path, files: list[str]) -> list[str]:
    """Find modules whose name says nothing."""
    del root
    parts = {name: re.split(r"[/._]", name.removesuffix(".py")) for name in files}
    return [name for name in files if name.endswith(".py") and VAGUE_NAMES & {*parts[name]}]


def incomplete_decisions(root: Path, files: list[str]) -> list[str]:
    """Find decision records that lack a heading."""
    records = {
        n: (root / n).read_text("utf-8") for n in files if re.match(r"docs/adr/\d.*\.md$", n)
    }
    return [
        f"{name}: {heading}"
        for name, text in records.items()
        for heading in ADR_HEADINGS
        if not re.search(rf"^#+ {heading}\s*$", text, re.MULTILINE)
    ]


def unknown_make_targets(root: Path, files: list[str]) -> list[str]:
    """Find `make` commands in documents that the Makefile does not have."""
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, re.MULTILINE))
    documents = [name for name in files if name.endswith(".md")]
    return [
        f"{name}: make {target}"
        for name in documents
        for target in _make_commands((root / name).read_text(encoding="utf-8"))
        if target not in targets
    ]


def _make_commands(text: str) -> list[str]:
    # A command stands at the start of a line or of a code span, variables before the target.
    return re.findall(r"(?:^\s*\$? ?|`)make (?:[A-Z]+=\S+ )*([a-z][a-z0-9-]*)", text, re.MULTILINE)


def _imports_unsafe(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    else:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    return any(n.split(".")[0] in UNSAFE_MODULES or n in UNSAFE_CALLS for n in names)


def _calls_unsafe(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    allows_pickle = any(
        keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False"
        for keyword in node.keywords
    )
    return allows_pickle or ast.unparse(node.func) in UNSAFE_CALLS


CHECKS: tuple[Check, ...] = (
    machine_paths,
    unsafe_loading,
    long_files,
    long_functions,
    vague_names,
    incomplete_decisions,
    unknown_make_targets,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_project_keeps_the_rule(check: Check) -> None:
    """Nothing in the project is found by the check."""
    assert check(ROOT, files_of_the_project()) == []


LONG_FUNCTION = "def f() -> None:\n" + "    print()\n" * MAX_FUNCTION_LINES
RECORD = "# 1. Title\n\n## Context\n\n## Decision\n\n## Consequences\n"


@pytest.mark.parametrize(
    ("check", "name", "text"),
    [
        (machine_paths, "docs/a.md", "see /" + "home/someone/notes"),
        (machine_paths, "bundle/a.onnx", "\x12\x0f/" + "root/run.py\x00"),
        (machine_paths, "a.json", '{"path": "/' + 'Users/someone"}'),
        (unsafe_loading, "service/a.py", "import pickle"),
        (unsafe_loading, "service/a.py", "from pickle import loads"),
        (unsafe_loading, "training/a.py", "def f():\n    import joblib.memory"),
        (unsafe_loading, "training/a.py", "import torch\ntorch.load('x')"),
        (unsafe_loading, "training/a.py", "from torch import load"),
        (unsafe_loading, "contract/a.py", "np.load(path, allow_pickle=True)"),
        (unsafe_loading, "contract/a.py", "np.load(path, allow_pickle=anything)"),
        (unsafe_loading, "export/a.py", "yaml.load(text)"),
        (unsafe_loading, "newsbert.py", "exec(text)"),
        (long_files, "tests/a.py", "\n" * (MAX_LINES + 1)),
        (long_functions, "service/a.py", LONG_FUNCTION),
        (long_functions, "service/a.py", "class A:\n" + LONG_FUNCTION.replace("def", " async def")),
        (vague_names, "service/utils.py", ""),
        (vague_names, "service/adapters/redis_helpers.py", ""),
        (vague_names, "training/common/a.py", ""),
        (incomplete_decisions, "docs/adr/0001-a.md", RECORD.replace("## Decision", "Decision")),
        (incomplete_decisions, "docs/adr/0002-b.md", ""),
        (unknown_make_targets, "README.md", "```\nmake nothing\n```"),
        (unknown_make_targets, "docs/a.md", "Then `make PORT=1 nothing`."),
    ],
)
def test_a_violation_is_found(check: Check, name: str, text: str, tmp_path: Path) -> None:
    """Each check reports a file that breaks its rule, by name."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = check(tmp_path, [name])
    assert found
    assert all(offence.startswith(name) for offence in found)


@pytest.mark.parametrize(
    ("check", "name", "text"),
    [
        (machine_paths, "docs/a.md", "https://example.org/home/page and var/home/x"),
        (machine_paths, "docker/service.Dockerfile", "COPY . /" + "home/app"),
        (unsafe_loading, "service/a.py", "np.load(path, allow_pickle=False); yaml.safe_load(text)"),
        (unsafe_loading, "tests/a.py", "import pickle"),
        (long_files, "tests/a.py", "\n" * MAX_LINES),
        (long_functions, "service/a.py", LONG_FUNCTION.replace("    print()\n", "", 1)),
        (vague_names, "service/commonwealth.py", ""),
        (incomplete_decisions, "docs/adr/0001-a.md", RECORD),
        (unknown_make_targets, "README.md", "$ make test\n\nTo make things, `make PORT=9 run`."),
    ],
)
def test_what_is_allowed_is_not_found(check: Check, name: str, text: str, tmp_path: Path) -> None:
    """The checks do not report what keeps the rules."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert check(tmp_path, [name]) == []
