import pytest

from services.enricher.chunking.chunk import Chunk
from services.enricher.prepare import judge
from shared.domain.ordering import MAX_ROWS
from shared.formats.blocks import Block, Extracted


def extracted(text):
    return Extracted("", (Block("paragraph", text),), {})


@pytest.mark.parametrize(
    ("text", "chunks", "code"),
    [
        ("fine", 1, None),
        ("fine", MAX_ROWS, None),
        ("fine", MAX_ROWS + 1, "too_large"),
        ("", 0, "no_text"),
        ("one \ufffd in a short text", 1, None),
        ("\ufffd\ufffd of a few", 1, "wrong_encoding"),
        ("x" * 1_000 + "\ufffd" * 9, 1, None),
        ("x" * 1_000 + "\ufffd" * 11, 1, "wrong_encoding"),
    ],
)
def test_a_document_is_taken_or_refused_with_a_code(text, chunks, code):
    refusal = judge(extracted(text), [Chunk("c")] * chunks)

    assert (refusal and refusal.code) == code
