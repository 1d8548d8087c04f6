"""`python -m services`, and the console script `instep`."""

import contextlib
import os
import sys
from typing import NoReturn

from services.cli.main import run


def main() -> NoReturn:
    """Run the command line and end the process: status 0 to 4, 70 for a bug, 130 interrupted."""
    _have_streams()
    status = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    # everything is closed; taking the model's and the store's libraries down takes half a second
    os._exit(status)


def _have_streams() -> None:
    """Let what was closed before the start lead nowhere: Python has None for it, and the next file
    that is opened would get its number, and what libraries print."""
    while (nowhere := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(nowhere)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


if __name__ == "__main__":
    main()
