"""Pages of a site, and the command line as processes."""

import pytest
import web_server
from instep_process import FAKE, wait_until


@pytest.fixture
def site(instep):
    with web_server.running() as site:
        instep.env = FAKE | {
            "INSTEP_SOURCES__SITE__ALLOW_PRIVATE": "127.0.0.1",
            "INSTEP_SOURCES__SITE__DELAY": "0s",
            "INSTEP_SOURCES__SITE__RESCAN": "200ms",
        }
        yield site


def worded(instep, word):
    """Paths of the documents that have this word."""
    answer = instep.json("search", word, "-n", 50, "--mode", "keyword")
    return [hit["document"]["path"] for hit in answer["hits"]]


def page(title, text):
    return f"<html><head><title>{title}</title></head><body><p>{text}</p></body></html>".encode()


@pytest.mark.nats
def test_a_site_is_followed_as_a_folder_is(instep, site):
    site.pages |= {"guide/a": page("Harbour", "lantern by the quay"), "b?": page("B", "keel")}
    site.pages["p.png"] = b"no text"
    site.pages["data.csv"] = b"name,depth\ncompass,3\n"
    site.types["data.csv"] = "text/csv"
    url, first = f"{site.url}/sitemap.xml", site.address("guide/a")
    instep.up(url, "--source", "site")
    wait_until(lambda: worded(instep, "lantern") == [first])
    assert worded(instep, "compass") == [site.address("data.csv")]

    site.pages["guide/a"] = page("Harbour", "anchor by the quay")
    wait_until(lambda: worded(instep, "anchor") == [first] and not worded(instep, "lantern"))
    site.pages["guide/c"] = site.pages.pop("guide/a")
    wait_until(lambda: worded(instep, "anchor") == [site.address("guide/c")])

    (seen,) = instep.json("status")["sources"]
    assert (seen["kind"], seen["path"], seen["error"]) == ("web", url, "")
    assert url in instep("sources").stdout
    shown = instep("show", f"site/{site.address('guide/c')}")
    assert (shown.returncode, "anchor" in shown.stdout) == (0, True), shown
    left_out = instep("show", "site/")
    assert ".png" in left_out.stdout, left_out
    checks = {c["name"]: c for c in instep.json("doctor", status=(0, 1))["checks"]}
    assert checks["source site"]["level"] == "ok"


@pytest.mark.nats
def test_the_records_of_a_page_are_followed_one_by_one(instep, site):
    instep.env |= {"INSTEP_SOURCES__SITE__RECORDS": "true"}
    site.pages["prices.jsonl"] = b'{"id": 1, "text": "lantern"}\n{"id": 2, "text": "keel"}\n'
    site.types["prices.jsonl"] = "application/x-ndjson"
    file = site.address("prices.jsonl")
    instep.up(f"{site.url}/sitemap.xml", "--source", "site")
    wait_until(
        lambda: (
            (worded(instep, "lantern"), worded(instep, "keel")) == ([f"{file}#1"], [f"{file}#2"])
        )
    )

    shown = instep("show", f"site/{file}")
    listed = instep.json("show", f"{file}#2")

    assert shown.returncode == 2
    assert f"site/{file} is no document itself: its 2 records are documents" in shown.stderr
    assert f"instep show site/{file}#1" in shown.stderr.replace("'", "")
    assert listed["state"] == "searchable"
    site.pages["prices.jsonl"] = b'{"id": 2, "text": "keel"}\n{"id": 3, "text": "buoy"}\n'
    wait_until(lambda: worded(instep, "buoy") == [f"{file}#3"])
    wait_until(lambda: not worded(instep, "lantern"))


@pytest.mark.nats
def test_a_run_of_once_takes_what_has_changed_since_the_last(instep, site):
    site.pages |= {"a": page("A", "lantern"), "b": page("B", "keel")}
    url = f"{site.url}/sitemap.xml"
    first = instep.json("up", url, "--source", "site", "--once")
    assert first["documents"]["searchable"] == 2
    site.pages["a"] = page("A", "anchor")
    del site.pages["b"]

    second = instep.json("up", url, "--source", "site", "--once")
    third = instep.json("up", url, "--source", "site", "--once")

    assert (second["documents"]["updated"], second["documents"]["searchable"]) == (1, 1)
    assert (third["chunks"]["embedded"], third["documents"]["searchable"]) == (0, 1)


@pytest.mark.parametrize(
    ("url", "words", "status"),
    [
        ("http://127.0.0.1:9/sitemap.xml", "name it in `allow_private`", 3),
        ("https://user:secret@h.org/sitemap.xml", "no user and no password", 2),
        ("http://2130706433/sitemap.xml", "four decimal numbers", 2),
    ],
)
def test_a_site_that_may_not_be_asked_is_named_with_the_reason(instep, url, words, status):
    instep.env = FAKE

    done = instep("up", url, "--once", timeout=120)

    assert (done.returncode, words in done.stderr) == (status, True), done.stderr
    assert "secret" not in done.stdout + done.stderr
