"""A result file says what was measured, on what, from which commit, by which command."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results

CPUINFO = "processor\t: 0\nmodel name\t: AMD EPYC\ncpu family\t: 26\nmodel\t\t: 2\nflags\t\t:\n"


def write(folder: Path, **changes: Any) -> dict[str, Any]:
    """Write a result and read it back."""
    given: dict[str, Any] = {
        "figures": {"ratio": 2.5},
        "runs": [{"student": 10.0, "teacher": 4.0}],
        "settings": {"rounds": 1},
        "pinning": "server on core 0",
        "packages": ("numpy",),
    }
    file = results.write_result("encoder", folder=folder / "results", **{**given, **changes})
    read: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return read


def test_a_result_holds_figures_and_every_run(tmp_path: Path) -> None:
    """The figures stand beside the runs they come from, and the settings."""
    read = write(tmp_path)
    assert read["figures"] == {"ratio": 2.5}
    assert read["runs"] == [{"student": 10.0, "teacher": 4.0}]
    assert read["settings"] == {"rounds": 1}
    assert read["pinning"] == "server on core 0"


def test_a_result_names_machine_versions_commit_and_command(tmp_path: Path) -> None:
    """Nothing needed to repeat a measurement is left out."""
    read = write(tmp_path)
    assert set(read["machine"]) >= {"cpu", "cores", "usable_cores", "memory_gib", "load_average"}
    assert read["machine"]["memory_gib"] > 0
    assert set(read["packages"]) == {"numpy"}
    assert set(read["commit"]) == {"revision", "dirty"}
    assert read["command"].startswith("python -m benchmarks.encoder")
    assert read["written_at"].endswith("+00:00")


def test_a_result_that_is_no_number_is_refused(tmp_path: Path) -> None:
    """A NaN is not published as a figure."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(tmp_path, figures={"ratio": float("nan")})


def test_a_command_tells_nothing_of_this_machines_folders() -> None:
    """Of an absolute path only the name is kept; all else is what was typed."""
    words = ["--teacher", "/srv/models/minilm", "--texts", "samples/articles.jsonl"]
    expected = "python -m benchmarks.encoder --teacher minilm --texts samples/articles.jsonl"
    assert results.command_line("encoder", words) == expected


def test_a_processor_is_named_with_its_model_number() -> None:
    """Virtual machines shorten the name; the numbers still tell generations apart."""
    assert results.cpu_model(CPUINFO) == "AMD EPYC (family 26, model 2)"


def test_a_processor_without_a_name_is_named_by_its_architecture() -> None:
    """Some kernels state none."""
    assert results.cpu_model("").endswith("(family ?, model ?)")


def test_a_commit_is_a_revision_and_whether_files_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """`dirty` is True exactly when git reports a change."""
    answers = {"rev-parse": "abc123", "status": " M service/app.py"}
    monkeypatch.setattr(results, "_git", lambda command, *_: answers[command])
    assert results.commit() == {"revision": "abc123", "dirty": True}
    answers["status"] = ""
    assert results.commit() == {"revision": "abc123", "dirty": False}


def test_outside_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive of the sources has no revision; it is not called clean."""
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert results.commit() == {"revision": None, "dirty": None}
