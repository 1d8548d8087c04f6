from shared.domain.ids import doc_key, mark_of, row_id
from shared.ports import Digest, Holding
from shared.stores.looks import SweptRow, digested, held

ONE, TWO = doc_key("notes", "1.md"), doc_key("notes", "2.md")
A, B, C = (row_id(ONE, f"chunk-{n}", 1) for n in range(3))


def look(row: str, doc: str = ONE, *, path: str = "1.md", sound: bool = True) -> SweptRow:
    return SweptRow(row, doc, "notes", path, sound)


def test_nothing_has_no_digest():
    assert digested([]) == {}


def test_marks_of_a_bucket_are_added_modulo_two_to_the_64():
    rows = [(row_id(ONE, str(n), 1), ONE, True) for n in range(40)]

    total = sum(mark_of(row) for row, _, _ in rows)

    assert total > 2**64
    assert digested(rows) == {ONE[:2]: Digest(40, total % 2**64)}


def test_documents_of_one_bucket_share_a_digest_and_others_have_their_own():
    rows = [(A, "abc", True), (B, "abd", True), (C, "xyz", True)]

    assert digested(rows) == {
        "ab": Digest(2, (mark_of(A) + mark_of(B)) % 2**64),
        "xy": Digest(1, mark_of(C)),
    }


def test_a_damaged_row_is_counted_only():
    assert digested([(A, ONE, True), (B, ONE, False)]) == {ONE[:2]: Digest(2, mark_of(A))}


def test_an_id_that_is_none_of_ours_is_counted_only():
    rows = [("row-000001", ONE, True), ("", ONE, True), (A, ONE, True)]

    assert digested(rows) == {ONE[:2]: Digest(3, mark_of(A))}


def test_what_is_held_names_all_rows_and_the_damaged_ones():
    found = held([look(A), look(B, sound=False), look(C, TWO, path="2.md")])

    assert found == {
        ONE: Holding(ONE, "notes", "1.md", frozenset({A, B}), frozenset({B})),
        TWO: Holding(TWO, "notes", "2.md", frozenset({C})),
    }


def test_an_id_held_twice_is_damaged_though_both_rows_are_sound():
    (found,) = held([look(A), look(B), look(A)]).values()

    assert (found.ids, found.damaged) == ({A, B}, {A})


def test_the_place_is_that_of_a_sound_row_wherever_it_stands():
    wrong, right = look(A, path="no.md", sound=False), look(B)

    assert held([wrong, right])[ONE].path == held([right, wrong])[ONE].path == "1.md"
    assert held([wrong])[ONE].path == "no.md"
