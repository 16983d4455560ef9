"""The sample data keeps its rules, and the rules' checkers notice when it does not."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest

from samples import generate

SAMPLES = Path(generate.__file__).parent
MADE = (
    "clicks.jsonl",
    "mind/train/news.tsv",
    "mind/train/behaviors.tsv",
    "mind/dev/news.tsv",
    "mind/dev/behaviors.tsv",
)
KEYS = ["id", "title", "abstract", "topic", "subtopic", "source", "language", "age_hours"]
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
WORD = re.compile(r"[a-z]+")

Row = dict[str, Any]


def read_rows(name: str) -> list[Row]:
    """Read a file of one JSON object a line."""
    return [json.loads(line) for line in (SAMPLES / name).read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def articles() -> list[Row]:
    """Read the sample articles."""
    return read_rows("articles.jsonl")


@pytest.fixture(scope="module")
def log() -> list[Row]:
    """Read the sample click log."""
    return read_rows("clicks.jsonl")


def similar_titles(titles: Iterable[str]) -> list[tuple[str, str]]:
    """Return the pairs that share more than half the words of the shorter title."""
    words = [(title, frozenset(re.findall(r"[\w']+", title.lower()))) for title in titles]
    return [
        (first, second)
        for (first, a), (second, b) in combinations(words, 2)
        if 2 * len(a & b) > min(len(a), len(b))
    ]


def frequent_openings(titles: Iterable[str]) -> list[str]:
    """Return the first three words that begin more than five titles."""
    openings = Counter(" ".join(title.lower().split()[:3]) for title in titles)
    return [opening for opening, count in openings.items() if count > 5]


def repeated(values: Iterable[str]) -> list[str]:
    """Return the values that occur more than once."""
    return [value for value, count in Counter(values).items() if count > 1]


def small_topics(articles: Iterable[Row]) -> list[str]:
    """Return the topics of fewer than thirty articles."""
    topics = Counter(article["topic"] for article in articles)
    return [topic for topic, count in topics.items() if count < 30]


def malformed_articles(articles: Iterable[Row]) -> list[Row]:
    """Return the articles whose keys, id, names, age or lengths break the description."""
    return [article for article in articles if not is_well_formed(article)]


def is_well_formed(article: Row) -> bool:
    """Say whether an article has all fields in their form."""
    return (
        list(article) == KEYS
        and ID.fullmatch(article["id"]) is not None
        and WORD.fullmatch(article["topic"]) is not None
        and WORD.fullmatch(article["subtopic"]) is not None
        and article["language"] == "en"
        and 0.5 <= article["age_hours"] <= 168
        and 6 <= len(article["title"].split()) <= 13
        and 20 <= len(article["abstract"].split()) <= 45
    )


def inconsistent_impressions(log: Iterable[Row]) -> list[str]:
    """Return the ids of impressions that show known articles or miss what was clicked before."""
    histories: dict[str, list[str]] = {}
    bad = []
    for row in log:
        history, candidates, clicks = row["history"], row["candidates"], row["clicks"]
        expected = histories.get(row["user_id"], history)
        unique = len(set(history + candidates)) == len(history) + len(candidates)
        if history != expected or not unique or not set(clicks) <= set(candidates):
            bad.append(row["impression_id"])
        histories[row["user_id"]] = history + clicks
    return bad


def interest_shares(log: Iterable[Row], topic_of: dict[str, str]) -> tuple[float, float]:
    """Return the average shares of last clicks and candidates in a reader's top three topics."""
    last = {row["user_id"]: row for row in log}.values()
    clicked = shown = 0.0
    for row in last:
        topics = Counter(topic_of[i] for i in row["history"])
        top = {topic for topic, _ in topics.most_common(3)}
        clicked += share(row["clicks"], top, topic_of)
        shown += share(row["candidates"], top, topic_of)
    return clicked / len(last), shown / len(last)


def share(ids: list[str], topics: set[str], topic_of: dict[str, str]) -> float:
    """Return the share of articles that are of one of the topics."""
    return sum(topic_of[i] in topics for i in ids) / len(ids)


def test_there_are_twelve_topics_of_thirty_six_articles(articles: list[Row]) -> None:
    """The catalogue is balanced and large enough."""
    counts = Counter(article["topic"] for article in articles)

    assert len(counts) == 12
    assert set(counts.values()) == {36}
    assert not small_topics(articles)


def test_every_topic_has_three_to_five_subtopics(articles: list[Row]) -> None:
    """Subtopics divide a topic without crumbling it."""
    pairs = {(article["topic"], article["subtopic"]) for article in articles}

    assert set(Counter(topic for topic, _ in pairs).values()) <= {3, 4, 5}


def test_articles_are_well_formed(articles: list[Row]) -> None:
    """Every field is there and in its form."""
    assert not malformed_articles(articles)


def test_ids_titles_and_abstracts_are_unique(articles: list[Row]) -> None:
    """No article occurs twice, under whatever id."""
    for key in ("id", "title", "abstract"):
        assert not repeated(article[key] for article in articles)


def test_no_two_titles_share_more_than_half_their_words(articles: list[Row]) -> None:
    """Titles are written one by one, not filled into a template."""
    assert not similar_titles(article["title"] for article in articles)


def test_no_opening_occurs_more_than_five_times(articles: list[Row]) -> None:
    """Titles begin in varied ways."""
    assert not frequent_openings(article["title"] for article in articles)


def test_ages_vary(articles: list[Row]) -> None:
    """Both fresh and old stories exist."""
    ages = [article["age_hours"] for article in articles]

    assert min(ages) < 6
    assert max(ages) > 144
    assert len(set(ages)) > 200


def test_at_least_three_hundred_readers_have_three_to_six_impressions(log: list[Row]) -> None:
    """The log is wide enough to train and to evaluate on."""
    impressions = Counter(row["user_id"] for row in log)

    assert len(impressions) >= 320
    assert set(impressions.values()) == {3, 4, 5, 6}


def test_impressions_have_the_promised_sizes(log: list[Row]) -> None:
    """Histories, candidates and clicks stay within their ranges and reach both ends."""
    for key, smallest, largest in (("history", 3, 30), ("candidates", 8, 15), ("clicks", 1, 2)):
        sizes = {len(row[key]) for row in log}
        assert smallest == min(sizes), key
        assert max(sizes) <= largest, key


def test_all_ids_in_the_log_are_articles(log: list[Row], articles: list[Row]) -> None:
    """The log knows no article that the catalogue lacks."""
    known = {article["id"] for article in articles}

    assert all(set(row["history"] + row["candidates"]) <= known for row in log)
    assert not repeated(row["impression_id"] for row in log)


def test_candidates_are_new_and_clicks_join_the_next_history(log: list[Row]) -> None:
    """A reader's impressions follow from each other."""
    assert not inconsistent_impressions(log)


def test_readers_have_lasting_interests(log: list[Row], articles: list[Row]) -> None:
    """What readers clicked before tells what they click last, far better than chance does."""
    topic_of = {article["id"]: article["topic"] for article in articles}
    clicked, shown = interest_shares(log, topic_of)

    assert clicked >= 0.6
    assert clicked >= 2.5 * 3 / 12
    assert clicked >= 1.5 * shown


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write all made files into a fresh folder."""
    out = tmp_path_factory.mktemp("samples")
    generate.main(out)
    return out


@pytest.mark.parametrize("name", MADE)
def test_committed_files_are_what_the_generator_makes(name: str, made: Path) -> None:
    """Nobody edits the made files by hand, and they keep LF line endings."""
    content = (SAMPLES / name).read_bytes()

    assert content == (made / name).read_bytes()
    assert b"\r" not in content


def test_news_is_the_catalogue_in_both_splits(articles: list[Row]) -> None:
    """Eight columns hold what the articles say; an address and entities are absent."""
    train, dev = ((SAMPLES / "mind" / s / "news.tsv").read_text("utf-8") for s in ("train", "dev"))
    named = ("id", "topic", "subtopic", "title", "abstract")

    assert train == dev
    assert [line.split("\t") for line in train.splitlines()] == [
        [*(article[key] for key in named), "", "[]", "[]"] for article in articles
    ]


def test_dev_holds_each_readers_last_impression(log: list[Row]) -> None:
    """The splits hold the whole log, and the future is only in dev."""
    train, dev = behaviors("train"), behaviors("dev")
    last = {row["user_id"]: row["impression_id"] for row in log}

    assert [row["id"] for row in train + dev] == [row["impression_id"] for row in log]
    assert {row["user"]: row["id"] for row in dev} == last
    assert len(dev) == len(last)


def test_behaviors_say_what_the_log_says(log: list[Row]) -> None:
    """History, candidates and clicks survive the change of format."""
    for row, impression in zip(behaviors("train") + behaviors("dev"), log, strict=True):
        assert row["history"] == impression["history"]
        assert row["candidates"] == [
            f"{i}-{int(i in impression['clicks'])}" for i in impression["candidates"]
        ]


def test_times_increase_and_dev_follows_train() -> None:
    """No impression happens before one that was written earlier."""
    times = [row["time"] for row in behaviors("train") + behaviors("dev")]

    assert all(earlier < later for earlier, later in pairwise(times))


def behaviors(split: str) -> list[Row]:
    """Read the five columns of a split's `behaviors.tsv`."""
    rows = []
    for line in (SAMPLES / "mind" / split / "behaviors.tsv").read_text("utf-8").splitlines():
        number, user, time, history, shown = line.split("\t")
        when = datetime.strptime(f"{time} +0000", "%m/%d/%Y %I:%M:%S %p %z")
        lists = {"history": history.split(" "), "candidates": shown.split(" ")}
        rows.append({"id": number, "user": user, "time": when, **lists})
    return rows


@pytest.mark.parametrize(
    ("hour", "expected"),
    [
        (0, "11/9/2019 12:03:05 AM"),
        (9, "11/9/2019 9:03:05 AM"),
        (12, "11/9/2019 12:03:05 PM"),
        (23, "11/9/2019 11:03:05 PM"),
    ],
)
def test_times_are_written_on_a_twelve_hour_clock(hour: int, expected: str) -> None:
    """Midnight and noon are twelve; month, day and hour have no leading zero."""
    time = generate.FIRST_TIME.replace(hour=hour, minute=3, second=5)

    assert generate.mind_time(time) == expected


def test_near_identical_titles_are_noticed() -> None:
    """One changed word makes no new title; half the words may be shared."""
    titles = ["Gale tears roof off harbour hall", "Gale tears roof off village hall"]

    assert similar_titles(titles) == [(titles[0], titles[1])]
    assert not similar_titles(["one two three four", "One two: five six"])
    assert similar_titles(["one two three four", "One, two, three!"])


def test_a_sixth_equal_opening_is_noticed() -> None:
    """Five equal openings pass, whatever their case; six do not."""
    titles = [f"How to Cook dish {number}" for number in range(5)]

    assert not frequent_openings(titles)
    assert frequent_openings([*titles, "how to cook well"]) == ["how to cook"]


def test_a_repeated_value_is_noticed() -> None:
    """Uniqueness is checked over all values."""
    assert repeated(["S0001", "S0002", "S0001"]) == ["S0001"]


def test_a_small_topic_is_noticed(articles: list[Row]) -> None:
    """Twenty-nine articles are too few."""
    sports = [article for article in articles if article["topic"] == "sports"]

    assert small_topics(sports[:29]) == ["sports"]
    assert not small_topics(sports[:30])


@pytest.mark.parametrize(
    "change",
    [
        {"id": "S 1"},
        {"topic": "Sports"},
        {"subtopic": "two words"},
        {"language": ""},
        {"age_hours": 0.1},
        {"title": "Too short"},
        {"abstract": "Too short as well."},
        {"url": "https://news.example/1"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_malformed_article_is_noticed(change: Row, articles: list[Row]) -> None:
    """Each field's form is checked, and that there is no other field."""
    assert malformed_articles([articles[0] | change])


@pytest.mark.parametrize(
    "change",
    [
        {"candidates": ["S1", "S4"], "clicks": ["S4"]},
        {"candidates": ["S4", "S4"], "clicks": ["S4"]},
        {"history": ["S1"]},
        {"clicks": ["S9"]},
    ],
    ids=["candidate in history", "candidate twice", "click forgotten", "click on nothing shown"],
)
def test_an_inconsistent_impression_is_noticed(change: Row) -> None:
    """A log that contradicts itself fails its check."""
    first = an_impression("1", history=["S1"], candidates=["S2", "S3"], clicks=["S2"])
    second = an_impression("2", history=["S1", "S2"], candidates=["S3", "S4"], clicks=["S4"])

    assert not inconsistent_impressions([first, second])
    assert inconsistent_impressions([first, second | change]) == ["2"]


def test_readers_without_interests_are_noticed() -> None:
    """Clicks off a reader's topics lower the share of explained clicks."""
    topic_of = {"S1": "food", "S2": "food", "S3": "travel"}
    faithful = an_impression("1", history=["S1"], candidates=["S2", "S3"], clicks=["S2"])
    fickle = faithful | {"clicks": ["S3"]}

    assert interest_shares([faithful], topic_of) == (1.0, 0.5)
    assert interest_shares([fickle], topic_of) == (0.0, 0.5)


def an_impression(number: str, **lists: list[str]) -> Row:
    """Build an impression of reader R001."""
    return {"impression_id": number, "user_id": "R001", **lists}
