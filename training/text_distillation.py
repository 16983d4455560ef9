"""Text distillation: before any click, the student learns the teacher's sentence vectors.

The target space is fixed first: the shared dense layer becomes the teacher's principal directions,
so the frozen teacher's mean-pooled vectors (W wide) and the student's vectors (D wide) agree on all
inner products that D directions can hold.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from contract.article import Vectors
from contract.tokens import TextTokenizer
from training.config import Config, TextDistillationConfig
from training.device import autocast, device_of
from training.errors import DataError
from training.files import write_array
from training.losses import check_finite, cosine_loss, in_batch_loss, similarity_loss
from training.model.news_encoder import mean_pooled
from training.model.student import Student, TeacherStudent
from training.optimisation import Optimisation, parameter_group
from training.resume import State
from training.run import Run
from training.texts import DistillationTexts
from training.token_table import Rows, TokenTable, encode_in_chunks

STAGE = "text_distillation"
TEXTS_PER_SHARD = 8192
BATCHES_PER_WINDOW = 16


def distill_texts(
    pair: TeacherStudent,
    material: DistillationTexts,
    tokenizer: TextTokenizer,
    vectors: Path,
    *,
    config: Config,
    run: Run,
    state: State,
) -> None:
    """Train the student's embeddings, layers and pooling on unlabelled texts.

    `vectors` is the folder that keeps the vectors of exactly this teacher for these texts.
    """
    settings, texts = config.text_distillation, material.texts
    table = TokenTable(texts, tokenizer)
    known = teacher_vectors(pair.teacher, table, vectors, config=config, run=run)
    dense = pair.student.news_encoder.dense
    if not state.position.steps_done:
        set_directions(dense, principal_directions(known, pair.student.architecture.dim))
    targets = known @ dense.weight.detach().cpu().T  # (N, D)
    if pair.layers_per_block == 1:
        return  # A student as deep as its teacher starts as the teacher: nothing is left to learn.
    optimisation = _optimisation(pair.student, config, steps=_steps(len(texts), settings))
    state.restore_optimiser(pair, optimisation)
    # Without dropout: the target is a fixed function of the text, and the student is small.
    pair.eval()
    run.start_stage(STAGE, steps=_steps(len(texts), settings), done=state.position.steps_done)
    for step, rows in enumerate(text_batches(table.lengths, settings)):
        if step < state.position.steps_done:
            continue
        found = _encode(pair.student, table, rows, config)
        parts = {
            "cosine": cosine_loss(found, targets[rows].to(found.device)),
            "similarity": similarity_loss(found, known[rows].to(found.device)),
        }
        total = parts["cosine"] + settings.similarity_weight * parts["similarity"]
        if settings.contrastive_weight:
            chosen = pairs_of_step(material.pairs, settings, step)
            parts["contrastive"] = _pair_loss(pair.student, table, chosen, config)
            total = total + settings.contrastive_weight * parts["contrastive"]
        check_finite(step, parts)
        optimisation.backward(total)
        optimisation.unscale()
        optimisation.step(step)
        rate = optimisation.learning_rate
        run.log(step, parts, news=len(rows), examples=len(rows), total=total, learning_rate=rate)
        run.save_if_due(step, model=pair, optimisation=optimisation)


def pairs_of_step(pairs: Rows, settings: TextDistillationConfig, step: int) -> Rows:
    """Draw a step's titles and abstracts (P, 2); seed and step fix them."""
    if not len(pairs):
        raise DataError(
            "text_distillation.contrastive_weight is on, but no text has both title and abstract"
        )
    random = np.random.default_rng((settings.seed, settings.passes, step))
    count = min(settings.pairs_per_step, len(pairs))
    return pairs[random.choice(len(pairs), size=count, replace=False)]


def _pair_loss(student: Student, table: TokenTable, pairs: Rows, config: Config) -> Tensor:
    """Return the loss of finding each title's abstract among those of the step."""
    titles = _encode(student, table, pairs[:, 0], config)
    abstracts = _encode(student, table, pairs[:, 1], config)
    scores = titles @ abstracts.T / config.text_distillation.contrastive_temperature
    # A text that two pairs share is no wrong answer for either.
    same = (pairs[:, None, :] == pairs[None, :, :]).any(axis=-1)
    mask = torch.from_numpy(~same | np.eye(len(pairs), dtype=bool))
    return in_batch_loss(scores, mask.to(scores.device))


def _encode(student: Student, table: TokenTable, rows: Rows, config: Config) -> Tensor:
    device = device_of(student)
    with autocast(config.run.precision, device):
        vectors: Tensor = student.news_encoder(*table.tokens(rows, device)).vector  # (B, D)
    return vectors


def text_batches(lengths: Rows, settings: TextDistillationConfig) -> list[Rows]:
    """Return every step's rows: shuffled each pass, of like length inside a window of batches."""
    size = settings.texts_per_step
    batches: list[Rows] = []
    for number in range(settings.passes):
        random = np.random.default_rng((settings.seed, number))
        order = random.permutation(len(lengths))
        windows = np.array_split(order, max(1, len(order) // (size * BATCHES_PER_WINDOW)))
        ordered = np.concatenate([w[np.argsort(lengths[w], kind="stable")] for w in windows])
        cuts = [ordered[start : start + size] for start in range(0, len(ordered), size)]
        # A similarity matrix needs two texts.
        usable = [cut for cut in cuts if len(cut) > 1]
        batches += [usable[i] for i in random.permutation(len(usable))]
    return batches


def principal_directions(vectors: Tensor, dim: int) -> Tensor:
    """Return the `dim` orthonormal directions (D, W) that hold most of the inner products.

    Uncentred, because inner products of the vectors (N, W) are to be kept; directions beyond W
    are zero.
    """
    exact = vectors.double()
    _, basis = torch.linalg.eigh(exact.T @ exact)
    leading = basis.T.flip(0)[:dim].float()
    directions = torch.zeros(dim, vectors.shape[1])
    directions[: len(leading)] = leading
    return directions


def set_directions(dense: nn.Linear, directions: Tensor) -> None:
    """Make a dense layer project onto the given directions."""
    with torch.no_grad():
        dense.weight.copy_(directions)
        dense.bias.zero_()


def teacher_vectors(
    teacher: Student, table: TokenTable, folder: Path, *, config: Config, run: Run
) -> Tensor:
    """Return the teacher's mean-pooled vectors (N, W), kept in shards in a folder of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[Vectors] = []
    for start in range(0, len(table), TEXTS_PER_SHARD):
        path = folder / f"{start // TEXTS_PER_SHARD:04}.npy"
        if not path.exists():
            rows = np.arange(start, min(start + TEXTS_PER_SHARD, len(table)))
            write_array(path, encode_mean_pooled(teacher, table, rows, config.run.precision))
            run.note(f"teacher vectors: {rows[-1] + 1:,} of {len(table):,} texts")
        shards.append(np.load(path, allow_pickle=False))
    # Torch's own memory is aligned, NumPy's only by chance, and rounding depends on alignment.
    return torch.from_numpy(np.concatenate(shards)).clone()


@torch.no_grad()
def encode_mean_pooled(teacher: Student, table: TokenTable, rows: Rows, precision: str) -> Vectors:
    """Return the unit mean of the teacher's last states for some texts: (N, W)."""
    teacher.eval()
    device = device_of(teacher)

    def encode(ids: Tensor, mask: Tensor) -> tuple[Tensor]:
        with autocast(precision, device):
            states = teacher.news_encoder(ids, mask).hidden_states[-1]
        return (mean_pooled(states, mask).cpu(),)

    (found,) = encode_in_chunks(table, rows, encode, device=device)
    vectors: Vectors = found.numpy()
    return vectors


def _optimisation(student: Student, config: Config, *, steps: int) -> Optimisation:
    # The dense layer stays put: the teacher shares it, and it defines the space to be learnt.
    # Frozen, not merely left out: its gradients would pile up until the next stage's first step.
    settings, encoder = config.text_distillation, student.news_encoder
    encoder.dense.requires_grad_(False)
    group = parameter_group("encoder", [encoder.backbone, encoder.pooling], settings.learning_rate)
    return Optimisation(
        [group],
        steps=steps,
        warmup_share=settings.warmup_share,
        clip=settings.clip,
        scaled=config.run.precision == "fp16",
    )


def _steps(texts: int, settings: TextDistillationConfig) -> int:
    full, rest = divmod(texts, settings.texts_per_step)
    return settings.passes * (full + (rest > 1))


def fingerprint_of(*texts: str) -> str:
    """Return 16 hex digits that stand for a sequence of texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
