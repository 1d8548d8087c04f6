"""Batches that have not ended yet: what has come of them, and how far its documents are."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final, Protocol

from services.gateway.documents.documents import moment
from services.gateway.status.ledger_index import LedgerIndex
from services.gateway.views import BatchAnswer, OpenBatchView
from shared.batches.members import DECLINED, OpenBatch
from shared.batches.reports import BatchReport, Documents

AT_ONCE: Final = 2_000
"""Members that are counted before the event loop has its turn."""


class OpenBatches(Protocol):
    """The part of `BatchBook` in use here."""

    async def open(self, source: str = "", batch_id: str = "") -> Mapping[str, OpenBatch]:
        """Open batches by batch key, of a source and an id if given. Raises BusUnavailable."""
        ...


async def listed(
    book: OpenBatches | None, index: LedgerIndex, source: str, batch_id: str = ""
) -> tuple[OpenBatchView, ...]:
    """The open batches, newest first.

    Args:
        source: of this source only; empty: of all.
        batch_id: only those of this id; empty: all.

    Raises:
        BusUnavailable: the bus does not answer.
    """
    found = (await book.open(source, batch_id)).values() if book is not None else ()
    wanted = [
        one for one in found if source in ("", one.batch.source) and batch_id in ("", one.batch.id)
    ]
    wanted.sort(key=lambda one: (one.batch.started_at, one.batch.source), reverse=True)
    return tuple([view(one, await _states(index, one)) for one in wanted])


def view(one: OpenBatch, states: Mapping[str, int]) -> OpenBatchView:
    """An open batch. Pure. `states`: its accepted documents by their present state."""
    declined = sum(member.startswith(DECLINED) for member in one.members)
    came = len(one.members) + one.unchanged
    return OpenBatchView(
        batch=one.batch,
        accepted=len(one.members) - declined,
        refused=declined,
        unchanged=one.unchanged,
        missing=0 if one.whole else max(0, one.batch.count - came),
        states=dict(states),
        noted_at=moment(one.noted_at or None),
    )


def answer_of(report: BatchReport) -> BatchAnswer:
    """A batch that has ended. Pure."""
    fields = BatchAnswer.model_fields.keys() - {"open"}
    return BatchAnswer.model_validate(report.model_dump(include=fields, by_alias=False))


def answer_of_open(one: OpenBatchView, generation: str) -> BatchAnswer:
    """A batch that has not ended. Pure."""
    return BatchAnswer(
        batch=one.batch,
        generation=generation,
        complete=False,
        documents=Documents(refused=one.refused, unchanged=one.unchanged, missing=one.missing),
        open=one,
    )


async def _states(index: LedgerIndex, one: OpenBatch) -> Mapping[str, int]:
    keys = (member for member in one.members if not member.startswith(DECLINED))
    found = Counter[str]()
    while some := list(islice(keys, AT_ONCE)):
        found.update(_words(index, some))
        await asyncio.sleep(0)
    return found


def _words(index: LedgerIndex, keys: Sequence[str]) -> list[str]:
    """The states of documents; one that the ledger does not know yet is queued."""
    return [index.word(key) or "queued" for key in keys]
