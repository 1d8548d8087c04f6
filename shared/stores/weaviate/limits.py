"""The time limit of calls to Weaviate, and the translation of their errors."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from shared.domain.errors import StoreUnavailable
from shared.stores.weaviate.answers import sorted_error

CONNECT_S: Final = 10.0
SCHEMA_S: Final = 30.0
QUERY_S: Final = 10
INSERT_S: Final = 60
TRY_AGAIN_S: Final = 0.1


@asynccontextmanager
async def bounded(within_s: float) -> AsyncIterator[None]:
    """End a call to the server in time, and raise errors of ours only.

    The client tries again for up to 63 s where no server listens, whatever time is set; only one
    limit around everything holds.

    Raises:
        StoreUnavailable: the outcome is not known.
        QuestionRefused: the server works, and cannot take the question.
        StoreMismatch, ConfigurationError: only a person can put it right.
    """
    import httpx
    from weaviate.exceptions import WeaviateBaseError

    try:
        async with asyncio.timeout(within_s):
            yield
    except TimeoutError:
        raise StoreUnavailable(f"Weaviate did not answer within {within_s:g} s") from None
    except (WeaviateBaseError, httpx.HTTPError, OSError) as error:
        raise sorted_error(type(error).__name__, str(error)) from error
