"""Large work in the background leaves nothing behind."""

import asyncio
import gc
import os
import platform

import numpy as np
import pytest
from numpy.typing import NDArray

from service.memory import TidyExecutor, give_back, spare
from tests.service.fakes import until
from tests.serving import resident_bytes

CHUNKS, CHUNK_BYTES = 2_000, 64 * 1024

needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory and gives it back"
)


def a_large_work() -> list[NDArray[np.uint8]]:
    """Need much memory in chunks that are too small to be given back each."""
    return [np.ones(CHUNK_BYTES, np.uint8) for _ in range(CHUNKS)]


def work_and_forget() -> NDArray[np.uint8]:
    """Let go of all chunks but the last, on top of which nothing can be freed."""
    return a_large_work()[-1]


@needs_glibc
def test_freed_memory_is_given_back() -> None:
    """What the allocator has kept goes, whatever is still in use above it."""
    kept = work_and_forget()
    before = resident_bytes(os.getpid())
    give_back()
    assert resident_bytes(os.getpid()) < before - CHUNKS * CHUNK_BYTES // 2
    assert kept.all()


@needs_glibc
def test_a_tidy_pool_gives_back_after_each_piece_of_work() -> None:
    """The memory of its thread too, and also when the work fails."""
    with TidyExecutor(1) as pool:
        pool.submit(len, "started").result()
        before = resident_bytes(os.getpid())
        kept = [pool.submit(work_and_forget).result() for _ in range(3)]
        with pytest.raises(TypeError, match="scalar"):
            pool.submit(lambda: max(a_large_work(), key=float)).result()
        assert resident_bytes(os.getpid()) < before + CHUNKS * CHUNK_BYTES // 2
    assert len(kept) == 3


def test_a_tidy_pool_gives_results_and_errors() -> None:
    """Arguments go in as they are, and what comes out does too."""
    with TidyExecutor(1) as pool:
        assert pool.submit(divmod, 7, 3).result() == (2, 1)
        assert pool.submit(sorted, [1, 2], reverse=True).result() == [2, 1]
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result()


@pytest.mark.anyio
async def test_the_collector_passes_over_a_catalogue_from_when_it_is_there() -> None:
    """And over the next one that takes its place; in between it is left alone."""
    kept = [object()]
    sparing = asyncio.create_task(spare(lambda: kept[0], pause_s=0.001))
    try:
        await until(lambda: gc.get_freeze_count() > 0)
        frozen = gc.get_freeze_count()
        held = [[n] for n in range(50_000)]
        await asyncio.sleep(0.05)
        assert gc.get_freeze_count() <= frozen
        kept[0] = object()
        await until(lambda: gc.get_freeze_count() >= frozen + len(held))
    finally:
        sparing.cancel()
        gc.unfreeze()
