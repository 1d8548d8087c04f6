"""One spelling of each address, and the hosts that may be asked."""

import ipaddress
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.producer.sources.web.addresses import Reachable, is_public
from shared.domain.addresses.web_address import host_of, normal, normal_host
from shared.domain.errors import DocumentRefused
from shared.domain.ids import check_document_path


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTPS://Docs.Example.ORG:443/a", "https://docs.example.org/a"),
        ("http://h.org:80", "http://h.org/"),
        ("http://h.org:8080/", "http://h.org:8080/"),
        ("http://h.org./a", "http://h.org/a"),
        ("http://h.org/a/./b/../c", "http://h.org/a/c"),
        ("http://h.org/a/%2e%2E/b", "http://h.org/b"),
        ("http://h.org/../../a/..", "http://h.org/"),
        ("http://h.org/a//b/", "http://h.org/a//b/"),
        ("http://h.org/a#part", "http://h.org/a"),
        ("http://h.org/%7euser/%c3%bc", "http://h.org/~user/%C3%BC"),
        ("http://h.org/ü b?q=ä&b=/../c", "http://h.org/%C3%BC%20b?q=%C3%A4&b=/../c"),
        ("http://h.org/100%", "http://h.org/100%25"),
        ("http://straße.example/", "http://xn--strae-oqa.example/"),
        ("http://[2001:DB8:0::1]/", "http://[2001:db8::1]/"),
        (" http://h.org/a ", "http://h.org/a"),
    ],
)
def test_spellings_that_the_standards_call_equal_are_one_address(url, expected):
    assert normal(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://h.org/a",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "//h.org/a",
        "http://",
        "http:///a",
        "http://user@h.org/",
        "http://user:secret@h.org/",
        "http://h.org\\@evil.org/",
        "http://h.org/a\nb",
        "http://h.org/a\tb",
        "http://h.org:0x50/",
        "http://h.org:99999/",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.0.1.0x1/",
        "http://[fe80::1%25eth0]/",
        "http://[::1",
        "http://h..org/",
        "http://" + "a" * 64 + ".org/",
        "http://h.org/" + "a" * 3000,
        "http://h.org/%s\x00",
        "http://h org/",
    ],
)
def test_what_is_no_page_or_is_read_in_two_ways_is_refused_without_repeating_it(url):
    with pytest.raises(ValueError, match=r"address|host") as refused:
        normal(url)

    assert "secret" not in str(refused.value)


parts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)


@given(st.lists(parts, max_size=4), parts)
def test_a_normal_address_stays_and_is_the_path_of_a_document(names, query):
    try:
        once = normal(f"http://h.org/{'/'.join(names)}?{query}")
    except ValueError:
        assume(False)

    assert normal(once) == once
    assert once.isascii()
    assert check_document_path(once) == once


@given(st.lists(parts.filter(lambda name: name not in (".", "..")), max_size=4), parts)
def test_two_pages_have_two_addresses(names, query):
    path = "/".join(names)
    url = normal(f"http://h.org/{quote(path)}?{quote(query, safe='')}")

    place = urlsplit(url)
    assert (unquote(place.path), unquote(place.query)) == (f"/{path}", query)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_fault_in_words(text):
    for url in (text, f"http://{text}", f"http://h.org/{text}"):
        try:
            found = normal(url)
        except ValueError:
            continue
        try:
            assert check_document_path(found) == found
        except DocumentRefused:
            assert len(found) > 1024


PRIVATE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_of_the_internet_is_refused_unless_named(address):
    assert not Reachable().may_ask("h.org", address)
    assert not Reachable(["other.org", "9.9.9.9"]).may_ask("h.org", address)
    assert Reachable(["H.org."]).may_ask("h.org", address)
    assert Reachable([address]).may_ask("h.org", address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"],
)
def test_an_address_of_the_internet_needs_no_naming(address):
    assert Reachable().may_ask("h.org", address)


@given(st.ip_addresses())
def test_no_address_is_public_that_python_knows_to_be_special(address):
    if is_public(address):
        found = address
        if address.version == 6 and address in ipaddress.ip_network("64:ff9b::/96"):
            found = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        assert found.is_global
        assert not found.is_multicast


def test_a_network_is_named_for_every_address_in_it():
    reachable = Reachable(["10.0.0.0/8"])

    assert reachable.may_ask("wiki.internal", "10.200.0.1")
    assert reachable.may_ask("wiki.internal", "::ffff:10.0.0.1")
    assert not reachable.may_ask("wiki.internal", "192.168.0.1")


@pytest.mark.parametrize("host", ["LOCALHOST.", "localhost", "[::1]", "B%C3%BCcher"])
def test_names_of_hosts_are_spelt_once(host):
    if "%" in host:
        with pytest.raises(ValueError, match="not valid"):
            normal_host(host)
    else:
        assert normal_host(host) in ("localhost", "::1")
    assert host_of("http://[::1]:80/") == "::1"
