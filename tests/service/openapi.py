"""Write the documents that are made from the service: `python -m tests.service.openapi`."""

import json
from pathlib import Path
from typing import Any

from service.app import create_app
from service.problems import TABLE
from service.routes.answers import MEANINGS, UNKNOWN
from service.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- errors: made by `python -m tests.service.openapi` -->", "<!-- /errors -->"

# What no exception of the service stands for: status, code, meaning.
OTHERS = (
    (404, "not_found", "No such route."),
    (405, "method_not_allowed", "The route has no such method; `Allow` lists those it has."),
    (422, "invalid", MEANINGS[422]),
    (400, "bad_request", "The request names no version of HTTP."),
    (431, "headers_too_large", "The headers are over 32 KiB."),
    (500, "unexpected", "A defect of this service; the log has it under the request's id."),
)
DETAILS = {
    "unreadable_body": "The body is not JSON, ended early, or did not arrive in time.",
    "model_unknown": UNKNOWN["model_unknown"],
    "reader_unknown": UNKNOWN["reader_unknown"],
    "cursor_refused": "The cursor is malformed, too old, or of another request; start again.",
    "unanswerable": "The request asks for what this model or service does not have.",
    "overloaded": "Shed before any work was done.",
    "deadline_exceeded": "The time to answer ran out.",
    "not_ready": "No verified model or snapshot yet.",
    "store_unavailable": "The store does not answer; nothing was acknowledged that is not stored.",
}


def document() -> dict[str, Any]:
    """Return the OpenAPI document of the service."""
    return create_app(Settings(store="memory://")).openapi()


def as_text(value: dict[str, Any]) -> str:
    """Write JSON so that changes show line by line."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def error_table() -> str:
    """Return the error table of the API's page, from the service's own."""
    rows = [(status, code, DETAILS.get(code, MEANINGS[status])) for _, status, code in TABLE]
    lines = [f"| {s} | `{code}` | {meaning} |" for s, code, meaning in sorted([*rows, *OTHERS])]
    return "\n".join([BEGIN, "| status | code | meaning |", "|---|---|---|", *lines, END])


def with_table(page: str) -> str:
    """Put the error table into a page, where it stands already."""
    before, _, rest = page.partition(BEGIN)
    return before + error_table() + rest.partition(END)[2]


if __name__ == "__main__":
    (DOCS / "openapi.json").write_text(as_text(document()), encoding="utf-8")
    page = DOCS / "api.md"
    page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")
