"""The one table of operations: addresses, scopes and models of all that a gateway answers.

Routes, the OpenAPI document, the Python client and the command line's requests come from it. Data
only: models and handlers are named by texts, `module:name`, so that the command line can read the
table without waiting for them.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Literal
from urllib.parse import quote

BASE: Final = "/api/v1"

Method = Literal["GET", "POST", "PUT", "DELETE"]
Scope = Literal["none", "search", "read", "write", "operate", "admin"]
Run = Callable[[Any, Any], Awaitable[Any]]
"""From `Faces` and the request to the answer."""

JSON: Final = "application/json"
HTML: Final = "text/html"
TEXT: Final = "text/plain"
EVENT_STREAM: Final = "text/event-stream"
NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"

LONG_S: Final = 600.0
"""A folder is listed first, or every removal stored, or the whole index checked."""
LONGEST_S: Final = 6 * 3600.0
"""Of a sweep that sends all documents again."""

_PARAMETER: Final = re.compile(r"\{(\+?)(\w+)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """A method and an address."""

    method: Method
    path: str
    """Below BASE, or a whole address that starts with `/api/` or stands alone (`whole`).

    `{field}` is a field of the request that holds no slash; `{+field}` may hold slashes (as in
    RFC 6570), and takes all that follows.
    """
    whole: bool = False

    @property
    def template(self) -> str:
        """The whole address as RFC 6570 and the table spell it."""
        return self.path if self.whole else BASE + self.path

    @property
    def address(self) -> str:
        """The whole address with every parameter as `{field}`."""
        return _PARAMETER.sub(r"{\2}", self.template)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The fields of the request that the address holds."""
        return tuple(match[2] for match in _PARAMETER.finditer(self.template))

    def filled(self, fields: Mapping[str, str]) -> str:
        """The whole address with the fields in it, quoted for a URL."""
        return _PARAMETER.sub(
            lambda m: quote(fields[m[2]], safe="/" if m[1] else ""), self.template
        )

    def pattern(self, slashes: str) -> str:
        """The address as a router reads it; `slashes` is its expression for `{+field}`."""
        return _PARAMETER.sub(
            lambda m: f"{{{m[2]}:{slashes}}}" if m[1] else f"{{{m[2]}}}", self.template
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A request that a gateway answers.

    The ordinary handler makes the request of the address, the query and, for POST and PUT, a JSON
    object, calls `run`, and answers with JSON. An operation with another body or answer names its
    own handler.
    """

    name: str
    place: Route
    scope: Scope
    """What a key must allow; `none`: no key is needed."""
    summary: str
    """One sentence."""
    of_sources: bool = False
    """A key of some sources may do it, and then sees and changes nothing of others."""
    request: str
    """`module:name` of a `Request`: the fields of address, query and JSON object."""
    answer: str = ""
    """`module:name` of the model that the answer fits; empty: no model describes it."""
    run: Run | None = None
    """None: the handler does everything."""
    status: int = 200
    """Of a success."""
    other_statuses: tuple[int, ...] = ()
    """Of answers that fit the model as well."""
    refusals: tuple[str, ...] = ()
    """Codes of problems that not every operation has."""
    conditional: bool = False
    """Answers have an ETag, and If-None-Match is heeded."""
    timeout_s: float = 30.0
    """How long a client waits for the answer, besides the field `wait`."""
    also: tuple[Route, ...] = ()
    """Other documented addresses of the same operation."""
    aliases: tuple[Route, ...] = ()
    """Addresses of older versions, served and not documented."""
    handler: str = ""
    """`module:name` of an aiohttp handler: it reads the body itself, streams, or shows a page."""
    body: tuple[str, ...] = ()
    """Media types of a body that is no JSON object; the fields are then in address and query."""
    produces: tuple[str, ...] = (JSON,)
    """Media types of a success."""
    lines: str = ""
    """`module:name` of the model that each line of an answer in NDJSON fits."""
    headers: tuple[str, ...] = ()
    """Headers of the request that it reads."""

    @property
    def places(self) -> tuple[Route, ...]:
        """Documented addresses."""
        return (self.place, *self.also)

    @property
    def is_safe(self) -> bool:
        """Whether it changes nothing, so that it may be done again."""
        return self.scope in ("none", "search", "read")

    def fields_in_json(self, place: Route) -> bool:
        """Whether fields that the address does not hold are in a JSON object, not in the query."""
        return place.method in ("POST", "PUT") and not self.body


def resolve(text: str) -> Any:
    """What `module:name` names."""
    module, _, name = text.partition(":")
    return getattr(import_module(module), name)


_MODELS: Final = "services.gateway.models:"
_VIEWS: Final = "services.gateway.views:"
_SWEEPS: Final = "services.gateway.status.sweeps:"
_ACCESS_MODELS: Final = "services.gateway.access.models:"
_ROUTES: Final = "services.gateway.routes:"
_UPLOAD_MODELS: Final = "services.gateway.uploads.models:"
_UPLOAD_HANDLERS: Final = "services.gateway.uploads.handlers:"
_WEBHOOK_MODELS: Final = "services.gateway.webhooks.models:"
_REPORTS: Final = "shared.batches.reports:"


def _get(path: str) -> Route:
    return Route("GET", path)


def _post(path: str) -> Route:
    return Route("POST", path)


def _rows() -> Iterator[Operation]:
    yield from _SEARCHING
    yield from _DOCUMENTS
    yield from _UPLOADS
    yield from _FAILURES
    yield from _SOURCES
    yield from _REMOVALS
    yield from _BATCHES
    yield from _INSTANCE
    yield from _ACCESS
    yield from _EVENTS
    yield from _PLAIN


_SEARCHING: Final = (
    Operation(
        name="search",
        place=_post("/search"),
        also=(_get("/search"),),
        scope="search",
        summary="Search the index.",
        of_sources=True,
        refusals=("invalid_filter", "question_refused", "receipt_not_found", "field_not_ready"),
        request=_MODELS + "SearchRequest",
        answer=_VIEWS + "SearchAnswer",
        run=lambda f, r: f.queries.search(r),
    ),
)

_DOCUMENTS: Final = (
    Operation(
        name="documents",
        place=_get("/documents"),
        scope="read",
        summary="List documents by state, source or path.",
        of_sources=True,
        request=_MODELS + "DocumentsRequest",
        answer=_VIEWS + "DocumentsAnswer",
        run=lambda f, r: f.queries.documents(r),
    ),
    Operation(
        name="similar",
        place=_get("/documents/{+name}/similar"),
        scope="search",
        summary="List the documents that are similar to one, by its stored vectors.",
        refusals=(
            "document_not_found",
            "document_left_out",
            "ambiguous_path",
            "not_searchable",
            "invalid_filter",
            "field_not_ready",
        ),
        of_sources=True,
        request=_MODELS + "SimilarRequest",
        answer=_VIEWS + "SearchAnswer",
        run=lambda f, r: f.queries.similar(r),
    ),
    Operation(
        name="history",
        place=_get("/documents/{+name}/history"),
        scope="read",
        summary="List the revisions of a document that are still known.",
        refusals=("document_not_found", "document_left_out", "ambiguous_path"),
        of_sources=True,
        request=_MODELS + "HistoryRequest",
        answer=_VIEWS + "HistoryAnswer",
        run=lambda f, r: f.queries.history(r),
    ),
    Operation(
        name="diff",
        place=_get("/documents/{+name}/diff"),
        scope="read",
        summary="Show the chunks that the newest revision of a document adds and removes.",
        refusals=("document_not_found", "document_left_out", "ambiguous_path"),
        of_sources=True,
        request=_MODELS + "DiffRequest",
        answer=_VIEWS + "DiffAnswer",
        run=lambda f, r: f.queries.diff(r),
    ),
    Operation(
        name="document",
        place=_get("/documents/{+name}"),
        scope="read",
        summary="Show one document: its state, the reason, its revisions and its chunks.",
        of_sources=True,
        refusals=("document_not_found", "document_left_out", "ambiguous_path"),
        conditional=True,
        request=_MODELS + "DocumentRequest",
        answer=_VIEWS + "DocumentAnswer",
        run=lambda f, r: f.queries.document(r),
    ),
    Operation(
        name="left_out",
        place=_get("/left-out"),
        scope="read",
        summary="Show what a watched folder leaves out at a path, and why.",
        of_sources=True,
        refusals=("not_watched", "document_not_found"),
        request=_MODELS + "LeftOutRequest",
        answer=_VIEWS + "LeftOutAnswer",
        run=lambda f, r: f.queries.left_out(r),
    ),
    Operation(
        name="receipt",
        place=_get("/receipts/{receipt}"),
        scope="read",
        summary="Show the outcome of a submission; `wait` waits for it.",
        of_sources=True,
        refusals=("receipt_not_found",),
        request=_MODELS + "ReceiptRequest",
        answer=_VIEWS + "ReceiptAnswer",
        run=lambda f, r: f.queries.receipt(r),
    ),
)

_TAKEN: Final = (
    "source_watched",
    "producer_unavailable",
    "stream_full",
    "idempotency_conflict",
    "idempotency_in_progress",
)
"""Codes of operations that send documents."""
_CONDITION: Final = ("invalid_path", "revision_changed")
_CONTENT: Final = (
    "format_not_supported",
    "document_too_large",
    "reference_not_allowed",
    "source_gone",
    "stale_version",
)
_LONG_S: Final = 1800.0

_UPLOADS: Final = (
    Operation(
        name="put_document",
        place=Route("PUT", "/sources/{source}/documents/{+path}"),
        scope="write",
        summary="Write a document; its content is the body.",
        of_sources=True,
        request=_UPLOAD_MODELS + "UploadRequest",
        answer=_UPLOAD_MODELS + "UploadAnswer",
        refusals=(*_TAKEN, *_CONDITION, *_CONTENT),
        handler=_UPLOAD_HANDLERS + "put",
        headers=("Idempotency-Key", "If-Match"),
        timeout_s=_LONG_S,
        body=("*/*", "application/vnd.instep.submission+json"),
        status=202,
        other_statuses=(200,),
    ),
    Operation(
        name="delete_document",
        place=Route("DELETE", "/sources/{source}/documents/{+path}"),
        scope="write",
        summary="Delete a document.",
        of_sources=True,
        request=_UPLOAD_MODELS + "UploadRequest",
        answer=_UPLOAD_MODELS + "UploadAnswer",
        refusals=(*_TAKEN, *_CONDITION),
        handler=_UPLOAD_HANDLERS + "delete",
        headers=("Idempotency-Key", "If-Match"),
        timeout_s=60.0,
        status=202,
        other_statuses=(200,),
    ),
    Operation(
        name="upload_documents",
        place=_post("/sources/{source}/documents"),
        scope="write",
        summary="Write many documents: files of a form, and a field `meta`.",
        of_sources=True,
        request=_UPLOAD_MODELS + "UploadsRequest",
        answer=_UPLOAD_MODELS + "UploadsAnswer",
        refusals=(*_TAKEN, "all_refused", "format_not_supported"),
        handler=_UPLOAD_HANDLERS + "post_files",
        headers=("Idempotency-Key",),
        timeout_s=_LONG_S,
        body=("multipart/form-data",),
        produces=(JSON, NDJSON),
        lines=_UPLOAD_MODELS + "UploadLine",
        status=202,
        other_statuses=(200, 207),
    ),
    Operation(
        name="bulk",
        place=_post("/sources/{source}/bulk"),
        scope="write",
        summary="Write and delete many documents: lines of JSON, or a table in CSV.",
        of_sources=True,
        request=_UPLOAD_MODELS + "BulkRequest",
        answer=_UPLOAD_MODELS + "UploadsAnswer",
        refusals=(*_TAKEN, "all_refused", "format_not_supported"),
        handler=_UPLOAD_HANDLERS + "post_lines",
        headers=("Idempotency-Key",),
        timeout_s=_LONG_S,
        body=(NDJSON, CSV),
        produces=(JSON, NDJSON),
        lines=_UPLOAD_MODELS + "UploadLine",
        status=202,
        other_statuses=(200, 207),
    ),
    Operation(
        name="delete_documents",
        place=_post("/sources/{source}/delete"),
        scope="write",
        summary="Delete many documents: by path, or all below a prefix.",
        of_sources=True,
        request=_UPLOAD_MODELS + "DeleteRequest",
        answer=_UPLOAD_MODELS + "DeleteAnswer",
        refusals=(*_TAKEN, "all_refused"),
        handler=_UPLOAD_HANDLERS + "delete_many",
        headers=("Idempotency-Key",),
        timeout_s=_LONG_S,
        status=202,
        other_statuses=(207,),
    ),
)

_FAILURES: Final = (
    Operation(
        name="failures",
        place=_get("/failures"),
        scope="read",
        summary="List refused and failed documents by reason, with what to do about them.",
        of_sources=True,
        request=_MODELS + "FailuresRequest",
        answer=_VIEWS + "FailuresAnswer",
        run=lambda f, r: f.queries.failures(r),
    ),
    Operation(
        name="failure",
        place=_get("/failures/{+id}"),
        scope="read",
        summary="Show one failure.",
        of_sources=True,
        refusals=("failure_not_found", "ambiguous_path"),
        request=_MODELS + "FailureRequest",
        answer=_VIEWS + "FailureView",
        run=lambda f, r: f.queries.failure(r),
    ),
    Operation(
        name="retry",
        place=_post("/failures/retry"),
        scope="operate",
        summary="Publish the newest change of each chosen document again.",
        of_sources=True,
        refusals=("failure_not_found", "ambiguous_path"),
        request=_MODELS + "ChooseRequest",
        answer=_VIEWS + "ChosenAnswer",
        run=lambda f, r: f.commands.retry(r),
    ),
    Operation(
        name="dismiss",
        place=_post("/failures/dismiss"),
        aliases=(_post("/failures/drop"),),
        scope="operate",
        summary="Stop listing the chosen failures until their documents change.",
        of_sources=True,
        refusals=("failure_not_found", "ambiguous_path"),
        request=_MODELS + "ChooseRequest",
        answer=_VIEWS + "ChosenAnswer",
        run=lambda f, r: f.commands.drop(r),
    ),
)

_SOURCES: Final = (
    Operation(
        name="sources",
        place=_get("/sources"),
        scope="read",
        summary="List the sources: given ones, and those that were watched once.",
        of_sources=True,
        request=_MODELS + "StatusRequest",
        answer=_VIEWS + "SourcesAnswer",
        run=lambda f, _: f.queries.sources_known(),
    ),
    Operation(
        name="source",
        place=_get("/sources/{source}"),
        scope="read",
        summary="Show one source.",
        of_sources=True,
        refusals=("source_not_found",),
        request=_MODELS + "SourceRequest",
        answer=_MODELS + "SourceView",
        run=lambda f, r: f.queries.source(r),
    ),
)

_REMOVALS: Final = (
    Operation(
        name="removals",
        place=_get("/removals"),
        aliases=(_get("/holds"),),
        scope="read",
        summary="List removals that wait for a person.",
        of_sources=True,
        request=_MODELS + "StatusRequest",
        answer=_VIEWS + "HoldsAnswer",
        run=lambda f, _: f.queries.holds(),
    ),
    Operation(
        name="approve",
        place=_post("/removals/{source}/approve"),
        aliases=(_post("/holds/release"),),
        scope="operate",
        summary="Do the removals of a source that wait.",
        of_sources=True,
        refusals=("hold_not_found",),
        timeout_s=LONG_S,
        request=_MODELS + "HoldRequest",
        answer=_VIEWS + "HoldAnswer",
        run=lambda f, r: f.commands.release(r),
    ),
    Operation(
        name="reject",
        place=_post("/removals/{source}/reject"),
        aliases=(_post("/holds/keep"),),
        scope="operate",
        summary="Keep the documents of a source whose files are gone.",
        of_sources=True,
        refusals=("hold_not_found",),
        timeout_s=LONG_S,
        request=_MODELS + "HoldRequest",
        answer=_VIEWS + "HoldAnswer",
        run=lambda f, r: f.commands.keep(r),
    ),
    Operation(
        name="forget",
        place=_post("/sources/{source}/forget"),
        aliases=(_post("/sources/forget"),),
        scope="operate",
        summary="Remove all documents of a source that is not watched.",
        of_sources=True,
        refusals=("source_not_found", "source_watched"),
        timeout_s=LONG_S,
        request=_MODELS + "ForgetRequest",
        answer=_VIEWS + "HoldAnswer",
        run=lambda f, r: f.commands.forget(r),
    ),
)

_BATCHES: Final = (
    Operation(
        name="batches",
        place=_get("/batches"),
        scope="read",
        summary="List batches, newest first: those that ended, and those that are open.",
        of_sources=True,
        request=_MODELS + "BatchesRequest",
        answer=_VIEWS + "BatchesAnswer",
        run=lambda f, r: f.queries.batches(r),
    ),
    Operation(
        name="report",
        place=_get("/batches/{+batch}/report"),
        scope="read",
        summary="Show the report of a batch, as JSON or, with `format=html`, as a page.",
        of_sources=True,
        refusals=("batch_not_found", "ambiguous_batch"),
        request=_MODELS + "ReportRequest",
        answer=_REPORTS + "BatchReport",
        run=lambda f, r: f.queries.report(r),
        handler=_ROUTES + "report",
        produces=(JSON, HTML),
    ),
    Operation(
        name="batch",
        place=_get("/batches/{+batch}"),
        scope="read",
        summary="Show a batch; `wait` waits for its end.",
        of_sources=True,
        refusals=("batch_not_found", "ambiguous_batch"),
        request=_MODELS + "EndedBatchRequest",
        answer=_VIEWS + "BatchAnswer",
        run=lambda f, r: f.queries.batch(r),
    ),
    Operation(
        name="reports",
        place=_get("/reports"),
        scope="read",
        summary="Show the last batches and validations as a page.",
        of_sources=True,
        request=_MODELS + "ReportsRequest",
        handler=_ROUTES + "reports",
        produces=(HTML,),
    ),
    Operation(
        name="validations",
        place=_get("/validations"),
        scope="read",
        summary="List verdicts on batches and on the index, newest first.",
        of_sources=True,
        request=_MODELS + "BatchesRequest",
        answer=_VIEWS + "ValidationsAnswer",
        run=lambda f, r: f.queries.validations(r),
    ),
)

_INSTANCE: Final = (
    Operation(
        name="status",
        place=_get("/status"),
        scope="read",
        summary="Show how far the index is behind its sources.",
        of_sources=True,
        request=_MODELS + "StatusRequest",
        answer=_MODELS + "StatusAnswer",
        run=lambda f, _: f.queries.status(),
    ),
    Operation(
        name="validate",
        place=_post("/validate"),
        scope="operate",
        summary="Check the index, or one batch, now.",
        refusals=("batch_not_found", "ambiguous_batch"),
        timeout_s=LONG_S,
        request=_MODELS + "ValidateRequest",
        answer=_MODELS + "ValidateAnswer",
        run=lambda f, r: f.commands.validate(r),
    ),
    Operation(
        name="sweep",
        place=_post("/sweep"),
        scope="operate",
        summary="Compare sources, ledger and store now, and repair what differs.",
        timeout_s=LONGEST_S,
        request=_SWEEPS + "SweepRequest",
        answer=_SWEEPS + "SweepAnswer",
        run=lambda f, r: f.commands.sweep(r),
    ),
    Operation(
        name="generate",
        place=Route("POST", "/api/tasks/generate-embeddings", whole=True),
        scope="operate",
        summary="Send documents with missing or wrong vectors again, in the background.",
        request=_SWEEPS + "GenerateRequest",
        answer=_SWEEPS + "GenerateAnswer",
        run=lambda f, r: f.commands.generate(r),
        status=202,
    ),
    Operation(
        name="checks",
        place=_get("/checks"),
        scope="read",
        summary="Check the instance; `deep` compares the store with the ledger too.",
        of_sources=True,
        request=_MODELS + "ChecksRequest",
        answer=_MODELS + "ChecksAnswer",
        run=lambda f, r: f.queries.checks(r),
    ),
    Operation(
        name="version",
        place=_get("/version"),
        scope="read",
        summary="Show the versions of the program and of the interface, and the generation.",
        of_sources=True,
        request=_MODELS + "StatusRequest",
        answer=_MODELS + "VersionAnswer",
        run=lambda f, _: f.queries.version(),
    ),
)

_ACCESS: Final = (
    Operation(
        name="keys",
        place=_get("/keys"),
        scope="admin",
        summary="List the keys of the gateway, without their secrets.",
        refusals=("no_keys",),
        request=_MODELS + "StatusRequest",
        answer=_ACCESS_MODELS + "KeysAnswer",
        run=lambda f, _: f.access.keys(),
    ),
    Operation(
        name="create_key",
        place=_post("/keys"),
        scope="admin",
        summary="Make a key; the answer is the only place that tells it.",
        refusals=("no_keys",),
        request=_ACCESS_MODELS + "CreateKeyRequest",
        answer=_ACCESS_MODELS + "CreatedKeyAnswer",
        run=lambda f, r: f.access.create(r),
        status=201,
    ),
    Operation(
        name="revoke_key",
        place=Route("DELETE", "/keys/{id}"),
        scope="admin",
        summary="Let a key open nothing any more.",
        refusals=("key_not_found", "no_keys"),
        request=_ACCESS_MODELS + "KeyRequest",
        answer=_ACCESS_MODELS + "KeyView",
        run=lambda f, r: f.access.revoke(r),
    ),
    Operation(
        name="browser_link",
        place=_post("/browser-links"),
        scope="admin",
        summary="Make a link that lets one browser in, once.",
        refusals=("no_keys",),
        request=_ACCESS_MODELS + "LinkRequest",
        answer=_ACCESS_MODELS + "LinkAnswer",
        run=lambda f, _: f.access.link(),
        status=201,
    ),
    Operation(
        name="enter",
        place=Route("GET", "/enter", whole=True),
        scope="none",
        of_sources=True,
        summary="Exchange the token of a link for the session of a browser, and go to its page.",
        request=_ACCESS_MODELS + "EnterRequest",
        handler="services.gateway.pages.frame:enter",
        produces=(HTML,),
    ),
)

_EVENTS: Final = (
    Operation(
        name="events",
        place=_get("/events"),
        scope="read",
        summary="Listen to outcomes as server-sent events, which resume after `Last-Event-ID`.",
        of_sources=True,
        request="services.gateway.events.stream:EventsRequest",
        refusals=("too_many_listeners",),
        handler="services.gateway.events.stream:events",
        produces=(EVENT_STREAM,),
    ),
    Operation(
        name="webhooks",
        place=_get("/webhooks"),
        scope="operate",
        summary="List the webhooks of the settings, each with what was delivered and what failed.",
        request=_MODELS + "StatusRequest",
        answer=_WEBHOOK_MODELS + "WebhooksAnswer",
        run=lambda f, _: f.webhooks.list(),
    ),
    Operation(
        name="retry_webhook",
        place=_post("/webhooks/{name}/retry"),
        scope="operate",
        summary="Send the events of a webhook again that failed or were given up.",
        refusals=("webhook_not_found",),
        request=_WEBHOOK_MODELS + "WebhookRequest",
        answer=_WEBHOOK_MODELS + "RetriedAnswer",
        run=lambda f, r: f.webhooks.retry(r),
    ),
)

_PLAIN: Final = (
    Operation(
        name="openapi",
        place=_get("/openapi.json"),
        scope="none",
        summary="Show this document.",
        of_sources=True,
        request=_MODELS + "StatusRequest",
        handler=_ROUTES + "openapi",
    ),
    Operation(
        name="livez",
        place=Route("GET", "/livez", whole=True),
        scope="none",
        summary="Answer while the event loop runs.",
        of_sources=True,
        request=_MODELS + "StatusRequest",
        answer=_MODELS + "LiveAnswer",
        handler=_ROUTES + "livez",
    ),
    Operation(
        name="readyz",
        place=Route("GET", "/readyz", whole=True),
        scope="none",
        summary="Say whether bus, store and model answer.",
        of_sources=True,
        request=_MODELS + "StatusRequest",
        answer=_MODELS + "ChecksAnswer",
        handler=_ROUTES + "readyz",
        other_statuses=(503,),
    ),
    Operation(
        name="problem",
        place=Route("GET", "/problems/{code}", whole=True),
        scope="read",
        summary="Explain an error code in plain text.",
        of_sources=True,
        request=_MODELS + "ProblemRequest",
        handler=_ROUTES + "problem_page",
        produces=(TEXT,),
    ),
)

OPERATIONS: Final[Mapping[str, Operation]] = {row.name: row for row in _rows()}
