"""Settings: what workers are told is what was set, and a secret is in nothing that is shown."""

from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from service.settings import Settings

SECRET = "hush hush é"
CHANGED: dict[str, Any] = {
    "bundle": Path("bundles/other one"),
    "store": "redis://:word@localhost:6379/0",
    "port": 0,
    "popularity_half_life_h": 0.1,
    "readers": "stateless",
    "reader_ttl_h": 1 / 3,
    "reader_key": SecretStr(SECRET),
    "exploration": 0.05,
    "snapshots": "",
}


@pytest.mark.parametrize("given", [{}, CHANGED])
def test_settings_come_back_from_their_environment(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]
) -> None:
    """All of them, to the last digit, the secret included."""
    settings = Settings(**given)
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings
    assert Settings().reader_key.get_secret_value() == settings.reader_key.get_secret_value()


def test_the_secret_is_not_shown() -> None:
    """Neither in what is printed, nor dumped, nor logged."""
    settings = Settings(reader_key=SecretStr(SECRET))
    with capture_logs() as events:
        structlog.get_logger().info("starting", settings=settings, key=settings.reader_key)
    shown = [repr(settings), str(settings), settings.model_dump_json(), repr(events)]
    assert not any("hush" in text for text in shown)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reader_ttl_h", 0),
        ("reader_ttl_h", float("inf")),
        ("popularity_half_life_h", 0.09),
        ("popularity_half_life_h", float("nan")),
        ("exploration", 0.51),
        ("exploration", -0.1),
        ("readers", "some"),
        ("history_timeout_s", 0),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, value: object) -> None:
    """At the start, not at the first request."""
    with pytest.raises(ValidationError):
        Settings(**{name: value})  # type: ignore[arg-type]
