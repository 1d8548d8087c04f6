"""What `up` waits for before it says "in step", and what it does not serve with."""

from dataclasses import replace

import pytest

from services.host import up
from services.host.up import is_behind
from services.host.wiring import check_fingerprint
from shared.bus.monitor.flow import StageFlow
from shared.domain.errors import BusUnavailable, ModelMismatch, StoreMismatch
from shared.generation import Generation
from shared.live import ANEW
from shared.observe.progress import Progress, SourceHealth
from shared.settings import Chunking


def stage(oldest_at: float | None, *, running: int = 0) -> StageFlow:
    return StageFlow("s", waiting=0, running=running, done=0, pulls=1, oldest_at=oldest_at)


def test_an_older_message_that_somebody_still_has_is_waited_for():
    assert is_behind([stage(None), stage(9.0, running=1)], since=10.0)


def test_what_came_later_is_not_waited_for():
    assert not is_behind([stage(None), stage(11.0, running=1)], since=10.0)


async def test_a_bus_that_is_away_for_a_moment_does_not_end_the_process(monkeypatch):
    monkeypatch.setattr(up, "RETRY_S", 0.0)
    refusals = [BusUnavailable("no answer")] * 2

    async def look():
        if refusals:
            raise refusals.pop()
        return "seen"

    assert await up._patiently(look) == "seen"


async def test_what_only_a_person_can_put_right_does(monkeypatch):
    async def look():
        raise StoreMismatch("another table")

    with pytest.raises(StoreMismatch):
        await up._patiently(look)


@pytest.mark.parametrize(
    ("progress", "follows"),
    [
        (Progress(), True),
        (Progress(sources={"docs": SourceHealth(problems={"a": "permission denied"})}), True),
        (Progress(held=1), False),
        (Progress(sources={"a": SourceHealth(), "b": SourceHealth("no such folder")}), False),
    ],
    ids=["nothing wrong", "a path", "a hold", "a folder"],
)
def test_in_step_is_said_where_the_index_follows_every_folder(progress, follows):
    assert up.follows_the_folders(progress) is follows


@pytest.mark.parametrize("named", ["", "by an older release"])
def test_a_model_that_is_not_the_one_of_the_index_is_refused(named):
    model = Generation("m", "f32", "found", 8, Chunking())
    same = replace(model, fingerprint=named, encoder="found") if named else model
    check_fingerprint("found", same)

    for other in ("another", named):
        with pytest.raises(ModelMismatch, match="not those that the index was built with") as no:
            check_fingerprint(other, same)
        assert f"bring those back, which keeps the index, or {ANEW}" in str(no.value)
