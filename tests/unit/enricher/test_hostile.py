"""Bad input, one by one: what the manual's page `guide/bad-input.md` says of each is what happens.

Each is small enough for a unit test; the same in megabytes is in `tests/integration/enricher`.
"""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.enricher.chunking.chunk import chunk
from services.enricher.prepare import judge
from shared.domain.errors import DocumentRefused
from shared.domain.ordering import MAX_ROWS
from shared.formats.blocks import MAX_BLOCKS, Block, Extracted
from shared.formats.extract import (
    MAX_HARMLESS_BYTES,
    MAX_HARMLESS_MARKDOWN,
    MAX_HARMLESS_YAML,
    extract,
    is_harmless,
    named_format,
)
from shared.settings import Chunking

MANUAL = Path(__file__).parents[3] / "examples/docs/guide/bad-input.md"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR\0\0\0\x01" + bytes(range(256)) * 4
KANA = "これは日本語の文章です。検索できるようにします。" * 8
GERMAN = "Die Größe der Straße überrascht für gewöhnlich niemanden. " * 4
QUOTED = "it\u2019s \u201cquoted\u201d"
DEEP = 5_000
"""Nested elements in a small file: two and a half times what is allowed."""


def outcome(data, path="x.md", tokens=None):
    """`indexed`, or the code of the refusal; and all text that would be indexed."""
    try:
        extracted = extract(data, path=path, media_type=None, title=None)
        if tokens is not None:
            chunks = chunk(extracted, Chunking(), tokens)
            if refusal := judge(extracted, chunks):
                raise refusal
    except DocumentRefused as refusal:
        return refusal.code, ""
    return "indexed", "\n".join(block.text for block in extracted.blocks)


TABLE = {
    "empty": (b"", "x.md", "empty", None),
    "white space only": (b" \r\n\t\x0c\n", "x.md", "empty", None),
    "UTF-8 with a byte order mark": (b"\xef\xbb\xbfword", "x.md", "indexed", "word"),
    "UTF-16 LE with a mark": ("\ufeffwörd".encode("utf-16-le"), "x.md", "indexed", "wörd"),
    "UTF-16 BE with a mark": ("\ufeffwörd".encode("utf-16-be"), "x.md", "indexed", "wörd"),
    "UTF-32 with a mark": ("\ufeffwörd".encode("utf-32-le"), "x.md", "indexed", "wörd"),
    "only a byte order mark": (b"\xef\xbb\xbf", "x.md", "no_text", None),
    "UTF-16 without a mark": ("words".encode("utf-16-le"), "x.md", "indexed", "words"),
    "half a character of UTF-16": (b"\xff\xfea", "x.md", "no_text", None),
    "Latin-1": (GERMAN.encode("latin-1"), "x.md", "indexed", GERMAN.strip()),
    "Windows-1252": (QUOTED.encode("cp1252"), "x.md", "indexed", QUOTED),
    "Shift-JIS": (KANA.encode("shift-jis"), "x.txt", "indexed", KANA.strip()),
    "invalid UTF-8 in the middle": (
        ("für " * 40).encode() + b"\xff" + b" word",
        "x.md",
        "indexed",
        "für " * 40 + "\ufffd word",
    ),
    "bytes without any encoding": (bytes(range(0x80, 0x100)) * 20, "x.md", "wrong_encoding", None),
    "NUL bytes": (b"word\0word", "x.md", "unknown_format", None),
    "a PNG called .md": (PNG, "x.md", "unknown_format", None),
    "a PDF called .md": (b"%PDF-1.7 word", "x.md", "corrupt", None),
    "zero-width characters only": ("\u200b\u2060\ufeff".encode() * 9, "x.md", "no_text", None),
    "control characters only": (b"\x01\x02\x7f" * 9, "x.md", "unknown_format", None),
    "lone surrogates": (
        b"word \xed\xa0\x80 " + "für ".encode() * 200, "x.md", "indexed", "word \ufffd",
    ),
    "a lone surrogate by its number": (b"<p>a&#xD800;b</p>", "x.html", "indexed", "a\ufffdb"),
    "a very long word": (b"a" * 50_000, "x.md", "indexed", "a" * 50_000),
    "one long line": (b"word " * 20_000, "x.md", "indexed", None),
    "deep HTML": (b"<div>" * DEEP + b"word", "x.html", "corrupt", None),
    "deep HTML in Markdown": (b"<div>" * DEEP + b"word", "x.md", "corrupt", None),
    "broken HTML": (b"<p>one<b>two</p><td>three</i><<</x y=", "x.html", "indexed", None),
    "script, style, template": (
        b"<script>secret</script><style>secret</style><template>secret</template><p>word</p>"
        b"<noscript>secret</noscript><iframe>secret</iframe><svg><desc>secret</desc></svg>",
        "x.html",
        "indexed",
        "word",
    ),
    "script in Markdown": (
        b"<script>\nsecret\n\nsecret\n</script>\n\nword", "x.md", "indexed", "word",
    ),
    "only script": (b"<script>secret</script>", "x.html", "no_text", None),
    "a huge attribute": (
        b"<p class='" + b"secret " * 20_000 + b"'>word</p>", "x.html", "indexed", "word",
    ),
    "entities": (b"<p>word" + b"&amp;" * 20_000, "x.html", "indexed", "word" + "&" * 20_000),
    "entities that declare entities": (
        b"<!DOCTYPE x [<!ENTITY a 'secret'><!ENTITY b '&a;&a;'>]><p>word &b;</p>",
        "x.html",
        "indexed",
        None,
    ),
    "nested quotes": (b">" * 20_000 + b" word", "x.md", "indexed", "word"),
    "nested lists": (b"- " * 20_000 + b"word", "x.md", "indexed", None),
    "nested brackets": (b"[" * 20_000 + b"word" + b"]" * 20_000, "x.md", "indexed", None),
    "links that never end": (b"[word](" * 8_000, "x.md", "indexed", None),
    "comments inside comments": (
        b"<!--secret <!-- secret --> word " * 2_000, "x.md", "indexed", "word",
    ),
    "runs of backticks": (
        b"".join(b"`" * n + b"word " for n in range(200)), "x.md", "indexed", None,
    ),
    "link definitions": (b"[a]: http://b\n" * 3_000 + b"\nword", "x.md", "indexed", "word"),
    "a large table": (b"a|b\n-|-\n" + b"word|word\n" * 5_000, "x.md", "indexed", None),
    "empty headings": (b"#\n" * 20_000, "x.md", "no_text", None),
    "front matter that is no YAML": (b"---\na: b: c\n---\nword", "x.md", "indexed", "a: b: c"),
    "front matter that never ends": (b"---\na: b\nword", "x.md", "indexed", "word"),
    "huge front matter": (b"---\n" + b"a: b\n" * 9_000 + b"---\nword", "x.md", "indexed", "a: b"),
    "a YAML bomb": (
        b"---\na: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n---\nword", "x.md", "indexed", "*b",
    ),
    "YAML that makes objects": (
        b"---\na: !!python/object/apply:os.system [ls]\n---\nword", "x.md", "indexed", "os.system",
    ),
    "YAML nested without end": (
        b"---\na: " + b"[" * 3_000 + b"\n---\nword", "x.md", "indexed", None,
    ),
    "TOML that is broken": (b"+++\na = b c\n+++\nword", "x.md", "indexed", "a = b c"),
    "TOML nested without end": (
        b"+++\na = " + b"[" * 3_000 + b"\n+++\nword", "x.md", "indexed", "a = [[[",
    ),
    "more values than metadata hold": (
        b"---\n" + b"".join(b"a%d: b\n" % n for n in range(99)) + b"---\nword",
        "x.md",
        "indexed",
        "a98: b",
    ),
}  # fmt: skip
"""Name, as in the manual: bytes, path, outcome, and a text that must be (in) what is indexed."""


@pytest.mark.parametrize("name", TABLE)
def test_bad_input_ends_as_the_manual_says(name, words):
    data, path, expected, text = TABLE[name]

    code, found = outcome(data, path, words)

    assert code == expected
    assert "secret" not in found
    assert text is None or text in found


def told():
    """Outcomes by the first column of the manual's tables."""
    return dict(re.findall(r"^\| ([^|`]+?) \| `?(\w+)`?[^|]*\|", MANUAL.read_text(), re.MULTILINE))


def test_every_bad_input_has_its_line_in_the_manual():
    lines = told()

    assert {name: lines.get(name) for name in TABLE} == {n: row[2] for n, row in TABLE.items()}


def test_of_keys_that_are_given_twice_the_last_counts():
    data = b"---\na: 1\na: 2\n---\nword"

    assert extract(data, path="x.md", media_type=None, title=None).metadata == {"a": 2}


def test_metadata_that_no_number_can_hold_is_text():
    front = b"a: .nan\nb: .inf\nc: 1e999\nd: 2026-01-02\ne: 2026-01-02 03:04:05\nf: 1" + b"0" * 20
    found = extract(b"---\n" + front + b"\n---\nword", path="x.md", media_type=None, title=None)

    assert found.metadata == {
        "a": "nan", "b": "inf", "c": "1e999", "d": "2026-01-02", "e": "2026-01-02T03:04:05",
        "f": "0x56bc75e2d63100000",
    }  # fmt: skip


def test_a_key_that_is_a_number_of_thousands_of_digits_is_text():
    data = b"---\n? " + b"1:1" * 4_000 + b"\n---\nword"

    assert outcome(data)[0] == "indexed"


# -- too much --------------------------------------------------------------------------------------


def of(*texts, kind="paragraph"):
    return Extracted("", tuple(Block(kind, text) for text in texts), {})


def cut(extracted, tokens):
    """How many chunks, or the code of the refusal."""
    try:
        chunks = chunk(extracted, Chunking(), tokens)
    except DocumentRefused as refusal:
        return refusal.code
    refusal = judge(extracted, chunks)
    return refusal.code if refusal else len(chunks)


def sections(count):
    blocks = [Block("paragraph", "word", 0, (str(n),)) for n in range(count)]
    headings = [Block("heading", str(n), 1, (str(n),)) for n in range(count)]
    return Extracted("", tuple(b for pair in zip(headings, blocks, strict=True) for b in pair), {})


def test_12000_chunks_are_taken_and_12001_are_refused(words):
    assert cut(sections(MAX_ROWS), words) == MAX_ROWS
    assert cut(sections(MAX_ROWS + 1), words) == "too_large"


def test_more_tokens_than_can_be_chunks_are_not_counted_to_their_end():
    class Counting:
        window = 254
        characters = 0

        def offsets(self, text):
            self.characters += len(text)
            return [(n, n + 1) for n in range(len(text))]

        def count(self, texts):
            return [len(text) for text in texts]

    tokens = Counting()

    assert cut(of("漢" * 6_000_000), tokens) == "too_large"
    assert tokens.characters < MAX_ROWS * 220 + 2 * 64 * 1024


def test_words_that_no_model_sees_are_counted_too():
    class Blind:
        window = 254

        def offsets(self, text):
            return []

        def count(self, texts):
            return [0 for _ in texts]

    assert cut(of("\u200d " * 3_000_000), Blind()) == "too_large"


def test_more_blocks_than_any_document_has_are_refused_unread(words):
    assert cut(of(*["x"] * (MAX_BLOCKS + 1)), words) == "too_large"


@pytest.mark.parametrize(
    "text", ["word " * 40_000, "word\n" * 40_000, "word" * 50_000, "漢" * 200_000]
)
def test_a_long_text_is_counted_in_slices_as_it_is_in_one(text, words, monkeypatch):
    from services.enricher.chunking import measure

    sliced = measure.token_starts(text, words).tolist()
    monkeypatch.setattr(measure, "SLICE_CHARS", 10**9)
    whole = measure.token_starts(text, words).tolist()

    assert sliced == whole or "wordword" in text or "漢漢" in text
    assert abs(len(sliced) - len(whole)) <= len(text) // (64 * 1024) + 1


# -- what may be read in a process that does other work --------------------------------------------


@pytest.mark.parametrize(
    ("data", "path", "harmless"),
    [
        (b"# Head\n\nword a < b `<div>`", "x.md", True),
        (b"---\ntitle: T\n---\nword", "x.md", True),
        (b"<div>word</div>", "x.txt", True),
        (b"\xef\xbb\xbfword", "x.md", True),
        (b"x" * MAX_HARMLESS_BYTES, "x.txt", True),
        (b"x" * (MAX_HARMLESS_BYTES + 1), "x.txt", False),
        (b"x" * MAX_HARMLESS_MARKDOWN, "x.md", True),
        (b"x" * (MAX_HARMLESS_MARKDOWN + 1), "x.md", False),
        (b"<p>word</p>", "x.html", False),
        (b"word\n\n<div>word</div>", "x.md", False),
        ("<\u200bdiv>word</div>".encode(), "x.md", False),
        (b"word\r<div>", "x.md", False),
        (b"w\xf6rd", "x.md", False),
        ("\ufeffword".encode("utf-16"), "x.md", False),
        (b"---\n" + b"a: b\n" * (MAX_HARMLESS_YAML // 5) + b"---\n", "x.md", False),
        (b"+++\n" + b"a = 1\n" * (MAX_HARMLESS_YAML // 6) + b"+++\n", "x.md", False),
        (b"> - <div>word</div>", "x.md", False),
        (b"[^note]: <div>word</div>", "x.md", False),
    ],
)
def test_only_what_cannot_hurt_is_read_beside_other_work(data, path, harmless):
    assert is_harmless(data, named_format(path, None)) is harmless


def test_a_text_that_is_harmless_never_reaches_the_parser_of_html(monkeypatch):
    from shared.formats import html

    def reached(text):
        raise AssertionError

    monkeypatch.setattr(html, "read", reached)
    for data, path, _, _ in TABLE.values():
        if is_harmless(data, named_format(path, None)):
            outcome(data, path)


# -- any bytes -------------------------------------------------------------------------------------

SAMPLES = [row[0][:600] for row in TABLE.values() if len(row[0]) > 3]


@st.composite
def mutated(draw):
    """A sample with some bytes changed, cut, doubled."""
    data = bytearray(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        piece = draw(st.binary(max_size=6) | st.sampled_from(SAMPLES).map(lambda s: s[:60]))
        data[at : at + draw(st.integers(0, 20))] = piece
    return bytes(data)


@given(
    mutated() | st.binary(max_size=300),
    st.sampled_from(["x.md", "x.html", "x.txt", "x.csv", "x"]),
    st.none()
    | st.sampled_from(["text/html; charset=utf-7", "text/plain; charset=idna", "a/b;;", ""]),
)
def test_any_bytes_end_in_text_or_in_a_refusal(data, path, media_type):
    try:
        found = extract(data, path=path, media_type=media_type, title=None)
    except DocumentRefused:
        return

    assert sum(len(block.text) for block in found.blocks) <= 8 * len(data) + 100
    assert all(block.text.encode() for block in found.blocks)
    assert len(found.title) <= 121
    assert all(isinstance(v, str | int | float | bool | None) for v in found.metadata.values())
