"""What the service tells its operators: Prometheus metrics and one-line JSON logs."""

import logging
import sys
from functools import partial

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LATENCY_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Telemetry:
    """The metrics of one process, in a registry of their own; labels come from fixed sets only."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        self.requests = Histogram(
            "newsbert_request_seconds",
            "Time to answer, by route template and status.",
            ("route", "status"),
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = gauge("newsbert_requests_in_flight", "Requests being answered.")
        self.shed = counter("newsbert_requests_shed", "Requests refused under overload.")
        self.strategies = counter(
            "newsbert_pages",
            "Pages of articles by strategy: recommendations, lists and searches.",
            ("strategy",),
        )
        self.rejected_vectors = counter(
            "newsbert_vectors_rejected",
            "Stored vectors and readers' records that were damaged or of another space.",
            ("reason",),
        )
        self.feedback = counter(
            "newsbert_feedback_events",
            "Events of readers by kind and by what became of them.",
            ("kind", "verdict"),
        )
        self.texts = counter(
            "newsbert_texts", "Texts published here: of a known vector, or encoded.", ("vector",)
        )
        self.encoder_waiting = gauge("newsbert_encoder_waiting", "Texts that wait for the encoder.")
        self.articles = gauge("newsbert_articles", "Articles in the snapshot.")
        self.index_rows = gauge(
            "newsbert_index_rows", "Articles that an index has; 0 where all of them are searched."
        )
        self.changed_at = gauge(
            "newsbert_snapshot_changed_timestamp_seconds",
            "When the snapshot last took over a change.",
        )
        self.confirmed_at = gauge(
            "newsbert_snapshot_confirmed_timestamp_seconds",
            "When the snapshot was last known to equal the store.",
        )
        self.model = gauge(
            "newsbert_model_info", "1; names the model that serves.", ("model", "namespace")
        )
        self.generation = gauge("newsbert_generation", "Generation of the activation.")
        self.store_up = gauge("newsbert_store_up", "1 while the store answers.")

    def rejected(self, reason: str) -> None:
        """Count a stored vector that was refused."""
        self.rejected_vectors.labels(reason).inc()

    def published(self, known: int, encoded: int) -> None:
        """Count texts to publish by whether their vectors were known."""
        self.texts.labels("known").inc(known)
        self.texts.labels("encoded").inc(encoded)

    def page(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def configure_logging(level: int = logging.INFO) -> None:
    """Log events as one JSON object a line on stderr; never bodies, histories or titles."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
