"""Sweeping: readers and clicks whose time is over go from the store, whoever else writes or not."""

import asyncio
from functools import partial

import structlog

from service.errors import StoreError
from service.ports import Clock
from service.storage import AsyncStore

log = structlog.get_logger()


async def sweep(store: AsyncStore, clock: Clock, *, pause_s: float) -> None:
    """Let go of what is over, again and again; an outage of the store only puts it off."""
    while True:
        try:
            await store.run(partial(store.blocking.let_go, clock()))
        except StoreError as error:
            log.warning("not_swept", error=type(error).__name__)
        await asyncio.sleep(pause_s)
