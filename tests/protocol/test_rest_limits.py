"""`protocol.rest_limits`: OKX's limits of REST, kept by waiting; with a time the test moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okx_ws.protocol import windows
from okx_ws.protocol.rest_limits import LIMITS, RestBudget, limit_key

TICKER = limit_key("GET", "/api/v5/market/ticker", {"instId": "BTC-USDT"}, "")
FOREVER = float("inf")


@given(st.lists(st.floats(0, 1), max_size=200), st.sampled_from(sorted(LIMITS)), st.floats(0, 1e6))
def test_no_window_sees_more_requests_than_allowed(gaps, path, now):
    """Whatever the times of the requests, and wherever floats round."""
    budget, limit, times = RestBudget(), LIMITS[path], []
    for gap in gaps:
        now += gap
        times.append(budget.reserve(limit_key("GET", path, {}, "me"), now, FOREVER))
        assert times[-1] >= now
    for start in times:
        assert sum(start <= other <= start + limit.window_s for other in times) <= limit.most


def test_requests_within_the_limit_do_not_wait():
    """Twenty tickers at once; the next waits for two seconds, and a little."""
    budget = RestBudget()
    assert [budget.reserve(TICKER, 50.0, 60.0) for _ in range(20)] == [50.0] * 20
    assert budget.reserve(TICKER, 50.5, 60.0) == pytest.approx(52.2)


def test_a_place_that_comes_too_late_is_not_taken():
    """Who cannot wait does not use up what others can wait for."""
    budget = RestBudget()
    status = limit_key("GET", "/api/v5/system/status", {}, "")
    assert budget.reserve(status, 0.0, 1.0) == 0.0
    assert budget.reserve(status, 0.0, 5.0) is None
    assert budget.reserve(status, 0.0, 6.0) == 5.5


def test_what_okx_counts_apart_is_counted_apart():
    """By endpoint and parameter; by account where it is the account's; by address where it is the address's."""
    kinds = [
        ("GET", "/api/v5/public/instruments", {"instType": "SPOT"}, "a"),
        ("GET", "/api/v5/public/instruments", {"instType": "SWAP"}, "a"),
        ("GET", "/api/v5/trade/order", {"instId": "BTC-USDT"}, "a"),
        ("GET", "/api/v5/trade/order", {"instId": "BTC-USDT"}, "b"),
        ("POST", "/api/v5/trade/order", {"instId": "BTC-USDT"}, "b"),
    ]
    assert len({limit_key(*kind) for kind in kinds}) == len(kinds)
    first, second = (limit_key("GET", "/api/v5/market/ticker", {"instId": name}, name) for name in ("x", "y"))
    assert first == second


def test_a_window_that_okx_calls_full_is_full():
    """50011: another process shares the address; nothing goes until the window is over."""
    budget = RestBudget()
    budget.full(TICKER, 100.0)
    assert budget.reserve(TICKER, 100.0, 102.0) is None
    assert budget.reserve(TICKER, 100.0, 110.0) == pytest.approx(102.2)
    budget.full((), 100.0)


def test_what_is_in_no_table_is_not_held_back():
    """OKX itself says when it is too much."""
    budget, key = RestBudget(), limit_key("GET", "/api/v5/some/thing", {}, "")
    assert {budget.reserve(key, 1.0, 1.0) for _ in range(500)} == {1.0}


def test_windows_that_are_over_are_forgotten(monkeypatch):
    """A bot that asks for each of ten thousand instruments does not grow for ever."""
    monkeypatch.setattr(windows, "MANY", 10)
    budget = RestBudget()
    for number in range(100):
        budget.reserve(limit_key("GET", "/api/v5/public/mark-price", {"instId": str(number)}, ""), number, FOREVER)
        assert len(budget._windows._known) <= 11


def test_room_can_be_asked_for_without_taking_it():
    """So that one who waits holds up nobody else."""
    budget, key = RestBudget(), limit_key("GET", "/api/v5/system/status", {}, "")
    assert budget.ready_at(key, 100.0) == budget.ready_at(key, 100.0) == 100.0
    assert budget.reserve(key, 100.0, 200.0) == 100.0
    assert budget.ready_at(key, 100.0) == budget.reserve(key, 100.0, 200.0) > 105.0
    assert budget.ready_at((), 7.0) == 7.0
