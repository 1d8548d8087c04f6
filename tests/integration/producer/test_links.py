"""Links on the way to a file are exchanged while a real folder is watched; no listing comes."""

import shutil

import pytest
from watched import Watched


@pytest.fixture
def live(tmp_path):
    """Listed at the start and once an hour: what is seen before was told by an event."""
    return Watched(tmp_path / "docs")


def link(live, name, target):
    full = live.root / name
    full.parent.mkdir(parents=True, exist_ok=True)
    full.symlink_to(target)


def exchange(live, name, target):
    """In one step, as `ln -sfn` and Kubernetes do it."""
    (live.root / "swap.tmp").symlink_to(target)
    (live.root / "swap.tmp").replace(live.root / name)


def anew(live, name, target):
    """In two steps."""
    (live.root / name).unlink()
    (live.root / name).symlink_to(target)


def a_link_to_a_file(live):
    live.write("sub/one.md", "one")
    live.write("sub/two.md", "two")
    link(live, "page.md", "sub/one.md")
    return lambda swap: swap(live, "page.md", "sub/two.md")


def a_link_to_a_folder(live):
    live.write("v1/page.md", "one")
    live.write("v2/page.md", "two")
    link(live, "current", "v1")
    link(live, "page.md", "current/page.md")
    return lambda swap: swap(live, "current", "v2")


def a_link_to_a_folder_by_its_absolute_name(live):
    live.write("v1/page.md", "one")
    live.write("v2/page.md", "two")
    link(live, "rel/current", live.root / "v1")
    link(live, "page.md", live.root / "rel" / ".." / "rel" / "current" / "page.md")
    return lambda swap: swap(live, "rel/current", "../v2")


def a_chain_of_two_links(live):
    live.write("one.md", "one")
    live.write("two.md", "two")
    link(live, "mid.md", "one.md")
    link(live, "page.md", "mid.md")
    return lambda swap: swap(live, "mid.md", "two.md")


def a_volume_of_kubernetes(live):
    live.write("..2026_1/page.md", "one")
    live.write("..2026_2/page.md", "two")
    link(live, "..data", "..2026_1")
    link(live, "page.md", "..data/page.md")

    def change(swap):
        swap(live, "..data", "..2026_2")
        shutil.rmtree(live.root / "..2026_1")

    return change


def links_in_links(live):
    live.write("..1/page.md", "one")
    live.write("..2/page.md", "two")
    link(live, ".inner", "..1")
    link(live, "outer", ".inner")
    link(live, "deep/er/page.md", "../../outer/page.md")
    return lambda swap: swap(live, ".inner", "..2")


def a_link_that_led_outside(live):
    outside = live.root.parent / "outside"
    outside.mkdir()
    (outside / "page.md").write_text("not here")
    live.write("v2/page.md", "two")
    link(live, "current", outside)
    link(live, "page.md", "current/page.md")
    return lambda swap: swap(live, "current", "v2")


@pytest.mark.parametrize("swap", [exchange, anew])
@pytest.mark.parametrize(
    "made",
    [
        a_link_to_a_file,
        a_link_to_a_folder,
        a_link_to_a_folder_by_its_absolute_name,
        a_chain_of_two_links,
        a_volume_of_kubernetes,
        links_in_links,
        a_link_that_led_outside,
    ],
)
async def test_an_exchanged_link_on_the_way_to_a_file_is_seen_by_its_event(
    live, eventually, made, swap
):
    change = made(live)
    (page,) = [p for p in live.root.rglob("page.md") if p.is_symlink()]
    path = page.relative_to(live.root).as_posix()
    async with live.running():
        before = live.held().get(path)
        change(swap)
        await eventually(lambda: live.held().get(path) == "two")

    assert before == (None if made is a_link_that_led_outside else "one")


@pytest.mark.parametrize("made", [a_link_to_a_folder, a_volume_of_kubernetes])
async def test_links_are_exchanged_again_and_again(live, eventually, made):
    made(live)(exchange)
    name = "current" if made is a_link_to_a_folder else "..data"
    async with live.running():
        for n in range(3, 7):
            live.write(f"..{n}/page.md", str(n))
            exchange(live, name, f"..{n}")
            await eventually(lambda n=n: live.held()["page.md"] == str(n))


async def test_an_edit_in_a_hidden_folder_is_seen_where_a_link_leads_to_it(live, eventually):
    live.write(".hidden/page.md", "one")
    live.write(".hidden/other.md", "no document")
    link(live, "page.md", ".hidden/page.md")
    async with live.running():
        live.write(".hidden/page.md", "two")
        await eventually(lambda: live.held() == {"page.md": "two"})


async def test_an_exchanged_folder_on_the_way_is_seen(live, eventually):
    live.write(".v1/page.md", "one")
    live.write(".v2/page.md", "two")
    link(live, "page.md", ".v1/page.md")
    async with live.running():
        (live.root / ".v1").rename(live.root / ".v0")
        (live.root / ".v2").rename(live.root / ".v1")
        await eventually(lambda: live.held() == {"page.md": "two"})


async def test_a_link_that_leads_nowhere_is_a_document_once_its_file_comes(live, eventually):
    (live.root / ".hidden").mkdir()
    link(live, "page.md", ".hidden/page.md")
    async with live.running():
        before = live.held()
        live.write(".hidden/page.md", "here")
        await eventually(lambda: live.held() == {"page.md": "here"})
        (live.root / ".hidden/page.md").unlink()
        await eventually(lambda: live.held() == {})

    assert before == {}


@pytest.mark.parametrize("name", ["current", ".current"])
async def test_an_edit_in_a_folder_to_which_a_link_leads_is_seen(live, eventually, name):
    """The system tells it by the name of the link."""
    live.write("v1/a.md", "one")
    link(live, name, "v1")
    async with live.running():
        live.write("v1/a.md", "two")
        await eventually(lambda: live.held() == {"v1/a.md": "two"})
        live.write("v1/b.md", "new")
        await eventually(lambda: live.held() == {"v1/a.md": "two", "v1/b.md": "new"})
        (live.root / "v1/b.md").unlink()
        await eventually(lambda: live.held() == {"v1/a.md": "two"})


@pytest.mark.parametrize("how", ["exchanged", "removed", "made anew"])
async def test_an_edit_in_a_folder_to_which_a_link_led_is_seen(live, eventually, how):
    live.write("v1/a.md", "one")
    live.write("v2/a.md", "one")
    link(live, "current", "v1")
    async with live.running():
        match how:
            case "exchanged":
                exchange(live, "current", "v2")
            case "removed":
                (live.root / "current").unlink()
            case _:
                anew(live, "current", "v2")
        for n in range(20):
            live.write("v1/a.md", f"one {n}")
            live.write("v2/a.md", f"two {n}")
            await eventually(
                lambda n=n: live.held() == {"v1/a.md": f"one {n}", "v2/a.md": f"two {n}"}
            )
