"""The examples of a page: its shell commands as requests, its Python as it is."""

import re
import shlex
from datetime import UTC, datetime
from typing import Any


def commands(page: str) -> list[list[str]]:
    """Return a page's curl commands, one list of words each."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").replace("|\n", "| ").splitlines()
    return [shlex.split(line) for line in lines if "curl" in line]


def scripts(page: str) -> list[str]:
    """Return a page's pieces of Python."""
    return re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def request_of(words: list[str]) -> dict[str, Any]:
    """Turn the words of a curl command (behind a printf, perhaps) into a request."""
    content = words[1].replace("\\n", "\n") if words[0] == "printf" else None
    words = words[words.index("curl") :]
    url = next(word for word in words if word.startswith("localhost:8000"))
    options = {words[i]: words[i + 1] for i in range(len(words) - 1) if words[i].startswith("-")}
    content = content or options.get("-d")
    if content:
        # What the page's shell has in a variable.
        content = content.replace("$now", datetime.now(UTC).isoformat())
    method = options.get("-X", "POST" if content else "GET")
    name, _, value = options.get("-H", "x-none: x").partition(": ")
    path = url.removeprefix("localhost:8000")
    return {"method": method, "url": path, "content": content, "headers": {name: value}}
