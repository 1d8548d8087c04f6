"""The whole flow with a Weaviate server as the store: edit a file, and search finds it."""

import asyncio

import pytest
from instep_process import FAKE, Instep, wait_until
from weaviate_store import connected

PREFIX = "E2e"


@pytest.fixture
def instep(tmp_path, weaviate):
    settings = {
        "INSTEP_STORE__KIND": "weaviate",
        "INSTEP_STORE__WEAVIATE__URL": weaviate.url,
        "INSTEP_STORE__WEAVIATE__GRPC": weaviate.grpc,
        "INSTEP_STORE__WEAVIATE__PREFIX": PREFIX,
    }
    if weaviate.key:
        (tmp_path / "key").write_text(f"{weaviate.key}\n")
        settings["INSTEP_STORE__WEAVIATE__KEY_FILE"] = str(tmp_path / "key")
    made = Instep(tmp_path / "data", tmp_path, env=FAKE | settings)
    yield made
    made.stop()
    asyncio.run(forget(weaviate))


async def forget(server):
    async with connected(server) as client:
        await client.alias.delete(alias_name=f"{PREFIX}_live")
        for name in await client.collections.list_all():
            if name.startswith(PREFIX):
                await client.collections.delete(name)


def test_an_edit_is_found_and_a_deleted_file_is_not(instep, tmp_path, weaviate):
    notes = tmp_path / "notes"
    notes.mkdir()
    for n in range(5):
        (notes / f"n{n}.md").write_text(f"# Note {n}\n\nA text about unique{n} things.\n")
    instep.up(notes)
    wait_until(lambda: instep.found("unique3")[:1] == ["n3.md"])

    (notes / "n3.md").write_text("# Zeppelin\n\nA text about zeppelins.\n")
    wait_until(lambda: instep.found("zeppelins")[:1] == ["n3.md"])
    (notes / "n3.md").unlink()
    wait_until(lambda: "n3.md" not in instep.found("zeppelins"))

    async def rows_behind_the_alias():
        async with connected(weaviate) as client:
            live = client.collections.use(f"{PREFIX}_live")
            return (await live.aggregate.over_all(total_count=True)).total_count

    assert instep.json("validate")["passed"] is True
    assert asyncio.run(rows_behind_the_alias()) == 4
