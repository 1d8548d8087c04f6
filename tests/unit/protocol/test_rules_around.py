"""Rules of what goes on beside the pipeline: numbers, bodies, sweep, search, removals.

As in `test_rules.py`: a scenario passes, and dies when the rule is taken out of the code.
"""

import dataclasses
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway_world import Index, given
from house import GENERATION, SOURCE, House
from memory_content import MemoryContent
from memory_kv import MemoryShelf
from mutations import altered, dies_without, replaced

from services.enricher.chunking.chunk import Chunk, chunk_keys
from services.gateway.models import SearchRequest
from services.gateway.search import search
from services.gateway.search.search import Search
from services.host.data_folder import is_original, mark_original
from services.producer import collect
from services.producer.collect import CollectBodies, unneeded
from services.producer.removals.guard import Guard
from services.producer.sources.listing import Seen
from services.producer.sources.listing_store import KeptListing, Threshold
from services.producer.sources.port import Version
from services.validator.sweep import differences
from services.validator.sweep.differences import Census, is_failed, rows_amiss
from services.validator.sweep.repairs import Repairs
from services.validator.sweep.sweep import Sweep, SweepLimits
from shared.bus.admin import configs
from shared.bus.admin.clock_sequence import above
from shared.domain.ids import doc_key, row_id
from shared.domain.ordering import Failed, Reason, fail
from shared.domain.topology import STREAMS, ledger_bucket
from shared.observe.progress import Progress
from shared.ports import Hit
from shared.repair import remove_unknown

NAMES = ("one.md", "two.md")
TEXT = "# One\n\nthe {name} lantern\n\n# Two\n\nthe granite {name}\n"

# -- a revision never comes back, and an id says what it names -------------------------------------


@dies_without(clock=altered(configs._first_sequence, ('{"first_seq": clock()}', "{}")))
def test_the_streams_that_give_revisions_count_from_the_clock():
    by_clock = [configs.bucket_config(ledger_bucket("g"))]
    by_clock += [configs.stream_config(s) for s in STREAMS if s.name in ("DOCS", "INTAKE")]

    assert len([config for config in by_clock if config.get("first_seq", 0) > 10**15]) == 3


@dies_without(given=altered(above, ("max(now, given + 1)", "now")))
def test_a_stream_that_is_made_anew_begins_above_every_number_that_was_given():
    assert above(1_000, 900, skew_s=1.0) == 1_001


@dies_without(traits=altered(is_original, ("bool(seen == _traits(folder / _ORIGIN))", "True")))
def test_a_copied_data_folder_is_known_for_one():
    with tempfile.TemporaryDirectory() as name:
        folder, copy = Path(name) / "data", Path(name) / "copy"
        folder.mkdir()
        mark_original(folder)
        shutil.copytree(folder, copy)

        assert is_original(folder)
        assert not is_original(copy)


@dies_without(
    document=altered(chunk_keys, ("[title, metadata]", "[]")),
    chunk=altered(chunk_keys, ("[one.text, one.heading, seen[one]]", "[one.text]")),
)
def test_chunks_that_differ_in_anything_that_a_row_stores_have_different_keys():
    """I2: what is written under an id is always the same."""
    some = [Chunk("text"), Chunk("text", ("Heading",)), Chunk("other"), Chunk("text")]
    keys = chunk_keys(some, title="", metadata={})
    keys += chunk_keys(some, title="Title", metadata={})
    keys += chunk_keys(some, title="", metadata={"lang": "en"})

    assert len(set(keys)) == len(keys)


# -- bodies ----------------------------------------------------------------------------------------


class Bodies:
    """One body that no change names, put at `PUT`, and a clock that goes when it is told."""

    PUT = datetime(2026, 1, 1, tzinfo=UTC)

    def __init__(self) -> None:
        self.time, self.named = self.PUT, set[str]()
        self.bodies, self.notes = MemoryContent(lambda: self.PUT), MemoryShelf()

    async def put(self) -> str:
        return await self.bodies.put(b"body")

    async def looks(self, *after: timedelta) -> int:
        """Look so long after the body was put; how many went in all."""
        log = type("Log", (), {"bodies": self.named_bodies})()
        gone = 0
        for pause in after:
            self.time = self.PUT + pause
            gone += await CollectBodies(log, self.bodies, self.notes, lambda: self.time)()
        return gone

    async def named_bodies(self) -> set[str]:
        return self.named


HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@dies_without(two=altered(CollectBodies.__call__, ("sorted(found & last.names)", "sorted(found)")))
async def test_a_body_goes_when_two_looks_have_found_nobody_who_names_it():
    world = Bodies()
    await world.put()

    assert await world.looks(2 * HOUR) == 0
    assert await world.looks(3 * HOUR) == 1


@dies_without(
    apart=altered(CollectBodies.__call__, ("timedelta(0) <= now - last.at < APART", "False"))
)
async def test_two_looks_at_once_are_one():
    world = Bodies()
    await world.put()

    assert await world.looks(2 * HOUR, 2 * HOUR + MINUTE) == 0


@dies_without(hour=replaced(collect, "OLD_AFTER", timedelta(0)))
async def test_a_body_whose_change_is_not_appended_yet_stays_for_an_hour():
    world = Bodies()
    await world.put()

    assert await world.looks(20 * MINUTE, 40 * MINUTE) == 0


@dies_without(named=altered(unneeded, (" and name not in named", "")))
async def test_a_body_that_a_newest_change_names_stays():
    world = Bodies()
    world.named = {await world.put()}

    assert await world.looks(2 * HOUR, 3 * HOUR) == 0


@dies_without(
    still_old=altered(
        CollectBodies.__call__, ("put_before=before", "put_before=datetime.max.replace(tzinfo=UTC)")
    )
)
async def test_a_body_that_is_put_again_while_it_is_looked_for_stays():
    world = Bodies()
    await world.put()
    await world.looks(2 * HOUR)
    stored = world.bodies.stored

    async def as_it_was():
        before = await stored()
        world.bodies._put_at = {name: world.PUT + 3 * HOUR for name in before}
        return before

    world.bodies.stored = as_it_was

    assert await world.looks(3 * HOUR) == 0


# -- sweep -----------------------------------------------------------------------------------------


class Road:
    """What the bus says of changes on their way."""

    def __init__(self, taken=2**53, passed=True, carried=frozenset()):
        self._taken, self._passed, self._carried = taken, passed, carried

    async def taken(self):
        return self._taken

    async def passed(self, within_s):
        return self._passed

    async def carried(self, most):
        return self._carried


async def filled() -> House:
    house = House()
    for name in NAMES:
        await house.write(name, TEXT.format(name=name.partition(".")[0]))
    await house.work()
    return house


async def swept(house: House, **given):
    fields = {
        "generation": GENERATION,
        "ledger": house.ledger,
        "store": house.store,
        "changes": house.changes,
        "road": Road(),
        "now": lambda: house.time,
        "listed": lambda: [SOURCE],
        "limits": SweepLimits(second_look_s=0, give_up_s=5),
    }
    return await Sweep(**fields | given)(batch_size=0)


async def ids(house: House, name: str) -> list[str]:
    key = doc_key(SOURCE, name)
    return sorted((await house.store.ids({key: 2**53}))[key])


async def add_row(house: House, name: str, **changes) -> str:
    """A row that nobody lists, like one of the document."""
    row = house.store._rows[(await ids(house, name))[0]]
    row = dataclasses.replace(row, chunk_key="x" * 26, **changes)
    row = dataclasses.replace(row, id=row_id(row.doc_key, row.chunk_key, row.born))
    await house.store.upsert([row])
    return row.id


class OnceWrong:
    """A store whose first close look misses the rows of a document: they were being written."""

    def __init__(self, store, misses: str) -> None:
        self._store, self._misses = store, misses

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def digests(self):
        return {}

    async def holdings(self, buckets):
        found = dict(await self._store.holdings(buckets))
        found.pop(self._misses, None)
        self._misses = ""
        return found


@dies_without(
    second=altered(
        Sweep._confirmed,
        (
            "(confirm(first[key], second[key]) for key in sorted(first.keys() & second.keys()))",
            "(first[key] for key in sorted(first))",
        ),
    ),
    agreement=altered(
        differences.confirm, ("missing=first.missing & second.missing", "missing=first.missing")
    ),
)
async def test_what_only_one_of_two_looks_has_seen_is_no_difference():
    house = await filled()
    house.store.lose((await ids(house, "two.md"))[:1])
    wrong = OnceWrong(house.store, doc_key(SOURCE, "two.md"))

    assert (await swept(house, store=wrong)).missing == 1


@dies_without(
    missing=altered(rows_amiss, ("frozenset(promised - found)", "NO_ROWS")),
    suspects=altered(Census.suspects, ("self.promised.get(b) != held.get(b)", "False")),
)
async def test_a_row_that_the_store_lost_is_found():
    house = await filled()
    house.store.lose((await ids(house, "two.md"))[:1])

    assert len((await swept(house)).resubmitted) == 1


@dies_without(damaged=altered(rows_amiss, ("bad & promised", "NO_ROWS")))
async def test_a_row_that_was_altered_is_found():
    house = await filled()
    house.store.tamper((await ids(house, "two.md"))[0], text="altered")

    assert (await swept(house)).damaged == 1


@dies_without(
    lost=altered(differences.is_lost, ("newest_seq(record) < head.seq", "False and head.seq"))
)
async def test_a_change_that_the_ledger_does_not_know_is_sent_again():
    house = await filled()
    house.ledger._values.clear()

    assert len((await swept(house)).resubmitted) == 2


@dies_without(taken=altered(differences.is_lost, ("head.seq <= taken", "head.seq")))
async def test_a_change_that_waits_for_the_enricher_is_not_lost():
    house = await filled()
    revision = await house.write("two.md", "# New\n\nthe granite two\n")

    house.store.lose((await ids(house, "two.md"))[:1])  # so that the document is looked at

    assert (await swept(house, road=Road(taken=revision - 1))).lost == 0


async def planned(house: House) -> int:
    """A revision that was planned long ago, and whose parts are gone."""
    revision = await house.write("two.md", "# New\n\nthe granite two\n")
    await house.enrich()
    house.parts.clear()
    house.time += timedelta(minutes=10)
    return revision


@dies_without(
    stuck=altered(
        differences._stuck, ("pending.seq if pending.started_at < census.stuck_before else 0", "0")
    ),
    look=altered(Census.suspects, ("found |= self.pending", "pass")),
)
async def test_a_revision_whose_parts_are_gone_is_sent_again():
    house = await filled()
    await planned(house)

    assert (await swept(house)).stuck == 1


@dies_without(
    carried=altered(Sweep._confirmed, ("census.carried = carried", "pass")),
)
async def test_a_revision_whose_part_is_on_its_way_is_not_stuck():
    house = await filled()
    revision = await planned(house)
    carried = frozenset({(doc_key(SOURCE, "two.md"), revision)})

    assert (await swept(house, road=Road(passed=False, carried=carried))).clean


@dies_without(
    queue=altered(Sweep._confirmed, ("census.stuck_before = -math.inf", "pass")),
)
async def test_what_waits_in_a_long_queue_is_not_stuck():
    house = await filled()
    await planned(house)

    assert (await swept(house, road=Road(passed=False, carried=None))).clean


@dies_without(
    extra=altered(
        rows_amiss, ("NO_ROWS if record.pending else found - promised", "found - promised")
    ),
    written=altered(rows_amiss, ("if row not in record.pending.todo", "if True")),
)
async def test_rows_of_a_revision_that_is_being_made_may_be_there_or_not():
    house = await filled()
    await house.write("two.md", TEXT.format(name="two") + "\n# Three\n\nmore\n")
    await house.enrich()
    await add_row(house, "two.md")

    found = await swept(house)

    assert (found.missing, found.extra) == (0, 0)


@dies_without(
    failed=altered(is_failed, ("failed is not None and", "False and failed is not None and"))
)
async def test_what_was_given_up_is_left_to_people():
    house = await filled()
    revision = await planned(house)
    key = doc_key(SOURCE, "two.md")
    entry = await house.ledger.get(key)
    failed = Failed(revision, "embed", Reason("exhausted", "no"))
    noted = fail(entry.record, failed, source=SOURCE, path="two.md")
    await house.ledger.update(key, noted, expect=entry.at)

    assert (await swept(house)).resubmitted == {}


@dies_without(
    taken_out=altered(Repairs._deleted_what_never_was, ("await self.store.delete(never)", "pass"))
)
async def test_a_row_that_no_revision_could_have_written_is_deleted_by_the_sweep():
    house = await filled()
    extra = await add_row(house, "two.md", born=2**50)
    await swept(house)

    assert extra not in await ids(house, "two.md")


@dies_without(
    born_later=altered(
        Repairs._deleted_what_never_was, ("one.extra - cleanable[one.doc_key]", "one.extra")
    )
)
async def test_a_row_that_a_revision_may_have_written_goes_by_a_repair_only():
    house = await filled()
    extra = await add_row(house, "two.md")
    found = await swept(house)

    assert len(found.resubmitted) == 1
    assert extra in await ids(house, "two.md")


@dies_without(
    known=altered(
        remove_unknown,
        ("expect=0", "expect=(await log.newest(document.source, document.doc_key)).sequence"),
    )
)
async def test_a_document_that_becomes_known_meanwhile_is_not_removed():
    house = await filled()
    key = doc_key(SOURCE, "two.md")
    late = house.changes._newest.pop(f"{SOURCE}.{key}")
    del house.ledger._values[key]
    store = house.store

    class Meanwhile:
        def __getattr__(self, name):
            return getattr(store, name)

        async def holdings(self, buckets):
            self.looks = self.__dict__.get("looks", 0) + 1
            found = await store.holdings(buckets)
            if self.looks == 2:
                house.changes._newest[f"{SOURCE}.{key}"] = late
            return found

    found = await swept(house, store=Meanwhile())

    assert found.unknown
    assert (await house.changes.newest(SOURCE, key)).change.op == "upserted"


@dies_without(held=altered(differences.held, ("many or one not in told", "False")))
async def test_rows_of_unknown_documents_wait_for_a_person_until_their_source_was_listed():
    house = await filled()
    key = doc_key(SOURCE, "two.md")
    del house.changes._newest[f"{SOURCE}.{key}"], house.ledger._values[key]

    found = await swept(house, listed=lambda: [])

    assert (found.unknown, found.resubmitted) == (1, {})


# -- search ----------------------------------------------------------------------------------------


async def asked(index: Index, **given) -> list[str]:
    question = SearchRequest(q="zebra", mode="keyword")
    answer = await dataclasses.replace(index.search, **given)(question)
    return [hit.chunk.text for hit in answer.hits]


@dies_without(
    settled=altered(
        search._promised,
        (
            "in enumerate(record.settled.rows, 1)",
            "in enumerate((record.pending or record.settled).rows, 1)",
        ),
    )
)
async def test_search_shows_settled_rows_only():
    """I5: the new version is not promised before it is whole."""
    index = Index()
    await index.put("a.md", ["old zebra"])
    await index.begin("a.md", ["new zebra"])

    assert await asked(index) == ["old zebra"]


@dies_without(active=altered(search._promised, (" and record.settled.is_active", "")))
async def test_search_shows_active_documents_only():
    index = Index()
    await index.put("a.md", ["old zebra"])
    await index.put("b.md", ["other zebra"], is_active=False)

    assert await asked(index) == ["old zebra"]


@dies_without(again=altered(Search.found, ("overtaken <= before", "True")))
async def test_search_asks_again_for_a_document_that_settles_between_its_two_questions():
    index = Index()
    await index.put("a.md", ["old zebra"])
    store, settled = index.store, []

    class Meanwhile:
        def __getattr__(self, name):
            return getattr(store, name)

        async def search_text(self, *args, **kwargs) -> list[Hit]:
            found = await store.search_text(*args, **kwargs)
            if not settled:
                settled.append(await index.put("a.md", ["new zebra"]))
            return found

    assert await asked(index, store=given(Meanwhile())) == ["new zebra"]


# -- removals --------------------------------------------------------------------------------------


class Removals:
    """The guard of a source with 40 documents."""

    def __init__(self, known: int = 40) -> None:
        self.listing = KeptListing(MemoryShelf(), SOURCE)
        for path in paths(known):
            self.listing.put(path, Seen(Version(1, 1, 1, 1), 1, "h", 1))
        now = datetime(2026, 1, 1, tzinfo=UTC)
        self.guard = Guard("/docs", self.listing, Progress(), lambda: now, Threshold())

    async def vanish(self, gone: list[str], *, whole: bool = True, exchanged: bool = False) -> int:
        """So many of the paths are removed."""
        allowed = await self.guard.allow(gone, whole=whole, at=0.0, exchanged=exchanged)
        for path in allowed:
            self.listing.remove(path)
        self.guard.removed(len(allowed), 0.0)
        return len(allowed)


def paths(count: int, start: int = 0) -> list[str]:
    return [f"{n:03}.md" for n in range(start, start + count)]


@dies_without(
    threshold=altered(
        Threshold.may_remove,
        ("total < self.count or total <= self.share * (known + lately)", "True"),
    )
)
async def test_a_source_that_suddenly_lists_almost_nothing_removes_nothing():
    assert await Removals().vanish(paths(30)) == 0


@dies_without(lately=altered(Threshold.may_remove, ("vanished + lately", "vanished")))
async def test_a_deletion_that_comes_in_pieces_is_one():
    removals = Removals()
    pieces = [await removals.vanish(paths(9, 9 * n)) for n in range(4)]

    assert sum(pieces) <= 20


@dies_without(
    exchanged=altered(Guard._strict, ("replace(self.threshold, count=1) if exchanged else ", ""))
)
async def test_another_folder_under_the_name_of_a_small_one_removes_nothing():
    assert await Removals(known=10).vanish(paths(10), exchanged=True) == 0


@dies_without(
    held=altered(
        Guard.allow,
        ("list(gone) if may and self.held is None else []", "list(gone) if may else []"),
    )
)
async def test_while_removals_wait_for_a_person_a_partial_look_removes_nothing():
    removals = Removals()
    await removals.vanish(paths(30))

    assert await removals.vanish(paths(1), whole=False) == 0


@dies_without(
    asked=altered(Guard._still, ("if asked and gone and ", "if gone and ")),
)
async def test_what_waits_for_a_person_is_not_removed_by_the_next_listing():
    removals = Removals()
    await removals.vanish(paths(30))

    assert await removals.vanish(paths(30)) == 0


@dies_without(
    shown=altered(
        Guard._still, (" and self._strict(exchanged).may_release(shown, len(gone), known)", "")
    ),
)
async def test_a_release_covers_what_the_person_has_seen():
    removals = Removals(known=400)
    await removals.vanish(paths(210))
    removals.guard.asked = True

    assert await removals.vanish(paths(400)) == 0
