"""Open the store that a URL names."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from service.adapters.frames import OnRejected, ignore
from service.ports import Store

QUICK_TIMEOUT_S = 0.5
PATIENT_TIMEOUT_S = 2.0
EXAMPLES = (
    "sqlite:///var/newsbert.sqlite, sqlite:////srv/newsbert.sqlite, redis://localhost:6379/0, "
    "rediss://user:password@host:6379, redis+sentinel://host:26379,host:26379/service, "
    "redis+cluster://host:6379,host:6379, memory://"
)


def open_store(url: str, *, on_rejected: OnRejected = ignore) -> Store:
    """Open a store; `on_rejected` is told why each damaged value was passed over.

    A SQLite file is opened at once; Redis may be down and is asked on first use. Raise ValueError
    for a URL that names no store, and StoreError when the file cannot be used.
    """
    scheme, separator, rest = url.partition("://")
    try:
        if scheme == "memory" and separator:
            return _memory(on_rejected)
        if scheme == "sqlite" and len(rest) > 1 and rest.startswith("/"):
            return _sqlite(Path(rest[1:]), on_rejected)
        if scheme in {"redis", "rediss", "redis+sentinel", "redis+cluster"} and rest:
            return _redis(url, on_rejected)
    except ValueError as error:
        # The URL may hold a password, so it is not repeated.
        raise ValueError(f"not a store: {scheme} URL: {error}; examples: {EXAMPLES}") from error
    raise ValueError(f"not a store: expected a URL such as {EXAMPLES}")


def place_of(url: str) -> str | None:
    """Name what a URL opens: another place has another name; None for memory.

    Without user and password, with which the place would be the same.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "memory":
        return None
    if scheme == "sqlite":
        # Of a file that is named from here, the name means another one elsewhere.
        return f"sqlite:///{Path(rest[1:]).absolute()}"
    parts = urlsplit(url)
    database = "".join(parse_qs(parts.query).get("db", []))
    suffix = f"?db={database}" if database else ""
    return f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{suffix}"


def _memory(on_rejected: OnRejected) -> Store:
    from service.adapters.memory_store import MemoryStore

    return MemoryStore(on_rejected=on_rejected)


def _sqlite(path: Path, on_rejected: OnRejected) -> Store:
    from service.adapters.sqlite_store import SqliteStore

    path.parent.mkdir(parents=True, exist_ok=True)
    return SqliteStore(path, on_rejected=on_rejected)


def _redis(url: str, on_rejected: OnRejected) -> Store:
    from service.adapters.redis_servers import connector
    from service.adapters.redis_store import RedisStore

    return RedisStore(
        quick=connector(url, timeout_s=QUICK_TIMEOUT_S),
        patient=connector(url, timeout_s=PATIENT_TIMEOUT_S),
        on_rejected=on_rejected,
    )
