"""The whole flow with SQLite as the store: edits, a kill, a file deleted while it is open."""

import pytest
from instep_process import FAKE, Instep, wait_until

pytestmark = pytest.mark.stores


@pytest.fixture
def instep(tmp_path):
    settings = {"INSTEP_STORE__KIND": "sqlite", "INSTEP_HEALTH__PORT": "0"}
    made = Instep(tmp_path / "data", tmp_path, env=FAKE | settings)
    yield made
    made.stop()


def test_the_index_in_a_file_stays_in_step_whatever_happens_to_process_and_file(instep, tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    for n in range(5):
        (notes / f"n{n}.md").write_text(f"# Note {n}\n\nA text about unique{n} things.\n")
    process = instep.up(notes)
    wait_until(lambda: instep.found("unique3")[:1] == ["n3.md"])
    (notes / "n3.md").write_text("# Zeppelin\n\nA text about zeppelins.\n")
    wait_until(lambda: instep.found("zeppelins")[:1] == ["n3.md"])

    process.kill()
    process.wait(60)
    (notes / "n3.md").unlink()
    (notes / "new.md").write_text("# New\n\nA text about unique7 things.\n")
    instep.up(notes)
    wait_until(lambda: instep.found("unique7")[:1] == ["new.md"])
    wait_until(lambda: "n3.md" not in instep.found("zeppelins"))

    (path,) = (instep.data / "store").glob("*.sqlite3")
    before = path.stat().st_ino
    path.unlink()
    wait_until(lambda: path.exists() and path.stat().st_ino != before)
    wait_until(lambda: instep.json("validate", status=(0, 1))["passed"])
    assert [instep.found(f"unique{n}")[:1] for n in (0, 1, 2, 4, 7)] == [
        [name] for name in ("n0.md", "n1.md", "n2.md", "n4.md", "new.md")
    ]
    assert {part.stat().st_mode & 0o777 for part in path.parent.iterdir()} == {0o600}
