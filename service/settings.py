"""Every setting of the service: one class, one prefix, typed."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read from `NEWSBERT_…`; what is unset has the default that suits one host."""

    model_config = SettingsConfigDict(env_prefix="NEWSBERT_", frozen=True)

    bundle: Path = Field(Path("bundles/newsbert"), description="directory of the bundle to serve")
    store: str = Field("sqlite:///var/newsbert.sqlite", description="URL of the store")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65_535, description="port to listen on")
    workers: int = Field(1, ge=1, le=64, description="processes that share the port")
    # Two threads on two cores encode 1.7 times as much as one (benchmarks/results/encoder.json);
    # by default no core is taken from what answers readers.
    threads: int = Field(1, ge=1, le=64, description="encoder threads of each process")

    max_body_bytes: int = Field(256 * 1024, ge=1, description="cap of a request body")
    max_batch_bytes: int = Field(32 * 1024**2, ge=1, description="cap of an NDJSON body")
    max_in_flight: int = Field(64, ge=1, description="requests answered at once; more are shed")
    receive_timeout_s: float = Field(10.0, gt=0, description="time to send a whole request body")
    request_timeout_s: float = Field(
        5.0, gt=0, description="time a publishing request waits for the encoder"
    )

    poll_interval_s: float = Field(0.05, gt=0, description="pause between looks at the change log")
    popularity_interval_s: float = Field(2.0, gt=0, description="pause between looks at popularity")
    popularity_half_life_h: float = Field(
        24.0,
        ge=0.1,
        le=24 * 365,
        description="hours in which a click of feedback loses half its weight",
    )
    readers: Literal["stored", "stateless"] = Field(
        "stored",
        description="stored keeps histories of readers; stateless refuses feedback and `user_id`",
    )
    reader_ttl_h: float = Field(
        30 * 24.0,
        gt=0,
        le=24 * 366 * 10,
        description="how long anything that a reader did counts; gone as long after at most",
    )
    reader_key: SecretStr = Field(
        SecretStr(""),
        description="key of readers' pseudonyms; one that the store makes where empty",
    )
    history_timeout_s: float = Field(
        0.025, gt=0, description="time that a recommendation waits for a reader's stored history"
    )
    exploration: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="share of slots drawn at random where a request names none",
    )
    history_ttl_h: float = Field(
        30 * 24.0, ge=0, description="how long an expired article still counts in histories"
    )
    retrieved: int = Field(300, ge=1, le=32_767, description="rows fully scored per request (R)")
    retrieval: Literal["auto", "exact"] = Field(
        "auto", description="auto searches an index from `index_rows` articles on; exact never does"
    )
    index_rows: int = Field(10_000, ge=1, description="articles from which on an index pays")
    # The most that costs no measurable clicks and keeps the sample readers content
    # (benchmarks/results/diversity.json).
    diversity: float = Field(
        0.05, ge=0, le=1, description="weight of novelty against score where a request names none"
    )
    same_story: float = Field(
        0.96, gt=0, le=1, description="cosine from which on two articles tell one story"
    )
    same_story_h: float = Field(
        72.0, gt=0, description="hours between two articles of one story, at most"
    )
    page_ttl_s: float = Field(1_800.0, gt=0, description="how long a cursor can be continued")
    snapshots: str = Field(
        "", description="folder to save snapshots in, for quick starts; none where empty"
    )
    snapshot_interval_s: float = Field(
        600.0, gt=0, description="pause between snapshots, if anything has changed"
    )
    max_texts: int = Field(256, ge=1, description="texts of one embeddings request")
    pages: bool = Field(True, description="serve the pages for people, at / and /status")

    def as_environment(self) -> dict[str, str]:
        """Return the settings as variables, for worker processes to read back."""
        return {f"NEWSBERT_{name.upper()}": _plain(value) for name, value in self}


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
