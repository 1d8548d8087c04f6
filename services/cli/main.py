"""The entry point: runs a command, and ends with one line and an exit status."""

import importlib
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence

from services.cli import exits
from services.cli.exits import Stop, with_fix
from services.cli.options import common
from services.cli.parser import build, parse, renamed
from services.host.options import Options

Run = Callable[[Namespace, Options], int]


def run(argv: Sequence[str]) -> int:
    """Run the command. Returns the exit status (`services.cli.exits`)."""
    debug = "--debug" in argv
    for stream in (sys.stdout, sys.stderr):  # a path may be anything; never die of printing it
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        return _run(argv)
    except Stop as stop:
        if debug:
            raise
        return _say(stop.text, stop.status, stop.example)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else exits.DONE
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        # the reader has enough; the interpreter's own flush would complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.DONE
    except Exception as error:
        if debug:
            raise
        return _say(*explain(error))


def explain(error: Exception) -> tuple[str, int]:
    """One line and the exit status of an error that the command did not handle."""
    from services.host.data_folder import FolderInUse
    from shared.domain.errors import (
        BusUnavailable,
        EncoderBusy,
        InstepError,
        StoreUnavailable,
        TransientError,
    )

    match error:
        case EncoderBusy():
            return with_fix(str(error), "start it again"), exits.NOT_REACHABLE
        case BusUnavailable() | StoreUnavailable():
            return with_fix(str(error), "instep doctor"), exits.NOT_REACHABLE
        case FolderInUse(passes=True) | TransientError():
            return str(error), exits.NOT_REACHABLE
        case InstepError():
            return str(error), exits.CHANGE_SOMETHING
        case _:
            kind = type(error).__name__
            return f"a fault of instep ({kind}). Fix: report what --debug prints", exits.BUG


def _run(argv: Sequence[str]) -> int:
    argv, name_of_today = renamed(argv)
    if name_of_today:
        _say(name_of_today, exits.DONE)
    args = parse(argv)
    if args.version:
        args.handler = "commands.completion:run_version"
    if args.handler is None:
        build().print_help()
        return exits.DONE
    options = Options(**common(args))
    module, _, function = args.handler.partition(":")
    command: Run = getattr(importlib.import_module(f"services.cli.{module}"), function)
    return command(args, options)


def _say(text: str, status: int, example: str = "") -> int:
    for line in text.splitlines() or [""]:
        print(f"instep: {line}", file=sys.stderr)
    if example:
        print(f"\n{example}", file=sys.stderr)
    return status
