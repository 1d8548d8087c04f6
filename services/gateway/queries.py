"""The queries of the gateway over the ports, for HTTP and the command line."""

import asyncio
import shlex
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from pathlib import Path
from typing import Any, Final, Protocol

from services.gateway.documents import documents, failures, reasons, revisions
from services.gateway.documents import removals as holds
from services.gateway.documents.documents import DOC_KEY
from services.gateway.documents.receipts import read_receipt, receipt_answer, wait_for
from services.gateway.models import (
    STATES,
    BatchesRequest,
    BatchRequest,
    ChecksAnswer,
    ChecksRequest,
    CheckView,
    ChooseRequest,
    DiffRequest,
    DocumentRequest,
    DocumentsRequest,
    EndedBatchRequest,
    FailureRequest,
    FailuresRequest,
    HistoryRequest,
    LeftOutRequest,
    ReceiptRequest,
    SearchRequest,
    SimilarRequest,
    SourceRequest,
    SourceView,
    StatusAnswer,
    VersionAnswer,
)
from services.gateway.problems import Problem, hint
from services.gateway.search.comparisons import unfit
from services.gateway.search.filters import parse
from services.gateway.search.search import Search
from services.gateway.search.similar import similar
from services.gateway.status import open_batches, reports, status, sweeps
from services.gateway.status.ledger_index import LedgerIndex
from services.gateway.status.open_batches import OpenBatches
from services.gateway.status.reports import Reports
from services.gateway.status.snapshots import Snapshots
from services.gateway.status.status import Observation
from services.gateway.views import (
    BatchAnswer,
    BatchesAnswer,
    ChunkView,
    DiffAnswer,
    DocumentAnswer,
    DocumentsAnswer,
    FailuresAnswer,
    FailureView,
    HistoryAnswer,
    HoldsAnswer,
    LeftOutAnswer,
    NewestView,
    ReceiptAnswer,
    SearchAnswer,
    SourcesAnswer,
    ValidationsAnswer,
)
from shared.batches.reports import BatchReport
from shared.domain.errors import BusUnavailable, TransientError
from shared.domain.events import DocumentChanged, embedded
from shared.domain.events.results import Result
from shared.domain.formats import BY_ENDING, kind_of
from shared.domain.metadata import parted
from shared.domain.ordering import ENRICH, Record, RowRef, State, state
from shared.formats.containers import kind_of as container_kind
from shared.ports import (
    ChangeLog,
    DeadLetter,
    Explain,
    GetStore,
    Hit,
    Holds,
    Ledger,
    Newest,
    Results,
    Selection,
    UnreadableChange,
)

Checks = Callable[[], Awaitable[Sequence[CheckView]]]
NamesDocument = DocumentRequest | SimilarRequest | HistoryRequest
"""Requests that name a document."""
SLOW_INDEX_S: Final = 0.5
"""With the settings of the manual it takes a tenth of that."""
THERE: Final = frozenset(STATES) - {"removed"}
COMPARED: Final = 2_000
"""Names that a mistyped one is compared with; that takes a tenth of a second."""


class Queries(Protocol):
    """The queries of an instance. Every method may raise Problem."""

    async def search(self, request: SearchRequest) -> SearchAnswer: ...
    async def status(self) -> StatusAnswer: ...
    async def documents(self, request: DocumentsRequest) -> DocumentsAnswer: ...
    async def document(self, request: DocumentRequest) -> DocumentAnswer: ...
    async def similar(self, request: SimilarRequest) -> SearchAnswer: ...
    async def history(self, request: HistoryRequest) -> HistoryAnswer: ...
    async def diff(self, request: DiffRequest) -> DiffAnswer: ...
    async def left_out(self, request: LeftOutRequest) -> LeftOutAnswer: ...
    async def receipt(self, request: ReceiptRequest) -> ReceiptAnswer: ...
    async def failures(self, request: FailuresRequest) -> FailuresAnswer: ...
    async def failure(self, request: FailureRequest) -> FailureView: ...
    async def sources_known(self) -> SourcesAnswer: ...
    async def source(self, request: SourceRequest) -> SourceView: ...
    async def holds(self) -> HoldsAnswer: ...
    async def batches(self, request: BatchesRequest) -> BatchesAnswer: ...
    async def validations(self, request: BatchesRequest) -> ValidationsAnswer: ...
    async def batch(self, request: EndedBatchRequest) -> BatchAnswer: ...
    async def report(self, request: BatchRequest) -> BatchReport: ...
    async def checks(self, request: ChecksRequest) -> ChecksAnswer:
        """The checks of the instance for `/readyz` and `doctor`."""
        ...

    async def version(self) -> VersionAnswer: ...

    async def keep_up(self) -> None:
        """Keep the index of lists and counts equal to the ledger, until it is cancelled."""
        ...


Wanted = Callable[[DeadLetter], bool]


def all_letters(_: DeadLetter) -> bool:
    """Every dead letter is wanted."""
    return True


class DeadLetters(Protocol):
    """The dead letters of the bus."""

    async def list(self, *, limit: int, wanted: Wanted = all_letters) -> Sequence[DeadLetter]:
        """The oldest that are wanted: the limit counts no others."""
        ...

    async def drop(self, id: int) -> bool:
        """Delete one; returns whether it was there."""
        ...


@dataclass
class InstanceQueries:
    """Implements `Queries` over the ports of one generation."""

    search_index: Search
    store: GetStore
    ledger: Ledger
    changes: ChangeLog
    looks: Snapshots
    removals: Holds
    check: Checks
    generation: str
    version_text: str
    sources: Sequence[SourceView] = ()
    """The sources of the settings; `path` absolute."""
    reports: Reports | None = None
    book: OpenBatches | None = None
    results: Results | None = None
    """The outcomes of the last days; None: a history has the ledger only."""
    dead_letters: DeadLetters | None = None
    sweeper: sweeps.Sweeps | None = None
    explain: Explain | None = None
    """Asks the process that watches a folder; None: none runs."""
    loading: Callable[[], dict[str, str]] = dict
    """`model` or `store` while it is not loaded, and why."""
    is_whole: bool = True
    """False: these are the sources that one key may see."""
    _before: Observation | None = None
    _guessing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def search(self, request: SearchRequest) -> SearchAnswer:
        answer = await self.search_index(request)
        if answer.hits:
            return answer
        return answer.model_copy(update={"hint": await self._unknown_sources(request)})

    async def status(self) -> StatusAnswer:
        look = await self.looks.latest()
        answer = status.status(
            look.board,
            look.seen,
            self._before,
            sources=self.sources,
            generation=self.generation,
            version=self.version_text,
        )
        if self._before is None or look.seen.at - self._before.at >= 1.0:
            self._before = look.seen
        update = {"last_sweep": await sweeps.view(self.sweeper), "loading": self.loading()}
        return answer.model_copy(update=update)

    async def documents(self, request: DocumentsRequest) -> DocumentsAnswer:
        found, total, more = (await self._index()).page(
            words=frozenset(filter(None, request.state.split(","))),
            source=request.source,
            prefix=request.prefix,
            stale=request.stale,
            after=documents.read_cursor(request.cursor),
            limit=request.limit,
        )
        return DocumentsAnswer(
            documents=tuple(map(documents.line, found)),
            total=total,
            next_cursor=documents.write_cursor(found[-1].source, found[-1].path) if more else None,
            generation=self.generation,
        )

    async def document(self, request: DocumentRequest) -> DocumentAnswer:
        key, shown, newest = await self._find(request)
        at = _state(shown, newest)
        settled = shown.settled
        is_file = shown.source in await self.folders()
        published = "" if is_file else reasons.published_as(shown.source, shown.path)
        rows = settled.rows if settled else ()
        stored = await self._stored(key, rows) if request.chunks else {}
        first = next(iter(stored.values()), None)
        rule = await self._rule_of(shown, at)
        if rule:
            why, fix = f"its file is left out: {rule.why}", rule.fix
        else:
            why, fix = reasons.why(at), reasons.fix(at, reasons.failure_id(key), published)
        if at.word != "removed" and await self._is_past(shown.source):
            why, fix = f"{why}; {reasons.NOT_GIVEN}", reasons.fix_of_past(shown.source)
        metadata, origins = parted(first.metadata) if first else ({}, {})
        return DocumentAnswer(
            **documents.line(documents.summary(key, shown, at)).model_dump(),
            generation=self.generation,
            served=documents.settled_view(settled) if settled else None,
            pending=documents.pending_view(shown.pending) if shown.pending else None,
            newest=_newest_view(newest.readable) if newest and newest.readable else None,
            why=why,
            fix=fix,
            title=first.title if first else "",
            metadata=metadata,
            origins=origins,
            unfit=unfit(metadata, self.search_index.fields),
            chunks=_chunks(key, rows, stored) if request.chunks else None,
        )

    async def similar(self, request: SimilarRequest) -> SearchAnswer:
        key, record, _ = await self._find(request)
        return await similar(self.search_index, key, record, request)

    async def history(self, request: HistoryRequest) -> HistoryAnswer:
        key, record, newest = await self._find(request)
        events, whole = list[Result](), False
        if self.results is not None:
            events, whole = await revisions.outcomes(self.results, record.source, key)
        return HistoryAnswer(
            source=record.source,
            path=record.path,
            doc_key=key,
            generation=self.generation,
            revisions=revisions.history(record, newest, events),
            whole=whole,
        )

    async def diff(self, request: DiffRequest) -> DiffAnswer:
        key, record, _ = await self._find(request)
        some = [row for rows in revisions.rows_of_diff(record) for row in rows[: request.limit]]
        stored = await self._stored(key, some)
        return revisions.diff(key, record, stored, limit=request.limit, generation=self.generation)

    async def left_out(self, request: LeftOutRequest) -> LeftOutAnswer:
        if self.explain is None:
            raise Problem("not_watched", "no instance runs, so no folder is watched")
        pairs = await self._pairs(request)
        name = request.name.strip("/")
        if name in await self.folders():  # a file of that name goes before a source of it
            pairs.insert(len(pairs) if request.file else 0, (name, ""))
        for source, path in pairs:
            where = "" if path == "." else path
            found = await self._selection(source, where)
            if found is not None and found.exists:
                return LeftOutAnswer(source=source, path=where, **_public(found))
        raise Problem("document_not_found", f"no watched folder holds {request.name[:200]!r}")

    async def _rule_of(self, shown: Record, at: State) -> Selection | None:
        """The rule that has removed a document from the index; None where it is another reason."""
        if at.word != "removed":
            return None
        found = await self._selection(shown.source, shown.path)
        return found if found and found.exists and found.why else None

    async def _selection(self, source: str, path: str) -> Selection | None:
        """None where no process can tell."""
        if self.explain is None or source not in await self.folders():
            return None
        try:
            return await self.explain(source, path)
        except (TransientError, BusUnavailable):
            return None

    async def receipt(self, request: ReceiptRequest) -> ReceiptAnswer:
        key, revision = read_receipt(request.receipt)
        await wait_for(self.ledger, key, revision, request.wait)
        entry = await self.ledger.get(key)
        record = entry.record if entry else None
        return receipt_answer(request.receipt, record, revision)

    async def failures(self, request: FailuresRequest) -> FailuresAnswer:
        found = failures.select(await self.all_failures(), request, request.state)
        return FailuresAnswer(
            failures=tuple(found[: request.limit]),
            groups=failures.groups(found, await self.folders()),
            total=len(found),
            generation=self.generation,
        )

    async def failure(self, request: FailureRequest) -> FailureView:
        return failures.choose(await self.all_failures(), ChooseRequest(ids=(request.id,)))[0]

    async def sources_known(self) -> SourcesAnswer:
        return SourcesAnswer(sources=(await self.status()).sources)

    async def source(self, request: SourceRequest) -> SourceView:
        known = {one.name: one for one in (await self.status()).sources}
        if request.source not in known:
            near = hint(request.source, sorted(known))
            raise Problem("source_not_found", f"no source {request.source!r} is known{near}")
        return known[request.source]

    async def all_failures(self) -> list[FailureView]:
        """Documents first, dropped ones too, then dead letters of none."""
        letters = await self.dead_letters.list(limit=1000) if self.dead_letters else ()
        index = await self._index()
        of_documents = failures.of_ledger(index.of(*failures.NEED_SOMEBODY), await self.folders())
        return [*of_documents, *failures.of_letters(letters, index.source_of)]

    async def folders(self) -> frozenset[str]:
        """The sources that are watched folders; the documents of others were published."""
        watched = (await self.looks.latest()).seen.sources
        return frozenset(s.name for s in self.sources if s.path) | watched.keys()

    async def paths(self, source: str, prefix: str, most: int) -> tuple[list[str], int]:
        """The first documents of a source that were sent below a prefix, and how many more."""
        normal = unicodedata.normalize("NFC", prefix)  # as the paths of such documents are
        found, total, _ = (await self._index()).page(
            words=THERE, source=source, prefix=normal, limit=most
        )
        return [one.path for one in found], total - len(found)

    async def _is_past(self, source: str) -> bool:
        """Whether it is a folder that is not given any more."""
        given = any(known.name == source for known in self.sources)
        return not given and source in (await self.looks.latest()).seen.past

    async def holds(self) -> HoldsAnswer:
        return await holds.listed(self.removals)

    async def batches(self, request: BatchesRequest) -> BatchesAnswer:
        if request.cursor:
            return await reports.batches(self.reports, request)
        opened = await open_batches.listed(self.book, await self._index(), request.source)
        answer = await reports.batches(self.reports, request)  # then: one that ends is in either
        return answer.model_copy(update={"open": opened})

    async def validations(self, request: BatchesRequest) -> ValidationsAnswer:
        return await reports.validations(self.reports, request)

    async def batch(self, request: EndedBatchRequest) -> BatchAnswer:
        try:
            return open_batches.answer_of(await reports.ended(self.reports, request))
        except Problem as problem:
            if problem.code != "batch_not_found":
                raise
            opened = await open_batches.listed(
                self.book, await self._index(), request.source, request.batch
            )
        if not opened:  # it may have ended between the two looks
            return open_batches.answer_of(await reports.report(self.reports, request))
        by_source = {one.batch.source: one for one in opened}
        one = reports.only_one(by_source, request.batch, request.source)
        return open_batches.answer_of_open(one, self.generation)

    async def report(self, request: BatchRequest) -> BatchReport:
        return await reports.report(self.reports, request)

    async def checks(self, request: ChecksRequest) -> ChecksAnswer:
        if request.deep and not self.is_whole:
            raise Problem("forbidden", "deep compares the whole index: a key of some sources can't")
        found = [*await self.check()]
        if request.deep:
            found += [await self._compared(), *await self._unreadable(), *await self._lag()]
        ready = all(check.level != "FAIL" for check in found)
        return ChecksAnswer(ready=ready, checks=tuple(found))

    async def _unreadable(self) -> Sequence[CheckView]:
        count = (await self.looks.latest()).board.unreadable
        if not count:
            return ()
        text = f"the newest change, or the record, of {count:,} documents cannot be read"
        fix = "instep sweep; then instep failures lists those that it could not repair"
        return (CheckView(name="changes", level="WARN", text=text, fix=fix),)

    async def _lag(self) -> Sequence[CheckView]:
        """How long the store takes to find a new row; empty where it takes no time."""
        lag_s = await (await self.store()).lag_s()
        if lag_s is None:
            return ()
        text = f"the store finds a new row after {1000 * lag_s:,.0f} ms while others are written"
        if lag_s < SLOW_INDEX_S:
            return (CheckView(name="index lag", level="ok", text=text),)
        fix = "give the store the settings of the manual: operate/weaviate.md"
        return (CheckView(name="index lag", level="WARN", text=text, fix=fix),)

    async def _compared(self) -> CheckView:
        """Rows of the store against the ledger; they differ for a moment while work is done."""
        look = await self.looks.latest()
        rows, promised = await (await self.store()).count(), look.board.chunks
        held = f"{rows:,} row{'' if rows == 1 else 's'}"
        if rows == promised:
            return CheckView(name="index", level="ok", text=f"{held}, equal to the ledger")
        text = f"{held}, the ledger lists {promised:,}"
        if status.busy(look.seen):
            return CheckView(name="index", level="ok", text=f"{text}; work is under way")
        return CheckView(name="index", level="WARN", text=text, fix="instep sweep")

    async def version(self) -> VersionAnswer:
        return VersionAnswer(version=self.version_text, generation=self.generation, api="v1")

    async def keep_up(self) -> None:
        await self.looks.watch.run()

    async def _index(self) -> LedgerIndex:
        return (await self.looks.latest()).index

    async def _find(self, request: NamesDocument) -> tuple[str, Record, Newest | None]:
        """Its key, its record (an empty one, before the ledger has any), its newest change."""
        pairs = await self._pairs(request)
        keys = documents.keys_of(pairs)
        if DOC_KEY.fullmatch(request.name):
            keys.setdefault(request.name, ("", ""))
        found = await self.ledger.get_many(list(keys))
        newest = {
            key: log
            for key, (source, _) in keys.items()
            if (log := await self._newest(key, found.get(key), source))
        }
        hits = [key for key in keys if key in found or key in newest]
        exact = [k for k in hits if k == request.name or "/".join(keys[k]) == request.name]
        if not hits:
            await self._refuse_left_out(pairs)
            raise Problem("document_not_found", await self._not_found(request.name))
        if len(hits) > 1 and not exact and not request.file:
            where = " and ".join("/".join(keys[key]) for key in hits[:3])
            raise Problem("ambiguous_path", f"{request.name!r} is in more than one source: {where}")
        key = (exact or hits)[0]
        return key, found.get(key) or Record(*keys[key]), newest.get(key)

    async def _refuse_left_out(self, pairs: Sequence[tuple[str, str]]) -> None:
        seen = (await self.looks.latest()).seen.sources
        for source, path in pairs:
            name = f"{source}/{path}"[:400]
            if source in seen and (problem := seen[source].problems.get(path)):
                what = f"{name} is no document: {problem}"
                raise Problem("document_not_found", what, "instep status shows what cannot be read")
            if container_kind(path, records=True) == "records":
                self._refuse_container(await self._index(), source, path)
            found = await self._selection(source, path)
            if found is None or not found.exists:
                continue
            if found.why:
                raise Problem("document_left_out", f"{name} is left out: {found.why}", found.fix)
            if found.is_folder:
                raise Problem("document_not_found", f"{name} is a folder", f"instep show {name}/")

    def _refuse_container(self, index: LedgerIndex, source: str, path: str) -> None:
        """A file whose records are the documents is none itself."""
        inside, count, _ = index.page(words=THERE, source=source, prefix=f"{path}#", limit=1)
        if not inside:
            return
        what = "its record is a document" if count == 1 else f"its {count:,} records are documents"
        first = shlex.quote(f"{source}/{inside[0].path}")
        below = shlex.quote(f'path:"{path}#"')
        raise Problem(
            "document_not_found",
            f"{source}/{path} is no document itself: {what}",
            f"instep show {first}; or: instep search WORDS --source {source} --filter {below}",
        )

    async def _newest(self, key: str, record: Record | None, source: str) -> Newest | None:
        source = record.source if record else source
        return await self.changes.newest(source, key) if source else None

    async def _unknown_sources(self, request: SearchRequest) -> str:
        """One sentence about sources of the request that have no document and no settings."""
        asked = parse(request.filter, request.source, self.search_index.fields).sources
        if not asked:
            return ""
        known = {s.name for s in self.sources} | await self.folders()
        known |= (await self._index()).sources()
        unknown = [name for name in dict.fromkeys(asked) if name not in known]
        return "; ".join(
            f"no source {name[:200]!r} is known{hint(name[:200], sorted(known))}"
            for name in unknown[:3]
        )

    async def _pairs(self, request: NamesDocument | LeftOutRequest) -> list[tuple[str, str]]:
        roots = {s.name: Path(s.path) for s in self.sources if s.path}
        names = {source.name for source in self.sources}
        pairs = documents.candidates(request.name, names, roots, request.file)
        head = request.name.partition("/")[0]
        if head not in names:
            names |= (await self._index()).sources()
            pairs = documents.candidates(request.name, names, roots, request.file)
        return pairs

    async def _not_found(self, name: str) -> str:
        """Suggests a name, one request at a time; requests meanwhile get no suggestion."""
        known = f"no document {name[:200]!r} is known"
        if self._guessing.locked():
            return known
        async with self._guessing:
            names = (await self._index()).names()
            return known + await asyncio.to_thread(_suggestion, name[:200], names)

    async def _stored(self, key: str, rows: Sequence[RowRef]) -> Mapping[str, Hit]:
        ids = [row.id(key) for row in rows]
        return await (await self.store()).rows(ids) if ids else {}


def _public(found: Selection) -> dict[str, Any]:
    return {
        "is_folder": found.is_folder,
        "why": found.why,
        "fix": found.fix,
        "counts": dict(found.counts),
        "some": dict(found.some),
    }


def _chunks(key: str, rows: Sequence[RowRef], stored: Mapping[str, Hit]) -> tuple[ChunkView, ...]:
    ids = [row.id(key) for row in rows]
    return tuple(
        ChunkView(
            id=row_id,
            n=n,
            heading=tuple(stored[row_id].heading) if row_id in stored else (),
            text=stored[row_id].text if row_id in stored else None,
            embedded=_embedded(stored[row_id]) if row_id in stored else None,
            born=row.born,
        )
        for n, (row, row_id) in enumerate(zip(rows, ids, strict=True), 1)
    )


def _embedded(hit: Hit) -> str:
    return embedded(hit.title, hit.heading, hit.text, hit.metadata)


def _suggestion(name: str, names: Iterable[tuple[str, str]]) -> str:
    """The nearest of the names that are about as long: to compare with all takes seconds."""
    known = (name for source, path in names for name in (f"{source}/{path}", path))
    near = hint(name, nsmallest(COMPARED, known, key=lambda one: abs(len(one) - len(name))))
    kind = kind_of(name)
    if near or not kind or kind in BY_ENDING:
        return near
    return f"; a folder leaves out files that end in {kind!r}, unless its include names them"


def _state(record: Record, newest: Newest | None) -> State:
    """The state; an unreadable change counts as failed before the enricher records it."""
    at = state(record, newest.sequence if newest else 0)
    if newest and isinstance(newest.change, UnreadableChange) and at.word == "queued":
        return State("failed", at.stale, ENRICH, newest.change.reason)
    return at


def _newest_view(change: DocumentChanged) -> NewestView:
    return NewestView(
        sequence=change.document.revision,
        op=change.op,
        changed_at=change.document.changed_at,
        size=change.size,
        media_type=change.media_type,
        title=change.title,
    )
