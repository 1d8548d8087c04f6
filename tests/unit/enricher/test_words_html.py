"""No word that a person sees on a page is lost, and no two that a browser shows apart are glued.

The page is read a second time: the parser's own text of it, after the parts that the manual
excludes are taken out, attributes that a browser shows are written as text, and every element that
is not inline got blanks around it.
"""

import re
import sysconfig
import unicodedata
from collections import Counter
from contextlib import suppress
from html import escape
from itertools import islice
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from shared.domain.errors import DocumentRefused
from shared.formats.extract import extract

EXCLUDED = "script, style, template, nav, noscript, noframes, noembed, iframe, rp"
EXCLUDED_OF_SVG = "svg metadata, svg desc, svg defs, svg symbol, semantics > annotation"
INLINE = {
    *("a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em"),
    *("font", "i", "ins", "kbd", "label", "mark", "q", "rt", "ruby", "s", "samp", "small", "span"),
    *("strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr"),
}
ATTRIBUTES = {
    "img": ["alt"],
    "area": ["alt"],
    "option": ["label"],
    "optgroup": ["label"],
    "input": ["value", "placeholder"],
    "textarea": ["placeholder"],
}
UNSEEN = {"hidden", "file", "checkbox", "radio", "color", "range"}
IGNORABLE = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff]")


def words(text):
    """Words, and how often; the marks that part a raised number from another are not letters."""
    plain = unicodedata.normalize("NFC", IGNORABLE.sub("", text))
    return Counter(re.findall(r"\w+", re.sub(r"(?<=\w)[\^_/](?=\w)", "", plain)))


def seen(page):
    """Words of the body, and of the title."""
    tree = LexborHTMLParser(page)
    for unseen in tree.css(f"{EXCLUDED}, {EXCLUDED_OF_SVG}"):
        unseen.decompose()
    for node in list(tree.body.traverse()) if tree.body else ():
        if node.tag in ATTRIBUTES:
            node.insert_before(shown(node))
        if node.tag not in INLINE:
            node.insert_before(" ")
            node.insert_after(" ")
    for ruby in tree.css("ruby"):
        readings = [reading.text() for reading in ruby.css("rt")]
        for reading in ruby.css("rt"):
            reading.decompose()
        if any(readings):
            ruby.insert_after(f"({''.join(readings)})")
    title = tree.css_first("head > title")
    body = tree.body.text(separator="") if tree.body else ""
    return words(body), words(title.text() if title else "")


def shown(node):
    """What a browser shows of the attributes of an element."""
    names, kind = ATTRIBUTES[node.tag], (node.attributes.get("type") or "").lower()
    if node.tag == "input":
        names = [] if kind in UNSEEN else {"image": ["alt"], "password": names[1:]}.get(kind, names)
    if node.tag == "textarea" and node.child is not None:
        names = []
    values = [value for name in names if (value := node.attributes.get(name))]
    return f" {values[0]} " if values else " "


def differences(page):
    """Words that are lost, and words that the page does not have."""
    text, title = seen(page)
    try:
        found = extract(page.encode(), path="a.html", media_type=None, title=None)
    except DocumentRefused as refusal:
        if refusal.code not in ("no_text", "empty"):
            raise
        return +text, Counter()
    got = sum((words(one) for one in texts(found.blocks)), Counter())
    titles = words(f"{found.title} {found.metadata.get('page_title', '')}")
    added = got - text - title
    if "<ol" in page.lower():  # whose items a browser numbers, too
        added = Counter({word: n for word, n in added.items() if not word.isdecimal()})
    return (text - got) + (title - (titles | got)), added


def texts(blocks):
    """Texts of the blocks, without a heading that is kept whole after its shortened form."""
    for block, after in zip(blocks, [*blocks[1:], None], strict=True):
        whole = after is not None and after.text.startswith(block.text[:-1])
        if not (block.kind == "heading" and block.text.endswith("…") and whole):
            yield block.text


TEXT = st.text("abcäß漢1 \n&<\u00ad", max_size=9).map(escape)
VOID = st.sampled_from(["br", "wbr", "hr"]).map("<{}>".format)
SHOWN = st.builds(
    "<{} {}={} type={}>".format,
    st.sampled_from(["img", "input", "area"]),
    st.sampled_from(["alt", "value", "placeholder", "title"]),
    TEXT.map('"{}"'.format),
    st.sampled_from(["text", "submit", "image", "hidden", "password", "checkbox"]),
)
ELEMENTS = [
    *("a", "b", "span", "code", "label", "wbr", "q", "p", "div", "section", "h1", "h3", "ul", "li"),
    *("ol", "dl", "dt", "dd", "blockquote", "pre", "table", "caption", "thead", "tr", "td", "th"),
    *("figure", "figcaption", "details", "summary", "button", "select", "option", "optgroup"),
    *("fieldset", "legend", "textarea", "svg", "text", "title", "nav", "noscript", "center"),
    *("template", "script", "iframe", "x-part", "ruby", "rt", "video", "form", "header", "footer"),
]


def element(inside):
    return st.builds("<{0}>{1}</{0}>".format, st.sampled_from(ELEMENTS), inside)


TREE = st.recursive(
    TEXT | VOID | SHOWN,
    lambda inside: element(st.lists(inside, max_size=4).map("".join)),
    max_leaves=30,
)


@given(st.lists(TREE, max_size=6).map("".join))
def test_any_page_keeps_its_words_and_glues_none(page):
    assert differences(page) == (Counter(), Counter())


@given(
    st.lists(
        st.sampled_from(ELEMENTS).flatmap(lambda t: st.sampled_from([f"<{t}>", f"</{t}>"])) | TEXT
    )
)
def test_any_broken_page_keeps_its_words(page):
    lost, _ = differences("".join(page))

    assert lost == Counter()


def shipped():
    """Pages in UTF-8 that packages of this machine brought along, by their paths."""
    places = map(Path, [sysconfig.get_path("purelib"), "/usr/share/doc", "/usr/lib/node_modules"])
    files = (file for place in places for file in sorted(place.rglob("*.htm*")))
    for file in files:
        if file.suffix not in (".htm", ".html") or not file.is_file():
            continue
        with suppress(UnicodeDecodeError):
            yield str(file), file.read_bytes()[:200_001].decode("utf-8-sig")


def test_pages_that_packages_ship_keep_their_words_and_glue_none():
    pages = dict(islice((one for one in shipped() if 0 < len(one[1]) < 200_000), 100))

    found = {path: differences(page) for path, page in pages.items()}

    assert pages  # the pinned packages ship some
    assert found == dict.fromkeys(pages, (Counter(), Counter()))
