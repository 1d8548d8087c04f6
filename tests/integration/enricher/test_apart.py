"""Documents that would take a service down, and the process that they take down instead."""

import asyncio
import contextlib
import io
import os
import random
import re
import select
import signal
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import office_files as made
import pytest
from instep_process import is_there, wait_until
from memory_content import MemoryContent

from services.enricher.fetch import Load
from services.enricher.prepare import PrepareDocument
from services.host.wiring import utc_now
from shared.domain.errors import DocumentRefused, TransientError
from shared.domain.events import Batch, Document, DocumentChanged, Stored
from shared.domain.ids import content_hash, doc_key
from shared.encoders.registry import load_tokenizer
from shared.reading.pool import Allowed, ExtractionProcess, ReadApart
from shared.reading.protocol import Question
from shared.sandbox import child as child_process
from shared.sandbox.child import Died
from shared.settings import Chunking, Embedding

MB = 1024**2
MANUAL = Path(__file__).parents[3] / "examples/docs/guide/bad-input.md"
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says so")


@pytest.fixture
async def read_apart():
    """Makes readers, and ends their processes after the test."""
    async with contextlib.AsyncExitStack() as stack:

        def make(memory_bytes=512 * MB, cpu_s=30.0, **more):
            made = ReadApart(Allowed(memory_bytes, cpu_s, patience=60.0), **more)
            stack.push_async_callback(made.close)
            return made

        yield make


def question(path="a.html"):
    return Question(path, None, None, max_chars=20_000_000)


def many_attributes(count):
    """Quadratic in lexbor: 100,000 take half a minute."""
    return b"<p " + b" ".join(b"a%d=1" % n for n in range(count)) + b">word</p>"


async def code_of(reading):
    try:
        await reading
    except DocumentRefused as refusal:
        return refusal.code
    return "indexed"


def processor_time_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_document(paragraphs):
    chance = random.Random(1)
    words = (f"{chance.getrandbits(32):x}" for _ in range(paragraphs))
    return made.odt("".join(f"<text:p>{word}</text:p>" for word in words))


def last_cell():
    import openpyxl

    book = openpyxl.Workbook()
    book.active["A1"], book.active["XFD1048576"] = "first", "last"
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


def million_rows():
    with zipfile.ZipFile(io.BytesIO(made.xlsx({"A": [["word"]]}))) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    parts[sheet] = parts[sheet].replace(b'ref="A1:A1"', b'ref="A1:XFD1048576"')
    assert b"XFD1048576" in parts[sheet]
    return made.zipped(parts)


def packed_page():
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(b" " * MB) for _ in range(1024)) + packer.flush()
    return made.pdf_of(data, filter_=b"/Filter/FlateDecode")


# -- one table, also in the manual -----------------------------------------------------------------

LARGE = {
    "50 MB in one line": (lambda: b"word " * (10 * MB), "a.md", "too_large"),
    "30 MB that are not ASCII": (lambda: "漢 字 ".encode() * (4 * MB), "a.md", "too_large"),
    "a table of 10 MB": (
        lambda: b"a|b\n-|-\n" + (b"w " * 250 + b"|x\n") * 20_000, "a.md", "too_large",
    ),
    "a million empty headings": (lambda: b"#\n" * 1_000_000, "a.md", "no_text"),
    "100,000 elements inside each other": (lambda: b"<div>" * 100_000 + b"x", "a.html", "corrupt"),
    "100,000 quotes inside each other": (lambda: b">" * 100_000 + b" x", "a.md", "indexed"),
    "an Office file of 20,000 parts": (
        lambda: made.zipped({f"{n}": b"x" for n in range(20_000)}), "a.docx", "corrupt",
    ),
    "a part that is packed a thousandfold": (
        lambda: made.zipped({"content.xml": b" " * (50 * MB)}), "a.odt", "too_large",
    ),
    "a document of half a million paragraphs": (
        lambda: open_document(500_000), "a.odt", "too_large",
    ),
    "a workbook with a value in the last row and column": (
        last_cell, "a.xlsx", "extraction_crashed",
    ),
    "a workbook that claims a million rows": (million_rows, "a.xlsx", "indexed"),
    "a page of a PDF that unpacks to a gigabyte": (
        packed_page, "a.pdf", "extraction_crashed",
    ),
    "drawings of a PDF that repeat each other": (
        lambda: made.pdf_of(b"/X Do", *[b"/X Do " * 10] * 12, b"BT /F1 9 Tf (word) Tj ET"),
        "a.pdf", "extraction_crashed",
    ),
    "a drawing of a PDF inside itself": (
        lambda: made.pdf_of(b"/X Do BT /F1 9 Tf (word) Tj ET", b"/X Do").replace(b"X 7", b"X 6"),
        "a.pdf", "indexed",
    ),
}  # fmt: skip
LIMITED = {
    "five million open elements": "extraction_memory",
    "300,000 attributes of one element": "extraction_timeout",
    "250,000 headings": "too_large",
    "text of 12,001 chunks": "too_large",
}
"""Tested below with smaller limits, the last two in `tests/unit/enricher/test_hostile.py`."""


async def prepared(data, path, reader):
    """What the enricher makes of a document that lies in the content store."""
    contents = MemoryContent()
    await contents.put(data)
    load, tokens = Load(contents), load_tokenizer(Embedding(model="fake-64"))
    event = DocumentChanged(
        document=Document(
            source="docs", path=path, doc_key=doc_key("docs", path), changed_at=utc_now()
        ),
        batch=Batch(id="b", count=1, source="docs", started_at=utc_now()),
        op="upserted",
        content=Stored(hash=content_hash(data)),
        size=len(data),
    )
    return await PrepareDocument(load, tokens, Chunking(), read_apart=reader)(event)


@pytest.mark.parametrize("name", LARGE)
async def test_a_document_without_measure_ends_as_the_manual_says(name, read_apart):
    make, path, expected = LARGE[name]

    reader = read_apart()

    code = await code_of(prepared(make(), path, reader))

    assert code == expected
    assert await code_of(prepared(b"<p>word</p>", "a.html", reader)) == "indexed"


def test_every_large_input_has_its_line_in_the_manual():
    lines = dict(re.findall(r"^\| ([^|`]+?) \| `?(\w+)`?[^|]*\|", MANUAL.read_text(), re.MULTILINE))
    expected = {name: row[2] for name, row in LARGE.items()} | LIMITED

    assert {name: lines.get(name) for name in expected} == expected


# -- limits ----------------------------------------------------------------------------------------


async def test_a_document_that_takes_too_long_is_refused_and_its_neighbour_read(read_apart):
    reader = read_apart(cpu_s=1.0)
    long = asyncio.create_task(code_of(reader(question(), many_attributes(60_000))))
    neighbour = await reader(question(), b"<p>word</p>")
    code = await long
    after = await reader(question(), b"<p>word</p>")

    assert code == "extraction_timeout"
    assert neighbour == after
    assert neighbour.blocks[0].text == "word"


async def test_the_time_is_counted_for_each_document_alone(read_apart):
    reader = read_apart(cpu_s=1.0, processes=1)
    codes = [await code_of(reader(question(), many_attributes(5_000))) for _ in range(30)]

    assert codes == ["indexed"] * 30
    assert len(reader.pids) == 1


@linux
async def test_a_document_that_takes_too_much_memory_is_refused(read_apart):
    reader = read_apart(memory_bytes=128 * MB, processes=1)
    code = await code_of(reader(question(), b"<p>" * 1_000_000))
    after = await reader(question(), b"<p>word</p>")

    assert code == "extraction_memory"
    assert after.blocks[0].text == "word"


@linux
async def test_a_long_paragraph_of_many_marks_takes_little_memory(read_apart):
    reader = read_apart(memory_bytes=128 * MB)
    text = b"word *one* [two](three) `four`\n" * 40_000

    found = await reader(question("a.md"), text)

    assert [block.text for block in found.blocks] == ["\n".join(["word one two four"] * 40_000)]


async def test_a_process_that_dies_is_replaced_and_the_document_read(read_apart):
    reader = read_apart(processes=1)
    await reader(question(), b"<p>word</p>")
    (first,) = reader.pids
    reading = asyncio.create_task(reader(question(), many_attributes(12_000)))
    await asyncio.sleep(0)
    os.kill(first, signal.SIGKILL)
    found = await reading

    assert found.blocks[0].text == "word"
    assert reader.pids != [first]


async def test_a_document_that_breaks_two_processes_is_refused(read_apart):
    reader = read_apart(processes=1)
    reading = asyncio.create_task(code_of(reader(question(), many_attributes(60_000))))
    killed = set()
    while not reading.done():
        for pid in set(reader.pids) - killed:
            killed.add(pid)
            os.kill(pid, signal.SIGSEGV)
        await asyncio.sleep(0.001)

    assert await reading == "extraction_crashed"
    assert len(killed) == 2
    assert (await reader(question(), b"<p>word</p>")).blocks[0].text == "word"


@pytest.mark.parametrize(
    "signals", [(signal.SIGKILL, signal.SIGKILL), (signal.SIGSEGV, 9), (15, 11)]
)
async def test_a_document_whose_processes_were_ended_from_outside_is_tried_again_later(
    read_apart, signals
):
    """The kernel's killer comes when the machine has no memory, whoever has taken it."""
    reader = read_apart(processes=1)
    reading = asyncio.create_task(reader(question(), many_attributes(60_000)))
    killed = set()
    while not reading.done():
        for pid in set(reader.pids) - killed:
            os.kill(pid, signals[len(killed)])
            killed.add(pid)
        await asyncio.sleep(0.001)

    with pytest.raises(TransientError, match="ended from outside"):
        await reading
    assert len(killed) == 2
    assert (await reader(question(), b"<p>word</p>")).blocks[0].text == "word"


async def test_a_reading_that_is_given_up_leaves_no_process(read_apart, eventually):
    reader = read_apart()
    reading = asyncio.create_task(reader(question(), many_attributes(60_000)))
    await eventually(lambda: reader.pids)
    (pid,) = reader.pids
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading

    assert not is_there(pid)
    assert reader.pids == []


async def test_close_leaves_no_process(read_apart):
    reader = read_apart()
    await asyncio.gather(*(reader(question(), b"<p>word</p>") for _ in range(4)))
    pids = reader.pids
    await reader.close()

    assert 1 <= len(pids) <= 2
    assert not any(is_there(pid) for pid in pids)


async def test_nothing_is_started_before_it_is_needed(read_apart):
    assert read_apart().pids == []


async def test_a_large_document_leaves_a_fresh_process_behind(read_apart):
    reader = read_apart()
    await reader(question("a.txt"), b"word " * 300_000)

    assert reader.pids == []


BOASTFUL = """
import sys, time
frame = lambda data: len(data).to_bytes(4, "big") + data
sys.stdout.buffer.write(frame(b'"ready"') + (2**30).to_bytes(4, "big"))
sys.stdout.flush()
time.sleep(60)
"""


async def test_a_process_that_announces_a_gigabyte_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(child_process, "_BOOT", BOASTFUL)
    child = await ExtractionProcess.start(Allowed(512 * MB, cpu_s=2.0, patience=30.0))
    try:
        with pytest.raises(Died):
            await child.ask(question(), b"<p>word</p>")
    finally:
        await child.end()


# -- what the process is ---------------------------------------------------------------------------


@linux
async def test_it_has_no_secrets_no_files_and_no_large_libraries(monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    child = await ExtractionProcess.start(Allowed(512 * MB, 30.0))
    try:
        proc = Path(f"/proc/{child.pid}")
        environ, limits = (proc / "environ").read_text(), (proc / "limits").read_text()
        resident = int(re.search(r"VmRSS:\s+(\d+) kB", (proc / "status").read_text())[1]) * 1024
        mapped = (proc / "maps").read_text()
    finally:
        await child.end()

    assert environ == ""
    assert re.search(r"Max core file size\s+0 ", limits)
    assert re.search(r"Max file size\s+0 ", limits)
    assert re.search(r"Max open files\s+16 ", limits)
    assert re.search(rf"Max address space\s+{512 * MB} ", limits)
    assert resident < 40 * MB
    assert not re.search(r"numpy|pydantic|openvino|torch|lance|nats", mapped)


@linux
def test_it_dies_with_its_parent_whatever_it_is_doing():
    program = (
        "import asyncio\n"
        "from shared.reading.pool import Allowed, ExtractionProcess\n"
        "from shared.reading.protocol import Question\n"
        "async def main():\n"
        "    child = await ExtractionProcess.start(Allowed(2**29, 30.0))\n"
        "    print(child.pid, flush=True)\n"
        "    page = b'<p ' + b' '.join(b'a%d' % n for n in range(100_000)) + b'>'\n"
        "    await child.ask(Question('a.html', None, None, 10**7), page)\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        pid = int(parent.stdout.readline())
        wait_until(lambda: processor_time_s(pid) > 0.4)  # a start takes a tenth of it
        watched = os.pidfd_open(pid)
    finally:
        parent.kill()
        parent.communicate()
    ended, _, _ = select.select([watched], [], [], 60)
    os.close(watched)

    assert ended
