"""Documents that need somebody: refused and failed ones, with reason and remedy. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol

from services.gateway.documents import moment
from services.gateway.fixes import failure_id, fix
from services.gateway.models import ChooseRequest, FailuresRequest
from services.gateway.problems import Problem
from services.gateway.views import FailureView
from shared.events import Document
from shared.ordering import Reason, Record, state


class DeadLetter(Protocol):
    """A message that no retry could help."""

    @property
    def id(self) -> int: ...
    @property
    def stream(self) -> str:
        """Where it came from."""
        ...

    @property
    def consumer(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def document(self) -> Document | None:
        """The document that it was about, if it says."""
        ...

    @property
    def code(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def deliveries(self) -> int: ...
    @property
    def at(self) -> datetime: ...


def of_ledger(records: Mapping[str, Record]) -> list[FailureView]:
    """The refused and failed documents, newest first."""
    found = []
    for key, record in records.items():
        at = state(record)
        if at.word not in ("refused", "failed"):
            continue
        newest = record.pending or record.settled
        reason = at.reason or Reason("unknown", "no reason was recorded")
        since = record.settled.settled_at if at.word == "refused" and record.settled else None
        found.append(
            FailureView(
                id=failure_id(key),
                document=f"{record.source}/{record.path}",
                source=record.source,
                path=record.path,
                doc_key=key,
                state=at.word,
                code=reason.code,
                reason=reason.text,
                stage=at.stage,
                since=moment(since or (newest.changed_at if newest else None)),
                fix=fix(at, key),
            )
        )
    return sorted(found, key=lambda f: (-(f.since.timestamp() if f.since else 0), f.path))


def of_letters(letters: Iterable[DeadLetter]) -> list[FailureView]:
    """Dead letters of no known document, as lines of the same list; the ledger has the others."""
    return [
        FailureView(
            id=letter_id(letter.id),
            document=f"message {letter.id} of {letter.subject}",
            source=letter.subject.rsplit(".", 1)[-1] if letter.stream == "INTAKE" else "",
            path="",
            doc_key=None,
            state="failed",
            code=letter.code,
            reason=letter.reason,
            stage=letter.consumer,
            since=letter.at,
            tries=letter.deliveries,
            fix=f"send it again, put right; then: instep drop {letter_id(letter.id)}",
        )
        for letter in letters
        if letter.document is None
    ]


def letter_id(id: int) -> str:
    """The short name of a dead letter."""
    return f"d_{id}"


def select(failures: Iterable[FailureView], request: FailuresRequest) -> list[FailureView]:
    """Those of a source, and with a code."""
    return [
        f
        for f in failures
        if (not request.source or f.source == request.source)
        and (not request.code or f.code == request.code)
    ]


def choose(failures: Iterable[FailureView], request: ChooseRequest) -> list[FailureView]:
    """The failures to act on.

    An id may be the short one, a doc_key, `source/path`, or a path that is there once.

    Raises:
        Problem: nothing was chosen, or an id names no failure.
    """
    failures = list(failures)
    if not (request.ids or request.code or request.all):
        raise Problem("invalid_request", "nothing is chosen", "give ids, --code CODE or --all")
    if request.ids:
        return [_one(failures, name) for name in dict.fromkeys(request.ids)]
    return select(failures, FailuresRequest(code=request.code, source=request.source))


def _one(failures: list[FailureView], name: str) -> FailureView:
    found = [f for f in failures if name in (f.id, f.doc_key, f.document, f.path or None)]
    if not found:
        raise Problem("failure_not_found", f"{name!r} is no failure, or it is over already")
    if len(found) > 1:
        raise Problem("ambiguous_path", f"{name!r} is in more than one source")
    return found[0]
