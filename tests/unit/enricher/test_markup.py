"""reStructuredText and AsciiDoc: their structure, and that no word is lost."""

import sysconfig
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from words import seen_in_rst, words_lost
from words import words as words_of

from services.enricher.chunking.chunk import chunk
from shared.formats.extract import extract
from shared.formats.markup.names import MAX_PUT_IN_CHARS, Replacements
from shared.settings import Chunking

PACKAGES = Path(sysconfig.get_path("purelib"))
SYSTEM = [Path("/usr/share"), Path("/usr/lib/python3")]


def read(text, path="a.rst"):
    return extract(text.encode(), path=path, media_type=None, title=None)


def shown(text, path="a.rst"):
    return [(block.kind, block.text) for block in read(text, path).blocks]


# -- reStructuredText ------------------------------------------------------------------------------

RST = """\
=====
Pumps
=====
:Author: Ann
:Date: 2024-01-31
:Status: draft

They *leak*, **all** of ``them``, says :ref:`the page <there>` and `a link <http://x>`_.

.. note:: Mind
   the gap.

.. code-block:: python
   :caption: Say it

   say(1)

Do this::

    run it

Sizes
-----
- one
  more

  - inner
- two

term
   its meaning

=====  ====
A      B
=====  ====
1      2
3
=====  ====

+----+-----+
| a  | b   |
+====+=====+
| 1  | 2   |
|    | 3   |
+----+-----+

.. list-table:: Prices

   * - part
     - price
   * - bolt
     - 3

.. csv-table::
   :header: part, price

   nut, 4

.. py:function:: open(valve)

   Opens *it*.

   :param valve: the valve
"""


def test_the_structure_of_restructured_text_is_read():
    found = read(RST)

    assert (found.title, found.metadata) == ("Pumps", {"author": "Ann", "date": "2024-01-31"})
    assert found.origins == {"title": "heading", "author": "field list", "date": "field list"}
    assert [(b.kind, b.text) for b in found.blocks] == [
        ("heading", "Pumps"),
        ("list", "Status: draft"),
        ("paragraph", "They leak, all of them, says the page and a link."),
        ("paragraph", "Note: Mind\nthe gap."),
        ("paragraph", "Say it"),
        ("code", "say(1)"),
        ("paragraph", "Do this:"),
        ("code", "run it"),
        ("heading", "Sizes"),
        ("list", "- one\n  more\n  - inner\n- two"),
        ("paragraph", "term\nits meaning"),
        ("table", "A | B\n1 | 2\n3"),
        ("table", "a | b\n1 | 2 3"),
        ("paragraph", "Prices"),
        ("table", "part | price\nbolt | 3"),
        ("table", "part | price\nnut | 4"),
        ("paragraph", "open(valve)"),
        ("paragraph", "Opens it."),
        ("list", "param valve: the valve"),
    ]
    assert found.blocks[-1].path == ("Pumps", "Sizes")


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("one\n\n.. secret\n   secret\n\ntwo", ["one", "two"]),
        ("..\n\n   one", ["one"]),
        ("one\n\n.. include:: /etc/passwd\n.. raw:: html\n\n   <b>secret</b>", ["one"]),
        ("one\n\n.. literalinclude:: /etc/passwd", ["one"]),
        (".. |x| replace:: *two*\n\none |x| |y|", ["one two y"]),
        ("one two_ `three four`_ _`five` snake_case_x __init__", [
            "one two three four five snake_case_x __init__"]),
        (r"one\*two\ three", ["one*twothree"]),
        ("one [1]_\n\n.. [1] two", ["one [1]_", "[1] two"]),
        (".. image:: x.png\n   :alt: one two\n   :width: 3", ["one two"]),
        (".. strange:: one\n   :option: secret\n\n   two :odd:`three`", ["one", "two three"]),
        ("| one\n| two", ["one\ntwo"]),
        (">>> one\n2", [">>> one\n2"]),
        ("1. one\n#. two", ["1. one\n#. two"]),
    ],
)  # fmt: skip
def test_what_a_person_sees_of_restructured_text_is_read(text, texts):
    assert [one for _, one in shown(text)] == texts


def rst_files():
    files = [path for folder in (PACKAGES, *SYSTEM) for path in folder.glob("**/*.rst")]
    return sorted(files)[:: max(1, len(files) // 300)]


def test_no_word_of_the_restructured_text_of_installed_packages_is_lost():
    found = {}
    for path in rst_files():
        data = path.read_bytes()
        if words_of(seen_in_rst(data)):
            found[str(path)] = dict(words_lost("rst", data))

    assert found
    assert {path: gone for path, gone in found.items() if gone} == {}


WORDS = st.integers(0, 999).map("w{}".format) | st.sampled_from(["Größe", "漢字", "a_b", "w-x"])
FRAMES = st.sampled_from(
    [
        *("{}", "{}", "{}", "*{}*", "**{}**", "``{}``", ":ref:`{}`", ":doc:`{} <x>`", "`{} <http://x>`_"),
        *("({})", "{},", "'{}'", "{}: ", "|{}|x", "{}*", "*{}", "\\*{}", "{}``", "<{}>"),
    ]
)  # fmt: skip
RUNS = st.lists(
    st.tuples(FRAMES, WORDS).map(lambda one: one[0].format(one[1])), min_size=1, max_size=8
)
LINES = RUNS.map(" ".join)
PLAIN = st.lists(WORDS, min_size=1, max_size=5).map(" ".join)


def indent(text, by="   "):
    return text.replace("\n", f"\n{by}")


def grid(rows):
    cells = [[cell.ljust(40) for cell in row] for row in rows]
    rule = "+" + "+".join("-" * 40 for _ in cells[0]) + "+"
    return "\n".join([rule, *(f"|{'|'.join(row)}|\n{rule}" for row in cells)])


BLOCKS = st.one_of(
    LINES,
    st.tuples(PLAIN, st.sampled_from("=-~")).map(lambda one: f"{one[0]}\n{one[1] * 60}"),
    st.lists(LINES, min_size=1, max_size=4).map(lambda all_: "\n".join(f"- {one}" for one in all_)),
    st.tuples(LINES, LINES).map(lambda one: f"- {one[0]}\n\n  {one[1]}"),
    st.tuples(PLAIN, LINES).map(lambda one: f"{one[0]}\n   {one[1]}"),
    st.tuples(PLAIN, LINES).map(lambda one: f"{one[0]}::\n\n   {one[1]}"),
    st.tuples(PLAIN, LINES).map(lambda one: f".. note:: {one[0]}\n\n   {one[1]}"),
    st.tuples(PLAIN, LINES).map(lambda one: f".. strange:: {one[0]}\n\n   {one[1]}"),
    LINES.map(".. code-block:: sh\n\n   {}".format),
    LINES.map(".. secret {}".format),
    st.tuples(PLAIN, LINES).map(lambda one: f":{one[0]}: {one[1]}"),
    st.lists(st.lists(PLAIN.map(lambda one: one[:30]), min_size=2, max_size=2), min_size=1,
             max_size=3).map(grid),
    LINES.map("   {}".format),
    PLAIN.map(".. [#x] {}".format),
)  # fmt: skip
DOCUMENTS = st.lists(BLOCKS, max_size=6).map(lambda all_: "\n\n".join(["w", *all_]))


@given(DOCUMENTS)
def test_no_word_of_any_restructured_text_is_lost(text):
    assert dict(words_lost("rst", text.encode())) == {}


PIECES = st.sampled_from(
    [*("\n", "\n\n", "   ", ".. ", "::", "x::\n", ":x: ", "`", "``", "*", "|", "_", "==\n", "--\n"),
     *("+--+\n", "== ==\n", "- ", "1. ", "[1]", ".. [1] ", ".. |x| ", "replace:: ", "* - ", "\\"),
     *(">>> ", ".. list-table::\n", ".. csv-table::\n", ".. image:: ", ":alt: ", "<", ">")]
)  # fmt: skip


@given(st.lists(PIECES | WORDS, max_size=40).map("".join))
def test_any_marks_of_restructured_text_are_read(text):
    read(f"w\n\n{text}")


@pytest.mark.parametrize("path", ["a.rst", "a.adoc"])
@pytest.mark.parametrize(
    "text",
    [
        "\n".join(" " * n + "- word" for n in range(2_000)),
        "\n\n".join(" " * n + "word" for n in range(1_000)),
        "- " * 20_000 + "word",
        "".join(f"{' ' * (3 * n)}.. note::\n\n" for n in range(500)) + "word",
        "word ``" * 20_000,
        "+--+--+\n" * 5_000 + "\n\nword",
        "====\n" * 5_000 + "\n\nword",
        "|===\n" * 5_000 + "\n\nword",
        "word\n" + "|a|" * 30_000,
    ],
)
def test_hostile_markup_is_read(path, text):
    assert "word" in "\n".join(one for _, one in shown(text, path))


def test_no_word_of_restructured_text_is_lost_in_chunks(words):
    text = RST + "\n\n" + "one two three four five six seven eight. " * 200

    assert words_lost("rst", text.encode(), lambda found: chunk(found, Chunking(), words)) == {}


# -- AsciiDoc --------------------------------------------------------------------------------------

ADOC = """\
// secret
= Pumps
Ann Bee <ann@example.org>
v1.0, 2024-01-31
:toc: left
:product: The Pump

{product} has *two* _sides_, `code` and http://x.org[a link], says <<ref,the page>>.

.Say it
[source,python]
----
say(1)
= no heading
----

Do this:

....
run it
....

== Sizes

NOTE: Mind it.

[TIP]
====
Inside the *box*.
====

* one
** two
more
. first

Term:: its meaning

|===
|A |B

|1
|2

|yes|no
|===

image::x.png[A pump]

////
secret
////

[quote, Bob, A book]
____
Words of *Bob*.
____
"""


def test_the_structure_of_asciidoc_is_read():
    found = read(ADOC, "a.adoc")

    assert found.title == "Pumps"
    assert found.metadata == {
        "author": "Ann Bee <ann@example.org>", "date": "2024-01-31", "revision": "v1.0, 2024-01-31",
    }  # fmt: skip
    assert [(b.kind, b.text) for b in found.blocks] == [
        ("heading", "Pumps"),
        ("paragraph", "The Pump has two sides, code and a link, says the page."),
        ("paragraph", "Say it"),
        ("code", "say(1)\n= no heading"),
        ("paragraph", "Do this:"),
        ("code", "run it"),
        ("heading", "Sizes"),
        ("paragraph", "NOTE: Mind it."),
        ("paragraph", "TIP:"),
        ("paragraph", "Inside the box."),
        ("list", "- one\n  - two\n  more\n- first\nTerm: its meaning"),
        ("table", "A | B\n1 | 2\nyes | no"),
        ("paragraph", "A pump"),
        ("paragraph", "Bob, A book"),
        ("paragraph", "Words of Bob."),
    ]


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("one\n\ninclude::/etc/passwd[]\n\nifdef::x[]\ntwo\nendif::[]", ["one", "two"]),
        ("C++ and C# are a_b_c, 2*3*4", ["C++ and C# are a_b_c, 2*3*4"]),
        ("*_one_* **t**wo", ["one **t**wo"]),
        ("one {unknown} link:x[two] xref:y[three] image:z[four]", ["one {unknown} two three four"]),
        ("----\none", ["one"]),
        ("====\none", ["one"]),
        (",===\none,two\n,===", ["one | two"]),
        ("|===\none\n|===", ["one"]),
        ("one +\ntwo", ["one\ntwo"]),
        ("== one\n:x: y\n\n{x}", ["one", "y"]),
    ],
)
def test_what_a_person_sees_of_asciidoc_is_read(text, texts):
    assert [one for _, one in shown(text, "a.adoc")] == texts


ADOC_FRAMES = st.sampled_from(
    [
        "{}",
        "{}",
        "*{}*",
        "_{}_",
        "`{}`",
        "link:x[{}]",
        "https://x.org[{}]",
        "<<x,{}>>",
        "({})",
        "{},",
    ]
)
ADOC_RUNS = st.lists(st.tuples(ADOC_FRAMES, st.integers(0, 99).map("w{}".format)), min_size=1,
                     max_size=6)  # fmt: skip
ADOC_BLOCKS = st.sampled_from(
    [
        *("{}", "== {}", "* {}", "* a\n** {}", "1. {}", ". {}", "Term:: {}", "NOTE: {}", ".{}"),
        *("----\n{}\n----", "....\n{}\n....", "====\n{}\n====", "____\n{}\n____", "--\n{}\n--"),
        *("|===\n|a |{}\n\n|b\n|c\n|===", "|===\n|{}\n|===", " {}", "{}\n+\nb", "[NOTE]\n{}"),
        *("image::x.png[{}]", "a:\n\n----\n{}\n----", "+\n{}", "++++\n{}\n++++", "[[x]]\n{}"),
    ]
)


@given(st.lists(st.tuples(ADOC_BLOCKS, ADOC_RUNS), min_size=1, max_size=6))
@example([("----\n{}\n----", [("{}", "w1")]), ("{}", [("*{}*", "w2")])])
def test_no_word_of_any_asciidoc_is_lost(blocks):
    words = [word for _, run in blocks for _, word in run]
    text = "\n\n".join(
        block.format(" ".join(frame.format(word) for frame, word in run)) for block, run in blocks
    )
    found = words_of("\n".join(one for _, one in shown(text, "a.adoc")).replace("_", " "))

    assert sorted(words) == sorted(one for one in found if one[0] == "w" and one[1:].isdecimal())


MULTIPLIED = {
    "a.adoc": (":a0: xxxxxxxxxx\n", ":a{}: {}\n", "{{a{}}}", "A {}.\n"),
    "a.rst": (".. |a0| replace:: xxxxxxxxxx\n", ".. |a{}| replace:: {}\n", "|a{}|", "\nA {}.\n"),
}


def test_texts_for_names_are_put_in_up_to_a_limit_then_the_names_stay():
    names = Replacements()
    names.give("Pump", "x" * (MAX_PUT_IN_CHARS // 2))
    put_in = [names.text("pump", "{pump}") for _ in range(4)]

    assert [len(text) for text in put_in[:2]] == [MAX_PUT_IN_CHARS // 2] * 2
    assert put_in[2:] == ["{pump}"] * 2
    assert names.text("hose", "{hose}") == "{hose}"


@pytest.mark.parametrize("path", MULTIPLIED)
def test_names_that_multiply_to_gigabytes_put_in_a_bounded_text(path):
    first, define, use, end = MULTIPLIED[path]
    multiplied = "".join(define.format(n, " ".join([use.format(n - 1)] * 10)) for n in range(1, 9))
    found = read(f"{first}{multiplied}\n{end.format(use.format(8))}", path)
    assert sum(len(block.text) for block in found.blocks) <= 2 * MAX_PUT_IN_CHARS


ENDLESS = {
    "item": ("a.adoc", "* a\n{}", "b\n"),
    "cell": ("a.adoc", "|===\n|a\n{}|===\n", "b\n"),
    "list-table": ("a.rst", ".. list-table::\n\n   * - a\n{}", "     b\n"),
    "simple table": ("a.rst", "== ==\na  b\n{}== ==\n", "   b\n"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_the_lines_of_one_item_or_cell_stay_lines(name):
    path, around, line = ENDLESS[name]
    (block,) = read(around.format(line * 3), path).blocks
    assert block.text.count("b") >= 3
