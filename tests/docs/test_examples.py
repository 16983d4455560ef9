"""What README and API page tell a reader to run works, against what `make run` starts."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.commands import commands, request_of, scripts
from tests.serving import BUNDLE, ROOT, Service, environment, newsbert, serving

README = (ROOT / "README.md").read_text(encoding="utf-8")
API = (ROOT / "docs/api.md").read_text(encoding="utf-8")
SAMPLES = ("samples/articles.jsonl", "--behaviors", "samples/mind/train/behaviors.tsv")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Serve the shipped bundle and the sample catalogue, as the Makefile does."""
    folder = tmp_path_factory.mktemp("examples")
    store = f"sqlite:///{folder}/newsbert.sqlite"
    newsbert("refresh", *SAMPLES, "--store", store)
    with serving(BUNDLE, store, folder) as running:
        yield running


def run(script: str, service: Service) -> subprocess.CompletedProcess[str]:
    """Run a piece of Python with the address of this service in it."""
    script = script.replace("http://localhost:8000", service.url.rstrip("/"))
    command = [sys.executable, "-c", script]
    return subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("script", [*scripts(README), *scripts(API)])
def test_the_python_of_the_pages_runs(service: Service, script: str) -> None:
    """As it stands there, but for the port."""
    result = run(script, service)
    assert result.returncode == 0, result.stderr


def test_python_that_fails_is_noticed(service: Service) -> None:
    """The check above can fail."""
    script = scripts(API)[0].replace("[256, 256]", "[255, 255]")
    assert run(script, service).returncode == 1


@pytest.mark.parametrize("words", commands(README), ids=" ".join)
def test_the_commands_of_the_readme_answer(service: Service, words: list[str]) -> None:
    """Each with 200, and with articles where it is of articles."""
    answer = service.client.request(**request_of(words))
    assert answer.status_code == 200, answer.text
    assert answer.json().get("items", True)


def test_both_pages_have_examples() -> None:
    """A renamed fence must not make the tests above empty ones."""
    assert (len(scripts(API)), len(scripts(README))) == (2, 1)
    assert len(commands(README)) == len(
        [line for line in README.splitlines() if line.startswith("curl")]
    )


def test_the_samples_are_served_as_the_makefile_serves_them() -> None:
    """The same files; another catalogue would make another page."""
    assert " ".join(SAMPLES) in Path(ROOT / "Makefile").read_text("utf-8")
