"""The form that takes files without scripts: what became of each, and what is wrong with it."""

import gzip
import re

import pytest
from aiohttp import FormData

HTML = {"Accept": "text/html"}


def form(source, *files):
    made = FormData(quote_fields=False, default_to_multipart=True)
    if source is not None:
        made.add_field("source", source)
    for name, data in files:
        made.add_field("file", data, filename=name)
    return made


async def sent(client, body, **headers):
    response = await client.post("/upload", data=body, headers=HTML | headers)
    return response.status, await response.text()


def rows(page):
    """The texts of the rows of the table, without markup."""
    body = page.partition('<tbody id="rows">')[2].partition("</tbody>")[0]
    cells = [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.DOTALL) for row in body.split("</tr>")]
    return [[" ".join(re.sub("<[^>]*>", "", c).split()) for c in row] for row in cells if row]


async def test_files_of_the_form_become_documents_of_one_batch(client, world, monkeypatch):
    monkeypatch.setattr("services.gateway.pages.upload.handlers.WAIT_S", 0.0)
    status, page = await sent(client, form("inbox", ("a.md", b"# A"), ("b.md", b"# B")))

    assert status == 200
    assert rows(page) == [["a.md", "… queued on its way"], ["b.md", "… queued on its way"]]
    assert await world.content("a.md") == b"# A"
    assert len({body["batch"]["id"] for body in world.intake.bodies}) == 1
    assert "2 files for inbox" in page


async def test_a_file_that_is_not_taken_says_why_beside_those_that_are(client, world, monkeypatch):
    monkeypatch.setattr("services.gateway.pages.upload.handlers.WAIT_S", 0.0)
    body = form("inbox", ("a.md", b"# A"), ("a.md", b"again"), ("../b.md", b"# B"))
    status, page = await sent(client, body)

    assert status == 200
    told = {(name, said.split()[1]): said for name, said in rows(page)}
    assert set(told) == {("a.md", "queued"), ("a.md", "refused"), ("../b.md", "refused")}
    assert "another file of the form has the same name" in told["a.md", "refused"]


@pytest.mark.parametrize(
    ("body", "place", "words"),
    [
        (form("inbox"), "file", "at least one file"),
        (form("docs", ("a.md", b"a")), "source", "watched"),
        (form("No Name", ("a.md", b"a")), "source", "a source name has"),
    ],
    ids=["no part", "watched", "no source"],
)
async def test_what_is_wrong_is_told_at_its_field(client, world, body, place, words):
    status, page = await sent(client, body)

    assert status == 200
    assert words in page.partition(f'id="{place}-told"')[2].partition("</p>")[0]
    assert not world.intake.bodies


async def test_a_browser_sends_an_empty_name_where_no_file_is_chosen(client, world):
    part = 'Content-Disposition: form-data; name="{}"\r\n\r\n{}\r\n--x'
    body = "--x\r\n" + part.format("source", "inbox") + "\r\n"
    body += part.format('file"; filename="', "") + "--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    status, page = await sent(client, body, **kind)

    assert status == 200
    assert "choose at least one file" in page


async def test_a_form_without_its_source_first_is_refused(client, world):
    status, page = await sent(client, form(None, ("a.md", b"a")))

    assert status == 400
    assert "source" in page
    assert not world.intake.bodies


async def test_the_form_of_another_site_is_refused(client, world):
    status, _ = await sent(client, form("inbox", ("a.md", b"a")), Origin="http://elsewhere.example")

    assert status == 403
    assert not world.intake.bodies


async def test_a_compressed_form_is_refused_as_one_may_be_cut_off(client, world):
    kind = {"Content-Type": "multipart/form-data; boundary=x", "Content-Encoding": "gzip"}
    status, page = await sent(client, gzip.compress(b"--x--"), **kind)

    assert status == 415
    assert "Content-Encoding" in page
    assert not world.intake.bodies


async def test_what_cannot_be_sent_now_is_told(client, world):
    world.running = 0
    status, page = await sent(client, form("inbox", ("a.md", b"a")))

    assert status == 200
    assert "no producer runs" in page
