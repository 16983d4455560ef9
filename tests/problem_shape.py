"""What every error answer must be: the exact status, the one shape, small, and no input in it."""

from collections.abc import Iterable

import httpx

from service.problems import TABLE

# Put into every bad request somewhere: it must not come back in any answer.
MARKER = "XyZZyPlugh"
MAX_PROBLEM_BYTES = 1_024
# What the framework itself finds wrong, before any route.
GENERAL = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    422: "invalid",
    431: "headers_too_large",
}
CODES = {status: {code for _, s, code in TABLE if s == status} for _, status, _ in TABLE}


def check_problem(answer: httpx.Response, status: int, secrets: Iterable[str] = (MARKER,)) -> None:
    """Fail unless an answer is a well-formed error of that status which echoes no secret."""
    assert answer.status_code == status, (answer.status_code, answer.text[:500])
    assert len(answer.content) < MAX_PROBLEM_BYTES, f"{len(answer.content)} bytes"
    check_no_echo(answer, secrets)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    problem = answer.json()
    assert set(problem) == {"code", "message", "errors"}
    assert problem["code"] in CODES.get(status, set()) | {GENERAL.get(status)}
    assert all(set(one) == {"loc", "type"} for one in problem["errors"])


def check_no_echo(answer: httpx.Response, secrets: Iterable[str] = (MARKER,)) -> None:
    """Fail when an answer repeats one of the words, in its body or its headers."""
    told = answer.content + b"".join(k + v for k, v in answer.headers.raw)
    for secret in secrets:
        assert secret.encode() not in told, f"{secret} came back"


def check_log(log: str) -> None:
    """Fail when a log tells of a defect."""
    assert "Traceback" not in log, log
    assert '"unexpected"' not in log, log
