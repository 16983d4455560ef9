"""Parallel: what the processes of a run tell each other, where `torchrun` started several.

Every process makes the same batches, encodes its own share of a batch's texts and gathers the
others' (SpeedyFeed, Xiao et al., KDD 2022). So each computes the same losses, and the mean of their
gradients is the gradient of a process alone. A process alone calls nothing of torch.distributed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import Function, FunctionCtx

from training.errors import ProcessLost
from training.token_table import Rows

# So long may the first process measure or distil texts while the others wait for it. Who waits for
# a process that has ended is told so at once.
PATIENCE = timedelta(days=7)


@contextmanager
def processes() -> Iterator[None]:
    """Join the processes that `torchrun` started; where it started none, do nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    # No backend is named: what lies on the CPU goes by gloo, what lies on a GPU by NCCL.
    distributed.init_process_group(timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def count() -> int:
    """Return how many processes learn together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return this process's number; number 0, the first, keeps the run."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def shares(lengths: Rows) -> list[Rows]:
    """Return the positions of each process's texts: as many, and as long, for all of them."""
    order = np.argsort(-lengths, kind="stable")
    return [np.sort(order[number :: count()]) for number in range(count())]


def gathered(own: Tensor, parts: Sequence[Rows]) -> Tensor:
    """Return what all processes made of their shares, in the order of the texts: (N, W)."""
    if count() == 1:
        return own
    whole: Tensor = _Gather.apply(own, parts)  # type: ignore[no-untyped-call]  # torch
    return whole


class _Gather(Function):
    """Gather with gradients; torch's own variants were renamed in most of its last versions.

    Every process goes back through the same losses. So the sum over all of them, which the
    gradient of a gather is, is each process's own gradient times their number: nothing is sent.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, own: Tensor, parts: Sequence[Rows]) -> Tensor:
        places = [torch.from_numpy(part).to(own.device) for part in parts]
        ctx.place = places[rank()]  # type: ignore[attr-defined]
        longest = max(len(place) for place in places)
        padded = nn.functional.pad(own, (0, 0, 0, longest - len(own)))
        found = [torch.empty_like(padded) for _ in parts]
        with _naming_a_lost_process():
            distributed.all_gather(found, padded)
        whole = own.new_empty(sum(len(place) for place in places), own.shape[1])
        for place, rows in zip(places, found, strict=True):
            whole[place] = rows[: len(place)]
        return whole

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[ctx.place] * count(), None  # type: ignore[attr-defined]


def mean(own: Tensor) -> Tensor:
    """Return the mean over all processes; its gradient is this process's own."""
    if count() == 1:
        return own
    return own + (_mean(own.detach().clone()) - own.detach())


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every process the mean of all gradients, in one message."""
    if count() == 1:
        return
    # Each process has texts to encode and all rows of every task: gradients exist in all or none.
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = _mean(torch.cat([gradient.flatten() for gradient in gradients]))
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, part in zip(gradients, torch.split(flat, sizes), strict=True):
        gradient.copy_(part.view_as(gradient))


def _mean(values: Tensor) -> Tensor:
    with _naming_a_lost_process():
        distributed.all_reduce(values)
    return values / count()


def from_the_first(content: bytes) -> bytes:
    """Return what the first process gave, on every process."""
    if count() == 1:
        return content
    size = torch.tensor(len(content))
    copy_from_the_first(size)
    data = torch.zeros(int(size), dtype=torch.uint8)
    if rank() == 0:
        data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    copy_from_the_first(data)
    return data.numpy().tobytes()


def copy_from_the_first(values: Tensor) -> None:
    """Overwrite a tensor with the first process's."""
    with _naming_a_lost_process():
        distributed.broadcast(values.detach(), src=0)


def as_the_first_decides(decision: bool) -> bool:
    """Return the first process's decision, on every process."""
    return bool(from_the_first(bytes([decision]))[0])


def seed_step(seed: int, step: int) -> None:
    """Give each process its own dropout, which depends on the step alone: a resume repeats it."""
    if count() > 1:
        torch.manual_seed(int(np.random.SeedSequence((seed, step, rank())).generate_state(1)[0]))


@contextmanager
def _naming_a_lost_process() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessLost(rank(), count()) from error
