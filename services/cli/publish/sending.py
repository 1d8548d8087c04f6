"""Send submissions to a gateway, and tell what became of each."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from instep.client import Client, ClientError, Refused, Unreachable, UploadFile
from services.cli.api.client import stop_of
from services.cli.publish.submissions import Submission
from shared.domain.submissions import encoded

if TYPE_CHECKING:
    from services.gateway.uploads.models import UploadLine

Fate = Literal["answered", "refused", "unknown", "unsent"]
"""What became of a submission: its line is the answer; `unknown`: a request had no answer, so it
may be accepted; `unsent`: the gateway stored nothing of its request, or was not asked."""

PORTION_BYTES: Final = 8 * 1024**2
"""Of one request, in memory."""
PATIENCE_S: Final = 30.0
"""How long a gateway that takes nothing more is asked again: it may be full, or starting anew."""
PAUSE_S: Final = 1.0
REPEATED_S: Final = 540.0
"""How long one request is repeated although it goes on: its key is known for ten minutes, and later
its documents would be taken twice."""
_AGAIN: Final = "idempotency_in_progress"
_OF_DOCUMENTS: Final = ("source_watched", "source_gone", "request_too_large", "not_unicode")
"""Codes that refuse the documents of a request, and say nothing of further ones."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The outcome of a submission: `line` as answered, or why there is none."""

    submission: Submission
    line: "UploadLine | None"
    fate: Fate = "answered"
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends the submissions of one call, and repeats requests under their keys.

    reach: connects to the gateway, wherever it is by now.
    run: names the call.
    """

    reach: Callable[[], Client]
    source: str
    run: str
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def send(self, items: Sequence[Submission]) -> Iterator[Sent]:
        """All outcomes in order, as far as they are known.

        Raises:
            Stop: no gateway answers, or it takes nothing from this command; nothing was stored.
        """
        try:
            self.reach().ask("livez")  # a gateway that is away is told at once
        except ClientError as away:
            raise stop_of(away) from None
        any_stored, gone = False, None
        for n, portion in enumerate(portions(items)):
            if gone is not None:  # then it is not asked again
                yield from _unanswered(portion, gone, _fate(gone, any_lost=False))
                continue
            lines, error, any_lost = self._asked(portion, f"{self.run}-{n}")
            if error is None:
                any_stored |= any(line.code is None for line in lines)
                yield from _outcomes(portion, lines)
                continue
            fate = _fate(error, any_lost=any_lost)
            if not _concerns_documents(error):
                if fate != "unknown" and not any_stored:
                    raise stop_of(error)
                gone = error
            yield from _unanswered(portion, error, fate)

    def _asked(
        self, portion: Sequence[Submission], key: str
    ) -> "tuple[list[UploadLine], ClientError | None, bool]":
        """The answer to one request, which is repeated while that may help.

        Returns:
            The lines or the error, and whether a request had no answer: it may be carried out.
        """
        begin, left, any_lost = self.clock(), len(portion) + 1, False
        deadline = begin + PATIENCE_S
        while True:
            lines, error = self._lines(portion, key)
            any_lost |= isinstance(error, Unreachable)
            waiting = sum(map(_may_pass, lines)) if error is None else len(portion)
            if waiting < left:
                left = waiting  # it goes on
                deadline = min(self.clock() + PATIENCE_S, begin + REPEATED_S)
            passes = _passes(error) if error is not None else waiting > 0
            if not passes or self.clock() + PAUSE_S > deadline:
                return lines, error, any_lost
            self.sleep(PAUSE_S)

    def _lines(
        self, portion: Sequence[Submission], key: str
    ) -> "tuple[list[UploadLine], ClientError | None]":
        files = [_file(one) for one in portion if one.large is not None]
        bodies = [_without_schema(one) for one in portion if one.large is None]
        try:
            client = self.reach()
            if files:
                return client.upload_receipts(self.source, files, idempotency_key=key), None
            return client.bulk_receipts(self.source, bodies, idempotency_key=key), None
        except ClientError as error:
            return [], error


def portions(items: Sequence[Submission]) -> Iterator[list[Submission]]:
    """The submissions of each request, in order: a large one has its own. Pure."""
    found: list[Submission] = []
    size = 0
    for item in items:
        more = len(encoded(item.body))
        if found and (item.large is not None or size + more > PORTION_BYTES):
            yield found
            found, size = [], 0
        if item.large is not None:
            yield [item]
            continue
        found.append(item)
        size += more
    if found:
        yield found


def _file(item: Submission) -> UploadFile:
    """A large submission as a file of a form."""
    assert item.large is not None, "a small one is a line"
    fields = {n: v for n, v in _without_schema(item).items() if n not in ("path", "op")}
    return UploadFile(item.path, item.large, fields)


def _without_schema(item: Submission) -> dict[str, object]:
    return {name: value for name, value in item.body.items() if name != "schema"}


def _outcomes(portion: Sequence[Submission], lines: "Sequence[UploadLine]") -> Iterator[Sent]:
    by_number = {line.line or 1: line for line in lines}  # a form has one file here
    for n, item in enumerate(portion, 1):
        line = by_number.get(n)
        told = "" if line else "the gateway does not say what became of it"
        fate: Fate = "answered" if line else "unknown"
        yield Sent(item, line, fate, "" if line else "unreachable", told)


def _unanswered(portion: Sequence[Submission], error: ClientError, fate: Fate) -> Iterator[Sent]:
    code = error.code if isinstance(error, Refused) else "unreachable"
    yield from (Sent(item, None, fate, code, error.detail) for item in portion)


def _fate(error: ClientError, *, any_lost: bool) -> Fate:
    """What became of the documents of a request that ended with an error. Pure.

    Args:
        any_lost: a request before had no answer.
    """
    if _concerns_documents(error):
        return "refused"
    if any_lost:
        return "unknown"
    return "unsent" if _passes(error) else "refused"


def _may_pass(line: "UploadLine") -> bool:
    return line.status == 503 or line.code == _AGAIN


def _passes(error: ClientError) -> bool:
    return not isinstance(error, Refused) or error.status == 503 or error.code == _AGAIN


def _concerns_documents(error: ClientError) -> bool:
    return isinstance(error, Refused) and error.code in _OF_DOCUMENTS
