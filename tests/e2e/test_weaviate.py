"""The whole flow with a Weaviate server as the store: edit a file, and search finds it."""

import asyncio
import json

import pytest
from instep_process import FAKE, Instep, wait_until
from prometheus_client.parser import text_string_to_metric_families
from services_alone import get
from weaviate_store import connected

from services.host.data_folder import DataFolder

PREFIX = "E2e"


@pytest.fixture
def instep(tmp_path, weaviate):
    settings = {
        "INSTEP_GATEWAY__AUTH": "none",
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

    wait_until(lambda: instep.json("validate", status=(0, 1))["passed"])

    assert asyncio.run(rows_behind_the_alias()) == 4


def test_a_collection_that_somebody_deletes_comes_back_without_encoding(instep, tmp_path, weaviate):
    notes = tmp_path / "notes"
    notes.mkdir()
    for n in range(5):
        (notes / f"n{n}.md").write_text(f"# Note {n}\n\nA text about unique{n} things.\n")
    instep.env["INSTEP_HEALTH__PORT"] = "0"
    instep.env["INSTEP_TELEMETRY__LEVEL"] = "info"
    instep.up(notes)
    wait_until(lambda: found_of(instep, 5))
    before = encoded(instep)
    asyncio.run(delete_collections(weaviate))
    (notes / "new.md").write_text("# New\n\nA text about unique5 things.\n")
    wait_until(lambda: found_of(instep, 6))

    assert encoded(instep) == before + 1
    assert any("collection_made_anew" in line for line in whole_log(instep))


def encoded(instep):
    """Texts that the process has encoded."""
    told = next(line for line in whole_log(instep) if "health_listening" in line)
    page = get(f"http://127.0.0.1:{json.loads(told)['port']}/metrics").text
    families = text_string_to_metric_families(page)
    samples = [s for f in families for s in f.samples if s.name == "instep_texts_total"]
    return sum(s.value for s in samples if s.labels["how"] == "encoded")


def whole_log(instep):
    return (instep.cwd / "up-0.log").read_text().splitlines()


def found_of(instep, count):
    """Whether each note is found; a search may fail while there is no collection."""
    gateway = DataFolder(instep.data).read_instance().gateway_url
    asked = [get(f"{gateway}/api/v1/search?q=unique{n}&limit=1") for n in range(count)]
    return all(one.status == 200 and f"unique{n}" in one.text for n, one in enumerate(asked))


async def delete_collections(server):
    async with connected(server) as client:
        for name in await client.collections.list_all():
            if name.startswith(PREFIX):
                await client.collections.delete(name)
