import pytest

from shared.formats.blocks import MAX_LINE_TITLE
from shared.formats.extract import extract
from shared.formats.frontmatter import MAX_CHARS, MAX_KEYS, MAX_VALUE_CHARS

LONG = " ".join(f"word{n}" for n in range(MAX_VALUE_CHARS // 4))


def md(text, title=None):
    return extract(text.encode(), path="x.md", media_type=None, title=title)


def kinds(extracted):
    return [(block.kind, block.text) for block in extracted.blocks]


BROKEN = {
    "a colon in YAML": ("---", "title: Release 4: what changed\nowner: ops-mongoose"),
    "a colon below a comment": ("---", "# of the release\ntitle: Release 4: what changed"),
    "a date that there is not": ("---", "date: 2026-99-99"),
    "an alias": ("---", "a: &x [1]\nb: *x"),
    "a quote that never ends": ("---", "title: 'Release\nowner: ops"),
    "TOML without quotes": ("+++", "title = Release 4"),
    "YAML between the marks of TOML": ("+++", "title: Release 4"),
    "a key of many parts": ("+++", "a" + ".a" * 7_000 + " = 1"),
    "more than is parsed": ("---", "\n".join(f"key{n}: value" for n in range(MAX_CHARS // 10))),
    "more TOML than is parsed": ("+++", f"title = '{'word ' * (MAX_CHARS // 5)}'"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("between", ["\n", "\n\n"])
def test_front_matter_that_cannot_be_read_is_a_paragraph_of_its_words(name, between):
    fence, raw = BROKEN[name]

    found = md(f"{fence}\n{raw}\n{fence}{between}# Overview\n\nbody")

    assert kinds(found) == [("paragraph", raw), ("heading", "Overview"), ("paragraph", "body")]
    assert (found.title, found.metadata) == ("Overview", {})


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("---\n\n# One\n\nSee *this*: a: b\n\n---\nbody", ["One", "See this: a: b", "body"]),
        ("---\n- one\n- two\n---\nbody", ["- one\n- two", "body"]),
        ("---\ntitle: one: two\nbody", ["title: one: two\nbody"]),
        ("+++\ntitle = 'one'\nbody", ["+++\ntitle = 'one'\nbody"]),
        ("--- \ntitle: one\n---x\nbody", ["title: one\n---x\nbody"]),
    ],
)
def test_what_is_no_front_matter_is_markdown(text, blocks):
    assert [block.text for block in md(text).blocks] == blocks


def test_toml_is_read_as_yaml_is():
    toml = "+++\ntitle = 'T'\ndate = 2026-01-02\ntags = ['a', 'b']\n[menu]\nname = 'M'\n+++\nbody"
    yaml = "---\ntitle: T\ndate: 2026-01-02\ntags: [a, b]\nmenu: {name: M}\n---\nbody"

    assert md(toml) == md(yaml)
    assert md(toml).title == "T"
    assert md(toml).metadata == {"date": "2026-01-02", "tags": "a, b", "menu": "name: M"}


def test_values_that_are_no_scalars_are_their_words():
    found = md("---\na: [1, [b, {c: d}]]\ne: {f: [g], h: 2026-01-02, i: null, j: true}\n---\nbody")

    assert found.metadata == {"a": "1, b, c: d", "e": "f: g, h: 2026-01-02, i: , j: True"}


def test_clock_times_and_leading_zeros_stay_as_they_are_written():
    assert md("---\nopen: 12:30\nagent: 007\nn: 0\nm: -1\n---\nbody").metadata == {
        "open": "12:30",
        "agent": "007",
        "n": 0,
        "m": -1,
    }


def test_title_authors_date_and_language_have_one_name_each():
    front = "Title: T\nauthors: [Ann, Bob]\nDate: 2026-01-02\nlang: de\nweight: 3"

    found = md(f"---\n{front}\n---\n# Head\n\nbody")

    assert found.title == "T"
    assert found.metadata == {
        "author": "Ann, Bob", "date": "2026-01-02", "language": "de", "weight": 3,
    }  # fmt: skip
    assert found.origins == {
        name: "front matter" for name in ("title", "author", "date", "language", "weight")
    }


def test_names_that_become_one_lose_no_value():
    found = md("---\nauthor: Ann\nauthors: Bob\nAUTHORS: Cid\n1: one\n'1': uno\n---\nbody")

    assert found.metadata == {"author": "Ann", "authors": "Bob", "AUTHORS": "Cid", "1": "one"}
    assert kinds(found)[0] == ("paragraph", "1: uno")


def test_a_title_from_a_heading_says_so():
    assert md("---\na: b\n---\n# Head\n\nbody").origins == {"a": "front matter", "title": "heading"}
    assert md("body").origins == {}


def test_values_without_room_in_the_metadata_stay_as_text():
    many = "".join(f"k{n}: v{n}\n" for n in range(MAX_KEYS + 2))

    found = md(f"---\n{many}\n{'n' * 65}: name\n---\nbody")
    long = md(f"---\ndescription: {LONG}\nb: c\n---\nbody")

    rest = f"k{MAX_KEYS}: v{MAX_KEYS}\nk{MAX_KEYS + 1}: v{MAX_KEYS + 1}\n{'n' * 65}: name"
    assert kinds(found) == [("paragraph", rest), ("paragraph", "body")]
    assert kinds(long) == [("paragraph", f"description: {LONG}"), ("paragraph", "body")]
    assert len(long.metadata["description"]) <= MAX_VALUE_CHARS + 1
    assert long.metadata["b"] == "c"


def test_a_long_title_is_shortened_and_stays_as_text():
    found = md(f"---\ntitle: {LONG}\n---\nbody")

    assert len(found.title) <= MAX_LINE_TITLE + 1
    assert kinds(found) == [("paragraph", LONG), ("paragraph", "body")]


def test_a_title_that_the_publisher_replaces_stays_as_text():
    text = "---\ntitle: Front\n---\nbody"

    assert kinds(md(text, title="Given"))[0] == ("paragraph", "Front")
    assert "title" not in md(text, title="Given").origins
    assert kinds(md(text, title="Front"))[0] == ("paragraph", "body")
