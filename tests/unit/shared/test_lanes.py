"""Which lane work takes: small edits express, and no source more than its allowance."""

import pytest

from shared.domain.priority import (
    BULK,
    BURST_DOCUMENTS,
    BURST_ROWS,
    EXPRESS,
    EXPRESS_DOCUMENTS,
    EXPRESS_ROWS,
    HEADER,
    PER_S,
    SOURCES_REMEMBERED,
    Allowance,
    lane_of_message,
)


@pytest.mark.parametrize(
    ("documents", "repair", "lane"),
    [
        (1, False, EXPRESS),
        (EXPRESS_DOCUMENTS, False, EXPRESS),
        (EXPRESS_DOCUMENTS + 1, False, BULK),
        (1, True, BULK),
    ],
)
def test_a_change_is_express_unless_it_is_one_of_many_or_sent_again(documents, repair, lane):
    found = Allowance(BURST_DOCUMENTS).lane_of_change("docs", documents, repair=repair, now_s=0.0)

    assert found == lane


def test_a_burst_of_changes_without_a_batch_is_bulk_above_the_allowance_of_its_source():
    allowance = Allowance(BURST_DOCUMENTS)

    def changes(source, count, now_s=0.0):
        return [
            allowance.lane_of_change(source, 1, repair=False, now_s=now_s) for _ in range(count)
        ]

    assert changes("loud", BURST_DOCUMENTS + 5) == [EXPRESS] * BURST_DOCUMENTS + [BULK] * 5
    assert changes("quiet", 1) == [EXPRESS]
    assert changes("loud", 2 * int(PER_S), now_s=1.0).count(EXPRESS) == PER_S


def test_a_repair_and_a_large_batch_take_nothing_of_an_allowance():
    allowance = Allowance(burst=1)
    allowance.lane_of_change("docs", 1, repair=True, now_s=0.0)
    allowance.lane_of_change("docs", EXPRESS_DOCUMENTS + 1, repair=False, now_s=0.0)

    assert allowance.lane_of_change("docs", 1, repair=False, now_s=0.0) == EXPRESS


def test_a_change_that_an_older_version_published_is_express():
    assert lane_of_message({}) == EXPRESS
    assert lane_of_message({HEADER: BULK}) == BULK
    assert lane_of_message({HEADER: "of a newer version"}) == EXPRESS


def test_a_large_revision_and_one_of_a_large_batch_are_bulk_and_cost_nothing():
    allowance = Allowance()

    assert allowance.lane_of_parts(EXPRESS, "docs", EXPRESS_ROWS + 1, 0.0) == BULK
    assert allowance.lane_of_parts(BULK, "docs", 1, 0.0) == BULK
    assert allowance.lane_of_parts(EXPRESS, "docs", EXPRESS_ROWS, 0.0) == EXPRESS


def test_above_its_allowance_a_source_is_bulk_and_another_is_not():
    allowance = Allowance()
    lanes = [allowance.lane_of_parts(EXPRESS, "loud", 1, 0.0) for _ in range(BURST_ROWS + 5)]

    assert lanes == [EXPRESS] * BURST_ROWS + [BULK] * 5
    assert allowance.lane_of_parts(EXPRESS, "quiet", 1, 0.0) == EXPRESS


def test_an_allowance_grows_back_up_to_a_burst():
    allowance = Allowance()
    for _ in range(BURST_ROWS):
        allowance.lane_of_parts(EXPRESS, "docs", 1, 0.0)
    soon = [allowance.lane_of_parts(EXPRESS, "docs", 1, 1.0) for _ in range(2 * int(PER_S))]
    later = [allowance.lane_of_parts(EXPRESS, "docs", 1, 1e6) for _ in range(BURST_ROWS + 1)]

    assert soon.count(EXPRESS) == PER_S
    assert later.count(EXPRESS) == BURST_ROWS


def test_a_deletion_counts_though_it_writes_no_row():
    allowance = Allowance()
    lanes = [allowance.lane_of_parts(EXPRESS, "docs", 0, 0.0) for _ in range(BURST_ROWS + 1)]

    assert lanes[-1] == BULK


def test_a_clock_that_is_set_back_takes_nothing_away():
    allowance = Allowance()
    allowance.lane_of_parts(EXPRESS, "docs", 1, 1000.0)

    assert allowance.lane_of_parts(EXPRESS, "docs", EXPRESS_ROWS, 0.0) == EXPRESS


def test_only_so_many_sources_are_remembered():
    allowance = Allowance()
    for number in range(3 * SOURCES_REMEMBERED):
        allowance.lane_of_parts(EXPRESS, f"s{number}", 1, float(number))

    assert len(allowance._left) == SOURCES_REMEMBERED
