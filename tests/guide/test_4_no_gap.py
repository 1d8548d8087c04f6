"""4. While a new version is made, the old one is found, whole; then the new one, whole."""

import pytest

OLD = "# Old\n\nthe harbour lantern\n\n# Also old\n\nthe granite orchard"
NEW = "# New\n\nthe copper violin\n\n# Also new\n\nthe saffron glacier"


@pytest.fixture
async def house(house):
    await house.write("a.md", OLD)
    await house.work()
    return house


async def test_the_old_version_is_found_until_the_new_one_is_whole(house):
    await house.write("a.md", NEW)

    seen = [sorted(await house.search("the"))]
    while await house.enrich() or await house.embed() or await house.index():
        seen.append(sorted(await house.search("the")))

    old = ["the granite orchard", "the harbour lantern"]
    assert seen == [*[old] * 3, ["the copper violin", "the saffron glacier"]]


async def test_a_document_whose_newest_version_is_not_searchable_yet_is_called_stale(house):
    await house.write("a.md", NEW)
    await house.enrich()

    assert (await house.state("a.md")).stale
    await house.work()
    assert not (await house.state("a.md")).stale


async def test_a_version_that_is_refused_leaves_the_last_good_one(house):
    await house.write("a.md", "   ")
    await house.work()

    found = await house.state("a.md")
    assert (found.word, found.stale, found.reason.code) == ("refused", True, "empty")
    assert await house.search("lantern") != []
