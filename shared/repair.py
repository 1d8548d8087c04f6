"""The one tool for every repair: publish a document's newest change again.

Sweep, retry, dead letters and a lost ledger all use it; nothing replays a part. The copy gets a new
revision and names the generation whose rows are to be written anew.
"""

from shared.errors import ChangeLogConflict
from shared.ports import ChangeLog, Newest


async def resubmit(log: ChangeLog, source: str, doc_key: str, *, generation: str) -> int | None:
    """Publish the newest change of a document again as a repair of `generation`.

    Returns:
        The new revision, or None when the document has no change, or a newer one is on its way.

    Raises:
        BusUnavailable: nothing is known; repeating is safe.
    """
    newest = await log.newest(source, doc_key)
    return None if newest is None else await resubmit_newest(log, newest, generation=generation)


async def resubmit_newest(log: ChangeLog, newest: Newest, *, generation: str) -> int | None:
    """The same with the newest change in hand; None when a newer one is on its way."""
    copy = newest.change.model_copy(update={"repair": generation})
    message_id = f"r:{copy.document.doc_key}:{newest.sequence}:{generation}"
    try:
        return await log.append(copy, expect=newest.sequence, message_id=message_id)
    except ChangeLogConflict:
        return None
