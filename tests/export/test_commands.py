"""The command `newsbert export`: a bundle or a folder, or one clear line and exit 1."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from contract.bundle import open_bundle
from contract.mind import write_folder
from export.commands import export
from tests.export.models import a_checkpoint, a_clear_folder, a_contested_folder, a_folder
from training.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory with a checkpoint and a MIND folder."""
    root = tmp_path_factory.mktemp("command")
    checkpoint = a_checkpoint()
    save_checkpoint(root / "checkpoint", checkpoint)
    for name, folder in (("mind", a_clear_folder(checkpoint)), ("samples", a_folder())):
        write_folder(root / name, folder.articles, folder.impressions)
    return root


def run(folders: Path, *more: str, **environment: str) -> Result:
    """Run the command on the tiny checkpoint."""
    arguments = [str(folders / "checkpoint"), *more]
    return CliRunner().invoke(export, arguments, env=environment)


def test_it_writes_a_bundle_and_prints_the_table(folders: Path, tmp_path: Path) -> None:
    """Teacher, torch, float32 and int8 stand side by side, with figures, speed and size."""
    mind, samples = str(folders / "mind"), str(folders / "samples")
    out = tmp_path / "bundle"
    result = run(folders, "--dev", mind, "--samples", samples, "--out", str(out))
    assert result.exit_code == 0, result.output
    for part in ("teacher (at training)", "student, torch", "ONNX fp32", "ONNX int8", "texts/s"):
        assert part in result.output
    assert open_bundle(out).model in result.output


def test_every_option_has_an_environment_variable(folders: Path, tmp_path: Path) -> None:
    """The same bundle comes from the environment alone."""
    mind, samples = str(folders / "mind"), str(folders / "samples")
    out = tmp_path / "bundle"
    result = run(folders, NEWSBERT_DEV=mind, NEWSBERT_SAMPLES=samples, NEWSBERT_OUT=str(out))
    assert result.exit_code == 0, result.output
    assert open_bundle(out).manifest.dim == 8


@pytest.mark.parametrize("scheme", ["row", "static"])
def test_the_scheme_is_the_one_asked_for(folders: Path, tmp_path: Path, scheme: str) -> None:
    """The manifest names it."""
    mind, out = str(folders / "mind"), tmp_path / "bundle"
    result = run(folders, "--dev", mind, "--samples", mind, "--out", str(out), "--scheme", scheme)
    assert result.exit_code == 0, result.output
    assert open_bundle(out).manifest.provenance["quantisation"]["scheme"] == scheme


def test_the_sample_catalogue_is_what_golden_answers_come_from(folders: Path) -> None:
    """The default folder exists in the project."""
    default = next(o for o in export.params if o.name == "samples").default
    assert (Path(str(default)) / "news.tsv").is_file()


def test_a_failed_export_is_one_line_and_exit_1(folders: Path, tmp_path: Path) -> None:
    """A folder that is no checkpoint is named, without a traceback."""
    mind = str(folders / "mind")
    out = str(tmp_path / "bundle")
    result = CliRunner().invoke(export, [mind, "--dev", mind, "--samples", mind, "--out", out])
    assert result.exit_code == 1
    assert result.stderr.startswith("newsbert: ")
    assert len(result.stderr.splitlines()) == 1


def test_over_the_budget_is_exit_1_and_names_the_figure(folders: Path, tmp_path: Path) -> None:
    """Where int8 loses what torch had right, there is no bundle."""
    contested = a_contested_folder(a_checkpoint())
    write_folder(tmp_path / "contested", contested.articles, contested.impressions)
    samples, out = str(folders / "samples"), tmp_path / "bundle"
    dev = str(tmp_path / "contested")
    result = run(folders, "--dev", dev, "--samples", samples, "--out", str(out))
    assert result.exit_code == 1
    assert "over the parity budget: int8 AUC drop is 1.000000" in result.stderr
    assert not out.exists()


@pytest.mark.parametrize("missing", ["--dev", "--out"])
def test_wrong_usage_is_exit_2(folders: Path, tmp_path: Path, missing: str) -> None:
    """A missing option is a usage error that names it."""
    given = {"--dev": str(folders / "mind"), "--out": str(tmp_path / "bundle")}
    arguments = [part for name in given if name != missing for part in (name, given[name])]
    result = run(folders, *arguments)
    assert result.exit_code == 2
    assert missing in result.stderr


def test_a_sentence_transformers_folder_needs_no_clicks(folders: Path, tmp_path: Path) -> None:
    """Checkpoint and target are enough; the line says how to load it and how close it is."""
    out = tmp_path / "folder"
    result = run(folders, "--to", "sentence-transformers", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"SentenceTransformer('{out}')")
    assert "cosine to the checkpoint at least 1.0000" in result.stdout
    assert result.stderr == ""
    assert (out / "modules.json").is_file()


def test_what_to_write_can_come_from_the_environment(folders: Path, tmp_path: Path) -> None:
    """A folder to measure on that the environment names for other commands is no mistake."""
    out = tmp_path / "folder"
    to = "sentence-transformers"
    result = run(folders, NEWSBERT_TO=to, NEWSBERT_OUT=str(out), NEWSBERT_DEV=str(folders / "mind"))
    assert result.exit_code == 0, result.output
    assert (out / "modules.json").is_file()


@pytest.mark.parametrize("name", ["--dev", "--samples", "--scheme"])
def test_measuring_what_is_no_bundle_is_exit_2(folders: Path, tmp_path: Path, name: str) -> None:
    """What would be ignored is refused by name, before anything is read."""
    out, value = str(tmp_path / "folder"), "row" if name == "--scheme" else str(folders / "mind")
    result = run(folders, "--to", "sentence-transformers", "--out", out, name, value)
    assert result.exit_code == 2
    assert f"{name} is for a bundle" in result.stderr


def test_an_unknown_kind_is_exit_2_and_the_known_are_named(folders: Path, tmp_path: Path) -> None:
    """There are two kinds."""
    result = run(folders, "--to", "onnx", "--out", str(tmp_path / "folder"))
    assert result.exit_code == 2
    assert "'bundle', 'sentence-transformers'" in result.stderr


def test_a_folder_of_something_else_is_one_line_and_exit_1(folders: Path, tmp_path: Path) -> None:
    """Nothing is written where other files lie."""
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    result = run(folders, "--to", "sentence-transformers", "--out", str(tmp_path))
    assert result.exit_code == 1
    assert "not an earlier export: not replaced" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_the_help_has_an_example_and_the_variables() -> None:
    """A reader of --help can run the command."""
    result = CliRunner().invoke(export, ["--help"], terminal_width=100)
    for part in ("Example: newsbert export", *(f"NEWSBERT_{n}" for n in ("TO", "DEV", "OUT"))):
        assert part in result.output
    assert {"NEWSBERT_SAMPLES", "NEWSBERT_SCHEME"} <= set(re.findall(r"\w+", result.output))
