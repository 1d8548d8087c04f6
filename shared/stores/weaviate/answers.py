"""Answers of a Weaviate server and errors of its client, in terms of `shared.domain.errors`. Pure.

The client has some thirty classes whose texts decide: the same class stands for a full disk and for
a wrong key. An unknown error counts as one that may pass.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from shared.domain.errors import (
    ConfigurationError,
    InstepError,
    QuestionRefused,
    StoreMismatch,
    StoreUnavailable,
)
from shared.ports import Hit, Vector
from shared.stores.weaviate import rows as weaviate_rows

Fault = Literal[
    "version",
    "plain",
    "nodes",
    "changing",
    "full",
    "key",
    "object",
    "gone",
    "schema",
    "question",
    "away",
]

SIGNS: Final[tuple[tuple[Fault, str], ...]] = (
    ("version", r"is not supported\. please use weaviate"),
    ("nodes", r"could not find enough weaviate nodes"),
    ("plain", r"meta endpoint.{0,40}status code: 400"),
    ("changing", r"read-only due to: updatevectorindexconfigs"),
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
        "Weaviate rejects the protocol: if it encrypts, store.weaviate.url begins with https://",
    ),
    "key": (
        ConfigurationError,
        "Weaviate refuses the key: set store.weaviate.key or store.weaviate.key_file to one that "
        "may read and write collections and aliases, and read nodes",
    ),
    "schema": (StoreMismatch, "Weaviate has another set-up ({said})"),
    "object": (
        StoreMismatch,
        "the collection holds other vectors or properties ({said}): "
        "delete the collection, and instep makes it anew and fills it from ledger and cache",
    ),
    "question": (QuestionRefused, "the vector store cannot take this question"),
    "changing": (StoreUnavailable, "Weaviate changes the collection's configuration just now"),
    "full": (
        StoreUnavailable,
        "Weaviate takes no writes: its disk or memory is full, or it was made read-only ({said})",
    ),
    # they may be starting
    "nodes": (StoreUnavailable, "Weaviate has fewer nodes than store.weaviate.replicas asks for"),
    # a server that starts answers before it has read its schema
    "gone": (
        StoreUnavailable,
        "Weaviate lacks the collection that was opened: it is starting, or the collection was "
        "deleted and instep makes it anew in a few seconds",
    ),
    "away": (StoreUnavailable, "Weaviate: {kind}: {said}"),
}
QUOTED: Final = re.compile(r"\"[^\"]*\"|'[^']*'")
MOST: Final = 200


def fault_of(kind: str, text: str) -> Fault:
    """The fault of an error, from the name of its class and its text."""
    said = f"{kind} {text}".lower()
    return next((fault for fault, sign in SIGNS if re.search(sign, said)), "away")


def sorted_error(kind: str, text: str) -> InstepError:
    """The corresponding error of ours."""
    made, sentence = MEANING[fault_of(kind, text)]
    return made(sentence.format(kind=kind, said=shown(text)))


def shown(text: str) -> str:
    """The public part of a server's message: one line, without quotations, which may be text of a
    document."""
    return " ".join(QUOTED.sub("…", text).split())[:MOST]


@dataclass(frozen=True, slots=True)
class Found:
    """An object of an answer. distance: cosine distance, of vector searches."""

    id: str
    properties: Mapping[str, Any]
    vector: Sequence[float] = ()
    distance: float = 2.0
    score: float = 0.0


def found_of(one: Any) -> Found:
    vectors: Any = one.vector or {}
    distance = one.metadata.distance
    return Found(
        str(one.uuid),
        one.properties,
        vectors.get("default", ()),
        2.0 if distance is None else distance,
        one.metadata.score or 0.0,
    )


def any_vector(dimensions: int) -> Vector:
    """A unit vector, for questions whose order does not matter. float32, shape (dimensions,)."""
    return np.full(dimensions, dimensions**-0.5, np.float32)


def moved(component: float) -> float:
    """The next float32 behind it."""
    return float(np.nextafter(np.float32(component), np.float32(2)))


def rows_of(found: Sequence[Found]) -> list[Hit]:
    return [weaviate_rows.to_hit(one.properties, one.score) for one in found]


def halves(
    values: Sequence[str], slots: Sequence[int] | None
) -> list[tuple[Sequence[str], Sequence[int] | None]]:
    """Two questions that together ask for the same: fewer values, then fewer slots. Pure.

    Raises:
        StoreUnavailable: one document has more rows than can be asked for.
    """
    if len(values) > 1:
        half = len(values) // 2
        return [(values[:half], slots), (values[half:], slots)]
    slots = range(weaviate_rows.SLOTS) if slots is None else slots
    if len(slots) < 2:
        raise StoreUnavailable("a document has more rows than Weaviate can list")
    half = len(slots) // 2
    return [(values, slots[:half]), (values, slots[half:])]


def refused(messages: Mapping[str, str]) -> frozenset[str]:
    """The ids of rows that the server refuses for their content. Pure.

    Raises:
        StoreUnavailable, ConfigurationError: others were refused for another reason.
    """
    bad = frozenset(key for key, text in messages.items() if fault_of("object", text) == "object")
    for key, text in messages.items():
        if key not in bad:
            raise sorted_error("object", text)
    return bad
