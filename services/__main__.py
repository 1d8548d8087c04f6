"""`instep` and `python -m services`."""

import sys


def main() -> int:
    """The console script: exit status 0 to 4, 70 for a bug, 130 interrupted."""
    from services.cli.main import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
