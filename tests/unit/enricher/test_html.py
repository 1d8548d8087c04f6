import re

import pytest

from shared.domain.errors import DocumentRefused
from shared.formats.html import MAX_DEPTH, read


def kinds(text):
    return [(block.kind, block.text) for block in read(text).blocks]


def test_what_is_not_content_is_dropped():
    text = "<nav>menu</nav><style>p{}</style><script>x()</script><template>t</template><p>kept</p>"

    assert kinds(text) == [("paragraph", "kept")]


def test_blocks_are_parted_and_blanks_collapse():
    assert kinds("<div>one\n  <b>two</b>&nbsp;&amp; <i>three</i><p>four<br>five</div>six") == [
        ("paragraph", "one two & three"),
        ("paragraph", "four\nfive"),
        ("paragraph", "six"),
    ]


def test_headings_have_levels():
    blocks = read("<h1>A <small>b</small></h1><p>x</p><h3>C</h3>").blocks

    assert [(b.kind, b.text, b.level) for b in blocks] == [
        ("heading", "A b", 1),
        ("paragraph", "x", 0),
        ("heading", "C", 3),
    ]


def test_lists_keep_numbers_and_nesting():
    assert kinds("<ol><li>a<ul><li>in</ul><li><p>b</p></ol>") == [
        ("list", "1. a\n  - in\n2. b"),
    ]


def test_tables_are_rows_of_cells():
    text = "<table><tr><th>A<th>B</tr><tr><td>1<td><p>2</p><p>3</p></table>"

    assert kinds(text) == [("table", "A | B\n1 | 2 3")]


def test_preformatted_text_keeps_its_lines():
    assert kinds("<pre><code>a\n  b\n</code></pre>") == [("code", "a\n  b")]


def test_title_language_and_author_are_found():
    page = read(
        "<html lang='de'><head><title> A\n page </title><meta name=Author content='B &amp; C'>"
        "<meta name=viewport content=no></head><body>x</body></html>"
    )

    assert page.title == "A page"
    assert page.metadata == {"language": "de", "author": "B & C"}


@pytest.mark.parametrize(
    "text", ["<p>a<b>b</p>c</b>", "<table><p>x</table>", "</ul></table></pre>y", "<li>x", "<h2>z"]
)
def test_broken_html_still_gives_its_text(text):
    assert kinds(text)


def test_nesting_that_would_take_the_parser_minutes_is_refused():
    with pytest.raises(DocumentRefused) as refusal:
        read("<div>" * (MAX_DEPTH + 1))

    assert refusal.value.code == "corrupt"


def test_elements_that_close_themselves_are_not_nesting():
    assert len(kinds("<p>x" * (MAX_DEPTH + 1))) == MAX_DEPTH + 1


def tables(text):
    return [(block.text, block.level) for block in read(text).blocks if block.kind == "table"]


HEAD = "<thead><tr><th>Part<th>Price</thead>"
ROWS = "<tr><td>bearing<td>7<tr><td>seal<td>9"


@pytest.mark.parametrize(
    ("table", "text", "head"),
    [
        (f"{HEAD}{ROWS}", "Part | Price\nbearing | 7\nseal | 9", 1),
        (f"<tr><th>Part<th>Price{ROWS}", "Part | Price\nbearing | 7\nseal | 9", 1),
        (ROWS, "bearing | 7\nseal | 9", 1),
        ("<tr><th>bearing<td>7<tr><th>seal<td>9", "bearing | 7\nseal | 9", 1),
        ("<tr><th>bearing<th>7<tr><th>seal<th>9", "bearing | 7\nseal | 9", 1),
        (f"<caption>Table <b>4</b>:<br>spare parts</caption>{HEAD}{ROWS}",
         "Table 4: spare parts\nPart | Price\nbearing | 7\nseal | 9", 2),
        (f"<caption>Parts</caption>{ROWS}", "Parts\nbearing | 7\nseal | 9", 2),
        ("<caption>Parts</caption>", "Parts", 1),
        (f"<caption> </caption>{HEAD}{ROWS}", "Part | Price\nbearing | 7\nseal | 9", 1),
        ("<thead><tr><th>2026<th>2027<tr><th>May<th>June</thead><tr><td>1<td>2",
         "2026 | 2027\nMay | June\n1 | 2", 2),
        (f"<tr><th>Part<td><table>{HEAD}{ROWS}</table>{ROWS}",
         "Part\nPart | Price\nbearing | 7\nseal | 9\nbearing | 7\nseal | 9", 1),
    ],
)  # fmt: skip
def test_a_table_begins_with_its_caption_and_its_header_and_counts_their_lines(table, text, head):
    assert tables(f"<table>{table}</table>") == [(text, head)]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("10<sup>6</sup> and 2<sup>10</sup>", "10^6 and 2^10"),
        ("10<sup>6</sup>5", "10^6 5"),
        ("1011<sub>2</sub> H<sub>2</sub>O m<sup>2</sup>", "1011_2 H2O m2"),
        ("1<sup>st</sup> XX<sup>e</sup> M<sup>me</sup>", "1st XXe Mme"),
        ("a word<sup>12</sup>, Acme<sup>TM</sup>", "a word^12, Acme^TM"),
        ("mol<sup>-1</sup>", "mol-1"),
        ("<math><msup><mn>10</mn><mn>6</mn></msup></math>", "10^6"),
        ("<math><mfrac><mn>1</mn><mn>2</mn></mfrac><mn>3</mn></math>", "1/2 3"),
        ("<math><semantics><mi>x</mi><annotation>\\x</annotation></semantics></math>", "x"),
        ("<ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp>字<rt>ji</rt></ruby>です", "漢字(kanji)です"),
        ("<ruby>a<rt>b", "a(b)"),
        ("Donau<wbr>dampf&shy;schiff", "Donaudampfschiff"),
        ("one<img alt='a relay' src=x>two", "one a relay two"),
        ("one<img alt='' src=x>two", "one two"),
        ("<map>one<area alt=north>two</map>", "one north two"),
        ("<a href=x aria-label=Close>one</a>", "one"),
        ("Land<select><option>A<option>B</select><button>Save</button><button>Go</button>",
         "Land\nA\nB Save Go"),
        ("<select><optgroup label=EU><option label=Austria></select>", "EU\nAustria"),
        ("Name<input placeholder=Yours>Mail<input type=email value=a@b placeholder=c>",
         "Name Yours Mail a@b"),
        ("<input type=submit value=Send><input type=image alt=Go value=x>", "Send Go"),
        ("x<input type=hidden value=y><input type=password value=y>", "x"),
        ("x<input type=radio value=y><input type=range value=5>", "x"),
        ("<textarea placeholder=Text></textarea><textarea placeholder=x>My text</textarea>",
         "Text My text"),
        ("see <svg><title>gear</title><desc>no</desc><defs><text>no</text></defs><text>A</text>"
         "<text>B<tspan x=1>C</tspan></text></svg>here", "see gear A B C here"),
        ("<x-part>one</x-part><x-part>two</x-part>", "one two"),
        ("one<title>two</title>three", "one two three"),
        ("one<video>two</video>three", "one two three"),
        ("a&#1;b", "ab"),
    ],
)  # fmt: skip
def test_words_are_apart_where_a_browser_shows_them_apart(text, seen):
    assert kinds(text) == [("paragraph", seen)]
    assert kinds(f"<h2>{text}</h2>") == [("heading", " ".join(seen.split()))]


@pytest.mark.parametrize(
    "tag",
    ["p", "div", "li", "h2", "dt", "dd", "figcaption", "summary", "legend", "hgroup", "search"],
)
@pytest.mark.parametrize("around", ["div", "blockquote", "ul", "details", "section"])
def test_no_block_is_glued_to_what_is_beside_it(tag, around):
    text = f"<{around}>one<{tag}>two</{tag}>three</{around}>"

    assert re.findall(r"\w+", " ".join(block for _, block in kinds(text))) == [
        "one",
        "two",
        "three",
    ]


def test_a_list_has_the_numbers_that_a_browser_shows():
    assert kinds("<ol start=5><li>a<li value=9>b<li>c</ol><ol start=x><li>d</ol>") == [
        ("list", "5. a\n9. b\n10. c"),
        ("list", "1. d"),
    ]


def test_what_a_browser_does_not_show_is_dropped():
    text = "<iframe>a</iframe><noscript>b</noscript><noframes>c</noframes><noembed>d</noembed>e"

    assert kinds(text) == [("paragraph", "e")]


def test_xml_is_read_as_xml_where_html_would_lose_its_words():
    page = read(
        "<?xml version='1.0'?><html><head><title>T</title><script src='x'/></head>"
        "<body><p>one <![CDATA[<two>]]></p><textarea/><p>three</p></body></html>"
    )

    assert page.title == "T"
    assert [block.text for block in page.blocks] == ["one <two>", "three"]


def test_a_title_of_any_length_keeps_its_words():
    page = read(f"<title>{'word ' * 100}end</title><p>x")

    assert page.title.endswith("…")
    assert page.blocks[0].text == "word " * 100 + "end"


@pytest.mark.parametrize(
    ("head", "metadata"),
    [
        ("<meta property=article:published_time content=2026-01-02>", {"date": "2026-01-02"}),
        ("<meta name=date content=1><meta name=dcterms.date content=2>", {"date": "1"}),
        ("<meta name=DC.Date.Issued content=2026>", {"date": "2026"}),
        ("<meta property=article:modified_time content=2027>", {"modified": "2027"}),
        ("<meta name=dcterms.creator content=Ada>", {"author": "Ada"}),
        ("<meta name=author content=Ada><meta name=author content=Bob>", {"author": "Ada, Bob"}),
        ("<meta name=author content=Ada><meta name=DC.creator content=Eve>", {"author": "Ada"}),
        ("<meta name=dc.language content=sv>", {"language": "sv"}),
        ("<meta http-equiv=Content-Language content=fi>", {"language": "fi"}),
        ("<meta name=author content=' '><meta name=generator content=x>", {}),
    ],
)
def test_metadata_are_what_the_page_says_of_itself(head, metadata):
    page = read(f"<head>{head}</head><p>by Zoe, 1999-01-01")

    assert page.metadata == metadata
    assert page.origins == dict.fromkeys(metadata, "meta")


def test_a_long_value_is_cut_at_a_word_and_shows_it():
    page = read(f"<meta name=description content='{'word ' * 120}'><p>x")

    assert page.metadata["description"] == ("word " * 100).strip() + "…"


def test_the_language_of_the_page_is_that_of_its_root():
    page = read("<html lang=' de-AT '><meta name=dc.language content=sv><p>x")

    assert (page.metadata, page.origins) == ({"language": "de-AT"}, {"language": "html lang"})
