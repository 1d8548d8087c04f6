"""Every code that the program can give a document is explained, here and in the manual."""

import ast
from pathlib import Path

import pytest

from services.gateway.reasons import CODES, explained
from shared import errors
from shared.bus.settle import code_of
from shared.errors import PermanentError

ROOT = Path(__file__).parents[3]
GIVING = {"DocumentRefused", "Bury"}
"""Whose first argument is a code."""


def raised_codes():
    """Codes written out in the program."""
    for folder in ("services", "shared"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in GIVING:
                    first = node.args[0] if node.args else None
                    if isinstance(first, ast.Constant):
                        yield first.value


def codes_of_errors():
    """Codes made of the names of errors that no retry can help."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return {code_of(kind("x")) for kind in kinds if issubclass(kind, PermanentError)}


EVERY = sorted(set(raised_codes()) | codes_of_errors())


def test_the_search_for_codes_finds_them():
    assert {"too_large", "poison", "exhausted", "empty", "model_failed"} <= set(EVERY)


@pytest.mark.parametrize("code", EVERY)
def test_every_code_is_explained(code):
    assert code in CODES
    assert explained(code).meaning
    assert explained(code).fix


@pytest.mark.parametrize("code", EVERY)
def test_every_code_is_in_the_manual(code):
    manual = (ROOT / "examples/docs/guide/states.md").read_text(encoding="utf-8")

    assert f"`{code}`" in manual


def test_a_code_of_a_newer_version_is_not_explained_wrongly():
    assert "does not know" in explained("code_of_2030").meaning
