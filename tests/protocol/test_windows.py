"""`protocol.windows`: so many in so many seconds, whoever asks."""

from hypothesis import given
from hypothesis import strategies as st

from okx_ws.protocol.windows import Cost, Windows


def test_all_of_what_a_call_costs_is_taken_or_nothing():
    """A batch of two instruments, one of which has no room: the other keeps its place."""
    windows = Windows()
    one, other = Cost(("order", "1"), 1), Cost(("order", "2"), 1)
    assert windows.reserve([one], 5.0) == 5.0
    assert windows.reserve([one, other], 5.0) == 5.0 + 2.2
    assert windows.reserve([other], 5.0) == 5.0


def test_who_was_told_of_a_larger_limit_counts_all_that_went():
    """A lead trader's manager (4) and another one's (60) count under one key."""
    windows = Windows()
    for _ in range(3):
        windows.reserve([Cost(("order", "1"), 4)], 5.0)
    wide = Cost(("order", "1"), 60)
    for _ in range(57):
        assert windows.reserve([wide], 5.0) == 5.0
    assert windows.reserve([wide], 5.0) > 5.0
    assert windows.reserve([Cost(("order", "1"), 4)], 5.0) > 5.0


@given(st.lists(st.tuples(st.floats(0, 1.5), st.sampled_from("ab"), st.integers(1, 9)), max_size=60))
def test_no_window_sees_more_than_its_limit(asks):
    """Whatever is asked and when; and what waits until it is told may go then."""
    windows, now, went = Windows(), 100.0, []
    for gap, key, n in asks:
        now += gap
        cost = Cost((key,), 10, n=n)
        at = windows.reserve([cost], now)
        if at > now:
            assert windows.reserve([cost], at) == at
        now = at
        went += [(at, key)] * n
    for at, key in went:
        assert sum(at <= other <= at + 2 and key == name for other, name in went) <= 10


def test_windows_that_are_over_matter_no_more():
    """Nor do those in which nothing ever went."""
    windows = Windows()
    assert windows.are_over(0.0)
    windows.reserve([Cost(("order", "1"), 4)], 5.0)
    assert not windows.are_over(5.0 + 2.1) and windows.are_over(5.0 + 2.3)


def test_what_is_left_to_others_is_not_taken_but_an_empty_window_always_has_room():
    """Half of four: two go at once, a third waits until one of them is over; who spares nothing goes."""
    windows = Windows()
    for _ in range(2):
        assert windows.ready_at("key", 4, 2.0, 10.0, spare=2) == 10.0
        windows.take("key", 4, 2.0, 10.0)
    assert windows.ready_at("key", 4, 2.0, 10.0, spare=2) > 12.0 and windows.ready_at("key", 4, 2.0, 10.0) == 10.0
    assert Windows().ready_at("key", 4, 2.0, 10.0, spare=9) == 10.0
