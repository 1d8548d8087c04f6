"""8. What the manual says of settings, reasons, commands and messages is what the code does."""

import ast
import json
import re
from pathlib import Path

import pytest

from services.cli.commands import COMMANDS, SERVICES
from shared.events import DocumentSubmitted, Receipt
from shared.settings import load, names

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "examples/docs"
PUBLISHING = ROOT / "docs/publish-from-your-system.md"
PAGES = sorted([*MANUAL.rglob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]*)\|", re.MULTILINE)
IN_WORDS = {"", "none", "every known ending", "in the data folder", "that of `chunking"}
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
        (name if "." in name else f"sources.docs.{name}", default.strip().strip("`"))
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

    assert load(config=None, environ={**source, variable: default}).settings == (
        load(config=None, environ=source).settings
    )


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


def test_every_command_is_in_the_manual_and_no_other():
    assert commands_told() == {command.name for command in COMMANDS}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_command_in_the_manual_is_a_command(page):
    known = {command.name: command for command in COMMANDS}
    for line in re.findall(
        r"^\s*instep ([a-z]+)(.*)$", "\n".join(blocks(page, "sh")), re.MULTILINE
    ):
        command, rest = known[line[0]], re.sub(r'"[^"]*"|#.*', "", line[1])
        flags = {flag for arg in command.args for flag in arg.flags} | {"--json", "--data"}

        assert {word for word in rest.split() if word.startswith("-") and word != "-"} <= flags
        if line[0] == "run":
            assert set(rest.split()) <= set(SERVICES)


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
    """Test files and the names of tests that the README says try to break a promise."""
    for row in re.findall(r"^\| P\d \|.*$", (ROOT / "README.md").read_text(), re.MULTILINE):
        for file, said in re.findall(r"\]\((tests/[^)]+)\)(?: \(([^)]*)\))?", row):
            yield from ((file, name) for name in re.findall(r"`(test_\w+)`", said) or [""])


@pytest.mark.parametrize(("file", "name"), list(promised_tests()))
def test_the_tests_that_guard_a_promise_are_there(file, name):
    assert f"def {name}" in (ROOT / file).read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_test_that_a_page_names_is_there(page):
    named = set(re.findall(r"`(test_\w+)`", page.read_text()))
    tests = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))

    assert {name for name in named if f"def {name}(" not in tests} == set()
