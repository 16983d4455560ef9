"""Schemathesis over the service's own OpenAPI page: no 5xx, no answer that is not documented."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import a_catalogue
from tests.service.events import a_click
from tests.serving import Service, environment, serving
from tests.waiting import wait_until

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance"
)
HOOKS = Path(__file__).parent / "ndjson_for_schemathesis.py"
EXAMPLES, SEED, TIMEOUT_S = 100, 7, 1_500
ARTICLES = 12


@pytest.mark.slow
def test_generated_requests_find_nothing_undocumented(
    store: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    """Examples, boundary values, random requests and sequences of them, valid and not."""
    with serving(tiny_bundle, store, tmp_path) as service:
        fill(service)
        operations = sum(
            len(methods) for methods in service.client.get("/openapi.json").json()["paths"].values()
        )
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json"),
            *("--checks", CHECKS, "--max-examples", str(EXAMPLES), "--seed", str(SEED)),
            *("--mode", "all", "--phases", "examples,coverage,fuzzing,stateful", "--no-color"),
        ]
        result = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment(SCHEMATHESIS_HOOKS=str(HOOKS)),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert result.returncode == 0, result.stdout[-20_000:] + result.stderr[-2_000:]
        assert re.search(rf"Tested: {operations}\b", result.stdout), result.stdout[-5_000:]
        assert service.is_running()
        assert "Traceback" not in service.log(), service.log()[-5_000:]


def fill(service: Service) -> None:
    """Publish articles and send an event under the ids that the examples name.

    So there is much to answer.
    """
    for number, article in enumerate(a_catalogue(ARTICLES), 1):
        body = {"title": article.title, "topic": article.topic}
        assert service.client.put(f"/v1/news/S{number:04}", json=body).status_code == 200
    assert service.client.post("/v1/feedback", json=[a_click()]).json()["accepted"] == 1
    count = f"newsbert_articles {float(ARTICLES)}"
    wait_until(lambda: count in service.client.get("/metrics").text, 10)
