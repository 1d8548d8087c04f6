"""What the holder of a key or a token may do. Pure."""

from collections.abc import Set
from dataclasses import dataclass, field
from typing import Final

SCOPES: Final = ("search", "read", "write", "operate", "admin")
"""Each stands for itself; none includes another."""


@dataclass(frozen=True, slots=True)
class Principal:
    """What one caller may do."""

    name: str
    """Id of the key, or subject of the token; for logs."""
    scopes: Set[str] = field(default_factory=frozenset)
    sources: Set[str] | None = None
    """None: all sources, also those that come later."""
    until: float | None = None
    """Unix time at which it ends; None: it has no end."""
    key: str | None = None
    """Id of the key that may be revoked; None: it stands on none."""

    def allows(self, scope: str) -> bool:
        """Whether an operation of this scope may be done; `none` needs no key."""
        return scope == "none" or scope in self.scopes

    def sees(self, source: str) -> bool:
        """Whether documents of the source may be seen, written and counted."""
        return self.sources is None or (source != "" and source in self.sources)


NOBODY: Final = Principal("nobody", frozenset(), frozenset())
"""The sender of a request that needs no key."""

OWNER: Final = Principal("owner", frozenset(SCOPES))
"""The holder of the instance's own key."""
