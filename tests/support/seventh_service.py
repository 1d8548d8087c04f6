"""A service of another package: it hears which documents became searchable. For tests."""

from typing import Any

from services.host.service import Part
from shared.domain.events import DocumentIndexed
from shared.domain.services import Service, Use
from shared.domain.topology import Stage


def stage(generation: str) -> Stage[Any]:
    return Stage(
        f"tagger_{generation}",
        "RESULTS",
        DocumentIndexed,
        (f"documents.indexed.{generation}.*",),
        takes="results",
        work="tag",
    )


TAGGER = Service(
    name="tagger",
    build="seventh_service:build",
    consumes=lambda generation: (stage(generation),),
    uses=lambda _: (Use("DOCS", read=True),),
)


async def build(opened: Any) -> Part:
    """Adds the path of every document that became searchable to `opened.tagged`."""

    async def tag(event: DocumentIndexed, _: Any) -> list[Any]:
        opened.tagged.append(event.document.path)
        return []

    return Part(lambda session: session.subscribe(stage(opened.generation), tag))
