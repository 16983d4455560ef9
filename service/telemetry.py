"""What the service tells its operators: Prometheus metrics and one-line JSON logs."""

import logging
import sys

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LATENCY_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Telemetry:
    """The metrics of one process, in a registry of their own; labels come from fixed sets only."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "newsbert_request_seconds",
            "Time to answer, by route template and status.",
            ("route", "status"),
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "newsbert_requests_in_flight", "Requests being answered.", registry=self.registry
        )
        self.shed = Counter(
            "newsbert_requests_shed", "Requests refused under overload.", registry=self.registry
        )
        self.strategies = Counter(
            "newsbert_pages",
            "Pages of articles by strategy: recommendations, lists and searches.",
            ("strategy",),
            registry=self.registry,
        )
        self.rejected_vectors = Counter(
            "newsbert_vectors_rejected",
            "Stored vectors and readers' records that were damaged or of another space.",
            ("reason",),
            registry=self.registry,
        )
        self.feedback = Counter(
            "newsbert_feedback_events",
            "Events of readers by kind and by what became of them.",
            ("kind", "verdict"),
            registry=self.registry,
        )
        self.articles = Gauge(
            "newsbert_articles", "Articles in the snapshot.", registry=self.registry
        )
        self.generation = Gauge(
            "newsbert_generation", "Generation of the activation.", registry=self.registry
        )
        self.store_up = Gauge(
            "newsbert_store_up", "1 while the store answers.", registry=self.registry
        )

    def rejected(self, reason: str) -> None:
        """Count a stored vector that was refused."""
        self.rejected_vectors.labels(reason).inc()

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
