import base64

import pytest

from services.gateway.access.requests import check_request, is_loopback, shows
from services.gateway.problems import Problem

HERE = "127.0.0.1:8765"


@pytest.mark.parametrize("host", [HERE, "localhost", "LOCALHOST:1", "[::1]:8765", "127.9.9.9"])
def test_this_machine_s_own_names_pass(host):
    check_request("GET", {"Host": host})


@pytest.mark.parametrize("host", ["", "evil.example", "127.0.0.1.evil.example:8765", "10.0.0.1"])
def test_a_foreign_host_is_refused_as_dns_rebinding_would_send_it(host):
    with pytest.raises(Problem) as refused:
        check_request("GET", {"Host": host})

    assert refused.value.code == "bad_host"
    assert refused.value.kind.status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_write_from_another_page_is_refused_and_a_read_is_not(headers):
    check_request("GET", {"Host": HERE, **headers})

    with pytest.raises(Problem) as refused:
        check_request("POST", {"Host": HERE, **headers})
    assert refused.value.code == "forbidden"


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": f"http://{HERE}"}, {"Sec-Fetch-Site": "same-origin"}]
)
def test_own_writes_pass(headers):
    check_request("POST", {"Host": HERE, **headers})


def test_what_is_no_address_is_not_this_machine():
    assert not is_loopback("localhost.evil.example")
    assert is_loopback("localhost.")


KEY = "k" * 32


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("shown", [f"Bearer {KEY}", f"bearer {KEY}", basic(f"any:{KEY}")])
def test_who_shows_the_key_may_ask_from_anywhere(shown):
    check_request("GET", {"Host": "gateway:8765", "Authorization": shown}, KEY)


@pytest.mark.parametrize(
    "shown",
    ["", "Bearer", f"Bearer {KEY}x", f"Bearer {KEY[1:]}", KEY, basic(KEY), "Basic ä", "Basic %%%"],
)
def test_nobody_else_may_ask_not_even_from_this_machine(shown):
    assert not shows(shown, KEY)
    with pytest.raises(Problem) as refused:
        check_request("GET", {"Host": HERE, "Authorization": shown}, KEY)
    assert refused.value.kind.status == 401


def test_a_key_that_a_browser_keeps_does_not_let_other_pages_write():
    headers = {"Host": HERE, "Authorization": basic(f"me:{KEY}")}

    check_request("POST", headers, KEY)
    with pytest.raises(Problem) as refused:
        check_request("POST", {**headers, "Origin": "https://evil.example"}, KEY)
    assert refused.value.code == "forbidden"
