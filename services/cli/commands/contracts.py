"""`instep contracts`."""

from argparse import Namespace
from pathlib import Path

from services.cli import exits
from services.cli.terminal import plural, print_json
from services.host.options import Options


def run(args: Namespace, options: Options) -> int:
    """Write all contracts, or with `--check` compare; status 1 when they differ."""
    from shared.contracts import differences, write

    folder = Path(args.out)
    if args.check:
        found = differences(folder, files())
        fix = f"instep contracts --out {folder}"
        text = [*found, f"{plural(len(found), 'difference')}. Fix: {fix}"] if found else []
    else:
        found = [str(path) for path in write(folder, files())]
        text = [f"wrote {path}" for path in found]
    if options.json:
        print_json({"folder": str(folder), "differences" if args.check else "changed": found})
    else:
        print("\n".join(text) or f"{folder} is as the code says")
    return exits.NEEDS_YOU if args.check and found else exits.DONE


def files() -> dict[str, str]:
    """The contracts of the bus and of HTTP: path below the folder to content."""
    from services.gateway import openapi
    from shared import contracts

    return {**contracts.files(), openapi.FILE: openapi.text()}
