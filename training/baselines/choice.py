"""Choice: a baseline by its name, with what it learns from."""

from __future__ import annotations

import click

from contract.evaluate_command import Request
from contract.measuring import Predictor
from contract.mind import read_folder
from training.baselines import BASELINES


def check_baseline(name: str, request: Request) -> None:
    """Refuse a task that the baseline cannot do, and a command that lacks what it learns from."""
    tasks = BASELINES[name]
    if request.task not in tasks:
        raise click.UsageError(f"{name} does {', '.join(tasks)}, not {request.task}")
    if name in ("popularity", "topic-popularity") and request.train is None:
        raise click.UsageError(f"{name} needs --train DIR: the clicks that it counts")
    if name == "frozen-teacher" and request.teacher is None:
        raise click.UsageError("frozen-teacher needs --teacher, a hub id or folder")
    if request.task == "topics" and request.all_texts:
        raise click.UsageError("a baseline learns from the texts that --all-texts would measure on")
    if request.model != "student":
        raise click.UsageError("--model is for checkpoints")


def make_baseline(name: str, request: Request) -> Predictor:
    """Build a baseline whose command was checked."""
    from training.baselines import classifiers, lexical, popularity

    if name == "frozen-teacher" and request.teacher is not None:
        from training.baselines.frozen import frozen_teacher

        return frozen_teacher(request.teacher)
    if request.train is not None and name in ("popularity", "topic-popularity"):
        train = read_folder(request.train)
        by_article = name == "popularity"
        return popularity.by_article(train) if by_article else popularity.by_topic(train)
    plain = {"tf-idf": lexical.tf_idf, "bm25": lexical.bm25, "majority": classifiers.majority}
    return plain[name]()
