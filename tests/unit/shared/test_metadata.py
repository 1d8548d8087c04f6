"""Metadata with the origin of each value, as rows store it."""

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.metadata import ORIGINS, parted, with_origins

NAMES = st.text(max_size=8).filter(lambda name: name != ORIGINS)
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)


@given(st.dictionaries(NAMES, SCALARS, max_size=5), st.dictionaries(NAMES, st.text(max_size=8)))
def test_what_is_put_together_comes_apart_again(metadata, origins):
    assert parted(with_origins(metadata, origins)) == (metadata, origins)


def test_rows_of_an_older_version_have_no_origins():
    assert parted({"author": "Ada"}) == ({"author": "Ada"}, {})


@given(SCALARS | st.sampled_from(['{"a": 1}', '{"a": null}', "[[1]]", '["ab"]', "7", "{"]))
def test_whatever_lies_there_is_no_fault(value):
    metadata, origins = parted({"author": "Ada", ORIGINS: value})

    assert metadata == {"author": "Ada"}
    assert all(isinstance(name, str) for pair in origins.items() for name in pair)


def test_a_publisher_cannot_claim_an_origin():
    stored = with_origins(
        {"author": "Ada", ORIGINS: '{"meta": ["author"]}'}, {"author": "publisher"}
    )

    assert parted(stored) == ({"author": "Ada"}, {"author": "publisher"})
