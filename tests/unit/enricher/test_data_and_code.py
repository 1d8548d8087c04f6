"""JSON, XML, settings and source code: what their blocks are, and that no word is lost."""

import json
import random
import sysconfig
from pathlib import Path
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st
from words import words as words_of
from words import words_lost

from services.enricher.chunking.chunk import chunk
from shared.domain.errors import DocumentRefused
from shared.formats import source
from shared.formats.extract import extract
from shared.settings import Chunking

LIBRARY = Path(sysconfig.get_path("stdlib"))
PACKAGES = Path(sysconfig.get_path("purelib"))
PROSE = "one two three four five six seven eight nine ten " * 30


def read(data, path):
    return extract(data.encode() if isinstance(data, str) else data, path=path, media_type=None,
                   title=None)  # fmt: skip


def shown(data, path):
    return [(block.path, block.text) for block in read(data, path).blocks]


def lost(format_, text, cut=None):
    return dict(words_lost(format_, text.encode(), cut))


def readable(ending, least, most=60_000):
    """Files of the packages that are installed, in UTF-8 and with words."""
    files = [*PACKAGES.glob(f"**/*{ending}"), *LIBRARY.glob(f"*/**/*{ending}")]
    random.Random(0).shuffle(files)
    found = {}
    for path in files:
        data = path.read_bytes()
        try:
            if len(data) <= most and words_of(data.decode()):
                found[path] = data
        except UnicodeDecodeError:
            continue
        if len(found) == 150:
            break
    assert len(found) >= least
    return found


# -- JSON ------------------------------------------------------------------------------------------


def test_values_have_their_keys_and_records_of_a_list_repeat_theirs():
    data = {"name": "pump", "tags": ["a", "b"], "parts": [{"n": 1, "x": None}, {"n": 2, "x": True}]}

    assert shown(json.dumps(data), "a.json") == [
        ((), "name: pump\ntags: a, b\nparts:\n  - n: 1\n    x: null\n  - n: 2\n    x: true")
    ]


def test_what_is_long_is_parted_and_its_keys_are_the_path_of_its_parts():
    parts = [{"n": n, "text": PROSE[: 20 * 20]} for n in range(3)]
    data = {"head": 1, "pump": {"made": "here", "parts": parts}, "tail": 2}

    found = shown(json.dumps(data), "a.json")

    assert [(path, text.split("\n")[0]) for path, text in found] == [
        ((), "head: 1"),
        (("pump",), "pump:"),
        (("pump", "parts"), "parts:"),
        *(((("pump", "parts"), f"n: {n}")) for n in range(3)),
        ((), "tail: 2"),
    ]


def test_a_chunk_of_a_record_has_its_keys_and_the_path_to_it(words):
    data = {"pumps": [{"name": f"pump {n}", "text": PROSE[:300]} for n in range(9)]}

    chunks = chunk(read(json.dumps(data), "a.json"), Chunking(), words)

    assert len(chunks) > 2
    assert {one.heading for one in chunks} == {("pumps",)}
    assert sum(one.text.count("name: pump") for one in chunks) == 9


def test_no_chunk_holds_parts_of_two_paths(words):
    data = {"head": 1, "pump": {"text": PROSE}, "valve": {"text": PROSE}, "tail": 2}

    chunks = chunk(read(json.dumps(data), "a.json"), Chunking(), words)

    assert {one.heading for one in chunks} == {(), ("pump",), ("valve",)}
    assert [one.heading for one in chunks if "head: 1" in one.text or "tail: 2" in one.text] == [
        (),
        (),
    ]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('{"a": 1, "a": 2}', "a: 1\na: 2"),
        ("[1e999, 12345678901234567890123, 1.50, NaN, -Infinity]",
         "1e999, 12345678901234567890123, 1.50, NaN, -Infinity"),
        ("[" + "9" * 5_000 + "]", "9" * 5_000),
        ('"\\u00e4\\ud83d\\ude00\\ud800"', "ä😀\ufffd"),
        ('{"a": "one\\ntwo\\u0000"}', "a: one\n  two"),
        ("\ufeff[true, null]", "true, null"),
        ('{"": "empty", "b": {}, "c": []}', "empty\nb:\nc:"),
    ],
)  # fmt: skip
def test_numbers_escapes_and_double_keys_stay(written, text):
    assert shown(written, "a.json") == [((), text)]


def test_json_lines_are_records_and_a_broken_line_stays_text():
    lines = '{"a": 1}\n\n{"a": [2]}\n{"broken: 1\n[3]\n'

    assert shown(lines, "a.jsonl") == [((), '- a: 1\n- a: 2\n{"broken: 1\n3')]
    assert shown(lines, "a.json") == shown(lines, "a.ndjson")


@pytest.mark.parametrize(
    "text",
    ['{"a": "cut o', "// comment\n{\n  a: 'five',\n}", "word", "{'a': 1}",
     '{"a": ' * 5_000 + '"word"' + "}" * 5_000],
)  # fmt: skip
def test_what_is_no_json_is_read_as_text(text):
    assert [one for _, one in shown(text, "a.json")] == [text]


HOSTILE_JSON = {
    "a million values": lambda: json.dumps(list(range(1_000_000))),
    "300,000 keys": lambda: json.dumps({str(n): n for n in range(300_000)}),
    "records": lambda: json.dumps([{"a": 1}] * 30_000),
    "a long text": lambda: f'"{"word " * 2_000_000}"',
    "objects inside each other": lambda: '{"a":' * 900 + "1" + "}" * 900,
}


@pytest.mark.parametrize("name", HOSTILE_JSON)
def test_no_word_of_large_or_deep_json_is_lost(name):
    assert lost("json", HOSTILE_JSON[name]()) == {}


@pytest.mark.parametrize("mark", ["[", '{"a":'])
def test_json_that_is_nested_without_end_breaks_nothing(mark):
    try:
        read(mark * 100_000 + "1", "a.json")
    except DocumentRefused as refusal:
        raise AssertionError from refusal


def test_no_word_of_the_json_of_installed_packages_is_lost():
    files = readable(".json", 2)
    found = {str(path): dict(words_lost("json", data)) for path, data in files.items()}

    assert {path: gone for path, gone in found.items() if gone} == {}


TEXTS = st.text("ab1 äß漢\n-:,.{}\"'\\\t", max_size=20) | st.just(PROSE[:400])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=20,
)


@given(VALUES, st.sampled_from([None, 1, "\t"]))
def test_no_word_of_any_json_is_lost(value, indent):
    text = json.dumps({"first": value}, indent=indent, ensure_ascii=bool(indent))

    assert lost("json", text) == {}


@given(st.lists(VALUES, min_size=1, max_size=5))
def test_no_word_of_any_json_lines_is_lost(values):
    assert lost("json", "\n".join(json.dumps({"w": value}) for value in values)) == {}


@given(VALUES)
def test_no_word_of_any_json_is_lost_in_chunks(words, value):
    text = json.dumps({"first": value, "second": [{"a": value}] * 4})

    assert lost("json", text, lambda found: chunk(found, Chunking(), words)) == {}


# -- XML -------------------------------------------------------------------------------------------


def test_texts_and_attributes_of_xml_have_the_names_of_their_elements():
    page = '<list><item id="3"><name>pump</name><price>9</price><sold/></item></list>'

    assert shown(page, "a.xml") == [
        ((), "list:\n  item (id: 3):\n    name: pump\n    price: 9\n    sold")
    ]


def test_elements_in_a_text_are_one_line_with_it_and_join_no_words():
    page = "<a><para>One<em>two</em>three, <b>four</b>.</para><c><![CDATA[<five>]]></c></a>"

    assert shown(page, "a.xml") == [((), "a:\n  One two three, four.\n  c: <five>")]


def test_a_long_xml_document_has_the_titles_of_its_parts_in_their_paths():
    sections = "".join(
        f"<section><title>Part {n}</title><para>{PROSE}</para></section>" for n in (1, 2)
    )
    found = read(f"<book><info><title>Pumps</title></info>{sections}</book>", "a.xml")

    assert found.title == "Pumps"
    assert found.origins["title"] == "title element"
    assert [b.path for b in found.blocks if b.text == PROSE.strip() or PROSE[:50] in b.text] == [
        ("Part 1",),
        ("Part 2",),
    ]


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ('<?xml version="1.0" encoding="koi8-r"?><a>сообщение</a>'.encode("koi8-r"),
         "a: сообщение"),
        ("\ufeff<a>ä</a>".encode("utf-16"), "a: ä"),
        (b"<a>&lt;b&gt; &amp; &#228;</a>", "a: <b> & ä"),
        (b'<!DOCTYPE a [<!ENTITY e "secret">]><a>one &e; two</a>', "a: one &e; two"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a>one &e; two</a>', "a: one &e; two"),
        (b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>one &e; two</a>',
         "a: one &e; two"),
        (b"<a><!-- secret -->one<?secret?></a>", "a: one"),
        (b"<x:a xmlns:x='u' x:b='c'>one</x:a>", "a (b: c): one"),
        (b"<a>not <b>well-formed</a>", "<a>not <b>well-formed</a>"),
        (b"<a>one &nbsp; two</a>", "<a>one &nbsp; two</a>"),
    ],
)  # fmt: skip
def test_xml_is_read_in_its_encoding_without_entities_and_comments(page, text):
    assert shown(page, "a.xml") == [((), text)]


HOSTILE_XML = {
    "deep": lambda: "<a>" * 100_000 + "word" + "</a>" * 100_000,
    "deep with texts": lambda: "<a>word " * 50_000 + "</a>" * 50_000,
    "wide": lambda: "<a>" + "word<b>word</b>" * 100_000 + "</a>",
    "attributes": lambda: "<a " + " ".join(f'a{n}="word"' for n in range(50_000)) + "/>",
}


@pytest.mark.parametrize("name", HOSTILE_XML)
def test_no_word_of_large_or_deep_xml_is_lost(name):
    assert lost("xml", HOSTILE_XML[name]()) == {}


def test_entities_that_multiply_are_not_expanded():
    declared = "".join(f"<!ENTITY e{n + 1} '{f'&e{n};' * 10}'>" for n in range(9))
    page = f"<!DOCTYPE a [<!ENTITY e0 'secret'>{declared}]><a {{}}>&e9; word</a>"

    assert shown(page.format(""), "a.xml") == [((), "a: &e9; word")]
    assert len(shown(page.format("x='&e9;'"), "a.xml")[0][1]) < 2_000


def test_an_xml_parser_without_memory_is_no_damage(monkeypatch):
    class Parser:
        def Parse(self, *_):
            error = expat.ExpatError("out of memory")
            error.code = 1
            raise error

    monkeypatch.setattr(expat, "ParserCreate", Parser)

    with pytest.raises(MemoryError):
        read("<a>word</a>", "a.xml")


def test_no_word_of_the_xml_of_installed_packages_is_lost():
    files = [*LIBRARY.glob("test/**/*.xml"), *PACKAGES.glob("**/*.xml")]
    found = {}
    for path in files:
        data = path.read_bytes()
        try:
            found[str(path)] = dict(words_lost("xml", data))
        except (SyntaxError, DocumentRefused):  # tests of parsers, and files without a word
            continue

    assert len(found) > 3
    assert {path: gone for path, gone in found.items() if gone} == {}


NAMES = st.sampled_from(["a", "b", "title", "name", "para", "x:c"])
ELEMENTS = st.recursive(
    TEXTS.map(escape),
    lambda inner: st.builds(
        lambda name, value, parts: f"<{name} d={quoteattr(value)}>{''.join(parts)}</{name}>",
        NAMES, TEXTS, st.lists(inner, max_size=4),
    ),
    max_leaves=15,
)  # fmt: skip


@given(st.lists(ELEMENTS, max_size=5).map("".join))
def test_no_word_of_any_xml_is_lost(inside):
    assert lost("xml", f"<r xmlns:x='u'><w>word</w>{inside}</r>") == {}


# -- settings and code -----------------------------------------------------------------------------


def test_code_is_cut_before_unindented_lines_that_follow_a_blank_line():
    text = (
        '"""About."""\n\nimport x\n\n\n# why\n@once\ndef f():\n    a\n\n    b\n\n\nint g()\n{\n\n}'
    )

    assert [one for _, one in shown(text, "a.py")] == [
        '"""About."""',
        "import x",
        "# why\n@once\ndef f():\n    a\n\n    b",
        "int g()\n{\n\n}",
    ]
    assert {block.kind for block in read(text, "a.py").blocks} == {"code"}


def test_a_long_block_of_code_has_the_line_that_defines_it_in_its_path():
    body = "    say('one two three')\n" * 60
    text = (
        f"import x\n\n# why\n@once\nclass Pump(Base):\n{body}\nx = 1\n\nint main()\n{{\n{body}}}\n"
    )

    assert [path for path, _ in shown(text, "a.py")] == [
        (), ("class Pump(Base)",), (), ("int main()",),
    ]  # fmt: skip


def test_settings_are_cut_at_their_sections_and_keep_comments():
    text = "# all\na = 1\n[one]\nb = 2\n# why\n[two]\nc = 3\n"

    assert [one for _, one in shown(text, "a.toml")] == [
        "# all\na = 1", "[one]\nb = 2\n# why", "[two]\nc = 3",
    ]  # fmt: skip


def test_a_minified_file_is_read_and_cut(words):
    text = "var a=1;function b(){return a+2};" * 15_000

    assert lost("code", text, lambda found: chunk(found, Chunking(overlap=0), words)) == {}


@pytest.mark.parametrize("ending", [".py", ".pyi", ".c", ".js", ".css", ".sh"])
def test_no_word_of_the_code_of_installed_packages_is_lost(ending):
    found = {
        str(path): dict(words_lost("code", data)) for path, data in readable(ending, 1).items()
    }

    assert {path: gone for path, gone in found.items() if gone} == {}


@pytest.mark.parametrize("ending", [".toml", ".yaml", ".cfg", ".ini"])
def test_no_word_of_the_settings_of_installed_packages_is_lost(ending):
    files = [*PACKAGES.glob(f"**/*{ending}"), *LIBRARY.glob(f"**/*{ending}")]
    files += Path(__file__).parents[3].glob(f"*{ending}")
    found = {}
    for path in files:
        data = path.read_bytes()
        if words_of(data.decode("utf-8", "ignore")) and data.isascii() and b"\0" not in data:
            found[str(path)] = dict(words_lost("settings", data))

    assert {path: gone for path, gone in found.items() if gone} == {}


LINES = st.sampled_from(
    ["", "", "def f():", "    w1", "\tw2", "}", "[w3]", "# w4", "w5:", "  - w6", "{", "@w7", "end",
     "x = '''", "w8 " * 60, "\x0c", "é漢"],
)  # fmt: skip


@given(st.lists(LINES, max_size=60).map("\n".join))
def test_no_line_of_any_code_is_lost(text):
    found = "\n\n".join(block.text for block in source.read(text).blocks)

    assert found.split() == text.split()
