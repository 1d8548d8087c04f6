"""Images, `make setup` and `make integrations` install nothing but what was locked, to the byte."""

import re
import shlex
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
REQUIREMENTS = ROOT / "requirements"
LOCKED = REQUIREMENTS / "locked"
SETS = {
    "build": ("build",),
    "cpu": ("base", "weaviate", "pgvector", "openvino"),
    "cuda": ("base", "weaviate", "pgvector", "torch"),
    "integrations": ("base", "integrations"),
    "local": ("base", "local", "openvino"),
    "lock": ("lock",),
    "model": ("model",),
}
"""A lock and the files of pins that it is made from."""
TOGETHER = (
    ("build", "cpu", "model"),
    ("build", "cuda", "model"),
    ("build", "integrations"),
    ("build", "local", "model"),
)
"""Locks that are installed into one environment."""

PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==([A-Za-z0-9.+!]+)")
LOCKED_PIN = re.compile(
    r"([a-z0-9-]+)==([a-z0-9.+!]+)( ; [^\\]+?)?( \\\n    --hash=sha256:[0-9a-f]{64})+"
)


def pins(name: str) -> dict[str, str]:
    """Version by name, of a file that people write."""
    lines = (REQUIREMENTS / f"{name}.txt").read_text().splitlines()
    found = [PIN.fullmatch(line) for line in lines if line and not line.startswith(("#", "-r "))]
    return {re.sub(r"[-_.]+", "-", pin[1]).lower(): pin[2] for pin in found if pin}


def entries(name: str) -> list[re.Match[str]]:
    """The packages of a lock, each with its hashes; all of the file is such entries."""
    text, found, at = (LOCKED / f"{name}.txt").read_text(), [], 0
    while at < len(text):
        entry = LOCKED_PIN.match(text, at)
        assert entry, f"{name}: no package with hashes: {text[at : at + 80]!r}"
        found.append(entry)
        at = entry.end() + 1
    return found


def versions(*names: str) -> dict[str, set[tuple[str, str]]]:
    """Versions by package, each with the machines that it is for."""
    found = defaultdict[str, set[tuple[str, str]]](set)
    for name in names:
        for entry in entries(name):
            found[entry[1]].add((entry[2], entry[3] or ""))
    return found


def installs(text: str) -> list[list[str]]:
    """Arguments of every `pip install` of a Dockerfile or a Makefile."""
    lines = re.sub(r"\\\n", " ", text)
    return [
        shlex.split(command)
        for command in re.findall(r"(?:pip install|\$\(INSTALL\))(?: --quiet)? ([^&\n]+)", lines)
    ]


def test_every_lock_is_known_and_there():
    assert {path.stem for path in LOCKED.iterdir()} == SETS.keys()


@pytest.mark.parametrize("name", SETS)
def test_every_package_of_a_lock_has_hashes_and_no_address(name):
    found = entries(name)
    text = (LOCKED / f"{name}.txt").read_text()

    assert found
    assert "://" not in text
    assert "@" not in text
    assert "index-url" not in text
    assert str(Path.home()) not in text


@pytest.mark.parametrize("name", SETS)
def test_a_lock_has_what_is_pinned_at_the_pinned_version(name):
    wanted = {k: v for file in SETS[name] for k, v in pins(file).items()}
    found = versions(name)

    assert wanted
    assert {k: {v for v, _ in found[k]} for k in wanted} == {k: {v} for k, v in wanted.items()}


@pytest.mark.parametrize("names", TOGETHER)
def test_locks_that_are_installed_together_name_one_version_of_a_package(names):
    several = {
        package: found
        for package, found in versions(*names).items()
        if len({marker for _, marker in found}) < len({version for version, _ in found})
    }

    assert several == {}


@pytest.mark.parametrize("name", ["cpu", "cuda", "local", "integrations"])
def test_packages_with_compiled_parts_have_hashes_for_many_machines(name):
    few = {e[1]: e[0].count("--hash") for e in entries(name) if e[1] in ("aiohttp", "numpy")}

    assert set(few) == {"aiohttp", "numpy"}
    assert min(few.values()) > 20


DOCKERFILES = [path for path in ROOT.rglob("*Dockerfile*") if ".venv" not in path.parts]


@pytest.mark.parametrize("path", DOCKERFILES, ids=str)
def test_an_image_installs_only_what_has_a_hash(path):
    text = path.read_text()
    found = installs(text)

    assert found
    assert text.count("pip install") == len(found)
    for command in found:
        if "/wheels/*.whl" in command:  # instep itself, built in another stage
            assert {"--no-deps", "--no-index"} <= set(command)
            continue
        files = [command[n + 1] for n, word in enumerate(command) if word == "-r"]
        assert "--require-hashes" in command
        assert files
        assert all(file == "${LOCK}" or (ROOT / file).parent == LOCKED for file in files)
        # a build in isolation would fetch what it needs without hashes
        assert {"--no-build-isolation", "--only-binary"} & set(command)
        assert not [word for word in command if "==" in word or "://" in word]
    assert re.findall(r"^ARG LOCK=(.*)$", text, re.MULTILINE) == ["requirements/locked/cuda.txt"]
    assert all("--no-build-isolation" in line for line in re.findall(r"pip wheel.*", text))


def test_the_setup_of_a_checkout_installs_only_what_has_a_hash():
    text = (ROOT / "Makefile").read_text()
    rule = text.partition(".venv/.setup:")[2].partition("@touch")[0].replace("$(LOCKED)", "locked")
    *packages, itself = installs(rule)

    assert len(packages) == 3
    assert all("--require-hashes" in command for command in packages)
    assert itself == ["--no-deps", "--no-build-isolation", "--editable", "."]


def test_the_lock_of_the_image_for_graphics_cards_can_be_another():
    assert (
        'LOCK: "${INSTEP_CUDA_LOCK:-requirements/locked/cuda.txt}"'
        in (ROOT / "compose.yaml").read_text()
    )
