"""Questions that mean something to a query language, asked of an instance that works for real."""

import http.client
import json
from urllib.parse import quote, urlsplit

import pytest
from instep_process import wait_until

from services.host.data_folder import DataFolder

WORDS = ("lantern", "harbour", "violin", "granite", "orchard", "copper")


@pytest.fixture(params=["sqlite", "lancedb"])
def written(request, instep, tmp_path):
    """An instance whose store has been merged or compacted since its documents were written."""
    instep.env |= {"INSTEP_STORE__KIND": request.param}
    notes = tmp_path / "notes"
    notes.mkdir()
    instep.up(notes)
    for n, word in enumerate(WORDS):
        (notes / f"{n}.md").write_text(f"# Note {n}\n\nThe {word} is here.\n")
        wait_until(lambda n=n, word=word: f"{n}.md" in instep.found(word))
    if request.param == "lancedb":
        wait_until(lambda: list((instep.data / "store").glob("*.lance/_indices/*/part_*")))
    else:
        instep.stop()
        instep.up(notes)
        wait_until(lambda: instep.found(WORDS[0]))  # it answers before the store is open
    return instep


def asked(instep, q, mode):
    """Status and paths of a question that is put to the gateway."""
    where = urlsplit(DataFolder(instep.data).read_instance().gateway_url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    connection.request("GET", f"/api/v1/search?q={quote(q)}&mode={mode}", headers=instep.shown)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    return answer.status, [hit["document"]["path"] for hit in body.get("hits", ())]


def test_a_quoted_question_finds_its_words_after_a_compaction(written):
    for mode in ("keyword", "hybrid"):
        for q in ('"lantern"', '"the lantern" "is"', '"lantern', "lantern AND", "(lantern"):
            status, paths = asked(written, q, mode)

            assert (status, paths[:1]) == (200, ["0.md"]), q
    empty = asked(written, '""', "keyword")
    by_command = written("search", '"lantern"')

    assert empty == (200, [])
    assert by_command.returncode == 0
    assert "notes/0.md" in by_command.stdout
    assert not written.said("Traceback")
