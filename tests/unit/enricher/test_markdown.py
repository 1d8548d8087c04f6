import pytest

from services.enricher.formats.blocks import clean
from services.enricher.formats.markdown import plain, read


def kinds(text):
    return [(block.kind, block.text) for block in read(clean(text))]


def test_headings_of_both_kinds_have_levels():
    blocks = read("# One #\ntext\n\nTwo words\n---------\n\n### C# {#anchor}\n\nThree\n===")

    assert [(b.text, b.level) for b in blocks if b.kind == "heading"] == [
        ("One", 1),
        ("Two words", 2),
        ("C#", 3),
        ("Three", 1),
    ]


def test_code_keeps_its_lines_and_loses_its_fence():
    assert kinds("```go title=x\nif x {\n\n\n  y()\n}\n```\nafter") == [
        ("code", "if x {\n\n  y()\n}"),
        ("paragraph", "after"),
    ]


def test_nothing_inside_code_is_markup():
    assert kinds("~~~\n# no heading\n| a |\n|---|\n- `x` [l](u) **b**\n```\n~~~") == [
        ("code", "# no heading\n| a |\n|---|\n- `x` [l](u) **b**\n```")
    ]


def test_a_fence_that_nobody_closes_ends_with_the_document():
    assert kinds("```\na\n\n# b") == [("code", "a\n\n# b")]


def test_indented_code_follows_a_blank_line_only():
    assert kinds("text\n    still text\n\n    code\n      more") == [
        ("paragraph", "text\nstill text"),
        ("code", "code\n  more"),
    ]


def test_a_table_is_one_block_of_rows_without_its_rule():
    assert kinds("| a | b |\n|:--|--:|\n| 1 | x \\| `y` |\n| 2 |   |\n\nend") == [
        ("table", "a | b\n1 | x | y\n2 |"),
        ("paragraph", "end"),
    ]


def test_a_table_may_follow_a_line_of_text():
    assert [kind for kind, _ in kinds("text\na | b\n--|--\n1 | 2")] == ["paragraph", "table"]


def test_a_list_keeps_its_items_its_nesting_and_its_code_together():
    text = "1. one\n\n   ```sh\n   - not an item\n   ```\n\n   more\n2. two\n   * inner\n\nafter"

    assert kinds(text) == [
        ("list", "1. one\n   - not an item\n   more\n2. two\n   * inner"),
        ("paragraph", "after"),
    ]


def test_a_quote_loses_its_marks_at_any_depth():
    assert kinds("> a\n>> b\nlazy\n\nc") == [("quote", "a\nb\nlazy"), ("paragraph", "c")]


def test_html_inside_markdown_is_read_as_html():
    assert kinds(
        "<div>\n<p>inside &amp; out</p>\n</div>\n\n<!-- gone\n\nstill gone -->\nafter"
    ) == [
        ("paragraph", "inside & out"),
        ("paragraph", "after"),
    ]


def test_rules_link_definitions_and_template_tags_say_nothing():
    text = '***\n[ref]: https://example.org\n{% tabs %}\n{% tab title="Go" %}\nx\n{% endtab %}'

    assert kinds(text) == [("paragraph", "Go"), ("paragraph", "x")]


@pytest.mark.parametrize(
    ("marked", "bare"),
    [
        (
            "see [the *docs*](http://x.y/a_(b) 'no') now",
            "see [the *docs*](http://x.y/a_(b) 'no') now",
        ),
        ('see [the docs](http://x.y/a_(b) "t") now', "see the docs now"),
        ("[![badge](a.png)](b) ![alt](c)", "badge alt"),
        ("[by name][1] and [`code`](#x)", "by name and code"),
        ("**bold** and `<tag> **raw** \\_`", "bold and <tag> **raw** \\_"),
        ("a\\_b <b>x</b> &lt;y&gt; <my_stream>", "a_b x <y> <my_stream>"),
        ("call arr[i](x) and 2**8", "call arr[i](x) and 2**8"),
    ],
)
def test_inline_markup_goes_and_text_stays(marked, bare):
    assert plain(marked) == bare


@pytest.mark.parametrize(
    "text",
    [
        ">" * 50_000 + " x",
        "[" * 100_000 + "x",
        "![a](" * 20_000 + "x",
        "`" * 100_000 + " x",
        "<!-- " * 20_000 + "x",
        "# a" + " " * 100_000 + "x",
        "**" * 50_000 + " x",
        "\n".join(" " * (n % 900) + "- x" for n in range(2_000)),
        "|" * 50_000 + "\n" + "|-" * 25_000,
    ],
    ids=lambda text: text[:6],
)
def test_hostile_text_takes_no_more_time_than_its_length(text):
    read(clean(text))  # quadratic time would take minutes; the suite's own limit would end it
