"""`newsbert bundle`: what an operator reads, what a machine reads, and how a refusal looks."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from contract.bundle import MODEL_CARD, TOPICS, Bundle, canonical_json
from contract.bundle_command import bundle as command
from tests.builders import a_bundle
from tests.contract.forging import replace

ROOT = Path(__file__).parents[2]
CARD = "# A card\n\n## Licence\n\nResearch\nuse only.\n\n## Limits\n\nNone.\n"
QUALITY: dict[str, Any] = {
    "at_training": {
        "teacher": {"recommendation": {"auc": 0.7, "impressions": 500}},
        "student": {"topics": {"mind": {"accuracy": 0.75, "macro_f": None, "texts": 4_000}}},
    },
    "parity": {"torch": {"auc": 0.6}, "int8": {"auc": 0.61, "size_bytes": 2_500_000}},
}
PROVENANCE: dict[str, Any] = {
    "teacher": "a-teacher",
    "data_sha256": {"train/news.tsv": "0123456789ab" + "f" * 52},
    "config": {"run": {f"setting_{i}": i for i in range(40)}},
}


def ran(*arguments: object, **environment: str) -> Result:
    """Run `newsbert bundle`."""
    return CliRunner(env=environment).invoke(command, [str(a) for a in arguments])


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """Give a bundle that has something to tell."""
    path = tmp_path / "told"
    a_bundle(path, quality=QUALITY, provenance=PROVENANCE, model_card=CARD)
    return path


def test_verify_prints_a_line_for_each_check(path: Path, bundle: Bundle) -> None:
    """In the order in which they are made, without colour; then what it does not prove."""
    result = ran("verify", path)
    *lines, last = result.stdout.splitlines()
    assert result.exit_code == 0
    assert [line[:2] for line in lines] == ["ok"] * len(lines)
    assert [" ".join(line[4:18].split()) for line in lines] == [
        "identity", "files", "contents", "graphs", "golden answers", "users", "batches",
    ]  # fmt: skip
    assert bundle.model in lines[0]
    assert "51 vectors, cosine at least 1.0000" in result.stdout
    assert last.startswith("This proves integrity, not authorship")
    assert "\x1b" not in result.stdout


def test_verify_gives_machines_the_same(path: Path, bundle: Bundle) -> None:
    """One JSON object, whether asked by the flag or by the environment."""
    told = json.loads(ran("verify", path, "--json").stdout)
    assert told["sound"] is True
    assert [check["name"] for check in told["checks"]][-1] == "batches"
    assert bundle.namespace in told["checks"][0]["found"]
    assert json.loads(ran("verify", path, NEWSBERT_JSON="1").stdout) == told


def test_a_refusal_is_one_line_and_exit_code_1(path: Path) -> None:
    """It names the refusal, the file and what is wrong; nothing is said to be sound."""
    (path / TOPICS).write_bytes(b"[]")
    result = ran("verify", path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(
        "newsbert: FileResized: topics.json: 2 bytes, the manifest says"
    )


def test_a_late_refusal_comes_after_what_held(path: Path) -> None:
    """Signed again, the files hold and the contents do not."""
    replace(path, TOPICS, canonical_json(["a"]))
    result = ran("verify", path)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 2
    assert "TopicsMismatch: topics.json: 1 topics, the manifest says 4" in result.stderr


@pytest.mark.parametrize("action", ["verify", "show"])
def test_machines_are_told_of_a_refusal(path: Path, action: str) -> None:
    """The refusal's name, the file and the problem, beside the line on stderr."""
    (path / TOPICS).unlink()
    result = ran(action, path, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "sound": False,
        "refusal": {"error": "FileMissing", "file": TOPICS, "problem": "is not there"},
        "checks": [],
    }


@pytest.mark.parametrize("action", ["verify", "show"])
def test_a_directory_that_is_not_there_is_refused(tmp_path: Path, action: str) -> None:
    """Like any other that holds no bundle."""
    result = ran(action, tmp_path / "nowhere")
    assert result.exit_code == 1
    assert "BundleMissing" in result.stderr


@pytest.mark.parametrize("action", ["verify", "show"])
def test_no_directory_is_wrong_usage(action: str) -> None:
    """Exit code 2, as everywhere."""
    assert ran(action).exit_code == 2


def test_show_is_a_readable_card(told: Path) -> None:
    """Identity, shape, text, topics by taxonomy, sizes, quality, provenance, licence."""
    result = ran("show", told)
    assert result.exit_code == 0
    shown = [" ".join(line.split()) for line in result.stdout.splitlines()]
    model = json.loads(ran("show", told, "--json").stdout)["model"]
    for line in (
        f"model {model}",
        "layers 1",
        "dim 8",
        "4 topics of mind sports, politics, finance, health",
        "tokenizer.json 1,684",
        "teacher (at training) 0.7000",
        "student, torch 0.6000",
        "student, ONNX int8 (shipped) 0.6100 2.5",
        "at_training/student/topics/mind accuracy 0.7500, texts 4,000",
        "teacher a-teacher",
        "data_sha256 train/news.tsv 0123456789ab",
        "config 40 values (--json shows them)",
        "Research use only.",
    ):
        assert line in shown
    assert "\x1b" not in result.stdout


def test_show_gives_machines_everything(told: Path, bundle: Bundle) -> None:
    """Nothing is shortened or left out."""
    facts = json.loads(ran("show", told, "--json").stdout)
    assert (facts["dim"], facts["layers"], facts["namespace"]) == (8, 1, bundle.namespace)
    assert facts["topics"] == {"mind": ["sports", "politics", "finance", "health"]}
    assert facts["text"]["max_tokens"] == 32
    assert (facts["quality"], facts["provenance"]) == (QUALITY, PROVENANCE)
    assert facts["licence"] == "Research use only."
    assert set(facts["files"]) == set(bundle.files)


@pytest.mark.parametrize("card", ["", "# A card\n\nFree.\n", "## Licence"])
def test_a_card_without_licence_is_said_to_have_none(tmp_path: Path, card: str) -> None:
    """Silence is not permission."""
    a_bundle(tmp_path / "bundle", model_card=card)
    assert "not stated on the model card" in ran("show", tmp_path / "bundle").stdout


def test_what_a_bundle_says_does_not_steer_the_terminal(tmp_path: Path) -> None:
    """Neither escape codes nor markup get through, and absurd numbers are left out."""
    evil = "\x1b[2J[red]x[/] :smile: "
    a_bundle(
        tmp_path / "bundle",
        provenance={evil: evil, "teacher": [evil]},
        quality={evil: {"auc": 10**400, evil: 0.5}, "x": {"size_bytes": 10**400, "auc": 1}},
        model_card=f"## Licence\n\n{evil}\n",
    )
    replace(tmp_path / "bundle", TOPICS, json.dumps([evil, "[/]", "b", "c\u202e"]).encode())
    result = ran("show", tmp_path / "bundle")
    assert result.exit_code == 0, result.exception
    assert {char for char in result.stdout if not char.isprintable()} == {"\n"}
    assert "[red]x[/] :smile:" in result.stdout
    assert "1.0000" in result.stdout
    assert ran("show", tmp_path / "bundle", "--json").stdout.isascii()


COMMANDS = """
import sys
import newsbert
for action in ("verify", "show"):
    newsbert.main(["bundle", action, sys.argv[1]], standalone_mode=False)
heavy = {"torch", "transformers", "onnx", "fastapi", "faiss", "redis", "training", "export"}
print("loaded:", *sorted(heavy & set(sys.modules)))
"""


def test_an_operator_needs_no_torch(path: Path) -> None:
    """`newsbert bundle` runs in the serving image, and takes its one thread."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    found = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(path)],
        capture_output=True, text=True, check=False, cwd=ROOT, env=environment, timeout=60,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "loaded:"


def test_the_shipped_bundle_is_sound() -> None:
    """What is in the repository is what a clone can trust."""
    result = ran("verify", ROOT / "bundles" / "newsbert")
    assert result.exit_code == 0, result.stderr
    assert MODEL_CARD in ran("show", ROOT / "bundles" / "newsbert").stdout
