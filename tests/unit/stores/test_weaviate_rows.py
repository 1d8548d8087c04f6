"""How rows are written for Weaviate and read back, and how a found schema is judged."""

import uuid
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import ConfigurationError
from shared.domain.filters.where import AllOf, BelowPath, IsOneOf, NoneOf
from shared.ports import Filter, Row
from shared.stores.weaviate import rows as weaviate_rows
from shared.stores.weaviate import schema as weaviate_schema
from shared.stores.weaviate import store as weaviate
from shared.stores.weaviate.open import Address
from shared.stores.weaviate.schema import (
    WANTED_SCHEMA,
    can_exclude,
    differences,
    judge_version,
)
from shared.stores.weaviate.store import WeaviateStore

ANY_TEXT = st.text(st.characters(), max_size=20)
ROW = Row(
    id="0b7f5ab4-3c67-5e5e-9d5a-2c4be5a1f1d0",
    doc_key="doc",
    source="notes",
    path="a.md",
    born=3,
    chunk_key="chunk",
    title="A title",
    heading=("One", "Two"),
    text="the text",
    metadata={"n": 1, "none": None},
    vector=np.ones(4, np.float32),
)


@given(ANY_TEXT)
def test_what_is_compared_comes_back_whatever_it_was(text):
    stored = weaviate_rows.encoded(text)

    assert weaviate_rows.decoded(stored) == text
    assert stored.strip() == stored != ""
    assert not {"*", "?", "\0"} & set(stored)


@given(ANY_TEXT, ANY_TEXT)
def test_a_path_begins_with_a_prefix_exactly_if_its_stored_form_does(path, prefix):
    stored = weaviate_rows.encoded(path)
    if prefix:
        like = weaviate_rows.pattern(prefix).removesuffix("*")

        assert stored.startswith(like) == path.startswith(prefix)
        assert weaviate_rows.encoded(prefix + path).startswith(like)


@given(ANY_TEXT, ANY_TEXT)
def test_two_ids_never_share_an_object(one, other):
    ids = {weaviate_rows.object_id(one), weaviate_rows.object_id(other)}

    assert len(ids) == len({one, other})
    assert all(str(uuid.UUID(key)) == key for key in ids)


def test_an_id_of_ours_is_the_id_of_its_object():
    assert weaviate_rows.object_id(ROW.id) == ROW.id
    assert weaviate_rows.object_id(ROW.id.upper()) != ROW.id


def test_a_row_comes_back_from_its_properties():
    (written,) = weaviate_rows.properties([ROW])

    hit = weaviate_rows.to_hit(written, 0.5)

    for name in ("id", "doc_key", "source", "path", "born", "chunk_key", "title", "heading"):
        assert getattr(hit, name) == getattr(ROW, name)
    assert dict(hit.metadata) == dict(ROW.metadata)
    assert set(written) == {column.name for column in weaviate_schema.COLUMNS}


def test_what_the_server_leaves_out_was_empty():
    bare = replace(ROW, title="", heading=(), text="", chunk_key="")
    (written,) = weaviate_rows.properties([bare])
    for name in ("title", "heading", "text", "chunk_key"):
        del written[name]

    hit = weaviate_rows.to_hit(written, 0.0)

    assert (hit.title, hit.heading, hit.text, hit.chunk_key) == ("", (), "", "")


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 7))
def test_batches_hold_every_row_once_within_their_limits(sizes, most):
    rows = [replace(ROW, id=str(n), text="x" * size) for n, size in enumerate(sizes)]
    limit = 3 * weaviate_rows.weight(ROW)

    found = list(weaviate_rows.batches(rows, most, limit))

    assert [row for batch in found for row in batch] == rows
    for batch in found:
        assert 1 <= len(batch) <= most
        assert len(batch) == 1 or sum(map(weaviate_rows.weight, batch)) <= limit


# -- address, name, version, schema ----------------------------------------------------------------


def test_an_address_has_the_usual_ports():
    assert Address.of("http://host:8080") == Address(("host", 8080), ("host", 50051), False)
    assert Address.of("https://host", None, Path("ca.pem")).authority == Path("ca.pem")
    assert Address.of("https://host", "other:7") == Address(("host", 443), ("other", 7), True)


@pytest.mark.parametrize("url", ["host:8080", "ftp://host", "http://", "http://host:port"])
def test_no_address_is_a_matter_for_a_person(url):
    with pytest.raises(ConfigurationError, match="http://host:8080"):
        Address.of(url)


def test_an_authority_is_for_encrypted_addresses_only():
    with pytest.raises(ConfigurationError, match="https://"):
        Address.of("http://host:8080", None, Path("ca.pem"))


@pytest.mark.parametrize("prefix", ["", "small", "With space", "A-b", "9a"])
def test_a_prefix_that_names_no_collection_is_refused(prefix):
    with pytest.raises(ConfigurationError, match="capital letter"):
        weaviate.collection_name(prefix, "g1")


@pytest.mark.parametrize("excludes", [True, False])
def test_a_server_without_not_is_asked_for_the_rest_of_a_filter(excludes):
    old, lang = BelowPath("old/"), IsOneOf("lang", "keyword", ("en",))
    store = SimpleNamespace(_excludes=excludes)
    asked = Filter(("docs",), where=AllOf((NoneOf(old), lang)))

    found = WeaviateStore._possible(store, asked)
    alone = WeaviateStore._possible(store, Filter(where=NoneOf(old)))

    assert found == (asked if excludes else Filter(("docs",), where=lang))
    assert alone == Filter(where=NoneOf(old) if excludes else None)


def test_versions_are_judged():
    assert judge_version("1.39.0") == judge_version("1.38.11") == judge_version("2.0.0-rc") == ""
    assert "asks for 1.38" in judge_version("1.37.4")
    assert [can_exclude(version) for version in ("1.32.9", "1.33.0", "2.0")] == [False, True, True]
    for old in ("1.31.9", "0.9", "", "unknown"):
        with pytest.raises(ConfigurationError, match="too old"):
            judge_version(old)


def test_every_difference_of_a_schema_is_named():
    columns = dict(WANTED_SCHEMA.columns)
    columns["born"] = replace(columns["born"], ranged=False)
    del columns["seal"]
    found = replace(WANTED_SCHEMA, columns=columns, distance="dot", vectors=("default", "other"))

    assert differences(WANTED_SCHEMA) == []
    assert differences(found) == [
        "distance is dot, not cosine",
        "no property seal",
        "property born of another kind",
        "vectors is ('default', 'other'), not ('default',)",
    ]


# -- when rows are overdue -------------------------------------------------------------------------


def test_a_row_that_waits_in_a_queue_is_not_overdue():
    missing = {"old": 0.0, "older": -200.0, "fresh": 99.0}

    assert weaviate.overdue(missing, 100.0, idle=True) == ["old", "older"]
    assert weaviate.overdue(missing, 100.0, idle=False) == ["older"]
