"""The indexer, built from a process's adapters."""

import asyncio
from dataclasses import replace

import structlog

from services.host.service import Part
from services.host.wiring import Wiring, utc_now
from services.indexer.index import Index
from services.indexer.per_document_lock import InTurn, by_lane
from shared.bus.session import BusSession
from shared.domain.errors import StoreUnavailable
from shared.domain.topology import index_stage

log = structlog.get_logger()

MAINTAIN_EVERY_S = 1.0


async def build(wiring: Wiring) -> Part:
    validation, store = wiring.settings.validation, await wiring.store()
    bulk = Index(
        generation=wiring.generation.id,
        fingerprint=wiring.generation.fingerprint,
        ledger=await wiring.ledger(),
        store=store,
        publish=wiring.publish,
        now=utc_now,
        progress=wiring.progress,
        poll_s=validation.poll,
    )
    express = replace(bulk, store=store.express())

    def subscribe(session: BusSession) -> None:
        in_turn = InTurn(by_lane(express, bulk))
        for lane in index_stage(wiring.generation.id, validation.timeout).lanes:
            session.subscribe(lane, in_turn)

    async def maintain() -> None:
        while True:
            await asyncio.sleep(MAINTAIN_EVERY_S)
            try:
                await store.maintain()
            except StoreUnavailable as error:
                log.warning("store_not_maintained", reason=str(error))

    return Part(subscribe, (maintain,))
