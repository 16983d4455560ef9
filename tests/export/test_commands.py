"""The command `newsbert export`: a table and a bundle, or one clear line and exit 1."""

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


def test_the_help_has_an_example_and_the_variables() -> None:
    """A reader of --help can run the command."""
    result = CliRunner().invoke(export, ["--help"], terminal_width=100)
    for part in ("Example: newsbert export", "NEWSBERT_DEV", "NEWSBERT_OUT", "NEWSBERT_SAMPLES"):
        assert part in result.output
