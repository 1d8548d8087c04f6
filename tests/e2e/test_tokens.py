"""A gateway of a real instance that accepts the tokens of an issuer."""

import asyncio

import pytest
from instep_process import wait_until
from token_issuer import AUDIENCE, token_issuer

from instep.client import AsyncClient, Refused

pytestmark = [pytest.mark.slow, pytest.mark.nats, pytest.mark.stores]


async def code(asked):
    with pytest.raises(Refused) as refused:
        await asked
    return refused.value.code


async def test_tokens_open_what_their_claims_name_of_a_real_instance(instep):
    folder = instep.cwd / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# A\n\nThe harbour.\n")
    async with token_issuer() as issuer:
        instep.env |= {
            "INSTEP_GATEWAY__OIDC__ISSUER": issuer.issuer,
            "INSTEP_GATEWAY__OIDC__AUDIENCE": AUDIENCE,
            "INSTEP_GATEWAY__OIDC__SOURCES_CLAIM": "instep_sources",
        }
        await asyncio.to_thread(instep.up, "docs", "--port", 0)
        await asyncio.to_thread(wait_until, lambda: instep.found("harbour") == ["a.md"])
        url = AsyncClient(data=instep.data).url

        def holder(**claims):
            return AsyncClient(url, key=issuer.token(**claims))

        async with (
            holder(instep_sources=["docs"]) as reader,
            holder(instep_sources=["wiki"]) as stranger,
            holder(exp=1) as late,
            AsyncClient(url, key="a.b.c") as nobody,
        ):
            assert [hit.document.path for hit in (await reader.search("harbour")).hits] == ["a.md"]
            assert (await stranger.search("harbour")).hits == ()
            assert await code(reader.delete_document("inbox", "c.md")) == "forbidden"
            assert await code(late.search("harbour")) == "invalid_token"
            assert await code(nobody.search("harbour")) == "invalid_token"
