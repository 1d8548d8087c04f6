import pytest

from services.enricher.formats.html import MAX_DEPTH, read
from shared.domain.errors import DocumentRefused


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
