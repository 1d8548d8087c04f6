"""Who is started next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.line import LONGEST_HELD_S, TOGETHER, Doubt, Gate, Line

ONLY_THERE = Doubt(alone=False)


def first(_: int) -> int:
    return 0


def test_fresh_messages_run_side_by_side_in_their_order():
    line = Line[str](2, pick=first)
    for item in "abc":
        line.add(item, 0.0)

    started = [line.start(0.0), line.start(0.0), line.start(0.0)]

    assert started == ["a", "b", None]


def test_a_suspect_that_is_accused_runs_alone():
    line = Line[str](8, pick=first)
    line.add("suspect", 0.0, Doubt(0))

    assert line.start(0.0) == "suspect"

    line.add("fresh", 0.0)
    meanwhile = line.start(1.0)
    line.end("suspect")

    assert meanwhile is None
    assert line.start(1.0) == "fresh"


@pytest.mark.parametrize("doubt", [Doubt(0), ONLY_THERE])
def test_a_suspect_waits_until_the_running_ones_have_ended(doubt):
    line = Line[str](8, pick=first)
    line.add("fresh", 0.0)
    line.start(0.0)
    line.add("suspect", 0.0, doubt)

    assert line.start(0.0) is None

    line.end("fresh")

    assert line.start(0.0) == "suspect"


def test_suspects_that_nobody_accuses_run_side_by_side_and_a_bounded_number_of_them():
    line = Line[int](2 * TOGETHER, pick=first)
    for number in range(TOGETHER + 1):
        line.add(number, 0.0, ONLY_THERE)

    started = [line.start(0.0) for _ in range(TOGETHER)]

    assert started == list(range(TOGETHER))
    assert line.start(0.0) is None

    for number in started[:-1]:
        line.end(number)

    assert line.start(0.0) is None  # it would share the end of the first ones, and of later ones

    line.end(started[-1])

    assert line.start(0.0) == TOGETHER


def test_one_that_comes_later_joins_those_that_run():
    line = Line[str](8, pick=first)
    line.add("one", 0.0, ONLY_THERE)
    line.add("accused", 0.0, Doubt(1))
    line.add("fresh", 0.0)
    before = line.start(0.0), line.start(0.0)
    line.add("another", 0.1, ONLY_THERE)

    assert before == ("one", None)
    assert [line.start(0.1), line.start(0.1)] == ["another", None]


def test_fresh_messages_do_not_overtake_suspects_that_nobody_accuses():
    line = Line[str](8, pick=first)
    line.add("fresh", 0.0)
    line.add("accused", 0.0, Doubt(0))
    line.add("in hand", 0.0, ONLY_THERE)

    assert [line.start(0.0), line.start(0.0)] == ["in hand", None]

    line.end("in hand")

    assert [line.start(0.0), line.start(0.0)] == ["fresh", None]


def test_fresh_messages_overtake_an_accused_one_for_a_while_only():
    line = Line[str](1, pick=first)
    line.add("suspect", 0.0, Doubt(0))
    for number in range(100):
        line.add(f"fresh {number}", 0.0)

    order = []
    for tenth in range(50):
        item = line.start(tenth / 10)
        assert item is not None
        order.append(item)
        line.end(item)

    assert order.index("suspect") == 20


def test_a_suspect_that_hangs_does_not_hold_up_the_others_for_ever():
    line = Line[str](2, pick=first)
    line.add("hangs", 0.0, Doubt(0))
    line.start(0.0)
    line.add("fresh", 0.0)

    assert line.start(29.0) is None
    assert line.start(31.0) == "fresh"


def test_handlers_that_hang_do_not_hold_up_a_suspect_for_ever():
    line = Line[str](2, pick=first)
    line.add("hangs", 0.0)
    line.start(0.0)
    line.add("suspect", 0.0, Doubt(0))

    assert [line.start(at) for at in (0.0, 29.0)] == [None, None]
    assert line.start(31.0) == "suspect"


def test_those_that_ended_fewer_processes_go_first():
    line = Line[str](1, pick=first)
    line.add("killer", 0.0, Doubt(2))
    line.add("perhaps", 0.0, Doubt(1))
    line.add("innocent", 0.0, Doubt(0))
    line.add("innocent too", 0.0, Doubt(0))

    order = []
    while (item := line.start(0.0)) is not None:
        order.append(item)
        line.end(item)

    assert order == ["innocent", "innocent too", "perhaps", "killer"]


def test_suspects_are_taken_at_random():
    line = Line[str](1, pick=lambda count: count - 1)
    line.add("first", 0.0, Doubt(0))
    line.add("last", 0.0, Doubt(0))

    assert line.start(0.0) == "last"


def test_a_suspect_of_another_line_waits_and_fresh_messages_do_not():
    gate = Gate()
    one, other = Line[str](8, gate=gate), Line[str](8, gate=gate)
    one.add("killer", 0.0, Doubt(0))
    other.add("slow", 0.0, Doubt(0))
    other.add("fresh", 0.0)
    started = one.start(10.0), other.start(10.0), other.start(10.0)
    one.end("killer")
    before = other.start(10.0)
    other.end("fresh")

    assert started == ("killer", "fresh", None)
    assert before is None  # it has the gate, and waits until it is alone in its line
    assert other.start(10.0) == "slow"


def test_a_suspect_that_waits_for_its_line_keeps_the_gate():
    gate = Gate()
    one, other = Line[str](8, gate=gate), Line[str](8, gate=gate)
    one.add("fresh", 0.0)
    one.start(0.0)
    one.add("suspect", 0.0, Doubt(0))
    other.add("another", 0.0, Doubt(0))

    assert (one.start(1.0), other.start(1.0)) == (None, None)

    one.clear()

    assert other.start(1.0) == "another"


def test_the_other_lines_are_woken_first_and_in_turn():
    gate, order = Gate(), []
    lines = {}
    for name in "abc":
        lines[name] = Line[str](1, gate=gate, wake=lambda name=name: serve(name))
        for n in range(2):
            lines[name].add(f"{name}{n}", 0.0, Doubt(0))

    def serve(name):
        if item := lines[name].start(0.0):
            order.append(item[0])

    serve("a")
    for _ in range(6):
        ended = order[-1]
        lines[ended].end(lines[ended]._group[0])
        serve(ended)

    assert "".join(order) == "abcabc"


def beside_one_that_hangs():
    """Two lines of one process: in the first a suspect hangs, and both have one that waits."""
    gate = Gate()
    one, other = Line[str](8, gate=gate), Line[str](8, gate=gate)
    one.add("hangs", 0.0, Doubt(0))
    one.start(0.0)
    one.add("behind", 0.0, Doubt(0))
    other.add("suspect", 0.0, Doubt(0))
    return one, other


def test_a_suspect_that_never_ends_holds_up_the_others_for_a_bounded_time():
    one, other = beside_one_that_hangs()
    barred = [line.barred(60.0) for line in (one, other)]

    assert (one.start(60.0), other.start(60.0)) == (None, None)
    assert barred == [1, 1]
    assert other.start(LONGEST_HELD_S) == "suspect"


def test_a_suspect_that_never_ends_does_not_keep_its_own_line_from_going_on():
    one, other = beside_one_that_hangs()
    started = []
    for now_s in range(int(LONGEST_HELD_S), int(LONGEST_HELD_S) + 120):
        for line in (one, other):
            while (item := line.start(float(now_s))) is not None:
                started.append(item)
                line.end(item)

    assert started == ["behind", "suspect"]


DOUBTS = st.none() | st.builds(Doubt, st.integers(0, 2)) | st.just(ONLY_THERE)


@given(
    st.lists(st.tuples(st.integers(0, 2), DOUBTS, st.floats(0, 10)), max_size=80),
    st.integers(1, 50),
    st.randoms(use_true_random=False),
)
def test_no_accused_one_has_company_and_suspects_have_only_their_like(items, concurrency, random):
    gate, running, order = Gate(), [], []
    lines = [Line[int](concurrency, gate=gate, pick=random.randrange) for _ in range(3)]
    doubts = [doubt for _, doubt, _ in items]
    for number, (line, _, at) in enumerate(items):
        lines[line].add(number, at, doubts[number])
    now = 10.0

    while any(map(len, lines)) or running:
        for line in random.sample(lines, 3):
            while (item := line.start(now)) is not None:
                running.append((line, item))
                order.append(item)
        suspects = [(line, doubts[item]) for line, item in running if doubts[item]]
        beside = [line for line, item in running if not doubts[item]]
        assert len({line for line, _ in suspects}) <= 1
        assert len(suspects) <= TOGETHER
        assert len(suspects) <= 1 or {doubt for _, doubt in suspects} == {ONLY_THERE}
        assert not {line for line, _ in suspects} & set(beside)
        line, item = running.pop(random.randrange(len(running)))
        line.end(item)
        now += 0.1

    assert sorted(order) == list(range(len(items)))


@given(
    st.lists(st.tuples(DOUBTS, st.floats(0, 10)), max_size=30),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_everything_runs_exactly_once_and_never_more_than_allowed(items, concurrency, random):
    line = Line[int](concurrency, pick=random.randrange)
    for number, (doubt, at) in enumerate(items):
        line.add(number, at, doubt)
    now, running, order = 10.0, set(), []

    while len(line) or running:
        while (item := line.start(now)) is not None:
            running.add(item)
            order.append(item)
        assert len(running) <= concurrency
        ended = random.choice(sorted(running))
        running.remove(ended)
        line.end(ended)
        now += 0.1

    assert sorted(order) == list(range(len(items)))


def test_clearing_takes_out_everything_that_waits():
    line = Line[str](1, pick=first)
    line.add("running", 0.0)
    line.start(0.0)
    line.add("fresh", 0.0)
    line.add("suspect", 0.0, Doubt(0))

    assert line.clear() == ["fresh", "suspect"]
    assert len(line) == 0
