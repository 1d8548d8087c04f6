"""Keys of the gateway: what they open, when they stop, and what is stored of them."""

import asyncio
import json
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st
from memory_kv import MemoryShelf

from services.gateway import routes
from services.gateway.access.access import Principal
from services.gateway.access.bearer import Credentials, access_of
from services.gateway.access.keyring import KNOWN_S, LOOKUPS, MOST_KNOWN, Keyring
from services.gateway.access.keys import id_of, new_key, opens, packed, unpacked
from services.gateway.access.sessions import BrowserSessions
from services.gateway.app import build_app
from services.gateway.operations import OPERATIONS
from services.gateway.problems import Problem
from shared.domain.errors import BusUnavailable

OWNER_TEXT = "o" * 40
OWN = {"Authorization": f"Bearer {OWNER_TEXT}"}


class Shelf(MemoryShelf):
    """Counts what is read; away when told so."""

    def __init__(self):
        super().__init__()
        self.reads, self.away = [], False

    async def get(self, key):
        self.reads.append(key)
        if self.away:
            raise BusUnavailable("away")
        return await super().get(key)

    async def keys(self, prefix=""):
        self.reads.append(f"scan {prefix}")
        return await super().keys(prefix)


class Clock:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def keys(shelf, clock):
    return Keyring(shelf, clock, clock)


async def refusal(keys, text):
    with pytest.raises(Problem) as refused:
        await keys.access(text)
    return refused.value.code, refused.value.detail, refused.value.fix


async def test_a_key_opens_what_it_was_made_for(keys):
    text, key = await keys.create("bot", ("search", "read"), ("docs",), None)

    access = await keys.access(text)

    assert text.startswith(f"ik_{key.id}_")
    assert (access.name, access.scopes, access.sources) == (key.id, {"search", "read"}, {"docs"})
    assert access.allows("search")
    assert not access.allows("write")
    assert not access.sees("wiki")


def test_who_may_see_some_sources_never_sees_what_is_of_none():
    assert Principal("owner").sees("")
    assert not Principal("a", sources=frozenset({"", "docs"})).sees("")
    assert not Principal("b", sources=frozenset()).sees("")


async def test_whatever_is_wrong_with_a_key_the_answer_is_the_same(keys, clock):
    gone, key = await keys.create("", ("read",), None, None)
    await keys.revoke(key.id)
    old, _ = await keys.create("", ("read",), None, 60.0)
    good, _ = await keys.create("", ("read",), None, None)
    clock.now += 60.0
    other, _ = new_key("", ("read",), None, now=0, expires_at=None)
    wrong = (
        gone,
        old,
        other,
        good[:-1] + ("A" if good[-1] != "A" else "B"),
        good.replace(good[3:15], old[3:15]),
        "ik_",
        "ik_zz",
        good + "x",
        good.upper(),
        "ik_\udcff",
    )

    assert len({await refusal(keys, text) for text in wrong}) == 1
    assert await keys.access(good)


async def test_the_secret_is_stored_nowhere(keys, shelf):
    text, key = await keys.create("bot", ("read",), None, None)
    stored = await shelf.get(f"keys.{key.id}")

    assert text.rpartition("_")[2].encode() not in stored
    assert text.encode() not in stored
    assert unpacked(stored) == key


async def test_an_attempt_costs_one_read_and_never_a_scan(keys, shelf):
    other, _ = new_key("", ("read",), None, now=0, expires_at=None)
    for text in (other, "ik_nothing", "ik_" + "0" * 12 + "_short"):
        await refusal(keys, text)

    assert shelf.reads == [f"keys.{id_of(other)}"]


async def test_made_up_keys_are_not_remembered_and_push_no_good_one_out(keys, shelf):
    good, _ = await keys.create("", ("read",), None, None)
    assert await keys.access(good)
    for n in range(MOST_KNOWN + 1):
        await refusal(keys, f"ik_{n:012x}_{'a' * 43}")
    read = len(shelf.reads)

    assert await keys.access(good)
    assert len(shelf.reads) == read
    assert len(keys._known) == 1


async def test_a_flood_of_made_up_keys_is_told_to_come_again_and_lets_known_ones_pass(
    keys, shelf, clock
):
    good, _ = await keys.create("", ("read",), None, None)
    assert await keys.access(good)
    clock.now += KNOWN_S  # it has to be read again
    get, let = shelf.get, asyncio.Event()

    async def slow(key):
        if id_of(good) not in key:
            await let.wait()
        return await get(key)

    shelf.get = slow
    flood = [f"ik_{n:012x}_{'a' * 43}" for n in range(LOOKUPS)]
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(refusal(keys, text)) for text in flood]
        await asyncio.sleep(0)
        beyond = await refusal(keys, f"ik_{'f' * 12}_{'a' * 43}")
        assert await keys.access(good)
        let.set()

    assert beyond[0] == "unavailable"
    assert {task.result()[0] for task in asked} == {"no_key"}
    assert (await refusal(keys, f"ik_{'f' * 12}_{'a' * 43}"))[0] == "no_key"


async def test_another_gateway_refuses_a_revoked_key_within_a_second(keys, shelf, clock):
    there = Keyring(shelf, clock, clock)
    text, key = await keys.create("", ("read",), None, None)
    assert await there.access(text)

    await keys.revoke(key.id)
    clock.now += KNOWN_S

    assert (await refusal(there, text))[0] == "no_key"


async def test_while_the_bus_is_away_only_the_owner_s_key_opens(keys, shelf, clock):
    known = Credentials(OWNER_TEXT, keys)
    text, _ = await keys.create("", ("read",), None, None)
    await access_of(f"Bearer {text}", known)
    shelf.away = True
    clock.now += KNOWN_S

    with pytest.raises(BusUnavailable):
        await access_of(f"Bearer {text}", known)
    assert (await access_of(f"Bearer {OWNER_TEXT}", known)).allows("admin")


async def test_a_record_under_another_id_opens_nothing(keys, shelf):
    text, key = await keys.create("", ("read",), None, None)
    moved = f"ik_{'0' * 12}_{text.rpartition('_')[2]}"
    await shelf.put("keys." + "0" * 12, packed(key))

    assert (await refusal(keys, moved))[0] == "no_key"


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_what_cannot_be_read_is_no_key(value):
    assert unpacked(value if isinstance(value, bytes) else value.encode()) is None


@pytest.mark.parametrize(
    "change",
    [
        {"scopes": ["everything"]},
        {"scopes": [["read"]]},
        {"sources": [1]},
        {"sources": [""]},
        {"sources": ["docs", "A b"]},
        {"expires_at": "never"},
        {"digest": None},
        {"id": 7},
    ],
)
def test_a_record_with_odd_fields_is_no_key(change):
    _, key = new_key("", ("read",), ("docs",), now=0.0, expires_at=None)
    fields = json.loads(packed(key)) | change

    assert unpacked(json.dumps(fields).encode()) is None


def test_fields_of_a_newer_version_are_passed_over():
    _, key = new_key("", ("read",), ("docs",), now=0.0, expires_at=None)

    assert unpacked(json.dumps({**json.loads(packed(key)), "more": 1}).encode()) == key


def test_a_key_opens_until_its_time():
    text, key = new_key("", ("read",), None, now=0.0, expires_at=10.0)

    assert [opens(text, key, now) for now in (0.0, 9.9, 10.0, 11.0)] == [True, True, False, False]
    assert not opens(text, replace(key, revoked_at=5.0), 1.0)


# -- over HTTP


@pytest.fixture
async def client(index, keys):
    sessions = BrowserSessions(OWNER_TEXT, keys.clock)
    app = build_app(
        index.queries, index.commands, known=Credentials(OWNER_TEXT, keys, sessions=sessions)
    )
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_keys_are_made_listed_and_revoked(client):
    body = {"scopes": ["read"], "sources": ["docs"], "expires_s": 60, "name": "bot"}
    made = await (await client.post("/api/v1/keys", json=body, headers=OWN)).json()
    shown = {"Authorization": f"Bearer {made['key']}"}
    asked = await client.get("/api/v1/status", headers=shown)
    listed = await (await client.get("/api/v1/keys", headers=OWN)).text()
    gone = await client.delete(f"/api/v1/keys/{made['id']}", headers=OWN)
    after = await client.get("/api/v1/status", headers=shown)
    unknown = await client.delete(f"/api/v1/keys/{'0' * 12}", headers=OWN)

    assert asked.status == 200
    assert made["key"] not in listed
    assert json.loads(listed)["keys"] == [{k: v for k, v in made.items() if k != "key"}]
    assert (await gone.json())["good"] is False
    assert (after.status, unknown.status) == (401, 404)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"scopes": []},
        {"scopes": ["everything"]},
        {"scopes": ["read"], "sources": []},
        {"scopes": ["read"], "sources": ["Not A Name"]},
        {"scopes": ["read"], "expires_s": 0},
        {"scopes": ["read"], "expires_s": 1e300},
        {"scopes": ["read"], "name": "a\nb"},
    ],
)
async def test_a_key_that_cannot_be_is_refused(client, body):
    response = await client.post("/api/v1/keys", json=body, headers=OWN)

    assert response.status == 422


def places():
    """Every method and address that is served, with its scope."""
    for row in OPERATIONS.values():
        for place in (*row.places, *row.aliases):
            yield place.method, place.address, row.scope
            if place.method == "GET":
                yield "HEAD", place.address, row.scope


@pytest.mark.parametrize(("method", "address", "scope"), list(places()))
async def test_every_address_asks_for_the_scope_of_its_row(client, keys, method, address, scope):
    """Also old addresses, HEAD, and those whose handler does everything."""
    all_but = tuple(s for s in ("search", "read", "write", "operate", "admin") if s != scope)
    text, _ = await keys.create("", all_but, None, None)
    address = address.replace("{", "").replace("}", "")
    without = await client.request(method, address)
    lacking = await client.request(method, address, headers={"Authorization": f"Bearer {text}"})

    if scope == "none":
        assert without.status == lacking.status == 200
    else:
        assert (without.status, lacking.status) == (401, 403)
        if method != "HEAD":
            assert f"the scope {scope}," in (await lacking.json())["detail"]


async def test_an_address_that_is_not_in_the_table_is_refused(index):
    async def secret(_):
        raise AssertionError("it was reached")

    app = build_app(index.queries, index.commands, known=Credentials(OWNER_TEXT))
    app.router.add_get("/beside", secret)
    async with TestClient(TestServer(app)) as client:
        response = await client.get("/beside", headers=OWN)
        assert response.status == 403


async def test_who_has_no_key_does_not_learn_which_addresses_there_are(client):
    assert (await client.get("/api/v1/nowhere")).status == 401
    assert (await client.get("/api/v1/nowhere", headers=OWN)).status == 404


# -- browsers


async def link(client):
    response = await client.post("/api/v1/browser-links", json={}, headers=OWN)
    return (await response.json())["path"]


async def test_a_link_lets_one_browser_in_once(client):
    path = await link(client)
    entered = await client.get(path)
    page = await entered.text()
    reports = await client.get("/api/v1/reports")
    client.session.cookie_jar.clear()
    again = await client.get(path)
    outside = await client.get("/api/v1/reports")

    cookie = entered.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert 'content="0; url=/"' in page
    assert path.partition("=")[2] not in page + cookie
    assert entered.headers["Cache-Control"] == "no-store"
    assert entered.headers["Referrer-Policy"] == "no-referrer"
    assert (entered.status, reports.status) == (200, 200)
    assert (again.status, outside.status) == (401, 401)


async def test_a_look_at_the_head_of_a_link_leaves_it_good(client):
    path = await link(client)
    head = await client.head(path)

    assert (head.status, "Set-Cookie" in head.headers) == (200, False)
    assert "Set-Cookie" in (await client.get(path)).headers


async def test_who_asks_without_a_key_whether_it_is_ready_costs_one_look_a_second(
    index, keys, monkeypatch
):
    looks, now = [], [0.0]
    check = index.queries.check

    async def counted():
        looks.append(now[0])
        return await check()

    index.queries.check = counted
    monkeypatch.setattr(routes, "monotonic", lambda: now[0])
    app = build_app(index.queries, index.commands, known=Credentials(OWNER_TEXT, keys))
    async with TestClient(TestServer(app)) as client:
        at_once = await asyncio.gather(*(client.get("/readyz") for _ in range(5)))
        now[0] = 0.9
        soon = await client.get("/readyz")
        now[0] = 1.0
        later = await client.get("/readyz")

    assert looks == [0.0, 1.0]
    assert {response.status for response in (*at_once, soon, later)} == {200}


async def test_a_link_is_good_for_ten_minutes_and_a_session_for_twelve_hours(client, clock):
    late = await link(client)
    clock.now += 600
    assert (await client.get(late)).status == 401

    await client.get(await link(client))
    clock.now += 12 * 3600 - 1
    assert (await client.get("/api/v1/status")).status == 200
    clock.now += 1
    assert (await client.get("/api/v1/status")).status == 401


def test_the_access_of_a_cookie_ends_with_it(clock):
    sessions = BrowserSessions(OWNER_TEXT, clock)
    cookie = sessions.enter(sessions.once()[0].partition("=")[2])

    access = sessions.access({sessions.cookie: cookie}, {})

    assert access.until == clock.now + 12 * 3600
    assert access.allows("admin")


@pytest.mark.parametrize(
    ("asks", "scheme"), [(None, "Basic"), ("document", "Basic"), ("empty", "Bearer")]
)
async def test_a_script_without_a_session_makes_no_browser_ask_for_a_password(client, asks, scheme):
    headers = {"Sec-Fetch-Dest": asks} if asks else {}
    response = await client.get("/api/v1/status", headers=headers)

    assert (response.status, response.headers["WWW-Authenticate"].split()[0]) == (401, scheme)


async def test_a_session_ends_with_the_key_that_let_it_in(client, clock):
    answers = []
    for ends in ("revoked", "expires"):
        client.session.cookie_jar.clear()
        body = {"scopes": ["admin", "read"], "expires_s": 3600}
        made = await (await client.post("/api/v1/keys", json=body, headers=OWN)).json()
        shown = {"Authorization": f"Bearer {made['key']}"}
        asked = await client.post("/api/v1/browser-links", json={}, headers=shown)
        await client.get((await asked.json())["path"])
        answers.append((await client.get("/api/v1/status")).status)
        if ends == "revoked":
            await client.delete(f"/api/v1/keys/{made['id']}", headers=OWN)
        else:
            clock.now += 3600
        answers.append((await client.get("/api/v1/status")).status)

    assert answers == [200, 401, 200, 401]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 401),
        ({"Sec-Fetch-Site": "cross-site"}, 401),
        ({"Origin": "http://127.0.0.1:9"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
async def test_a_session_writes_for_its_own_pages_only(client, headers, status):
    await client.get(await link(client))
    body = {"all": True, "dry_run": True}
    response = await client.post("/api/v1/failures/retry", json=body, headers=headers)

    assert response.status == status


async def test_a_cookie_that_was_changed_opens_nothing(client, keys):
    await client.get(await link(client))
    (jar,) = list(client.session.cookie_jar)
    until, key, nonce, signature = jar.value.split(".")
    assert key == ""
    name = jar.key
    client.session.cookie_jar.clear()
    for value in (
        f"{int(until) + 1}..{nonce}.{signature}",
        f"{until}.a.{nonce}.{signature}",
        f"{until}..x.{signature}",
        f"{until}..{nonce}.",
        "...",
        "",
        f"{until}..{nonce}",
    ):
        response = await client.get("/api/v1/status", headers={"Cookie": f"{name}={value}"})
        assert response.status == 401, value
    other = BrowserSessions("p" * 40, keys.clock)
    path, _ = other.once()
    foreign = other.enter(path.partition("=")[2])
    response = await client.get("/api/v1/status", headers={"Cookie": f"{name}={foreign}"})
    assert response.status == 401


async def test_without_keys_there_are_none_to_make(index):
    async with TestClient(TestServer(build_app(index.queries, index.commands))) as client:
        for response in (
            await client.post("/api/v1/keys", json={"scopes": ["read"]}),
            await client.post("/api/v1/browser-links", json={}),
        ):
            assert (response.status, (await response.json())["code"]) == (409, "no_keys")
