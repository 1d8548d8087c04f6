"""`python -m services`, and the console script `instep`."""

import contextlib
import os
import sys
from typing import NoReturn

from services.cli.main import run


def main() -> NoReturn:
    """Run the command line and end the process: status 0 to 4, 70 for a bug, 130 interrupted."""
    status = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    # everything is closed; taking the model's and the store's libraries down takes half a second
    os._exit(status)


if __name__ == "__main__":
    main()
