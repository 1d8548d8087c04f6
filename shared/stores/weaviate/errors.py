"""What the Weaviate client raises, sorted by what is done about it. Pure.

The client has some thirty classes whose texts decide: the same class says that the disk is full
and that a key is wrong. What is not known here may pass.
"""

import re
from typing import Final, Literal

from shared.domain.errors import (
    ConfigurationError,
    InstepError,
    QuestionRefused,
    StoreMismatch,
    StoreUnavailable,
)

Fault = Literal[
    "version", "plain", "nodes", "full", "key", "object", "gone", "schema", "question", "away"
]

SIGNS: Final[tuple[tuple[Fault, str], ...]] = (
    ("version", r"is not supported\. please use weaviate"),
    ("nodes", r"could not find enough weaviate nodes"),
    ("plain", r"meta endpoint.{0,40}status code: 400"),
    (
        "full",
        r"read-?only|not enough memory|memory pressure|disk usage|no space left"
        r"|cannot process batch",
    ),
    (
        "key",
        r"unauthenticated|unauthorized|anonymous access|invalid api key|permission_?denied"
        r"|forbidden|status code: 40[13]|insufficient permissions|authenticationfailed",
    ),
    (
        "object",
        r"vector with length|vector lengths don't match|invalid \w+(\[\])? property|"
        r"vector has length|expected a vector",
    ),
    (
        "gone",
        r"could not find class|class not found|collection not found|not found in schema|"
        r"non-existing index|class .{0,80} not present",
    ),
    ("schema", r"no such prop|could not find property|invalid pagination params"),
    ("question", r"invalid search term|only stopwords provided"),
)
MEANING: Final[dict[Fault, tuple[type[InstepError], str]]] = {
    "version": (ConfigurationError, "{said} instep asks for 1.38 or higher"),
    "plain": (
        ConfigurationError,
        "Weaviate does not understand us: if it encrypts, store.weaviate.url begins with https://",
    ),
    "key": (
        ConfigurationError,
        "Weaviate refuses the key: set store.weaviate.key or store.weaviate.key_file to one that "
        "may read and write collections and aliases, and read nodes",
    ),
    "schema": (StoreMismatch, "Weaviate is set up otherwise ({said})"),
    "object": (
        StoreMismatch,
        "the collection holds other vectors or properties ({said}): "
        "delete the collection, and instep makes it anew and fills it from ledger and cache",
    ),
    "question": (QuestionRefused, "the vector store cannot take this question"),
    "full": (
        StoreUnavailable,
        "Weaviate takes no writes: its disk or memory is full, or it was made read-only ({said})",
    ),
    # they may be starting
    "nodes": (StoreUnavailable, "Weaviate has fewer nodes than store.weaviate.replicas asks for"),
    # a server that starts answers before it has read its schema
    "gone": (
        StoreUnavailable,
        "Weaviate has not the collection that was opened: it starts, or somebody deleted it; "
        "then it is made anew in a few seconds",
    ),
    "away": (StoreUnavailable, "Weaviate: {kind}: {said}"),
}
QUOTED: Final = re.compile(r"\"[^\"]*\"|'[^']*'")
MOST: Final = 200


def fault_of(kind: str, text: str) -> Fault:
    """What an error is about, from the name of its class and its text."""
    said = f"{kind} {text}".lower()
    return next((fault for fault, sign in SIGNS if re.search(sign, said)), "away")


def sorted_error(kind: str, text: str) -> InstepError:
    """The error of ours that says the same."""
    made, sentence = MEANING[fault_of(kind, text)]
    return made(sentence.format(kind=kind, said=shown(text)))


def shown(text: str) -> str:
    """What may be shown of a server's words: one line, and nothing quoted, for it may be text of
    a document."""
    return " ".join(QUOTED.sub("…", text).split())[:MOST]
