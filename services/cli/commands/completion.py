"""`completion` and `version`."""

from argparse import Namespace

from services.cli.parser import build
from services.cli.terminal import print_json
from services.host.options import Options


def run(args: Namespace, _: Options) -> int:
    """Print the shell's completion script."""
    import shtab

    print(shtab.complete(build(), args.shell))
    return 0


def run_version(_: Namespace, options: Options) -> int:
    """Print the version."""
    if options.json:
        print_json({"version": version()})
    else:
        print(f"instep {version()}")
    return 0


def version() -> str:
    """The version of the installed package."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("instep")
    except PackageNotFoundError:  # run from a checkout without installing
        return "0+unknown"
