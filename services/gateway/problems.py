"""Errors of the interface: stable codes, one sentence, and a fix. Pure.

Codes are never renamed. The body is an RFC 9457 problem; the gateway serves
`/problems/CODE` itself.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from shared.domain.errors import (
    BusUnavailable,
    DocumentRefused,
    EncoderBusy,
    FilterNotReady,
    InstepError,
    QuestionRefused,
    StillLoading,
    StoreUnavailable,
    StreamFull,
)
from shared.domain.faults import causes, said

SHOWN: Final = 20
"""Faults of one request that its problem lists."""
MOST_TOLD: Final = 5
"""Faults of one request that its sentence names."""
MAX_DETAIL: Final = 2_000
"""Characters of a sentence; names in it are the client's."""
MAX_NAME: Final = 80


@dataclass(frozen=True, slots=True)
class Kind:
    """Status and title of a code, and its remedy where one fits all."""

    status: int
    title: str
    fix: str = ""


KINDS: Final[Mapping[str, Kind]] = {
    "malformed": Kind(400, "Not JSON", "send one JSON object"),
    "not_http": Kind(400, "Not HTTP", "send HTTP/1.1, with headers of at most 8 KB each"),
    "not_unicode": Kind(400, "Not Unicode", "send UTF-8, and no lone surrogates in JSON"),
    "question_refused": Kind(
        400, "Question refused", "ask with plain words, and with a shorter filter or none"
    ),
    "no_key": Kind(401, "No key", "instep --key-file FILE, or Authorization: Bearer KEY"),
    "invalid_token": Kind(401, "Token not accepted", "get a new token of the issuer"),
    "bad_host": Kind(403, "Foreign host", "ask 127.0.0.1 or localhost"),
    "forbidden": Kind(403, "Forbidden", "send the request from the page of this instance"),
    "not_found": Kind(404, "No such address", "the addresses start with /api/v1/"),
    "document_not_found": Kind(
        404, "No such document", "instep status --pending lists pending documents"
    ),
    "document_left_out": Kind(
        404,
        "Left out by a rule",
        "instep show FOLDER lists what is left out",
    ),
    "not_watched": Kind(409, "No folder is watched", "instep up"),
    "not_searchable": Kind(409, "Not searchable", "instep show PATH tells its state, and why"),
    "source_not_found": Kind(404, "No such source", "instep status lists the sources"),
    "receipt_not_found": Kind(404, "No such receipt", "a receipt is DOC_KEY-REVISION"),
    "batch_not_found": Kind(404, "No such batch", "instep report --list"),
    "key_not_found": Kind(404, "No such key", "instep keys list shows them"),
    "failure_not_found": Kind(404, "No such failure", "instep failures lists them"),
    "webhook_not_found": Kind(404, "No such webhook", "GET /api/v1/webhooks lists them"),
    "hold_not_found": Kind(404, "No removal is held", "instep removals lists held ones"),
    "method_not_allowed": Kind(405, "Method not allowed", ""),
    "no_keys": Kind(409, "Nothing asks for keys", 'start instep up; gateway.auth = "keys"'),
    "source_watched": Kind(409, "The source is watched", "instep sources lists the sources"),
    "stale_version": Kind(409, "Stale version", "read it again: a newer version was sent"),
    "idempotency_in_progress": Kind(409, "The first request still runs", "repeat it in a moment"),
    "revision_changed": Kind(412, "The document has changed", "read it again; decide anew"),
    "request_timeout": Kind(408, "Too slow", "send the whole request at once"),
    "request_too_large": Kind(413, "Request too large", "send at most 1 MiB of JSON"),
    "document_too_large": Kind(413, "Document too large", "split the document"),
    "format_not_supported": Kind(415, "Type not taken", "the manual lists the types"),
    "all_refused": Kind(422, "Nothing was taken", "errors says why, document by document"),
    "idempotency_conflict": Kind(422, "The key was used before", "use a new Idempotency-Key"),
    "reference_not_allowed": Kind(422, "Reference not allowed", "add it to allow_references"),
    "source_gone": Kind(422, "Nothing is at the reference", "look at the address"),
    "invalid_request": Kind(422, "Invalid request", ""),
    "invalid_filter": Kind(
        422, "Invalid filter", "write source:NAME, path:PREFIX, FIELD:VALUE or FIELD>=VALUE"
    ),
    "invalid_path": Kind(422, "Invalid path", ""),
    "unknown_field": Kind(422, "Unknown field", ""),
    "ambiguous_batch": Kind(422, "More than one batch", "name its source: --source NAME"),
    "ambiguous_path": Kind(422, "More than one document", "name it as SOURCE/PATH"),
    "internal_error": Kind(500, "Internal error", "look into the log; instep doctor"),
    "bus_unavailable": Kind(503, "Bus unavailable", "instep doctor"),
    "stream_full": Kind(503, "Too much waits", "send less at once; instep status"),
    "producer_unavailable": Kind(503, "No producer", "instep status lists the stages"),
    "store_unavailable": Kind(503, "Store unavailable", "instep doctor"),
    "encoder_busy": Kind(503, "Model busy", "ask again in a moment, or with mode keyword"),
    "loading": Kind(503, "Still loading", "ask again in a moment; instep status shows more"),
    "field_not_ready": Kind(
        503,
        "Field not ready",
        "ask again when the indexer has written it, or without a filter over metadata",
    ),
    "too_many_listeners": Kind(503, "Too many listeners", "listen again in a moment"),
    "issuer_unavailable": Kind(503, "Issuer unavailable", "ask again in a moment"),
    "unavailable": Kind(503, "Unavailable", "ask again in a moment; instep doctor"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One wrong place in a request; `at` is a JSON pointer."""

    at: str
    code: str
    detail: str


@dataclass(eq=False)
class Problem(InstepError):
    """A refusal, and its fix."""

    code: str
    detail: str
    fix: str = ""
    faults: tuple[Fault, ...] = field(default=())
    """The first of them."""
    fault_count: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of the answer, beside those of its status."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further members of the body."""

    def __post_init__(self) -> None:
        self.detail = cut(self.detail, MAX_DETAIL)
        super().__init__(self.detail)

    @property
    def kind(self) -> Kind:
        return KINDS.get(self.code, KINDS["invalid_request"])

    def body(self, request_id: str) -> dict[str, Any]:
        """The problem as JSON."""
        return {
            "type": f"/problems/{self.code}",
            "title": self.kind.title,
            "status": self.kind.status,
            "code": self.code,
            "detail": self.detail,
            "fix": self.fix or self.kind.fix,
            "request_id": request_id,
            "errors": [{"at": f.at, "code": f.code, "detail": f.detail} for f in self.faults],
            "error_count": max(self.fault_count, len(self.faults)),
            **self.more,
        }


_ROWS_WAIT: Final = (
    "rows of a version before lack what filters over metadata need, until an indexer has written "
    "it; searches without such a filter answer meanwhile"
)
_OF_ERRORS: Final[tuple[tuple[type[Exception], str, str], ...]] = (
    (StreamFull, "stream_full", "the intake is full: documents come faster than they are indexed"),
    (BusUnavailable, "bus_unavailable", "the message bus does not answer"),
    (StoreUnavailable, "store_unavailable", "the vector store does not answer"),
    (EncoderBusy, "encoder_busy", "the model is busy with documents"),
    (FilterNotReady, "field_not_ready", _ROWS_WAIT),
    (QuestionRefused, "question_refused", "the vector store cannot take this question"),
)


def problem_of(error: Exception) -> Problem:
    """The problem that answers an error; of an unforeseen one it shows the class only."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, DocumentRefused):
        code = error.code if error.code in KINDS else "invalid_request"
        return Problem(code, error.reason)
    if isinstance(error, StillLoading):
        return Problem("loading", str(error))
    for kind, code, detail in _OF_ERRORS:
        if isinstance(error, kind):
            return Problem(code, detail)
    if isinstance(error, InstepError):
        return Problem("unavailable", str(error))
    return Problem("internal_error", f"{type(error).__name__}; the log has the details")


def invalid(error: ValidationError, known: Sequence[str]) -> Problem:
    """The problem of a request that does not fit its model, with suggestions for unknown names."""
    found = causes(error.errors(include_url=False))
    faults = [_fault(item, known) for item in found[:SHOWN]]
    code = "unknown_field" if faults[0].code == "unknown_field" else "invalid_request"
    count = len(found)
    told = faults[:MOST_TOLD]
    more = f"; and {count - len(told):,} more" if count > len(told) else ""
    detail = cut("; ".join(f.detail for f in told), MAX_DETAIL - len(more)) + more
    return Problem(code, detail, faults=tuple(faults), fault_count=count)


def _fault(item: Mapping[str, Any], known: Sequence[str]) -> Fault:
    names = [cut(str(part), MAX_NAME) for part in item["loc"]]
    at = "/" + "/".join(name.encode("ascii", "backslashreplace").decode() for name in names)
    if item["type"] == "extra_forbidden":
        return Fault(at, "unknown_field", f"{names[-1]!r} is not a field{hint(names[-1], known)}")
    if item["type"] == "value_error":  # a sentence that names its subject
        return Fault(at, "invalid_request", cut(said(item), MAX_DETAIL))
    return Fault(at, "invalid_request", f"{'.'.join(names)}: {said(item)}")


def cut(text: str, most: int) -> str:
    """The text, or the beginning of one that is longer than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def hint(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'title'?`, or nothing when nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
