"""Filters over metadata, from front matter to the command line."""

import pytest
from instep_process import wait_until


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    for name, front in {
        "a": "lang: en\ntags: [nats, go]\ncreated_at: 2026-01-31",
        "b": "lang: de\ndraft: true\ncreated_at: 2025-12-31T23:00:00Z",
        "c": "lang: en\ncreated_at: soon",
    }.items():
        (folder / f"{name}.md").write_text(f"---\n{front}\n---\n# Lamps\n\nA lantern of {name}.\n")
    return folder


def test_documents_are_filtered_by_the_fields_that_the_settings_declare(instep, notes):
    kinds = {"language": "keyword", "tags": "keywords", "created_at": "date", "draft": "boolean"}
    instep.env |= {f"INSTEP_SOURCES__NOTES__FIELDS__{n.upper()}": k for n, k in kinds.items()}
    instep.up(notes)
    wait_until(lambda: set(instep.found("lantern")) == {"a.md", "b.md", "c.md"})

    def found(written):
        hits = instep.json("search", "lantern", f"--filter={written}")["hits"]
        return sorted(hit["document"]["path"] for hit in hits)

    wait_until(lambda: instep.found("lantern") and len(set(instep.found("lantern"))) == 3)
    assert found("created_at>=2026-01-01") == ["a.md"]
    assert found("created_at<2026-01-01 or tags:go") == ["a.md", "b.md"]
    assert found("-draft") == ["a.md", "c.md"]
    assert found("language:en") == ["a.md", "c.md"]  # as it is shown; front matter says `lang`
    assert found("-language:en") == ["b.md"]
    assert found('{"not": {"field": "created_at", "exists": true}}') == ["c.md"]
    refused = instep("search", "lantern", "--filter", "lang:en")
    assert (refused.returncode, "did you mean language?" in refused.stderr) == (2, True)
    assert "which is no date: filters take it as missing" in instep("show", "c.md").stdout
