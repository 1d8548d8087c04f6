from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.domain.text import words
from shared.domain.text.words import column
from shared.ports import Row
from shared.stores import seal
from shared.stores.lance import rows as lance_rows
from shared.stores.lance import sweep as lance_sweep

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALAR = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(width=64) | TEXT


def unit(seed: int, dimensions: int = 384):
    vector = np.random.default_rng(seed).normal(size=dimensions).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


ROW = Row(
    id="b7f1c9f2-6a52-5d0a-9b1e-0f6c6c1f4f11",
    doc_key="abcdefghijklmnopqrstuvwxyz",
    source="notes",
    path="guide/start.md",
    born=7,
    chunk_key="chunk",
    title="A title",
    heading=("One", "Two"),
    text="the text",
    metadata={"lang": "en", "n": 1},
    vector=unit(0, 8),
)
ROWS = st.builds(
    Row,
    *([TEXT] * 4),
    st.integers(0, 2**53),
    TEXT,
    TEXT,
    st.lists(TEXT, max_size=3).map(tuple),
    TEXT,
    st.dictionaries(TEXT, SCALAR, max_size=3),
    st.just(ROW.vector),
)

CHANGES = {
    "id": "b7f1c9f2-6a52-5d0a-9b1e-0f6c6c1f4f12",
    "doc_key": "abcdefghijklmnopqrstuvwxy2",
    "source": "note",
    "path": "guide/start.mD",
    "born": 8,
    "chunk_key": "chunk2",
    "title": "A Title",
    "heading": ("One",),
    "text": "the text ",
    "metadata": {"lang": "en", "n": 1.0},
}

SEAL = -8130284020812198295
MARKS = [1.0, -0.227885, 1.64594, 1.078359, -0.489214]


# -- seals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [f.name for f in fields(Row) if f.name != "vector"])
def test_every_field_is_sealed(name):
    assert seal.seal_of(replace(ROW, **{name: CHANGES[name]})) != seal.seal_of(ROW)


@given(ROWS, ROWS)
def test_rows_have_one_seal_if_they_are_one_row(one, other):
    assert (seal.seal_of(one) == seal.seal_of(other)) == (_stored(one) == _stored(other))


def _stored(row):
    """All that is sealed; 1, 1.0 and True are told apart."""
    return repr(replace(row, metadata=sorted(row.metadata.items()), vector=None))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"title": "ab", "text": "c"}, {"title": "a", "text": "bc"}),
        ({"heading": ("ab", "c")}, {"heading": ("a", "bc")}),
        ({"heading": ()}, {"heading": ("",)}),
        ({"heading": ("",)}, {"heading": ("", "")}),
        ({"text": "a", "heading": ("b",)}, {"text": "ab", "heading": ("",)}),
        ({"metadata": {"n": "1"}}, {"metadata": {"n": 1}}),
        ({"metadata": {"n": None}}, {"metadata": {}}),
        ({"text": "é"}, {"text": "e\u0301"}),
    ],
)
def test_rows_that_look_alike_have_seals_of_their_own(one, other):
    assert seal.seal_of(replace(ROW, **one)) != seal.seal_of(replace(ROW, **other))


def test_the_order_of_metadata_and_the_vector_are_not_sealed():
    other = replace(ROW, metadata={"n": 1, "lang": "en"}, vector=unit(9, 8))

    assert seal.seal_of(other) == seal.seal_of(ROW)


def test_what_is_no_valid_unicode_is_sealed_too():
    assert seal.seal_of(replace(ROW, text="\ud800")) != seal.seal_of(replace(ROW, text="\ud801"))


def test_the_seals_of_tables_that_exist_still_hold():
    """Another value here makes every stored row a damaged one: every index would be repaired."""
    assert seal.seal_of(ROW) == SEAL
    assert seal.marks_of(ROW.vector[np.newaxis])[0].tolist() == pytest.approx(MARKS, abs=1e-5)


# -- the same seals from columns -------------------------------------------------------------------


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ROWS, min_size=1, max_size=5), st.data())
def test_columns_are_packed_as_their_rows_are_sealed(rows, data):
    start = data.draw(st.integers(0, len(rows) - 1))
    (batch,) = lance_rows.to_arrow(rows, 8).to_batches()

    part = batch.slice(start)

    assert seal.digests(lance_sweep.packed(part)).tolist() == list(map(seal.seal_of, rows[start:]))
    columns = [column(row.title, row.heading, row.text) for row in rows[start:]]
    assert part["seal"].to_pylist() == list(map(seal.seal_of, rows[start:], columns))
    assert lance_sweep.intact(part, worded=True).all()


@pytest.mark.parametrize("name", ["title", "text", "metadata", "path", "chunk_key", "words"])
def test_one_altered_row_of_a_batch_is_seen(name):
    (batch,) = lance_rows.to_arrow([ROW, ROW, ROW], 8).to_batches()
    values = batch[name].to_pylist()
    values[1] += "."

    altered = batch.set_column(
        batch.schema.get_field_index(name), batch.schema.field(name), pa.array(values)
    )

    for worded in (True, False):
        assert lance_sweep.intact(altered, worded=worded).tolist() == [True, False, True]


def test_a_seal_is_of_what_is_written_whichever_version_of_words_made_it(monkeypatch):
    before = seal.seal_of(ROW, "a title")
    monkeypatch.setattr(words, "VERSION", words.VERSION + 1)

    assert seal.seal_of(ROW, "a title") == before
    assert len({before, seal.seal_of(ROW, "a titles"), seal.seal_of(ROW, ""), SEAL}) == 4
    assert seal.seal_of(ROW) == SEAL


# -- marks -----------------------------------------------------------------------------------------


def agrees(found, written) -> bool:
    one, other = (seal.marks_of(np.asarray([v], np.float32)) for v in (found, written))
    return bool(seal.agree(one, other)[0])


def test_a_vector_that_was_normalised_again_or_rounded_is_the_same():
    vector = unit(1)

    assert agrees(vector * np.float32(1 + 1e-4), vector)
    assert agrees(vector.astype(np.float16).astype(np.float32), vector)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: unit(2),
        lambda v: -v,
        lambda v: v[::-1],
        lambda v: v * 2,
        lambda v: v * 1.01,
        np.zeros_like,
        lambda v: np.full_like(v, np.nan),
        lambda v: np.full_like(v, np.inf),
        lambda v: np.where(np.arange(len(v)) == 3, np.nan, v),
    ],
    ids=["another", "negative", "reversed", "double", "longer", "zero", "nan", "inf", "one nan"],
)
def test_another_vector_is_another(change):
    vector = unit(1)

    assert not agrees(change(vector), vector)


def test_no_other_unit_vector_passes_for_a_vector_by_chance():
    vectors = np.stack([unit(n) for n in range(3000)])
    near = vectors + np.float32(0.1) * np.roll(vectors, 1, axis=0)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    marks = seal.marks_of(vectors)

    assert not seal.agree(seal.marks_of(np.roll(vectors, 1, axis=0)), marks).any()
    assert not seal.agree(seal.marks_of(near.astype(np.float32)), marks).any()


def test_vectors_of_any_length_are_compared_with_what_was_written():
    """Encoders make unit vectors; that one does not is no damage, and no repair would mend it."""
    long = unit(1) * np.float32(40)

    assert agrees(long, long)
    assert not agrees(unit(1), long)
