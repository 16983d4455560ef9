"""The command measures all or says why not; a goal that is missed is no failure."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from benchmarks import encoder
from benchmarks.encoder_legs import OURS, Leg, LineUp
from benchmarks.encoder_rounds import team
from benchmarks.peers import PeerUnavailable
from benchmarks.results import ROOT


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
    assert figures["answers"][OURS]["passes"]
    assert figures["goals"]["two_layers_to_sentence_transformers"]["met"] is None
    assert {"teacher", "ours-1", "fastembed-our-graph"} <= set(figures["not_run"])
    assert content["settings"]["busy"] is True
    assert (tmp_path / "encoder.png").read_bytes().startswith(b"\x89PNG")
