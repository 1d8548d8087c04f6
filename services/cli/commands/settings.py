"""`instep settings`."""

import json
import re
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.cli import exits
from services.cli.commands.template import TEMPLATE
from services.cli.exits import Stop
from services.cli.options import CONFIG
from services.cli.terminal import print_json
from services.host.options import Options


def run(args: Namespace, options: Options) -> int:
    """Print the settings in force; or check, describe or write a settings file."""
    if args.schema:
        from shared.settings import Settings

        print_json(Settings.model_json_schema())
        return exits.DONE
    if args.init:
        return _init(Path(CONFIG))
    if args.check is not None:
        return _check(args.check, options)
    from shared.settings import leaves

    loaded = options.load()
    values = dict(leaves(loaded.settings.model_dump(mode="json")))
    if options.json:
        body = {
            name: {"value": public(value), "from": loaded.origins.get(name, "default")}
            for name, value in values.items()
        }
        print_json(body)
    else:
        print("\n".join(lines(values, loaded.origins)))
    return exits.DONE


def lines(values: Mapping[str, Any], origins: Mapping[str, str]) -> list[str]:
    """`embedding.max_batch = 64   from INSTEP_EMBEDDING__MAX_BATCH`, one setting a line. Pure."""
    values = {name: public(value) for name, value in values.items()}
    shown = {
        name: f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()
    }
    width = min(60, max(map(len, shown.values())))
    found = []
    for name, text in shown.items():
        origin = origins.get(name)
        found.append(f"{text:<{width}}   from {origin}" if origin else text)
    return found


def public(value: Any) -> Any:
    """The value without what an address says of user and password. Pure."""
    return re.sub(r"://[^/@]*@", "://***@", value) if isinstance(value, str) else value


def _check(name: str, options: Options) -> int:
    from shared.settings import load

    path = Path(name) if name else options.config
    if path is not None and not path.is_file():
        raise Stop(f"{path}: no such settings file")
    load(config=path)
    where = path or "the environment"
    if options.json:
        print_json({"file": str(path) if path else None, "valid": True})
    else:
        print(f"{where}: every setting is known and fits")
    return exits.DONE


def _init(path: Path) -> int:
    if path.exists():
        raise Stop(f"{path} is there already", fix="move it away first")
    path.write_text(TEMPLATE, encoding="utf-8")
    print(f"wrote {path}: every line is a comment; remove the # of what you change")
    return exits.DONE
