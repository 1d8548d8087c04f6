"""What it takes to read a file of each format, which words are lost, and what the readers weigh.

    python bench/formats.py [--rounds 5] [--files 40]

It makes files of every format in a temporary folder, and adds those that installed packages and
this machine ship. Times are those of the reader in one process, without its start and without
cutting; of several rounds the fastest counts. Words are lost that another reader sees more often
in the file than they are in its blocks, or that are in no chunk. Sizes are of the installed files.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import sysconfig
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from email.message import EmailMessage
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import office_files as made  # noqa: E402
from words import SEEN, words, words_lost  # noqa: E402

from services.enricher.chunking.chunk import chunk  # noqa: E402
from shared.domain.errors import DocumentRefused  # noqa: E402
from shared.domain.formats import BY_ENDING, Format  # noqa: E402
from shared.formats.extract import extract  # noqa: E402
from shared.settings import Chunking  # noqa: E402

BUDGET_MS = {"pdf": 10.0, "docx": 50.0}
"""Of a page of a PDF, and of a DOCX of some pages."""
BUDGET_MB = 30
READERS = (
    *("selectolax", "pyyaml", "markdown-it-py", "mdit-py-plugins", "mdurl", "py3langid"),
    *("pypdfium2", "mammoth", "cobble", "python-calamine", "striprtf"),
)
"""The distributions of the base install that are there for formats; instep needs numpy without
them, too."""
EXTRAS = ("s3", "sql", "weaviate", "pgvector", "local")
PLACES = (sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"), "/usr/share/doc")
MAX_BYTES = 500_000
SENTENCE = "The pump number {} moves water from the old harbour to the tank on the hill. "


class Tokens:
    """Counts words as tokens."""

    window = 254
    _TOKEN = re.compile(r"\w+|[^\w\s]")

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        return [match.span() for match in self._TOKEN.finditer(text)]

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        return [len(self._TOKEN.findall(text)) for text in texts]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=40, help="most shipped files of a format")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="instep-bench-") as root:
        corpus = {name: [write(Path(root), name)] for name in MADE}
        for name in corpus:
            corpus[name] += islice(shipped(BY_ENDING[name]), args.files)
        print(f"{'format':9} {'files':>5} {'KB':>7} {'ms a file':>10} {'words':>9} {'lost':>5}")
        for name, files in corpus.items():
            print(row(BY_ENDING[name], files, args.rounds), flush=True)
    sizes()


# -- the corpus ------------------------------------------------------------------------------------


def paragraphs(count: int) -> list[str]:
    return ["".join(SENTENCE.format(8 * n + m) for m in range(8)).strip() for n in range(count)]


def pdf() -> bytes:
    """50 pages of 40 lines."""
    lines = [SENTENCE.format(n).strip() for n in range(2_000)]
    pages = [lines[n : n + 40] for n in range(0, len(lines), 40)]
    return made.pdf([[(11, 750 - 16 * n, line) for n, line in enumerate(page)] for page in pages])


def docx() -> bytes:
    """About 12 pages: 4 headings, 40 paragraphs and a table of 50 rows."""

    def fill(document) -> None:
        for n, text in enumerate(paragraphs(40)):
            if n % 10 == 0:
                document.add_heading(f"Chapter {n}", 1)
            document.add_paragraph(text)
        table = document.add_table(50, 4)
        for n, line in enumerate(table.rows):
            for m, cell in enumerate(line.cells):
                cell.text = f"cell{n}x{m}"

    return made.docx(fill)


def mail() -> bytes:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "Pumps", "ada@x.org", "eve@x.org"
    message.set_content("\n\n".join(paragraphs(20)))
    message.add_attachment(b"12345", maintype="image", subtype="png", filename="pump.png")
    return bytes(message)


def of_text(form: str) -> bytes:
    return "\n\n".join(form.format(text, n) for n, text in enumerate(paragraphs(100))).encode()


def rows() -> list[list[object]]:
    return [["part", "text", "price"], *([f"p{n}", SENTENCE.format(n), n] for n in range(1_000))]


MADE = {
    ".pdf": pdf,
    ".docx": docx,
    ".pptx": lambda: made.pptx([[made.shape("title", t), made.shape("body", t)]
                                for t in paragraphs(50)]),
    ".xlsx": lambda: made.xlsx({"Prices": rows()}),
    ".odt": lambda: made.odt(
        "".join(f"<text:p>{text}</text:p>" for text in paragraphs(200))
    ),
    ".epub": lambda: made.epub([f"<h1>{text[:25]}</h1><p>{text}</p>" for text in paragraphs(100)]),
    ".rtf": lambda: b"{\\rtf1 " + of_text("{0}\\par ") + b"}",
    ".eml": mail,
    ".ipynb": lambda: json.dumps(
        {"cells": [{"cell_type": "markdown", "source": text} for text in paragraphs(100)]}
    ).encode(),
    ".csv": lambda: "\n".join(",".join(map(str, row)) for row in rows()).encode(),
    ".json": lambda: json.dumps([dict(zip("abc", row, strict=True)) for row in rows()]).encode(),
    ".xml": lambda: b"<a>" + of_text("<p>{0}</p>") + b"</a>",
    ".yaml": lambda: of_text("key{1}:\n  text: {0}"),
    ".py": lambda: of_text("def f{1}():\n    return '{0}'"),
    ".rst": lambda: of_text("Head {1}\n===========\n\n{0} *one*"),
    ".adoc": lambda: of_text("== Head {1}\n\n{0} *one*"),
    ".md": lambda: of_text("## Head {1}\n\n{0} *one* [two](x)\n\n- item"),
    ".html": lambda: of_text("<h2>Head {1}</h2><p>{0} <b>one</b>"),
    ".txt": lambda: of_text("{0}"),
}  # fmt: skip


def write(root: Path, ending: str) -> Path:
    file = root / f"made{ending}"
    file.write_bytes(MADE[ending]())
    return file


def shipped(format_: Format) -> Iterator[Path]:
    endings = {ending for ending, name in BY_ENDING.items() if name == format_}
    for place in PLACES:
        for file in sorted(Path(place).rglob("*")):
            if file.suffix.lower() in endings and file.is_file():
                with suppress(OSError):
                    if 0 < file.stat().st_size <= MAX_BYTES:
                        yield file


# -- what is measured ------------------------------------------------------------------------------


def row(format_: Format, files: Sequence[Path], rounds: int) -> str:
    """One line of the table; files that are refused are left out and counted."""
    took, size, lost, seen, refused, pages = 0.0, 0, Counter[str](), 0, 0, 0
    for file in files:
        data = file.read_bytes()
        try:
            took += min(read(data, file.name) for _ in range(rounds))
        except DocumentRefused:
            refused += 1
            continue
        size += len(data)
        pages += pages_of(data) if format_ == "pdf" else 0
        if format_ in SEEN:
            with suppress(UnicodeDecodeError):  # the other readers read UTF-8
                in_file = Counter(words(SEEN[format_](data)))
                seen += in_file.total()
                lost += words_lost(format_, data) | absent(format_, data, in_file)
    read_files = len(files) - refused
    told = f"{lost.total():5,}" if format_ in SEEN else "    -"
    a_file = f"{1000 * took / max(1, read_files):10.2f}"
    tail = f"   {refused} refused" if refused else ""
    if (budget := BUDGET_MS.get(format_)) is not None:
        ms = 1000 * took / max(1, pages or read_files)
        what = f"{ms:.2f} ms a page, {pages} pages" if pages else f"{ms:.2f} ms a file"
        tail += f"   {what}: budget {budget:g} ms{'' if ms <= budget else ' EXCEEDED'}"
    if lost:
        tail += f"   such as {', '.join(list(lost)[:5])}"
    return f"{format_:9} {read_files:5} {size / 1024:7,.0f} {a_file} {seen:9,} {told}{tail}"


def absent(format_: Format, data: bytes, in_file: Counter[str]) -> Counter[str]:
    """Words that are in no chunk. A heading that is the context of several counts once there, so
    the numbers of words that are there tell nothing."""
    lost = words_lost(format_, data, lambda found: chunk(found, Chunking(), Tokens()))
    return Counter({word: n for word, n in lost.items() if n == in_file[word]})


def read(data: bytes, name: str) -> float:
    """Seconds."""
    began = time.perf_counter()
    extract(data, path=name, media_type=None, title=None)
    return time.perf_counter() - began


def pages_of(data: bytes) -> int:
    import pypdfium2

    document = pypdfium2.PdfDocument(data)
    try:
        return len(document)
    finally:
        document.close()


# -- sizes -----------------------------------------------------------------------------------------


def sizes() -> None:
    """The distributions of the formats, and those that each extra adds to the base install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = closure(project["dependencies"])
    of_formats = {name: megabytes(name) for name in READERS}
    total = sum(of_formats.values())
    verdict = "" if total <= BUDGET_MB else " EXCEEDED"
    print(f"\nformats: {total:.1f} MB of the base install, budget {BUDGET_MB} MB{verdict}")
    print("  " + ", ".join(f"{name} {size:.1f}" for name, size in of_formats.items()))
    print(f"base install: {sum(map(megabytes, base)):.0f} MB, {len(base)} distributions")
    for extra in EXTRAS:
        added = closure(project["optional-dependencies"][extra]) - base
        most = sorted(added, key=megabytes, reverse=True)[:4]
        told = ", ".join(f"{name} {megabytes(name):.1f}" for name in most)
        print(f"instep[{extra}]: {sum(map(megabytes, added)):.1f} MB more: {told}")


def closure(requirements: Sequence[str]) -> set[str]:
    """The installed distributions that these need, and all that those need."""
    from packaging.requirements import Requirement

    found, waiting = set[str](), [Requirement(text) for text in requirements]
    while waiting:
        one = waiting.pop()
        name = re.sub(r"[-_.]+", "-", one.name).lower()
        for extra in one.extras or {""}:
            if f"{name}[{extra}]" in found or (package := installed(name)) is None:
                continue
            found.add(f"{name}[{extra}]")
            inner = map(Requirement, package.requires or ())
            waiting += [r for r in inner if not r.marker or r.marker.evaluate({"extra": extra})]
    return {name.partition("[")[0] for name in found}


def installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def megabytes(name: str) -> float:
    package = installed(name)
    files = package.files or () if package else ()
    paths = (Path(str(file.locate())) for file in files if "__pycache__" not in file.parts)
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
