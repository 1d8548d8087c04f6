"""The kinds of stores: as many as the settings have, each opened from its own."""

from typing import get_args

import pytest

from shared.domain.errors import ConfigurationError
from shared.settings import Store, load
from shared.stores.lance.store import LanceStore
from shared.stores.memory import MemoryStore
from shared.stores.registry import AUTO, STORES, Wanted, open_store, secret_of
from shared.stores.sqlite.store import SqliteStore


def test_the_settings_know_the_same_kinds():
    assert set(get_args(Store.model_fields["kind"].annotation)) == STORES.keys() | {AUTO}


async def test_an_index_that_is_there_stays_in_its_store_and_a_new_one_is_an_sqlite_file(tmp_path):
    async def opened(folder, generation="g1", kind="auto"):
        store = await open_store(Store(kind=kind, path=folder), Wanted(generation, 8, tmp_path))
        await store.close()
        return type(store._inner)

    older, fresh = tmp_path / "older", tmp_path / "fresh"
    await opened(older, kind="lancedb")

    assert await opened(older) is LanceStore
    assert await opened(older, "g2") is LanceStore
    assert await opened(fresh) is SqliteStore
    assert await opened(fresh) is SqliteStore
    (older / "of-another-program.sqlite3").touch()
    assert await opened(older) is LanceStore
    assert await opened(older, kind="sqlite") is SqliteStore
    assert await opened(older) is SqliteStore
    (older / "chunks_g1.sqlite3").unlink()  # deleted, or put aside, and to be made anew
    assert await opened(older) is SqliteStore


async def test_a_store_is_opened_by_its_kind(tmp_path):
    store = await open_store(Store(kind="memory"), Wanted("g1", 8, tmp_path))

    assert store.dimensions == 8
    assert isinstance(store._inner, MemoryStore)


async def test_a_database_without_an_address_is_asked_for(tmp_path):
    with pytest.raises(ConfigurationError, match=r"store\.pgvector\.url is missing"):
        await open_store(Store(kind="pgvector"), Wanted("g1", 8, tmp_path))


@pytest.mark.parametrize(("group", "name"), [("pgvector", "password"), ("weaviate", "key")])
def test_a_secret_is_in_the_settings_or_in_a_file(tmp_path, group, name):
    file = tmp_path / "secret"
    file.write_text("of the file\n")
    both = Store.model_validate({group: {name: "itself", f"{name}_file": file}})
    named = Store.model_validate({group: {f"{name}_file": file}})
    lost = Store.model_validate({group: {f"{name}_file": tmp_path / "none"}})
    full = f"store.{group}.{name}"

    assert secret_of(getattr(both, group), full) == "itself"
    assert secret_of(getattr(named, group), full) == "of the file"
    assert secret_of(getattr(Store(), group), full) is None
    with pytest.raises(ConfigurationError, match=f"{full}_file: .*cannot be read"):
        secret_of(getattr(lost, group), full)


@pytest.mark.parametrize(
    "url", ["mysql://user:hunter2@host/db", "postgresql://user:hunter2@host", "hunter2"]
)
def test_an_address_that_is_none_is_refused_without_being_shown(url):
    with pytest.raises(ConfigurationError, match=r"PGVECTOR__URL: (must|names)") as raised:
        load(config=None, environ={"INSTEP_STORE__PGVECTOR__URL": url})

    assert "hunter2" not in str(raised.value)
