"""Managers that come and go, and links that are cut, again and again: nothing of them is left.

``OKX_WS_CYCLES=10000 python -m pytest tests/net/test_cycles.py -s --timeout 1800`` is the long run; it prints what it
measured.
"""

import gc
import os
import threading
from collections import Counter

import pytest

from okx_ws import Backoff, OkxWebSocketManager
from okx_ws.net import pairs
from tests.conftest import QUICK
from tests.watch import Watch, eventually

CYCLES = int(os.environ.get("OKX_WS_CYCLES", "150"))


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def rss_kb():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def of_ours():
    """Count the live objects of the client's classes."""
    gc.collect()
    return Counter(
        type(thing).__qualname__
        for thing in gc.get_objects()
        # A text, but of some classes that are made in C.
        if str(type(thing).__module__).startswith("okx_ws.")
        and not type(thing).__module__.startswith("okx_ws.exchange")
    )


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc, which is not here")
def test_ten_thousand_managers_leave_nothing(exchange):
    """Acceptance 93: connect, subscribe, read, close; no thread, no descriptor, no object of ours, no memory."""

    def cycle():
        with OkxWebSocketManager(**QUICK, urls=exchange.urls) as ws:
            ws.subscribe("tickers", instId="BTC-USDT").wait()
            ws.get(timeout=10)

    for _ in range(20):
        cycle()
    before = threading.active_count(), descriptors(), of_ours()
    rss, reports = rss_kb(), [CYCLES * part // 4 for part in (1, 2, 3, 4)]
    for number in range(1, CYCLES + 1):
        cycle()
        if number in reports:
            print(f"{number} cycles: {threading.active_count()} threads, {descriptors()} descriptors, {rss_kb()} kB")
    assert (threading.active_count(), of_ours()) == (before[0], before[2])
    assert descriptors() <= before[1] + 2, "those of the exchange's side may close a moment later"
    assert rss_kb() < rss + 20_000


def test_a_link_that_is_cut_again_and_again_is_one_link_in_the_end(exchange, connect):
    """Acceptance 93: and what its losses have left is what one link needs."""
    ws = connect(exchange, backoff=Backoff(first_s=0.001, cap_s=0.005))
    watch = Watch(ws)
    ws.subscribe("tickers", instId="BTC-USDT")
    watch.wait("subscribed")
    ws.get(timeout=10)
    before = threading.active_count() + 1, of_ours()["Stream"], of_ours()["Route"]  # one that asks REST, since a loss
    for _ in range(CYCLES):
        exchange.drop()
        watch.wait("subscribed")
    ws.wait_for("tickers", timeout=10)
    assert (threading.active_count(), of_ours()["Stream"], of_ours()["Route"]) == before
    assert len(exchange.hub.lines) == 1 and ws.stats()["endpoints"]["public"]["connects"] == CYCLES + 1


def test_a_link_that_was_cut_keeps_no_buffer_until_it_is_collected(exchange, connect):
    """A quarter of a megabyte each: a thousand losses must not wait for the collector with it."""
    ws = connect(exchange)
    watch = Watch(ws)
    ws.subscribe("tickers", instId="BTC-USDT").wait()
    (link,) = ws._lines["public"].connections
    wire = link._app.wire
    assert wire._read_into.nbytes
    exchange.drop()
    watch.wait("disconnected")
    eventually(lambda: not wire._read_into.nbytes)


def test_hand_overs_leave_nothing(exchange, connect, monkeypatch):
    """Forty of them: one link, one thread, and the objects of one link in the end."""
    monkeypatch.setattr(pairs, "ALONE_S", 0.01)
    monkeypatch.setattr(pairs, "LAG_S", 0.01)
    ws = connect(exchange)
    args = [{"channel": channel, "instId": "BTC-USDT"} for channel in ("tickers", "trades", "books")]
    ws.subscribe(args)
    lines = ws._lines["public"]

    def alone():
        return len(lines.connections) == 1 and lines.connections[0].pair is None and threading.active_count() <= threads

    def kept():
        found = of_ours()
        return [found[name] for name in ("Connection", "HandOver", "Joint", "Stream", "Route", "Session")]

    eventually(lambda: all(ws.latest(**arg) for arg in args), timeout=10)
    threads, before = threading.active_count(), kept()
    for number in range(2, 42):
        assert ws.rotate() == 1
        eventually(lambda number=number: ws.stats()["endpoints"]["public"]["connects"] == number and alone())
    eventually(lambda: len(exchange.hub.lines) == 1)
    eventually(lambda: kept() == before)
