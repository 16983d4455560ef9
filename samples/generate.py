"""Make the sample click log and its MIND folders from the sample articles, always the same."""

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEED = 20191109
READERS = 340
FIRST_TIME = datetime(2019, 11, 9, 6, 0, 0, tzinfo=UTC)
BETWEEN_IMPRESSIONS = timedelta(seconds=307)

# How often a click goes to a favourite topic where one is on offer, and how much more a favourite
# subtopic of it is liked than the rest.
FIDELITY = 0.85
SUBTOPIC_BOOST = 2.0
WEEK_HOURS = 168.0


@dataclass(frozen=True, slots=True)
class Article:
    """A line of `articles.jsonl`."""

    id: str
    title: str
    abstract: str
    topic: str
    subtopic: str
    source: str
    language: str
    age_hours: float


@dataclass(frozen=True, slots=True)
class Habit:
    """How much a kind of reader reads: inclusive ranges."""

    first_history: tuple[int, int]
    impressions: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Reader:
    """A fictional reader with lasting interests."""

    id: str
    topics: frozenset[str]
    subtopics: frozenset[str]
    habit: Habit


@dataclass(frozen=True, slots=True)
class Impression:
    """A line of `clicks.jsonl`."""

    impression_id: str
    user_id: str
    history: list[str]
    candidates: list[str]
    clicks: list[str]


LIGHT = Habit(first_history=(3, 6), impressions=(3, 4))
REGULAR = Habit(first_history=(6, 12), impressions=(4, 5))
HEAVY = Habit(first_history=(12, 20), impressions=(5, 6))


def main(out: Path = HERE) -> None:
    """Write `clicks.jsonl` and the folders `mind/train` and `mind/dev` below `out`."""
    articles = read_articles()
    log = make_log(articles, random.Random(SEED))
    out.mkdir(parents=True, exist_ok=True)
    write_lines(out / "clicks.jsonl", (json.dumps(asdict(impression)) for impression in log))
    last = last_impressions(log)
    timed = list(zip(log, times(), strict=False))
    splits = {
        "train": [(seen, time) for seen, time in timed if seen.impression_id not in last],
        "dev": [(seen, time) for seen, time in timed if seen.impression_id in last],
    }
    for name, rows in splits.items():
        folder = out / "mind" / name
        folder.mkdir(parents=True, exist_ok=True)
        write_lines(folder / "news.tsv", map(news_line, articles))
        write_lines(folder / "behaviors.tsv", (behavior_line(*row) for row in rows))


def read_articles() -> list[Article]:
    """Read the sample articles that lie beside this file."""
    lines = (HERE / "articles.jsonl").read_text(encoding="utf-8").splitlines()
    return [Article(**json.loads(line)) for line in lines]


def make_log(articles: list[Article], rng: random.Random) -> list[Impression]:
    """Return all impressions in order of time, those of the last round after all others."""
    visits = [make_visits(make_reader(n, articles, rng), articles, rng) for n in range(READERS)]
    order = [index for index, own in enumerate(visits) for _ in own[:-1]]
    rng.shuffle(order)
    following = [iter(own) for own in visits]
    ordered = [next(following[index]) for index in order]
    ordered += [own[-1] for own in rng.sample(visits, len(visits))]
    return [Impression(str(n), *visit) for n, visit in enumerate(ordered, 1)]


def make_reader(number: int, articles: list[Article], rng: random.Random) -> Reader:
    """Draw a reader with one to three favourite topics and one or two subtopics of each."""
    topics = rng.sample(sorted({a.topic for a in articles}), rng.choice((1, 2, 2, 3)))
    subtopics: list[str] = []
    for topic in topics:
        offered = sorted({a.subtopic for a in articles if a.topic == topic})
        subtopics += rng.sample(offered, rng.randint(1, 2))
    (habit,) = rng.choices((LIGHT, REGULAR, HEAVY), weights=(5, 3, 2))
    return Reader(f"R{number + 1:03d}", frozenset(topics), frozenset(subtopics), habit)


def make_visits(
    reader: Reader, articles: list[Article], rng: random.Random
) -> list[tuple[str, list[str], list[str], list[str]]]:
    """Return a reader's impressions, oldest first: user id, history, candidates, clicks."""
    history = choose(reader, articles, rng.randint(*reader.habit.first_history), rng)
    visits = []
    for _ in range(rng.randint(*reader.habit.impressions)):
        candidates = make_candidates(reader, articles, history, rng)
        clicked = choose(reader, candidates, rng.choice((1, 1, 2)), rng)
        visits.append((reader.id, ids(history), ids(candidates), ids(clicked)))
        history = history + clicked
    return visits


def make_candidates(
    reader: Reader, articles: list[Article], history: list[Article], rng: random.Random
) -> list[Article]:
    """Draw 8 to 15 articles that the reader has not clicked, some of them of a favourite topic."""
    known = set(history)
    new = [article for article in articles if article not in known]
    favourites = [article for article in new if article.topic in reader.topics]
    others = [article for article in new if article.topic not in reader.topics]
    size = rng.randint(8, 15)
    liked = min(rng.randint(2, 4), len(favourites))
    candidates = rng.sample(favourites, liked) + rng.sample(others, size - liked)
    rng.shuffle(candidates)
    return candidates


def choose(
    reader: Reader, offered: list[Article], number: int, rng: random.Random
) -> list[Article]:
    """Return the articles, in order, that the reader clicks out of those offered."""
    left = list(offered)
    clicked: list[Article] = []
    for _ in range(number):
        faithful = rng.random() < FIDELITY
        pool = [a for a in left if (a.topic in reader.topics) == faithful] or left
        (article,) = rng.choices(pool, weights=[liking(reader, a) for a in pool])
        left.remove(article)
        clicked.append(article)
    return clicked


def liking(reader: Reader, article: Article) -> float:
    """Weigh an article within its pool: new stories and favourite subtopics are liked more."""
    freshness = 2.0 - article.age_hours / WEEK_HOURS
    favourite = article.topic in reader.topics and article.subtopic in reader.subtopics
    return freshness * (SUBTOPIC_BOOST if favourite else 1.0)


def ids(articles: Iterable[Article]) -> list[str]:
    """Return the articles' ids."""
    return [article.id for article in articles]


def last_impressions(log: list[Impression]) -> set[str]:
    """Return the id of each reader's last impression."""
    return set({impression.user_id: impression.impression_id for impression in log}.values())


def times() -> Iterator[datetime]:
    """Yield ever later times."""
    time = FIRST_TIME
    while True:
        yield time
        time += BETWEEN_IMPRESSIONS


def news_line(article: Article) -> str:
    """Return an article as a line of `news.tsv`: eight columns, no address, no entities."""
    columns = (article.id, article.topic, article.subtopic, article.title, article.abstract)
    return "\t".join((*columns, "", "[]", "[]"))


def behavior_line(impression: Impression, time: datetime) -> str:
    """Return an impression as a line of `behaviors.tsv`: five columns."""
    shown = " ".join(f"{c}-{int(c in impression.clicks)}" for c in impression.candidates)
    history = " ".join(impression.history)
    return "\t".join(
        (impression.impression_id, impression.user_id, mind_time(time), history, shown)
    )


def mind_time(time: datetime) -> str:
    """Write a time as MIND does, like `11/11/2019 1:03:52 PM`, whatever the locale."""
    half = "AM" if time.hour < 12 else "PM"
    return f"{time.month}/{time.day}/{time.year} {time.hour % 12 or 12}:{time:%M:%S} {half}"


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines with LF endings, on every system."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
