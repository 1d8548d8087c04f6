"""Operations of the instance: of the running one over HTTP, else of its data folder."""

import os
from collections.abc import Mapping
from typing import Any

from instep.client import Unreachable, key_for
from instep.client import find as find_gateway
from services.cli.api import client
from services.cli.exits import Stop, unreachable
from services.host.data_folder import DataFolder, FolderInUse
from services.host.options import Options, Surroundings


def ask(
    options: Options,
    operation: str,
    fields: Mapping[str, Any],
    *,
    timeout_s: float | None = None,
) -> dict[str, Any]:
    """Do an operation of the instance.

    Raises:
        Stop: no instance answers (status 3), or the answer is no.
    """
    url = find(options)
    if url is None:
        try:
            return _offline(options, operation, fields)
        except FolderInUse:
            url = find(options)  # it has just started
            if url is None:
                raise
    return client.ask(url, operation, fields, key=key_of(options, url), timeout_s=timeout_s)


def _offline(options: Options, operation: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    if not options.data.is_dir():
        if options.settings().bus.url:
            raise no_gateway()
        raise unreachable(f"nothing is indexed here: there is no {options.data}", "instep up PATH")
    from services.cli.api.offline import answer_offline

    return answer_offline(options, operation, fields)


def running(options: Options) -> str:
    """Address of the gateway of a running instance.

    Raises:
        Stop: none runs (status 3).
        FolderInUse: one is starting or stopping, or a command has the folder.
    """
    url = find(options)
    if url is not None:
        return url
    if options.settings().bus.url:
        raise no_gateway()
    folder = DataFolder(options.data)
    if not folder.holds_an_index():
        raise unreachable(f"nothing is indexed here: {options.data}", "instep up PATH")
    try:
        with folder.lock(briefly=True):
            raise unreachable(f"no instance runs in {options.data}", "instep up PATH")
    except FolderInUse:
        url = find(options)  # it has just started
        if url is None:
            raise
    return url


def no_gateway() -> Stop:
    """For services that run alone: the command line knows their bus, and not their gateway."""
    return unreachable(
        "no gateway is named, and no instance of this machine has one",
        "name the gateway of the services: --url URL, or INSTEP_URL",
    )


def key_of(options: Options, url: str) -> str | None:
    """The key to show to a gateway: `--key-file`, else as `instep.client` chooses.

    Raises:
        ConfigurationError: the file cannot be read, or is another user's.
    """
    if options.key_file is not None:
        return options.key()
    return key_for(url, options.data, Surroundings.of(os.environ))


def find(options: Options) -> str | None:
    """Address of the gateway: `--url`, else the instance of the data folder, else INSTEP_URL.

    Raises:
        Stop: an instance runs, without a gateway.
    """
    if options.url:
        return options.url
    try:
        return find_gateway(options.data, Surroundings.of(os.environ))
    except Unreachable as error:
        raise client.stop_of(error) from None
