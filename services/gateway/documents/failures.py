"""Documents that need a person: refused and failed ones, with reason and remedy. Pure."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

from services.gateway.documents.documents import Summary, moment
from services.gateway.documents.reasons import explained, failure_id, fix, published_as
from services.gateway.models import ChooseRequest, Pick
from services.gateway.problems import Problem
from services.gateway.views import FailureGroup, FailureView
from shared.domain.ordering import Reason, State, Word
from shared.ports import DeadLetter

NEED_SOMEBODY: Final = ("refused", "failed", "dropped")


def of_ledger(seen: Iterable[Summary], folders: Collection[str]) -> list[FailureView]:
    """The refused, failed and dropped documents, newest first.

    Args:
        folders: the sources that are watched folders.
    """
    found = []
    for one in seen:
        at = one.state
        reason = at.reason or Reason("unknown", "no reason was recorded")
        published = "" if one.source in folders else published_as(one.source, one.path)
        since = one.settled_at if at.word == "refused" else one.changed_at
        found.append(
            FailureView(
                id=failure_id(one.key),
                document=f"{one.source}/{one.path or one.key}",
                source=one.source,
                path=one.path,
                doc_key=one.key,
                state=at.word,
                code=reason.code,
                reason=reason.text,
                stage=at.stage,
                since=moment(since),
                fix=fix(at, failure_id(one.key), published),
            )
        )
    return sorted(found, key=lambda f: (-(f.since.timestamp() if f.since else 0), f.path))


def of_letters(
    letters: Iterable[DeadLetter], source_of: Callable[[str], str | None]
) -> list[FailureView]:
    """Dead letters of no known document, as lines of the same list; the ledger has the others.

    Args:
        source_of: the source of the document with a doc_key, None where the ledger has none.
    """
    return [
        FailureView(
            id=letter_id(letter.id),
            document=_title(letter),
            source=letter.subject.rsplit(".", 1)[-1] if letter.stream == "INTAKE" else "",
            path="",
            doc_key=None,
            state="failed",
            code=letter.code,
            reason=letter.reason,
            stage=letter.consumer,
            since=letter.at,
            tries=letter.deliveries,
            fix=_letter_fix(letter),
        )
        for letter in letters
        if is_nobodys(letter) and not _is_told(letter, source_of)
    ]


def source_of_letter(letter: DeadLetter) -> str:
    """The source that a dead letter is about; empty where it does not tell."""
    if letter.document is not None:
        return letter.document.source
    return letter.subject.rsplit(".", 1)[-1] if letter.stream == "INTAKE" else ""


def is_nobodys(letter: DeadLetter) -> bool:
    """Whether the ledger may not list it: no document is known, or the document itself is well.

    An unfinished check is not a failure of the document: the document is searchable.
    """
    about = letter.document
    return about is None or not about.path or letter.consumer.startswith("validator")


def _is_told(letter: DeadLetter, source_of: Callable[[str], str | None]) -> bool:
    """Whether the ledger lists a change without a path."""
    about = letter.document
    if about is None or about.path:
        return False
    return source_of(about.doc_key) == about.source


def _letter_fix(letter: DeadLetter) -> str:
    of_document = letter.document is not None and letter.document.path
    first = "instep validate" if of_document else "send it again, put right"
    return f"{first}; then: instep failures dismiss {letter_id(letter.id)}"


def _title(letter: DeadLetter) -> str:
    about = letter.document
    named = f" about {about.source}/{about.path}" if about and about.path else ""
    return f"message {letter.id} of {letter.subject}{named}"


def letter_id(id: int) -> str:
    """The short name of a dead letter."""
    return f"d_{id}"


def groups(failures: Sequence[FailureView], folders: Collection[str]) -> tuple[FailureGroup, ...]:
    """Failures counted by state and code, with what each code means; the largest first."""
    counted = Counter((f.state, f.code) for f in failures)
    fixes: dict[tuple[Word, str], dict[str, str]] = {}
    of_documents = {f.code for f in failures if f.doc_key is not None}
    for failure in failures:
        messages = "ID" if failure.code in of_documents else f"--code {failure.code}"
        kind, text = _fix_of_many(failure, folders, messages)
        fixes.setdefault((failure.state, failure.code), {})[text] = kind
    return tuple(
        FailureGroup(
            code=code,
            state=word,
            count=count,
            meaning=explained(code).meaning,
            fix=_joined(fixes[word, code]),
        )
        for (word, code), count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    )


def _fix_of_many(failure: FailureView, folders: Collection[str], messages: str) -> tuple[str, str]:
    """The kind of the failure, and the fix of all of its kind.

    Args:
        messages: how `dismiss` names messages of no document with this code.
    """
    if failure.doc_key is None:
        return "messages", failure.fix.replace(failure.id, messages)
    at = State(failure.state, False, failure.stage, Reason(failure.code, failure.reason))
    retry = "ID" if failure.state == "dropped" else f"--code {failure.code}"
    if failure.source in folders:
        return "files", fix(at, retry)
    return "published documents", fix(at, retry, "PATH --source SOURCE")


def _joined(kinds: Mapping[str, str]) -> str:
    """One fix as it is; several with the kind of each."""
    if len(kinds) == 1:
        return next(iter(kinds))
    return ". ".join(f"For {kind}: {text}" for text, kind in kinds.items())


def select(failures: Iterable[FailureView], pick: Pick, state: str = "") -> list[FailureView]:
    """The failures that match every field; dropped ones only on request."""
    return [
        f for f in failures if _fits(f, pick) and (f.state == state or (not state and _open(f)))
    ]


def _open(failure: FailureView) -> bool:
    return failure.state != "dropped"


def _fits(failure: FailureView, pick: Pick) -> bool:
    asked = (
        (pick.source, failure.source),
        (pick.code, failure.code),
        (pick.stage, failure.stage),
    )
    fits = all(not wanted or wanted == have for wanted, have in asked)
    return fits and (not pick.path or fnmatchcase(failure.path, pick.path))


def choose(failures: Iterable[FailureView], request: ChooseRequest) -> list[FailureView]:
    """The failures to act on.

    An id may be the short one, a doc_key, `source/path`, or a path that is there once; only an id
    chooses a dropped one.

    Raises:
        Problem: nothing was chosen, or an id names no failure.
    """
    picked = request.code or request.stage or request.path or request.source
    if not (request.ids or picked or request.all):
        raise Problem("invalid_request", "nothing is chosen", "give ids, --code CODE or --all")
    if not request.ids:
        return select(failures, request)
    named: dict[str, list[FailureView]] = {}
    for failure in failures:
        for name in {failure.id, failure.doc_key, failure.document, failure.path} - {None, ""}:
            named.setdefault(str(name), []).append(failure)
    wanted = [name for name in dict.fromkeys(request.ids) if name in named or not request.lenient]
    return [_one(named, name) for name in wanted]


def _one(named: Mapping[str, list[FailureView]], name: str) -> FailureView:
    found = named.get(name, [])
    if not found:
        raise Problem("failure_not_found", f"{name[:80]!r} is not a failure, or it is over already")
    if len(found) > 1:
        raise Problem("ambiguous_path", f"{name[:80]!r} is in more than one source")
    return found[0]
