"""Every page of an instance in a real browser: by keyboard, without scripts, small, dark."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from browser import HOSTILE, PageWorld, axe, page_world
from instep_process import wait_until

from services.gateway.pages.table import PAGES

pytestmark = pytest.mark.slow

OF_COLOURS = ["color-contrast", "link-in-text-block"]
"""Rules of axe that another theme may break; no style but that of colours depends on it."""
FOCUSABLE = "a[href],button,input,select,textarea,summary,[tabindex='0']"
ALL_FOCUSABLE = f"""() => [...document.querySelectorAll({json.dumps(FOCUSABLE)})]
  .filter(one => one.checkVisibility({{visibilityProperty: true}}) && !one.disabled).length"""
FOCUSED = """() => {
  const one = document.activeElement;
  if (one === document.body || one === document.documentElement) return null;
  const style = getComputedStyle(one);
  const box = one.getBoundingClientRect();
  const first = !one.dataset.reached;
  one.dataset.reached = "1";
  return {
    name: one.outerHTML.slice(0, 120),
    first,
    marked: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    seen: box.width > 0 && box.bottom > 0 && box.top < innerHeight,
  };
}"""
VIOLATIONS = """async options => (await axe.run(options)).violations.map(one =>
  `${one.id}: ${one.help}: ${one.nodes.map(node => node.html.slice(0, 160)).join(" | ")}`)"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageWorld]:
    with page_world(tmp_path_factory.mktemp("pages")) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_faults(world: PageWorld) -> Iterator[None]:
    """No page writes an error to the console, or asks another host for anything."""
    yield
    found, world.faults[:] = [*world.faults], []
    assert found == []


@dataclass(frozen=True)
class Visit:
    """How a page is opened, and what must be there."""

    address: Callable[[PageWorld], str]
    heading: str
    """Words of its one heading of the first level."""
    links_to: str
    """The label in the navigation that is this page."""


def at(address: str) -> Callable[[PageWorld], str]:
    return lambda _: address


def key_of(world: PageWorld, path: str) -> str:
    found = world.ask(f"/api/v1/documents?prefix={path}")["documents"]
    return found[0]["doc_key"]


def batch_of(world: PageWorld) -> str:
    return world.ask("/api/v1/batches?source=docs")["batches"][0]["batch"]["id"]


VISITS = {
    "overview": Visit(at("/"), "", "Overview"),
    "documents": Visit(at("/documents"), "Documents", "Documents"),
    "document": Visit(lambda w: f"/documents/{key_of(w, 'guide/n1')}", "n1", "Documents"),
    "document diff": Visit(
        lambda w: f"/documents/{key_of(w, 'guide/n1')}?show=diff", "n1", "Documents"
    ),
    "document similar": Visit(
        lambda w: f"/documents/{key_of(w, 'guide/n1')}?show=similar", "n1", "Documents"
    ),
    "failures": Visit(at("/failures"), "Failures", "Failures"),
    "removals": Visit(at("/removals"), "Removals", "Removals"),
    "sources": Visit(at("/sources"), "Sources", "Sources"),
    "source": Visit(at("/sources/docs"), "docs", "Sources"),
    "batches": Visit(at("/batches"), "Batches", "Batches"),
    "batch": Visit(lambda w: f"/batches/{batch_of(w)}?source=docs", "", "Batches"),
    "search form": Visit(at("/search"), "Search", "Search"),
    "search": Visit(at("/search?q=lantern+shelf&mode=hybrid"), "Search", "Search"),
    "upload": Visit(at("/upload"), "Upload", "Upload"),
}
NO_PAGES = {"static_file", "sign_in"}
"""Rows of the table that have nothing to look at: a file, and a way to the overview."""


def test_every_page_of_the_table_is_visited():
    pages = {name for name, row in PAGES.items() if row.place.method == "GET"}
    assert pages == {name.partition(" ")[0] for name in VISITS} | NO_PAGES


@pytest.fixture(scope="module", params=sorted(VISITS))
def opened(world: PageWorld, request: pytest.FixtureRequest) -> Iterator[tuple[Visit, Any]]:
    """A page that was loaded once, for all that looks at it."""
    visit = VISITS[request.param]
    with world.open(reduced_motion="reduce") as context:  # colours change at once
        page = context.new_page()
        assert page.goto(visit.address(world)).status == 200
        yield visit, page


def test_a_page_says_what_it_is(opened):
    visit, page = opened
    heading = page.get_by_role("heading", level=1)
    here = page.get_by_role("navigation", name="Pages", exact=True).locator("[aria-current=page]")
    assert heading.count() == 1
    assert visit.heading in heading.inner_text()
    assert page.title().endswith("instep")
    assert here.all_inner_texts() == [visit.links_to]


def test_a_page_has_no_fault_of_access(opened):
    _, page = opened
    page.evaluate(axe())
    assert page.evaluate(VIOLATIONS, {}) == []


def test_its_colours_can_be_read_in_the_dark(opened):
    _, page = opened
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(VIOLATIONS, {"runOnly": OF_COLOURS}) == []
    page.emulate_media(color_scheme="light")


def test_everything_on_it_is_reached_by_keyboard_and_is_seen(opened):
    _, page = opened
    wanted, reached = page.evaluate(ALL_FOCUSABLE), 0
    for n in range(wanted + 2):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused is None:
            break
        assert focused["marked"], f"no visible focus: {focused['name']}"
        assert focused["seen"], f"out of sight: {focused['name']}"
        assert n or "skip" in focused["name"]
        reached += focused["first"]
    assert reached == wanted


def test_it_fits_a_narrow_screen(opened):
    _, page = opened
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.fixture(scope="module")
def scriptless(world: PageWorld) -> Iterator[Any]:
    with world.open(java_script_enabled=False) as context:
        yield context.new_page()


@pytest.mark.parametrize("name", sorted(VISITS))
def test_a_page_needs_no_script(world, scriptless, name):
    assert scriptless.goto(VISITS[name].address(world)).status == 200
    assert VISITS[name].heading in scriptless.get_by_role("heading", level=1).inner_text()
    links = scriptless.get_by_role("navigation", name="Pages", exact=True).get_by_role("link")
    assert links.count() == sum(bool(row.label) for row in PAGES.values())


def test_the_skip_link_leads_to_the_content(world):
    with world.open() as context:
        page = context.new_page()
        page.goto("/")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"


def test_a_question_is_answered_without_scripts(world):
    with world.open(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto("/search")
        page.get_by_label("Question").fill("oddly named zebra")
        page.get_by_label("Find by").select_option("keyword")
        page.get_by_label("Source").select_option("docs")
        page.get_by_role("button", name="Search").click()
        hit = page.get_by_role("listitem").filter(has_text="Odd names").first
        assert "docs/a <b> & 'c'.md" in hit.inner_text()
        assert "zebra" in hit.locator("mark").all_inner_texts()
        parts = hit.get_by_role("list", name="Parts of the score").get_by_role("listitem")
        told = [float(one.rsplit(None, 1)[1]) for one in parts.all_inner_texts()]
        score = float(hit.locator(".total strong").inner_text())
        assert round(sum(told), 4) == score


def test_what_is_wrong_with_a_question_is_told_at_its_field(world):
    with world.open() as context:
        page = context.new_page()
        for address, field, words in (
            ("/search?q=+", "Question", "empty"),
            ("/search?q=x&filter=sourc:docs", "Filter", "sourc"),
            ("/search?q=x&limit=1000", "Most hits", "200"),
        ):
            assert page.goto(address).status == 200
            entered = page.get_by_label(field)
            assert entered.get_attribute("aria-invalid") == "true"
            told = entered.get_attribute("aria-describedby").split()[0]
            assert words in page.locator(f"#{told}").inner_text()


def test_a_slider_asks_again(world):
    with world.open() as context:
        page = context.new_page()
        page.goto("/search?q=lantern+shelf&mode=hybrid")
        before = page.locator(".total strong").first.inner_text()
        with page.expect_response(re.compile(r"/search\?.*recency=1")):
            page.get_by_label("Recency").press("End")
        page.wait_for_function(
            "before => document.querySelector('.total strong').textContent !== before", arg=before
        )
        assert "recency=1" in page.url
        assert page.locator("#o-recency").inner_text() == "1.00"
        assert page.get_by_text("Recency").count() > 1


def test_texts_of_documents_never_become_html(world):
    with world.open() as context:
        page = context.new_page()
        page.goto("/search?q=hostile+lamp&mode=keyword")
        assert page.get_by_text(HOSTILE).count() > 0
        assert page.locator("main img, main script").count() == 0
        assert "owned" not in page.title().split(" \u2013 ")[-1]


def test_similar_documents_are_a_click_away(world):
    with world.open() as context:
        page = context.new_page()
        page.goto("/search?q=oddly+named+zebra&mode=keyword&limit=1")
        page.get_by_role("link", name=re.compile("^Similar")).click()
        assert "a <b> & 'c'.md" in page.get_by_role("heading", level=2).first.inner_text()
        assert page.locator(".hit").count() > 0


def test_files_are_sent_without_scripts(world):
    with world.open(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto("/upload")
        page.get_by_label("Source").fill("letters")
        page.get_by_label("Files", exact=True).set_input_files(
            [
                {"name": "plain.md", "mimeType": "text/markdown", "buffer": b"# Plain\n\nquokka\n"},
                {"name": "bad.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7\nno\n"},
            ]
        )
        page.get_by_role("button", name="Send").click()
        rows = page.get_by_role("row")
        assert "searchable" in rows.filter(has_text="plain.md").inner_text()
        assert "refused" in rows.filter(has_text="bad.pdf").inner_text()


def test_a_form_without_files_or_to_a_watched_source_is_told_at_its_field(world):
    with world.open(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto("/upload")
        page.get_by_label("Source").fill("letters")
        page.get_by_role("button", name="Send").click()
        assert page.get_by_label("Files", exact=True).get_attribute("aria-invalid") == "true"
        page.get_by_label("Source").fill("docs")
        page.get_by_label("Files", exact=True).set_input_files(
            {"name": "a.md", "mimeType": "text/markdown", "buffer": b"a"}
        )
        page.get_by_role("button", name="Send").click()
        assert page.get_by_label("Source").get_attribute("aria-invalid") == "true"
        assert "watched" in page.get_by_role("alert").inner_text()


def test_dropped_files_are_sent_and_followed_until_they_are_searchable(world):
    with world.open() as context:
        page = context.new_page()
        page.goto("/upload?source=drops")
        transfer = page.evaluate_handle(
            """() => {
              const made = new DataTransfer();
              made.items.add(new File(["# Drop\\n\\nwombat by drop\\n"], "drop.md"));
              made.items.add(new File(["%PDF-1.7\\nno\\n"], "torn.pdf"));
              made.items.add(new File([""], "../up.md"));
              return made;
            }"""
        )
        page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
        page.locator("tr[data-state=searchable]").filter(has_text="drop.md").wait_for()
        page.locator("tr[data-state=refused]").filter(has_text="torn.pdf").wait_for()
        assert "1 of 3 searchable, 2 not" in page.locator("#sum").inner_text()
        page.get_by_role("link", name="drop.md").click()
        page.wait_for_url("**/documents/*")
        page.goto("/search?q=wombat&mode=keyword&source=drops")
        assert page.locator(".hit").count() == 1


def test_a_failure_is_tried_again_by_a_button(world):
    def refused_since():
        found = world.ask("/api/v1/failures")["failures"]
        return max(
            (one["since"] for one in found if one["path"].endswith("broken.pdf")), default=""
        )

    before = refused_since()
    with world.open() as context:
        page = context.new_page()
        page.goto("/failures")
        page.get_by_role("button", name=re.compile("^Retry .*broken.pdf")).click()
        page.get_by_role("status").filter(has_text=re.compile(r"\b1\b")).wait_for()
    wait_until(lambda: refused_since() > before)


def test_a_removal_is_approved_by_keyboard(world):
    with world.open() as context:
        page = context.new_page()
        page.goto("/removals")
        button = page.get_by_role("button", name=re.compile("^Remove 22 documents"))
        for _ in range(60):
            page.keyboard.press("Tab")
            if button.evaluate("one => one === document.activeElement"):
                break
        page.keyboard.press("Enter")
        page.get_by_role("status").filter(has_text="22").wait_for()
    wait_until(lambda: world.ask("/api/v1/status")["documents"]["held"] == 0)


def test_an_eighth_tab_is_loaded_while_seven_are_live(world):
    with world.open() as context:
        for _ in range(8):
            page = context.new_page()
            assert page.goto("/").status == 200
        page.get_by_role("heading", level=1).wait_for()


def test_live_numbers_go_on_after_the_gateway_was_killed(world):
    def shown() -> str:
        return page.locator("[data-live=documents]").inner_text()

    with world.open() as context:
        page = context.new_page()
        page.goto("/documents?prefix=guide/")
        assert "late.md" not in page.locator("main").inner_text()
        world.kill()
        page.locator("#connection").filter(has_text="does not answer").wait_for()
        world.start()
        (world.folders[0] / "guide" / "late.md").write_text("# Late\n\nAfter the kill.\n")
        page.get_by_role("link", name=re.compile("late.md")).wait_for(timeout=90_000)
        assert page.locator("#connection").is_hidden()
        # the browser itself tells of the connections that broke
        world.faults[:] = [one for one in world.faults if "ERR_" not in one]
