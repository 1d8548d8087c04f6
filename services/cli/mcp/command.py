"""`instep mcp`."""

import sys
from argparse import Namespace
from typing import Final

from services.cli import exits
from services.cli.commands.completion import version
from services.cli.exits import Stop
from services.cli.terminal import note
from services.host.options import Options

OF_THE_SDK: Final = ("mcp", "starlette", "uvicorn")


def run(args: Namespace, options: Options) -> int:
    """Offer the tools to assistants until they, or a signal, end it.

    Raises:
        Stop: the SDK is not installed, or the address cannot be had.
    """
    try:
        from services.cli.mcp import tools, transports
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in OF_THE_SDK:
            raise
        raise Stop("assistants need the MCP SDK", fix="pip install 'instep[mcp]'") from None
    if args.http:
        host, port = transports.address_of(args.http)
        reach = transports.of_caller(options)
    else:
        reach = transports.of_owner(options)
    server = tools.serve(reach, version=version(), publishes=args.allow_publish)
    if args.http:
        transports.run_http(server, host, port)
        return exits.DONE
    if sys.stdin.isatty():
        note("an assistant starts this and talks to it; instep mcp --help shows how")
    transports.run_stdio(server)
    return exits.DONE
