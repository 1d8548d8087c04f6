"""1. A change passes three stages; after the last of them a searcher finds it, and not before."""

from shared.domain.events import DocumentIndexed


async def test_a_document_is_found_when_all_stages_have_seen_it(house):
    await house.write("keys.md", "# Keys\n\nRotate a credential every ninety days.")
    await house.work()

    assert await house.search("rotate a credential") == ["Rotate a credential every ninety days."]


async def test_the_enricher_reads_and_cuts_the_embedder_encodes_the_indexer_writes(house):
    await house.write("keys.md", "# Keys\n\nRotate them.\n\n# Locks\n\nOil them.")

    await house.enrich()
    assert [row.heading for row in house.parts[0].rows] == [("Keys",), ("Locks",)]
    assert house.model.read == []

    await house.embed()
    assert house.vectors[0].unpack().shape == (2, house.model.dimensions)
    assert await house.store.count() == 0

    await house.index()
    assert await house.store.count() == 2


async def test_the_model_reads_the_headings_with_the_text(house):
    await house.write("keys.md", "# Keys\n\n## Rotation\n\nEvery ninety days.")
    await house.work()

    assert house.model.read == ["Keys > Rotation\nEvery ninety days."]


async def test_indexed_is_said_after_the_store_has_found_every_chunk(house):
    revision = await house.write("keys.md", "# Keys\n\nRotate them.")
    await house.work()

    event = house.results[-1]
    assert isinstance(event, DocumentIndexed)
    assert event.document.revision == revision
    assert event.vector_count == 1
    assert event.freshness_s > 0


async def test_at_every_moment_a_document_is_in_one_named_state(house):
    await house.write("keys.md", "# Keys\n\nRotate them.")
    words = [(await house.state("keys.md")).word]
    for stage in (house.enrich, house.embed, house.index):
        await stage()
        words.append((await house.state("keys.md")).word)

    assert words == ["queued", "working", "working", "searchable"]
