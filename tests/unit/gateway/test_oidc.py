"""The keys of an issuer: when it is asked, and what counts while it does not answer."""

import asyncio
import time

import pytest
from aiohttp.test_utils import TestClient, TestServer
from memory_results import MemoryResults
from token_issuer import AUDIENCE, claims, new_key, signed, token_issuer

from services.gateway.access import issuer as issuer_module
from services.gateway.access.access import Principal
from services.gateway.access.bearer import Credentials
from services.gateway.access.issuer import MAX_ANSWER_BYTES
from services.gateway.access.oidc import AGAIN_S, FRESH_S, KEPT_S, WAITING, TokenVerifier
from services.gateway.app import build_app
from services.gateway.build import credentials
from services.gateway.problems import Problem
from shared.domain.errors import ConfigurationError
from shared.settings import Gateway
from shared.settings.groups import Oidc


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def issuer():
    async with token_issuer() as issuer:
        yield issuer


@pytest.fixture
async def verifier(issuer, clock):
    verifier = TokenVerifier(Oidc(issuer=issuer.issuer, audience=AUDIENCE), clock=clock)
    yield verifier
    await verifier.close()


async def refused(verifier, token):
    with pytest.raises(Problem) as refused:
        await verifier.verify(token)
    return refused.value.code


async def is_accepted(verifier, token):
    try:
        await verifier.verify(token)
    except Problem:
        return False
    return True


async def test_a_token_is_accepted_and_the_issuer_is_asked_once(verifier, issuer, clock):
    for _ in range(3):
        access = await verifier.verify(issuer.token())
        clock.now += FRESH_S / 3

    assert access.scopes == {"search", "read"}
    assert access.name.endswith(" somebody")
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


async def test_a_new_key_is_fetched_when_a_token_names_it(verifier, issuer, clock):
    old = issuer.token()
    await verifier.verify(old)
    clock.now += AGAIN_S
    issuer.rotate("second")

    assert (await verifier.verify(issuer.token())).scopes
    assert await refused(verifier, old) == "invalid_token"


async def test_unknown_keys_do_not_become_requests_to_the_issuer(verifier, issuer, clock):
    await verifier.verify(issuer.token())
    before = len(issuer.asked)
    forged = [
        signed(claims(issuer.issuer), new_key("RS256", "evil"), header={"kid": f"evil{n}"})
        for n in range(50)
    ]

    assert {await refused(verifier, one) for one in forged} == {"invalid_token"}
    assert len(issuer.asked) == before
    clock.now += AGAIN_S
    assert {await refused(verifier, one) for one in forged} == {"invalid_token"}
    assert len(issuer.asked) == before + 2


async def test_a_withdrawn_key_counts_no_longer_than_the_keys_are_fresh(verifier, issuer, clock):
    token = issuer.token()
    await verifier.verify(token)
    issuer.rotate("second")
    clock.now += FRESH_S + 1
    await verifier.verify(token)  # the issuer is asked beside it

    async with asyncio.timeout(10):
        while issuer.asked.count("/keys") < 2:
            await asyncio.sleep(0.01)
        while await is_accepted(verifier, token):
            await asyncio.sleep(0.01)


async def test_known_keys_count_while_the_issuer_is_away_but_not_for_ever(verifier, issuer, clock):
    token = issuer.token()
    await verifier.verify(token)
    issuer.status = 500

    clock.now += KEPT_S - 1
    assert (await verifier.verify(token)).scopes
    clock.now += AGAIN_S + 1
    assert await refused(verifier, token) == "issuer_unavailable"
    issuer.status = 200
    clock.now += AGAIN_S
    assert (await verifier.verify(token)).scopes


async def test_a_slow_issuer_makes_no_request_wait_whose_key_is_known(verifier, issuer, clock):
    token = issuer.token()
    await verifier.verify(token)
    issuer.hangs.clear()
    clock.now += FRESH_S + 1

    assert (await verifier.verify(token)).scopes
    await issuer.arrived.wait()
    assert (await verifier.verify(token)).scopes


async def test_few_requests_wait_for_an_issuer_and_all_by_one_question(verifier, issuer):
    issuer.hangs.clear()
    asking = [asyncio.create_task(verifier.verify(issuer.token())) for _ in range(WAITING + 3)]
    done, waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_EXCEPTION)

    assert len(waiting) == WAITING
    assert {task.exception().code for task in done} == {"issuer_unavailable"}
    issuer.hangs.set()
    assert all(access.scopes for access in await asyncio.gather(*waiting))
    assert len(issuer.asked) == 2


async def test_an_issuer_that_does_not_answer_in_time_is_away(verifier, issuer, monkeypatch):
    monkeypatch.setattr(issuer_module, "ISSUER_S", 0.05)
    issuer.hangs.clear()

    assert await refused(verifier, issuer.token()) == "issuer_unavailable"


async def test_a_request_that_goes_away_ends_no_question(verifier, issuer):
    issuer.hangs.clear()
    gone = asyncio.create_task(verifier.verify(issuer.token()))
    stays = asyncio.create_task(verifier.verify(issuer.token()))
    await issuer.arrived.wait()
    gone.cancel()
    issuer.hangs.set()

    assert (await stays).scopes


WRONG = {
    "another issuer": {"named": "https://evil.example"},
    "redirect": {"jwks_uri": "{issuer}/moved"},
    "missing": {"status": 404},
    "keys of a file": {"jwks_uri": "file:///etc/passwd"},
    "no address of keys": {"jwks_uri": 7},
    "no JSON": {"body": b"<html>"},
    "no object": {"body": b"[1]"},
    "no list": {"body": b'{"keys": 7}'},
    "deep": {"body": b'{"keys":' + b"[" * 100_000},
    "no text": {"body": b"\xff\xfe"},
    "large": {"padding": b" " * MAX_ANSWER_BYTES},
    "packed": {"body": b"\x1f\x8b\x08", "headers": {"Content-Encoding": "gzip"}},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
async def test_wrong_answers_of_an_issuer_give_no_keys(verifier, issuer, clock, wrong):
    known = issuer.token()
    await verifier.verify(known)
    for name, value in wrong.items():
        setattr(issuer, name, value)
    issuer.rotate("second")
    clock.now += AGAIN_S

    assert await refused(verifier, issuer.token()) == "issuer_unavailable"
    assert (await verifier.verify(known)).scopes


async def test_an_answer_of_almost_the_greatest_size_is_read(verifier, issuer):
    issuer.padding = b" " * (MAX_ANSWER_BYTES - 10_000)

    assert (await verifier.verify(issuer.token())).scopes


async def test_keys_without_encryption_are_not_asked_for(verifier, issuer):
    issuer.jwks_uri = "http://login.example.org/keys"

    with pytest.raises(Problem, match="must begin with https://"):
        await verifier.verify(issuer.token())


async def test_nobody_who_answers_at_the_address_is_an_issuer_that_does_not(verifier, clock):
    rule = Oidc(issuer="http://127.0.0.1:1/realm", audience=AUDIENCE)
    verifier = TokenVerifier(rule, clock=clock)
    token = signed(claims(rule.issuer), new_key("RS256", "first"))

    assert await refused(verifier, token) == "issuer_unavailable"
    assert await refused(verifier, "a.b.c") == "invalid_token"


@pytest.mark.parametrize(
    "given",
    [
        {"issuer": "http://login.example.org", "audience": "x"},
        {"issuer": "https://login.example.org"},
        {"issuer": "https://login.example.org?a=b", "audience": "x"},
        {"issuer": "login.example.org", "audience": "x"},
        {"issuer": "https://", "audience": "x"},
        {"issuer": "", "audience": "x"},
        {"audience": "x"},
    ],
)
def test_settings_that_would_accept_the_wrong_tokens_are_refused(given):
    with pytest.raises(ValueError, match=r"issuer|audience"):
        Oidc(**given)


@pytest.mark.parametrize(
    "issuer", ["https://dev-1.eu.auth0.com/", "http://localhost:8080/realms/x", "http://[::1]:1/"]
)
def test_issuers_that_are_encrypted_or_of_this_machine_are_accepted(issuer):
    assert Oidc(issuer=issuer, audience="x").issuer == issuer


# -- the whole gateway -----------------------------------------------------------------------------

KEY = "k" * 32


@pytest.fixture
async def gateway(index, verifier):
    known = Credentials(KEY, tokens=verifier.verify)
    app = build_app(index.queries, index.commands, known=known, results=MemoryResults())
    async with TestClient(TestServer(app)) as client:
        yield client


async def ask(gateway, token, method="GET", path="/api/v1/documents"):
    headers = {"Authorization": f"Bearer {token}"}
    async with gateway.request(method, path, headers=headers) as response:
        return response.status, response.headers, await response.json()


async def test_a_token_opens_what_its_scopes_allow_and_nothing_else(gateway, issuer):
    token = issuer.token(scope="instep:read")

    assert (await ask(gateway, token))[0] == 200
    status, _, body = await ask(gateway, token, path="/api/v1/search?q=x")
    assert (status, body["code"]) == (403, "forbidden")
    status, _, body = await ask(gateway, token, "POST", "/api/v1/sweeps")
    assert status in (403, 404, 405)
    assert (await ask(gateway, KEY))[0] == 200


async def test_a_token_of_some_sources_sees_no_other(index, issuer, clock):
    await index.put("a.md", ["kelp"], source="docs")
    await index.put("b.md", ["kelp"], source="wiki")
    rule = Oidc(issuer=issuer.issuer, audience=AUDIENCE, sources_claim="instep_sources")
    known = Credentials(KEY, tokens=TokenVerifier(rule, clock=clock).verify)
    async with TestClient(TestServer(build_app(index.queries, index.commands, known=known))) as one:
        seen = {}
        for sources in (["wiki"], ["docs", "wiki"], None, "*"):
            _, _, body = await ask(one, issuer.token(instep_sources=sources))
            seen[str(sources)] = sorted(row["path"] for row in body["documents"])

    assert seen == {
        "['wiki']": ["b.md"],
        "['docs', 'wiki']": ["a.md", "b.md"],
        "None": [],
        "*": ["a.md", "b.md"],
    }


async def test_a_refused_token_is_told_why_and_never_shown(gateway, issuer):
    token = issuer.token(aud="other")
    status, headers, body = await ask(gateway, token)

    assert (status, body["code"]) == (401, "invalid_token")
    assert body["detail"] == "the token is for another audience"
    assert headers["WWW-Authenticate"].startswith("Bearer")
    assert token not in str(body)


async def test_an_issuer_that_is_away_is_503_and_the_key_still_opens(gateway, issuer):
    issuer.status = 500

    status, headers, body = await ask(gateway, issuer.token())
    assert (status, body["code"], headers["Retry-After"]) == (503, "issuer_unavailable", "1")
    assert (await ask(gateway, KEY))[0] == 200


async def test_a_listener_is_let_go_when_its_access_ends(index):
    async def verify(_):
        return Principal("x", frozenset({"read"}), until=time.time() + 0.2)

    known = Credentials(KEY, tokens=verify)
    app = build_app(index.queries, index.commands, known=known, results=MemoryResults())
    async with TestClient(TestServer(app)) as client:
        headers = {"Authorization": "Bearer a.b.c"}
        async with client.get("/api/v1/events", headers=headers) as response:
            assert response.status == 200
            assert b"retry: " in await response.read()  # it ends by itself


def test_an_issuer_has_no_meaning_where_nobody_is_asked_for_a_key(tmp_path):
    gateway = Gateway(auth="none", oidc=Oidc(issuer="https://a.example", audience="x"))

    with pytest.raises(ConfigurationError, match=r"gateway\.oidc\.issuer is set"):
        credentials(gateway, tmp_path)
