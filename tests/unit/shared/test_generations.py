"""Which settings are another index."""

from dataclasses import fields, replace

import pytest

from shared.generation import Generation, differences
from shared.settings import Chunking

LIVE = Generation("all-MiniLM-L6-v2", "f32", "abc", 384, Chunking())


def test_another_name_of_the_same_vectors_is_the_same_generation():
    other = replace(LIVE, model="/models/minilm")

    assert other.id == LIVE.id
    assert differences(LIVE, other) == []


IN_THE_ID = {
    "fingerprint": "xyz",
    "dimensions": 128,
    "chunking": Chunking(tokens=100),
    "chunker": 2,
}
CHUNKINGS = {"kind": "fixed", "tokens": 100, "overlap": 0.5}


@pytest.mark.parametrize("field", [f.name for f in fields(Generation)])
def test_whatever_decides_rows_is_in_the_id_and_nothing_else(field):
    other = replace(LIVE, **{field: IN_THE_ID.get(field, "other")})

    assert (other.id != LIVE.id) == (field in IN_THE_ID)


@pytest.mark.parametrize("setting", Chunking.model_fields)
def test_every_setting_of_chunking_is_in_the_id(setting):
    other = replace(LIVE, chunking=Chunking(**{setting: CHUNKINGS[setting]}))

    assert other.id != LIVE.id
    assert len(differences(LIVE, other)) == 1


def test_ids_that_name_tables_and_buckets_never_change():
    assert LIVE.id == "gze5l3u54"


def test_other_vectors_or_another_cut_are_another_generation():
    for other in (
        replace(LIVE, fingerprint="xyz", numeric="int8"),
        replace(LIVE, chunking=Chunking(tokens=100)),
        replace(LIVE, chunker=2),
        replace(LIVE, fingerprint="xyz"),
    ):
        assert other.id != LIVE.id
        assert len(differences(LIVE, other)) == 1


def test_what_differs_is_named_with_both_values():
    other = replace(LIVE, fingerprint="xyz", numeric="int8")

    assert differences(LIVE, other) == ["embedding.numeric is int8, the index was built with f32"]


def test_a_generation_survives_being_written_down():
    assert Generation.from_dict(LIVE.as_dict()) == LIVE
