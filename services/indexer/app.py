"""The indexer, built from a process's adapters."""

import asyncio
from dataclasses import replace

import structlog

from services.host.service import Part
from services.host.wiring import OpenGeneration, utc_now
from services.indexer.index import Index, InTurn, by_lane
from shared.bus.session import BusSession
from shared.domain.errors import StoreUnavailable
from shared.domain.topology import index_stage

log = structlog.get_logger()

MAINTAIN_EVERY_S = 1.0


async def build(opened: OpenGeneration) -> Part:
    validation, store = opened.host.settings.validation, await opened.store()
    bulk = Index(
        generation=opened.generation.id,
        fingerprint=opened.generation.fingerprint,
        ledger=await opened.ledger(),
        store=store,
        publish=opened.host.publish,
        now=utc_now,
        progress=opened.host.progress,
        poll_s=validation.poll,
    )
    express = replace(bulk, store=store.express())

    def subscribe(session: BusSession) -> None:
        in_turn = InTurn(by_lane(express, bulk))
        for lane in index_stage(opened.generation.id, validation.timeout).lanes:
            session.subscribe(lane, in_turn)

    async def maintain() -> None:
        while True:
            await asyncio.sleep(MAINTAIN_EVERY_S)
            try:
                await store.maintain()
            except StoreUnavailable as error:
                log.warning("store_not_maintained", reason=str(error))

    return Part(subscribe, (maintain,))
