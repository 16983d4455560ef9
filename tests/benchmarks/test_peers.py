"""Other packages run in environments of their own, and one that misbehaves harms no other leg."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import peer_worker
from benchmarks.peers import PEERS, PINS, Peer, PeerUnavailable, environment, working

ECHO = """
import json, sys
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    print(json.dumps({"heard": json.loads(line)}), flush=True)
"""


def script(folder: Path, text: str) -> list[str]:
    """Write a worker and return its command."""
    file = folder / "worker.py"
    file.write_text(text, "utf-8")
    return [sys.executable, str(file)]


def state(pid: int) -> str:
    """Return what a process does: T is stopped, S sleeps."""
    return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]


def test_a_worker_answers_line_by_line(tmp_path: Path) -> None:
    """Each request has its answer; the first line answers none."""
    with working("echo", script(tmp_path, ECHO), threads=1, logs=tmp_path) as worker:
        assert worker.ready == {"ready": True}
        assert worker.ready_s > 0
        assert [worker.ask({"n": n}) for n in (1, 2)] == [{"heard": {"n": n}} for n in (1, 2)]


def test_a_worker_runs_on_its_cores_with_its_threads(tmp_path: Path) -> None:
    """The first core alone for one thread; and no hub is asked for anything."""
    told = """
import json, os
found = [len(os.sched_getaffinity(0)), *map(os.environ.get, ("OMP_NUM_THREADS", "HF_HUB_OFFLINE"))]
print(json.dumps({"ready": found}))
"""
    with working("told", script(tmp_path, told), threads=1, logs=tmp_path) as worker:
        assert worker.ready["ready"] == [1, "1", "1"]


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "NEWSBERT_TEACHER"])
def test_a_worker_inherits_nothing_that_is_ours_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Our tokeniser keeps to one thread in the whole process; another package chooses itself."""
    monkeypatch.setenv(name, "false")
    told = f"import json, os; print(json.dumps({{'ready': os.environ.get({name!r})}}))"
    with working("told", script(tmp_path, told), threads=2, logs=tmp_path) as worker:
        assert worker.ready["ready"] is None


def test_a_worker_that_waits_is_stopped(tmp_path: Path) -> None:
    """Between requests it uses no processor time, whatever threads it has."""
    with working("echo", script(tmp_path, ECHO), threads=1, logs=tmp_path) as worker:
        worker.ask({})
        time.sleep(0.05)
        assert state(worker.pid) == "T"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("print('warming up', flush=True); import time; time.sleep(60)", "no JSON object"),
        ("print('[1]', flush=True); import time; time.sleep(60)", "no JSON object"),
        ("raise ValueError('in a folder of mine')", "ended with ValueError$"),
        ("pass", "ended without a word"),
        ("import time; time.sleep(60)", "no answer in 1 s"),
    ],
)
def test_a_worker_that_fails_says_why_and_is_gone(
    tmp_path: Path, text: str, complaint: str
) -> None:
    """Its process is killed by its own number, and no place of the machine is told."""
    file = script(tmp_path, f"import os; open('pid', 'w').write(str(os.getpid()))\n{text}")
    with (
        pytest.raises(PeerUnavailable, match=complaint),
        working("bad", file, threads=1, logs=tmp_path, timeout_s=1),
    ):
        raise AssertionError
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text("utf-8")), 0)


def test_a_worker_that_dies_between_requests_is_noticed(tmp_path: Path) -> None:
    """Whether it is gone when asked or while it works."""
    once = "print('{}', flush=True); input(); raise MemoryError"
    with working("dies", script(tmp_path, once), threads=1, logs=tmp_path) as worker:
        for _ in range(2):
            with pytest.raises(PeerUnavailable, match="ended with MemoryError"):
                worker.ask({})


class FakePip:
    """Stands for subprocess.run: notes the commands and makes what venv would make."""

    def __init__(self, *, offline: bool = False) -> None:
        self.commands: list[list[str]] = []
        self._offline = offline

    def __call__(self, command: Sequence[Any], **settings: Any) -> None:
        """Run a command."""
        words = [str(word) for word in command]
        self.commands.append(words)
        if "venv" in words:
            (Path(words[-1]) / "lib" / "python3" / "site-packages").mkdir(parents=True)
            (Path(words[-1]) / PINS).unlink(missing_ok=True)
        elif self._offline:
            raise subprocess.CalledProcessError(1, words)


def test_an_environment_is_made_once(tmp_path: Path) -> None:
    """And again when a pin has changed."""
    pip = FakePip()
    for peer in (Peer("a", "a==1"), Peer("a", "a==1"), Peer("b", "b==1")):
        python = environment(peer, tmp_path, pip)
        assert python == tmp_path / peer.name / "bin" / "python"
    assert len(pip.commands) == 4
    assert "a==1" in pip.commands[1]
    assert any(word.startswith("onnxruntime==") for word in pip.commands[1])


def test_an_environment_whose_pins_changed_is_made_again(tmp_path: Path) -> None:
    """What the mark holds is what is installed."""
    mark = tmp_path / "a" / PINS
    mark.parent.mkdir()
    mark.write_text(json.dumps(["a==0"]), "utf-8")
    pip = FakePip()
    environment(Peer("a", "a==1"), tmp_path, pip)
    assert "--clear" in pip.commands[0]
    assert "a==1" in mark.read_text("utf-8")


def test_a_peer_that_borrows_finds_our_libraries(tmp_path: Path) -> None:
    """It is installed alone, and a path file leads to the rest."""
    pip = FakePip()
    environment(Peer("a", "a==1", borrows=True), tmp_path, pip)
    assert "--no-deps" in pip.commands[1]
    assert not any(word.startswith("onnxruntime") for word in pip.commands[1])
    file = next((tmp_path / "a").rglob("borrowed.pth"))
    assert Path(file.read_text("utf-8").strip()).is_dir()


def test_a_peer_that_cannot_be_installed_is_told(tmp_path: Path) -> None:
    """And nothing marks the half environment as whole."""
    with pytest.raises(PeerUnavailable, match=r"^a==1 cannot be installed$"):
        environment(Peer("a", "a==1"), tmp_path, FakePip(offline=True))
    assert not (tmp_path / "a" / PINS).exists()


def test_peers_are_pinned() -> None:
    """Each names one release."""
    assert all("==" in pin for peer in PEERS.values() for pin in peer.pins())


def encode(texts: list[str]) -> Any:
    """Return a vector of each text's length."""
    return np.array([[len(text), 1.0] for text in texts])


@pytest.mark.parametrize("singly", [False, True])
def test_the_worker_encodes_a_file(tmp_path: Path, singly: bool) -> None:
    """In one call or a call for each text; the vectors are the same, in order."""
    calls: list[int] = []
    texts, out = tmp_path / "texts.json", tmp_path / "vectors.npy"
    texts.write_text(json.dumps(["a", "bb", "ccc"]), "utf-8")

    def counted(batch: list[str]) -> Any:
        calls.append(len(batch))
        return encode(batch)

    request = {"encode": str(texts), "out": str(out), "singly": singly, "repeat": 2}
    found = peer_worker.timed(counted, request)
    assert calls == ([1] * 6 if singly else [3, 3])
    assert np.load(out)[:, 0].tolist() == [1, 2, 3]
    assert found["seconds"] > 0


def test_the_worker_times_one_text_alone() -> None:
    """The middle and the worst but one in a hundred, after one to warm up."""
    calls: list[list[str]] = []
    found = peer_worker.timed_alone(calls.append, {"alone": "a", "repeat": 9})
    assert calls == [["a"]] * 10
    assert 0 <= found["p50_ms"] <= found["p99_ms"]


def test_the_worker_keeps_its_answers_apart_from_what_packages_print(tmp_path: Path) -> None:
    """The real script with our own bundle, asked over its pipe."""
    bundle = Path(__file__).parents[2] / "bundles" / "newsbert"
    spec = json.dumps({"kind": "bundle", "folder": str(bundle), "threads": 1})
    command = [sys.executable, "-P", peer_worker.__file__, spec]
    with working("ours", command, threads=1, logs=tmp_path) as worker:
        assert worker.ready["ready"] is True
        assert worker.ask({"alone": "a goal", "repeat": 3})["p50_ms"] > 0
        assert 50 < worker.ask({"alone": "a goal", "repeat": 1})["peak_mb"] < 400
