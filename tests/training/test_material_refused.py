"""Material: what is refused before anything is learnt, and by which name."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from contract.article import Article
from contract.held_out import hold_out
from contract.lines import MalformedFile
from contract.mind import read_folder, write_folder
from tests.builders import an_impression
from tests.tiny import a_config
from training.errors import ConfigError, DataError
from training.material import Inputs, read_material


def with_impressions(inputs: Inputs, folder: Path, *impressions: Any) -> Inputs:
    """Replace what is learnt from by a folder with the same articles."""
    write_folder(folder, read_folder(inputs.train).articles, impressions)
    return Inputs(folder, inputs.dev, inputs.cache, search=inputs.search)


def test_search_without_a_folder_or_without_queries_is_refused(
    inputs: Inputs, tmp_path: Path
) -> None:
    """By the name of the setting."""
    without = Inputs(inputs.train, inputs.dev, inputs.cache)
    with pytest.raises(ConfigError, match=r"tasks\.search is on, but no --search folder"):
        read_material(without, a_config())
    assert inputs.search is not None
    folder = shutil.copytree(inputs.search, tmp_path / "asked")
    (folder / "train.tsv").unlink()
    untaught = Inputs(inputs.train, inputs.dev, inputs.cache, search=folder)
    with pytest.raises(DataError, match=r"asked: tasks\.search is on, but train\.tsv has no query"):
        read_material(untaught, a_config())
    found = read_material(untaught, a_config(tasks={"search": 0.0})).search
    assert found is not None
    assert len(found.dev) == 4


def test_topics_without_any_topic_are_refused(inputs: Inputs, tmp_path: Path) -> None:
    """Off, the same folder serves."""
    articles = [Article(id=f"N{n}", title=f"Rain {n}") for n in range(30)]
    write_folder(tmp_path / "blank", articles, read_folder(inputs.train).impressions)
    blank = Inputs(tmp_path / "blank", inputs.dev, inputs.cache, search=inputs.search)
    with pytest.raises(
        DataError, match=r"tasks\.topics is on, but no article and no --topics file"
    ):
        read_material(blank, a_config())
    assert read_material(blank, a_config(tasks={"topics": 0.0})).topics == []


def test_fewer_topic_texts_in_a_step_than_taxonomies_are_refused(inputs: Inputs) -> None:
    """Beside clicks some would never be learnt; where topics lead, every text has its turn."""
    one = {"topic_texts_per_step": 1}
    message = r"distillation\.topic_texts_per_step = 1 is below the 2 taxonomies \(mind, papers\)"
    with pytest.raises(ConfigError, match=message):
        read_material(inputs, a_config(distillation=one))
    assert (
        len(read_material(inputs, a_config(distillation={"topic_texts_per_step": 2})).topics) == 5
    )
    for task in ("recommendation", "topics"):
        off = a_config(tasks={task: 0.0}, distillation=one)
        assert len(read_material(inputs, off).topics) == 5


KEPT, ASIDE = (
    next(str(n) for n in range(99) if hold_out(str(n), 0.1) == held) for held in (False, True)
)


@pytest.mark.parametrize(
    "impressions",
    [
        [],
        [an_impression(KEPT, clicks=(False, False))],
        [an_impression(KEPT, clicks=(True, True))],
        [an_impression(KEPT, candidates=("N2", "X9"))],
        [an_impression(ASIDE)],
        [an_impression(KEPT), an_impression(ASIDE, clicks=(True, True))],
    ],
    ids=["none", "no click", "no skip", "unknown skip", "all held out", "held out unrankable"],
)
def test_too_few_impressions_are_refused(
    inputs: Inputs, tmp_path: Path, impressions: list[Any]
) -> None:
    """Nothing to learn from, or to choose the epoch by; other tasks do not need them."""
    few = with_impressions(inputs, tmp_path / "few", *impressions)
    with pytest.raises(DataError, match="few: too few impressions with both a click and a skip"):
        read_material(few, a_config())
    assert len(read_material(few, a_config(tasks={"recommendation": 0.0})).train.articles) == 30


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("news.tsv", "only one column\n", r"news\.tsv, line 1"),
        ("behaviors.tsv", "1\tU1\t\tN1\tN2-7\n", r"behaviors\.tsv, line 1, column candidates"),
        ("topics.jsonl", '{"headline": "One"}\n', r"topics\.jsonl, line 1, column category"),
        ("texts.tsv", "Rain\n", r"texts\.tsv, line 1, column headline"),
        ("search/dev.tsv", "Q1\tone column short\n", r"dev\.tsv, line 1"),
    ],
)
def test_a_malformed_file_is_named(
    inputs: Inputs, tmp_path: Path, file: str, content: str, message: str
) -> None:
    """File, line and column, whichever task reads it."""
    assert inputs.search is not None
    folder = shutil.copytree(inputs.train, tmp_path / "bad")
    shutil.copytree(inputs.search, folder / "search")
    (folder / "topics.jsonl").write_text('{"headline": "One", "category": "rain"}\n')
    (folder / "texts.tsv").write_text("Rain\train\n")
    (folder / file).write_text(content)
    bad = Inputs(
        folder,
        inputs.dev,
        inputs.cache,
        topic_files=(folder / "topics.jsonl",),
        text_files=(folder / "texts.tsv",),
        search=folder / "search",
    )
    with pytest.raises(MalformedFile, match=message):
        read_material(bad, a_config())
