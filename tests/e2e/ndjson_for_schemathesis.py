"""Teach Schemathesis to send NDJSON; its process loads this file by SCHEMATHESIS_HOOKS."""

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def as_lines(context: object, value: object) -> bytes:
    """Send generated text as it is, and whatever else as one odd line."""
    return str(value).encode(errors="replace")
