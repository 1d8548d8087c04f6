"""The interface of an instance, and the answer to an operation of the table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from services.gateway.access.access import Principal
from services.gateway.access.manage import AccessCommands
from services.gateway.commands import Commands
from services.gateway.operations import OPERATIONS, Operation, resolve
from services.gateway.problems import Problem, invalid
from services.gateway.queries import Queries
from services.gateway.uploads.uploads import Uploads
from services.gateway.webhooks.webhooks import Webhooks


@dataclass(frozen=True, slots=True)
class Faces:
    """The interface of an instance: its queries and commands, and the way in for documents."""

    queries: Queries
    commands: Commands
    uploads: Uploads | None = None
    """None: no instance runs."""
    access: AccessCommands = field(default_factory=AccessCommands)
    webhooks: Webhooks = field(default_factory=Webhooks)


class Guarded(Protocol):
    """A row of the table of operations, or of that of pages."""

    @property
    def name(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def of_sources(self) -> bool: ...


def may(access: Principal, row: Guarded) -> bool:
    """Whether the sender of a request may do an operation. Pure."""
    return access.allows(row.scope) and (access.sources is None or row.of_sources)


def allow(access: Principal, row: Guarded) -> None:
    """Raise Problem `forbidden` for an operation that is more than the sender may do."""
    if not access.allows(row.scope):
        raise Problem(
            "forbidden",
            f"this needs the scope {row.scope}, which the key does not have",
            f"instep keys create --scope {row.scope}",
        )
    if not may(access, row):
        raise Problem(
            "forbidden",
            f"{row.name} is about the whole instance, and this key is for some sources only",
            "use a key for all sources",
        )


async def done(faces: Faces, name: str, fields: Mapping[str, Any]) -> Any:
    """Do an operation and return its answer, an instance of its model.

    Raises:
        Problem: the request does not fit, or the answer is no.
    """
    operation = OPERATIONS[name]
    request = request_of(operation, fields)
    assert operation.run is not None, f"{name} is answered by its handler only"
    return await operation.run(faces, request)


async def answer(faces: Faces, name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Do an operation and return its JSON object. Raises Problem, as `done`."""
    found: BaseModel = await done(faces, name, fields)
    return found.model_dump(mode="json")


def request_of(operation: Operation, fields: Mapping[str, Any]) -> Any:
    """The request of an operation, an instance of its model.

    Raises:
        Problem: the fields do not fit.
    """
    model = resolve(operation.request)
    try:
        return model.model_validate(dict(fields))
    except ValidationError as error:
        raise invalid(error, list(model.model_fields)) from None
