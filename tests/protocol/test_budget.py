"""`protocol.budget`: OKX's limits, kept by waiting."""

import json

from hypothesis import given
from hypothesis import strategies as st

from okx_ws import Limits
from okx_ws.protocol.budget import ConnectBudget, RequestBudget, chunks


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 5))
def test_no_second_sees_more_connects_than_allowed(gaps, limit):
    """Acceptance 2: whatever the requests' times, any window of a second holds at most the limit."""
    budget, now, starts = ConnectBudget(), 0.0, []
    for gap in gaps:
        now += gap
        starts.append(budget.reserve(Limits(connects_per_s=limit), now))
        assert starts[-1] >= now
    for start in starts:
        assert sum(start <= other <= start + 1 for other in starts) <= limit


def test_connects_within_the_limit_do_not_wait():
    """Three at once are allowed; the fourth waits a second."""
    budget = ConnectBudget()
    assert [budget.reserve(Limits(), 50.0) for _ in range(3)] == [50.0] * 3
    assert 51.0 < budget.reserve(Limits(), 50.0) < 51.2


def send_all(budget, now, number):
    """Send `number` requests as early as the budget allows; return their times."""
    times = []
    for _ in range(number):
        now = budget.ready_at(now)
        budget.take(now)
        times.append(now)
    return times


@given(st.integers(1, 500), st.floats(0, 1e6), st.floats(0, 3))
def test_an_hour_never_sees_more_requests_than_allowed(limit, now, share):
    """Acceptance 38: whatever is asked, any hour holds at most the limit (also where floats round)."""
    times = send_all(RequestBudget(Limits(requests_per_h=limit)), now, int(limit * share) + 2)
    for index, start in enumerate(times):
        assert len(times) <= index + limit or times[index + limit] >= start + 3600


def test_a_small_budget_is_used_at_once_and_then_waits():
    """Acceptance 38: over it the client waits; nothing is dropped."""
    assert send_all(RequestBudget(Limits(requests_per_h=5)), 10.0, 7) == [10.0] * 5 + [3610.0] * 2


def test_nobody_waits_for_an_hour_because_a_loop_asked_one_by_one():
    """The first 60 go at once; then the distance grows, and never to more than 15 s."""
    times = send_all(RequestBudget(Limits()), 0.0, 2000)
    assert times[59] == 0.0
    assert max(b - a for a, b in zip(times, times[1:])) <= 15


@given(st.lists(st.text(max_size=30), max_size=50), st.integers(20, 200))
def test_chunks_keep_order_and_weight(texts, room):
    """Acceptance 38: no list is heavier than allowed, unless a single text is."""
    parts = list(chunks(texts, room))
    assert [text for part in parts for text in part] == texts
    for part in parts:
        assert len(part) == 1 or len(",".join(part).encode()) <= room


def test_chunks_are_not_smaller_than_they_need_to_be():
    """1,000 args of 46 bytes fit into one 64 kB frame."""
    texts = [json.dumps({"channel": "tickers", "instId": f"X{i:05}-USDT"}) for i in range(1000)]
    assert len(list(chunks(texts, 65_000))) == 1
