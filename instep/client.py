"""Clients of a running instance, for programs: `Client`, and `AsyncClient` for asyncio.

    from instep.client import Client

    client = Client()  # of the data folder here, else of INSTEP_URL
    for hit in client.search("how do I rotate a key", limit=3).hits:
        print(hit.score, hit.document.path)

Light to import, for every command waits for it: models are imported by the first answer, asyncio
and aiohttp by an `AsyncClient`, and annotations are not evaluated.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, Unpack, cast

from instep.forms import UploadFile, form
from instep.http import (
    Call,
    ClientError,
    EventLines,
    Extras,
    Received,
    Refused,
    Unreachable,
    call_of,
    json_line,
    pause_s,
    read,
    read_lines,
    server_of,
)
from services.gateway.operations import OPERATIONS, resolve
from services.host.data_folder import DataFolder
from services.host.options import DATA, Surroundings, key_in
from services.host.owner_key import owner_key

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from aiohttp.client import _RequestContextManager

    from instep.fields import (
        ChecksFields,
        Choice,
        DeleteFields,
        DiffFields,
        DocumentFields,
        DocumentsFields,
        EndedFields,
        FailuresFields,
        GenerateFields,
        KeyFields,
        ListenFields,
        NameFields,
        PageFields,
        PutFields,
        ReceiptFields,
        ReportFields,
        SearchFields,
        SimilarFields,
        SweepFields,
        TableFields,
        ValidateFields,
        WriteFields,
    )
    from services.gateway.access.models import CreatedKeyAnswer, KeysAnswer, KeyView, LinkAnswer
    from services.gateway.models import (
        ChecksAnswer,
        SourceView,
        StatusAnswer,
        ValidateAnswer,
        VersionAnswer,
    )
    from services.gateway.status.sweeps import GenerateAnswer, SweepAnswer
    from services.gateway.uploads.models import (
        DeleteAnswer,
        UploadAnswer,
        UploadLine,
        UploadsAnswer,
    )
    from services.gateway.views import (
        BatchAnswer,
        BatchesAnswer,
        ChosenAnswer,
        DiffAnswer,
        DocumentAnswer,
        DocumentsAnswer,
        FailuresAnswer,
        FailureView,
        HistoryAnswer,
        HoldAnswer,
        HoldsAnswer,
        LeftOutAnswer,
        ReceiptAnswer,
        SearchAnswer,
        SourcesAnswer,
        ValidationsAnswer,
    )
    from services.gateway.webhooks.models import RetriedAnswer, WebhooksAnswer
    from shared.batches.reports import BatchReport

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "HeardEvent",
    "Refused",
    "Unreachable",
    "UploadFile",
]

START: Final = "instep up PATH"
AGAIN_S: Final = 1.0
"""Before a listener connects again."""
SILENCE_S: Final = 45.0
"""A stream of events says something every 15 s; one that is silent for so long is broken."""


def find(data: Path, around: Surroundings) -> str | None:
    """The URL of the gateway of a data folder's instance, else INSTEP_URL.

    Raises:
        Unreachable: an instance runs, without a gateway.
    """
    instance = DataFolder(data).read_instance()
    if instance and instance.gateway_url:
        return instance.gateway_url
    if instance and not around.url:
        raise Unreachable(
            f"the instance of {data} (pid {instance.pid}) has no gateway", "instep run gateway"
        )
    return around.url


def key_for(url: str, data: Path, around: Surroundings) -> str | None:
    """The key for a gateway: of INSTEP_KEY_FILE, or the owner's of the data folder.

    The owner's key goes to the instance of its own folder, and to no other program; before that
    instance it counts first, for the other one is that of INSTEP_URL. No key goes where another
    user says that the instance of the folder listens.

    Raises:
        ConfigurationError: a file cannot be read, or is another user's.
    """
    from shared.domain.errors import ConfigurationError

    found = DataFolder(data).instance_and_owner()
    own = found is not None and (found[0].gateway_url or "").rstrip("/") == url.rstrip("/")
    key = owner_key(data) if own else None
    if key is None and around.key_file:
        key = key_in(Path(around.key_file))
    if key is not None and own and found is not None and found[1] != os.geteuid():
        raise ConfigurationError(
            f"the instance of {data} is that of another user (uid {found[1]}), who gets no key "
            f"of this one (uid {os.geteuid()}): act as that user, or give the key itself"
        )
    return key


NOTHING: Final = Extras()


class HeardEvent(NamedTuple):
    """An event, and the id after which to go on.

    type: `document`, `validation`, `batch`; or `reset`: events are lost, list the documents anew.
    """

    id: int
    type: str
    data: dict[str, Any]


def _put(content: bytes | str, fields: PutFields) -> tuple[dict[str, Any], Extras]:
    """The fields of the address, and the rest."""
    body = content.encode() if isinstance(content, str) else content
    return _written(fields, body, fields.get("media_type"))


def _written(
    fields: WriteFields, body: bytes | None = None, media_type: str | None = None
) -> tuple[dict[str, Any], Extras]:
    sending = Extras(body, media_type, fields.get("if_revision"), fields.get("idempotency_key"))
    return {"wait": fields.get("wait")}, sending


def _lines(submissions: Iterable[Mapping[str, Any]], key: str | None) -> Extras:
    body = b"".join(json_line(one) + b"\n" for one in submissions)
    return Extras(body, "application/x-ndjson", idempotency_key=key)


def _check_key(fields: KeyFields) -> None:
    """Raises Refused: an empty list would not be sent, and the key would be for all sources."""
    sources = fields.get("sources")
    if sources is not None and not list(sources):
        raise Refused("invalid_request", "sources: name at least one")


def _table(table: bytes | str, fields: TableFields) -> tuple[dict[str, Any], Extras]:
    body = table.encode() if isinstance(table, str) else table
    sending = Extras(body, "text/csv", idempotency_key=fields.get("idempotency_key"))
    return {name: value for name, value in fields.items() if name != "idempotency_key"}, sending


def _answer(operation: str, found: dict[str, Any]) -> object:
    return resolve(OPERATIONS[operation].answer).model_validate(found)


def _upload_lines(found: Iterable[dict[str, Any]]) -> list[UploadLine]:
    from services.gateway.uploads.models import UploadLine

    return [UploadLine.model_validate(one) for one in found]


def _refused(url: str, got: Received) -> None:
    """Raises Refused or Unreachable, as the answer tells; one that may pass is as no answer."""
    try:
        read(url, OPERATIONS["events"], got)
    except Refused as refused:
        if refused.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Unreachable(refused.detail, refused.fix) from None
        raise


async def _sent(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


class _Access:
    """What both clients know of a gateway."""

    def __init__(
        self,
        url: str | None = None,
        *,
        data: str | Path | None = None,
        key: str | None = None,
        timeout_s: float | None = None,
        again: Collection[str] | None = None,
    ) -> None:
        """Find the gateway.

        Args:
            url: of the gateway; None: the instance of the data folder, else INSTEP_URL.
            data: the data folder; None: INSTEP_DATA, else `.instep` here.
            key: of the gateway; None: the owner's, where the gateway is that of the data folder's
                instance, else the one in INSTEP_KEY_FILE.
            timeout_s: how long an answer may take, a time to `wait` included; None: 30 s, and
                longer for operations that do much.
            again: codes of 503 answers after which a reading request is made again when the
                gateway says when, within the time of the answer; None: all, empty: never.

        Raises:
            Unreachable: no instance runs.
            ConfigurationError: the key file cannot be read, or is another user's.
        """
        around = Surroundings.of(os.environ)
        folder = Path(data or around.data or DATA)
        found = url or find(folder, around)
        if found is None:
            raise Unreachable(f"no instance runs in {folder}", START)
        if key is None:
            key = key_for(found, folder, around)
        self._server = server_of(found)
        self.url: Final = found
        self._key, self._timeout_s, self._again = key, timeout_s, again

    def _call(self, operation: str, fields: Mapping[str, Any], sending: Extras = NOTHING) -> Call:
        row = OPERATIONS[operation]
        return call_of(row, fields, sending=sending, timeout_s=self._timeout_s)

    def _late(self, call: Call) -> Unreachable:
        return Unreachable(
            f"{self.url} does not answer within {call.timeout_s:.0f} s", "instep doctor"
        )

    def _away(self, error: Exception) -> Unreachable:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return Unreachable(f"no gateway answers at {self.url} ({reason})", START)


class Client(_Access):
    """Operations of a running instance. Threads may share one: each request has a connection.

    Methods raise `Refused` when the answer is no, and `Unreachable`; both are `ClientError`.
    """

    def ask(
        self,
        operation: str,
        fields: Mapping[str, Any] | None = None,
        sending: Extras = NOTHING,
    ) -> dict[str, Any]:
        """Do an operation by its name in the table, and return its JSON object."""
        row, call = OPERATIONS[operation], self._call(operation, fields or {}, sending)
        deadline = time.monotonic() + call.timeout_s
        while True:
            try:
                return read(self.url, row, self._received(call))
            except Refused as refused:
                pause = pause_s(row, refused, self._again)
                if pause is None or time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)

    def _connection(self, timeout_s: float) -> HTTPConnection:
        connect = HTTPSConnection if self._server.scheme == "https" else HTTPConnection
        assert self._server.hostname is not None, "server_of has looked"
        return connect(self._server.hostname, self._server.port, timeout=timeout_s)

    def _target(self, call: Call) -> str:
        return self._server.path.rstrip("/") + call.target

    def _received(self, call: Call) -> Received:
        headers = call.headers(self._key)
        try:
            with closing(self._connection(call.timeout_s)) as connection:
                body = call.body() if callable(call.body) else call.body
                with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered
                    connection.request(call.method, self._target(call), body, headers)
                got = connection.getresponse()
                return Received(got.status, got.read(), got.headers.get("Retry-After"))
        except TimeoutError:
            raise self._late(call) from None
        except (OSError, HTTPException) as error:
            raise self._away(error) from None

    def _ask(self, operation: str, **fields: Any) -> Any:
        return resolve(OPERATIONS[operation].answer).model_validate(self.ask(operation, fields))

    def search(self, q: str, **fields: Unpack[SearchFields]) -> SearchAnswer:
        """Search the index."""
        found: SearchAnswer = self._ask("search", q=q, **fields)
        return found

    def documents(self, **fields: Unpack[DocumentsFields]) -> DocumentsAnswer:
        """List documents by state, source or path."""
        found: DocumentsAnswer = self._ask("documents", **fields)
        return found

    def similar(self, name: str, **fields: Unpack[SimilarFields]) -> SearchAnswer:
        """List the documents that are similar to one, by its stored vectors."""
        found: SearchAnswer = self._ask("similar", name=name, **fields)
        return found

    def history(self, name: str, **fields: Unpack[NameFields]) -> HistoryAnswer:
        """List the revisions of a document that are still known."""
        found: HistoryAnswer = self._ask("history", name=name, **fields)
        return found

    def diff(self, name: str, **fields: Unpack[DiffFields]) -> DiffAnswer:
        """Show the chunks that the newest revision of a document adds and removes."""
        found: DiffAnswer = self._ask("diff", name=name, **fields)
        return found

    def document(self, name: str, **fields: Unpack[DocumentFields]) -> DocumentAnswer:
        """Show one document: its state, the reason, its revisions and its chunks."""
        found: DocumentAnswer = self._ask("document", name=name, **fields)
        return found

    def left_out(self, name: str, **fields: Unpack[NameFields]) -> LeftOutAnswer:
        """Show what a watched folder leaves out at a path, and why."""
        found: LeftOutAnswer = self._ask("left_out", name=name, **fields)
        return found

    def receipt(self, receipt: str, **fields: Unpack[ReceiptFields]) -> ReceiptAnswer:
        """Show the outcome of a submission; `wait` waits for it."""
        found: ReceiptAnswer = self._ask("receipt", receipt=receipt, **fields)
        return found

    def failures(self, **fields: Unpack[FailuresFields]) -> FailuresAnswer:
        """List refused and failed documents by reason, with what to do about them."""
        found: FailuresAnswer = self._ask("failures", **fields)
        return found

    def failure(self, id: str) -> FailureView:
        """Show one failure."""
        found: FailureView = self._ask("failure", id=id)
        return found

    def retry(self, **fields: Unpack[Choice]) -> ChosenAnswer:
        """Publish the newest change of each chosen document again."""
        found: ChosenAnswer = self._ask("retry", **fields)
        return found

    def dismiss(self, **fields: Unpack[Choice]) -> ChosenAnswer:
        """Stop listing the chosen failures until their documents change."""
        found: ChosenAnswer = self._ask("dismiss", **fields)
        return found

    def sources(self) -> SourcesAnswer:
        """List the sources: given ones, and those that were watched once."""
        found: SourcesAnswer = self._ask("sources")
        return found

    def source(self, source: str) -> SourceView:
        """Show one source."""
        found: SourceView = self._ask("source", source=source)
        return found

    def removals(self) -> HoldsAnswer:
        """List removals that wait for a person."""
        found: HoldsAnswer = self._ask("removals")
        return found

    def approve(self, source: str) -> HoldAnswer:
        """Do the removals of a source that wait."""
        found: HoldAnswer = self._ask("approve", source=source)
        return found

    def reject(self, source: str) -> HoldAnswer:
        """Keep the documents of a source whose files are gone."""
        found: HoldAnswer = self._ask("reject", source=source)
        return found

    def forget(self, source: str) -> HoldAnswer:
        """Remove all documents of a source that is not watched."""
        found: HoldAnswer = self._ask("forget", source=source)
        return found

    def batches(self, **fields: Unpack[PageFields]) -> BatchesAnswer:
        """List batches, newest first: those that ended, and those that are open."""
        found: BatchesAnswer = self._ask("batches", **fields)
        return found

    def report(self, batch: str, **fields: Unpack[ReportFields]) -> BatchReport:
        """Show the report of a batch, as JSON or, with `format=html`, as a page."""
        found: BatchReport = self._ask("report", batch=batch, **fields)
        return found

    def batch(self, batch: str, **fields: Unpack[EndedFields]) -> BatchAnswer:
        """Show a batch; `wait` waits for its end."""
        found: BatchAnswer = self._ask("batch", batch=batch, **fields)
        return found

    def validations(self, **fields: Unpack[PageFields]) -> ValidationsAnswer:
        """List verdicts on batches and on the index, newest first."""
        found: ValidationsAnswer = self._ask("validations", **fields)
        return found

    def status(self) -> StatusAnswer:
        """Show how far the index is behind its sources."""
        found: StatusAnswer = self._ask("status")
        return found

    def validate(self, **fields: Unpack[ValidateFields]) -> ValidateAnswer:
        """Check the index, or one batch, now."""
        found: ValidateAnswer = self._ask("validate", **fields)
        return found

    def sweep(self, **fields: Unpack[SweepFields]) -> SweepAnswer:
        """Compare sources, ledger and store now, and repair what differs."""
        found: SweepAnswer = self._ask("sweep", **fields)
        return found

    def generate(self, **fields: Unpack[GenerateFields]) -> GenerateAnswer:
        """Send documents with missing or wrong vectors again, in the background."""
        found: GenerateAnswer = self._ask("generate", **fields)
        return found

    def checks(self, **fields: Unpack[ChecksFields]) -> ChecksAnswer:
        """Check the instance; `deep` compares the store with the ledger too."""
        found: ChecksAnswer = self._ask("checks", **fields)
        return found

    def keys(self) -> KeysAnswer:
        """List the keys of the gateway, without their secrets."""
        found: KeysAnswer = self._ask("keys")
        return found

    def create_key(self, scopes: Sequence[str], **fields: Unpack[KeyFields]) -> CreatedKeyAnswer:
        """Make a key; the answer is the only place that tells it."""
        _check_key(fields)
        found: CreatedKeyAnswer = self._ask("create_key", scopes=list(scopes), **fields)
        return found

    def revoke_key(self, id: str) -> KeyView:
        """Let a key open nothing any more."""
        found: KeyView = self._ask("revoke_key", id=id)
        return found

    def browser_link(self) -> LinkAnswer:
        """Make a link that lets one browser in, once."""
        found: LinkAnswer = self._ask("browser_link")
        return found

    def webhooks(self) -> WebhooksAnswer:
        """List the webhooks of the settings, each with what was delivered and what failed."""
        found: WebhooksAnswer = self._ask("webhooks")
        return found

    def retry_webhook(self, name: str) -> RetriedAnswer:
        """Send the events of a webhook again that failed or were given up."""
        found: RetriedAnswer = self._ask("retry_webhook", name=name)
        return found

    def version(self) -> VersionAnswer:
        """Show the versions of the program and of the interface, and the generation."""
        found: VersionAnswer = self._ask("version")
        return found

    def put_document(
        self, source: str, path: str, content: bytes | str, **fields: Unpack[PutFields]
    ) -> UploadAnswer:
        """Write a document; its content is the body."""
        given, sending = _put(content, fields)
        address = {"source": source, "path": path, **given}
        found = self.ask("put_document", address, sending)
        return cast("UploadAnswer", _answer("put_document", found))

    def delete_document(
        self, source: str, path: str, **fields: Unpack[WriteFields]
    ) -> UploadAnswer:
        """Delete a document."""
        given, sending = _written(fields)
        address = {"source": source, "path": path, **given}
        found = self.ask("delete_document", address, sending)
        return cast("UploadAnswer", _answer("delete_document", found))

    def bulk(
        self,
        source: str,
        submissions: Iterable[Mapping[str, Any]],
        *,
        idempotency_key: str | None = None,
    ) -> UploadsAnswer:
        """Write and delete many documents: lines of JSON, or a table in CSV."""
        sending = _lines(submissions, idempotency_key)
        found = self.ask("bulk", {"source": source}, sending)
        return cast("UploadsAnswer", _answer("bulk", found))

    def bulk_csv(
        self, source: str, table: bytes | str, **fields: Unpack[TableFields]
    ) -> UploadsAnswer:
        """Write many documents: a table in CSV, whose further columns are metadata."""
        given, sending = _table(table, fields)
        found = self.ask("bulk", {"source": source, **given}, sending)
        return cast("UploadsAnswer", _answer("bulk", found))

    def bulk_receipts(
        self,
        source: str,
        submissions: Iterable[Mapping[str, Any]],
        *,
        idempotency_key: str | None = None,
    ) -> list[UploadLine]:
        """Write and delete many documents: lines of JSON; what became of each line.

        They come in the order in which they were decided.
        """
        sending = _lines(submissions, idempotency_key)
        return _upload_lines(self._ask_lines("bulk", source, sending))

    def upload_documents(
        self, source: str, files: Sequence[UploadFile], *, idempotency_key: str | None = None
    ) -> UploadsAnswer:
        """Write many documents: files of a form, and a field `meta`."""
        sending = form(files, idempotency_key)
        found = self.ask("upload_documents", {"source": source}, sending)
        return cast("UploadsAnswer", _answer("upload_documents", found))

    def upload_receipts(
        self, source: str, files: Sequence[UploadFile], *, idempotency_key: str | None = None
    ) -> list[UploadLine]:
        """Write many documents: files of a form; what became of each file."""
        sending = form(files, idempotency_key)
        return _upload_lines(self._ask_lines("upload_documents", source, sending))

    def _ask_lines(self, operation: str, source: str, sending: Extras) -> list[dict[str, Any]]:
        call = self._call(operation, {"source": source, "receipts": "all"}, sending)
        return read_lines(self.url, OPERATIONS[operation], self._received(call))

    def delete_documents(self, source: str, **fields: Unpack[DeleteFields]) -> DeleteAnswer:
        """Delete many documents: by path, or all below a prefix."""
        found = self.ask("delete_documents", {"source": source, **fields})
        return cast("DeleteAnswer", _answer("delete_documents", found))

    def events(self, **fields: Unpack[ListenFields]) -> Iterator[HeardEvent]:
        """Listen to outcomes as they come, over breaks of the connection, without an end.

        Raises:
            Refused: the request cannot be.
        """
        after = fields.get("after")
        while True:
            lines = EventLines(after)
            try:
                for line in self._listened({**fields, "after": after}):
                    if (event := lines.take(line)) is not None:
                        yield HeardEvent(lines.after or 0, *event)
            except Unreachable:
                pass
            after = lines.after
            time.sleep(AGAIN_S)

    def _listened(self, fields: Mapping[str, Any]) -> Iterator[bytes]:
        call = self._call("events", fields)
        with closing(self._connection(SILENCE_S)) as connection:
            try:
                connection.request(call.method, self._target(call), None, call.headers(self._key))
                got = connection.getresponse()
                if got.status != HTTPStatus.OK:
                    _refused(self.url, Received(got.status, got.read()))
                yield from got
            except (OSError, HTTPException) as error:
                raise self._away(error) from None


class AsyncClient(_Access):
    """The same for asyncio, as `async with AsyncClient() as client`; requests share connections.

    Methods raise `Refused` when the answer is no, and `Unreachable`; both are `ClientError`.
    """

    _session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        from aiohttp import ClientSession, ClientTimeout

        # the time of each operation counts, and some have hours
        self._session = ClientSession(timeout=ClientTimeout(total=None))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def ask(
        self,
        operation: str,
        fields: Mapping[str, Any] | None = None,
        sending: Extras = NOTHING,
    ) -> dict[str, Any]:
        """Do an operation by its name in the table, and return its JSON object."""
        from asyncio import sleep

        row, call = OPERATIONS[operation], self._call(operation, fields or {}, sending)
        deadline = time.monotonic() + call.timeout_s
        while True:
            try:
                return read(self.url, row, await self._received(call))
            except Refused as refused:
                pause = pause_s(row, refused, self._again)
                if pause is None or time.monotonic() + pause > deadline:
                    raise
            await sleep(pause)

    def _requested(self, call: Call, **options: Any) -> _RequestContextManager:
        from yarl import URL

        if self._session is None:
            raise RuntimeError("write `async with AsyncClient() as client`")
        url = URL(self.url.rstrip("/") + call.target, encoded=True)
        body = _sent(call.body()) if callable(call.body) else call.body
        return self._session.request(
            call.method, url, data=body, headers=call.headers(self._key), **options
        )

    async def _received(self, call: Call) -> Received:
        from asyncio import timeout

        from aiohttp import ClientError as TransportError

        try:
            async with timeout(call.timeout_s), self._requested(call) as got:
                return Received(got.status, await got.read(), got.headers.get("Retry-After"))
        except TimeoutError:
            raise self._late(call) from None
        except (OSError, TransportError) as error:
            raise self._away(error) from None

    async def _ask(self, operation: str, **fields: Any) -> Any:
        body = await self.ask(operation, fields)
        return resolve(OPERATIONS[operation].answer).model_validate(body)

    async def search(self, q: str, **fields: Unpack[SearchFields]) -> SearchAnswer:
        """Search the index."""
        found: SearchAnswer = await self._ask("search", q=q, **fields)
        return found

    async def documents(self, **fields: Unpack[DocumentsFields]) -> DocumentsAnswer:
        """List documents by state, source or path."""
        found: DocumentsAnswer = await self._ask("documents", **fields)
        return found

    async def similar(self, name: str, **fields: Unpack[SimilarFields]) -> SearchAnswer:
        """List the documents that are similar to one, by its stored vectors."""
        found: SearchAnswer = await self._ask("similar", name=name, **fields)
        return found

    async def history(self, name: str, **fields: Unpack[NameFields]) -> HistoryAnswer:
        """List the revisions of a document that are still known."""
        found: HistoryAnswer = await self._ask("history", name=name, **fields)
        return found

    async def diff(self, name: str, **fields: Unpack[DiffFields]) -> DiffAnswer:
        """Show the chunks that the newest revision of a document adds and removes."""
        found: DiffAnswer = await self._ask("diff", name=name, **fields)
        return found

    async def document(self, name: str, **fields: Unpack[DocumentFields]) -> DocumentAnswer:
        """Show one document: its state, the reason, its revisions and its chunks."""
        found: DocumentAnswer = await self._ask("document", name=name, **fields)
        return found

    async def left_out(self, name: str, **fields: Unpack[NameFields]) -> LeftOutAnswer:
        """Show what a watched folder leaves out at a path, and why."""
        found: LeftOutAnswer = await self._ask("left_out", name=name, **fields)
        return found

    async def receipt(self, receipt: str, **fields: Unpack[ReceiptFields]) -> ReceiptAnswer:
        """Show the outcome of a submission; `wait` waits for it."""
        found: ReceiptAnswer = await self._ask("receipt", receipt=receipt, **fields)
        return found

    async def failures(self, **fields: Unpack[FailuresFields]) -> FailuresAnswer:
        """List refused and failed documents by reason, with what to do about them."""
        found: FailuresAnswer = await self._ask("failures", **fields)
        return found

    async def failure(self, id: str) -> FailureView:
        """Show one failure."""
        found: FailureView = await self._ask("failure", id=id)
        return found

    async def retry(self, **fields: Unpack[Choice]) -> ChosenAnswer:
        """Publish the newest change of each chosen document again."""
        found: ChosenAnswer = await self._ask("retry", **fields)
        return found

    async def dismiss(self, **fields: Unpack[Choice]) -> ChosenAnswer:
        """Stop listing the chosen failures until their documents change."""
        found: ChosenAnswer = await self._ask("dismiss", **fields)
        return found

    async def sources(self) -> SourcesAnswer:
        """List the sources: given ones, and those that were watched once."""
        found: SourcesAnswer = await self._ask("sources")
        return found

    async def source(self, source: str) -> SourceView:
        """Show one source."""
        found: SourceView = await self._ask("source", source=source)
        return found

    async def removals(self) -> HoldsAnswer:
        """List removals that wait for a person."""
        found: HoldsAnswer = await self._ask("removals")
        return found

    async def approve(self, source: str) -> HoldAnswer:
        """Do the removals of a source that wait."""
        found: HoldAnswer = await self._ask("approve", source=source)
        return found

    async def reject(self, source: str) -> HoldAnswer:
        """Keep the documents of a source whose files are gone."""
        found: HoldAnswer = await self._ask("reject", source=source)
        return found

    async def forget(self, source: str) -> HoldAnswer:
        """Remove all documents of a source that is not watched."""
        found: HoldAnswer = await self._ask("forget", source=source)
        return found

    async def batches(self, **fields: Unpack[PageFields]) -> BatchesAnswer:
        """List batches, newest first: those that ended, and those that are open."""
        found: BatchesAnswer = await self._ask("batches", **fields)
        return found

    async def report(self, batch: str, **fields: Unpack[ReportFields]) -> BatchReport:
        """Show the report of a batch, as JSON or, with `format=html`, as a page."""
        found: BatchReport = await self._ask("report", batch=batch, **fields)
        return found

    async def batch(self, batch: str, **fields: Unpack[EndedFields]) -> BatchAnswer:
        """Show a batch; `wait` waits for its end."""
        found: BatchAnswer = await self._ask("batch", batch=batch, **fields)
        return found

    async def validations(self, **fields: Unpack[PageFields]) -> ValidationsAnswer:
        """List verdicts on batches and on the index, newest first."""
        found: ValidationsAnswer = await self._ask("validations", **fields)
        return found

    async def status(self) -> StatusAnswer:
        """Show how far the index is behind its sources."""
        found: StatusAnswer = await self._ask("status")
        return found

    async def validate(self, **fields: Unpack[ValidateFields]) -> ValidateAnswer:
        """Check the index, or one batch, now."""
        found: ValidateAnswer = await self._ask("validate", **fields)
        return found

    async def sweep(self, **fields: Unpack[SweepFields]) -> SweepAnswer:
        """Compare sources, ledger and store now, and repair what differs."""
        found: SweepAnswer = await self._ask("sweep", **fields)
        return found

    async def generate(self, **fields: Unpack[GenerateFields]) -> GenerateAnswer:
        """Send documents with missing or wrong vectors again, in the background."""
        found: GenerateAnswer = await self._ask("generate", **fields)
        return found

    async def checks(self, **fields: Unpack[ChecksFields]) -> ChecksAnswer:
        """Check the instance; `deep` compares the store with the ledger too."""
        found: ChecksAnswer = await self._ask("checks", **fields)
        return found

    async def keys(self) -> KeysAnswer:
        """List the keys of the gateway, without their secrets."""
        found: KeysAnswer = await self._ask("keys")
        return found

    async def create_key(
        self, scopes: Sequence[str], **fields: Unpack[KeyFields]
    ) -> CreatedKeyAnswer:
        """Make a key; the answer is the only place that tells it."""
        _check_key(fields)
        found: CreatedKeyAnswer = await self._ask("create_key", scopes=list(scopes), **fields)
        return found

    async def revoke_key(self, id: str) -> KeyView:
        """Let a key open nothing any more."""
        found: KeyView = await self._ask("revoke_key", id=id)
        return found

    async def browser_link(self) -> LinkAnswer:
        """Make a link that lets one browser in, once."""
        found: LinkAnswer = await self._ask("browser_link")
        return found

    async def webhooks(self) -> WebhooksAnswer:
        """List the webhooks of the settings, each with what was delivered and what failed."""
        found: WebhooksAnswer = await self._ask("webhooks")
        return found

    async def retry_webhook(self, name: str) -> RetriedAnswer:
        """Send the events of a webhook again that failed or were given up."""
        found: RetriedAnswer = await self._ask("retry_webhook", name=name)
        return found

    async def version(self) -> VersionAnswer:
        """Show the versions of the program and of the interface, and the generation."""
        found: VersionAnswer = await self._ask("version")
        return found

    async def put_document(
        self, source: str, path: str, content: bytes | str, **fields: Unpack[PutFields]
    ) -> UploadAnswer:
        """Write a document; its content is the body."""
        given, sending = _put(content, fields)
        address = {"source": source, "path": path, **given}
        found = await self.ask("put_document", address, sending)
        return cast("UploadAnswer", _answer("put_document", found))

    async def delete_document(
        self, source: str, path: str, **fields: Unpack[WriteFields]
    ) -> UploadAnswer:
        """Delete a document."""
        given, sending = _written(fields)
        address = {"source": source, "path": path, **given}
        found = await self.ask("delete_document", address, sending)
        return cast("UploadAnswer", _answer("delete_document", found))

    async def bulk(
        self,
        source: str,
        submissions: Iterable[Mapping[str, Any]],
        *,
        idempotency_key: str | None = None,
    ) -> UploadsAnswer:
        """Write and delete many documents: lines of JSON, or a table in CSV."""
        sending = _lines(submissions, idempotency_key)
        found = await self.ask("bulk", {"source": source}, sending)
        return cast("UploadsAnswer", _answer("bulk", found))

    async def bulk_csv(
        self, source: str, table: bytes | str, **fields: Unpack[TableFields]
    ) -> UploadsAnswer:
        """Write many documents: a table in CSV, whose further columns are metadata."""
        given, sending = _table(table, fields)
        found = await self.ask("bulk", {"source": source, **given}, sending)
        return cast("UploadsAnswer", _answer("bulk", found))

    async def bulk_receipts(
        self,
        source: str,
        submissions: Iterable[Mapping[str, Any]],
        *,
        idempotency_key: str | None = None,
    ) -> list[UploadLine]:
        """Write and delete many documents: lines of JSON; what became of each line.

        They come in the order in which they were decided.
        """
        sending = _lines(submissions, idempotency_key)
        return _upload_lines(await self._ask_lines("bulk", source, sending))

    async def upload_documents(
        self, source: str, files: Sequence[UploadFile], *, idempotency_key: str | None = None
    ) -> UploadsAnswer:
        """Write many documents: files of a form, and a field `meta`."""
        sending = form(files, idempotency_key)
        found = await self.ask("upload_documents", {"source": source}, sending)
        return cast("UploadsAnswer", _answer("upload_documents", found))

    async def upload_receipts(
        self, source: str, files: Sequence[UploadFile], *, idempotency_key: str | None = None
    ) -> list[UploadLine]:
        """Write many documents: files of a form; what became of each file."""
        sending = form(files, idempotency_key)
        return _upload_lines(await self._ask_lines("upload_documents", source, sending))

    async def _ask_lines(
        self, operation: str, source: str, sending: Extras
    ) -> list[dict[str, Any]]:
        call = self._call(operation, {"source": source, "receipts": "all"}, sending)
        return read_lines(self.url, OPERATIONS[operation], await self._received(call))

    async def delete_documents(self, source: str, **fields: Unpack[DeleteFields]) -> DeleteAnswer:
        """Delete many documents: by path, or all below a prefix."""
        found = await self.ask("delete_documents", {"source": source, **fields})
        return cast("DeleteAnswer", _answer("delete_documents", found))

    async def events(self, **fields: Unpack[ListenFields]) -> AsyncIterator[HeardEvent]:
        """Listen to outcomes as they come, over breaks of the connection, without an end.

        Raises:
            Refused: the request cannot be.
        """
        from asyncio import sleep

        after = fields.get("after")
        while True:
            lines = EventLines(after)
            try:
                async for line in self._listened({**fields, "after": after}):
                    if (event := lines.take(line)) is not None:
                        yield HeardEvent(lines.after or 0, *event)
            except Unreachable:
                pass
            after = lines.after
            await sleep(AGAIN_S)

    async def _listened(self, fields: Mapping[str, Any]) -> AsyncIterator[bytes]:
        from aiohttp import ClientError as TransportError
        from aiohttp import ClientTimeout

        call = self._call("events", fields)
        silence = ClientTimeout(total=None, sock_read=SILENCE_S)
        try:
            async with self._requested(call, timeout=silence) as got:
                if got.status != HTTPStatus.OK:
                    _refused(self.url, Received(got.status, await got.read()))
                async for line in got.content:
                    yield line
        except (OSError, TransportError, TimeoutError) as error:
            raise self._away(error) from None
