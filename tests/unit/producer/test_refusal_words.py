"""Each refusal of a submission names the field and its rule, in words for people."""

import asyncio
import json
import re
from argparse import Namespace
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intake_door import Door
from pydantic import BaseModel

from services.cli.publish.submissions import Faulty, Submission, of_args, of_line
from services.producer.submissions.submission import SourceLimits
from shared.domain.errors import MalformedEvent
from shared.domain.events import DocumentSubmitted

CONTENT: dict[str, Any] = {
    "text": "hello",
    "data_base64": "aGVsbG8=",
    "chunks": [{"text": "hello", "heading": ["Guide"]}],
    "pieces": ["0" * 64],
    "ref": {"url": "file:///srv/docs/a.md", "etag": "1", "size": 3},
}
WHOLE: dict[str, Any] = {
    "schema": 1,
    "op": "upsert",
    "path": "a.md",
    "media_type": "text/markdown",
    "title": "Hello",
    "metadata": {"lang": "en"},
    "static_score": 0.5,
    "is_active": True,
    "source_version": 7,
    "batch": {
        "id": "n",
        "count": 1,
        "source": "inbox",
        "format": "mixed",
        "started_at": "2026-01-01T00:00:00Z",
    },
}
LIMITS = SourceLimits(max_bytes=1_000, allow_references=("file:///srv/docs",))
FOREIGN = re.compile(
    r"pydantic|should|permitted|Value error|unable to|valid (string|integer|number)|: \w+_\w+$"
    r"|is not valid|required form|Error|event:"
)
"""Words of the library that checks values, and rules that say nothing."""
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0.5, 2**60, 10**400, float("nan"), float("inf")),
    *("", "x" * 1_500, "My Notes", "\ud800", "a\0b", "../a", "\ufeff", [], {}, ["x"], [None]),
    *({"k": [1]}, {"\ud800": 1}, {"k": "x" * 9_000}, {str(n): n for n in range(70)}),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "soon", "2026-01-01"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda some: (
        st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=5), some, max_size=3)
    ),
    max_leaves=5,
)


def places(model: type[BaseModel] = DocumentSubmitted, above: tuple = ()) -> Iterator[tuple]:
    """The way to each field of the model, and of the models inside it."""
    for name, field in model.model_fields.items():
        here = (*above, field.alias or name)
        yield here
        for inner, step in models(field.annotation):
            yield from places(inner, (*here, *step))


def models(kind: Any, step: tuple = ()) -> Iterator[tuple[type[BaseModel], tuple]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind, step
    for part in get_args(kind):
        yield from models(part, (0,) if getattr(kind, "__origin__", None) is tuple else step)


PLACES = list(places())


def with_value(place: tuple, value: Any) -> dict[str, Any]:
    content = place[0] if place[0] in CONTENT else "text"
    body = deepcopy(WHOLE | {content: CONTENT[content]})
    if place[0] == "if_revision":
        body |= {"op": "upsert_if", "if_revision": 7}
    inside: Any = body
    for step in place[:-1]:
        inside = inside[step]
    assert place[-1] in inside, f"{place} needs an example above"
    inside[place[-1]] = value
    return body


def complaint(told: str, place: tuple) -> str:
    """What is wrong with the words about this field; empty where nothing is."""
    if FOREIGN.search(told):
        return f"{place}: foreign words: {told}"
    return "" if place[0] in told and "secret" not in told else f"{place}: not named: {told}"


async def refusal(body: dict[str, Any]) -> str | None:
    """The text of the receipt; None: it was taken."""
    door = Door(inbox=LIMITS)
    try:
        await door.raw(1, json.dumps(body).encode())
    except MalformedEvent as dead_letter:
        return str(dead_letter)
    return door.receipt.detail if door.receipt.state == "refused" else None


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
async def test_a_refusal_names_the_field_and_its_rule(place):
    told = [await refusal(with_value(place, value)) for value in ODD]

    assert [text for text in told if text], "nothing at all is refused"
    assert not [wrong for text in told if text and (wrong := complaint(text, place))]


@settings(max_examples=300)
@given(st.sampled_from(PLACES), JSON)
def test_no_value_at_all_is_refused_in_foreign_words(place, value):
    told = asyncio.run(refusal(with_value(place, value)))

    assert told is None or not complaint(told, place)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_a_line_is_refused_in_the_same_words_before_it_is_sent(place):
    for value in ODD:
        found = of_line("f.jsonl:3", json.dumps(with_value(place, value)).encode())

        if isinstance(found, Faulty):
            assert found.where == "f.jsonl:3"
            assert not complaint(found.detail, place)
        else:
            assert json.dumps(found.body, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff", b"[1]", b"5", b'{"path":' + b"[" * 100_000, b"1" * 5_000, b"{}"],
    ids=repr,
)
async def test_what_is_no_submission_at_all_is_told_in_words(raw):
    door = Door()

    with pytest.raises(MalformedEvent):
        await door.raw(1, raw)
    assert not FOREIGN.search(door.receipt.detail)
    found = of_line("f:1", raw)
    assert isinstance(found, Faulty)
    assert not FOREIGN.search(found.detail)


async def test_the_contents_that_were_given_are_named():
    both = await refusal({"path": "a.md", "text": "x", "ref": CONTENT["ref"]})
    none = await refusal({"path": "a.md"})

    assert both.endswith("this one has text and ref")
    assert none.endswith("this one has none")


async def test_a_byte_order_mark_is_no_fault():
    door = Door()

    await door.raw(1, "\ufeff".encode() + b'{"path": "a.md", "text": "x"}')

    assert door.receipt.state == "queued"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["\n", "\r\n"]))
def test_any_text_stands_in_one_line(tmp_path_factory, text, end):
    file = tmp_path_factory.mktemp("lines") / "l.jsonl"
    lines = [json.dumps({"path": p, "text": text}, ensure_ascii=False) for p in "ab"]
    file.write_bytes("\ufeff".encode() + end.join(lines).encode())

    found = of_args(Namespace(files=[str(file)], path=None, delete=False, jsonl=True))

    assert [type(item) for item in found] == [Submission, Submission]
    assert [item.body["text"] for item in found] == [text, text]
