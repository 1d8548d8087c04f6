"""The counterexamples that an earlier draft of the protocol failed on, as fixed schedules.

Names are those of the model checker's cases; each ends right on the real use cases.
"""

import pytest
from protocol_world import Broken, World, with_parts_of


def settled(world: World, content: str) -> None:
    """Submit a content and let everything end."""
    world.submit(content)
    world.settle_down()


def to_vectors(world: World) -> int:
    """Bring the newest change through enricher and embedder; the number of its (last) part."""
    world.deliver("enrich").finish()
    while world.chunks:
        world.deliver("embed").finish()
    return max(world.vectors)


def forget(world: World) -> None:
    world.tasks.clear()


def test_w01_a_late_delete_does_not_remove_a_chunk_that_came_back():
    world = World()
    settled(world, "A")
    world.submit("C")
    late = world.deliver("index", to_vectors(world))
    late.run_until("store.delete")
    forget(world)

    settled(world, "A")
    late.finish()

    world.check()
    world.check_end()


def test_w02_the_old_version_stays_while_the_store_indexes_the_new_one():
    world = World(lag=True)
    settled(world, "A")
    world.submit("B")
    part = to_vectors(world)

    world.deliver("index", part).finish()

    record = world.current()
    assert record.pending is not None  # not searchable yet: it will be delivered again
    assert part in world.vectors
    assert {"text 1", "text 2"} <= {row.text for row in world.store.values()}
    forget(world)
    world.reveal()
    world.settle_down()


def test_w03_a_whole_version_is_searchable_although_two_workers_are_late():
    world = World()
    settled(world, "A")
    world.submit("B")
    part = to_vectors(world)
    first, second = world.deliver("index", part), world.deliver("index", part)
    first.run_until("ledger.update")
    second.run_until("store.upsert")
    world.submit("C")
    world.deliver("enrich").finish()

    first.finish()
    world.check()
    second.finish()
    world.check()

    forget(world)
    world.settle_down()


def test_w04_a_part_may_wait_for_ever_for_its_sister(monkeypatch):
    with_parts_of(1, monkeypatch)
    world = World()
    world.submit("E")
    to_vectors(world)
    first, second = sorted(world.vectors)
    world.deliver("index", first).finish()
    forget(world)
    world.end_duplicate_window()

    world.deliver("index", second).finish()

    forget(world)
    world.settle_down()


def test_w05_a_crash_between_settling_and_acknowledging_loses_no_announcement():
    world = World()
    world.submit("A")
    worker = world.deliver("index", to_vectors(world))
    worker.run_until("publish")
    worker.step()  # announced
    worker.step()  # settled
    worker.crash()
    forget(world)

    world.settle_down()

    assert world.announced == {1001}


def test_w06_a_refusal_does_not_strand_a_revision_whose_enricher_died():
    world = World()
    world.submit("A")
    enricher = world.deliver("enrich")
    enricher.run_until("publish")
    enricher.crash()
    forget(world)

    settled(world, "X")

    assert world.current().settled.outcome == "refused"
    assert not world.store


def test_w07_parts_are_published_again_after_a_ledger_loss_within_the_duplicate_window():
    world = World()
    settled(world, "A")
    world.lose_ledger()
    world.newest_acked = False  # the enricher's consumer starts again

    world.settle_down()

    assert len(world.store) == 2


def test_w08_a_resubmission_writes_a_lost_row_again():
    world = World()
    settled(world, "A")
    world.lose_row()
    world.resubmit()

    world.settle_down()

    assert len(world.store) == 2


def test_w09_a_document_deleted_while_half_written_leaves_nothing(monkeypatch):
    with_parts_of(1, monkeypatch)
    world = World()
    world.submit("E")
    to_vectors(world)
    world.deliver("index", min(world.vectors)).finish()
    forget(world)
    assert len(world.store) == 1

    settled(world, "D")

    assert not world.store


def test_w10_a_paused_worker_of_an_older_revision_deletes_nothing_that_is_wanted():
    world = World()
    settled(world, "A")
    world.submit("B")
    paused = world.deliver("index", to_vectors(world))
    paused.run_until("store.delete")
    forget(world)
    settled(world, "A")

    paused.finish()

    world.check()
    world.check_end()


def test_w11_a_late_dead_part_is_healed_by_a_resubmission():
    world = World()
    world.submit("A")
    part = to_vectors(world)
    late = world.deliver("index", part)
    late.run_until("store.upsert")
    world.submit("B")
    second = to_vectors(world)
    world.deliver("index", second).finish()
    late.step()  # upserts rows of an overtaken revision
    late.crash()
    forget(world)
    world.bury(part)
    assert len(world.store) == 4
    world.resubmit()

    world.settle_down()

    assert len(world.store) == 2


def test_m02_an_upsert_by_a_worker_of_a_deleted_revision_is_cleaned_up():
    world = World()
    world.submit("C")
    zombie = world.deliver("index", to_vectors(world))
    zombie.run_until("store.upsert")
    forget(world)
    settled(world, "D")
    settled(world, "C")

    zombie.finish()

    world.check_end()


def test_m09_an_old_part_after_a_ledger_loss_does_not_count_for_the_new_revision(monkeypatch):
    with_parts_of(1, monkeypatch)
    world = World()
    world.submit("E")
    to_vectors(world)
    old = dict(world.vectors)
    world.lose_ledger()
    world.resubmit()
    world.deliver("enrich").finish()
    forget(world)

    for message in old:
        world.deliver("index", message).finish()
        forget(world)

    assert world.current().pending.todo
    world.settle_down()


def test_m11_the_residual_window_is_real_and_a_resubmission_closes_it():
    world = World()
    world.submit("A")
    part = to_vectors(world)
    zombie = world.deliver("index", part)
    zombie.run_until("store.upsert")
    world.submit("B")
    world.deliver("index", to_vectors(world)).finish()
    world.deliver("index", part).finish()  # somebody else ends the overtaken part
    zombie.step()
    zombie.crash()
    forget(world)

    with pytest.raises(Broken, match="store has 4 rows"):
        world.check_end()
    world.resubmit()
    world.settle_down()


def test_a_repeated_part_changes_nothing():
    world = World()
    world.submit("A")
    part = to_vectors(world)
    event = world.vectors[part]
    world.settle_down()
    before = dict(world.store)

    world.enqueue(event)
    world.settle_down()

    assert world.store == before


def test_there_and_back_encodes_each_text_once():
    world = World()
    for content in "ACADA":
        settled(world, content)

    assert sorted(world.encoded) == ["text 1", "text 2"]
