"""The images: pinned, non-root, no shell before the process; the service's is torch-free."""

import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SERVICE = ROOT / "docker/service.Dockerfile"
TRAINING = ROOT / "docker/training.Dockerfile"
HEAVY = {"torch", "transformers", "triton", "onnx", "matplotlib"}
Instruction = tuple[str, str]


def instructions(text: str) -> list[Instruction]:
    """Split a Dockerfile into (keyword, rest), comments left out and lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in joined.splitlines()]


def faults(text: str) -> set[str]:
    """Name what is wrong with a Dockerfile."""
    steps = instructions(text)
    last = dict(steps)
    arguments = dict(rest.partition("=")[::2] for keyword, rest in steps if keyword == "ARG")
    bases = [re.sub(r"\$\{(\w+)\}", lambda m: arguments[m[1]], r) for k, r in steps if k == "FROM"]
    pinned = r"\S+:\d+\.\d+\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?( AS \w+)?"
    installs = [rest for keyword, rest in steps if keyword == "RUN" and "pip install" in rest]
    claims = {
        "base not pinned": all(re.fullmatch(pinned, base) for base in bases),
        "one stage": len(bases) > 1,
        "runs as root": bool(re.fullmatch(r"[1-9]\d*:[1-9]\d*", last.get("USER", ""))),
        "not exec form": _is_exec_form(last.get("CMD", "")),
        "stop signal": last.get("STOPSIGNAL") == "SIGTERM",
        "no health check": "HEALTHCHECK" in last,
        "without constraints": all("--constraint constraints.txt" in rest for rest in installs),
    }
    return {claim for claim, holds in claims.items() if not holds}


def _is_exec_form(rest: str) -> bool:
    return rest.startswith("[") and all(isinstance(word, str) for word in json.loads(rest))


def installed_extras(text: str) -> set[str]:
    """Return the extras of this project that a Dockerfile installs."""
    found = re.findall(r"'\.\[([\w,]+)\]'", text)
    return {extra for group in found for extra in group.split(",")}


def closure(extras: Iterable[str]) -> set[str]:
    """Return every distribution that installing this project with the extras brings along."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"]]
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    found: set[str] = set()
    _follow(wanted, {""}, found)
    return found


def _follow(requirements: Iterable[str], extras: set[str], found: set[str]) -> None:
    for requirement in map(Requirement, requirements):
        name = canonicalize_name(requirement.name)
        marker = requirement.marker
        if name in found or (marker and not any(marker.evaluate({"extra": e}) for e in extras)):
            continue
        found.add(name)
        _follow(_requirements_of(name), {"", *requirement.extras}, found)


def _requirements_of(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []


@pytest.mark.parametrize("file", [SERVICE, TRAINING], ids=lambda f: f.stem)
def test_an_image_is_sound(file: Path) -> None:
    """Pinned base, two stages, numeric user, exec form, SIGTERM, a stated health check."""
    assert faults(file.read_text("utf-8")) == set()


@pytest.mark.parametrize(
    ("sound", "spoilt", "fault"),
    [
        ("USER 10001:10001", "USER root", "runs as root"),
        ("USER 10001:10001", "USER 0:0", "runs as root"),
        ("USER 10001:10001", "USER 10001:10001\nUSER 0:0", "runs as root"),
        ('CMD ["newsbert", "serve"]', "CMD newsbert serve", "not exec form"),
        ("STOPSIGNAL SIGTERM", "STOPSIGNAL SIGKILL", "stop signal"),
        ("HEALTHCHECK", "LABEL", "no health check"),
        ("python:3.12.12-slim-bookworm", "python:latest", "base not pinned"),
        (" --constraint constraints.txt", "", "without constraints"),
    ],
)
def test_an_unsound_image_is_noticed(sound: str, spoilt: str, fault: str) -> None:
    """Each claim has been seen to fail."""
    text = SERVICE.read_text("utf-8")
    assert sound in text
    assert faults(text.replace(sound, spoilt)) == {fault}


def test_the_service_image_installs_the_service_only() -> None:
    """Neither training nor export is copied or installed."""
    text = SERVICE.read_text("utf-8")
    assert installed_extras(text) == {"service"}
    copied = " ".join(rest for keyword, rest in instructions(text) if keyword == "COPY")
    assert not re.search(r"\b(training|export)\b", copied)


def test_the_service_image_is_torch_free() -> None:
    """Nothing that the service needs, however far down, is a training library."""
    found = closure(["service"])
    assert {"starlette", "protobuf"} <= found
    assert found & HEAVY == set()


def test_torch_would_be_noticed() -> None:
    """The guard above can fail: the training extra brings torch along."""
    assert {"torch", "transformers"} <= closure(["training"])


def test_the_training_image_trains_and_exports() -> None:
    """The image installs both stages and starts the command."""
    text = TRAINING.read_text("utf-8")
    assert installed_extras(text) == {"training", "export"}
    assert ("ENTRYPOINT", '["newsbert"]') in instructions(text)


@pytest.mark.parametrize("file", [SERVICE, TRAINING], ids=lambda f: f.stem)
def test_what_an_image_copies_is_let_through(file: Path) -> None:
    """Every source of a COPY is named in `.dockerignore`, which lets nothing else through."""
    ignore = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert ignore[1] == "*"
    admitted = {line[1:] for line in ignore if line.startswith("!")}
    copies = [r for k, r in instructions(file.read_text("utf-8")) if k == "COPY"]
    sources = [s for rest in copies if "--from" not in rest for s in rest.split()[:-1]]
    assert [s for s in sources if not any(s == a or s.startswith(f"{a}/") for a in admitted)] == []


def test_every_dependency_is_pinned() -> None:
    """`constraints.txt` names one exact version of whatever the four extras install."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[0-9][\w.]*", pin)] == []
    names = {canonicalize_name(pin.partition("==")[0]) for pin in pins}
    needed = closure(["service", "training", "export", "dev"])
    # What torch brings along for GPUs is left to torch.
    gpu = {n for n in needed if n.startswith(("nvidia-", "cuda-")) or n == "triton"}
    assert needed - names - gpu == set()


class Readiness(BaseHTTPRequestHandler):
    """Answers with the status that the server was given."""

    def do_GET(self) -> None:
        """Answer readiness, and nothing else, with that status."""
        is_asked = self.path == "/health/ready"
        self.send_response(self.server.status if is_asked else 500)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """Serve readiness on a free port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Readiness) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_tells_ready_from_not_ready(
    server: ThreadingHTTPServer, status: int, code: int
) -> None:
    """Exit 0 only for 200, also where a proxy is set in the environment."""
    server.status = status  # type: ignore[attr-defined]
    assert health_check(server.server_port) == code


def test_the_health_check_fails_when_nothing_listens(server: ThreadingHTTPServer) -> None:
    """A refused connection is not ready, and no traceback."""
    port = server.server_port
    server.server_close()
    assert health_check(port) == 1


def health_check(port: int) -> int:
    """Run the health check as the image does, and return its exit code."""
    settings = {"NEWSBERT_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
    command = [sys.executable, "-I", "-W", "error", str(ROOT / "docker/healthcheck.py")]
    result = subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, check=False, timeout=20
    )
    assert result.stderr == b""
    return result.returncode
