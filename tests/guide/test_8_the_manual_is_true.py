"""8. What the manual says of settings, reasons, commands and messages is what the code does."""

import ast
import json
import re
from pathlib import Path

import pytest

from services.cli.command_table import COMMANDS
from services.cli.parser import GLOBALS
from services.gateway.events.stream import LISTENERS, PING_S
from services.gateway.search.search import DEEPEST
from services.host.http_server import CLIENT_S
from services.host.nats_server.disk import ROOM_BYTES, SHORT_BYTES
from services.validator.sweep.sweep import STUCK_S
from services.validator.validate import LAST_LOOK_S, SECOND_LOOK_S
from shared.batches.history import KEPT_IN_ALL, KEPT_PER_SOURCE
from shared.batches.reports import MOST_BYTES
from shared.bus.admin.configs import BODIES_BYTES
from shared.bus.delivery.outcome import PATIENCE_S
from shared.domain.events import DocumentSubmitted, Receipt
from shared.domain.formats import BY_ENDING
from shared.domain.ids import MAX_PATH_BYTES
from shared.domain.ordering import MAX_ROWS
from shared.domain.presence import EVERY_S, GONE_AFTER_S
from shared.domain.priority import (
    BURST_DOCUMENTS,
    BURST_ROWS,
    EXPRESS_DOCUMENTS,
    EXPRESS_ROWS,
    PER_S,
)
from shared.domain.services import NAMES
from shared.domain.submissions import MAX_METADATA_BYTES, MAX_METADATA_KEYS, MAX_TITLE_BYTES
from shared.domain.topology import (
    ACCEPT,
    DAY_S,
    EMBCACHE,
    MAX_MESSAGE_BYTES,
    MAX_PART_BYTES,
    MAX_PART_ROWS,
    STREAMS,
    embed_stage,
)
from shared.formats import frontmatter, html
from shared.formats.blocks import MAX_BLOCKS, MAX_LINE_TITLE
from shared.formats.extract import (
    MAX_HARMLESS_BYTES,
    MAX_HARMLESS_MARKDOWN,
    MAX_HARMLESS_YAML,
)
from shared.observe.health import WEDGED_AFTER_S
from shared.settings import load, names
from shared.settings.groups import Chunking, FolderSettings

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "examples/docs"
PUBLISHING = ROOT / "docs/publish-from-your-system.md"
PAGES = sorted(
    [
        *MANUAL.rglob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *ROOT.glob("*.md"),
        *ROOT.glob("integrations/*/*.md"),
    ]
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]*)\|", re.MULTILINE)
IN_WORDS = {
    *("", "none", "every known ending", "in the data folder", "that of `chunking"),
    "all others",
}
"""Defaults that are told in words."""


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def anchors(page):
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_something_that_is_there(page):
    for link in LINK.findall(page.read_text()):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page

        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_module_that_the_architecture_names_is_there():
    named = re.findall(r"`([\w/.]+\.py)(?:: \w+)?`", (ROOT / "ARCHITECTURE.md").read_text())
    known = [p.as_posix() for p in ROOT.rglob("*.py") if ".venv" not in p.parts]

    assert [name for name in named if not any(path.endswith(f"/{name}") for path in known)] == []


# -- settings --------------------------------------------------------------------------------------


def settings_told():
    """Dotted names and defaults of the settings page, those of a source below `sources.docs.`"""
    text = (MANUAL / "operate/settings.md").read_text()
    return [
        (
            name.replace("NAME", "docs") if "." in name else f"sources.docs.{name}",
            default.strip().strip("`"),
        )
        for name, default in ROW.findall(text)
    ]


def test_every_setting_is_in_the_manual_and_no_other():
    assert {name for name, _ in settings_told()} == {n.replace("NAME", "docs") for n in names()}


@pytest.mark.parametrize(("name", "default"), settings_told())
def test_a_default_in_the_manual_is_the_default(name, default):
    if default in IN_WORDS:
        return
    source = {"INSTEP_SOURCES__DOCS__PATH": "."}
    variable = "INSTEP_" + name.upper().replace(".", "__")
    group = {"INSTEP_SOURCES__DOCS__RECORDS": "true"} if ".records." in name else {}

    assert load(config=None, environ={**source, variable: default}).settings == (
        load(config=None, environ=source | group).settings
    )


NUMBERS = {"two": "2", "five": "5"}
UNITS = {"milliseconds": "ms", "second": "s", "seconds": "s", "minutes": "min"}
UNIT = "ms|milliseconds|s|seconds?|min|minutes|KB|MB|GB"
QUANTITY = rf"(\d+(?:\.\d+)?|{'|'.join(NUMBERS)})\s({UNIT})\b"
BEFORE = re.compile(rf"{QUANTITY}(?: at the latest)?\s\(`([a-z_.]+)`\)")
AFTER = re.compile(rf"`([a-z_.]+)`\s\({QUANTITY}\)")


def figures_of_settings():
    """Page, setting and value wherever prose gives a setting beside the value that it has."""
    known = {name.replace("NAME", "docs") for name in names()}
    for page in PAGES:
        text = page.read_text()
        told = [(name, number, unit) for number, unit, name in BEFORE.findall(text)]
        for name, number, unit in told + AFTER.findall(text):
            whole = f"sources.docs.{name}" if name in FolderSettings.model_fields else name
            if whole in known:
                yield page.name, whole, f"{NUMBERS.get(number, number)} {UNITS.get(unit, unit)}"


@pytest.mark.parametrize(("page", "name", "value"), sorted(set(figures_of_settings())))
def test_a_value_that_prose_gives_a_setting_is_its_default(page, name, value):
    test_a_default_in_the_manual_is_the_default(name, value)


# -- figures ---------------------------------------------------------------------------------------

MB = 1024**2
DAYS = {stream.name: stream.max_age_s // DAY_S for stream in (*STREAMS, EMBCACHE)}
FIGURES = {
    "guide/bad-input.md": (
        f"Markdown up to {MAX_HARMLESS_MARKDOWN // 1024} KB and plain text up to "
        f"{MAX_HARMLESS_BYTES // 1024} KB are read in the service",
        f"no more than {MAX_HARMLESS_YAML // 1024} KB of front matter",
        f"as text, above {frontmatter.MAX_CHARS:,} characters",
        f"as text, below {frontmatter.MAX_DEPTH} levels",
        f"more than {html.MAX_DEPTH:,} elements inside each other",
        f"more than {MAX_BLOCKS:,} paragraphs, headings",
        f"it would have more than {MAX_ROWS:,} chunks",
        f"text of {MAX_ROWS + 1:,} chunks | `too_large` | {MAX_ROWS:,} are taken",
        f"a message above {MAX_MESSAGE_BYTES // MB} MB",
    ),
    "guide/failures-and-retry.md": (
        f"is tried for {PATIENCE_S / 60:g} minutes at least",
        f"Dead letters are kept {DAYS['DLQ']} days",
    ),
    "guide/publishing.md": (f"at most {MAX_MESSAGE_BYTES // MB} MB",),
    "guide/reports.md": (
        f"at most {KEPT_PER_SOURCE} of a source and {KEPT_IN_ALL:,} in all",
        f"takes at most {MOST_BYTES // 1024} KB",
    ),
    "guide/states.md": (
        f"more than {MAX_ROWS:,} chunks",
        f"longer than {MAX_PATH_BYTES:,} bytes",
        f"lasted {PATIENCE_S / 60:g} minutes",
    ),
    "guide/validation.md": (
        f"looked at again after {SECOND_LOOK_S:g} s",
        f"when the event is {LAST_LOOK_S:g} s old",
    ),
    "guide/what-a-folder-may-hold.md": (f"of more than {MAX_PATH_BYTES:,} bytes",),
    "operate/durability.md": (
        f"as soon as {ROOM_BYTES // MB} MB are free",
        f"less than {SHORT_BYTES // MB} MB",
        f"others take its work after {ACCEPT.ack_wait_s:g} s, an embedder's after "
        f"{embed_stage('g').ack_wait_s:g} s",
    ),
    "operate/healing.md": (f"pending for more than {STUCK_S / 60:g} minutes",),
    "operate/removals.md": (
        f"When at least {FolderSettings.model_fields['hold_count'].default} documents of a source",
    ),
    "guide/listening.md": (
        f"every {PING_S:g} seconds",
        f"takes nothing for {CLIENT_S:g} seconds",
        f"At most {LISTENERS} listeners",
    ),
    "operate/replicas.md": (
        f"every {EVERY_S:g} seconds",
        f"is counted for {GONE_AFTER_S:g} seconds",
        f"messages of up to {MAX_PART_ROWS} chunks",
        f"batches of up to {EXPRESS_DOCUMENTS} documents, with up to {EXPRESS_ROWS} chunks",
        f"more than {BURST_DOCUMENTS} changes at once, or {BURST_ROWS} chunks, and {PER_S:g} a",
    ),
    "operate/services.md": (f"has not turned for {WEDGED_AFTER_S:g} seconds",),
    "operate/upgrading.md": (
        f"keeps a vector for {DAYS['embcache']} days",
        f"and {EMBCACHE.max_bytes // 1024**3} GB in all",
    ),
    "reference/glossary.md": (
        f"at most {Chunking().tokens} tokens",
        f"for {DAYS['DLQ']} days",
    ),
    "reference/limits.md": (
        f"A heading of more than {MAX_LINE_TITLE} characters",
        f"Metadata hold {frontmatter.MAX_KEYS} values with names of up to",
        f"and {frontmatter.MAX_VALUE_CHARS} characters of each value",
        f"a title of more than {MAX_LINE_TITLE} characters",
        f"| chunks of a document | {MAX_ROWS:,} |",
        f"| a chunk with its headings and metadata | {MAX_PART_BYTES // 1024} KB |",
        f"so also a submission | {MAX_MESSAGE_BYTES // MB} MB |",
        f"| a path | {MAX_PATH_BYTES:,} bytes of UTF-8 |",
        f"| title of a submission | {MAX_TITLE_BYTES // 1024} KB |",
        f"submission | {MAX_METADATA_KEYS} keys, {MAX_METADATA_BYTES // 1024} KB |",
        f"| results on the bus | {DAYS['RESULTS']} days |",
        f"{KEPT_PER_SOURCE} of a source, {KEPT_IN_ALL:,} in all, {MOST_BYTES // 1024} KB each",
        f"| dead letters | {DAYS['DLQ']} days |",
        f"{DAYS['embcache']} days after they were made, or {EMBCACHE.max_bytes // 1024**3} GB",
        f"large documents on the bus | {BODIES_BYTES // 1024**3} GB",
        f"at up to {DEEPEST:,} while rows",
    ),
}
"""Sentences of the manual with the numbers that the code has."""


@pytest.mark.parametrize("page", FIGURES)
def test_a_figure_in_the_manual_is_that_of_the_code(page):
    text = " ".join((MANUAL / page).read_text().split())

    assert [sentence for sentence in FIGURES[page] if sentence not in text] == []


# -- reasons ---------------------------------------------------------------------------------------


def refusals_in_the_code():
    """Codes that `DocumentRefused` is raised with."""
    for file in [*ROOT.glob("services/**/*.py"), *ROOT.glob("shared/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "DocumentRefused"
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                yield node.args[0].value


def codes_told():
    return {name for name, _ in ROW.findall((MANUAL / "guide/states.md").read_text())}


def test_every_refusal_of_the_code_is_explained():
    assert set(refusals_in_the_code()) - codes_told() == set()


# -- commands --------------------------------------------------------------------------------------


def commands_told():
    text = (MANUAL / "reference/commands.md").read_text()
    table = text.split("## Exit status")[0]
    return {name.split()[0] for name, _ in ROW.findall(table)}


def test_every_ending_that_a_folder_takes_is_in_the_manual_and_no_other():
    page = (MANUAL / "guide/what-a-folder-may-hold.md").read_text()
    rows = [row for row in page.splitlines() if re.search(r"\| a document[,;]", row)]

    told = re.findall(r"`(\.?\w+)`", "\n".join(rows))
    assert {name.lower() for name in told} == set(BY_ENDING)


def test_every_command_is_in_the_manual_and_no_other():
    assert commands_told() == {command.name for command in COMMANDS}


def test_every_action_of_a_command_is_in_its_row():
    text = (MANUAL / "reference/commands.md").read_text()
    rows = {line.split()[1].strip("`"): line for line in text.split("\n") if line.startswith("| `")}

    told = {c.name: {a.name for a in c.actions if f"`{a.name} " in rows[c.name]} for c in COMMANDS}
    assert told == {c.name: {action.name for action in c.actions} for c in COMMANDS}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_command_in_the_manual_is_a_command(page):
    known = {command.name: command for command in COMMANDS}
    for line in re.findall(
        r"^\s*instep ([a-z]+)(.*)$", "\n".join(blocks(page, "sh")), re.MULTILINE
    ):
        command, rest = known[line[0]], re.sub(r'"[^"]*"|#.*', "", line[1])
        if command.actions and rest.strip() and not rest.strip().startswith("-"):
            word, _, rest = rest.strip().partition(" ")
            command = {action.name: action for action in command.actions}[word]
        flags = {flag for arg in command.args for flag in arg.flags}
        flags |= {flag for names, _ in GLOBALS for flag in names}

        assert {word for word in rest.split() if word.startswith("-") and word != "-"} <= flags
        if line[0] == "run":
            assert set(rest.split()) <= set(NAMES)


# -- messages --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "block", blocks(PUBLISHING, "json") + blocks(MANUAL / "guide/publishing.md", "json")
)
def test_a_message_in_the_documentation_fits_its_contract(block):
    raw = json.loads(block)
    model = Receipt if "receipt" in raw else DocumentSubmitted

    event = model.model_validate(raw)

    assert set(raw) <= set(event.model_dump(mode="json"))


def test_the_python_program_in_the_documentation_compiles():
    (program,) = blocks(PUBLISHING, "python")

    compile(program, "publish.py", "exec")


def promised_tests():
    """Test files and the names of tests that are said to try to break a promise."""
    page = ROOT / "docs" / "promises.md"
    for row in re.findall(r"^\| P\d \|.*$", page.read_text(), re.MULTILINE):
        for file, said in re.findall(r"\]\(\.\./(tests/[^)]+)\)(?: \(([^)]*)\))?", row):
            yield from ((file, name) for name in re.findall(r"`(test_\w+)`", said) or [""])


@pytest.mark.parametrize(("file", "name"), list(promised_tests()))
def test_the_tests_that_guard_a_promise_are_there(file, name):
    assert f"def {name}" in (ROOT / file).read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_test_that_a_page_names_is_there(page):
    named = set(re.findall(r"`(test_\w+)`", page.read_text()))
    tests = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))

    assert {name for name in named if f"def {name}(" not in tests} == set()
