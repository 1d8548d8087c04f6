"""3. However late, doubled or out of order messages come: the index holds the last content."""


async def test_the_order_is_that_of_the_revisions_not_of_the_work(house):
    await house.write("a.md", "first words")
    await house.enrich()
    await house.embed()
    late = house.vectors.popleft()  # some worker is slow with it

    await house.write("a.md", "second words")
    await house.work()
    await house.index(late)

    assert await house.search("words") == ["second words"]


async def test_a_part_that_comes_twice_changes_nothing(house):
    await house.write("a.md", "first words")
    await house.enrich()
    await house.embed()
    part = house.vectors[0]
    await house.work()

    await house.index(part)
    await house.index(part)

    assert await house.search("words") == ["first words"]
    assert await house.store.count() == 1


async def test_a_late_part_of_a_deleted_document_does_not_bring_it_back(house):
    await house.write("a.md", "first words")
    await house.enrich()
    await house.embed()
    late = house.vectors.popleft()

    await house.delete("a.md")
    await house.work()
    await house.index(late)

    assert await house.search("words") == []
    assert await house.store.count() == 0


async def test_of_changes_in_quick_succession_only_the_last_is_worked_on(house):
    for n in range(10):
        await house.write("a.md", f"version {n} of the words")
    await house.work()

    assert house.model.read == ["version 9 of the words"]
    assert len(house.results) == 1  # so never count events: wait for a revision or a newer one
