"""One table of operations, behind HTTP and behind the command line: names, requests, answers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from services.gateway.commands import Commands
from services.gateway.models import (
    BatchesRequest,
    BatchRequest,
    ChecksRequest,
    CheckView,
    ChooseRequest,
    DocumentRequest,
    DocumentsRequest,
    FailuresRequest,
    ForgetRequest,
    HoldRequest,
    LeftOutRequest,
    ReceiptRequest,
    Request,
    SearchRequest,
    StatusRequest,
    ValidateRequest,
)
from services.gateway.problems import invalid
from services.gateway.queries import Queries
from services.gateway.status.sweeps import GenerateRequest, SweepRequest


@dataclass(frozen=True, slots=True)
class Faces:
    """The interface of an instance: its queries and commands."""

    queries: Queries
    commands: Commands


Act = Callable[[Faces, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Operation:
    """A request, and the function that answers it."""

    request: type[Request]
    act: Act


async def _checks(faces: Faces, request: ChecksRequest) -> Mapping[str, Any]:
    checks: Sequence[CheckView] = await faces.queries.checks(request)
    ready = all(check.level != "FAIL" for check in checks)
    return {"ready": ready, "checks": [check.model_dump() for check in checks]}


async def _version(faces: Faces, _: StatusRequest) -> Mapping[str, str]:
    return faces.queries.version()


OPERATIONS: Final[Mapping[str, Operation]] = {
    "search": Operation(SearchRequest, lambda f, r: f.queries.search(r)),
    "status": Operation(StatusRequest, lambda f, _: f.queries.status()),
    "documents": Operation(DocumentsRequest, lambda f, r: f.queries.documents(r)),
    "document": Operation(DocumentRequest, lambda f, r: f.queries.document(r)),
    "left_out": Operation(LeftOutRequest, lambda f, r: f.queries.left_out(r)),
    "receipt": Operation(ReceiptRequest, lambda f, r: f.queries.receipt(r)),
    "failures": Operation(FailuresRequest, lambda f, r: f.queries.failures(r)),
    "batches": Operation(BatchesRequest, lambda f, r: f.queries.batches(r)),
    "validations": Operation(BatchesRequest, lambda f, r: f.queries.validations(r)),
    "report": Operation(BatchRequest, lambda f, r: f.queries.report(r)),
    "checks": Operation(ChecksRequest, _checks),
    "version": Operation(StatusRequest, _version),
    "retry": Operation(ChooseRequest, lambda f, r: f.commands.retry(r)),
    "drop": Operation(ChooseRequest, lambda f, r: f.commands.drop(r)),
    "holds": Operation(StatusRequest, lambda f, _: f.queries.holds()),
    "release": Operation(HoldRequest, lambda f, r: f.commands.release(r)),
    "keep": Operation(HoldRequest, lambda f, r: f.commands.keep(r)),
    "forget": Operation(ForgetRequest, lambda f, r: f.commands.forget(r)),
    "sweep": Operation(SweepRequest, lambda f, r: f.commands.sweep(r)),
    "generate": Operation(GenerateRequest, lambda f, r: f.commands.generate(r)),
    "validate": Operation(ValidateRequest, lambda f, r: f.commands.validate(r)),
}


async def answer(faces: Faces, name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Do an operation and return its JSON object.

    Raises:
        Problem: the request does not fit, or the answer is no.
    """
    operation = OPERATIONS[name]
    try:
        request = operation.request.model_validate(dict(fields))
    except ValidationError as error:
        raise invalid(error, list(operation.request.model_fields)) from None
    found = await operation.act(faces, request)
    return found.model_dump(mode="json") if isinstance(found, BaseModel) else dict(found)
