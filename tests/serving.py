"""Run `newsbert` as what it is, a process of its own, and talk to it over HTTP."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.redis_server import free_port
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent
BUNDLE = ROOT / "bundles" / "newsbert"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0


class Service:
    """One `newsbert serve` process; the port stays over restarts, extra settings are variables."""

    MODULE = "newsbert"

    def __init__(self, bundle: Path, store: str, directory: Path, **settings: object) -> None:
        self.port = free_port()
        self._flags = ("--bundle", str(bundle), "--store", store, "--port", str(self.port))
        self._environment = {f"NEWSBERT_{k.upper()}": str(v) for k, v in settings.items()}
        directory.mkdir(parents=True, exist_ok=True)
        self._log = directory / f"service-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    @property
    def url(self) -> str:
        """Return where the service listens."""
        return str(self.client.base_url)

    @property
    def pid(self) -> int:
        """Return the id of the running process."""
        assert self._process is not None
        return self._process.pid

    def launch(self) -> None:
        """Start the process and return at once."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.MODULE, "serve", *self._flags],
                cwd=ROOT,
                env=environment(**self._environment),
                stderr=log,
                stdout=log,
            )

    def start(self) -> "Service":
        """Start the process and return when it is ready."""
        self.launch()
        self.wait_for("/health/ready")
        return self

    def wait_for(self, path: str, status: int = 200, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when a path answers with a status; fail when the process ends or time is up."""
        wait_until(lambda: self._answers(path, status), timeout_s, self.log)

    def kill(self) -> None:
        """End the process as a power cut would: SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """End the process as an operator does, SIGTERM, and return its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_TIMEOUT_S)

    def is_running(self) -> bool:
        """Say whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """Return what the process wrote to its log."""
        return self._log.read_text()

    def _answers(self, path: str, status: int) -> bool:
        assert self.is_running(), f"the service ended:\n{self.log()}"
        with suppress(httpx.TransportError):
            return self.client.get(path).status_code == status
        return False


@contextmanager
def serving(
    bundle: Path, store: str, directory: Path, *, ready: bool = True, **settings: object
) -> Iterator[Service]:
    """Run a service for the block; with `ready`, from when it is."""
    service = Service(bundle, store, directory, **settings)
    try:
        if ready:
            service.start()
        else:
            service.launch()
        yield service
    finally:
        service.kill()
        service.client.close()


def newsbert(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a sub-command to its end; fail with its words when it fails."""
    command = [sys.executable, "-m", "newsbert", *map(str, arguments)]
    result = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without settings of ours, one thread a library."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("NEWSBERT_")}
    return {**kept, "OMP_NUM_THREADS": "1", **variables}


def resident_bytes(pid: int) -> int:
    """Return how much memory a process holds (RSS)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def percentile(seconds: list[float], q: float) -> float:
    """Return a percentile of measured times."""
    return float(np.percentile(seconds, q))


def ids_of(answer: httpx.Response) -> list[str]:
    """Return the ids of a ranked answer; fail with its words when it is an error."""
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return [item["id"] for item in items]


def is_recommendable(client: httpx.Client, article_id: str) -> bool:
    """Say whether an article is among what may be recommended now."""
    return article_id in ids_of(
        client.post("/v1/recommendations", json={"candidates": [article_id], "n": 1})
    )


def degraded(service: Service) -> list[str]:
    """Return why a recommendation is less than it could be; fail when there is none."""
    answer = service.client.post("/v1/recommendations", json={})
    assert answer.status_code == 200, answer.text
    reasons: list[str] = answer.json()["degraded"]
    return reasons
