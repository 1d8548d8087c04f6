"""Documents that need somebody: refused and failed ones, with reason and remedy. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.gateway.documents import moment
from services.gateway.fixes import failure_id, fix
from services.gateway.models import ChooseRequest, FailuresRequest, FailureView, ReasonView
from services.gateway.problems import Problem
from shared.ordering import Reason, Record, state


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that no retry could help, and that belongs to no document of the ledger."""

    sequence: int
    stream: str
    """Where it came from."""
    consumer: str
    subject: str
    code: str
    reason: str
    at: float
    """Unix time."""
    deliveries: int = 1

    @property
    def id(self) -> str:
        return f"d_{self.sequence}"


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
                source=record.source,
                path=record.path,
                doc_key=key,
                state=at.word,
                reason=ReasonView(code=reason.code, text=reason.text),
                stage=at.stage,
                since=moment(since or (newest.changed_at if newest else None)),
                fix=fix(at, key),
            )
        )
    return sorted(found, key=lambda f: (-(f.since.timestamp() if f.since else 0), f.path))


def of_letter(letter: DeadLetter) -> FailureView:
    """A dead letter as a line of the same list."""
    source = letter.subject.rsplit(".", 1)[-1] if letter.stream == "INTAKE" else ""
    return FailureView(
        id=letter.id,
        source=source,
        path=f"message {letter.sequence} of {letter.stream}",
        doc_key=None,
        state="failed",
        reason=ReasonView(code=letter.code, text=letter.reason),
        stage=letter.consumer,
        since=moment(letter.at),
        tries=letter.deliveries,
        fix=f"send it again, put right; then: instep drop {letter.id}",
    )


def select(failures: Iterable[FailureView], request: FailuresRequest) -> list[FailureView]:
    """Those of a source, and with a code."""
    return [
        f
        for f in failures
        if (not request.source or f.source == request.source)
        and (not request.code or f.reason.code == request.code)
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
    found = [f for f in failures if name in (f.id, f.doc_key, f"{f.source}/{f.path}", f.path)]
    if not found:
        raise Problem("failure_not_found", f"{name!r} is no failure, or it is over already")
    if len(found) > 1:
        raise Problem("ambiguous_path", f"{name!r} is in more than one source")
    return found[0]
