"""Schemathesis over the service's own OpenAPI page: no 5xx, no answer that is not documented."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import environment, serving

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance"
)
HOOKS = Path(__file__).parent / "ndjson_for_schemathesis.py"
EXAMPLES, SEED, TIMEOUT_S = 60, 7, 600


@pytest.mark.slow
def test_generated_requests_find_nothing_undocumented(tiny_bundle: Path, tmp_path: Path) -> None:
    """Examples, boundary values and random requests, valid and not."""
    with serving(tiny_bundle, f"sqlite:///{tmp_path}/store.sqlite", tmp_path) as service:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json"),
            *("--checks", CHECKS, "--max-examples", str(EXAMPLES), "--seed", str(SEED)),
            *("--mode", "all", "--phases", "examples,coverage,fuzzing", "--no-color"),
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
        assert service.is_running()
        assert "Traceback" not in service.log(), service.log()[-5_000:]
