"""Which vanished texts are nearly the same as one that is there. Pure decisions."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.producer.removals.moves import ALIKE, KEPT, likeness, pair_alike, sketch

texts = st.text(max_size=60) | st.lists(st.sampled_from("abcdef"), max_size=40).map(" ".join)
sketches = texts.map(lambda text: sketch(text.encode()))
corpora = st.dictionaries(st.text(max_size=3), sketches, max_size=8)


@given(sketches, sketches)
def test_likeness_is_a_share_and_the_same_from_both_sides(one, other):
    assert 0.0 <= likeness(one, other) == likeness(other, one) <= 1.0
    assert likeness(one, one) == (1.0 if one else 0.0)
    assert len(one) <= KEPT


@given(corpora, corpora)
def test_every_text_is_in_one_pair_at_most_and_every_pair_is_alike(gone, there):
    pairs = pair_alike(gone, there)

    assert pairs.keys() <= gone.keys()
    assert set(pairs.values()) <= there.keys()
    assert len(set(pairs.values())) == len(pairs)
    assert all(likeness(gone[a], there[b]) > 0 for a, b in pairs.items())


@given(corpora)
def test_where_nothing_is_there_nothing_has_moved(gone):
    assert pair_alike(gone, {}) == {}
    assert pair_alike(gone, {"empty": sketch(b"")}) == {}


@given(st.binary(max_size=300))
def test_any_bytes_have_a_sketch(data):
    assert sketch(data) == sketch(data)


def words(seed, count):
    made = random.Random(seed)
    return ["".join(made.choices("abcdefghijklmnop", k=made.randint(3, 9))) for _ in range(count)]


@given(st.integers(0, 10_000), st.integers(30, 3_000), st.data())
def test_a_text_with_some_other_words_is_nearly_the_same_and_another_is_not(seed, count, data):
    text = words(seed, count)
    edited = list(text)
    for at in data.draw(st.sets(st.integers(0, count - 1), max_size=max(1, count // 40))):
        edited[at] = "other"
    others = words(f"not {seed}", count)
    one, same, other = (sketch(" ".join(t).encode()) for t in (text, edited, others))

    assert likeness(one, same) >= ALIKE
    assert likeness(one, other) < 0.1


@pytest.mark.parametrize(
    ("text", "edit"),
    [
        ("人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心。", "严"),
        ("Все люди рождаются свободными и равными в своём достоинстве и правах.", "равными"),  # noqa: RUF001
        ("Alle Menschen sind frei und gleich an Würde und Rechten geboren worden.", "frei"),
    ],
)
def test_words_of_other_scripts_are_compared_too(text, edit):
    one, other = sketch(text.encode()), sketch(text.replace(edit, "x").encode())

    assert ALIKE <= likeness(one, other) < 1.0


def test_what_many_texts_have_in_common_pairs_none():
    licence = " ".join(words("licence", 200))
    old = {f"a{n}": sketch(f"{licence} {' '.join(words(n, 30))}".encode()) for n in range(20)}
    new = {
        f"b{n}": sketch(f"{licence} {' '.join(words(f'new {n}', 30))}".encode()) for n in range(20)
    }

    assert pair_alike(old, new) == {}
