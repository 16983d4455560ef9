"""Which URL opens which store, and which is refused."""

from pathlib import Path

import pytest

from service.adapters.memory_store import MemoryStore
from service.adapters.redis_store import RedisStore
from service.adapters.sqlite_store import SqliteStore
from service.adapters.stores import open_store, place_of
from tests.redis_server import RedisServer
from tests.stores import a_publication, get, put


def test_a_relative_sqlite_url_has_three_slashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path is taken from the working directory, and its folders are made."""
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///var/news.sqlite")
    assert isinstance(store, SqliteStore)
    store.close()
    assert (tmp_path / "var" / "news.sqlite").is_file()


def test_an_absolute_sqlite_url_has_four_slashes(tmp_path: Path) -> None:
    """The fourth is the path's own."""
    open_store(f"sqlite:///{tmp_path}/news.sqlite").close()
    assert (tmp_path / "news.sqlite").is_file()


def test_memory_needs_no_path() -> None:
    """Each call opens a store of its own."""
    first, second = open_store("memory://"), open_store("memory://")
    assert isinstance(first, MemoryStore)
    put(first, a_publication())
    assert second.fetch(["N1"], namespace="space-1") == {}


def test_a_redis_url_opens_redis(redis_server: RedisServer) -> None:
    """The database number is the path."""
    redis_server.run("FLUSHALL")
    store = open_store(redis_server.url.replace("/0", "/3"))
    put(store, a_publication())
    assert get(store).version == 1
    assert redis_server.run("DBSIZE") == 0
    store.close()


@pytest.mark.parametrize(
    "url",
    [
        "rediss://user:secret@example.org:6380/1",
        "redis+sentinel://one.example:26379,two.example/news/2",
        "redis+cluster://user:secret@one.example:7000,two.example:7001",
    ],
)
def test_redis_may_be_down_when_its_store_is_opened(url: str) -> None:
    """Nothing is connected before the first call."""
    store = open_store(url)
    assert isinstance(store, RedisStore)
    store.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "news.sqlite",
        "sqlite://",
        "sqlite:///",
        "sqlite://news.sqlite",
        "postgres://localhost/news",
        "redis://",
        "redis://localhost:port",
        "redis+sentinel://localhost:26379",
        "redis+sentinel://localhost:26379/news/first",
        "redis+cluster://:7000",
        "redis+cluster://user:secret@localhost:port",
    ],
)
def test_any_other_url_is_refused_with_examples(url: str) -> None:
    """The message shows what would be right, and never repeats a password."""
    with pytest.raises(ValueError, match=r"sqlite:///var/newsbert\.sqlite") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_a_place_has_one_name_whoever_asks() -> None:
    """User and password are no part of it."""
    urls = ["redis://user:secret@one.example:6379/1", "redis://one.example:6379/1"]
    assert place_of(urls[0]) == place_of(urls[1]) == urls[1]
    secret = place_of("redis://one.example:6379?db=2&password=secret")
    assert secret == "redis://one.example:6379?db=2"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("redis://one.example/1", "redis://one.example/2"),
        ("redis://one.example?db=1", "redis://one.example?db=2"),
        ("redis://one.example/1", "rediss://one.example/1"),
        ("sqlite:///news.sqlite", "sqlite:///other.sqlite"),
        ("sqlite:///news?1", "sqlite:///news?2"),
    ],
)
def test_another_place_has_another_name(one: str, other: str) -> None:
    """What was saved of one is not looked for with the other."""
    assert place_of(one) != place_of(other)


def test_a_relative_file_is_another_one_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name says where it is, as the absolute URL of it does."""
    monkeypatch.chdir(tmp_path)
    assert place_of("sqlite:///news.sqlite") == place_of(f"sqlite:///{tmp_path}/news.sqlite")
    monkeypatch.chdir(tmp_path.parent)
    assert place_of("sqlite:///news.sqlite") != place_of(f"sqlite:///{tmp_path}/news.sqlite")


def test_memory_is_no_place() -> None:
    """Another process would not find there what was saved of it."""
    assert place_of("memory://") is None
