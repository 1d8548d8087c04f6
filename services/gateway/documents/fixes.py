"""What a person can do about a document's state. Pure."""

from typing import Final

from services.gateway.documents.reasons import explained
from shared.domain.ordering import Reason, State, is_unread


def failure_id(doc_key: str) -> str:
    """The short name of a document's failure, e.g. `f_k3vqm2tz`."""
    return f"f_{doc_key[:8]}"


def fix(state: State, document: str) -> str:
    """One sentence, empty where nothing needs doing.

    Args:
        document: `source/path`, or any other name that `retry` takes.
    """
    first = explained(state.reason.code).fix if state.reason else "instep doctor"
    if state.word == "refused":
        return f"{first}; instep reads it again when it changes"
    if state.word == "failed" and is_unread(state):
        return f"{first}; a file is read again by: instep retry {document}; else send it anew"
    if state.word == "failed":
        return f"{first}; then: instep retry {document}"
    if state.word == "dropped":
        return f"nothing; to try it after all: instep retry {document}"
    return ""


_WHY: Final = {
    "queued": "it waits for the enricher",
    "searchable": "search shows its newest version",
    "removed": "it was deleted at its source, and no chunk of it is left",
}
_STAGES: Final = {
    "enrich": "it is being read and cut",
    "embed": "its new chunks are being embedded and written",
    "index": "its new chunks are being written",
    "confirm": "everything is written; the store is asked whether it finds it",
}


def why(state: State) -> str:
    """One sentence that says why the document is in its state."""
    if state.word == "working":
        text = _STAGES.get(state.stage or "", "it is being worked on")
    elif state.reason:
        text = sentence(state.reason)
    else:
        text = _WHY.get(state.word, "no reason is known")
    return f"{text}; until then the version before is served" if state.stale else text


def sentence(reason: Reason) -> str:
    """The reason as people read it."""
    return reason.text or reason.code
