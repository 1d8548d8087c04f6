"""The interface of an instance, and the answer to an operation of the table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from services.gateway.access.manage import AccessCommands
from services.gateway.commands import Commands
from services.gateway.operations import OPERATIONS, Operation, resolve
from services.gateway.problems import invalid
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


async def answer(faces: Faces, name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Do an operation and return its JSON object.

    Raises:
        Problem: the request does not fit, or the answer is no.
    """
    operation = OPERATIONS[name]
    request = request_of(operation, fields)
    assert operation.run is not None, f"{name} is answered by its handler only"
    found: BaseModel = await operation.run(faces, request)
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
