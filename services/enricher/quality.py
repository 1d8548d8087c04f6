"""Whether what was read is worth indexing. Pure."""

from collections.abc import Sequence

from services.enricher.chunking.chunk import Chunk
from services.enricher.formats.blocks import Extracted, too_large
from services.enricher.formats.charset import MAX_DAMAGE
from shared.domain.errors import DocumentRefused
from shared.domain.ordering import MAX_ROWS


def judge(extracted: Extracted, chunks: Sequence[Chunk]) -> DocumentRefused | None:
    """Why the document is refused, or None.

    `no_text`: nothing to embed. `too_large`: more rows than a ledger record holds.
    `wrong_encoding`: more than MAX_DAMAGE of the characters are replacements of broken ones.
    """
    if not chunks:
        return DocumentRefused("no_text", "there is no text to search; images alone are not read")
    if len(chunks) > MAX_ROWS:
        return too_large()
    length = sum(len(block.text) for block in extracted.blocks)
    broken = sum(block.text.count("\ufffd") for block in extracted.blocks)
    if broken > max(1, length * MAX_DAMAGE):
        return DocumentRefused(
            "wrong_encoding", "many characters are broken; save the file as UTF-8"
        )
    return None
