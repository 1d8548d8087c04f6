"""A report as a page: one file that needs nothing, hides nothing, and is not fooled."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from report_world import lines, mixed, record, report

from services.gateway.pages.history import history_page
from services.gateway.pages.layout import POLICY, wants_html
from services.gateway.pages.markup import text
from services.gateway.pages.report import report_page
from shared.batches.reports import Validation, validation_of

VOID = {"meta", "br", "rect", "line", "circle", "polyline"}
EVIL = '<script>alert("x")</script>\n\u202egpj.exe\'"&'


class Seen(HTMLParser):
    """Tags with attributes, and the text of a page; checks that tags are closed in order."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self.open, self.style = [], [], [], ""
        self.feed(page)
        assert self.open == [], self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.texts.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def pages():
    whole = mixed()
    yield "report", report_page(whole, lines(30))
    yield "without history", report_page(whole)
    yield "empty", report_page(report([], unchanged=5), lines(1))
    points = [validation_of(line) for line in lines(3)]
    points.append(
        Validation(kind="validate", at=points[0].at, source="", generation="g", passed=False)
    )
    yield "history", history_page(lines(20), points, "docs")
    yield "no history", history_page([], [])


ALL = dict(pages())


@pytest.mark.parametrize("page", ALL.values(), ids=list(ALL))
def test_a_page_needs_nothing_from_elsewhere_and_runs_nothing(page):
    seen = Seen(page)

    names = {tag for tag, _ in seen.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    for tag, attributes in seen.tags:
        assert "style" not in attributes, tag  # the policy would not let it
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "action", "xlink:href"):
            assert attributes.get(name, "/api/v1/").startswith("/api/v1/"), attributes
    assert "url(" not in seen.style
    assert "@import" not in seen.style
    assert re.findall(r"https?://[^\s\"<]+", page.replace("http://www.w3.org/2000/svg", "")) == []


@pytest.mark.parametrize("page", ALL.values(), ids=list(ALL))
def test_the_policy_allows_the_style_by_its_digest_and_nothing_else(page):
    seen = Seen(page)
    digest = base64.b64encode(hashlib.sha256(seen.style.encode()).digest()).decode()
    policies = [m["content"] for m in seen.all("meta") if "http-equiv" in m]

    assert policies == [POLICY]
    assert f"'sha256-{digest}'" in POLICY
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY


@pytest.mark.parametrize("page", ALL.values(), ids=list(ALL))
def test_a_page_can_be_read_without_seeing_its_pictures(page):
    seen = Seen(page)
    ids = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]

    assert seen.all("html") == [{"lang": "en"}]
    assert len(ids) == len(set(ids))
    for svg in seen.all("svg"):
        if svg.get("aria-hidden") != "true":
            assert svg["role"] == "img"
            assert set(svg["aria-labelledby"].split()) <= set(ids)
    assert page.count("<table>") == page.count("<caption>") == len(seen.all("thead"))
    assert all(th.get("scope") in ("row", "col") for th in seen.all("th"))
    assert page.count("<h1>") == 1


def test_every_number_of_a_chart_is_also_in_a_table():
    found = mixed()
    shown = Seen(report_page(found)).text

    for name in ("inserted", "updated", "removed", "refused", "failed", "unchanged"):
        assert re.search(rf"{name}\s+{getattr(found.documents, name)}\b", shown), name
    assert "1 min to 2 min 1" in shown
    assert "0.25 s to 0.5 s" in shown


def test_the_verdict_is_a_word_and_a_sign_and_not_only_a_colour():
    failed, passed = Seen(report_page(mixed())), Seen(report_page(report([record("a.md")])))
    short = Seen(report_page(report([record("a.md")], count=5, whole=False)))
    nothing = Seen(report_page(report([])))

    assert "✗ failed" in failed.text
    assert "✓ passed" in passed.text
    assert "! incomplete" in short.text
    assert "4 announced documents never came" in short.text
    assert "nothing to check" in nothing.text


@pytest.mark.parametrize("place", ["path", "reason", "batch", "question", "model"])
def test_what_comes_from_outside_is_shown_and_does_nothing(place):
    found = mixed()
    changed = {
        "path": {"slowest": (found.slowest[0].model_copy(update={"document": EVIL}),)},
        "reason": {"troubles": (found.troubles[0].model_copy(update={"reason": EVIL}),)},
        "batch": {"batch": found.batch.model_copy(update={"id": EVIL, "format": EVIL})},
        "question": {"samples": (found.samples[0].model_copy(update={"q": EVIL}),)},
        "model": {"model": EVIL},
    }[place]
    page = report_page(found.model_copy(update=changed))
    seen = Seen(page)

    assert seen.all("script") == []
    assert "<script" not in page
    assert '<script>alert("x")</script>' in seen.text  # as text
    assert "\u202e" not in page
    assert "\\u202egpj.exe'\"&" in seen.text


def test_a_link_to_a_batch_is_quoted():
    line = lines(1)[0]
    line = line.model_copy(update={"batch": line.batch.model_copy(update={"id": 'a"/../<b>?x=1'})})

    (link,) = Seen(history_page([line], [])).all("a")

    assert (
        link["href"] == "/api/v1/batches/a%22%2F..%2F%3Cb%3E%3Fx%3D1/report?source=docs&format=html"
    )


def test_emoji_and_foreign_letters_stay_as_they_are():
    assert text("ü 漢字 👩\u200d🔬") == "ü 漢字 👩\u200d🔬"
    assert text("a\tb\x00\u2067") == "a\\u0009b\\u0000\\u2067"
    assert text(1234) == "1,234"
    assert text(None) == "-"


@pytest.mark.parametrize(
    ("form", "accept", "page"),
    [
        ("", "text/html,application/xhtml+xml,*/*;q=0.8", True),
        ("", "*/*", False),
        ("", "", False),
        ("", "application/json, text/html", False),
        ("html", "application/json", True),
        ("json", "text/html", False),
    ],
)
def test_a_browser_gets_a_page_and_a_program_gets_json(form, accept, page):
    assert wants_html(form, accept) is page
