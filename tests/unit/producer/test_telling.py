"""What is wrong with paths is said once, shown while it lasts, and never drowns the rest."""

import pytest
from watched import Watched

from services.producer.sync import TOLD_AT_ONCE, Problems
from shared.observe.progress import Progress


@pytest.fixture
def told():
    return []


@pytest.fixture
def problems(told):
    return Problems(Progress(listeners=[told.append]))


def said(told):
    return [(news.path, news.detail) for news in told]


def test_a_problem_is_said_once_and_again_when_it_comes_back(problems, told):
    for problem in ("denied", "denied", None, "denied"):
        problems.tell("a.md", problem)

    assert said(told) == [("a.md", "denied")] * 2
    assert problems.health.problems == {"a.md": "denied"}


def test_what_a_listing_shows_lasts_though_the_file_can_be_read(problems, told):
    for _ in range(2):
        problems.tell_of_listing({"a.md": "twice"}, {"a.md"})
        problems.tell("a.md", None)

    assert said(told) == [("a.md", "twice")]
    assert problems.health.problems == {"a.md": "twice"}


def test_what_a_whole_listing_does_not_show_any_more_is_over(problems):
    problems.tell("gone.md", "denied")
    problems.tell("still.md", "denied")
    problems.tell_of_listing({"shut": "cannot be listed"}, {"still.md"})
    during = dict(problems.health.problems)
    problems.tell_of_listing({}, {"still.md"})

    assert during == {"still.md": "denied", "shut": "cannot be listed"}
    assert problems.health.problems == {"still.md": "denied"}


def test_a_listing_of_a_part_ends_nothing(problems):
    problems.tell_of_listing({"shut": "cannot be listed"}, set())
    problems.tell_of_listing({"other": "cannot be listed"}, None)

    assert set(problems.health.problems) == {"shut", "other"}


def test_of_many_problems_some_are_said_and_all_are_counted(problems, told):
    problems.tell_of_listing({f"{n}.md": "too long" for n in range(500)}, set())

    assert len(told) == TOLD_AT_ONCE + 1
    assert told[-1].detail == "480 more cannot be taken: instep status"
    assert len(problems.health.problems) == 500


async def test_twins_are_said_once_over_many_listings_and_edits(tmp_path):
    docs = Watched(tmp_path / "docs")
    docs.write("\u00e9.md", "composed")
    docs.write("e\u0301.md", "decomposed")
    async with docs.running() as watch:
        for n in range(3):
            docs.write("\u00e9.md", f"composed {n}")
            docs.write("e\u0301.md", f"decomposed {n}")
            await watch.rescan()
        texts = [docs.text(change.content) for change in docs.log.appended]
        news = [a for a in docs.news if "Unicode" in a.detail]

    assert len(news) == 1
    assert all(text.startswith("composed") for text in texts)
    assert texts[-1] == "composed 2"
