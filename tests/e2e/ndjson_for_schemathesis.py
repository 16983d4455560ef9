"""Teach Schemathesis NDJSON, and what time it is.

Its process loads this file by SCHEMATHESIS_HOOKS.
"""

from datetime import UTC, datetime

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def as_lines(context: object, value: object) -> bytes:
    """Send generated text as it is, and whatever else as one odd line."""
    return str(value).encode(errors="replace")


@schemathesis.hook
def map_body(context: object, body: object) -> object:
    """Let every second event of a list happen now: of any other time none would be taken."""
    for event in body[::2] if isinstance(body, list) else ():
        if isinstance(event, dict) and isinstance(event.get("at"), str):
            event["at"] = datetime.now(UTC).isoformat()
    return body
