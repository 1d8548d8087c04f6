import re
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.exits import Stop
from services.cli.up.command import name_folders, remembered, slug
from shared.domain.ids import SOURCE_PATTERN


def names(*paths, given=None, known=None):
    folders = name_folders([(p, Path(p)) for p in paths], given=given, known=known or {})
    return [folder.name for folder in folders]


@given(st.text(max_size=80))
def test_every_slug_is_a_name_of_a_source(text):
    assert re.fullmatch(SOURCE_PATTERN, slug(text))


def test_folders_are_named_after_themselves():
    assert names("/x/My Docs (2026)", "/x/wiki") == ["my-docs-2026", "wiki"]


def test_folders_of_one_name_take_the_parent_s_in_front():
    assert names("/a/docs", "/b/docs", "/c/b/docs") == ["docs", "b-docs", "c-b-docs"]


def test_a_folder_keeps_its_name_in_any_order_and_company():
    paths = ["/a/docs", "/b/docs", "/c/docs"]
    first = name_folders([(p, Path(p)) for p in paths], given=None, known={})
    known = remembered({}, first)

    for order in permutations(paths):
        again = name_folders([(p, Path(p)) for p in order], given=None, known=known)
        assert {f.name: str(f.path) for f in again} == known


def test_a_given_name_is_taken_and_remembered():
    assert names("/a/docs", given="manual", known={"docs": "/a/docs"}) == ["manual"]
    folders = name_folders([("d", Path("/a/docs"))], given="manual", known={})
    assert remembered({"docs": "/a/docs", "wiki": "/w"}, folders) == {
        "wiki": "/w",
        "manual": "/a/docs",
    }


def test_one_name_cannot_be_two_folders():
    with pytest.raises(Stop, match="'docs' is /a/docs already"):
        names("/b/docs", given="docs", known={"docs": "/a/docs"})
    with pytest.raises(Stop, match="names one folder"):
        names("/a", "/b", given="x")


def test_a_folder_inside_another_is_refused():
    with pytest.raises(Stop, match="would be there twice"):
        names("/a/docs", "/a/docs/guide")
    assert names("/a/docs", "/a/docs-old") == ["docs", "docs-old"]
