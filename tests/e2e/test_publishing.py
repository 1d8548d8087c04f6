"""`instep publish` before a running instance: each refusal is told, and ends in status 1."""

import base64
import json
from urllib.parse import quote
from urllib.request import Request, urlopen

import office_files as made
import pytest
import web_server
from instep_process import wait_until

from services.host.data_folder import DataFolder

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.nats, pytest.mark.stores]


@pytest.fixture
def running(instep):
    (instep.cwd / "docs").mkdir()
    instep.up("docs", "--port", 0)
    return instep


def lines(instep, *submissions):
    text = "".join(json.dumps(line) + "\n" for line in submissions)
    (instep.cwd / "l.jsonl").write_text(text, encoding="utf-8-sig")
    return ("publish", "l.jsonl", "--jsonl", "--source", "inbox")


def test_wait_ends_1_when_anything_was_refused_and_tells_the_line(running):
    sent = lines(
        running,
        {"path": "good.md", "text": "the harbour lantern"},
        {"path": "empty.md", "text": " "},
        {"path": "latin.txt", "data_base64": "/4H+gf+B/oH/gf6B/4E="},
        {"path": "../a.md", "text": "x"},
        {"path": "ref.md", "ref": {"url": "file:///etc/passwd"}},
        {"path": "broken.pdf", "data_base64": "JVBERi0xLjQgeA=="},
    )

    told = running.json(*sent, "--wait", 120, status=[1])
    done = running(*sent, "--wait", 120)

    where = {error["where"]: error["code"] for error in told["errors"]}
    assert where == {
        "l.jsonl:2": "empty",
        "l.jsonl:3": "wrong_encoding",
        "l.jsonl:4": "invalid_path",
        "l.jsonl:5": "reference_not_allowed",
        "l.jsonl:6": "corrupt",
    }
    assert (told["accepted"], told["refused"], told["timed_out"]) == (1, 5, False)
    assert done.returncode == 1
    assert "refused  empty.md (l.jsonl:2)  empty: " in done.stdout
    assert done.stderr.endswith("1 document accepted, 5 refused\n")
    assert running.found("lantern") == ["good.md"]


def test_a_bad_edit_of_a_good_document_ends_1_too(running):
    good = lines(running, {"path": "a.md", "text": "the harbour lantern"})
    assert running(*good, "--wait", 120).returncode == 0

    told = running.json(*lines(running, {"path": "a.md", "text": " "}), "--wait", 120, status=[1])

    assert [error["code"] for error in told["errors"]] == ["empty"]
    assert running.found("lantern") == ["a.md"]


def test_a_bad_name_of_a_source_leaves_no_message_behind(running):
    (running.cwd / "a.txt").write_text("hello")

    for name in ("Inbox", "my_notes", "my notes"):
        done = running("publish", "a.txt", "--source", name)
        assert done.returncode == 2
        assert "a source name has 1 to 40" in done.stderr

    assert running.json("failures")["failures"] == []


URLS = {
    "https://host/a//b.html?x=1&y=../z#part": "<p>the harbour <b>lantern</b></p>",
    "https://host/a//b.html?x=2": "<p>the harbour <b>buoy</b></p>",
    "https://host/?q=a b%2Fc": "the harbour gull",
    "http://other.md": "the harbour seal",
}


def test_a_url_is_the_path_of_a_document_everywhere(running):
    sent = lines(running, *({"path": url, "text": text} for url, text in URLS.items()))
    gateway = DataFolder(running.data).read_instance().gateway_url

    assert running(*sent, "--wait", 120).returncode == 0

    assert set(running.found("harbour")) == set(URLS)
    below = running.json("search", "harbour", "--filter", "path:https://host/a//b")["hits"]
    assert {hit["document"]["path"] for hit in below} == set(list(URLS)[:2])
    assert {hit["chunk"]["text"] for hit in below} == {"the harbour lantern", "the harbour buoy"}
    for url in URLS:
        for name in (url, f"inbox/{url}"):
            assert running.json("show", name)["path"] == url
        for safe in ("", "/:"):
            address = f"{gateway}/api/v1/documents/inbox/{quote(url, safe=safe)}"
            with urlopen(Request(address, headers=running.shown)) as answer:
                assert json.load(answer)["path"] == url
    page = (running.cwd / "page.html").write_text("<p>the harbour <i>pilot</i></p>")
    assert page
    first, about = next(iter(URLS)), "https://host/about"
    for path in (first, about):
        done = running("publish", "page.html", "--path", path, "--source", "inbox", "--wait", 120)
        assert done.returncode == 0
    assert set(running.found("pilot")) >= {first, about}
    assert "<i>" not in running("show", about, "--full").stdout
    for path in (first, about):
        gone = running("publish", path, "--source", "inbox", "--delete", "--wait", 120)
        assert (gone.returncode, path in gone.stdout) == (0, True)
    assert set(running.found("harbour")) == set(URLS) - {first}


def of_each(word):
    return {
        "paper.pdf": made.pdf([[(11, 690, f"The word is {word}.")]]),
        "letter.docx": made.docx(lambda d: d.add_paragraph(f"The word is {word}.")),
        "mail.eml": f"Subject: Letter\n\nThe word is {word}.".encode(),
        "page.html": f"<p>The word is <b>{word}</b>.</p>".encode(),
    }


TYPES = {
    "paper.pdf": "application/pdf",
    "letter.docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "mail.eml": "message/rfc822",
    "page.html": "text/html; charset=utf-8",
}


def told(instep, word):
    hits = instep.json("search", word, "--mode", "keyword", "-n", 50)["hits"]
    return {hit["document"]["path"] for hit in hits if f"word is {word}" in hit["chunk"]["text"]}


@pytest.fixture
def site():
    with web_server.running() as site:
        yield site


def test_files_of_any_format_are_pushed_edited_and_deleted(running, site):
    library = running.cwd / "library"
    library.mkdir()
    running.stop()
    running.env |= {
        "INSTEP_SOURCES__INBOX__KIND": "push",
        "INSTEP_SOURCES__INBOX__ALLOW_REFERENCES": json.dumps([library.as_uri(), f"{site.url}/d"]),
        "INSTEP_SOURCES__INBOX__ALLOW_PRIVATE": "127.0.0.1",
    }
    running.up("docs", "--port", 0)
    for word in ("zanzibara", "zanzibarb"):
        files = of_each(word)
        for name, data in files.items():
            (library / name).write_bytes(data)
            (running.cwd / name).write_bytes(data)
            site.pages[f"d/{name}"], site.types[f"d/{name}"] = data, TYPES[name]
        as_bytes = [
            {
                "path": f"bytes/{n}",
                "media_type": TYPES[name],
                "data_base64": base64.b64encode(data).decode(),
            }
            for n, (name, data) in enumerate(files.items())
        ]
        by_reference = [
            {"path": f"ref/{name}", "ref": {"url": (library / name).as_uri(), "etag": word}}
            for name in files
        ] + [
            {"path": f"https://example.org/{n}?a=b", "ref": {"url": f"{site.url}/d/{name}"}}
            for n, name in enumerate(files)
        ]
        typed = running("publish", *files, "--source", "inbox", "--wait", 120)
        sent = running(*lines(running, *as_bytes, *by_reference), "--wait", 120)
        assert (typed.returncode, sent.returncode) == (0, 0), typed.stdout + sent.stdout
        everywhere = {*files, *(one["path"] for one in (*as_bytes, *by_reference))}
        assert told(running, word) == everywhere
    assert told(running, "zanzibara") == set()

    gone = running("publish", *sorted(everywhere), "--source", "inbox", "--delete", "--wait", 120)

    assert gone.returncode == 0
    assert told(running, "zanzibarb") == set()


def test_what_is_too_large_for_a_message_is_pushed_all_the_same(running):
    ballast = {"Ballast": "x" * 5_000_000}
    files = {
        "big.pdf": made.pdf([[(11, 690, "The word is zanzibara.")]], properties=ballast),
        "big.txt": b"The word is zanzibara.\n" + b"\n" * 3_000_000,
    }
    for name, data in files.items():
        (running.cwd / name).write_bytes(data)
    line = {"path": "line.txt", "title": "L", "text": "The word is zanzibara." + "\n" * 2_000_000}

    typed = running("publish", *files, "--source", "inbox", "--wait", 120)
    sent = running(*lines(running, line, {"path": "a.md", "text": "x"}), "--wait", 120)

    assert (typed.returncode, sent.returncode) == (0, 0), typed.stdout + sent.stdout
    assert typed.stderr.endswith("2 documents accepted\n")
    assert told(running, "zanzibara") == {*files, "line.txt"}
    assert running.json("failures")["failures"] == []
    (running.cwd / "big.txt").write_bytes(files["big.txt"].replace(b"zanzibara", b"zanzibarb"))
    assert running("publish", "big.txt", "--source", "inbox", "--wait", 120).returncode == 0
    assert told(running, "zanzibarb") == {"big.txt"}
    assert told(running, "zanzibara") == {"big.pdf", "line.txt"}


def test_a_reference_to_the_web_is_read_by_the_rules_of_its_source_only(running, site):
    site.pages["a.md"] = b"the harbour lantern"
    document = {"path": "https://example.org/a", "ref": {"url": f"{site.url}/a.md"}}
    without = running.json(*lines(running, document), "--wait", 120, status=[1])
    running.stop()
    running.env |= {
        "INSTEP_SOURCES__INBOX__KIND": "push",
        "INSTEP_SOURCES__INBOX__ALLOW_REFERENCES": site.url,
    }
    running.up("docs", "--port", 0)

    private = running.json(*lines(running, document), "--wait", 120, status=[1])

    told = [(error["where"], error["code"]) for error in (*without["errors"], *private["errors"])]
    assert told == [("l.jsonl:1", "reference_not_allowed")] * 2
    assert "ref.url: 127.0.0.1 is an address of a private" in private["errors"][0]["detail"]
    assert site.asked == []


def test_two_sources_may_use_one_batch_id(running):
    for source, paths in (("inbox", ("a.md", "b.md")), ("wiki", ("c.md",))):
        batch = {"id": "nightly", "count": len(paths), "source": source}
        batch["started_at"] = "2026-01-01T00:00:00Z"
        sent = lines(running, *({"path": p, "text": f"page {p}", "batch": batch} for p in paths))
        done = running(*sent[:-1], source, "--wait", 120)
        assert done.returncode == 0, done.stdout

    def counted(source):
        done = running("report", "nightly", "--source", source, "--json")
        return done.returncode == 0 and json.loads(done.stdout)["batch"]

    for source, count in (("inbox", 2), ("wiki", 1)):
        batch = wait_until(lambda source=source: counted(source))
        assert (batch["source"], batch["count"]) == (source, count)


def test_an_inactive_document_is_known_and_not_found_and_active_again_without_the_model(running):
    """Over the real bus and store; neither validation nor sweep takes it for a fault."""
    document = {"path": "a.md", "text": "the harbour lantern"}
    other = {"path": "b.md", "text": "the lantern of the tower"}

    def publish(*submissions):
        return running(*lines(running, *submissions), "--wait", 120).returncode

    def embedded():
        return running.json("show", "inbox/a.md")["served"]["encoded"]

    assert publish(document, other) == 0
    assert (sorted(running.found("lantern")), embedded()) == (["a.md", "b.md"], 1)

    assert publish(document | {"is_active": False, "static_score": 0.5}) == 0

    assert running.found("lantern") == ["b.md"]
    shown = running.json("show", "inbox/a.md")
    assert (shown["state"], shown["served"]["static_score"]) == ("inactive", 0.5)
    assert len(shown["chunks"]) == 1
    assert running.json("status")["documents"]["inactive"] == 1
    assert "1 inactive" in running("status").stdout
    assert "INACTIVE" in running("show", "inbox/a.md").stdout
    assert running.json("validate")["passed"]
    swept = running.json("sweep")
    assert (swept["resubmitted"], swept["clean"]) == (0, True)

    assert publish(document | {"static_score": 3}) == 0

    assert sorted(running.found("lantern")) == ["a.md", "b.md"]
    assert embedded() == 0
    hits = running.json("search", "lantern")["hits"]
    scores = {hit["document"]["path"]: hit["document"]["static_score"] for hit in hits}
    assert scores == {"a.md": 3.0, "b.md": None}
    assert running.json("show", "inbox/a.md")["served"]["inserted"] == 0


def test_a_template_that_is_given_later_has_only_other_texts_embedded(instep):
    """Over the real bus and store, with a restart between two settings."""
    settings = instep.cwd / "instep.toml"
    (instep.cwd / "docs").mkdir()
    settings.write_text('[sources.inbox]\nkind = "push"\n')
    instep.up("docs", "--port", 0)
    sent = lines(
        instep,
        {
            "path": "a.md",
            "title": "Hose",
            "text": "It does not kink.",
            "metadata": {"brand": "Acme"},
        },
        {"path": "b.md", "text": "It has neither title nor brand."},
    )
    assert instep(*sent, "--wait", 120).returncode == 0

    def revisions():
        return [instep.json("show", f"inbox/{n}")["served"]["sequence"] for n in ("a.md", "b.md")]

    before = revisions()
    instep.stop()
    template = "{title} {title} {brand}\\n{text}"
    settings.write_text(
        f'[sources.inbox]\nkind = "push"\n[sources.inbox.chunking]\ntemplate = "{template}"\n'
    )
    instep.up("docs", "--port", 0)

    def are_cut_again():
        return all(new > old for new, old in zip(revisions(), before, strict=True))

    wait_until(are_cut_again, within_s=120)
    a, b = (instep.json("show", f"inbox/{name}") for name in ("a.md", "b.md"))
    assert [chunk["embedded"] for chunk in a["chunks"]] == ["Hose Hose Acme\nIt does not kink."]
    assert [chunk["embedded"] for chunk in b["chunks"]] == ["It has neither title nor brand."]
    assert (a["served"]["encoded"], b["served"]["encoded"]) == (1, 0)
    assert a["metadata"]["brand"] == "Acme"
    assert not [name for name in a["metadata"] if name.startswith("instep:")]
    assert "Hose Hose Acme" in instep("show", "inbox/a.md", "--chunks").stdout
    assert instep.json("validate")["passed"]
    assert instep.json("sweep")["clean"]
    assert instep.found("kink")[0] == "a.md"
