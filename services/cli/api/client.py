"""The requests of commands, by `instep.client`; a command ends where a client raises an error."""

from collections.abc import Mapping
from typing import Any, Final

from instep.client import Client, ClientError, Refused
from services.cli.exits import Stop, unreachable

AGAIN: Final = ("loading",)
"""Answers after which a command waits; of all others a person is told at once."""


def ask(
    url: str,
    operation: str,
    fields: Mapping[str, Any],
    *,
    key: str | None = None,
    timeout_s: float | None = None,
) -> dict[str, Any]:
    """Do an operation of a gateway; ask again while the gateway is loading.

    Args:
        key: shown to a gateway that asks for one.
        timeout_s: how long the answer may take; None: as the table of operations says.

    Raises:
        Stop: no gateway answers there (status 3), or the answer is no, with its reason.
    """
    try:
        return Client(url, key=key, timeout_s=timeout_s, again=AGAIN).ask(operation, fields)
    except ClientError as error:
        raise stop_of(error) from None


def stop_of(error: ClientError) -> Stop:
    """The end of a command, by the error of its client."""
    status = error.status if isinstance(error, Refused) else 503
    return refusal(status, error.detail, error.fix)


def refusal(status: int, detail: str, fix: str) -> Stop:
    """The end of a command that the instance refuses."""
    return unreachable(detail, fix) if status >= 500 else Stop(detail, fix=fix)
