"""Sitemaps: what is read, and what ends the reading."""

import contextlib
import gzip
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.producer.sources.web import sitemap
from services.producer.sources.web.sitemap import NotASitemap, SitemapEntry, parse, time_of

SPACE = "http://www.sitemaps.org/schemas/sitemap/0.9"


def urlset(inner, space=f' xmlns="{SPACE}"'):
    return f"<?xml version='1.0'?><urlset{space}>{inner}</urlset>".encode()


def test_addresses_and_their_lastmod_are_read():
    text = urlset(
        "<url><loc> http://h/a?x=1&amp;y=2 </loc><lastmod>2026-11-30</lastmod></url>"
        "<url><loc><![CDATA[http://h/b]]></loc></url><url><lastmod>x</lastmod></url>"
    )

    assert parse(text) == sitemap.Sitemap(
        [SitemapEntry("http://h/a?x=1&y=2", "2026-11-30"), SitemapEntry("http://h/b")]
    )
    assert parse(gzip.compress(text, mtime=0)) == parse(text)


def test_elements_of_another_namespace_are_no_pages():
    text = urlset(
        '<url><loc>http://h/a</loc><i:image xmlns:i="urn:i"><i:loc>http://h/p.png</i:loc>'
        '</i:image><i:loc xmlns:i="urn:i">http://h/q</i:loc></url>'
    )

    assert parse(text).entries == [SitemapEntry("http://h/a")]


@pytest.mark.parametrize("space", ["", ' xmlns="https://www.sitemaps.org/schemas/sitemap/0.9"'])
def test_a_sitemap_may_have_any_namespace_or_none(space):
    assert parse(urlset("<url><loc>http://h/a</loc></url>", space)).entries


def test_an_index_names_sitemaps():
    text = b"<sitemapindex><sitemap><loc>http://h/1.xml</loc></sitemap></sitemapindex>"

    assert parse(text) == sitemap.Sitemap([SitemapEntry("http://h/1.xml")], is_index=True)


def test_a_list_has_an_address_a_line():
    assert parse(b"\xef\xbb\xbfhttp://h/a\r\n\n# no page\nhttp://h/b\n").entries == [
        SitemapEntry("http://h/a"),
        SitemapEntry("http://h/b"),
    ]


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    "<urlset><url><loc>http://h/&b;</loc></url></urlset>"
)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"  \n", "is empty"),
        (urlset(""), "has no entry"),
        (b"<html><body>Sorry</body></html>", "is no sitemap"),
        (b"<!doctype html><html><br></html>", "sitemap"),
        (b"<urlset><url><loc>http://h/a</loc></url>", "not well-formed"),
        (BOMB.encode(), "declares entities"),
        (
            b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><urlset>&a;</urlset>',
            "declares entities",
        ),
        (b"<urlset>" + b"<a>" * 100, "in each other"),
        (urlset(f"<url><loc>http://h/{'a' * 5000}</loc></url>"), "too long"),
        (gzip.compress(urlset(""), mtime=0)[:-20], "ends early"),
        (b"\x1f\x8bgarbage", "not gzip"),
    ],
)
def test_what_is_no_whole_sitemap_is_an_error_and_never_an_empty_listing(data, words):
    with pytest.raises(NotASitemap, match=words):
        parse(data)


def test_what_is_beyond_a_bound_is_an_error(monkeypatch):
    monkeypatch.setattr(sitemap, "MAX_ENTRIES", 3)
    monkeypatch.setattr(sitemap, "MAX_BYTES", 1_000)
    entry = "<url><loc>http://h/a</loc></url>"

    with pytest.raises(NotASitemap, match="more than 3"):
        parse(urlset(entry * 4))
    with pytest.raises(NotASitemap, match="larger"):
        parse(gzip.compress(b"<" + b" " * 100_000, mtime=0))
    with pytest.raises(NotASitemap, match="more than 3"):
        parse(b"http://h/a\n" * 4)


def at(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1e9)


@pytest.mark.parametrize(
    ("lastmod", "expected"),
    [
        ("2026-11-30", (at("2026-11-30"), at("2026-12-01T12:00"))),
        ("2026-11-30T10:00Z", (at("2026-11-30T10:00"), at("2026-11-30T10:01"))),
        ("2026-11-30T12:00:00+02:00", (at("2026-11-30T10:00"), at("2026-11-30T10:00"))),
        ("yesterday", None),
        ("", None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_a_time_covers_what_its_spelling_leaves_open(lastmod, expected):
    assert time_of(lastmod) == expected


@given(st.binary(max_size=200))
def test_any_bytes_are_a_sitemap_or_an_error_in_words(data):
    for text in (data, b"<urlset>" + data, b"\x1f\x8b" + data, b"http" + data):
        with contextlib.suppress(NotASitemap):
            assert parse(text).entries


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_none(text):
    time_of(text)
