"""Joint learning: what a step moves and what it must not."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from contract.article import Article
from contract.text import TextSpec
from contract.tokens import TextTokenizer
from training.batches import TokenTable
from training.config import Config, LossWeights
from training.distill import (
    ClickData,
    choose_tuned,
    click_optimisation,
    click_scores,
    encode_both,
    epoch_batches,
    step_losses,
    take_step,
    topic_examples,
    total_loss,
)
from training.model import TeacherStudent
from training.model.student import embedding_table, transformer_layers
from training.teacher import train_tokenizer

MakePair = Callable[..., TeacherStudent]


@pytest.fixture
def pair(make_pair: MakePair) -> TeacherStudent:
    """Return four teacher layers and two student layers."""
    return make_pair()


def one_step(pair: TeacherStudent, data: ClickData, config: Config) -> None:
    """Take the first step of a run at full learning rate."""
    choose_tuned(pair, config.distillation)
    optimisation = click_optimisation(pair, config.distillation, steps=10)
    batch = epoch_batches(data, config, epoch=1)[0]
    parts = step_losses(pair, batch, data, config=config, step=0)
    take_step(pair, parts, optimisation, settings=config.distillation, step=0)


def changed(pair: TeacherStudent, before: TeacherStudent) -> set[str]:
    """Name the parameters that a step moved."""
    old = dict(before.named_parameters())
    return {n for n, p in pair.named_parameters() if not torch.equal(p, old[n])}


def test_a_step_updates_both_backbones_and_every_shared_module(
    pair: TeacherStudent, click_data: ClickData, without_dropout: Config
) -> None:
    """The authors' own code forgot the shared modules in its optimiser."""
    before = copy.deepcopy(pair)
    one_step(pair, click_data, without_dropout)
    moved = changed(pair, before)
    for module in (
        "student.news_encoder.backbone.embeddings.word_embeddings",
        "student.news_encoder.backbone.encoder.layer.0",
        "teacher.news_encoder.backbone.encoder.layer.3",
        "student.news_encoder.pooling.query",
        "student.news_encoder.dense",
        "student.user_encoder.pooling.query",
        "student.topic_head.linear",
        "student.click_model.scale",
        "student.click_model.attention",
        "student.click_model.temperature",
        "student.click_model.content",
    ):
        assert any(name.startswith(module) for name in moved), module


def test_the_students_losses_do_not_move_the_teacher(
    pair: TeacherStudent, click_data: ClickData, without_dropout: Config
) -> None:
    """The teacher's backbone has the same gradient whatever the student's losses weigh."""
    batch = epoch_batches(click_data, without_dropout, epoch=1)[0]
    found = []
    for weights in (LossWeights(), LossWeights(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)):
        pair.zero_grad()
        parts = step_losses(pair, batch, click_data, config=without_dropout, step=0)
        total_loss(parts, weights).backward()
        layer = transformer_layers(pair.teacher)[0]
        found.append([p.grad.clone() for p in layer.parameters() if p.grad is not None])
    assert found[0]
    torch.testing.assert_close(found[0], found[1])


def test_total_loss_is_the_teachers_plus_the_weighted_sum() -> None:
    """2 + 1 * 1 + 0.5 * 4, the rest weighing nothing."""
    names = ("teacher", "click", "distill", "embedding", "hidden", "pooled", "topic")
    values = (2.0, 1.0, 4.0, 9.0, 9.0, 9.0, 9.0)
    parts = {name: torch.tensor(value) for name, value in zip(names, values, strict=True)}
    weights = LossWeights(1.0, 0.5, 0.0, 0.0, 0.0, 0.0)
    assert total_loss(parts, weights).item() == pytest.approx(5.0)


def test_only_the_top_blocks_are_tuned_if_so_configured(
    pair: TeacherStudent, click_data: ClickData, without_dropout: Config
) -> None:
    """One block of two: student layer 1 and teacher layers 2 and 3 move, nothing below."""
    settings = replace(without_dropout.distillation, tuned_blocks=1, tune_embeddings=False)
    before = copy.deepcopy(pair)
    one_step(pair, click_data, replace(without_dropout, distillation=settings))
    moved = changed(pair, before)
    layers = {
        name.split("news_encoder")[0] + name.split(".layer.")[1].split(".")[0]
        for name in moved
        if ".layer." in name
    }
    assert layers == {"student.1", "teacher.2", "teacher.3"}
    assert not any("embeddings" in name for name in moved)
    assert not any(p.requires_grad for p in embedding_table(pair.teacher).parameters())


def test_central_encoding_equals_encoding_each_text_alone(
    pair: TeacherStudent, click_data: ClickData, without_dropout: Config
) -> None:
    """Bucketing and chunking change neither vectors, order nor losses."""
    articles = epoch_batches(click_data, without_dropout, epoch=1)[0].articles
    settings = replace(without_dropout.distillation, tokens_per_chunk=30)
    chunked = encode_both(
        pair,
        click_data.articles,
        articles,
        config=replace(without_dropout, distillation=settings),
    )
    at_once = encode_both(pair, click_data.articles, articles, config=without_dropout)
    torch.testing.assert_close(chunked.losses, at_once.losses)
    for place, article in enumerate(articles):
        alone = pair.student.news_encoder(*click_data.articles.tokens([article])).vector[0]
        torch.testing.assert_close(chunked.student[place], alone)


def test_scores_gather_history_and_candidates(
    pair: TeacherStudent, click_data: ClickData, without_dropout: Config
) -> None:
    """A row's scores are those of the click model for its own articles."""
    batch = epoch_batches(click_data, without_dropout, epoch=1)[0]
    vectors = torch.nn.functional.normalize(torch.randn(len(batch.articles), 8), dim=-1)
    scores = click_scores(pair.student, vectors, batch)
    history, candidates = vectors[batch.history[2]], vectors[batch.candidates[2]]
    user = pair.student.user_encoder(history[None], batch.history_mask[2:3])
    expected = pair.student.click_model.to_contract().score(
        user[0].detach().numpy(), history.numpy(), candidates.numpy()
    )
    torch.testing.assert_close(scores[2].detach(), torch.from_numpy(expected))


def test_the_topic_head_never_sees_topic_or_subtopic(pair: TeacherStudent) -> None:
    """Another category changes the answer to be learnt and the vector, but no logit."""
    spec = TextSpec()
    article = Article(id="N1", title="Rain storm", topic="film", subtopic="any")
    other = article.model_copy(update={"topic": "sports", "subtopic": "goal"})
    texts, numbers = topic_examples([article, other], ["film", "sports"], spec)
    full = [spec.text(article), spec.text(other)]
    tokenizer = TextTokenizer(train_tokenizer(full, 50).to_str().encode(), 12)
    table, seen = TokenTable(full, tokenizer), TokenTable(texts, tokenizer)
    logits = pair.student.topic_logits(*seen.tokens([0, 1]))
    vectors = pair.student.news_encoder(*table.tokens([0, 1])).vector
    assert numbers == [0, 1]
    assert torch.equal(logits[0], logits[1])
    assert not torch.equal(vectors[0], vectors[1])


def test_batches_of_an_epoch_depend_on_seed_and_epoch_alone(
    click_data: ClickData, config: Config
) -> None:
    """The same epoch twice is the same; the next one is another."""
    first, again, other = (epoch_batches(click_data, config, epoch=e) for e in (1, 1, 2))
    assert all(torch.equal(a.candidates, b.candidates) for a, b in zip(first, again, strict=True))
    assert [b.articles.tolist() for b in first] != [b.articles.tolist() for b in other]
