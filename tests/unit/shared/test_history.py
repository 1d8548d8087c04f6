"""What is kept of batches and validations: one report each, newest first, not too many."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_kv import MemoryShelf
from report_world import START, lines, record, report

from shared.batches import history as keeping
from shared.batches.history import History, page, surplus
from shared.batches.reports import Validation, line_of, pack


@pytest.fixture
def shelf():
    return MemoryShelf()


@pytest.fixture
def history(shelf):
    return History(shelf)


def of(name, after_s=9.0, source="docs", **more):
    found = report([record("a.md")], id=name, after_s=after_s, **more)
    return found.model_copy(update={"batch": found.batch.model_copy(update={"source": source})})


def verdict(source, after_s=0):
    at = START + timedelta(seconds=after_s)
    return Validation(kind="validate", at=at, source=source, generation="g", passed=True)


async def ids(history, **asked):
    return [line.batch.id for line in (await history.history(**asked))[0]]


async def test_a_report_comes_back_whole_with_its_members(history):
    await history.keep(of("b"), ["k1", "k2"])

    assert await history.reports("b") == {"docs": of("b")}
    assert await history.kept(of("b").batch, of("b").generation) == of("b")
    assert await history.members("b") == {"docs": ("k1", "k2")}
    assert await history.history() == ([line_of(of("b"))], "")


async def test_what_was_never_kept_is_not_there(history):
    assert await history.reports("b") == {}
    assert await history.reports("last") == {}
    assert await history.members("b") == {}
    assert await history.history() == ([], "")
    assert await history.validations() == ([], "")


async def test_keeping_again_leaves_one_report_and_one_line(history, shelf):
    await history.keep(of("b", count=9, whole=False))
    await History(shelf).keep(of("b", after_s=4000))

    assert [line.complete for line in (await history.history())[0]] == [True]
    assert len(await shelf.keys()) == 2


async def test_lines_of_two_validators_that_wrote_at_once_show_as_one(history, shelf):
    other = History(shelf)

    async def blind(batch, generation):
        return None

    history._before = other._before = blind  # neither had seen the other's
    await history.keep(of("b", after_s=9.0))
    await other.keep(of("b", after_s=9.1))

    assert await ids(history) == ["b"]
    assert len(await shelf.keys("done.")) == 1


async def test_an_id_that_is_used_again_another_day_is_another_batch(history):
    await history.keep(of("nightly"))
    await history.keep(of("nightly", start=START + timedelta(days=1)))

    assert await ids(history) == ["nightly", "nightly"]
    assert (await history.reports("nightly"))["docs"].batch.started_at == START + timedelta(days=1)


async def test_lists_are_by_source_and_newest_first(history):
    for n in (3, 1, 2):
        await history.keep(of(f"b{n}", after_s=n))
        await history.keep(of(f"w{n}", after_s=n + 0.5, source="wiki"))

    assert await ids(history, source="docs") == ["b3", "b2", "b1"]
    assert await ids(history) == ["w3", "b3", "w2", "b2", "w1", "b1"]
    assert (await history.reports("last"))["wiki"].batch.id == "w3"
    assert (await history.reports("last", "docs"))["docs"].batch.id == "b3"
    assert await history.reports("b1", "wiki") == {}


async def test_pages_follow_each_other_though_new_ones_come_and_old_ones_go(history, shelf):
    for n in range(9):
        await history.keep(of(f"b{n}", after_s=n))
    first, place = await history.history("docs", 4)
    await history.keep(of("new", after_s=99))
    await shelf.delete((await shelf.keys("line."))[5])  # the very line that ended the page
    second, end = await history.history("docs", 9, place)

    found = [line.batch.id for line in (*first, *second)]
    assert found == [f"b{n}" for n in range(8, -1, -1)]
    assert end == ""


async def test_verdicts_on_batches_and_on_the_index_are_one_history(history):
    await history.keep(of("b1", after_s=10))
    await history.judge([verdict("docs", 20), verdict("wiki", 20), verdict("", 20)])
    await history.keep(of("b2", after_s=30))

    docs, _ = await history.validations("docs")
    every, _ = await history.validations()
    assert [(v.kind, v.batch) for v in docs] == [
        ("batch", "b2"), ("validate", None), ("batch", "b1"),
    ]  # fmt: skip
    assert [(v.kind, v.source) for v in every] == [
        ("batch", "docs"), ("validate", ""), ("batch", "docs"),
    ]  # fmt: skip
    assert await ids(history, source="wiki") == []


async def test_a_source_keeps_so_many_reports_and_no_more(history, shelf, monkeypatch):
    monkeypatch.setattr(keeping, "KEPT_PER_SOURCE", 5)
    monkeypatch.setattr(keeping, "BOUND_EVERY", 1)
    await history.keep(of("other", source="wiki"))
    for n in range(9):
        await history.keep(of(f"b{n}", after_s=n))
        await history.judge([verdict("docs", n)])

    assert await ids(history, source="docs") == ["b8", "b7", "b6", "b5", "b4"]
    assert await history.reports("b3") == {}
    assert await ids(history, source="wiki") == ["other"]
    assert len(await shelf.keys("done.")) == 6
    assert len(await shelf.keys("line.g.docs.v.")) == 5


async def test_an_id_that_two_sources_use_has_a_report_in_each(history):
    await history.keep(of("b"), ["d1"])
    await history.keep(of("b", source="wiki", after_s=20.0), ["w1"])

    assert await history.reports("b") == {
        "docs": of("b"),
        "wiki": of("b", source="wiki", after_s=20.0),
    }
    assert await history.members("b", "wiki") == {"wiki": ("w1",)}
    assert list(await history.reports("last")) == ["wiki"]


async def test_two_generations_have_a_report_each_of_the_same_batch(history):
    await history.keep(of("b", generation="gold"))
    await history.keep(of("b", generation="gnew", after_s=20.0))

    lines, _ = await history.history()
    assert [line.generation for line in lines] == ["gnew", "gold"]
    assert (await history.kept(of("b").batch, "gold")).generation == "gold"
    assert (await history.kept(of("b").batch, "gnew")).generation == "gnew"
    assert await history.kept(of("b").batch, "gother") is None


# -- reports of version 0.1.0 ----------------------------------------------------------------------

OLD_B = "hyr6qfqahfmuum4jj5swjynrgs.mxtdzv5t"
"""Digests of the id `b` and of START, as that version made them."""


async def keep_as_0_1_0_did(shelf, found, members=()):
    ms = f"{int(found.completed_at.timestamp() * 1000):013d}"
    source = found.batch.source
    await shelf.put(f"done.{source}.{OLD_B}", pack(found, members))
    line = line_of(found).model_dump_json().encode()
    await shelf.put(f"line.{source}.b.{ms}.{OLD_B}", line)


async def test_reports_and_verdicts_that_version_0_1_0_kept_are_read(history, shelf):
    await keep_as_0_1_0_did(shelf, of("b"), ("k1",))
    ms = f"{int(START.timestamp() * 1000) + 20_000:013d}"
    for source in ("docs", "_"):
        named = verdict("" if source == "_" else source, 20)
        old = named.model_dump_json().encode()
        await shelf.put(f"line.{source}.v.{ms}.0011223344556677", old)
    await history.keep(of("new", after_s=30.0))

    assert await history.reports("b") == await history.reports("b", "docs") == {"docs": of("b")}
    assert await history.members("b") == {"docs": ("k1",)}
    assert await history.kept(of("b").batch, of("b").generation) == of("b")
    assert await ids(history) == await ids(history, source="docs") == ["new", "b"]
    assert [v.kind for v in (await history.validations())[0]] == ["batch", "validate", "batch"]
    assert [v.kind for v in (await history.validations("docs"))[0]] == [
        "batch", "validate", "batch",
    ]  # fmt: skip
    first, place = await history.history(limit=1)
    rest, _ = await history.history(after=place)
    assert [line.batch.id for line in (*first, *rest)] == ["new", "b"]


async def test_the_last_batch_may_be_one_of_version_0_1_0(history, shelf):
    await keep_as_0_1_0_did(shelf, of("b"))

    assert await history.reports("last") == {"docs": of("b")}


async def test_an_incomplete_report_of_version_0_1_0_is_replaced_by_the_whole_one(history, shelf):
    await keep_as_0_1_0_did(shelf, of("b", count=9, whole=False))
    await history.keep(of("b", after_s=4000))

    assert [line.complete for line in (await history.history())[0]] == [True]
    assert len(await shelf.keys()) == 2


async def test_what_a_source_has_too_many_goes_with_its_old_keys(history, shelf, monkeypatch):
    monkeypatch.setattr(keeping, "KEPT_PER_SOURCE", 2)
    monkeypatch.setattr(keeping, "BOUND_EVERY", 1)
    await keep_as_0_1_0_did(shelf, of("b"))
    for n in range(2):
        await history.keep(of(f"b{n}", after_s=20 + n))

    assert await ids(history) == ["b1", "b0"]
    assert await history.reports("b") == {}
    assert len(await shelf.keys()) == 4


async def test_reports_of_an_older_kind_are_no_obstacle(history, shelf):
    await shelf.put("done.1767225600000.abcdefgh", b"old")
    await history.keep(of("b"))

    assert await ids(history) == ["b"]
    assert list(await history.reports("b")) == ["docs"]


names = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("bv"), st.integers(0, 40)), unique=True
)


@given(names, st.integers(1, 6), st.integers(1, 12))
def test_what_goes_is_the_oldest_and_what_stays_is_not_too_many(made, per_source, in_all):
    listed = [f"line.g.{s}.{k}.{n:013d}.x{n}" for s, k, n in made]
    listed.sort(key=lambda name: name.split(".")[4], reverse=True)
    gone = surplus(listed, per_source, in_all)
    kept = [name for name in listed if name not in gone]

    assert len(kept) <= in_all
    groups = {tuple(name.split(".")[2:4]) for name in listed}
    for source, kind in groups:
        of_it = [n for n in listed if n.startswith(f"line.g.{source}.{kind}.")]
        stay = [n for n in kept if n in of_it]
        assert stay == of_it[: len(stay)]
        assert len(stay) <= per_source
    if len(listed) <= min(per_source, in_all):
        assert gone == []


@given(names, st.integers(1, 7))
def test_pages_hold_every_line_once_in_order(made, limit):
    listed = [f"line.g.{s}.{k}.{n:013d}.x{n}" for s, k, n in made]
    found, after = [], ""
    while True:
        some, after = page(listed, limit, after)
        found += some
        if not after:
            break

    assert sorted(found) == sorted(listed)
    times = [name.split(".")[4] for name in found]
    assert times == sorted(times, reverse=True)


def test_lines_are_small():
    assert max(len(line.model_dump_json()) for line in lines(20)) < 1500
