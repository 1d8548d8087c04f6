"""The packages for frameworks: what they import, need and say. `make integrations` runs them."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
PACKAGES = sorted(file.parent for file in ROOT.glob("integrations/*/pyproject.toml"))
EACH = pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
OF_FRAMEWORKS = {"langchain_core", "langchain_instep", "llama_index", "haystack", "pydantic"}
OF_THE_PRODUCT = {"instep.client", "instep.retrieval"}


def project(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


def imported(package):
    for file in package.rglob("*.py"):
        if "tests" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                yield node.module or ""
            elif isinstance(node, ast.Import):
                yield from (name.name for name in node.names)


def test_each_framework_has_its_package():
    assert [package.name for package in PACKAGES] == ["haystack", "langchain", "llama-index"]


@EACH
def test_a_package_knows_the_product_by_its_public_modules_only(package):
    names = {name for name in imported(package) if name.partition(".")[0] not in OF_FRAMEWORKS}

    assert {name for name in names if name.startswith(("instep", "services", "shared"))} <= (
        OF_THE_PRODUCT
    )
    assert names - OF_THE_PRODUCT <= {"sys", "typing", "collections.abc"} | {
        name for name in names if name.startswith("haystack_integrations.")
    }


@EACH
def test_what_a_package_needs_admits_what_it_is_tested_with(package):
    pins = dict(
        re.findall(
            r"^([\w-]+)==(\S+)$",
            (ROOT / "requirements/integrations.txt").read_text(),
            re.MULTILINE,
        )
    )
    known = pins | {"instep": project(ROOT)["version"]}
    for line in project(package)["dependencies"]:
        needed = Requirement(line)
        assert needed.specifier.contains(known[needed.name]), line
        assert "<" in str(needed.specifier), line


@EACH
def test_a_package_has_its_licence_its_page_and_an_example(package):
    assert (package / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert project(package)["license"] == "MIT"
    assert "example.py" in (package / "README.md").read_text()
    assert (package / "example.py").is_file()
