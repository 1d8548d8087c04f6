"""DOCS has one door: whoever writes there compares with the newest change, by one function."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[3]


def modules():
    for folder in ("services", "shared"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            yield name, list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


MODULES = dict(modules())


def name(call):
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def calling(function, *, keyword=""):
    """Modules that call a function of this name, with this argument."""
    return {
        module
        for module, nodes in MODULES.items()
        for node in nodes
        if isinstance(node, ast.Call)
        and name(node) == function
        and (not keyword or keyword in {one.arg for one in node.keywords})
    }


def saying(text):
    """Modules with a text that begins so and is no docstring: a subject is made of it."""
    return {
        module
        for module, nodes in MODULES.items()
        for node in nodes
        if isinstance(node, ast.JoinedStr | ast.Tuple | ast.Call | ast.Assign | ast.Return)
        for part in ast.iter_child_nodes(node)
        if isinstance(part, ast.Constant)
        and isinstance(part.value, str)
        and part.value.startswith(text)
    }


def test_only_accepting_and_repairing_append_to_docs():
    assert calling("append", keyword="message_id") == {
        "services/producer/accept.py",
        "services/producer/submissions/intake.py",
        "shared/repair.py",
    }


def test_only_these_make_a_change():
    assert calling("DocumentChanged") == {
        "services/producer/accept.py",
        "services/producer/submissions/intake.py",
        "shared/repair.py",
    }


def test_only_the_change_log_spells_the_compare_and_set_of_a_subject_of_docs():
    assert saying("documents.changed.") == {
        "shared/bus/jetstream/change_log.py",  # reads, and appends by the subject of the change
        "shared/domain/services.py",  # what keys may do
        "shared/domain/events/changes.py",  # the subject of a change
        "shared/domain/topology.py",  # what the stream takes
    }


def test_only_the_change_log_publishes_changes_with_an_expected_sequence():
    expecting = {
        module
        for module, nodes in MODULES.items()
        if any(isinstance(node, ast.Name) and node.id == "EXPECTED" for node in nodes)
    }

    assert expecting == {"shared/bus/jetstream/change_log.py", "shared/bus/jetstream/content.py"}
