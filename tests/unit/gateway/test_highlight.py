from hypothesis import given
from hypothesis import strategies as st

from services.gateway.search import question
from services.gateway.search.question import highlights, parse_question


def marked(question, text):
    return [text[start:end] for start, end in highlights(parse_question(question), text)]


def test_forms_of_a_word_meet_and_small_words_do_not():
    text = "To rotate a Credential, the old one is rotated out."

    assert marked("how do I rotate the credentials", text) == ["rotate", "Credential", "rotated"]


def test_a_question_of_small_words_marks_what_it_names():
    assert marked("how is it", "how is it") == ["how", "is", "it"]
    assert marked("how is the pump", "how is it with the pump") == ["pump"]


def test_names_and_parts_of_them_are_marked():
    text = "Set max_payload, getUserName and node.js (not node)."

    assert marked("max payload", text) == ["max", "payload"]
    assert marked("maxpayload", text) == ["max_payload"]
    assert marked("payload", text) == ["payload"]
    assert marked("nodejs", text) == ["node.js"]
    assert marked("user", text) == ["getUserName"]
    assert marked("备份", "每天凌晨自动备份数据库") == ["备份"]


@given(st.text(max_size=60), st.text(max_size=200))
def test_marks_are_inside_the_text_in_order_and_apart(question, text):
    spans = highlights(parse_question(question), text)

    flat = [at for span in spans for at in span]
    assert flat == sorted(flat)
    assert all(0 <= start < end <= len(text) for start, end in spans)


def test_the_beginning_of_a_very_long_text_is_marked(monkeypatch):
    read = []
    monkeypatch.setattr(question, "places", lambda text: read.append(text) or iter(()))

    assert highlights(parse_question("pump"), "valve " * 100_000) == []

    assert [len(text) for text in read] == [question.MARKED]
