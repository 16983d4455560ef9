"""Other packages beside ours: an environment of its own for each, and workers that run in them."""

import json
import os
import selectors
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.comparison import BenchmarkError
from benchmarks.cpu import pinned
from benchmarks.results import ROOT

WORKER = Path(__file__).with_name("peer_worker.py")
ENVIRONMENTS = ROOT / "var" / "peers"
PINS = "pins.json"
# What decides the speed of a package that runs on ONNX Runtime: the same release as ours.
SHARED_PINS = ("onnxruntime", "tokenizers", "numpy")
REQUEST_TIMEOUT_S = 600.0
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "INFINITY_LOG_LEVEL": "error",
}
# What is ours alone: our own tokeniser sets the last for the whole process, and a package that
# inherited it would tokenise on fewer threads than its users see.
NOT_INHERITED = ("NEWSBERT_", "TOKENIZERS_PARALLELISM")
Answer = dict[str, Any]


class PeerUnavailable(BenchmarkError):
    """A package cannot be measured; the message says why and names no place of this machine."""


@dataclass(frozen=True)
class Peer:
    """A public package; one that `borrows` runs on our libraries instead of its own choice."""

    name: str
    requirement: str
    borrows: bool = False
    note: str = ""

    def pins(self) -> list[str]:
        """Return what is installed: the package and, unless it borrows, the runtimes we use."""
        shared = () if self.borrows else SHARED_PINS
        return [self.requirement, *(f"{name}=={metadata.version(name)}" for name in shared)]


PEERS = {
    peer.name: peer
    for peer in (
        Peer("fastembed", "fastembed==0.9.1"),
        Peer(
            "infinity",
            "infinity-emb==0.0.78",
            borrows=True,
            note="on torch, transformers and sentence-transformers of this environment, which are "
            "newer than it asks for; its ONNX engine needs another transformers and is left out",
        ),
    )
}


def environment(
    peer: Peer, folder: Path = ENVIRONMENTS, run: Callable[..., Any] = subprocess.run
) -> Path:
    """Return the Python of a peer's environment, made on first use and whenever a pin changes."""
    home = folder / peer.name
    python = home / "bin" / "python"
    wanted = json.dumps([sys.version, sys.prefix, *peer.pins()])
    mark = home / PINS
    if mark.is_file() and mark.read_text("utf-8") == wanted:
        return python
    options = ["--no-deps"] if peer.borrows else []
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--retries", "1", "install"]
    try:
        run([sys.executable, "-m", "venv", "--clear", home], check=True, capture_output=True)
        run([*pip, "--quiet", *options, *peer.pins()], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise PeerUnavailable(f"{peer.requirement} cannot be installed") from error
    if peer.borrows:
        _borrow(home)
    mark.write_text(wanted, "utf-8")
    return python


def _borrow(home: Path) -> None:
    # A line of a .pth file is added to the search path: the same torch, no second gigabyte.
    libraries = next((home / "lib").glob("python*/site-packages"))
    (libraries / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", "utf-8")


class Worker:
    """A running worker; between two requests it is stopped, so that it costs the others nothing."""

    def __init__(
        self, name: str, process: "subprocess.Popen[bytes]", log: Path, timeout_s: float
    ) -> None:
        self.name, self.pid = name, process.pid
        self._process, self._log, self._timeout_s = process, log, timeout_s
        self._unread = b""
        started = time.perf_counter()
        self.ready = self._answer()
        self.ready_s = time.perf_counter() - started
        self._signal(signal.SIGSTOP)

    def ask(self, request: Mapping[str, Any]) -> Answer:
        """Send a request and wait; one that fails or takes too long raises PeerUnavailable."""
        self._signal(signal.SIGCONT)
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise PeerUnavailable(f"{self.name}: {self._last_word()}") from error
        found = self._answer()
        self._signal(signal.SIGSTOP)
        return found

    def _answer(self) -> Answer:
        line = self._line(time.monotonic() + self._timeout_s)
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise PeerUnavailable(f"{self.name}: answered {line[:60]!r}, which is no JSON object")
        return found

    def _line(self, give_up: float) -> bytes:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, give_up - time.monotonic())):
                    raise PeerUnavailable(f"{self.name}: no answer in {self._timeout_s:.0f} s")
                read = os.read(self._process.stdout.fileno(), 65_536)
                if not read:
                    raise PeerUnavailable(f"{self.name}: {self._last_word()}")
                self._unread += read
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _last_word(self) -> str:
        said = self._log.read_text("utf-8", errors="replace").strip().splitlines()
        # Where it happened is nobody's business: only the kind of error is told.
        return f"ended with {said[-1].partition(':')[0][:60]}" if said else "ended without a word"

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            os.kill(self.pid, number)


@contextmanager
def working(
    name: str,
    command: Sequence[str | Path],
    *,
    threads: int,
    logs: Path,
    timeout_s: float = REQUEST_TIMEOUT_S,
) -> Iterator[Worker]:
    """Run a worker on the first `threads` cores until the block ends, then kill it by its id."""
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{name}.log"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
    with log.open("wb") as errors, pinned(threads):
        process = subprocess.Popen(
            command,
            # No package may leave its files among ours.
            cwd=logs,
            env={**kept, **OFFLINE, "OMP_NUM_THREADS": str(threads)},
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    with process:
        try:
            yield Worker(name, process, log, timeout_s)
        finally:
            process.kill()
