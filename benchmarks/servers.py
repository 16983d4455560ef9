"""Servers as processes on one core; only one of them runs while it is measured."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.comparison import BenchmarkError
from benchmarks.cpu import cpu_seconds, idle
from benchmarks.results import ROOT

SERVER_CORE = 0
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 20.0
NOT_PASSED = ("NEWSBERT_", "OPENBLAS_")
Answer = tuple[int, bytes]


class Server:
    """A running server; frozen, it uses no processor time at all."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.pid = process.pid
        self.port = port

    def url(self, path: str) -> str:
        """Return the address of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def post(self, path: str, body: bytes) -> Answer:
        """Send one JSON body; return status and answer."""
        return self._ask("POST", path, body)

    def get(self, path: str) -> Answer:
        """Ask for a path; return status and answer, status 0 where nothing listens yet."""
        try:
            return self._ask("GET", path, None)
        except ConnectionError:
            return 0, b""

    def freeze(self) -> None:
        """Stop the process where it stands."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def settle(self) -> None:
        """Wait until it has built what it builds in the background."""
        give_up = time.monotonic() + START_TIMEOUT_S
        while not idle(partial(cpu_seconds, self.pid)):
            if time.monotonic() > give_up:
                raise BenchmarkError(f"process {self.pid} is never idle")

    def _ask(self, method: str, path: str, body: bytes | None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@contextmanager
def running(
    arguments: Sequence[str], *, ready: str, log: Path, **settings: object
) -> Iterator[Server]:
    """Run `python -m …` on the server's core until the block ends; `ready` answers 200 first.

    Extra settings are those of the service.
    """
    port = free_port()
    command = ["taskset", "--cpu-list", str(SERVER_CORE), sys.executable, "-m", *arguments]
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=ROOT,
            env=environment(**settings),
            stdout=output,
            stderr=output,
        ) as process,
    ):
        server = Server(process, port)
        try:
            _wait(process, server, ready, log)
            yield server
        finally:
            _end(process, server)


def environment(**settings: object) -> dict[str, str]:
    """Return the environment of a process that is measured: one thread, the service's settings.

    Neither settings of the service nor of the numerical library are taken from here: which of its
    kernels suits the processor is the library's own choice, as it would be anywhere else.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_PASSED)}
    ours = {f"NEWSBERT_{name.upper()}": str(value) for name, value in settings.items()}
    return {**kept, **ours, "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(process: "subprocess.Popen[bytes]", server: Server, path: str, log: Path) -> None:
    give_up = time.monotonic() + START_TIMEOUT_S
    while server.get(path)[0] != http.client.OK:
        if process.poll() is not None or time.monotonic() > give_up:
            said = log.read_text("utf-8").strip().splitlines()
            raise BenchmarkError(f"{log.stem} does not start: {said[-1] if said else 'no word'}")
        time.sleep(0.1)


def _end(process: "subprocess.Popen[bytes]", server: Server) -> None:
    if process.poll() is None:
        server.thaw()
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
