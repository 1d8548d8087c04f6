"""What crosses the bus: golden copies are read for ever, readers are lenient, writers are exact."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

from shared.contracts import event_name
from shared.domain.events import (
    EVENTS,
    RESULTS,
    Batch,
    BatchCompleted,
    Document,
    DocumentChanged,
    DocumentEnriched,
    DocumentIndexed,
    DocumentSubmitted,
    EmbeddingsReady,
    Inline,
    Receipt,
    cache_keys,
    parse_result,
    with_context,
)
from shared.domain.ids import cache_key

GOLDEN = Path(__file__).parents[2] / "golden/v1"
MODELS = {event_name(kind): kind for kind in EVENTS} | {"receipt": Receipt}
FILES = sorted(path for path in GOLDEN.glob("*.json") if path.stem.split("-")[0] != "ledger_record")


def golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


def model_of(path):
    return MODELS[path.stem.split("-")[0]]


def assert_holds(whole, part, at=""):
    """Everything of `part` is in `whole`, which may have more fields."""
    if isinstance(part, dict):
        for name, value in part.items():
            assert name in whole, f"{at}.{name} is gone"
            assert_holds(whole[name], value, f"{at}.{name}")
    elif isinstance(part, list):
        assert len(whole) == len(part), at
        for n, (one, other) in enumerate(zip(whole, part, strict=True)):
            assert_holds(one, other, f"{at}[{n}]")
    else:
        assert (whole, type(whole)) == (part, type(part)), at


def with_unknown_fields(value):
    """The same object as a newer writer may send it: one field more on every level."""
    if isinstance(value, dict):
        return {n: with_unknown_fields(v) for n, v in value.items()} | {"novelty": {"deep": [1]}}
    return [with_unknown_fields(v) for v in value] if isinstance(value, list) else value


# -- compatibility ---------------------------------------------------------------------------------


def test_every_event_has_a_golden_copy():
    assert {path.stem.split("-")[0] for path in FILES} == set(MODELS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_golden_copy_is_read_and_nothing_of_it_is_lost(path):
    raw = json.loads(path.read_text())

    written = json.loads(model_of(path).model_validate_json(path.read_bytes()).model_dump_json())

    assert_holds(written, raw)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_fields_of_a_newer_writer_are_ignored_on_every_level(path):
    raw = json.loads(path.read_text())
    newer = with_unknown_fields(raw)
    if "metadata" in raw:
        newer["metadata"] = raw["metadata"]  # a dictionary of the document's own, not of the schema
    for row, old in zip(newer.get("rows", []), raw.get("rows", []), strict=True):
        row["metadata"] = old["metadata"]

    model = model_of(path)

    assert model.model_validate(newer) == model.model_validate(raw)


def test_an_event_of_another_schema_is_not_read():
    with pytest.raises(ValidationError):
        DocumentIndexed.model_validate(golden("documents.indexed") | {"schema": 2})


def test_an_event_cannot_be_altered():
    event = DocumentIndexed.model_validate(golden("documents.indexed"))

    with pytest.raises(ValidationError):
        event.vector_count = 3


# -- what belongs together -------------------------------------------------------------------------

CONTENTS = {
    "text": "words",
    "data_base64": "eA==",
    "chunks": [{"text": "words"}],
    "pieces": ["0" * 64],
    "ref": {"url": "file:///srv/a.md"},
}


@pytest.mark.parametrize("given_names", [(), ("text", "ref"), ("chunks", "data_base64")])
def test_an_upsert_has_exactly_one_content(given_names):
    with pytest.raises(ValidationError, match="exactly one of"):
        DocumentSubmitted(path="a.md", **{name: CONTENTS[name] for name in given_names})


@pytest.mark.parametrize("name", CONTENTS)
def test_any_one_content_will_do_and_a_deletion_has_none(name):
    one = {name: CONTENTS[name]}

    assert DocumentSubmitted.model_validate({"path": "a.md"} | one).op == "upsert"
    with pytest.raises(ValidationError, match="a delete has no content"):
        DocumentSubmitted.model_validate({"op": "delete", "path": "a.md"} | one)


@pytest.mark.parametrize(("op", "content"), [("upserted", None), ("deleted", Inline(data="x"))])
def test_a_change_has_content_unless_it_is_a_deletion(op, content):
    whole = golden("documents.changed") | {"op": op, "content": content}

    with pytest.raises(ValidationError, match="content is required"):
        DocumentChanged.model_validate(whole)


def test_a_part_has_a_vector_for_every_row():
    with pytest.raises(ValidationError, match="count is not the number of rows"):
        EmbeddingsReady.model_validate(golden("embeddings.ready") | {"count": 2})


def test_times_say_their_zone():
    document = golden("documents.indexed")["document"]

    with pytest.raises(ValidationError):
        Document.model_validate(document | {"changed_at": "2026-11-21T12:03:06"})


@pytest.mark.parametrize("source", ["", "-docs", "Docs", "do cs", "docs.a", "a" * 41, "docs\n"])
def test_a_source_that_is_no_subject_token_is_not_read(source):
    with pytest.raises(ValidationError):
        Batch.model_validate(golden("batches.completed")["batch"] | {"source": source})


# -- subjects and identities -----------------------------------------------------------------------


@pytest.mark.parametrize("word", RESULTS)
def test_a_result_is_read_by_its_subject(word):
    event = RESULTS[word].model_validate(golden(f"documents.{word}"))

    assert event.subject == f"documents.{word}.gabcdefgh.docs"
    assert parse_result(event.subject, event.model_dump_json().encode()) == event


def test_a_subject_without_an_event_is_a_key_error():
    with pytest.raises(KeyError):
        parse_result("documents.praised.gabcdefgh.docs", b"{}")


@pytest.mark.parametrize("word", RESULTS)
def test_the_same_fact_told_twice_has_one_identity(word):
    first, second = (RESULTS[word].model_validate(golden(f"documents.{word}")) for _ in range(2))

    assert first.message_id == second.message_id


def test_facts_about_other_revisions_have_other_identities():
    raw = golden("documents.indexed")
    later = raw | {"document": raw["document"] | {"revision": raw["document"]["revision"] + 1}}

    assert (
        DocumentIndexed.model_validate(raw).message_id
        != DocumentIndexed.model_validate(later).message_id
    )


def test_a_completed_batch_is_one_fact_for_each_generation_source_id_and_start():
    raw = golden("batches.completed")
    others = [
        raw | {"generation": "gother"},
        *(
            raw | {"batch": raw["batch"] | {name: value}}
            for name, value in (
                ("source", "wiki"),
                ("id", "b_other"),
                ("started_at", "2026-01-02T03:04:05Z"),
            )
        ),
        raw | {"complete": False, "missing": 3},
    ]
    ids = [BatchCompleted.model_validate(one).message_id for one in (raw, *others)]

    assert len(set(ids)) == len(ids)
    assert BatchCompleted.model_validate(raw).message_id == ids[0]


@pytest.mark.parametrize("name", ["documents.changed", "documents.enriched", "embeddings.ready"])
def test_work_sent_again_is_another_message(name):
    event = MODELS[name].model_validate(golden(name))

    assert event.message_id != event.message_id  # a fresh one names the publish call


@pytest.mark.parametrize("name", ["documents.enriched", "embeddings.ready"])
def test_the_name_of_work_is_of_the_document_its_revision_and_its_rows(name):
    event = MODELS[name].model_validate(golden(name))
    document, (row, *_) = event.document, event.rows
    others = [
        {"document": document.model_copy(update={"doc_key": "x" * 26})},
        {"document": document.model_copy(update={"revision": document.revision + 1})},
        {"rows": (row.model_copy(update={"id": "another"}),)},
        {"rows": (row, row.model_copy(update={"id": "another"}))},
    ]
    names = {event.model_copy(update=other).work for other in others}
    in_another_order = event.model_copy(update={"rows": tuple(reversed(event.rows))})

    assert len(names | {event.work}) == 5
    assert in_another_order.work == event.work


# -- contents and vectors --------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_any_bytes_survive_inside_an_event(data):
    again = Inline.model_validate_json(Inline.of(data).model_dump_json())

    assert again.bytes() == data


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 8)),
        elements=st.floats(-1, 1, width=32),
    )
)
def test_vectors_survive_exactly(vectors):
    count, dims = vectors.shape
    row = golden("embeddings.ready")["rows"][0]
    event = EmbeddingsReady.model_validate(
        golden("embeddings.ready")
        | {"rows": [row] * count, "count": count, "dims": dims}
        | {"vectors": EmbeddingsReady.pack(vectors)}
    )

    assert np.array_equal(event.unpack(), vectors)


def test_vectors_of_any_layout_and_byte_order_are_packed_alike():
    vectors = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)

    assert EmbeddingsReady.pack(vectors) == EmbeddingsReady.pack(np.asfortranarray(vectors))
    assert EmbeddingsReady.pack(vectors) == EmbeddingsReady.pack(vectors.astype(">f4"))


def test_a_block_of_another_length_is_refused():
    event = EmbeddingsReady.model_validate(golden("embeddings.ready") | {"dims": 3})

    with pytest.raises(ValueError, match="reshape"):
        event.unpack()


def test_an_empty_part_has_no_vectors():
    event = EmbeddingsReady.model_validate(
        golden("embeddings.ready") | {"rows": [], "count": 0, "dims": 0, "vectors": ""}
    )

    assert event.unpack().shape == (0, 0)


@pytest.mark.parametrize(
    ("title", "heading", "expected"),
    [
        ("Guide", ("Install", "Linux"), "Guide > Install > Linux\ntext"),
        ("Guide", ("Guide", "Install"), "Guide > Install\ntext"),
        ("Guide", (), "Guide\ntext"),
        ("", ("Install",), "Install\ntext"),
        ("", (), "text"),
        ("Guide", ("Install", "page 12"), "Guide > Install\ntext"),
        ("Deck", ("slide 3", "Prices", "notes"), "Deck > Prices > notes\ntext"),
        ("page 3", ("Page 3", "page three"), "page 3 > Page 3 > page three\ntext"),
        ("", ("page 3",), "text"),
    ],
)
def test_the_model_reads_title_and_headings_before_the_text(title, heading, expected):
    assert with_context(title, heading, "text") == expected


def test_the_cache_key_of_a_row_is_that_of_what_the_model_reads():
    part = DocumentEnriched.model_validate(golden("documents.enriched"))

    assert cache_keys(part, "print") == [
        cache_key("print", "Guide > Install\nInstall it with pip.")
    ]
