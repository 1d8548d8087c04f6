"""What a person can do about a document's state. Pure."""

from typing import Final

from shared.ordering import Reason, State

_REFUSED: Final = {
    "encrypted": "save it without a password",
    "corrupt": "save it anew with the program that made it",
    "empty": "write something into it, or exclude it",
    "no_text": "it has no text to index: add some, or exclude it",
    "too_large": "split it, or raise max_bytes of its source",
    "wrong_encoding": "save it as UTF-8",
    "unknown_format": "convert it to text, Markdown or HTML, or exclude it",
    "invalid_path": "rename it",
    "source_gone": "put it back, or delete it",
}
_FAILED: Final = {
    "model_error": "the model cannot read it: change the text",
    "poison": "it ended the process that read it: change the text",
    "source_gone": "put it back",
}
_AGAIN: Final = "it is read again by itself"


def failure_id(doc_key: str) -> str:
    """The short name of a document's failure, e.g. `f_k3vqm2tz`."""
    return f"f_{doc_key[:8]}"


def fix(state: State, doc_key: str) -> str:
    """One sentence, empty where nothing needs doing."""
    code = state.reason.code if state.reason else ""
    if state.word == "refused":
        return f"{_REFUSED.get(code, 'change the document')}; {_AGAIN}"
    if state.word == "failed":
        first = _FAILED.get(code, "instep doctor")
        return f"{first}; then: instep retry {failure_id(doc_key)}"
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
