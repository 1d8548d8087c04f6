"""`services` and `shared` are common names: another installed distribution must not own them."""

from importlib.metadata import distributions
from pathlib import Path

import pytest

import instep
import services
import shared

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("package", [instep, services, shared], ids=lambda one: one.__name__)
def test_a_package_comes_from_this_project_and_no_other_distribution_has_files_of_it(package):
    owners = {
        found.name
        for found in distributions()
        for file in found.files or ()
        if file.parts[0] == package.__name__
    }

    assert Path(str(package.__file__)).parent == ROOT / package.__name__
    assert owners <= {"instep"}
