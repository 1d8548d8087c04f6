"""Mail and Jupyter notebooks: what is read, what is metadata, and that no word is lost."""

import json
import sysconfig
from email import message as message_module
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from words import seen_in_mail, seen_in_notebook, words, words_lost

from shared.domain.errors import DocumentRefused
from shared.formats import mail
from shared.formats.extract import extract

MESSAGES = sorted(Path(sysconfig.get_path("stdlib")).glob("test/test_email/data/msg_*.txt"))
"""Messages that Python ships to test its parser: odd ones, broken ones, encodings, reports."""
HEAD = "From: Ann <ann@example.org>\nTo: Bob <bob@example.org>\nSubject: {}\n{}\n{}"


def read(data, path="a.eml"):
    return extract(data.encode() if isinstance(data, str) else data, path=path, media_type=None,
                   title=None)  # fmt: skip


def texts(found):
    return [block.text for block in found.blocks]


def multipart(kind, *parts):
    head = f"Subject: S\nContent-Type: multipart/{kind}; boundary=x\n\n"
    return head + "".join(f"--x\n{part}\n" for part in parts) + "--x--\n"


# -- mail ------------------------------------------------------------------------------------------


def test_headers_of_a_mail_are_its_title_author_and_date_and_receivers_are_text():
    found = read(HEAD.format("Valves", "Date: Mon, 1 Jan 2024 10:00:00 +0100\n", "Open them."))

    assert found.title == "Valves"
    assert found.metadata == {
        "author": "Ann <ann@example.org>",
        "date": "2024-01-01T10:00:00+01:00",
    }
    assert found.origins == dict.fromkeys(("title", "author", "date"), "mail")
    assert texts(found) == [
        "From: Ann <ann@example.org>\nTo: Bob <bob@example.org>",
        "Open them.",
    ]


@pytest.mark.parametrize(
    ("raw", "title"),
    [
        ("=?iso-8859-1?Q?Gr=FC=DFe?=", "Grüße"),
        ("=?utf-8?b?R3LDvMOfZQ==?= an =?utf-8?q?J=C3=BCrgen?=", "Grüße an Jürgen"),
        ("=?utf-8?b?R3LD?=\n =?utf-8?b?vMOfZQ==?=", "Grüße"),
        ("Grüße", "Grüße"),
        ("=?utf-8?b?***?= =?nonsense?q?word?=", "word"),
        ("=?utf-8?q?never", "=?utf-8?q?never"),
    ],
)
def test_encoded_words_and_raw_bytes_of_headers_are_text(raw, title):
    assert read(HEAD.format(raw, "", "text")).title == title


def test_the_html_of_a_mail_is_read_where_plain_text_says_nothing():
    page = "Content-Type: text/html\n\n<h1>Pumps</h1><p>They all leak, as Ann has said.</p>"
    plain = "Content-Type: text/plain\n\n{}"

    assert texts(read(multipart("alternative", plain.format("See the page."), page))) == [
        "Pumps", "They all leak, as Ann has said.",
    ]  # fmt: skip
    said = "Pumps, they all leak, said Ann."
    assert texts(read(multipart("alternative", plain.format(said), page))) == [said]
    assert "Pumps" in texts(read(multipart("mixed", page)))


@pytest.mark.parametrize(
    ("head", "body", "text"),
    [
        ("charset=iso-8859-1", "Grüße".encode("latin-1"), "Grüße"),
        ("charset=us-ascii", "Grüße".encode(), "Grüße"),
        ("charset=nonsense", "Grüße aus Köln".encode("cp1252"), "Grüße aus Köln"),
        ("charset=utf-8\nContent-Transfer-Encoding: base64", b"R3LDvMOfZQ==", "Grüße"),
        ("charset=utf-8\nContent-Transfer-Encoding: base64", b"R3LD*vMOfZQ", "Grüße"),
        ("charset=utf-8\nContent-Transfer-Encoding: quoted-printable", b"Gr=C3=BC=\n=C3=9Fe",
         "Grüße"),
        ("charset=utf-8; format=flowed", b"one \ntwo\n> three \n> four\nfive",
         "one two\n> three four\nfive"),
        ("charset=utf-8; format=flowed; delsp=yes", b"on \ne\n-- \nAnn", "one\n--\nAnn"),
    ],
)  # fmt: skip
def test_the_text_of_a_mail_is_decoded_whatever_its_encoding(head, body, text):
    data = b"Subject: S\nContent-Type: text/plain; " + head.encode() + b"\n\n" + body

    assert texts(read(data)) == [text]


def test_an_attached_message_is_a_section_after_the_text_and_the_names_of_files():
    inner = "Content-Type: message/rfc822\n\n" + HEAD.format("Inner", "", "inside")
    file = 'Content-Type: application/pdf\nContent-Disposition: attachment; filename="a.pdf"\n\nx'
    found = read(multipart("mixed", "\noutside", inner, file))

    assert [(b.path, b.text) for b in found.blocks if b.kind != "heading"] == [
        ((), "outside"),
        ((), "Attachment: a.pdf (application/pdf)"),
        (("Inner",), "From: Ann <ann@example.org>\nTo: Bob <bob@example.org>"),
        (("Inner",), "inside"),
    ]


def attached(*names):
    message = EmailMessage()
    message.set_content("text")
    for name in names:
        message.add_attachment(b"data", maintype="application", subtype="pdf", filename=name)
    return bytes(message)


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\r.pdf", "r.pdf"),
        ("..", "attachment 1"),
        ("a\x00b|c.pdf", "a b c.pdf"),
        ("Größe.pdf", "Größe.pdf"),
        ("x" * 300 + ".pdf", "x" * 96 + ".pdf"),
    ],
)
def test_names_of_attachments_are_plain_names(name, clean):
    found = list(mail.attachments(attached(name)))

    assert [(one.name, one.data, one.media_type) for one in found] == [
        (clean, b"data", "application/pdf")
    ]


def test_names_of_attachments_are_unique():
    found = [one.name for one in mail.attachments(attached("a.pdf", "A.pdf", "a.pdf", "b"))]

    assert found == ["a.pdf", "A (2).pdf", "a (3).pdf", "b"]


def test_attachments_of_attached_messages_are_found_and_limits_hold(monkeypatch):
    outer = EmailMessage()
    outer.set_content("text")
    inner = EmailMessage()
    inner.set_content("text")
    inner.add_attachment(b"12345", maintype="a", subtype="b", filename="in.bin")
    outer.add_attachment(inner)
    outer.add_attachment(b"12345", maintype="a", subtype="b", filename="out.bin")

    assert [one.name for one in mail.attachments(bytes(outer))] == ["in.bin", "out.bin"]
    monkeypatch.setattr(mail, "MAX_BYTES", 9)
    assert [one.name for one in mail.attachments(bytes(outer))] == ["in.bin"]
    monkeypatch.setattr(mail, "MAX_ATTACHMENTS", 0)
    assert list(mail.attachments(bytes(outer))) == []


NESTED = "Content-Type: multipart/mixed; boundary=b{0}\n\n--b{0}\n"
HOSTILE = {
    "parts inside each other": ("".join(map(NESTED.format, range(10_000))) + "\nword", "corrupt"),
    "messages inside each other": ("Content-Type: message/rfc822\n\n" * 10_000, "corrupt"),
    "150 messages inside each other": ("Content-Type: message/rfc822\n\n" * 150, "corrupt"),
    "one boundary for all parts": (NESTED.format("") * 9_000 + "\nword", "word"),
    "a header of a megabyte": (HEAD.format("word " * 200_000, "", "word"), "word"),
    "a million receivers": ("To: " + "a@b.c, " * 150_000 + "\n\nword", "word"),
    "encoded words": ("Subject: " + "=?utf-8?q?a?= " * 50_000 + "\n\nword", "word"),
    "no boundary": ("Content-Type: multipart/mixed\n\nword", "word"),
    "a boundary that never comes": ("Content-Type: multipart/mixed; boundary=x\n\nword", "word"),
    "parameters": ("Content-Type: text/plain" + ";a=b" * 50_000 + "\n\nword", "word"),
    "quotes in a parameter": (
        'Content-Type: text/plain; a="' + ';\\"' * 30_000 + "\n\nword",
        "word",
    ),
    "one parameter in parts with and without a number": (
        "Content-Type: text/plain; a*=1; a*0*=2\nContent-Disposition: inline; b*=1; b*0=2\n\nword",
        "word",
    ),
    "no headers": ("word", "word"),
    "a date of no calendar": ("Date: Mon, 99 Zzz 99999 99:99:99\n\nword", "word"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_mail_is_read_or_refused(name):
    data, expected = HOSTILE[name]
    if expected != "word":
        with pytest.raises(DocumentRefused, match="nested"):
            read(data)
        return
    assert expected in words("\n".join(texts(read(data))))
    list(mail.attachments(data.encode()))


@pytest.mark.parametrize("header", ["Content-Type: a/b", "Content-Disposition: attachment"])
def test_the_standard_library_gets_no_long_run_of_parameters_which_it_reads_in_quadratic_time(
    header, monkeypatch
):
    parse, lengths = message_module._parseparam, []
    monkeypatch.setattr(
        message_module, "_parseparam", lambda text: lengths.append(len(text)) or parse(text)
    )
    data = f'{header}; name="report.pdf"; filename="report.pdf"{";a=b" * 9_000}\n\nword'.encode()

    assert [one.name for one in mail.attachments(data)] == ["report.pdf"]
    mail.read(data)

    assert 0 < max(lengths) <= mail.MAX_PARAMETERS + 1


def test_no_word_of_the_messages_that_python_ships_is_lost():
    found = {}
    for path in MESSAGES:
        data = path.read_bytes()
        try:
            found[path.name] = dict(words_lost("mail", data))
        except DocumentRefused as refusal:
            found[path.name] = {} if not words(seen_in_mail(data)) else refusal.code

    assert len(found) > 30
    assert {path: gone for path, gone in found.items() if gone} == {}


LINES = st.text("abc äß漢. ", min_size=1, max_size=90).map(lambda line: f"w {line}")


@st.composite
def messages(draw, depth=0):
    message = EmailMessage()
    message["Subject"] = " ".join(draw(LINES).split())
    for name in ("From", "To", "Cc"):  # Python writes long ones without blanks
        message[name] = draw(st.text("abcä", min_size=1, max_size=9)) + " <a@example.org>"
    charset = draw(st.sampled_from(["utf-8", "utf-8", "gb18030"]))
    text = "\n".join(draw(st.lists(LINES, min_size=1, max_size=4)))
    cte = draw(st.sampled_from(["base64", "quoted-printable", "8bit"]))
    message.set_content(text, charset=charset, cte=cte)
    if draw(st.booleans()):
        message.add_alternative(f"<p>{text}</p>", subtype="html", cte=cte)
    for name in draw(st.lists(st.text("abcä", min_size=1, max_size=9), max_size=2, unique=True)):
        message.add_attachment(b"x", maintype="image", subtype="png", filename=f"{name}.png")
    if depth < 2 and draw(st.booleans()):
        message.add_attachment(draw(messages(depth + 1)))
    return message


@given(messages())
def test_no_word_of_any_mail_is_lost(message):
    data = bytes(message)

    assert words(seen_in_mail(data))
    assert words_lost("mail", data) == {}


@given(st.binary(max_size=300) | st.lists(st.sampled_from([
    "Content-Type: ", "multipart/", "mixed", "; boundary=x", "--x", "--", "\n", "\n\n", "message/",
    "rfc822", "text/html", "Subject: ", "=?utf-8?b?", "?=", "word", "; charset=", "utf-16", "\0",
    "Content-Transfer-Encoding: base64", "Content-Disposition: ", "attachment",
    "; filename*0*=x''%",
])).map("".join).map(str.encode))  # fmt: skip
def test_any_bytes_are_read_as_mail_or_refused(data):
    for work in (read, lambda data: list(mail.attachments(data))):
        try:
            work(data)
        except DocumentRefused:
            continue


# -- notebooks -------------------------------------------------------------------------------------


def notebook(*cells, **metadata):
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4}).encode()


def code(source, *outputs):
    return {"cell_type": "code", "source": source, "outputs": list(outputs)}


def markdown(source):
    return {"cell_type": "markdown", "source": source}


def test_cells_of_a_notebook_are_sections_code_and_outputs():
    found = read(
        notebook(
            markdown(["# Pumps\n", "They *leak*."]),
            code(
                ["import x\n", "x.run()"],
                {"output_type": "stream", "text": ["3 pumps\n"]},
                {"output_type": "execute_result",
                 "data": {"text/plain": "<Pump>", "text/html": "<b>no</b>"}},
                {"output_type": "display_data", "data": {"image/png": "iVBOR"}},
                {"output_type": "error", "ename": "KeyError", "evalue": "'x'", "traceback": ["no"]},
            ),
            {"cell_type": "raw", "source": "raw words"},
            kernelspec={"language": "python"},
        ),
        "a.ipynb",
    )  # fmt: skip

    assert [(b.kind, b.text) for b in found.blocks] == [
        ("heading", "Pumps"),
        ("paragraph", "They leak."),
        ("code", "import x\nx.run()"),
        ("code", "3 pumps"),
        ("code", "<Pump>"),
        ("paragraph", "KeyError: 'x'"),
        ("paragraph", "raw words"),
    ]
    assert {block.path for block in found.blocks} == {("Pumps",)}
    assert (found.title, found.metadata) == ("Pumps", {"programming_language": "python"})


def test_a_notebook_of_format_3_is_read():
    cells = [
        {"cell_type": "heading", "level": 2, "source": "Old"},
        {"cell_type": "code", "input": "x = 1", "outputs": [
            {"output_type": "pyout", "text": ["one"], "png": "no"},
            {"output_type": "pyerr", "ename": "E", "evalue": "bad"},
        ]},
    ]  # fmt: skip
    data = json.dumps({"worksheets": [{"cells": cells}], "metadata": {}, "nbformat": 3}).encode()

    assert texts(read(data, "a.ipynb")) == ["Old", "x = 1", "one", "E: bad"]


@pytest.mark.parametrize(
    "data",
    [
        notebook(markdown("a"))[:-5],
        b"[" * 100_000,
        b"{}",
        b"[1]",
        b"word",
    ],
)
def test_a_damaged_notebook_is_corrupt(data):
    with pytest.raises(DocumentRefused) as refused:
        read(data, "a.ipynb")
    assert refused.value.code == "corrupt"


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
        "cells", "cell_type", "source", "outputs", "data", "text", "text/plain", "metadata", "name",
        "worksheets", "kernelspec", "authors", "level", "heading", "markdown", "ename",
    ]), inner, max_size=4),
)  # fmt: skip


@given(ANY, ANY)
def test_a_notebook_of_odd_values_is_read_or_refused(cells, metadata):
    data = json.dumps({"cells": [cells, {"cell_type": "heading", "level": cells}],
                       "metadata": metadata}).encode()  # fmt: skip
    try:
        read(data, "a.ipynb")
    except DocumentRefused:
        return


OUTPUTS = st.one_of(
    LINES.map(lambda text: {"output_type": "stream", "text": [text]}),
    LINES.map(lambda text: {"output_type": "execute_result", "data": {"text/plain": text}}),
    LINES.map(lambda text: {"output_type": "error", "ename": "E", "evalue": text}),
)
CELLS = st.one_of(
    LINES.map(markdown),
    LINES.map(lambda text: markdown(["# " + text + "\n", "\n", text])),
    LINES.map(lambda text: {"cell_type": "raw", "source": text}),
    st.builds(lambda lines, outputs: code("\n".join(lines), *outputs),
              st.lists(LINES, max_size=4), st.lists(OUTPUTS, max_size=3)),
)  # fmt: skip


@given(st.lists(CELLS, min_size=1, max_size=6))
def test_no_word_of_any_notebook_is_lost(cells):
    data = notebook(*cells)
    if words(seen_in_notebook(data)):
        assert words_lost("notebook", data) == {}
