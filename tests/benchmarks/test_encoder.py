"""The command measures all or says why not; a goal that is missed is no failure."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from benchmarks import encoder
from benchmarks.encoder_legs import OURS, REPEAT_OURS, Leg, LineUp
from benchmarks.encoder_rounds import Team, team
from benchmarks.peers import PeerUnavailable
from benchmarks.results import ROOT
from contract.bundle import CLICK_MODEL, GOLDEN, TOKENIZER, write_bundle
from export.package import draft
from tests.benchmarks.fakes import FakeWorker, a_leg, a_team
from tests.builders import a_bundle, bundle_facts, bundle_files
from tests.export.models import a_checkpoint
from training.checkpoint import save_checkpoint


@pytest.fixture(autouse=True)
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the checkpoint of `make train-bundle` would be: this machine's is no matter."""
    monkeypatch.setattr(encoder, "CHECKPOINT", tmp_path / "trained")
    return encoder.CHECKPOINT


def run(*words: str) -> Result:
    """Run the command as a user would, without other packages."""
    return CliRunner().invoke(encoder.main, ["--peers", "none", *words])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--peers", "fastembed,other"), "--peers other: only fastembed, infinity, or none"),
        (("--threads", "2"), "--threads 1 is what the goals are about"),
        (("--busy", "--count", "3"), "3 texts are fewer than there are rounds"),
        (("--bundle", str(ROOT / "samples")), "holds no manifest.json"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(
    words: tuple[str, ...], complaint: str, tmp_path: Path
) -> None:
    """Exit code 2, nothing written."""
    result = run(*words, "--busy", "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert complaint in result.output
    assert not (tmp_path / "out").exists()


def test_a_busy_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the user says otherwise, which the result records."""
    monkeypatch.setattr(encoder, "busy_cores", lambda: 1.5)
    result = run()
    assert result.exit_code == 2
    assert "--busy measures all the same" in result.output


@pytest.mark.parametrize("option", ["--bundle", "--bundle-1", "--bundle-3"])
def test_a_bundle_that_does_not_repeat_its_golden_answers_is_refused(
    option: str, tmp_path: Path
) -> None:
    """Before anything is timed: without a checkpoint nothing else tells that answers are wrong."""
    files = {**bundle_files(), GOLDEN: bundle_files(seed=1)[GOLDEN]}
    write_bundle(tmp_path / "other", files, bundle_facts())
    result = run(option, str(tmp_path / "other"), "--busy", "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert "benchmarks.encoder: golden.jsonl: " in result.output
    assert not (tmp_path / "out").exists()


def test_the_checkpoint_of_the_last_training_is_taken_for_its_own_bundle(
    checkpoint: Path, tmp_path: Path
) -> None:
    """And for no other one's."""
    trained = a_checkpoint()
    save_checkpoint(checkpoint, trained)
    files = {
        CLICK_MODEL: trained.model.click_model.to_contract().to_json(),
        TOKENIZER: trained.tokenizer_json,
    }
    assert encoder.checkpoint_of(draft(trained, files)) == checkpoint
    assert encoder.checkpoint_of(a_bundle(tmp_path / "b")) is None


def test_without_a_whole_checkpoint_the_benchmark_goes_on(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody named it: one of a training that goes on is told, one that is not there is not."""
    bundle = a_bundle(tmp_path / "b")
    assert encoder.checkpoint_of(bundle) is None
    assert capsys.readouterr().err == ""
    checkpoint.mkdir()
    assert encoder.checkpoint_of(bundle) is None
    assert "going on without the checkpoint" in capsys.readouterr().err


def test_the_result_says_how_many_texts_were_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All on one thread, the first half on two."""
    workers: list[FakeWorker] = []

    @contextmanager
    def fake_team(*_: Any) -> Iterator[Team]:
        workers.append(FakeWorker(OURS, []))
        yield a_team(tmp_path, {a_leg(OURS, "ours"): workers[-1]})

    monkeypatch.setattr(encoder, "team", fake_team)
    texts = [f"text {n}" for n in range(9)]
    figures, runs, _ = encoder.measure(settings(rounds=2, threads=(1, 2)), LineUp(), texts, [])
    assert [figures[f"threads_{n}"]["texts"] for n in (1, 2)] == [9, 4]
    # One thread goes on to other figures once its rounds are done.
    first, second = workers[0].timed[: 2 * REPEAT_OURS], workers[1].timed
    assert {text for part in first for text in part} == {*texts}
    assert {text for part in second for text in part} == {*texts[:4]}
    assert [run["threads"] for run in runs] == [1, 1, 2, 2]


def settings(**changed: Any) -> encoder.Settings:
    """Return the command's options, without bundles and packages."""
    given: dict[str, Any] = {
        **dict.fromkeys(("bundle", "bundle_1", "bundle_3", "checkpoint", "count", "out")),
        "teacher": "",
        "texts": (ROOT / "samples" / "articles.jsonl",),
        "peers": "none",
        "busy": True,
    }
    return encoder.Settings(**{**given, **changed})


def test_a_peer_that_is_left_out_or_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others run."""

    def missing(peer: Any) -> Path:
        raise PeerUnavailable(f"{peer.requirement} cannot be installed")

    monkeypatch.setattr("benchmarks.encoder_rounds.environment", missing)
    legs = [Leg(f"{kind}-student", kind, "student", tmp_path) for kind in ("fastembed", "infinity")]
    lined = LineUp(legs=legs)
    with team(lined, 1, ["infinity"], tmp_path) as together:
        assert together.legs == []
    assert lined.not_run == {
        "fastembed-student": "left out by --peers",
        "infinity-student": "infinity-emb==0.0.78 cannot be installed",
    }


@pytest.mark.slow
def test_ours_is_measured_without_teacher_and_peers(tmp_path: Path) -> None:
    """From the bundle and the samples alone; what is missing is in the result, with its reason."""
    result = run(
        *("--teacher", str(tmp_path / "nothing"), "--count", "60", "--rounds", "2"),
        *("--threads", "1", "--busy", "--out", str(tmp_path)),
    )
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "encoder.json").read_text("utf-8"))
    figures = content["figures"]
    assert list(figures["threads_1"]["legs"]) == [OURS]
    assert figures["threads_1"]["student_articles_per_s"]["median"] > 0
    assert figures["threads_1"]["texts"] == 60
    # Its golden answers were repeated, but there were no weights to compare with.
    assert figures["answers"][OURS]["passes"] is None
    assert content["settings"]["student_weights"] == "cut for timing"
    assert figures["goals"]["two_layers_to_sentence_transformers"]["met"] is None
    assert {"teacher", "ours-1", "fastembed-our-graph"} <= set(figures["not_run"])
    assert content["settings"]["busy"] is True
    assert (tmp_path / "encoder.png").read_bytes().startswith(b"\x89PNG")
