"""Every repair publishes a document's newest change again.

Sweep, retry, dead letters and a lost ledger all use it; no repair replays a part. The copy gets a
new revision. It names the generation whose rows are to be written anew, beside those that the
copied change named: DOCS keeps one change of a document, and another generation may have its repair
still unread. DOCS may have no change of a document: then an ordinary deletion removes its rows.
"""

from shared.domain.errors import ChangeLogConflict
from shared.domain.events import Batch, Document, DocumentChanged
from shared.ports import ChangeLog, Newest


async def resubmit(log: ChangeLog, source: str, doc_key: str, *, generation: str) -> int | None:
    """Publish the newest change of a document again as a repair of `generation`.

    Returns:
        The new revision, or None when nothing was sent: the document has no change or an unreadable
        one, or a newer one is on its way.

    Raises:
        BusUnavailable: nothing is known; repeating is safe.
    """
    newest = await log.newest(source, doc_key)
    return None if newest is None else await resubmit_newest(log, newest, generation=generation)


async def resubmit_newest(log: ChangeLog, newest: Newest, *, generation: str) -> int | None:
    """Publish this newest change again, as `resubmit`."""
    if newest.readable is None:
        return None
    others = tuple(sorted(newest.readable.repaired - {generation}))
    copy = newest.readable.model_copy(update={"repair": generation, "repairs": others})
    message_id = f"r:{copy.document.doc_key}:{newest.sequence}:{generation}"
    try:
        return await log.append(copy, expect=newest.sequence, message_id=message_id)
    except ChangeLogConflict:
        return None


async def remove_unknown(log: ChangeLog, document: Document, batch: Batch) -> int | None:
    """Submit the deletion of a document without a change in DOCS.

    Returns:
        The new revision, or None when DOCS knows the document by now.

    Raises:
        BusUnavailable: nothing is known; repeating is safe.
    """
    deletion = DocumentChanged(document=document, batch=batch, op="deleted")
    message_id = f"s:{document.doc_key}:{batch.id}"
    try:
        return await log.append(deletion, expect=0, message_id=message_id)
    except ChangeLogConflict:
        return None
