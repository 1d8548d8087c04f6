"""The page of a real instance, as a browser without JavaScript uses it: links, forms, a cookie."""

import html
import http.cookiejar
import re
import urllib.error
import urllib.parse
import urllib.request

import pytest
from instep_process import wait_until

from services.host.data_folder import DataFolder

pytestmark = [pytest.mark.slow, pytest.mark.nats, pytest.mark.stores]

HOSTILE = "<script>alert(1)<.md"
DOCUMENTS = 26


class Visitor:
    """A browser that came by the link of `instep open`."""

    def __init__(self, instep) -> None:
        self.instep = instep
        self.url = DataFolder(instep.data).read_instance().gateway_url.rstrip("/")
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.browser = urllib.request.build_opener(jar)

    def enter(self) -> None:
        link = self.instep("open", "--print").stdout.strip()
        assert "url=/" in self.browser.open(link, timeout=60).read().decode()

    def __call__(self, path, fields=None):
        """Status, page, and where it ended."""
        body = None if fields is None else urllib.parse.urlencode(fields).encode()
        headers = {"Accept": "text/html", "Origin": self.url} if body is not None else {}
        wanted = urllib.request.Request(
            self.url + path,
            body,
            {"Accept": "text/html", **headers},
            method="POST" if body is not None else "GET",
        )
        try:
            with self.browser.open(wanted, timeout=120) as answer:
                return answer.status, answer.read().decode(), answer.url.removeprefix(self.url)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), path

    def press(self, path, label):
        """Send the form of a page whose button begins with a label."""
        _, page, _ = self(path)
        for action, content in re.findall(
            r'<form method="post" action="([^"]*)">(.*?)</form>', page, re.DOTALL
        ):
            if re.search(rf"<button[^>]*>{re.escape(label)}", content):
                hidden = re.findall(r'name="([^"]*)" value="([^"]*)"', content)
                fields = [(name, html.unescape(value)) for name, value in hidden]
                return self(html.unescape(action), fields)
        raise AssertionError(f"{path} has no button {label!r}:\n{page}")


@pytest.fixture
def instep(instep):
    instep.env["INSTEP_EMBEDDING__MODEL"] = "fake-64-faults"
    return instep


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    (folder / "guide").mkdir(parents=True)
    for n in range(DOCUMENTS - 1):
        (folder / "guide" / f"n{n}.md").write_text(f"# Note {n}\n\nlantern unique{n}\n")
    (folder / HOSTILE).write_text("# <script>alert(2)</script>\n\nA name that is no markup.\n")
    (folder / "empty.md").write_text("")
    (folder / "bad.md").write_text("# Bad\n\nA text with faultrefuse in it.\n")
    return folder


def test_a_person_walks_all_pages_and_does_every_action(instep, docs, tmp_path):
    instep.up(docs, "--port", 0)
    wait_until(lambda: instep.json("status")["documents"]["failed"] == 1)
    wait_until(lambda: instep.json("status")["documents"]["searchable"] == DOCUMENTS)
    visit = Visitor(instep)

    status, page, _ = visit("/")
    assert (status, "instep open" in page) == (401, True)
    visit.enter()
    _walks_everywhere(visit)
    _retries_and_dismisses(instep, visit)
    _decides_about_removals(instep, visit, docs, tmp_path)
    _removes_what_was_sent(instep, visit)

    _, page, at = visit.press("/", "Compare now")
    assert (at, "are being compared" in page) == ("/?did=compare", True)


def _walks_everywhere(visit):
    """Every link of every page leads to a page, and none shows a name as markup."""
    wanted, seen = ["/"], {}
    while wanted:
        path = wanted.pop()
        if path in seen or path.startswith("/api/"):
            continue
        status, page, _ = seen[path] = visit(path)
        assert status == 200, path
        assert "<script>alert" not in page, path
        wanted += [html.unescape(href) for href in re.findall(r'<a [^>]*?href="(/[^"#]*)', page)]
    kinds = {re.match(r"/[a-z]*/?", path)[0] for path in seen}

    assert kinds >= {"/", "/documents", "/documents/", "/failures", "/removals", "/sources"}
    assert kinds >= {"/sources/", "/batches", "/batches/"}
    assert "2 things need you" in seen["/"][1]
    assert any("&lt;script&gt;alert(1)" in page for _, page, _ in seen.values())


def _retries_and_dismisses(instep, visit):
    _, page, at = visit.press("/failures?state=refused", "Retry all of them")
    assert (at, "1 document sent again." in page) == ("/failures?did=retry&done=1", True)
    _, page, at = visit.press("/failures?code=model_failed", "Dismiss")
    assert (at, "1 document dismissed." in page) == ("/failures?did=dismiss&done=1", True)
    wait_until(lambda: instep.json("status")["documents"]["dropped"] == 1)


def _decides_about_removals(instep, visit, docs, tmp_path):
    (docs / "guide").rename(tmp_path / "gone")
    wait_until(lambda: instep.json("status")["documents"]["held"] == DOCUMENTS - 1)
    _, page, _ = visit("/")
    assert "Not in step" in page
    assert f"docs: {DOCUMENTS - 1} of {DOCUMENTS + 2} documents vanished" in page

    _, page, at = visit.press("/removals", "Keep them")
    assert (at, "You have decided to keep them" in page) == ("/removals?did=reject&done=25", True)
    _, page, at = visit.press("/removals", "Remove 25 documents")
    assert (at, "No removal waits" in page) == ("/removals?did=approve&done=25", True)
    wait_until(lambda: instep.json("status")["documents"]["searchable"] == 1)


def _removes_what_was_sent(instep, visit):
    for name in ("sent.md", "other.md"):
        address = f"{visit.url}/api/v1/sources/inbox/documents/{name}?wait=60"
        sent = urllib.request.Request(address, b"# Sent", instep.shown, method="PUT")
        urllib.request.urlopen(sent, timeout=120).close()

    def listed():
        page = visit("/documents?source=inbox&prefix=sent")[1]
        return re.findall(r'href="(/documents/[a-z2-7]{26})"', page)

    (key,) = wait_until(listed)
    (own,) = re.findall(
        r'href="(/documents/[a-z2-7]{26})"', visit("/documents?source=docs&prefix=empty")[1]
    )
    assert "Remove it from the index" not in visit(own)[1]

    _, page, at = visit.press(key, "Remove it from the index")
    assert (at, "The removal is on its way" in page) == (f"{key}?did=remove", True)
    wait_until(lambda: instep.json("status")["documents"]["searchable"] == 2)
    _, page, at = visit("/sources/inbox/forget", [])
    assert (at, "1 document taken out" in page) == ("/sources?did=forget&done=1", True)
