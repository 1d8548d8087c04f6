"""A test that has to die when one rule is taken out of the real code.

`@dies_without(bound=altered(Index._clean, ("newest_seq(record)", "2**53")))` makes two tests of one
scenario: with the code as it is it must pass, and with the mutation it must fail.
"""

import asyncio
import inspect
import textwrap
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, Final

import pytest

from shared.domain.errors import InstepError

DEATHS: Final = (AssertionError, pytest.fail.Exception, InstepError)
"""Not every error: a mutation that cannot run at all proves nothing."""

Mutation = Callable[[pytest.MonkeyPatch], None]
Scenario = Callable[[], Any]


def altered(function: Any, *phrases: tuple[str, str]) -> Mutation:
    """The function itself with phrases of its source replaced, wherever it is imported.

    A subclass or a copy would be another code path, and would stay what it is when the real one
    changes; a phrase that is not there exactly once is an error.
    """
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in phrases:
        assert source.count(old) == 1, f"{function.__qualname__}: {source.count(old)} times {old!r}"
        source = source.replace(old, new)
    found: dict[str, FunctionType] = {}
    exec(compile(source, inspect.getfile(function), "exec"), function.__globals__, found)
    mutated: CodeType = found[function.__name__].__code__
    return lambda patch: patch.setattr(function, "__code__", mutated)


def replaced(owner: Any, name: str, value: Any) -> Mutation:
    """A constant, or a function, that the code looks up under its name."""
    return lambda patch: patch.setattr(owner, name, value)


def dies_without(**mutations: Mutation) -> Callable[[Scenario], Scenario]:
    """The scenario, plain or a coroutine function, passes; with any of the mutations it fails."""

    def decorate(scenario: Scenario) -> Scenario:
        @pytest.mark.parametrize("without", [None, *mutations], ids=lambda name: name or "whole")
        def test(without: str | None) -> None:
            if without is None:
                run(scenario)
                return
            with pytest.MonkeyPatch.context() as patch:
                mutations[without](patch)
                with pytest.raises(DEATHS):
                    run(scenario)

        test.__name__, test.__doc__, test.__module__ = (
            scenario.__name__,
            scenario.__doc__,
            scenario.__module__,
        )
        return test

    return decorate


def run(scenario: Scenario) -> None:
    outcome = scenario()
    if inspect.iscoroutine(outcome):
        asyncio.run(outcome)
