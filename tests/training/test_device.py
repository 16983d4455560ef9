"""Device: which one is taken, and what moves there."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from tests.tiny import a_batch, a_distillation
from tests.training.elsewhere import Elsewhere
from training import device
from training.batches import Batch
from training.device import CPU, take_device
from training.errors import DeviceError


def test_a_batch_moves_as_a_whole() -> None:
    """Each task's tensors; the rows of its texts stay with NumPy, and what is absent absent."""
    batch = a_batch(a_distillation())
    with Elsewhere() as elsewhere:
        moved = batch.to(elsewhere.device)
        assert isinstance(moved, Batch)
        assert moved.texts is batch.texts
        for name in ("clicks", "topics", "queries"):
            there, ours = (vars(getattr(which, name)) for which in (moved, batch))
            assert all(there[part].device.type == "elsewhere" for part in ours)
            assert all(there[part].cpu().equal(value) for part, value in ours.items())
        assert replace(batch, topics=None).to(elsewhere.device).topics is None


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[torch.device]]:
    """Return a function that lets torch see so many GPUs; it returns which ones are taken."""

    def see(count: int) -> list[torch.device]:
        taken: list[torch.device] = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", taken.append)
        return taken

    return see


@pytest.mark.parametrize(
    ("name", "count", "rank", "expected"),
    [
        ("cpu", 2, None, "cpu"),
        ("auto", 0, None, "cpu"),
        ("auto", 0, "1", "cpu"),
        ("auto", 1, None, "cuda:0"),
        ("cuda", 2, "1", "cuda:1"),
        ("auto", 2, "1", "cuda:1"),
    ],
)
def test_each_process_takes_a_device_of_its_own(
    seen: Callable[[int], list[torch.device]],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    count: int,
    rank: str | None,
    expected: str,
) -> None:
    """CUDA where there is any, the one of its number on this host, which is then the current."""
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    taken = seen(count)
    assert take_device(name) == torch.device(expected)
    assert taken == ([torch.device(expected)] if expected != "cpu" else [])


@pytest.mark.parametrize(
    ("name", "count", "rank", "message"),
    [
        ("cuda", 0, "0", "torch sees no CUDA device"),
        ("auto", 2, "2", "process 3 of this host finds no CUDA device of its own: torch sees 2"),
    ],
)
def test_a_device_that_is_not_there_is_refused(
    seen: Callable[[int], list[torch.device]],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    count: int,
    rank: str,
    message: str,
) -> None:
    """By name; two processes never share one."""
    monkeypatch.setenv("LOCAL_RANK", rank)
    seen(count)
    with pytest.raises(DeviceError, match=message):
        take_device(name)


def test_a_gpu_is_named_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its model tells what the wall time means."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: f"Model {place.index}")
    assert device.name_of(torch.device("cuda", 1)) == "cuda (Model 1)"
    assert device.name_of(CPU) == "cpu"
