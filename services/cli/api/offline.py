"""Answers from the data folder where no instance runs; imports asyncio and the adapters."""

import asyncio
import importlib
from collections.abc import Mapping
from typing import Any, Final

from services.cli.api import client
from services.cli.exits import unreachable
from services.gateway.answers import Faces, answer
from services.gateway.problems import Problem, problem_of
from services.host.data_folder import DataFolder
from services.host.options import Options
from shared.bus.access.connect import access_of
from shared.bus.access.permissions import CLI
from shared.domain.errors import FilterNotReady, QuestionRefused

_INDEXER_WRITES: Final = "instep up writes it; or ask without a filter over metadata"


def answer_offline(options: Options, operation: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Do an operation without a running instance.

    Raises:
        Stop: nothing was ever indexed in the folder, the answer is no, or only a gateway may
            give it.
        InstepError: the data cannot be opened.
    """
    data, bus = options.data, options.settings().bus
    if not access_of(bus, CLI).provisions:
        raise unreachable(
            "the bus requires keys, and the command line has none that may read it",
            "name the gateway: --url URL, or INSTEP_URL",
        )
    if bus.url is None and not DataFolder(data).holds_an_index():
        raise unreachable(f"nothing is indexed here: {data} holds no index", "instep up PATH")
    return asyncio.run(_answer(options, operation, fields))


async def _answer(options: Options, operation: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    runtime: Any = importlib.import_module("services.host.runtime")
    given = {name: value for name, value in fields.items() if value is not None}
    async with runtime.offline(options) as opened:
        try:
            return await answer(Faces(opened.queries, opened.commands), operation, given)
        except (Problem, QuestionRefused, FilterNotReady) as error:
            problem = problem_of(error)
            fix = problem.fix or problem.kind.fix
            if isinstance(error, FilterNotReady):  # nothing that runs here will do it
                fix = _INDEXER_WRITES
            raise client.refusal(problem.kind.status, problem.detail, fix) from None
