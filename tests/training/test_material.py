"""Material: what a run learns from, what it is measured on, and what it refuses by name."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from contract.held_out import hold_out
from contract.mind import read_folder, write_folder
from contract.text import TextSpec
from contract.tokens import TextTokenizer
from contract.topics import TopicReport
from tests.tiny import a_config, tiny_tokenizer_json
from training.batches import TaskRows
from training.click_log_rows import ClickRows
from training.config import Config
from training.distill import needed_rows
from training.material import Inputs, Material, read_material, training_data
from training.texts import HeadlineReport

SPEC = TextSpec(max_tokens=12)
ONE_TASK = {"recommendation": 0.0, "topics": 0.0, "search": 0.0}


@pytest.fixture
def material(inputs: Inputs) -> Material:
    """Read everything, all tasks on."""
    return read_material(inputs, a_config())


class Recorder(TextTokenizer):
    """Remember what is tokenised."""

    seen: list[str]

    def rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokenise as usual."""
        self.seen = list(texts)
        return super().rows(texts)


def read_rows(
    material: Material, config: Config, spec: TextSpec = SPEC
) -> tuple[TaskRows, list[str]]:
    """Return the rows of all tasks and the texts that they stand for."""
    tokenizer = Recorder(tiny_tokenizer_json(), 12)
    return training_data(material, spec, tokenizer, config).rows, tokenizer.seen


def test_impressions_are_held_out_by_their_id(material: Material, inputs: Inputs) -> None:
    """The same ones always, about the configured share; the rest is learnt from, in its order."""
    everything = read_folder(inputs.train).impressions
    held = [i.id for i in everything if hold_out(i.id, 0.1)]
    assert [i.id for i in material.holdout.impressions] == held
    ids = list(material.train.ids())
    kept = [ids[number] for number in material.clicks.impressions]
    assert kept == [i.id for i in everything if i.id not in held]
    assert material.dev.impressions == everything


def test_nothing_is_held_out_where_the_last_epoch_ships(inputs: Inputs) -> None:
    """`holdout_share = 0` learns from every impression."""
    material = read_material(inputs, a_config(run={"holdout_share": 0.0}))
    assert len(material.clicks) == 30
    assert material.holdout.impressions == []


def test_topics_are_full_names_of_all_taxonomies_in_a_fixed_order(material: Material) -> None:
    """Sorted, so that the logits of two runs mean the same."""
    names = ["mind/film", "mind/politics", "mind/sports", "papers/sports", "papers/weather"]
    assert material.topics == names
    assert Counter(text.topic.split("/")[0] for text in material.labelled) == {
        "mind": 30,
        "papers": 40,
    }


def test_clicks_lead_back_to_the_articles_as_they_are_ranked(
    material: Material, inputs: Inputs
) -> None:
    """Topic and subtopic are part of the text, and held-out impressions make no rows."""
    rows, texts = read_rows(material, a_config())
    folder = read_folder(inputs.train)
    articles = {a.id: SPEC.text(a) for a in folder.articles}
    kept = [i for i in folder.impressions if not hold_out(i.id, 0.1)]
    for row, impression in zip(rows.clicks, kept, strict=True):
        expected = [articles[i] for i in (*impression.candidates, *impression.history)]
        assert [texts[n] for n in (row.click, *row.skips, *row.history)] == expected


def test_labelled_texts_are_learnt_but_for_every_tenth(material: Material) -> None:
    """By hash of the id; without topic and subtopic; among the topics of their taxonomy."""
    rows, texts = read_rows(material, a_config())
    kept = [text for text in material.labelled if not hold_out(text.id)]
    topics = rows.topics
    assert 0 < len(material.labelled) - len(kept) < 20
    assert [texts[row] for row in topics.rows] == [text.text for text in kept]
    assert [material.topics[n] for n in topics.numbers] == [text.topic for text in kept]
    for text, taxonomy in zip(kept, topics.taxonomies, strict=True):
        competing = {n for n, m in zip(material.topics, topics.members[taxonomy], strict=True) if m}
        own = text.topic.split("/")[0]
        assert competing == {name for name in material.topics if name.startswith(f"{own}/")}


def test_queries_lead_to_their_relevant_articles(material: Material) -> None:
    """Those of train.tsv; the measured ones are not learnt from."""
    rows, texts = read_rows(material, a_config())
    assert material.search is not None
    articles = {article.id: SPEC.text(article) for article in material.search.articles}
    found = [(texts[q.query], [texts[n] for n in q.relevant]) for q in rows.queries]
    wanted = [(q.text, [articles[i] for i in q.relevant]) for q in material.search.train]
    assert len(found) == 8
    assert found == wanted
    assert {q.id for q in material.search.dev}.isdisjoint(q.id for q in material.search.train)


def test_what_is_read_beside_the_articles_has_one_row_for_each_text(material: Material) -> None:
    """Ranked without topics, an article and its labelled text are one: a batch encodes it once."""
    titles = TextSpec(fields=("title",), max_tokens=12)
    rows, texts = read_rows(material, a_config(), titles)
    beside = texts[len(material.train.articles) :]
    assert len(set(beside)) == len(beside)
    assert set(beside).isdisjoint(texts[: len(material.train.articles)])
    mind = rows.topics.rows[rows.topics.taxonomies == 0]
    assert max(mind) < len(material.train.articles) <= min(rows.topics.rows[len(mind) :])


@pytest.mark.parametrize("task", list(ONE_TASK))
def test_a_task_that_is_off_has_no_rows(material: Material, task: str) -> None:
    """One task alone."""
    rows, _ = read_rows(material, a_config(tasks={**ONE_TASK, task: 1.0}))
    on = {
        "recommendation": len(rows.clicks),
        "topics": len(rows.topics.rows),
        "search": len(rows.queries),
    }
    assert {name for name, count in on.items() if count} == {task}


def test_another_category_changes_what_is_ranked_and_what_is_to_be_learnt_but_not_the_text(
    inputs: Inputs, tmp_path: Path
) -> None:
    """The topic head never sees topic or subtopic."""
    folder = read_folder(inputs.train)
    others = [
        a.model_copy(update={"topic": "rain", "subtopic": f"storm {a.id}"}) for a in folder.articles
    ]
    write_folder(tmp_path / "other", others, folder.impressions)
    other = Inputs(tmp_path / "other", inputs.dev, inputs.cache, search=inputs.search)
    first, second = (read_material(i, a_config()) for i in (inputs, other))
    pairs = list(zip(first.labelled, second.labelled, strict=False))
    assert len(pairs) == 30
    assert all(a.text == b.text and a.topic != b.topic for a, b in pairs)
    ranked = [[SPEC.text(a) for a in m.train.articles] for m in (first, second)]
    assert not set(ranked[0]) & set(ranked[1])


def test_what_is_left_out_is_counted_by_the_file_it_stood_in(
    inputs: Inputs, tmp_path: Path
) -> None:
    """MIND's articles, each file of texts and the search folder have a report each."""
    folder = read_folder(inputs.train)
    articles = [a.model_copy(update={"topic": ""}) for a in folder.articles[:2]]
    write_folder(tmp_path / "odd", [*articles, *folder.articles[2:]], folder.impressions)
    (tmp_path / "few.tsv").write_text("Rain\tweather\n\tweather\n")
    files = (*inputs.topic_files, tmp_path / "few.tsv")
    unlabelled = tmp_path / "few.txt"
    unlabelled.write_text("Rain\n\n")
    odd = replace(inputs, train=tmp_path / "odd", topic_files=files, text_files=(unlabelled,))
    material = read_material(odd, a_config())
    assert material.topic_reports == {
        odd.train / "news.tsv": TopicReport(texts=28, blank_topics=2),
        inputs.topic_files[0]: TopicReport(texts=40),
        files[1]: TopicReport(texts=1, empty_texts=1),
    }
    assert material.text_reports == {unlabelled: HeadlineReport(texts=1, empty_texts=1)}
    assert material.search is not None
    assert material.search.report.queries == 12


def test_the_rows_that_are_needed_are_found_without_walking_the_clicks(material: Material) -> None:
    """They are those that the clicks, taken one by one, the labelled texts and the queries read."""
    rows, _ = read_rows(material, a_config())
    assert isinstance(rows.clicks, ClickRows)
    walked = replace(rows, clicks=list(rows.clicks))
    assert needed_rows(rows).tolist() == needed_rows(walked).tolist()


def test_every_file_that_is_read_has_a_name_in_the_run(inputs: Inputs, tmp_path: Path) -> None:
    """What a search folder may lack is left out; it may hold its articles unpacked."""
    names = {f"{use}/{file}.tsv" for use in ("train", "dev") for file in ("news", "behaviors")}
    searched = {"search/news.jsonl.gz", "search/train.tsv", "search/dev.tsv"}
    assert set(inputs.files()) == names | searched | {"topics/papers.jsonl"}
    assert all(path.is_file() for path in inputs.files().values())
    for name in ("news.jsonl", "dev.tsv"):
        (tmp_path / name).write_text("")
    unpacked = Inputs(inputs.train, inputs.dev, inputs.cache, search=tmp_path)
    assert set(unpacked.files()) == names | {"search/news.jsonl", "search/dev.tsv"}
