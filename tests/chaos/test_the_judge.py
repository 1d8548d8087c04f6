"""The judge of a chaos run sees what is wrong: a judge that is blind would pass everything."""

import asyncio
from dataclasses import replace

import chaos_run
import pytest
from chaos_author import Author
from chaos_judge import Scene, StoredRow, Told, cut, judge, open_documents, unheard
from chaos_main import RULES
from chaos_plan import MUTATIONS, SOURCE, Plan, Tally, acts
from chaos_processes import STARTS_WITHIN_S, Server, Workers

from shared.domain.ids import doc_key, row_id
from shared.domain.ordering import Failed, Pending, Reason, Record, RowRef, Settled

SEQ = 7


@pytest.fixture
def author(tmp_path):
    made = Author(tmp_path, seed=1, documents=6, poison=1)
    made.begin()
    return made


@pytest.fixture
def scene(author):
    """Everything as it has to be."""
    rows, records, told = [], {}, []
    for path, doc in author.healthy.items():
        key = doc_key(SOURCE, path)
        shown = list(cut(path, doc.text()).elements())
        refs = tuple(RowRef(f"c{n}", SEQ) for n in range(len(shown)))
        rows += [
            StoredRow(ref.id(key), key, path, heading, text)
            for ref, (heading, text) in zip(refs, shown, strict=True)
        ]
        records[key] = Record(SOURCE, path, Settled(SEQ, "indexed", refs, 0.0, 0.0))
        told.append(Told(key, path, SEQ, len(refs)))
    (poison,) = author.poisoned
    failed = Failed(SEQ, "embed", Reason("model_failed", "refused"))
    records[doc_key(SOURCE, poison)] = Record(SOURCE, poison, failed=failed)
    newest = dict.fromkeys(records, SEQ)
    return Scene(author, rows, records, newest, told, [(poison, "model_failed")], {SEQ: key})


def verdict(scene):
    """What the judge counts; sequences are not unique in these scenes, so no moments."""
    tally = Tally()
    judge(replace(scene, moments={}), tally)
    return {name: n for name, n in tally.counts.items() if n and name not in EXPECTED}


EXPECTED = ("receipts", "dead letters")


def test_nothing_is_wrong_where_nothing_is_wrong(scene):
    assert verdict(scene) == {}


def test_a_document_without_rows_is_lost(scene):
    gone = scene.rows[0].doc_key
    rows = [row for row in scene.rows if row.doc_key != gone]

    assert verdict(replace(scene, rows=rows)) == {"wrong documents": 1, "lost": 1}


def test_an_old_text_is_stale(scene):
    rows = [replace(scene.rows[0], text="what stood there before"), *scene.rows[1:]]

    assert verdict(replace(scene, rows=rows)) == {"wrong documents": 1, "stale": 1}


def test_a_row_that_is_missing_among_others_is_stale(scene, author):
    (several,) = [p for p, d in author.healthy.items() if len(d.parts) > 1][:1]
    key = doc_key(SOURCE, several)
    first = next(row for row in scene.rows if row.doc_key == key)

    found = verdict(replace(scene, rows=[row for row in scene.rows if row is not first]))

    assert found == {"wrong documents": 1, "stale": 1}


def test_rows_of_a_deleted_document_are_left_over(scene, author):
    author.docs.pop(scene.rows[0].path)

    assert verdict(scene) == {"wrong documents": 1, "left over": 1}


def test_rows_that_nobody_lists_are_orphans(scene):
    row = scene.rows[0]
    extra = replace(row, id=row_id(row.doc_key, "c0", SEQ - 1))

    assert verdict(replace(scene, rows=[*scene.rows, extra])) == {"orphan rows": 1}


def test_a_row_twice_is_seen(scene):
    found = verdict(replace(scene, rows=[*scene.rows, scene.rows[0]]))

    assert found["rows held more than once"] == 1


def test_an_event_of_a_revision_that_never_was_is_a_false_receipt(scene):
    newer = replace(scene.told[0], revision=SEQ + 1)

    assert verdict(replace(scene, told=[*scene.told, newer])) == {"false receipts": 1}


def test_a_wrong_number_of_vectors_is_a_false_receipt(scene):
    told = [replace(scene.told[0], vectors=99), *scene.told[1:]]

    assert verdict(replace(scene, told=told)) == {"false receipts": 1}


def test_a_settled_revision_that_was_not_announced_misses_its_receipt(scene):
    assert verdict(replace(scene, told=scene.told[1:])) == {"missing receipts": 1}


def test_an_innocent_dead_letter_is_seen(scene):
    dead = [*scene.dead, (scene.rows[0].path, "exhausted")]

    assert verdict(replace(scene, dead=dead)) == {"unexpected dead letters": 1}


def test_poison_that_did_not_fail_is_seen(scene):
    assert verdict(replace(scene, dead=[])) == {"missing dead letters": 1}


def test_a_pending_document_is_open_and_a_failed_one_is_not(scene):
    key, (poison,) = scene.rows[0].doc_key, scene.author.poisoned
    pending = Pending(SEQ + 1, "indexed", (), frozenset(), 0.0, 0.0)
    records = scene.records | {key: replace(scene.records[key], pending=pending)}

    assert open_documents(scene.newest, records) == [key]
    assert open_documents({doc_key(SOURCE, poison): SEQ}, scene.records) == []


def test_what_happened_before_the_eyes_of_the_producer_and_is_not_known_is_a_lost_event():
    wrong = {"before.md": "stale", "after.md": "lost", "gone.md": "left over"}
    touched = {"before.md": 9.9, "after.md": 10.0, "gone.md": 12.0, "right.md": 13.0}

    assert unheard(wrong, touched, 10.0) == {"after.md": "lost", "gone.md": "left over"}
    assert unheard(wrong, touched, 20.0) == {}


def test_the_author_knows_when_something_last_happened_to_every_path(author, tmp_path):
    known = dict(author.touched)
    for act in (author.edit, author.edit_same_size, author.move, author.refuse, author.recreate):
        before = {path: doc for path, doc in author.docs.items()}
        refused = set(author.refused)
        act()
        changed = {p for p in before.keys() | author.docs if before.get(p) != author.docs.get(p)}
        changed |= author.refused ^ refused

        assert {p for p, at in author.touched.items() if known.get(p) != at} >= changed != set()
        known = dict(author.touched)
    author.documents = 0
    author.delete()
    (deleted,) = {p for p, at in author.touched.items() if known.get(p) != at}
    assert not (tmp_path / deleted).exists()


def test_a_producer_watches_since_its_newest_start(tmp_path):
    workers = Workers(tmp_path, tmp_path, Server(tmp_path), Plan())
    for worker in workers.all:
        worker.started_at = 7.0 if worker.service == "producer" else 99.0

    assert workers.watching_since == 7.0 + STARTS_WITHIN_S


async def test_a_run_counts_a_lost_event_as_wrong_and_a_producer_that_was_away_not(
    scene, author, tmp_path, monkeypatch
):
    """Though the listing that comes later finds it."""
    monkeypatch.setattr(chaos_run, "LATE_S", 0.0)
    path = scene.rows[0].path
    missing = replace(scene, rows=[row for row in scene.rows if row.path != path])
    lost = []
    for watching_since in (0.0, author.touched[path] + 1):
        run = chaos_run.Run(Plan(full_disks=0), tmp_path / f"run {watching_since}")
        scenes = iter([missing, missing, scene])
        run.author = author
        run.watcher.scene = lambda _, scenes=scenes: asyncio.sleep(0, next(scenes))
        for worker in run.workers.all:
            worker.started_at = watching_since - STARTS_WITHIN_S
        last = await run._at_rest()
        lost.append((run.tally.counts["lost file events"], run.tally.wrong))

        assert last is scene
    assert lost == [(1, [f"lost file events: {path} was lost before a listing"]), (0, [])]


def test_the_same_seed_makes_the_same_edits(tmp_path):
    left, right = (Author(tmp_path / name, 5, 40, 2) for name in ("left", "right"))
    for author in (left, right):
        author.begin()
        for _ in range(300):
            author.act()
        author.sign_off()

    assert left.docs == right.docs
    assert left.counts == right.counts
    assert {p: (left.root / p).read_text() for p in left.docs} == {
        p: doc.text() for p, doc in right.docs.items()
    }
    assert sum(1 for p in left.root.rglob("*.md") if p.is_file()) == len(left.docs)


def test_the_timetable_has_every_act_within_the_run():
    plan = Plan(seconds=50, worker_kills=9, server_kills=3, stops=2, full_disks=1)

    timetable = list(acts(plan))

    assert timetable == list(acts(plan))
    assert [a.at_s for a in timetable] == sorted(a.at_s for a in timetable)
    assert timetable[-1].at_s < plan.seconds
    assert len(timetable) == 15
    assert timetable != list(acts(replace(plan, seed=2)))


def test_every_mutation_takes_one_rule_away():
    assert set(RULES) == set(MUTATIONS) - {""}
