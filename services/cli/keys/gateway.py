"""`instep keys create | list | revoke`, and `instep open`: who may ask the gateway."""

import contextlib
import html
import os
import sys
import time
import webbrowser
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.cli import exits
from services.cli.api import client
from services.cli.api.ask import find, key_of, no_gateway
from services.cli.exits import Stop, unreachable
from services.cli.suggest import check_name
from services.cli.terminal import ago, note, print_json, table, visible
from services.host.data_folder import OPEN, write_private
from services.host.options import Options


def run_create(args: Namespace, options: Options) -> int:
    """Make a key: it alone goes to standard output, once."""
    fields: dict[str, Any] = {
        "scopes": [scope for given in args.scope for scope in given.split(",") if scope],
        "sources": [name for given in args.source for name in given.split(",")] or None,
        "expires_s": _seconds(args.expires) if args.expires else None,
        "name": args.name,
    }
    for name in fields["sources"] or ():
        check_name(name)
    made = _ask(options, "create_key", fields)
    if options.json:
        print_json(made)
        return exits.DONE
    print(made["key"])
    sources = "all sources" if made["sources"] is None else ", ".join(made["sources"])
    until = f"until {made['expires_at'][:16]}Z" if made["expires_at"] else "for ever"
    if not options.quiet:
        note(f"key {made['id']}: {', '.join(made['scopes'])} of {sources}, {until}")
        note(f"it is not shown again; instep keys revoke {made['id']} ends it")
    return exits.DONE


def run_list(_: Namespace, options: Options) -> int:
    """Print all keys, without their secrets."""
    answer = _ask(options, "keys", {})
    if options.json:
        print_json(answer)
    else:
        print("\n".join(lines(answer, now=time.time())))
    return exits.DONE


def run_revoke(args: Namespace, options: Options) -> int:
    """Let a key open nothing any more."""
    answer = _ask(options, "revoke_key", {"id": args.id})
    if options.json:
        print_json(answer)
    else:
        print(f"key {answer['id']} opens nothing any more")
    return exits.DONE


def run_open(args: Namespace, options: Options) -> int:
    """Print the link that lets one browser in, and open it at a terminal."""
    url = _gateway(options)
    link = _ask(options, "browser_link", {})
    address = url.rstrip("/") + link["path"]
    if options.json:
        print_json({"url": address, "expires_at": link["expires_at"]})
        return exits.DONE
    print(address)
    if not args.print and sys.stdout.isatty():
        show(address, options.data)
    return exits.DONE


def show(address: str, data: Path) -> None:
    """Open a link in a browser, by a file: every user of the machine can read command lines.

    Does nothing where there is no data folder of this user to write it to.
    """
    file = data.absolute() / OPEN
    with contextlib.suppress(OSError):
        if data.stat().st_uid == os.geteuid():
            write_private(file, redirection(address))
            webbrowser.open(file.as_uri())


def redirection(address: str) -> str:
    """A page that goes on to an address at once. Pure."""
    to = html.escape(address)
    return (
        '<!doctype html><meta charset="utf-8"><title>instep</title>'
        f'<meta http-equiv="refresh" content="0; url={to}"><a href="{to}">Open instep</a>\n'
    )


def lines(answer: Mapping[str, Any], *, now: float) -> list[str]:
    """A row for each key. Pure."""
    if not answer["keys"]:
        return ["no key was made; the owner's is in the data folder"]
    rows = [("ID", "NAME", "SCOPES", "SOURCES", "MADE", "STATE")]
    rows += [
        (
            key["id"],
            visible(key["name"]) or "-",
            ",".join(key["scopes"]),
            "all" if key["sources"] is None else ",".join(key["sources"]),
            f"{ago(key['created_at'], now)} ago",
            _state(key),
        )
        for key in answer["keys"]
    ]
    return table(rows)


def _state(key: Mapping[str, Any]) -> str:
    if key["revoked_at"]:
        return "revoked"
    if not key["good"]:
        return "expired"
    return f"good until {key['expires_at'][:16]}Z" if key["expires_at"] else "good"


def _ask(options: Options, operation: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    url = _gateway(options)
    return client.ask(url, operation, fields, key=key_of(options, url))


def _gateway(options: Options) -> str:
    """The gateway to ask; keys are made by one that runs."""
    url = find(options)
    if url is None:
        if options.data.is_dir():
            raise unreachable(f"no instance runs in {options.data}", "instep up PATH")
        raise no_gateway()
    return url


def _seconds(text: str) -> float:
    """A time as `90d`, `12 h`. Raises Stop."""
    from pydantic import TypeAdapter, ValidationError

    from shared.settings.groups import Seconds

    try:
        return TypeAdapter(Seconds).validate_python(text)
    except ValidationError:
        raise Stop(f"--expires {text}: give a unit, as 90d (ms, s, min, h, d)") from None
