"""Receipts: `doc_key-revision`. Nothing is stored: the ledger answers them."""

import asyncio
import re
import time
from typing import Final

from services.gateway.documents.documents import moment, reason_view, settled_view
from services.gateway.problems import Problem
from services.gateway.views import ReceiptAnswer
from shared.domain.ordering import Record, Settled, Word, settled_seq, state
from shared.ports import Ledger

FIRST_PAUSE_S: Final = 0.01
LONGEST_PAUSE_S: Final = 0.25
_RECEIPT: Final = re.compile(r"([a-z2-7]{26})-([0-9]{1,19})")


def read_receipt(receipt: str) -> tuple[str, int]:
    """doc_key and revision. Raises Problem `receipt_not_found` when it is no receipt."""
    found = _RECEIPT.fullmatch(receipt)
    if found is None or not int(found[2]):
        raise Problem("receipt_not_found", f"{receipt[:80]!r} is not a receipt")
    return found[1], int(found[2])


async def wait_for(ledger: Ledger, doc_key: str, revision: int, wait_s: float) -> bool:
    """Whether the revision, or a newer one, was settled within the time."""
    deadline = time.monotonic() + wait_s
    pause = FIRST_PAUSE_S
    while True:
        entry = await ledger.get(doc_key)
        record = entry.record if entry else None
        if settled_seq(record) >= revision:
            return True
        left = deadline - time.monotonic()
        given_up = record and record.failed and record.failed.seq >= revision
        if left <= 0 or given_up:
            return False
        await asyncio.sleep(min(pause, left))
        pause = min(LONGEST_PAUSE_S, pause * 1.5)


def receipt_answer(receipt: str, record: Record | None, revision: int) -> ReceiptAnswer:
    """The outcome of a revision. Pure."""
    at = state(record, revision)
    if record and record.settled and record.settled.seq == revision:
        return _settled(receipt, record.settled)
    if settled_seq(record) > revision:
        return ReceiptAnswer(receipt=receipt, state=at.word, final=True, outcome="superseded")
    if at.word in ("failed", "dropped"):
        return ReceiptAnswer(
            receipt=receipt,
            state=at.word,
            final=True,
            outcome="failed",
            reason=reason_view(at.reason),
        )
    return ReceiptAnswer(receipt=receipt, state=at.word, final=False)


def _settled(receipt: str, settled: Settled) -> ReceiptAnswer:
    view = settled_view(settled)
    is_refused = settled.outcome == "refused"
    shown: Word = "searchable" if settled.is_active else "inactive"
    word: Word = shown if settled.outcome == "indexed" else settled.outcome
    return ReceiptAnswer(
        receipt=receipt,
        state=word,
        final=True,
        outcome=settled.effect,
        freshness_s=None if is_refused else view.freshness_s,
        searchable_at=moment(settled.settled_at) if word == "searchable" else None,
        chunks={
            "total": view.chunks,
            "embedded": view.encoded,
            "kept": view.kept,
            "removed": view.removed,
        },
        reason=view.reason,
    )
