"""Refusals of JetStream's API: which of them pass by themselves."""

import json

import pytest

from shared.bus.admin import provision
from shared.domain.errors import BusUnavailable, ConfigurationError


@pytest.mark.parametrize(
    ("code", "err_code", "description", "meaning"),
    [
        (400, 10005, "no suitable peers for placement, peer offline", BusUnavailable),
        (503, 10008, "JetStream system temporarily unavailable", BusUnavailable),
        (400, 10005, "no suitable peers for placement, tags not matched", ConfigurationError),
        (503, 10047, "insufficient storage resources available", ConfigurationError),
        (400, 10052, "stream configuration is wrong", ConfigurationError),
    ],
)
async def test_a_server_that_is_away_is_waited_for_and_a_wrong_setting_is_not(
    monkeypatch, code, err_code, description, meaning
):
    async def answered(*_):
        refusal = {"code": code, "err_code": err_code, "description": description}
        return json.dumps({"error": refusal}).encode()

    monkeypatch.setattr(provision, "_answered", answered)

    with pytest.raises(meaning, match=description.split(",", maxsplit=1)[0]):
        await provision.ask(None, "STREAM.CREATE.DOCS", {"name": "DOCS"})
