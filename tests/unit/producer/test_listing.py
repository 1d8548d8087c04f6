"""Content decides what has changed; an equal stat only saves the reading when that is safe."""

from hypothesis import given
from hypothesis import strategies as st

from services.producer.sources.listing import (
    NEVER_READ,
    RACY_NS,
    Seen,
    compare,
    from_bytes,
    has_all,
    is_surely_unchanged,
    pair_moves,
    shard_of,
    to_bytes,
)
from services.producer.sources.port import Version

LIMIT = 100
paths = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
stats = st.builds(
    Version,
    size=st.integers(0, 200),
    mtime_ns=st.integers(0, 3 * RACY_NS),
    ctime_ns=st.integers(0, 3 * RACY_NS),
    identity=st.integers(1, 3),
)
seens = st.builds(
    Seen,
    version=stats,
    read_at_ns=st.integers(0, 6 * RACY_NS),
    content_hash=st.text("abcdef0123456789", min_size=1, max_size=4),
    revision=st.integers(1, 2**53 - 1),
    whole=st.booleans(),
)


@given(st.dictionaries(paths, seens), st.dictionaries(paths, seens))
def test_a_listing_has_all_files_of_another_if_each_has_its_path_and_content(mine, others):
    def contents(entries):
        return {(path, seen.content_hash) for path, seen in entries.items()}

    assert has_all(mine, others) == (bool(others) and contents(others) <= contents(mine))
    assert has_all(others | mine, mine) == bool(mine)
    assert not has_all({"a": NEVER_READ}, {"a": NEVER_READ})


@given(before=st.dictionaries(paths, seens), after=st.dictionaries(paths, stats))
def test_every_file_is_unchanged_suspect_or_vanished(before, after):
    found = compare(before, after, max_bytes=LIMIT)

    assert found.unchanged + len(found.suspects) == len(after)
    assert set(found.suspects) <= set(after)
    assert set(found.vanished) == set(before) - set(after)


@given(seen=seens, stat=stats)
def test_nothing_is_trusted_that_a_later_edit_could_look_like(seen, stat):
    if is_surely_unchanged(seen, stat, LIMIT):
        assert stat == seen.version
        assert max(stat.mtime_ns, stat.ctime_ns) + RACY_NS <= seen.read_at_ns
        assert seen.whole == (stat.size <= LIMIT)


def test_a_file_read_long_after_its_last_change_is_not_read_again():
    stat = Version(10, 0, 0, 1)

    assert is_surely_unchanged(Seen(stat, RACY_NS, "a", 1), stat, LIMIT)
    assert not is_surely_unchanged(Seen(stat, RACY_NS - 1, "a", 1), stat, LIMIT)
    assert not is_surely_unchanged(Seen(stat, RACY_NS, "a", 1), stat._replace(ctime_ns=1), LIMIT)
    assert not is_surely_unchanged(None, stat, LIMIT)


@given(entries=st.dictionaries(paths, seens))
def test_a_shard_is_read_as_it_was_written(entries):
    assert from_bytes(to_bytes(entries)) == entries


@given(data=st.binary(max_size=50))
def test_a_shard_that_is_none_is_empty(data):
    assert from_bytes(data) is None


@given(path=paths)
def test_a_path_has_one_of_256_shards(path):
    assert 0 <= shard_of(path) < 256


def test_each_vanished_file_is_paired_with_one_that_appeared():
    gone = {"a": "1", "b": "1", "c": "2", "d": "3"}
    new = {"x": "1", "y": "2", "z": "9"}

    assert pair_moves(gone, new) == [("a", "x"), ("c", "y")]
