"""`protocol.skew`: the bounds of holes where no message of the stream tells them, though our clock is minutes off."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okx_ws.protocol.routing import Route
from okx_ws.protocol.skew import skew_of
from tests.protocol.wired import TICKERS, TRADES, Wired

NOW_MS = 1_700_000_000_000
BOOKS = {"channel": "books5", "instId": "BTC-USDT"}


class Clock:
    known = settled = True

    def __init__(self, offset_s):
        self.offset_s = offset_s


def route(ts, last_at, channel="tickers"):
    one = Route(frozenset(), {"channel": channel}, [])
    one.last, one.last_at = json.dumps({"data": [{"ts": str(ts)}]}, separators=(",", ":")).encode(), last_at
    return one


@given(st.integers(-600_000, 600_000), st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 60)), min_size=1))
def test_what_messages_tell_is_never_more_than_it_is(skew_ms, messages):
    """Property: it falls short by what the quickest message took, whatever the others did."""
    now = 5000.0
    routes = [route(NOW_MS + skew_ms - round(age * 1000) - delay, now - age) for delay, age in messages]
    quickest = min(delay for delay, _ in messages)
    assert skew_of(None, routes, now, NOW_MS) == pytest.approx(skew_ms - quickest, abs=1)


def test_what_was_asked_counts_more_and_what_says_nothing_counts_nothing():
    """A candle has the time of its beginning; an old message is no clock."""
    late = [route(NOW_MS - 300_000, 99.0)]
    assert skew_of(Clock(-7.5), late, 100.0, NOW_MS) == -7500
    for routes in ([], [route(NOW_MS - 40_000, 100.0, "candle1m")], [route(NOW_MS - 4_000_000, 100.0)]):
        assert skew_of(None, routes, 100.0, NOW_MS) == 0
    empty = route(NOW_MS, 100.0)
    empty.last = None
    assert skew_of(None, [empty], 100.0, NOW_MS) == 0


BROKEN = b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"action":"x","data":[{"px":"'


def lost_on(wired, skew_ms, *before):
    """Return the marker of a message that cannot be read and has no time, on a link where `before` came."""
    wired.want(TICKERS, TRADES, BOOKS)
    wired.ack(*wired.sent())
    for arg, ago_ms in before:
        wired.get({"arg": arg, "data": [{"ts": str(round(wired.now * 1000) + skew_ms - ago_ms)}]})
    wired.now += 0.5
    (marker,) = map(json.loads, wired.get(BROKEN))
    return marker


@pytest.mark.parametrize("skew_ms", [-300_000, 0, 300_000])
@pytest.mark.parametrize("known", [False, True])
def test_a_broken_message_without_a_time_lies_between_its_neighbours(skew_ms, known):
    """After the one before it, and before now: by OKX's clock, though ours is five minutes off."""
    wired = Wired(markers=True, clock=Clock(skew_ms / 1000) if known else None)
    wired.now = 1_700_000_000.0
    marker = lost_on(wired, skew_ms, (TRADES, 20), (TICKERS, 30))
    okx_ms = round(wired.now * 1000) + skew_ms
    assert marker["since_ms"] == okx_ms - 500 - 20
    assert marker["until_ms"] == (okx_ms if known and skew_ms > 0 else max(okx_ms - 20, round(wired.now * 1000)))
    assert marker["until_ms"] >= marker["since_ms"]


@pytest.mark.parametrize("skew_ms", [-300_000, 300_000])
def test_a_hole_of_a_stream_that_brought_nothing_begins_by_okxs_clock(skew_ms):
    """When it was active, as the other streams of the link tell."""
    wired = Wired(markers=True)
    wired.now = 1_700_000_000.0
    wired.want(TICKERS, TRADES)
    wired.ack(*wired.sent())
    active_ms = round(wired.now * 1000) + skew_ms
    wired.get({"arg": TICKERS, "data": [{"ts": str(active_ms - 20)}]})
    (stream,) = wired.want(TRADES)
    wired.session.link_down()
    assert stream.hole_since_ms == active_ms - 20
