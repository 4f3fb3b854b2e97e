"""`protocol.splice`: a book of REST's and the stream's updates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okx_ws.protocol.book import LAYOUTS, Book, BookBroken
from okx_ws.protocol.splice import MAX_UPDATES, Splice


def update(prevSeqId, seqId, asks=(), bids=()):
    rows = [[[px, sz, "0", "1"] for px, sz in side] for side in (asks, bids)]
    row = {"asks": rows[0], "bids": rows[1], "ts": "1", "checksum": 0, "seqId": seqId, "prevSeqId": prevSeqId}
    return {"action": "update", "data": [row]}


def book(seqId, asks=(), bids=()):
    rows = [[[px, sz, "0", "1"] for px, sz in side] for side in (asks, bids)]
    return [{"asks": rows[0], "bids": rows[1], "ts": "1", "seqId": seqId}]


def built(messages):
    made = Book(LAYOUTS["books"])
    for message in messages:
        made.apply(message)
    return made


def test_the_book_joins_the_updates_it_does_not_hold():
    """Acceptance 91: those up to its seqId are left out; the first that follows may begin before it, in the end."""
    splice = Splice()
    splice.exact = False
    for numbers in ((10, 15), (15, 20), (20, 30)):
        assert splice.add(update(*numbers, asks=[(str(numbers[1]), "1")])) == []
    made = built(splice.offer(book(22, asks=[("15", "1"), ("20", "1"), ("22", "1")])))
    assert (
        made.state == "synced"
        and made.seqId == 30
        and [level.px for level in made.best_asks()] == ["15", "20", "22", "30"]
    )


def test_a_book_older_than_the_updates_is_asked_for_again():
    """It cannot be joined: what lies between is unknown."""
    splice = Splice()
    splice.add(update(10, 15))
    assert splice.offer(book(9)) is None
    assert built(splice.offer(book(10))).seqId == 15


def test_a_book_between_two_updates_is_asked_for_again():
    """A level that came after the first and went before the second is in neither: it would stay for ever."""
    splice = Splice()
    splice.add(update(10, 15, asks=[("1", "9")]))
    splice.add(update(15, 20, asks=[("3", "2")]))
    assert splice.offer(book(17, asks=[("1", "9"), ("2", "7")])) is None
    assert splice.offer(book(23, asks=[("1", "9"), ("2", "7"), ("3", "2")])) == []
    assert splice.add(update(20, 25, bids=[("0.5", "3")])) is None
    made = built(splice.offer(book(20, asks=[("1", "9"), ("3", "2")])))
    assert [level.px for level in made.best_asks()] == ["1", "3"] and made.seqId == 25


def test_a_book_ahead_of_the_stream_waits_for_it():
    """What it holds already is still to come, and must not be applied twice."""
    splice = Splice()
    splice.exact = False
    splice.add(update(10, 15, asks=[("1", "9")]))
    assert splice.offer(book(20, asks=[("1", "7")])) == []
    assert splice.add(update(15, 18, asks=[("1", "8")])) == []
    made = built(splice.add(update(18, 25, bids=[("0.5", "3")])))
    assert made.best_asks()[0].sz == "7" and made.best_bids()[0].sz == "3" and made.seqId == 25


def test_a_book_that_ends_where_the_stream_does_is_the_book():
    """Nothing has happened since."""
    splice = Splice()
    splice.add(update(10, 15))
    made = built(splice.offer(book(15, asks=[("1", "7")])))
    assert made.seqId == 15
    assert made.apply(update(15, 16)) == "update"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (update(14, 20), "a gap"),
        (update(15, 3), "began anew"),
        ({"data": [{}]}, "malformed"),
        (None, "malformed"),
        (update(15, "16"), "malformed"),
    ],
)
def test_updates_that_do_not_chain_cannot_be_joined(message, words):
    """Then the stream is asked for a snapshot."""
    splice = Splice()
    splice.add(update(10, 15))
    with pytest.raises(BookBroken, match=words):
        splice.add(message)


@pytest.mark.parametrize("rows", [[], [1], [{"seqId": "15"}], [{}], book(15) * 2])
def test_an_answer_that_is_no_book_is_not_believed(rows):
    """Nor is one without a number."""
    splice = Splice()
    splice.add(update(10, 15))
    with pytest.raises(BookBroken, match="no book of REST"):
        splice.offer(rows)


def test_what_waits_is_bounded():
    """A REST that does not answer must not cost memory."""
    splice = Splice()
    for number in range(MAX_UPDATES):
        splice.add(update(number, number + 1))
    with pytest.raises(BookBroken, match="no book of REST joined"):
        splice.add(update(MAX_UPDATES, MAX_UPDATES + 1))


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 30), st.integers(0, 4)), min_size=2, max_size=30), st.data()
)
def test_the_spliced_book_is_the_exchanges(changes, data):
    """Property: whenever REST is asked, of whatever moment its answer is, and whatever came before."""
    truth, states, frames, seqId = {}, [(100, {})], [], 100
    for step, px, sz in changes:
        before, seqId = seqId, seqId + step
        truth = {**truth, str(px): str(sz)}
        states.append((seqId, {px: sz for px, sz in truth.items() if sz != "0"}))
        frames.append(update(before, seqId, asks=[(str(px), str(sz))]))
    begin = data.draw(st.integers(0, len(frames) - 1))
    splice, messages = Splice(), None
    splice.exact = data.draw(st.booleans())
    for number in range(begin, len(frames)):
        if messages:
            messages.append(frames[number])
            continue
        messages = splice.add(frames[number])
        if not messages and data.draw(st.booleans()):
            at, asks = states[data.draw(st.integers(0, len(states) - 1))]
            messages = splice.offer(book(at, asks=asks.items()))
    if messages:
        made = built(messages)
        assert made.seqId == seqId and {level.px: level.sz for level in made.best_asks()} == states[-1][1]


def test_a_book_from_before_the_numbers_began_anew_is_asked_for_again():
    """After maintenance they are small again, and say of an old book that it is ahead."""

    def at(ts, row):
        return {**row, "ts": str(ts)}

    def made_at(ts, message):
        return {**message, "data": [at(ts, message["data"][0])]}

    splice = Splice()
    splice.exact = False
    assert splice.add(made_at(50_000, update(900, 920))) == []
    assert splice.offer([at(49_000, book(1000)[0])]) is None
    assert splice.offer([at(50_100, book(1000)[0])]) == [], "the clocks of two servers may differ a little"
    assert splice.add(made_at(60_000, update(920, 990))) is None
    made = built(splice.offer([at(60_010, book(990)[0])]) or splice.add(made_at(60_020, update(990, 1010))))
    assert made.seqId in (990, 1010)
