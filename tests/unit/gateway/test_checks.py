import pytest

from services.gateway.models import ChecksRequest

DEEP = ChecksRequest(deep=True)


@pytest.mark.parametrize(
    ("lag_s", "level", "said"), [(0.035, "ok", "35 ms"), (3.0, "WARN", "3,000 ms")]
)
async def test_a_store_that_indexes_late_is_told(index, monkeypatch, lag_s, level, said):
    async def measured():
        return lag_s

    monkeypatch.setattr(index.store, "lag_s", measured)
    (found,) = [one for one in (await index.queries.checks(DEEP)).checks if one.name == "index lag"]

    assert found.level == level
    assert said in found.text
    assert bool(found.fix) == (level == "WARN")


async def test_a_store_that_never_does_is_not_measured(index):
    assert "index lag" not in [one.name for one in (await index.queries.checks(DEEP)).checks]


async def test_without_being_asked_for_nothing_is_measured(index, monkeypatch):
    async def measured():
        raise AssertionError("that takes seconds")

    monkeypatch.setattr(index.store, "lag_s", measured)

    assert (await index.queries.checks(ChecksRequest(deep=False))).checks
