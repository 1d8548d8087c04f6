"""The words of the version before: they do what the new ones do, name them, and are not shown."""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer
from gateway_world import Index

from services.cli.command_table import COMMANDS, OLD_WORDS
from services.cli.exits import Stop
from services.cli.main import run
from services.cli.parser import build, parse, renamed
from services.gateway.app import build_app
from shared.ports import Hold

ROOT = Path(__file__).resolve().parents[3]
SENTENCES = [
    ROOT / "README.md",
    ROOT / "ARCHITECTURE.md",
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "examples").rglob("*.md"),
    *(file for name in ("services", "shared", "instep") for file in (ROOT / name).rglob("*.py")),
]


class Waiting:
    """Removals of two sources wait."""

    def __init__(self):
        since = datetime(2026, 11, 21, 11, 0, tzinfo=UTC)
        self.holds = {s: Hold(s, since, 25, 30, ("a.md",), kept=False) for s in ("docs", "wiki")}

    async def list(self):
        return list(self.holds.values())

    async def release(self, source):
        return self.holds.pop(source).vanished

    async def keep(self, source):
        self.holds[source] = replace(self.holds[source], kept=True)
        return 25


async def answer(argv, capsys):
    """Status, output and errors of a command beside an instance with failures and removals."""
    index, waiting = Index(), Waiting()
    for path in ("big.csv", "huge.csv"):
        await index.begin(path, [path])
        await index.fail(path)
    index.queries.removals = waiting
    async with TestServer(build_app(index.queries, index.commands)) as server:
        status = await asyncio.to_thread(run, [*argv, "--url", str(server.make_url(""))])
    return status, *capsys.readouterr()


@pytest.mark.parametrize("json", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        ("failed --code exhausted", "failures --code exhausted", 0),
        ("drop docs/big.csv --yes", "failures dismiss docs/big.csv --yes", 0),
        ("drop --all --dry-run", "failures dismiss --all --dry-run", 0),
        ("drop f_nosuch", "failures dismiss f_nosuch", 2),
        ("drop", "failures dismiss", 2),
        ("holds", "removals", 0),
        ("holds release docs", "removals approve docs", 0),
        ("holds keep wiki", "removals reject wiki", 0),
        ("holds release dcos", "removals approve dcos", 2),
        ("holds keep", "removals reject", 2),
    ],
)
async def test_an_old_word_answers_as_the_new_one_and_names_it(capsys, old, new, status, json):
    said = await answer([*new.split(), *json], capsys)
    told = await answer([*old.split(), *json], capsys)

    words = next(
        OLD_WORDS[k] for k in (tuple(old.split()[:2]), (old.split()[0],)) if k in OLD_WORDS
    )
    first, rest = told[2].split("\n", 1)
    assert (told[0], re.sub(r"\d+ (s|min|h|d)\b", "", told[1]), rest) == (
        status,
        re.sub(r"\d+ (s|min|h|d)\b", "", said[1]),
        said[2],
    )
    assert said[0] == status
    assert repr(" ".join(words)) in first
    assert first.startswith("instep: ")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--data x holds", "--data x removals"),
        ("--json holds release docs", "--json removals approve docs"),
        ("holds --json keep --data x docs", "removals reject --json --data x docs"),
        ("holds -- release docs", "removals approve -- docs"),
        ("--data=holds drop --all", "--data=holds failures dismiss --all"),
        ("--url failed failed --code holds", "--url failed failures --code holds"),
        ("holds relese docs", "removals relese docs"),
    ],
)
def test_options_stand_before_and_after_an_old_word(old, new):
    argv, said = renamed(old.split())

    assert argv == new.split()
    assert "is now called" in said


@pytest.mark.parametrize(
    "line",
    [
        "search holds",
        "search failed drop",
        "show drop",
        "removals approve holds",
        "--data drop",
        "",
    ],
)
def test_an_old_word_that_names_no_command_stays(line):
    assert renamed(line.split()) == (line.split(), "")


@pytest.mark.parametrize("argv", [["--help"], [], *([c.name, "--help"] for c in COMMANDS)])
def test_help_names_no_old_command(argv, capsys):
    assert run(argv) == 0

    shown = capsys.readouterr().out
    listed = set(re.findall(r"^ {4}([a-z]+)\b", shown, re.MULTILINE))
    assert not listed & {word for words in OLD_WORDS for word in words}
    assert not re.search(r"instep (failed|drop|holds)\b", shown)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_offers_the_new_words_only(shell, capsys):
    assert run(["completion", shell]) == 0

    shown = capsys.readouterr().out
    assert not re.search(
        r"""['"_ :](failed|drop|holds|release|keep)(['":]|$)""", shown, re.MULTILINE
    )
    assert all(word in shown for words in OLD_WORDS.values() for word in words)


@pytest.mark.parametrize(
    "argv",
    [["hold"], ["hlods"], ["drp"], ["faild"], ["removals", "releas"], ["removals", "kep"]],
    ids=" ".join,
)
def test_a_suggestion_is_no_old_word(argv):
    with pytest.raises(Stop) as stop:
        parse(argv)

    assert not re.search(r"did you mean (failed|drop|holds|release|keep)\b", stop.value.text)
    assert not re.search(r"choose from.*(release|keep)", stop.value.text)


def test_the_parser_itself_knows_no_old_word():
    shown = build().format_help()

    assert all(f"    {command.name}" in shown for command in COMMANDS)
    for words in OLD_WORDS:
        with pytest.raises(Stop, match=r"is not a command|is not possible"):
            parse([*words, "docs"])


def test_no_sentence_tells_a_person_to_type_an_old_word():
    old = re.compile(r"instep (failed|drop|holds)\b|`(drop|holds (release|keep)|failed ID)[`…]")
    noted = re.compile(r"The version before called these commands [^.]*\.")
    found = {
        f"{file.relative_to(ROOT)}: {said[0]}"
        for file in SENTENCES
        for said in old.finditer(noted.sub("", file.read_text(encoding="utf-8")))
    }

    assert found == set()
