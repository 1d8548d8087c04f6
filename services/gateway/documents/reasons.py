"""Every code of a refused or failed document, with its meaning and its fix. Pure.

Codes are never renamed. A test finds every code that the program raises and looks for it here.
"""

import shlex
from dataclasses import dataclass
from typing import Final

from shared.domain.ordering import Reason, State, is_unread


def failure_id(doc_key: str) -> str:
    """The short name of a document's failure, e.g. `f_k3vqm2tz`."""
    return f"f_{doc_key[:8]}"


def fix(state: State, retry: str, published: str = "") -> str:
    """One sentence, empty where nothing needs doing.

    Args:
        retry: how `retry` names the document, or documents.
        published: how `publish` names it; empty for the document of a watched folder.
    """
    first = explained(state.reason.code).fix if state.reason else "instep doctor"
    anew = f"{first}, and publish it again; or: instep publish {published} --delete"
    if state.word == "refused":
        read_again = f"{first}; instep reads it again when it changes; or exclude it"
        return anew if published else read_again
    if state.word == "failed":
        return anew if published and is_unread(state) else f"{first}; then: instep retry {retry}"
    if state.word == "dropped":
        return f"nothing; to try it after all: instep retry {retry}"
    return ""


def published_as(source: str, path: str) -> str:
    """The arguments of `publish` that name a document."""
    name = f"./{path}" if path.startswith("-") else path or "PATH"
    return f"{shlex.quote(name)} --source {source}"


_WHY: Final = {
    "queued": "it waits for the enricher",
    "searchable": "search shows its newest version",
    "inactive": "its source says that it is not active; search leaves it out, the index keeps it",
    "removed": "it was deleted at its source, and no chunk of it is left",
}
_STAGES: Final = {
    "enrich": "it is being read and cut",
    "embed": "its new chunks are being embedded and written",
    "index": "its new chunks are being written",
    "confirm": "its chunks are written; the validator asks the store whether it finds them",
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


NOT_GIVEN: Final = "its source is not watched: no instep is given its folder"


def fix_of_past(source: str) -> str:
    """The remedy for a folder that is not given any more."""
    return f"instep up PATH --source {source}, if it has another name now; or: instep sources " + (
        f"forget {source}"
    )


def sentence(reason: Reason) -> str:
    """The reason as people read it."""
    return reason.text or reason.code


@dataclass(frozen=True, slots=True)
class Explained:
    """For people; each a sentence without its full stop."""

    meaning: str
    fix: str


CODES: Final[dict[str, Explained]] = {
    # the document, as it is
    "empty": Explained("it has no content but white space", "write something into it"),
    "no_text": Explained(
        "it has no word to search for",
        "add text, to a scan with a program that recognises text (OCR)",
    ),
    "too_large": Explained(
        "it is larger than its source allows, would have more chunks than a document may have, or "
        "has a chunk that is too large with its headings and metadata",
        "split it, raise max_bytes of its source, or shorten headings and metadata",
    ),
    "extraction_timeout": Explained(
        "reading it takes more time than extraction.timeout",
        "simplify it, or raise the setting",
    ),
    "extraction_memory": Explained(
        "reading it takes more memory than extraction.memory", "split it, or raise the setting"
    ),
    "extraction_crashed": Explained(
        "it broke the process that read it, twice", "save it anew in a simpler form"
    ),
    "wrong_encoding": Explained("its encoding is not known", "save it as UTF-8"),
    "unknown_format": Explained(
        "it is an archive, an image, or of another format that is not read",
        "convert it to a format that is read",
    ),
    "encrypted": Explained("it is protected by a password", "save it without one"),
    "corrupt": Explained(
        "it is damaged, or of another format than its name tells",
        "save it anew with the program that made it, or give it the ending of its format",
    ),
    "source_gone": Explained("the content that it refers to cannot be read", "put it back"),
    "reference_not_allowed": Explained(
        "its source does not allow references to this place", "add the place to allow_references"
    ),
    # a submission
    "source_watched": Explained(
        "its source is watched, whose own place has its documents",
        "change it there, or send it to another source",
    ),
    "revision_changed": Explained(
        "it was sent for a revision that is not the newest any more", "read it again; decide anew"
    ),
    "invalid_path": Explained("its path is not valid", "rename it"),
    "invalid_source": Explained("its source has no valid name", "use a-z, 0-9 and - for sources"),
    "invalid_request": Explained(
        "it does not follow the contract", "correct the program that sends it"
    ),
    "stale_version": Explained(
        "a newer source_version was accepted before", "nothing: the newer one is there"
    ),
    "malformed_event": Explained(
        "a message does not follow its contract",
        "correct the program that sends it",
    ),
    "newer_schema": Explained(
        "a newer version of instep has written its change",
        "run that version again",
    ),
    # the machinery
    "poison": Explained(
        "the process that works on it died each time, at last with this document alone",
        "change the document",
    ),
    "model_failed": Explained(
        "the model cannot encode its text, or dies or hangs with it alone", "change the text"
    ),
    "vectors_rejected": Explained(
        "its vectors are not finite, zero, or of another length", "check the model: instep doctor"
    ),
    "not_searchable": Explained(
        "the store did not find its own rows within validation.timeout", "instep doctor"
    ),
    "exhausted": Explained(
        "a fault that should have passed, such as a full disk, did not", "instep doctor"
    ),
    "permanent_error": Explained("a retry cannot help", "see the reason"),
    "unknown": Explained("no reason was recorded", "instep doctor"),
}

_OTHER: Final = Explained("this version does not know the code", "see the reason")


def explained(code: str) -> Explained:
    """The meaning and the fix of a code; for the codes of newer versions, one for all."""
    return CODES.get(code, _OTHER)
