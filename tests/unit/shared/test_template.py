"""The template of embedded text: names in braces stand for values, and nothing else happens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.template import OF_RECORDS, parse, render


def whole(template, text="TEXT", *, title="", heading="", **metadata):
    before, after = render(template, title=title, heading=heading, metadata=metadata)
    return f"{before}{text}{after}"


@pytest.mark.parametrize(
    ("template", "values", "expected"),
    [
        ("{text}", {"title": "T"}, "TEXT"),
        ("{title} {title} {text}", {"title": "T"}, "T T TEXT"),
        ("{title}\n{heading}\n{text}", {"title": "T", "heading": "A > B"}, "T\nA > B\nTEXT"),
        ("{title}\n{heading}\n{text}", {"title": "T"}, "T\nTEXT"),
        ("{title}\n{heading}\n{text}", {}, "TEXT"),
        ("by {author}: {text}", {"author": "Ada"}, "by Ada: TEXT"),
        ("by {author}: {text}", {}, "TEXT"),
        ("{text}\nprice: {price}\nin {place}", {"place": "Ulm"}, "TEXT\nin Ulm"),
        ("{text} ({brand})", {}, "TEXT"),
        ("{text} ({brand})", {"brand": "Acme"}, "TEXT (Acme)"),
        ("query: {text}", {}, "query: TEXT"),
        ("passage\n\n{text}", {}, "passage\n\nTEXT"),
        ("{{{title}}} {text}", {"title": "T"}, "{T} TEXT"),
        ("{ title } {text}", {"title": "T"}, "T TEXT"),
        ("{a} {b} {c} {d} {e} {text}", {"a": 1, "b": 0.5, "c": True, "d": None, "e": "x\ny"},
         "1 0.5 true  x y TEXT"),
        (OF_RECORDS, {"title": "Hose"}, "Hose Hose\nTEXT"),
        (OF_RECORDS, {}, "TEXT"),
    ],
)  # fmt: skip
def test_names_stand_for_values_and_lines_without_any_value_are_left_out(
    template, values, expected
):
    assert whole(template, **values) == expected


@pytest.mark.parametrize(
    "template",
    [
        *("", "{title}", "{text} {text}", "{text", "text}", "{} {text}", "{ } {text}", "{{text}}"),
        *("{title{text}}", "{ti\ntle} {text}", "{text}}", "{{text}", "}{text}{"),
    ],
)
def test_a_template_that_is_broken_or_has_no_place_for_the_text_is_refused(template):
    with pytest.raises(ValueError, match=r"\{text\}|\{ has no|\} has no"):
        parse(template)


@pytest.mark.parametrize(
    "name", ["title.__class__", "title!r", "title:>9999999999", "0", "a[0]", "title.upper()"]
)
def test_a_name_is_a_name_of_metadata_whatever_it_looks_like(name):
    assert whole(f"{{{name}}} {{text}}", title="T") == "TEXT"
    assert whole(f"{{{name}}} {{text}}", title="T", **{name: "value"}) == "value TEXT"


@given(title=st.text(), heading=st.text(), text=st.text(), value=st.text())
def test_what_a_document_says_is_never_read_as_a_template(title, heading, text, value):
    before, after = render(
        "{title}|{heading}|{text}|{brand}", title=title, heading=heading, metadata={"brand": value}
    )

    shown = " ".join(value.split())
    assert before == (f"{title}|{heading}|" if title or heading else "")
    assert after == (f"|{shown}" if shown else "")


@given(st.text("{}tex\n a", max_size=30))
def test_any_template_is_rendered_or_refused(template):
    try:
        parse(template)
    except ValueError:
        return
    before, after = render(template, title="T", heading="H", metadata={"t": 1})
    assert isinstance(before, str)
    assert isinstance(after, str)


@given(st.lists(st.sampled_from(["{title}", "{heading}", "{x}", " ", "\n", "words"]), max_size=9))
def test_a_template_without_any_value_leaves_the_text_and_its_own_words(parts):
    template = "".join([*parts, "{text}"])

    rendered = whole(template)

    assert rendered.endswith("TEXT")
    assert rendered.count("words") <= parts.count("words")
