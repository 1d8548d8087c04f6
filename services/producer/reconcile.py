"""The documents on which DOCS, the ledger and a folder's listing disagree. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.producer.sources.listing import NEVER_READ, Seen
from shared.domain.events import WATCH, DocumentChanged
from shared.domain.ids import doc_key
from shared.domain.ordering import Record, newest_seq
from shared.ports import Newest, UnreadableChange


@dataclass(frozen=True, slots=True)
class Doubts:
    """Documents whose entry in the listing may be wrong, or missing."""

    listed: tuple[str, ...]
    """Paths of the listing of which DOCS has no change, or not the one that was accepted."""
    unlisted: Mapping[str, str]
    """Keys of documents that are known elsewhere, with their paths if the ledger has them."""


class Gathering:
    """Finds doubts: takes first every change of DOCS, then every record. Pure.

    Memory: some 200 bytes for each document of the source, with those that were removed.
    """

    def __init__(self, source: str, entries: Iterable[tuple[str, Seen]]) -> None:
        self._source = source
        self._left = {doc_key(source, path): (path, seen.revision) for path, seen in entries}
        self._keys = frozenset(self._left)
        self._other: list[str] = []
        self._unlisted: dict[str, tuple[int, str]] = {}

    def change(self, key: str, sequence: int) -> None:
        """The newest change of a document of the source has this sequence."""
        if key in self._left:
            path, revision = self._left.pop(key)
            if revision != sequence:
                self._other.append(path)
        elif key not in self._keys:
            self._unlisted[key] = sequence, ""

    def record(self, key: str, record: Record) -> None:
        """The ledger's record of a document, of any source."""
        if record.source != self._source or key in self._keys:
            return
        sequence, _ = self._unlisted.get(key, (0, ""))
        if is_live(record):
            self._unlisted[key] = sequence, record.path
        elif newest_seq(record) >= sequence:
            self._unlisted.pop(key, None)

    @property
    def docs_has_lost_some(self) -> bool:
        """Whether DOCS has no change of some accepted files."""
        return bool(self._left)

    @property
    def unlisted(self) -> Sequence[str]:
        """Keys of DOCS that are not in the listing; removed documents are among them."""
        return list(self._unlisted)

    def doubts(self) -> Doubts:
        lost = (path for path, _ in self._left.values())
        return Doubts(
            listed=tuple(sorted([*self._other, *lost])),
            unlisted={key: path for key, (_, path) in self._unlisted.items()},
        )


def is_live(record: Record) -> bool:
    """Whether the newest revision in the ledger is other than the document's end."""
    newest = record.pending or record.settled
    return newest is None or newest.outcome != "removed"


def corrected(seen: Seen, newest: Newest | None) -> Seen | None:
    """The entry of a listed file, from what DOCS holds of it now; None: it stays as it is."""
    if newest is None:
        return _to_be_read(seen)
    change = newest.readable
    if change and change.op == "upserted" and change.content_hash == seen.content_hash:
        return seen._replace(revision=newest.sequence)  # sent again by a repair
    if _is_submitted(newest.change):  # another content: the file's next edit decides
        return None
    return _to_be_read(seen)


def entered(newest: Newest | None, path: str) -> tuple[str, Seen] | None:
    """Path and entry of a document that the listing does not have; None: it is not the folder's.

    Args:
        path: by the ledger; empty where that knows none.
    """
    if newest is None:
        return (path, NEVER_READ._replace(revision=1)) if path else None
    change = newest.readable  # its source is unknown without it; a listing finds files
    if change is None or change.op == "deleted" or _is_submitted(change):
        return None
    return change.document.path, NEVER_READ._replace(revision=newest.sequence)


def _is_submitted(change: DocumentChanged | UnreadableChange) -> bool:
    """Whether a submission made it. A file's change carries the number of the submission before it;
    a change of an older version does not say that it is a file's."""
    return change.intake > 0 and change.origin != WATCH


def _to_be_read(seen: Seen) -> Seen:
    return seen._replace(version=NEVER_READ.version, content_hash="")
