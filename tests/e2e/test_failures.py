"""Documents that fail, hang or kill: the others are searchable, the reason is listed, a cure works.

The model is the fake that fails as texts ask it to (`shared/encoders/fake.py`).
"""

import pytest
from instep_process import wait_until

HEALTHY = 12


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    for n in range(HEALTHY):
        (folder / f"n{n}.md").write_text(f"# Note {n}\n\nAbout the harbour, part{n}.\n")
    return folder


@pytest.fixture
def instep(instep):
    instep.env["INSTEP_EMBEDDING__MODEL"] = "fake-64-faults"
    return instep


def failures_of(instep):
    listed = instep.json("failures", status=(0, 1))["failures"]
    return {row["path"]: row for row in listed}


def test_documents_that_kill_or_hang_the_model_fail_alone_and_no_service_ends(instep, notes):
    instep.env["INSTEP_EMBEDDING__TIMEOUT"] = "8s"
    (notes / "killer.md").write_text("# Killer\n\nA text with faultkill in it.\n")
    (notes / "hangs.md").write_text("# Hangs\n\nA text with faulthang in it.\n")

    process = instep.up(notes)
    wait_until(lambda: len(failures_of(instep)) == 2, within_s=180)
    wait_until(lambda: len(instep.found("harbour")) == HEALTHY, within_s=180)

    failures = failures_of(instep)
    assert {path: f["code"] for path, f in failures.items()} == {
        "killer.md": "model_failed",
        "hangs.md": "model_failed",
    }
    assert "ended by SIGKILL" in failures["killer.md"]["reason"]
    assert "did not end within" in failures["hangs.md"]["reason"]

    (notes / "killer.md").write_text("# Killer\n\nA text about armadillos.\n")
    wait_until(lambda: instep.found("armadillos")[:1] == ["killer.md"])
    wait_until(lambda: set(failures_of(instep)) == {"hangs.md"})
    assert process.poll() is None


def test_each_failure_has_a_reason_and_a_retry_and_harms_nobody(instep, notes):
    (notes / "refused.md").write_text("# One\n\nA text with faultrefuse in it.\n")
    (notes / "nan.md").write_text("# Two\n\nA text with faultnan in it.\n")
    (notes / "busy.md").write_text("# Three\n\nA text with faultbusy2 and marmalade.\n")
    instep.up(notes)
    healthy = {f"n{n}.md" for n in range(HEALTHY)}
    wait_until(lambda: len(failures_of(instep)) == 2, within_s=180)
    wait_until(lambda: "busy.md" in instep.found("marmalade"), within_s=180)
    wait_until(lambda: healthy <= set(instep.found("harbour")), within_s=180)

    assert {f["code"] for f in failures_of(instep).values()} == {"model_failed"}
    assert instep.json("status")["documents"]["failed"] == 2
    assert instep.json("show", "refused.md")["state"] == "failed"

    dismissed = instep.json("failures", "dismiss", "nan.md", "--yes")
    retried = instep.json("retry", "--code", "model_failed", status=(0, 1))
    wait_until(lambda: set(failures_of(instep)) == {"refused.md"}, within_s=180)

    assert (dismissed["done"], retried["done"]) == (1, 1)
    assert instep.json("show", "nan.md")["state"] == "dropped"
