"""Documents inside the files of a real folder: created, edited, moved, deleted, damaged."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from mails import message
from watched import Watched

from services.producer.sources.containers import KEPT, ContainerSource
from services.producer.sources.port import Version
from shared.domain.errors import TransientError
from shared.formats.containers import Fields, split
from shared.settings import Records

FIELDS = Fields(**Records().model_dump())
MANY = 30


class Inside(Watched):
    """A folder, with the documents inside its files."""

    fields = FIELDS
    splits = 0
    fault = None

    def source(self):
        return ContainerSource(super().source(), self.split, self.fields)

    def split(self, question, data):
        self.splits += 1
        if self.fault:
            raise self.fault
        return split(data, question.path, question.fields)

    def rows(self, *rows):
        self.write("a.csv", "\n".join(["id,title,text", *rows]) + "\n")

    def changes(self):
        return [(one.document.path, one.op) for one in self.log.appended]


@pytest.fixture(params=["auto", "poll"])
def docs(request, tmp_path):
    return Inside(tmp_path / "docs", watch=request.param, poll=0.05)


def many(count=MANY, **other):
    return [f"{n},T{n},{other.get(f'r{n}', 'text')}" for n in range(count)]


async def test_only_a_record_that_has_changed_is_a_change(docs, eventually):
    docs.rows(*many())
    async with docs.running():
        await eventually(lambda: len(docs.held()) == MANY)
        before = len(docs.log.appended)
        docs.rows(*many(r7="other"), "30,New,row")
        await eventually(lambda: len(docs.held()) == MANY + 1)
        await eventually(lambda: "other" in docs.held()["a.csv#7"])
        assert sorted(docs.changes()[before:]) == [
            ("a.csv#30", "upserted"),
            ("a.csv#7", "upserted"),
        ]
        docs.rows(*many(r7="other"))
        await eventually(lambda: "a.csv#30" not in docs.held())
        assert docs.changes()[-1] == ("a.csv#30", "deleted")
    change = docs.log.appended[0]
    assert (change.title, change.media_type) == ("T0", "application/json")
    assert "a.csv" not in docs.held()


async def test_a_restart_changes_nothing_and_finds_what_changed_meanwhile(docs, eventually):
    docs.rows(*many())
    await docs.once()
    before = len(docs.log.appended)
    await docs.once()
    assert len(docs.log.appended) == before
    docs.rows(*many(MANY - 1))
    async with docs.running():
        await eventually(lambda: "a.csv#29" not in docs.held())
    assert docs.changes()[before:] == [("a.csv#29", "deleted")]


async def test_a_file_that_moves_takes_its_records_along_and_is_not_held(docs, eventually):
    docs.rows(*many())
    async with docs.running() as watch:
        await eventually(lambda: len(docs.held()) == MANY)
        (docs.root / "a.csv").rename(docs.root / "b.csv")
        await eventually(lambda: set(docs.held()) == {f"b.csv#{n}" for n in range(MANY)})
        assert watch.held is None


async def test_a_file_that_is_emptied_or_gone_is_held_as_documents_are(docs, eventually):
    docs.rows(*many())
    async with docs.running() as watch:
        await eventually(lambda: len(docs.held()) == MANY)
        docs.rows()
        await eventually(lambda: watch.held is not None)
        assert len(docs.held()) == MANY
        docs.rows(*many())
        await eventually(lambda: watch.held is None)
        (docs.root / "a.csv").unlink()
        await eventually(lambda: watch.held is not None)
        assert len(docs.held()) == MANY


async def test_a_damaged_file_says_nothing_about_its_records(docs, eventually):
    docs.rows(*many())
    async with docs.running() as watch:
        await eventually(lambda: len(docs.held()) == MANY)
        docs.write("a.csv", "id,x,x\n1,2,3\n")
        await eventually(lambda: docs.sources["docs"].problems.get("a.csv"))
        await watch.rescan()
        assert docs.sources["docs"].problems["a.csv"] == "two columns have one name"
        assert (len(docs.held()), watch.held) == (MANY, None)
        docs.rows(*many(MANY - 1))
        await eventually(lambda: len(docs.held()) == MANY - 1)
        await watch.rescan()
        assert "a.csv" not in docs.sources["docs"].problems


async def test_a_process_that_cannot_split_says_nothing_either(docs, eventually):
    docs.rows(*many())
    await docs.once()
    docs.fault = TransientError("the process that reads documents does not start")
    async with docs.running() as watch:
        assert (len(docs.held()), watch.held) == (MANY, None)
        assert "does not start" in docs.sources["docs"].problems["a.csv"]
        docs.fault = None
        docs.rows(*many(MANY - 1))
        await eventually(lambda: len(docs.held()) == MANY - 1)


async def test_attachments_come_and_go_with_their_message(docs, eventually):
    docs.fields = None
    mail = docs.root / "m.eml"
    mail.write_bytes(message(report__md=b"one", logo__png=b"x"))
    async with docs.running() as watch:
        await eventually(lambda: set(docs.held()) == {"m.eml", "m.eml#report.md"})
        mail.write_bytes(message(report__md=b"two", more__txt=b"three"))
        await eventually(lambda: docs.held().get("m.eml#report.md") == "two")
        await eventually(lambda: docs.held().get("m.eml#more.txt") == "three")
        mail.unlink()
        await eventually(lambda: docs.held() == {})
        assert watch.held is None


@pytest.mark.parametrize("on", [True, False])
async def test_a_changed_setting_is_no_removal(docs, eventually, on):
    docs.fields = None if on else FIELDS
    docs.rows(*many())
    for n in range(MANY):
        docs.write(f"{n}.csv", f"id,text\n1,{n}\n")
    await docs.once()
    docs.fields = FIELDS if on else None
    async with docs.running() as watch:
        names = {"a.csv", *(f"{n}.csv" for n in range(MANY))}
        inside = {f"{n}.csv#1" for n in range(MANY)} | {f"a.csv#{n}" for n in range(MANY)}
        await eventually(lambda: set(docs.held()) == (inside if on else names))
        assert watch.held is None


async def test_patterns_of_exclude_reach_what_is_inside(docs, eventually):
    docs.fields = None
    docs.settings = docs.settings.model_copy(update={"exclude": ("*#*.csv",)})
    (docs.root / "m.eml").write_bytes(message(report__md=b"one", data__csv=b"a,b"))
    async with docs.running() as watch:
        await eventually(lambda: set(docs.held()) == {"m.eml", "m.eml#report.md"})
        why = (await watch.explain("m.eml#data.csv")).why
        assert "*#*.csv" in why


async def test_a_real_file_with_the_name_of_a_part_is_told_and_not_taken_for_it(docs, eventually):
    docs.fields = None
    docs.write("m.eml#report.md", "of a file")
    (docs.root / "m.eml").write_bytes(message(report__md=b"of the message"))
    async with docs.running():
        await eventually(lambda: docs.held().get("m.eml#report.md") == "of the message")


async def test_a_name_with_a_hash_is_a_file_where_records_are_off(docs, eventually):
    docs.fields = None
    for n in range(MANY):
        docs.write(f"x.csv#{n}/readme.md", str(n))
    async with docs.running() as watch:
        await eventually(lambda: len(docs.held()) == MANY)
        for n in range(MANY):
            (docs.root / f"x.csv#{n}/readme.md").unlink()
        await eventually(lambda: watch.held is not None)
        assert len(docs.held()) == MANY


async def test_one_new_attachment_does_not_stand_for_all_that_are_gone(docs, eventually):
    docs.fields = None
    for n in range(MANY):
        (docs.root / f"{n}.eml").write_bytes(message(str(n), logo__md=b"the same"))
    async with docs.running() as watch:
        await eventually(lambda: len(docs.held()) == 2 * MANY)
        for n in range(MANY):
            (docs.root / f"{n}.eml").unlink()
        (docs.root / "new.eml").write_bytes(message("new", logo__md=b"the same"))
        await eventually(lambda: watch.held is not None and "new.eml#logo.md" in docs.held())
        assert len(docs.held()) >= 2 * MANY + 1


async def test_an_event_of_a_folder_removes_nothing_inside_its_files(docs, eventually):
    docs.fields = None
    (docs.root / "deep").mkdir()
    (docs.root / "deep" / "m.eml").write_bytes(message(report__md=b"one"))
    await docs.once()
    source = docs.build()._sync.source
    looked = source.look_at(set(docs.held()), {"deep"})

    assert looked.vanished == []
    assert set(looked.present) == {"deep/m.eml", "deep/m.eml#report.md"}


async def test_a_file_is_split_once_for_all_of_its_records(docs, eventually):
    docs.rows(*many())
    (docs.root / "a.csv").touch()
    source = docs.build()._sync.source
    scan = source.scan()
    for path in scan.files:
        assert source.read(path) is not None

    assert docs.splits == 1
    assert all(version.changed_ns == 0 for version in scan.files.values())
    assert isinstance(scan.files["a.csv#0"], Version)


def test_a_file_with_the_bytes_of_before_is_not_split_again(docs):
    docs.rows(*many())
    docs.write("damaged.csv", "id,x,x\n")
    source = docs.build()._sync.source
    before = source.scan()
    for name in ("a.csv", "damaged.csv"):
        os.utime(docs.root / name, ns=(1, 1))
        source.look_at(before.files, {name})

    after = source.scan()

    assert docs.splits == 2
    assert (after.files, after.problems) == (before.files, before.problems)


class Slow:
    """Splits files, of which those named here wait."""

    def __init__(self, *names):
        self._names = names
        self.may_end = threading.Event()
        self.running, self.most = 0, 0
        self._count = threading.Lock()

    def __call__(self, question, data):
        with self._count:
            self.running += 1
            self.most = max(self.most, self.running)
        if question.path in self._names:
            assert self.may_end.wait(60)
        with self._count:
            self.running -= 1
        return split(data, question.path, question.fields)


async def test_a_file_that_is_split_slowly_keeps_no_other_waiting(docs, eventually):
    docs.write("slow.csv", "id,text\n1,slow\n")
    docs.rows(*many())
    slow = Slow("slow.csv")
    source = ContainerSource(Watched.source(docs), slow, FIELDS)
    waits = asyncio.create_task(asyncio.to_thread(source.read, "slow.csv#1"))
    try:
        await eventually(lambda: slow.running)
        other = asyncio.create_task(asyncio.to_thread(source.read, "a.csv#1"))
        await eventually(other.done)
        assert other.result() is not None
        assert not waits.done()
    finally:
        slow.may_end.set()
    assert (await waits).data is not None


async def test_no_more_than_two_files_are_in_memory_to_be_split(docs, eventually):
    names = [f"{n}.csv" for n in range(6)]
    for name in names:
        docs.write(name, "id,text\n1,one\n")
    slow = Slow(*names)
    source = ContainerSource(Watched.source(docs), slow, FIELDS)
    reads = [asyncio.create_task(asyncio.to_thread(source.read, f"{name}#1")) for name in names]
    await eventually(lambda: slow.running == 2)
    slow.may_end.set()

    assert all([await one for one in reads])
    assert slow.most == 2


def test_documents_of_more_files_than_stay_in_memory_are_read_side_by_side(docs):
    paths = []
    for name in (f"{n}.csv" for n in range(3 * KEPT)):
        docs.write(name, "id,text\n" + "".join(f"{n},text\n" for n in range(20)))
        paths += [f"{name}#{n}" for n in range(20)]
    source = docs.build()._sync.source
    source.scan()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(source.read, sorted(paths, key=lambda path: path[::-1])))

    assert None not in found


def test_paths_of_files_that_are_not_there_take_no_memory_after_the_next_listing(docs):
    docs.rows(*many())
    source = docs.source()

    assert all(source.read(f"{n}.csv#1") is None for n in range(50))
    assert source.read("a.csv#1") is not None
    source.scan()

    assert set(source._turns) == {"a.csv"}
