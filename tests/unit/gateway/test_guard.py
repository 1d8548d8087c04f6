import base64

import pytest

from services.gateway.access.access import OWNER
from services.gateway.access.bearer import Credentials, access_of
from services.gateway.access.requests import check_host, check_site, is_loopback
from services.gateway.problems import Problem

HERE = "127.0.0.1:8765"


@pytest.mark.parametrize("host", [HERE, "localhost", "LOCALHOST:1", "[::1]:8765", "127.9.9.9"])
def test_this_machine_s_own_names_pass(host):
    check_host({"Host": host})


@pytest.mark.parametrize("host", ["", "evil.example", "127.0.0.1.evil.example:8765", "10.0.0.1"])
def test_a_foreign_host_is_refused_as_dns_rebinding_would_send_it(host):
    with pytest.raises(Problem) as refused:
        check_host({"Host": host})

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
    check_site("GET", {"Host": HERE, **headers})

    with pytest.raises(Problem) as refused:
        check_site("POST", {"Host": HERE, **headers})
    assert refused.value.code == "forbidden"


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": f"http://{HERE}"}, {"Sec-Fetch-Site": "same-origin"}]
)
def test_own_writes_pass(headers):
    check_site("POST", {"Host": HERE, **headers})


def test_what_is_no_address_is_not_this_machine():
    assert not is_loopback("localhost.evil.example")
    assert is_loopback("localhost.")


KEY = "k" * 32


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


KNOWN = Credentials(KEY)


@pytest.mark.parametrize("shown", [f"Bearer {KEY}", f"bearer {KEY}", basic(f"any:{KEY}")])
async def test_who_shows_the_owner_s_key_may_do_everything(shown):
    assert await access_of(shown, KNOWN) is OWNER


@pytest.mark.parametrize(
    "shown",
    [
        "",
        "Bearer",
        f"Bearer {KEY}x",
        f"Bearer {KEY[1:]}",
        KEY,
        basic(KEY),
        "Basic ä",
        "Basic %%%",
        "Bearer \udcff",
        "Bearer ik_\udcff",
        "Bearer a.b.c",
    ],
)
async def test_nobody_else_may_do_anything(shown):
    with pytest.raises(Problem) as refused:
        await access_of(shown, KNOWN)
    assert refused.value.kind.status == 401
