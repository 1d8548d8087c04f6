"""Pages for people: who may open them, what they load, and that they show text as text."""

import re
from html.parser import HTMLParser

import pytest
from limited_world import CANARIES, KEY_OF_OTHER, OTHER, PATH, asked, clean

from services.gateway.pages.render import TYPES, asset, asset_link, environment
from services.gateway.pages.table import PAGES
from shared.domain.errors import StoreUnavailable
from shared.domain.ids import doc_key
from shared.domain.ordering import Reason

OWNER = {"Authorization": f"Bearer {'o' * 40}"}
HTML = {"Accept": "text/html"}
SHOWN = {
    "overview": ("/",),
    "search": (
        "/search",
        "/search?q=zebra",
        "/search?q=zebra&source=other&filter=path:x",
        "/search?q=zebra&limit=0",
        "/search?similar=docs/none.md",
    ),
    "upload": ("/upload",),
    "documents": (
        "/documents",
        "/documents?limit=1",
        "/documents?state=failed&source=docs&prefix=b&stale=1",
        f"/documents?source={OTHER}",
    ),
    "document": (
        "/documents/guide/a.md",
        "/documents/docs/b.md?show=diff",
        "/documents/docs/bad.md?show=diff",
        "/documents/guide/a.md?show=similar",
        "/documents/docs/bad.md?show=similar",
    ),
    "failures": ("/failures", "/failures?code=encrypted", "/failures?state=dropped"),
    "removals": ("/removals",),
    "sources": ("/sources",),
    "source": ("/sources/docs",),
    "batches": ("/batches", "/batches?limit=1", "/batches?source=docs"),
    "batch": ("/batches/b1?source=docs", "/batches/opened?source=docs"),
}
"""Addresses of every page that shows something."""

NONE = [
    f"/documents/{KEY_OF_OTHER}",
    f"/documents/{OTHER}/{PATH}?show=diff",
    f"/sources/{OTHER}",
    "/sources/zanzibar-old",
    f"/batches/b1?source={OTHER}",
    "/batches/zb",
    f"/failures?source={OTHER}",
]
"""Addresses of what a key of some sources must not see."""


class Loads(HTMLParser):
    """What a page loads, runs and sends."""

    def __init__(self, page):
        super().__init__()
        self.addresses, self.inline, self.forms = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag in ("link", "script", "img"):
            self.addresses.append(found.get("href") or found.get("src") or "")
        if tag == "form":
            self.forms.append(found.get("action", ""))
        self.inline += [name for name in found if name.startswith("on") or name == "style"]
        if (tag == "script" and "src" not in found) or tag == "style":
            self.inline.append(tag)


def test_every_page_of_the_table_is_opened_by_a_test():
    assert {name for name, row in PAGES.items() if row.place.method == "GET"} == {
        *SHOWN,
        "static_file",
        "sign_in",
    }


@pytest.mark.parametrize("path", [path for paths in SHOWN.values() for path in paths])
async def test_a_page_loads_its_own_files_only_and_runs_nothing_inline(path):
    async with asked(other=True) as (_, client):
        response = await client.get(path, headers=HTML | OWNER)
        page = Loads(await response.text())

    assert response.status == 200
    assert response.headers["Cache-Control"] == "no-store"
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert set(page.addresses) <= {asset_link(name) for name in TYPES}
    assert page.inline == []
    assert all(action.startswith("/") for action in page.forms)


@pytest.mark.parametrize("path", [path for paths in SHOWN.values() for path in paths] + NONE)
async def test_other_sources_leave_no_trace_on_a_page(path):
    async with asked(other=True) as (_, client), asked(other=False) as (_, alone):
        found, expected = [
            await client.get(path, headers=HTML),
            await alone.get(path, headers=HTML),
        ]
        text, same = [_of_no_request(await r.text()) for r in (found, expected)]

    assert found.status == expected.status < 500
    assert text == same
    said = [canary for canary in CANARIES if canary in text and canary not in path]
    assert said == []


def _of_no_request(text):
    text = re.sub(r"[0-9.]+ ms|127\.0\.0\.1:\d+", "", clean(text))
    return re.sub(r"request [0-9a-f]{32}", "", text)


async def test_the_owner_s_overview_shows_the_other_source():
    async with asked(other=True) as (_, client):
        text = await (await client.get("/", headers=HTML | OWNER)).text()

    assert OTHER in text
    assert "3 of 9 documents vanished" in text
    assert "/failures?code=encrypted&amp;state=refused" in text


ACTIONS = {
    "retry": ("/failures/retry", {"ids": doc_key("docs", "bad.md")}, "/failures?did=retry&done=1"),
    "dismiss": ("/failures/dismiss", {"code": "exhausted"}, "/failures?did=dismiss&done=1"),
    "approve": ("/removals/docs/approve", {}, "/removals?did=approve&done=3"),
    "reject": ("/removals/docs/reject", {}, "/removals?did=reject&done=3"),
    "forget": ("/sources/inbox/forget", {}, "/sources?did=forget&done=3"),
    "remove": (
        f"/documents/{doc_key('inbox', 'sent.md')}/remove",
        {},
        f"/documents/{doc_key('inbox', 'sent.md')}?did=remove",
    ),
}


def test_every_action_is_done_by_a_test():
    posts = {name for name, row in PAGES.items() if row.place.method == "POST"}

    assert posts == {*ACTIONS, "compare", "send_upload"}


@pytest.mark.parametrize("name", sorted(ACTIONS))
async def test_an_action_goes_on_to_a_page_that_tells_its_outcome(name):
    path, fields, on = ACTIONS[name]
    async with asked(other=True) as (world, client):
        await world.index.put("sent.md", ["sent"], source="inbox")
        response = await client.post(path, data=fields, headers=HTML, allow_redirects=False)
        told = await (await client.get(response.headers["Location"], headers=HTML)).text()

    assert response.status == 303
    assert response.headers["Location"].startswith(on)
    assert 'class="notice"' in told


@pytest.mark.parametrize("name", sorted(ACTIONS))
async def test_a_form_of_another_site_is_refused(name):
    path, fields, _ = ACTIONS[name]
    async with asked(other=True) as (world, client):
        for more in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            response = await client.post(path, data=fields, headers=HTML | OWNER | more)

            assert response.status == 403
        assert world.done == []


@pytest.mark.parametrize("name", sorted(ACTIONS))
async def test_an_action_needs_the_scope_of_its_operation(name):
    path, fields, _ = ACTIONS[name]
    async with asked(other=True) as (world, client):
        text, _ = await world.keys.create("reads", ("read",), None, None)
        key = {"Authorization": f"Bearer {text}"}
        await world.index.put("sent.md", ["sent"], source="inbox")
        response = await client.post(path, data=fields, headers=HTML | key)
        refused = await response.text()
        pages = [
            await (await client.get(path, headers=HTML | key)).text()
            for path in ("/", "/failures", "/removals", "/sources/inbox", "/documents/docs/bad.md")
        ]

    assert response.status == 403
    assert "the scope" in refused
    assert not any("<form method" in page for page in pages)  # no button that would be refused


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/failures/retry", {"ids": "quokka/bad.md"}),
        ("/failures/dismiss", {"source": OTHER}),
        (f"/removals/{OTHER}/approve", {}),
        ("/sources/zanzibar-old/forget", {}),
        (f"/documents/{KEY_OF_OTHER}/remove", {}),
        ("/compare", {}),
    ],
)
async def test_an_action_does_nothing_to_other_sources(path, fields):
    async with asked(other=True) as (world, client), asked(other=False) as (_, alone):
        found, expected = [
            await one.post(path, data=fields, headers=HTML, allow_redirects=False)
            for one in (client, alone)
        ]
        same = [_of_no_request(await r.text()) for r in (found, expected)]
        assert world.done == []

    assert found.status == expected.status
    assert same[0] == same[1]


def buttons(page, label):
    """The fields of each form whose button begins with a label."""
    forms = re.findall(r"<form method.*?</form>", page, re.DOTALL)
    return [
        re.findall(r'name="([^"]*)" value="([^"]*)"', form)
        for form in forms
        if re.search(rf"<button[^>]*>{label}", form)
    ]


@pytest.mark.parametrize(
    ("query", "label", "done"),
    [
        ({"path": "bad.md"}, "Dismiss all", 1),
        ({"state": "failed", "code": "exhausted"}, "Dismiss all", 2),
        ({"source": "docs", "stage": "index"}, "Dismiss all", 2),
        ({}, "Dismiss all", 2),
    ],
)
async def test_a_button_for_all_acts_on_those_that_the_page_lists(query, label, done):
    async with asked(other=False) as (world, client):
        await world.index.begin("worse.md", ["barnacles"])
        await world.index.fail("worse.md")
        page = await (await client.get("/failures", params=query, headers=HTML)).text()
        fields = next(one for one in buttons(page, label) if ("code", "malformed") not in one)
        response = await client.post(
            "/failures/dismiss", data=fields, headers=HTML, allow_redirects=False
        )

    assert response.headers["Location"] == f"/failures?did=dismiss&done={done}"


async def test_a_button_of_a_group_leaves_another_state_with_its_code_alone():
    reason = Reason("exhausted", "it is refused with the code of another")
    async with asked(other=False) as (world, client):
        await world.index.put("odd.md", [], outcome="refused", reason=reason)
        page = await (await client.get("/failures", headers=HTML)).text()

    chosen = [one for one in buttons(page, "Retry all") if ("code", "malformed") not in one]
    ids = [{value for name, value in one if name == "ids"} for one in chosen]
    assert sorted(len(one) for one in ids) == [0, 1, 1]  # encrypted, by code; exhausted, by id


@pytest.mark.parametrize(
    ("scopes", "status", "on"), [(("read",), 303, "/"), (("search",), 303, "/search")]
)
async def test_a_key_of_any_scope_signs_in_to_the_first_page_that_it_opens(scopes, status, on):
    async with asked(other=True) as (world, client):
        text, _ = await world.keys.create("some", scopes, None, None)
        key = {"Authorization": f"Bearer {text}"}
        response = await client.get("/sign-in", headers=HTML | key, allow_redirects=False)

    assert (response.status, response.headers.get("Location")) == (status, on)


async def test_a_key_that_opens_no_page_is_told_so():
    async with asked(other=True) as (world, client):
        text, _ = await world.keys.create("admin", ("admin",), None, None)
        key = {"Authorization": f"Bearer {text}"}
        response = await client.get("/sign-in", headers=HTML | key)
        page = await response.text()

    assert (response.status, "This key opens no page" in page) == (403, True)


async def test_a_page_tells_a_browser_when_to_ask_again():
    async def away():
        raise StoreUnavailable("down")

    async with asked(other=False) as (world, client):
        world.index.looks.observe = away
        response = await client.get("/", headers=HTML)

    assert (response.status, response.headers["Retry-After"]) == (503, "1")


async def test_what_could_not_be_done_is_told_with_the_reason():
    async with asked(other=True) as (_, client):
        response = await client.post("/failures/dismiss", data={"ids": "docs/odd.pdf"})
        page = await response.text()

    assert response.status == 200
    assert "It stays in the list until the document is changed" in page


@pytest.mark.parametrize("body", [b"ids=\xff", b"&".join(b"a=1" for _ in range(2000))])
async def test_a_body_that_is_no_form_is_refused(body):
    async with asked(other=True) as (_, client):
        response = await client.post("/failures/retry", data=body, headers=HTML)

    assert response.status == 400


async def test_who_has_no_session_is_told_how_to_get_one():
    async with asked(other=True) as (_, client):
        response = await client.get("/", headers=HTML | {"Authorization": ""})
        page = await response.text()
        program = await client.get("/", headers={"Authorization": ""})

    assert (response.status, response.content_type) == (401, "text/html")
    assert "instep open" in page
    assert response.headers["WWW-Authenticate"].startswith("Bearer")  # or a browser asks first
    assert "<nav" not in page
    assert (program.status, program.content_type) == (401, "application/problem+json")


async def test_a_browser_signs_in_with_a_key():
    async with asked(other=True) as (_, client):
        before = await client.get("/sign-in", headers=HTML | {"Authorization": ""})
        after = await client.get("/sign-in", headers=HTML, allow_redirects=False)

    assert (before.status, before.headers["WWW-Authenticate"]) == (401, 'Basic realm="instep"')
    assert (after.status, after.headers["Location"]) == (303, "/")


async def test_who_may_not_open_a_page_is_told_so_and_shown_those_that_they_may():
    async with asked(other=True) as (world, client):
        text, _ = await world.keys.create("reads", ("read",), None, None)
        key = {"Authorization": f"Bearer {text}"}
        refused = await client.post("/compare", headers=HTML | key)
        page = await refused.text()

    assert refused.status == 403
    assert "the scope operate" in page
    assert '<a href="/documents">Documents</a>' in page


async def test_an_address_that_is_none_is_refused_with_a_page():
    async with asked(other=True) as (_, client):
        response = await client.get("/<script>alert(1)</script>", headers=HTML | OWNER)
        page = await response.text()

    assert response.status == 404
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


async def test_a_file_of_the_page_is_kept_as_long_as_it_is_the_same():
    link, tag = asset_link("page.css"), asset("page.css").tag
    nobody = {"Authorization": ""}
    async with asked(other=False) as (_, client):
        found = await client.get(link, headers=nobody)
        again = await client.get(link, headers=nobody | {"If-None-Match": f'"{tag}"'})
        other = await client.get("/static/page.css?v=older", headers=nobody)
        none = await client.get("/static/page.py", headers=nobody)
        outside = await client.get("/static/..%2Frender.py", headers=nobody)

    assert (found.status, found.content_type) == (200, "text/css")
    assert "immutable" in found.headers["Cache-Control"]
    assert (again.status, again.headers["ETag"]) == (304, f'"{tag}"')
    assert other.headers["Cache-Control"] == "no-cache"
    assert (none.status, outside.status) == (404, 404)


@pytest.mark.parametrize("name", environment().list_templates())
def test_no_template_shows_a_value_as_html(name):
    source, _, _ = environment().loader.get_source(environment(), name)

    assert not re.search(r"\|\s*safe|autoescape|<script(?! src)|style=|\son\w+=", source)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ('" onclick="alert(1)', "&quot; onclick=&quot;alert(1)"),
        ("a\u202eb\x00", "a\\u202eb\\u0000"),
        (None, "-"),
        (1204, "1,204"),
        ("\u05e9\u05dc\u05d5\u05dd", "\u05e9\u05dc\u05d5\u05dd"),
    ],
)
def test_a_value_of_a_template_is_shown_as_text(value, shown):
    made = environment().from_string('<p title="{{ value }}">{{ value }}</p>')

    assert made.render(value=value) == f'<p title="{shown}">{shown}</p>'
