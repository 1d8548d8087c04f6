"""The instruction sets of this processor."""

from collections.abc import Set
from pathlib import Path
from typing import Final

from shared.domain.errors import ConfigurationError

INT8_FLAGS: Final = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
"""Any of these multiplies int8 without saturating, so that all machines make the same vectors."""


def flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Instruction sets of the first processor; empty where the system does not list them."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def require_int8(found: Set[str]) -> None:
    """Raise ConfigurationError unless int8 vectors made here are those of every other machine."""
    if not found & INT8_FLAGS:
        raise ConfigurationError(
            "embedding.numeric is int8, but this CPU has neither avx512_vnni nor avx_vnni and "
            "would make other vectors: set embedding.numeric to f32, or run on another machine"
        )
