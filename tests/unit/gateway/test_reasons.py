"""Every code that the program can give a document is explained, here and in the manual."""

import ast
import functools
from pathlib import Path

from services.gateway.documents.reasons import CODES, explained
from shared.bus.delivery.outcome import code_of
from shared.domain import errors
from shared.domain.errors import PermanentError

ROOT = Path(__file__).parents[3]
GIVING = {"DocumentRefused", "Bury", "Reason", "__init__"}
"""Whose first argument is a code; a subclass gives it to the constructor of its base."""
SIMULATED = ROOT / "shared/encoders/fake.py"
"""What only the simulated model raises is raised by nobody."""


def program():
    """Every node of every module that is no list of codes itself."""
    for folder in ("services", "shared"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path not in (SIMULATED, ROOT / "services/gateway/documents/reasons.py"):
                yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def chosen(node):
    """The texts that an expression may be."""
    if isinstance(node, ast.IfExp):
        return chosen(node.body) | chosen(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and node.value else set()


def name(call):
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def written_out(node):
    """Codes that a node gives: `Reason("x", …)`, `Receipt(code="x")`, a header of a dead letter."""
    if isinstance(node, ast.Call) and name(node) in GIVING and node.args:
        yield from chosen(node.args[0])
    if isinstance(node, ast.Call) and name(node) == "Receipt":
        for keyword in node.keywords:
            yield from chosen(keyword.value) if keyword.arg == "code" else ()
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            yield from chosen(value) if chosen(key) == {"Dlq-Code"} else ()


def codes_of_errors(nodes):
    """Codes made of the names of errors that no retry can help, where they are made."""
    kinds = {n: kind for n, kind in vars(errors).items() if isinstance(kind, type)}
    permanent = {n: kind for n, kind in kinds.items() if issubclass(kind, PermanentError)}
    made = {name(node) for node in nodes if isinstance(node, ast.Call)} & permanent.keys()
    return {code_of(permanent[n]("x")) for n in made}


@functools.cache
def every():
    """All codes; found when a test asks, for each worker imports this module."""
    nodes = list(program())
    return {code for node in nodes for code in written_out(node)} | codes_of_errors(nodes)


def test_the_search_for_codes_finds_them():
    assert {"too_large", "poison", "exhausted", "empty", "stale_version"} <= every()


def test_every_code_that_is_explained_is_given_somewhere():
    assert sorted(set(CODES) - every()) == []


def test_every_error_that_no_retry_can_help_is_raised_somewhere():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    permanent = {code_of(kind("x")) for kind in kinds if issubclass(kind, PermanentError)}

    assert permanent <= every()


def test_every_code_is_explained():
    assert sorted(every() - set(CODES)) == []
    assert [code for code in every() if not explained(code).meaning] == []
    assert [code for code in every() if not explained(code).fix] == []


def test_every_code_is_in_the_manual():
    manual = (ROOT / "examples/docs/guide/states.md").read_text(encoding="utf-8")

    assert [code for code in every() if f"`{code}`" not in manual] == []


def test_a_code_of_a_newer_version_is_not_explained_wrongly():
    assert "does not know" in explained("code_of_2030").meaning
