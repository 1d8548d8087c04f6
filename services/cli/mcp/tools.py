"""The tools of an assistant, each over one operation of the client."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, Literal

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field, ValidationError

from instep.client import AsyncClient, ClientError, Refused
from instep.fields import PutFields
from services.cli.exits import with_fix
from services.cli.mcp import answers
from services.gateway.models import FILTER_CHARACTERS, QUESTION_CHARACTERS
from shared.domain.errors import InstepError

Reach = Callable[[Context[Any, Any]], AsyncClient]
"""The client for one call of a tool, with the key that its caller has shown. Raises InstepError."""
INSTRUCTIONS: Final = f"""instep keeps an index of the user's documents in step with their sources.
Search it before you answer a question about those documents, name the documents that an answer
rests on, and show a document where a passage is not enough. {answers.NOTICE}"""

Question = Annotated[
    str,
    Field(
        min_length=1,
        max_length=QUESTION_CHARACTERS,
        description='A question or words. Every hit has each "phrase" in it, and no -word.',
    ),
]
Sources = Annotated[
    list[str],
    Field(description="Only documents of these sources, by the names that `status` tells."),
]
Filter = Annotated[
    str,
    Field(
        max_length=FILTER_CHARACTERS,
        description="Which documents, as `path:guide/ language:en created_at>=2026-01-01 -draft`: "
        "path:PREFIX, FIELD:VALUE, FIELD>=VALUE, a minus excludes, `or` and parentheses combine.",
    ),
]
Limit = Annotated[int, Field(ge=1, le=50, description="Most documents to find.")]
Mode = Annotated[
    Literal["hybrid", "vector", "keyword"],
    Field(description="By meaning and words, by meaning only, or by words only."),
]
Name = Annotated[
    str,
    Field(min_length=1, max_length=4096, description="SOURCE/PATH, as `search` tells it."),
]
FromChunk = Annotated[int, Field(ge=1, description="Show the text from this chunk on.")]
Source = Annotated[str, Field(description="The source to publish to; none that is watched.")]
Path = Annotated[
    str, Field(description="Path of the document; its ending tells the format, as notes/today.md.")
]
Text = Annotated[str, Field(description="The whole document.")]
Replace = Annotated[bool, Field(description="Write over a document that has this path.")]
Wait = Annotated[float, Field(ge=0, le=60, description="Seconds to wait until it is searchable.")]


def reading(title: str) -> ToolAnnotations:
    """A tool that changes nothing, here or elsewhere."""
    return ToolAnnotations(
        title=title,
        read_only_hint=True,
        destructive_hint=False,
        idempotent_hint=True,
        open_world_hint=False,
    )


def writing(title: str) -> ToolAnnotations:
    """A tool that may write over a document."""
    return ToolAnnotations(
        title=title,
        read_only_hint=False,
        destructive_hint=True,
        idempotent_hint=False,
        open_world_hint=False,
    )


@asynccontextmanager
async def asking(reach: Reach, ctx: Context[Any, Any]) -> AsyncIterator[AsyncClient]:
    """A client for one call, so that an instance that comes back is found.

    Raises:
        ToolError: no gateway answers, or the answer is no; the text says what to do.
    """
    try:
        async with reach(ctx) as client:
            yield client
    except ClientError as error:
        raise ToolError(with_fix(error.detail, error.fix)) from None
    except InstepError as error:
        raise ToolError(str(error)) from None
    except ValidationError:  # its text would quote a document
        raise ToolError(
            with_fix("the gateway answers as another version does", "upgrade both to one version")
        ) from None


def serve(reach: Reach, *, version: str, publishes: bool) -> MCPServer[Any]:
    """The server with its tools; it listens nowhere yet.

    Args:
        publishes: also offer the tool that writes documents.
    """
    server: MCPServer[Any] = MCPServer(
        "instep",
        title="instep",
        instructions=INSTRUCTIONS,
        version=version,
        log_level="WARNING",
    )
    _add_reading(server, reach)
    if publishes:
        _add_publish(server, reach)
    return server


def _add_reading(server: MCPServer[Any], reach: Reach) -> None:
    @server.tool(annotations=reading("Search documents"))
    async def search(
        question: Question,
        ctx: Context[Any, Any],
        source: Sources = [],  # noqa: B006 - it is read only, and its schema shows it
        filter: Filter = "",
        limit: Limit = 8,
        mode: Mode = "hybrid",
    ) -> answers.Passages:
        """Find the passages of the user's documents that answer a question, the best first.

        The index is in step with the documents: a change is found seconds later. Ask in a whole
        sentence for meaning, or with the very words of a name, command or message.
        """
        async with asking(reach, ctx) as client:
            found = await client.search(
                question, source=source, filter=filter, limit=limit, mode=mode, group_by="content"
            )
        return answers.passages(found)

    @server.tool(annotations=reading("Show a document"))
    async def show(
        document: Name, ctx: Context[Any, Any], from_chunk: FromChunk = 1
    ) -> answers.ShownDocument:
        """Show one document: its text, and whether search has its newest version, or why not."""
        async with asking(reach, ctx) as client:
            found = await client.document(document, chunks=True)
        return answers.shown(found, from_chunk)

    @server.tool(annotations=reading("Show how fresh the index is"))
    async def status(ctx: Context[Any, Any]) -> answers.Standing:
        """Tell whether the index has every change of the documents, its sources, and its counts."""
        async with asking(reach, ctx) as client:
            return answers.standing(await client.status())


def _add_publish(server: MCPServer[Any], reach: Reach) -> None:
    @server.tool(annotations=writing("Publish a document"))
    async def publish(
        source: Source,
        path: Path,
        text: Text,
        ctx: Context[Any, Any],
        replace: Replace = False,
        wait_s: Wait = 20.0,
    ) -> answers.Published:
        """Write a text document into the index, where search finds it.

        Only when the user asks for it: others may read the index.
        """
        fields = PutFields(wait=wait_s)
        if not replace:
            fields["if_revision"] = 0  # there must be none
        async with asking(reach, ctx) as client:
            try:
                sent = await client.put_document(source, path, text, **fields)
            except Refused as refused:
                if refused.code != "revision_changed" or replace:
                    raise
                line = f"{source}/{path} is there already"
                raise ToolError(with_fix(line, "replace=true writes over it")) from None
        return answers.published(sent)
