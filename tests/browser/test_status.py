"""The operator's page: what the metrics say, and how it is worked out of them."""

import json
import re
from typing import Any

import pytest

from tests.browser.chromium import Page
from tests.serving import Service

PAGE_OF_METRICS = r"""# HELP a_seconds Time.
# TYPE a_seconds histogram
a_seconds_bucket{le="0.1",route="/v1/x"} 10.0
a_seconds_bucket{le="0.5",route="/v1/x"} 90.0
a_seconds_bucket{le="+Inf",route="/v1/x"} 100.0
odd{text="a \"quoted\" \\ name, with = and }"} 1.5e3
bare NaN
"""


def card(page: Page, name: str) -> str:
    """Return the figure under a name."""
    script = f"[...document.querySelectorAll('dt')].find(e => e.textContent === {json.dumps(name)})"
    figure: str = page.evaluate(f"{script}.nextElementSibling.textContent")
    return figure


def by_module(page: Page, module: str, expression: str) -> Any:
    """Evaluate an expression with a module of the page as `m`."""
    return page.evaluate(f"import('/page/{module}.js').then(m => {expression})")


def test_figures_are_those_of_the_metrics(page: Page, served: Service) -> None:
    """Articles, model, namespace, store, strategies; each known to equal the store just now."""
    answer = served.client.post("/v1/recommendations", json={}).json()
    page.open(f"{served.url}/status")
    assert card(page, "Articles") == "432"
    assert card(page, "Model") == answer["model"]
    assert card(page, "Namespace") == answer["namespace"]
    assert card(page, "Generation") == str(answer["generation"])
    assert card(page, "Store") == "answers"
    assert card(page, "Known to equal the store") == "now"
    assert re.fullmatch(r"\d+ (s|min) ago|now", card(page, "Last change taken over"))
    assert "popular" in page.texts("#strategies th")
    assert "/v1/recommendations" in page.texts("#routes th")


def test_rates_and_percentiles_are_those_of_the_last_minute(page: Page, served: Service) -> None:
    """Drawn as they come; the page's own requests do not count."""
    page.open(f"{served.url}/status")
    page.expect("#requests dd >> nth=0").to_have_text("0.00")
    for _ in range(40):
        served.client.post("/v1/recommendations", json={})
    page.expect("#requests dd >> nth=0").to_have_text(re.compile(r"[1-9]\d*\.\d+"))
    assert card(page, "Median latency").endswith(" ms")
    assert (
        page.evaluate("document.querySelector('#requests path').getAttribute('d')").count("L") >= 1
    )
    page.click("#live")
    assert not page.evaluate("document.getElementById('live').checked")


def test_known_vectors_are_counted(page: Page, own_service: Service) -> None:
    """A text that is published again is not encoded again."""
    for topic in ("sports", "sports", "sports", "sports"):
        own_service.client.put("/v1/news/A1", json={"title": "Team wins", "topic": topic})
    page.open(f"{own_service.url}/status")
    page.expect("#encoder").to_contain_text("75 %")
    assert card(page, "Published with a known vector") == "3"


def test_metrics_that_cannot_be_read_are_told(page: Page, own_service: Service) -> None:
    """What was shown stays; the notice goes when the service is back."""
    page.open(f"{own_service.url}/status")
    own_service.kill()
    page.expect("#trouble").to_contain_text("cannot be read")
    assert card(page, "Articles") == "0"
    own_service.start()
    page.expect("#trouble").to_be_empty()
    page.problems[:] = [one for one in page.problems if "net::ERR_" not in one]


def test_the_text_format_is_read(page: Page, served: Service) -> None:
    """Escaped labels, exponents and what is no number, comments left out."""
    page.open(f"{served.url}/status")
    read = by_module(page, "metrics", f"m.read({json.dumps(PAGE_OF_METRICS)})")
    assert read[0] == {
        "name": "a_seconds_bucket", "labels": {"le": "0.1", "route": "/v1/x"}, "value": 10,
    }  # fmt: skip
    assert read[3]["labels"] == {"text": 'a "quoted" \\ name, with = and }'}
    assert [one["name"] for one in read[3:]] == ["odd", "bare"]
    assert read[3]["value"] == 1500


@pytest.mark.parametrize(
    ("q", "seconds"), [(0.05, 0.05), (0.1, 0.1), (0.5, 0.3), (0.9, 0.5), (0.99, 0.5)]
)
def test_a_quantile_is_found_within_its_bucket(
    page: Page, served: Service, q: float, seconds: float
) -> None:
    """As Prometheus estimates it; beyond the last bound it is that bound."""
    page.open(f"{served.url}/status")
    buckets = "[[0.1, 10], [0.5, 90], [Infinity, 100]]"
    assert by_module(page, "metrics", f"m.quantile({buckets}, {q})") == pytest.approx(seconds)
    assert by_module(page, "metrics", f"m.quantile([[1, 0], [Infinity, 0]], {q})") is None


def test_a_process_that_begins_anew_is_no_negative_rate(page: Page, served: Service) -> None:
    """Counts that went down count from nothing."""
    page.open(f"{served.url}/status")
    grown = by_module(page, "metrics", "m.since([[1, 5], [2, 9]], [[1, 2], [2, 3]])")
    assert grown == [[1, 3], [2, 6]]
    assert by_module(page, "metrics", "m.since([[1, 1], [2, 3]], [[1, 2], [2, 5]])") == [
        [1, 1],
        [2, 3],
    ]
