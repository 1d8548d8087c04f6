import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.formats import html
from shared.formats.blocks import clean
from shared.formats.markdown import MAX_DEPTH, has_html, read

PIECES = [
    *("> ", "- ", "1. ", "[^a]: ", ": ", "~ ", "\n", "\n\n", "    ", "\t", "# ", "a", "`", "```\n"),
    *("<div>", "<b>", "<!--", "-->", "<", "</p>", "<?", "<x>", "{% a %}", "|", "|-|\n", "\\", "é"),
]


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
        ("see [the *docs*](http://x.y/a_(b) 'no') now", "see the docs now"),
        ('see [the docs](http://x.y/a_(b) "t") now', "see the docs now"),
        ("[![badge](a.png)](b) ![alt](c)", "badge alt"),
        ("[by name][1] and [`code`](#x)\n\n[1]: /y", "by name and code"),
        ("[by name][1] and [ ] or [x]", "[by name][1] and [ ] or [x]"),
        ("**bold** and `<tag> **raw** \\_`", "bold and <tag> **raw** \\_"),
        ("a\\_b <b>x</b> &lt;y&gt; <my_stream>", "a_b x <y> <my_stream>"),
        ("call arr[i] (x) and 2**8", "call arr[i] (x) and 2**8"),
        ("*a* _b_ ~~c~~ ***d*** un*frigging*believable", "a b c d unfriggingbelievable"),
        ("one<br>two<p>three<!-- no --></p>", "one\ntwo three"),
        ("show <path> or <PATH ID>, not <b>bold</b>", "show <path> or <PATH ID>, not bold"),
        ('![one](a.png)![two](b.png) <img src=x alt="three">four', "one two three four"),
        ("<https://example.org/x> &copy; &#8203;&shy;&#13;", "https://example.org/x ©"),
    ],
)
def test_inline_markup_goes_and_text_stays(marked, bare):
    assert kinds(marked) == [("paragraph", bare)]


@pytest.mark.parametrize("blank", [" ", "\n"])
def test_a_long_text_is_parsed_in_slices_as_it_is_in_one(blank):
    text = blank.join(["*one*", "[two](three)", "`four`"] * 20_000)

    assert kinds(text) == [("paragraph", blank.join(["one", "two", "four"] * 20_000))]


def test_lines_that_begin_with_a_label_are_text():
    assert kinds("[Alice]: we ship on Friday\n\n[ERROR]: cannot open a.db\n[WARN]: *no*") == [
        ("paragraph", "[Alice]: we ship on Friday"),
        ("paragraph", "[ERROR]: cannot open a.db\n[WARN]: no"),
    ]


def test_a_definition_whose_target_is_a_word_stays_as_text():
    text = '[INFO]: Größe\n[Bob]: yes. "not now"\n[Cid]: yes!\n\n[Bob], [see]\n\n[see]: b.md "no"'

    assert kinds(text) == [
        ("paragraph", "[INFO]: Größe"),
        ("paragraph", "[Bob]: yes. not now"),
        ("paragraph", "[Cid]: yes!"),
        ("paragraph", "Bob, see"),
    ]


def test_footnotes_stay_where_they_are_with_or_without_a_reference():
    text = "Some[^1] and[^no].\n\n[^1]: One\n    more.\n\n    - item\n\n[^b]: Two.\n\n[^c]:"

    assert kinds(text) == [
        ("paragraph", "Some and[^no]."),
        ("paragraph", "[^1]: One\n      more.\n      - item"),
        ("paragraph", "[^b]: Two."),
        ("paragraph", "[^c]:"),
    ]


def test_lines_below_a_long_label_of_a_footnote_are_not_indented_as_far():
    text = f"[^{'a' * 2_000}]: one" + "\n\n    two" * 500

    assert sum(len(block.text) for block in read(text)) < 3 * len(text)


def test_a_definition_list_keeps_its_marks():
    assert kinds("Term *one*\n: first\n\n  more\n: second\n\nTerm two\n~ third") == [
        ("list", "Term one\n: first\n  more\n: second\nTerm two\n: third"),
    ]


def test_a_task_list_keeps_its_boxes():
    assert kinds("- [ ] open\n- [x] done") == [("list", "- [ ] open\n- [x] done")]


def test_marks_of_items_inside_items_stand_before_their_text():
    text = "- 1. one\n     two\n  2. > quoted\n- \n- # head\n  | a | b |\n  |---|---|\n  | c | d |"

    assert kinds(text) == [
        ("list", "- 1. one\n     two\n  2. quoted\n-\n- head\n  a | b\n  c | d"),
    ]


def test_code_inside_a_list_is_verbatim():
    text = "- a\n\n  ```sh title=x\n  *no* [l](u)\n\n    <b>\n  ```\n\n      x  *y*"

    assert kinds(text) == [("list", "- a\n  *no* [l](u)\n  \n    <b>\n  x  *y*")]


def test_a_table_says_that_its_header_is_one_line():
    tables = [block for block in read("|a|b|\n|-|-|\n|c|d|\n\n| | |\n|-|-|\n|c|d|")]

    assert [(t.text, t.level) for t in tables] == [("a | b\nc | d", 1), ("c | d", 0)]


def test_cells_beyond_the_header_stay():
    assert kinds("| a | b |\n|---|---|\n| ls | grep x | wc |\n|| *y* || z |") == [
        ("table", "a | b\nls | grep x | wc\n | y |  | z"),
    ]


def test_a_heading_loses_its_identifier_only():
    text = "# A {b} {#id}\n\n## {#x} c {d}\n\n### e {#two words}"

    assert [b.text for b in read(text)] == ["A {b}", "{#x} c {d}", "e {#two words}"]


def test_a_line_of_several_template_tags_keeps_what_is_between():
    text = '{% if a %} words {% endif %}\n\n- {% x title="Go" %}\n  y\n  {% endx %}'

    assert kinds(text) == [
        ("paragraph", "{% if a %} words {% endif %}"),
        ("list", "- Go\n  y"),
    ]


def test_html_inside_lists_and_quotes_is_part_of_them():
    text = "- <div>\n  <p>one</p><p>two</p>\n  </div>\n\n> <h2>three</h2>"

    assert kinds(text) == [("list", "- one\n  two"), ("quote", "three")]


def test_a_line_of_unknown_tags_begins_text_that_is_no_markdown():
    text = "<dependency>\n<groupId>a&amp;b</groupId>\n  ![c](d) <b>e</b><br>f <!-- g -->"

    assert kinds(text) == [
        ("paragraph", "<dependency>\n<groupId>a&b</groupId>\n![c](d) e\nf"),
    ]


@pytest.mark.parametrize("mark", ["> ", "- ", "1. ", "[^a]: ", ">", "- > "])
@pytest.mark.parametrize("depth", range(MAX_DEPTH // 2 - 2, MAX_DEPTH + 4))
def test_what_is_nested_deeper_than_is_parsed_stays(mark, depth):
    text = f"{mark * depth}first\n{'  ' * depth}# second\n\n{'    ' * depth}third\n\nfourth"

    words = " ".join(block.text for block in read(text)).split()

    assert {"first", "second", "third", "fourth"} <= set(words)


@pytest.mark.parametrize(
    "text",
    [
        "<div>x</div>",
        "a\n\n> - <p>",
        "1. <b>",
        ": <br>",
        "[^note]: <div>",
        "- [^note]: [^b]: <div>",
        "## a\n<!-- b -->",
        "*\t<?php ?>",
        "* * <x>",
    ],
)
def test_what_might_be_html_is_told_before_it_is_read(text):
    assert has_html(text)


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_no_text_without_html_reaches_the_parser_of_html(text):
    text = clean(text)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(html, "read", lambda _: pytest.fail("it was called"))
        if not has_html(text):
            read(text)


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
        "a<!--" * 20_000 + "-->",
        "a<!--" * 200_000,
        "[^a]: x\n\n" + "[^" * 50_000,
        "![a" * 30_000 + "](b)" * 30_000,
        "xxxxxxxx[" * 10_000,
        "a\n: " * 10_000,
        "\n".join(" " * (n % 900) + "- x" for n in range(2_000)),
        "|" * 50_000 + "\n" + "|-" * 25_000,
    ],
    ids=lambda text: text[:6],
)
def test_hostile_text_takes_no_more_time_than_its_length(text):
    read(clean(text))  # quadratic time would take minutes; the suite's own limit would end it
