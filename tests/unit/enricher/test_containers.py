"""The documents inside files: which there are, under which names, and what is told of them."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mails import message

from shared.domain.errors import DocumentRefused
from shared.domain.ids import check_path
from shared.formats import containers
from shared.formats.containers import Fields, FilePart, kind_of, split
from shared.formats.extract import extract
from shared.reading import parts_protocol
from shared.reading.parts_protocol import SplitQuestion
from shared.sandbox.frames import Garbled

FIELDS = Fields(("id", "key"), ("title", "name"), (), "static_score", "is_active")
WITH_BODY = Fields(("id",), ("title",), ("text", "more"), "rank", "on")
keys = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).map(str.strip)


def of(text, path="x.csv", fields=FIELDS):
    return split(text.encode(), path, fields)


def words(part):
    found = extract(part.data, path="x", media_type=part.media_type, title=part.title)
    return " ".join(filter(None, [found.title, *(block.text for block in found.blocks)]))


def test_a_row_is_a_document_with_all_its_values():
    apple, pear = of("id,title,colour,static_score,is_active\n1,Apple,red,2.5,\n2,Pear,,,0\n").parts

    assert (apple.name, apple.title, words(apple)) == ("1", "Apple", "Apple colour: red")
    assert (apple.static_score, apple.is_active) == (2.5, False)
    assert (pear.title, words(pear)) == ("Pear", "Pear Pear")
    assert (pear.static_score, pear.is_active) == (None, False)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found_and_values_beyond_the_columns_stay(separator):
    rows = [["id", "text"], ["7", "first"], ["8", "second", "third"]]
    found = of("\n".join(separator.join(row) for row in rows))

    assert [words(part) for part in found.parts] == ["text: first", "text: second\ncolumn 3: third"]


@pytest.mark.parametrize(
    "text",
    [
        '[{"id": 1, "text": "a"}, {"id": "x", "text": {"deep": ["b", 2]}}]',
        '{"id": 1, "text": "a"}\n\n{"id": "x", "text": {"deep": ["b", 2]}}\n',
    ],
)
def test_a_list_and_lines_of_json_are_the_same_records(text):
    first, second = of(text, "x.json").parts

    assert [first.name, second.name] == ["1", "x"]
    assert words(first) == "text: a"
    assert all(word in words(second) for word in ("text", "deep", "b", "2"))


def test_named_fields_are_the_text_and_all_others_are_metadata():
    record = {"id": 5, "title": "T", "text": "one", "more": "two", "rank": "3", "on": True}
    (part,) = of(
        json.dumps([record | {"price": 2.5, "tags": ["a", "b"]}]), "x.json", WITH_BODY
    ).parts

    assert (part.data, part.media_type) == (b"one\n\ntwo", "text/plain")
    assert part.metadata == {"price": 2.5, "tags": '["a", "b"]'}
    assert (part.static_score, part.is_active) == (3.0, True)


@pytest.mark.parametrize(
    ("value", "active"),
    [
        *((True, True), (False, False), (0, False), (1, True), ("no", False), ("FALSE", False)),
        *(("yes", True), (None, True), ("t", True), ("f", False), ("", False)),
    ],
)
def test_a_record_is_active_unless_it_says_otherwise(value, active):
    (part,) = of(json.dumps([{"id": 1, "is_active": value}]), "x.json").parts

    assert part.is_active is active


@pytest.mark.parametrize(
    ("text", "taken", "fault"),
    [
        ("id,text\n1,a\n,b\n", ["1"], "record 2 has no key (`records.key`): no field id or key"),
        ("no,text\n1,a\n", [], "record 1 has no key (`records.key`): no field id or key"),
        ("id,text\n1,a\n 1 ,b\n", ["1"], "record 2 has the key of another one, which counts"),
        ("id,static_score\n1,high\n", ["1"], "the static_score of record 1 is no number"),
        ("id,static_score\n1,nan\n", ["1"], "the static_score of record 1 is no number"),
    ],
)
def test_a_record_with_a_fault_is_told_and_harms_no_other(text, taken, fault):
    found = of(text)

    assert [part.name for part in found.parts] == taken
    assert found.fault == fault


def test_of_many_faults_the_first_are_told_and_the_rest_counted():
    rows = "".join(f"{n},high\n" for n in range(10))
    assert str(of("id,static_score\n" + rows).fault).endswith("; and 7 more")


def test_records_without_a_key_are_told_as_one_fault():
    found = of("no,text\n" + "1,a\n" * 1200)

    assert found.faults == [
        "record 1 and 1,199 more have no key (`records.key`): no field id or key"
    ]


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        ("id,a,a\n1,2,3\n", "x.csv", "two columns have one name"),
        ("", "x.csv", "the file is empty"),
        (" \n", "x.jsonl", "the file is empty"),
        ('[{"id": 1}', "x.json", "line 1 is not JSON"),
        ('{"id": 1}\n{"id": \n', "x.jsonl", "line 2 is not JSON"),
        ("[" * 100_000, "x.json", "line 1 is not JSON"),
    ],
)
def test_a_file_that_is_no_list_of_records_says_nothing_about_them(text, path, reason):
    with pytest.raises(DocumentRefused, match=reason):
        of(text, path)


def test_metadata_without_measure_are_told_and_left_out():
    record = {"id": 1, "text": "one", "blob": "x" * 100_000}
    found = of(json.dumps([record, {"id": 2, "text": "two"}]), "x.json", WITH_BODY)

    assert [(part.name, part.metadata) for part in found.parts] == [("1", {}), ("2", {})]
    assert found.fault == "title and other fields of record 1 are too long to be told"


def test_attachments_beyond_the_bound_are_told():
    many = {f"f{n}__md": b"x" for n in range(101)}
    found = split(message(**many), "m.eml", None)

    assert len(found.parts) == 100
    assert found.fault == "no more than 100 attachments are read"


def test_too_many_records_are_refused_as_a_whole(monkeypatch):
    monkeypatch.setattr(containers, "MAX_PARTS", 3)

    assert len(of("id\n1\n2\n3\n").parts) == 3
    with pytest.raises(DocumentRefused, match="more than 3 records"):
        of("id\n1\n2\n3\n4\n")


@given(st.lists(st.tuples(keys.filter(bool), st.text("abc xyz,;\"'", max_size=9)), max_size=9))
def test_names_are_parts_of_paths_and_no_two_keys_share_one(rows):
    out = io.StringIO()
    csv.writer(out).writerows([("id", "text"), *rows])
    found = of(out.getvalue())
    names = [part.name for part in found.parts]

    assert len(set(names)) == len(names)
    assert all("/" not in name and "#" not in name for name in names)
    for name in names:
        if len(name.encode()) < 1000:
            assert check_path(f"x.csv#{name}") == f"x.csv#{name}"


def test_attachments_are_documents_and_those_that_no_format_reads_are_left_out():
    found = split(
        message(report__md=b"# R", data__csv=b"a,b", logo__png=b"\x89", x=b"?"), "m", None
    )

    assert [(one.name, one.data) for one in found.parts] == [
        ("report.md", b"# R"),
        ("data.csv", b"a,b"),
    ]
    assert found.left_out == ["logo.png", "x"]


@pytest.mark.parametrize(
    ("path", "records", "kind"),
    [
        *(("a.eml", False, "mail"), ("a.csv", True, "records"), ("a.csv", False, None)),
        *(("x/a.JSONL", True, "records"), ("a.md", True, None), ("a.tsv", True, "records")),
    ],
)
def test_the_ending_tells_what_a_file_holds(path, records, kind):
    assert kind_of(path, records=records) == kind


# -- the protocol of the process that splits -------------------------------------------------------


def told(found):
    answer = SplitQuestion("x.csv", FIELDS).answer()
    ends = [answer.add(frame) for frame in parts_protocol.told(found)]
    assert ends == [False] * (len(ends) - 1) + [True]
    return answer.parts()


@given(st.binary(max_size=40), st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_parts_come_back_as_they_were(data, score, active):
    part = FilePart("a", data, "text/plain", "T", {"x": 1, "y": None}, score, active)
    found = containers.Parts([part, FilePart("b", b"", None)], ["fault"], ["z.png"])

    assert told(found) == found


def test_a_part_that_is_larger_than_a_frame_comes_whole(monkeypatch):
    monkeypatch.setattr(parts_protocol, "FRAME_BYTES", 3)
    found = containers.Parts([FilePart("a", b"0123456789", None), FilePart("b", b"012", None)])

    assert told(found) == found


@given(st.lists(st.sampled_from(["a", 1, None, -1, {}, [], True, 2**70, "x/y", ""]), max_size=8))
def test_an_answer_of_another_form_is_garbled_and_nothing_else(head):
    answer = SplitQuestion("x.csv", FIELDS).answer()
    try:
        answer.add(json.dumps({"part": head}).encode())
        answer.add(b"x")
    except Garbled:
        return
    assert len(head) == 7


@pytest.mark.parametrize("fields", [None, FIELDS])
def test_a_question_crosses_as_it_is(fields):
    question = SplitQuestion("päth\udc80.csv", fields)
    found = SplitQuestion.from_bytes(question.to_bytes())

    assert found.path == question.path
    assert (found.fields is None) == (fields is None)
    assert fields is None or list(found.fields.key) == list(fields.key)
