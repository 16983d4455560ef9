"""Batches: what meets in a step depends on seed, epoch and number alone."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.tiny import MEMBERS, NO_TOPICS, a_distillation, tiny_data
from training.batches import (
    Batch,
    ClickRow,
    QueryRow,
    StepSizes,
    TaskRows,
    batches_per_epoch,
    epoch_batches,
)
from training.distill import step_sizes

ROWS = tiny_data().rows
SIZES = step_sizes(a_distillation())


def epoch(rows: TaskRows = ROWS, sizes: StepSizes = SIZES, **settings: Any) -> list[Batch]:
    """Return an epoch's batches."""
    return list(epoch_batches(rows, sizes, **{"seed": 1, "epoch": 1, **settings}))


def written(batch: Batch) -> list[Any]:
    """Return all that a batch holds, for comparisons."""
    parts = (batch.clicks, batch.topics, batch.queries)
    tensors = [t.tolist() for part in parts if part is not None for t in vars(part).values()]
    return [batch.texts.tolist(), *tensors]


def click_rows_of(batch: Batch) -> list[ClickRow]:
    """Lead the indices of a batch back to rows of the token table."""
    assert batch.clicks is not None
    rows = []
    for history, read, candidates, shown in zip(*vars(batch.clicks).values(), strict=True):
        click, *skips = batch.texts[candidates[shown]].tolist()
        rows.append(ClickRow(tuple(batch.texts[history[read]].tolist()), click, tuple(skips)))
    return rows


def test_seed_epoch_and_number_fix_a_batch() -> None:
    """The same twice; another epoch or seed is another order."""
    first = [written(batch) for batch in epoch()]
    assert first == [written(batch) for batch in epoch()]
    for other in (epoch(epoch=2), epoch(seed=2)):
        assert first != [written(batch) for batch in other]


@pytest.mark.parametrize("first", [1, 3, 4])
def test_a_later_start_gives_the_same_later_batches(first: int) -> None:
    """So a resumed epoch goes on where it stopped, without making what is done."""
    assert [written(b) for b in epoch(first=first)] == [written(b) for b in epoch()[first:]]


def test_every_click_is_met_once_an_epoch() -> None:
    """Four batches of six for twenty clicks, the last one smaller; the click stands first."""
    batches = epoch(sizes=replace(SIZES, negatives=0))
    met = [row for batch in batches for row in click_rows_of(batch)]
    assert [len(click_rows_of(batch)) for batch in batches] == [6, 6, 6, 2]
    assert sorted(met, key=str) == sorted(ROWS.clicks, key=str)


def test_skips_are_drawn_anew_each_epoch() -> None:
    """Two of five each time, and over some epochs every one."""
    rows = replace(ROWS, clicks=[ClickRow((), 1, (2, 3, 4, 5, 6))])
    drawn = [click_rows_of(epoch(rows, replace(SIZES, negatives=2), epoch=n)[0]) for n in range(20)]
    assert {len(set(row.skips)) for (row,) in drawn} == {2}
    assert set().union(*(row.skips for (row,) in drawn)) == {2, 3, 4, 5, 6}


def test_no_negatives_per_click_means_all_skips() -> None:
    """0 draws none and keeps all."""
    rows = click_rows_of(epoch(sizes=replace(SIZES, negatives=0))[0])
    assert {len(row.skips) for row in rows} == {5}


def test_a_batch_holds_each_text_once() -> None:
    """However many histories, candidates, topics and queries need it."""
    for batch in epoch():
        assert len(set(batch.texts.tolist())) == len(batch.texts)


def test_without_central_encoding_every_real_slot_has_its_own_text() -> None:
    """The same rows, more texts: what a step costs where nothing is shared."""
    shared, slots = epoch()[0], epoch(distinct=False)[0]
    assert click_rows_of(shared) == click_rows_of(slots)
    assert slots.clicks is not None
    assert slots.topics is not None
    assert slots.queries is not None
    real = int(slots.clicks.history_mask.sum() + slots.clicks.candidate_mask.sum())
    assert len(slots.texts) == real + len(slots.topics.texts) + 2 * len(slots.queries.queries)
    assert set(slots.texts.tolist()) == set(shared.texts.tolist())


def test_a_labelled_text_keeps_its_number_and_competes_in_its_own_taxonomy() -> None:
    """Topics of the other taxonomy are no wrong answers: they are no answers."""
    known = ROWS.topics
    for batch in epoch():
        assert batch.topics is not None
        for row, number, members in zip(*vars(batch.topics).values(), strict=True):
            place = known.rows.tolist().index(batch.texts[row])
            assert number == known.numbers[place]
            assert members.tolist() == MEMBERS[known.taxonomies[place]].tolist()
            assert members[number]


def test_taxonomies_are_drawn_alike_however_large_they_are() -> None:
    """Fourteen texts of one and six of the other give three each, beside clicks."""
    for batch in epoch():
        assert batch.topics is not None
        assert batch.topics.members[:, 0].sum() == batch.topics.members[:, 2].sum() == 3


def test_what_does_not_divide_goes_to_the_first_taxonomies() -> None:
    """Five texts: three and two."""
    topics = epoch(sizes=replace(SIZES, topic_texts=5))[0].topics
    assert topics is not None
    assert topics.members.sum(dim=0).tolist() == [3, 3, 2, 2]


def test_a_query_meets_one_of_its_articles_and_none_of_the_others_counts_as_wrong() -> None:
    """Queries next to each other share an article: where it is drawn, it is masked for both."""
    masked = 0
    relevant = {row.query: row.relevant for row in ROWS.queries}
    for batch in (batch for n in range(5) for batch in epoch(epoch=n)):
        assert batch.queries is not None
        asked = batch.texts[batch.queries.queries].tolist()
        shown = batch.texts[batch.queries.articles].tolist()
        for i, query in enumerate(asked):
            assert shown[i] in relevant[query]
            wrong = [i == j or article not in relevant[query] for j, article in enumerate(shown)]
            assert batch.queries.mask[i].tolist() == wrong
            masked += wrong.count(False)
    assert masked > 0


def test_clicks_lead_then_topics_then_queries() -> None:
    """An epoch shows the leading task's rows once; a task that is off has none."""
    topics_lead = replace(ROWS, clicks=())
    queries_lead = replace(topics_lead, topics=NO_TOPICS)
    counts = [batches_per_epoch(r, SIZES) for r in (ROWS, topics_lead, queries_lead)]
    assert counts == [4, 4, 3]
    met = [b.texts[b.topics.texts] for b in epoch(topics_lead) if b.topics is not None]
    assert sorted(np.concatenate(met).tolist()) == list(range(30, 50))
    for batch in epoch(queries_lead):
        assert (batch.clicks, batch.topics) == (None, None)


def test_a_task_that_does_not_lead_goes_round_its_rows() -> None:
    """Four batches of four queries: all ten are met, none twice in a batch, then from the start."""
    asked = [b.texts[b.queries.queries].tolist() for b in epoch() if b.queries is not None]
    assert [len(set(queries)) for queries in asked] == [4, 4, 4, 4]
    in_turn = [query for queries in asked for query in queries]
    assert sorted(in_turn[:10]) == list(range(50, 60))
    assert in_turn[10:] == in_turn[:6]


def test_fewer_queries_than_a_batch_wants_come_once_each() -> None:
    """A query twice in a batch would be its own wrong answer."""
    rows = replace(ROWS, queries=[QueryRow(50, (1,)), QueryRow(51, (2,))])
    assert [b.queries and len(b.queries.queries) for b in epoch(rows)] == [2, 2, 2, 2]


def test_examples_are_what_a_batch_teaches() -> None:
    """Clicks, labelled texts and queries: 6 + 6 + 4, and 2 + 6 + 4 in the last batch."""
    assert [batch.examples for batch in epoch()] == [16, 16, 16, 12]
