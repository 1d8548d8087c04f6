"""ARCHITECTURE.md names, for each rule, the test that dies without it: all of them, no other."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
SECTION = re.compile(r"\n## The protocol\n(.*?)\n## ", re.DOTALL)
DEFINED = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)
DYING = re.compile(r"^@dies_without\(.*?^(?:async )?def (test_\w+)", re.MULTILINE | re.DOTALL)


def named() -> set[str]:
    section = SECTION.search((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    assert section is not None
    return set(re.findall(r"`(test_\w+)`", section[1]))


def found(pattern: re.Pattern[str], folder: Path) -> set[str]:
    files = folder.rglob("test_*.py")
    return {name for file in files for name in pattern.findall(file.read_text(encoding="utf-8"))}


def test_every_test_that_is_named_exists():
    assert named() - found(DEFINED, ROOT / "tests") == set()


def test_every_test_that_dies_without_a_rule_is_named():
    dying = found(DYING, Path(__file__).parent)

    assert len(dying) > 50
    assert dying - named() == set()
