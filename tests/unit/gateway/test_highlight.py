from hypothesis import given
from hypothesis import strategies as st

from services.gateway.search.search import highlights


def marked(question, text):
    return [text[start:end] for start, end in highlights(question, text)]


def test_forms_of_a_word_meet_and_small_words_do_not():
    text = "To rotate a Credential, the old one is rotated out."

    assert marked("how do I rotate the credentials", text) == ["rotate", "Credential", "rotated"]


def test_a_question_of_small_words_marks_nothing():
    assert marked("how is it", "how is it") == []


@given(st.text(max_size=60), st.text(max_size=200))
def test_marks_are_inside_the_text_in_order_and_apart(question, text):
    spans = highlights(question, text)

    flat = [at for span in spans for at in span]
    assert flat == sorted(flat)
    assert all(0 <= start < end <= len(text) for start, end in spans)
