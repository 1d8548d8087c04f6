"""What the reading process may say, and that nothing else is believed."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.errors import DocumentRefused
from shared.formats.blocks import Block, Extracted
from shared.formats.extract import extract
from shared.reading import protocol, worker
from shared.reading.protocol import Answer, Question
from shared.sandbox.frames import HEAD, Garbled, length

QUESTION = Question("a.md", None, None, max_chars=100_000)


def answered(frames, question=QUESTION):
    answer = Answer(question)
    ends = [answer.add(frame) for frame in frames]
    assert ends == [False] * (len(ends) - 1) + [True]
    return answer


def say(what):
    return json.dumps(what).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"---\ntitle: T\nn: 1\nd: 2026-01-02\nnone:\n---\n# A\n\n## B\n\none\n\na | b\n-|-\nc | d",
        b"word " * 200,
        "- ä\n- 漢\n\n```\nx\n```\n\n> q".encode(),
    ],
)
def test_what_is_read_apart_is_what_is_read_here(data):
    here = extract(data, path="a.md", media_type=None, title="given")
    question = Question("a.md", None, "given", 100_000)

    assert answered(worker.answer(question, data)).extracted() == here


def test_a_question_keeps_names_that_are_not_utf8():
    question = Question("a\udcff.md", "text/html", "t\ud800", 7)

    assert Question.from_bytes(question.to_bytes()) == question


def test_a_long_document_is_told_in_several_frames():
    blocks = tuple(Block("paragraph", "x" * 1000) for _ in range(1000))
    frames = list(protocol.told(Extracted("", blocks, {})))

    assert len(frames) > 3
    assert answered(frames, Question("a", None, None, 10**6)).extracted().blocks == blocks


def test_a_refusal_is_told_and_raised():
    answer = answered(worker.answer(QUESTION, b" "))

    with pytest.raises(DocumentRefused) as caught:
        answer.extracted()
    assert caught.value.code == "empty"


def test_too_much_text_is_refused_before_it_is_sent():
    frames = list(worker.answer(Question("a.txt", None, None, max_chars=9), b"0123456789"))

    assert [json.loads(frame)["refused"][0] for frame in frames] == ["too_large"]


def test_a_fault_of_ours_is_told_without_the_document(monkeypatch):
    def broken(*_, **__):
        raise IndexError("the secret text")

    monkeypatch.setattr(worker, "extract", broken)
    answer = answered(worker.answer(QUESTION, b"secret"))

    assert answer.broke is not None
    assert answer.broke.startswith("IndexError in ")
    assert "secret" not in answer.broke


def test_want_of_memory_is_left_to_the_caller(monkeypatch):
    def greedy(*_, **__):
        raise MemoryError

    monkeypatch.setattr(worker, "extract", greedy)
    with pytest.raises(MemoryError):
        list(worker.answer(QUESTION, b"word"))
    assert answered([protocol.MEMORY]).memory


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff",
        b"[",
        b"[" * 100_000,
        b"[]",
        b"3",
        say({}),
        say({"blocks": 1}),
        say({"blocks": [["paragraph", "x"]]}),
        say({"blocks": [["paragraph", 1, 0]]}),
        say({"blocks": [["program", "x", 0]]}),
        say({"blocks": [["heading", "x", 8]]}),
        say({"blocks": [["heading", "x", "1"]]}),
        say({"blocks": [["paragraph", "x" * 100_001, 0]]}),
        say({"refused": ["code"]}),
        say({"title": 1, "metadata": {}}),
        say({"title": "", "metadata": {"a": [1]}}),
        say({"title": "", "metadata": []}),
        say({"title": "", "metadata": {"a": "x" * 140_000}}),
    ],
    ids=range(19),
)
def test_anything_else_is_garbled(frame):
    with pytest.raises(Garbled):
        Answer(QUESTION).add(frame)


def test_more_blocks_than_any_document_has_are_garbled(monkeypatch):
    monkeypatch.setattr(protocol, "MAX_BLOCKS", 3)
    answer = Answer(QUESTION)
    answer.add(say({"blocks": [["paragraph", "", 0]] * 3}))

    with pytest.raises(Garbled):
        answer.add(say({"blocks": [["paragraph", "", 0]]}))


def test_a_frame_without_measure_is_not_waited_for():
    with pytest.raises(Garbled):
        length(HEAD.pack(protocol.MAX_FRAME_BYTES + 1), protocol.MAX_FRAME_BYTES)
    assert length(HEAD.pack(protocol.MAX_FRAME_BYTES), protocol.MAX_FRAME_BYTES) == 4 * 1024**2


@pytest.mark.parametrize(
    "texts",
    [["\0" * 3_000_000], ["\0" * 262_144] * 9, [""] * 100_000, ["漢"] * 100_000, ["x" * 262_145]],
    ids=["one long", "several long", "empty", "short", "one more than a frame"],
)
def test_no_frame_of_any_document_is_larger_than_the_parent_reads(texts):
    """A process that is somebody else's by now could have it read and parse 1 GB."""
    blocks = tuple(Block("heading", text, 2) for text in texts)
    blocks += (Block("paragraph", "the last"),)
    frames = list(protocol.told(Extracted("", blocks, {})))
    answer = answered(frames, Question("a", None, None, 10**8))

    assert max(map(len, frames)) <= protocol.MAX_FRAME_BYTES
    assert [(b.kind, b.text, b.level) for b in answer.extracted().blocks] == [
        (b.kind, b.text, b.level) for b in blocks
    ]


@pytest.mark.parametrize("more", [["", "", 0], ["", 1, 0], ["", "x" * 100_001, 0]])
def test_a_block_that_goes_on_is_checked_too(more):
    answer = Answer(QUESTION)
    answer.add(say({"blocks": [["paragraph", "x", 0], ["", "y", 0]]}))

    with pytest.raises(Garbled):
        answer.add(say({"blocks": [more]}))
    with pytest.raises(Garbled):
        Answer(QUESTION).add(say({"blocks": [["", "without a beginning", 0]]}))


@settings(max_examples=40)
@given(st.binary(max_size=60) | st.recursive(st.text() | st.integers(), st.lists).map(say))
def test_any_frame_is_taken_or_garbled(frame):
    try:
        Answer(QUESTION).add(frame)
    except Garbled:
        return
    assert json.loads(frame) is not None
