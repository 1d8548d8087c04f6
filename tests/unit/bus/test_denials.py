"""What the server's word about a denied subject becomes."""

import asyncio
from types import SimpleNamespace

import pytest
from nats.errors import Error

from shared.bus.access.denials import Denials, denial, denied
from shared.domain.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('nats: permissions violation for publish to "$js.api.x"', ("publish", "$js.api.x")),
        ('Permissions Violation for Subscription to "_INBOX.A"', ("subscription", "_inbox.a")),
        ("nats: authorization violation", None),
        ("nats: stale connection", None),
    ],
)
def test_the_subject_is_found_in_what_the_server_says(text, found):
    assert denied(Error(text)) == found


def test_the_subject_and_what_to_do_are_said():
    said = str(denial("publish", "documents.changed.docs.abc"))

    assert "may not publish to documents.changed.docs.abc" in said
    assert "bus.nkey" in said
    assert "instep keys" in said


def publishing(subject):
    return Error(f'nats: permissions violation for publish to "{subject.lower()}"')


@pytest.fixture
def silent():
    """Denials of a client whose server never answers, and what the listener heard."""

    async def request(*_, **__):
        await asyncio.Event().wait()

    heard = []
    denials = Denials(SimpleNamespace(request=request))
    denials.listen(heard.append)
    return denials, heard


async def test_who_waits_for_the_answer_hears_it_at_once_and_others_wait_on(silent):
    denials, heard = silent
    mine = asyncio.create_task(denials.request("Docs.A"))
    other = asyncio.create_task(denials.request("Docs.B"))
    await asyncio.sleep(0)

    assert denials.on_error(publishing("Docs.A"))
    with pytest.raises(ConfigurationError, match=r"publish to Docs\.A"):
        await mine
    assert not other.done()
    assert len(heard) == 1
    other.cancel()


async def test_without_its_inbox_no_answer_can_come(silent):
    denials, heard = silent
    waiting = [asyncio.create_task(denials.request(subject)) for subject in "ab"]
    await asyncio.sleep(0)
    denials.on_error(Error('nats: permissions violation for subscription to "_inbox_x.y.*"'))

    for task in waiting:
        with pytest.raises(ConfigurationError, match="subscribe to _inbox_x"):
            await task
    assert len(heard) == 1


def test_what_nobody_waits_for_is_told_but_for_answers_to_wrong_inboxes(silent):
    denials, heard = silent

    assert denials.on_error(publishing("$JS.ACK.A.B.1"))
    assert denials.on_error(publishing("_INBOX_publisher-nobody.1"))
    assert not denials.on_error(Error("nats: stale connection"))
    assert len(heard) == 1


async def test_what_the_process_can_do_without_is_told_to_nobody_else(silent):
    denials, heard = silent
    spared = []
    denials.spare("Instep.Here.", lambda verb, subject: spared.append((verb, subject)))
    waiting = asyncio.create_task(denials.request("docs"))
    await asyncio.sleep(0)

    assert denials.on_error(publishing("instep.here.accept.p1"))
    assert denials.on_error(
        Error('nats: permissions violation for subscription to "instep.here.*.*"')
    )
    assert spared == [("publish", "instep.here.accept.p1"), ("subscription", "instep.here.*.*")]
    await asyncio.sleep(0)
    assert not waiting.done()
    assert heard == []
    waiting.cancel()


async def test_a_timeout_of_the_client_stays_one(silent):
    async def request(*_, **__):
        raise TimeoutError

    denials = Denials(SimpleNamespace(request=request))
    with pytest.raises(TimeoutError):
        await denials.request("docs")


async def test_a_cancelled_request_is_not_a_denied_one(silent):
    denials, _ = silent
    task = asyncio.create_task(denials.request("docs"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not denials._waiting
