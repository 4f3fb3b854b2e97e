"""What both of two links miss: filled over REST in its place, polled while there is neither, as with one link alone."""

import threading
import time

import pytest

from okx_ws import Backoff
from okx_ws.exchange import LocalExchange
from okx_ws.net import pairs
from tests.net.lines import kill, links, pairs_of, whole
from tests.watch import Watch, eventually

TRADES = [{"channel": "trades", "instId": instId} for instId in ("BTC-USDT", "ETH-USDT")]
QUICK = Backoff(first_s=0.01, cap_s=0.1)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """On loopback no connection lags behind another for seconds."""
    monkeypatch.setattr(pairs, "ALONE_S", 0.05)
    monkeypatch.setattr(pairs, "LAG_S", 0.05)


@pytest.fixture
def double(connect):
    """An exchange in motion, and a manager with two links a subscription."""
    with LocalExchange(speed=10) as exchange:
        exchange.record()

        def make(**settings):
            ws = connect(exchange, **{"markers": True, "redundancy": 2, "backoff": QUICK, **settings})
            return exchange, ws, Watch(ws)

        yield make


class Reader:
    """A handler that keeps what it gets of each instrument."""

    def __init__(self):
        self.got = {}
        self._lock = threading.Lock()

    def take(self, message):
        with self._lock:
            self.got.setdefault(message["arg"]["instId"], []).append(message)

    def of(self, arg):
        with self._lock:
            return list(self.got.get(arg["instId"], ()))

    def markers(self, arg):
        return [message for message in self.of(arg) if message.get("event") == "gap"]

    def fresh(self, args, more=20):
        """Wait for so many more messages of each."""
        before = [len(self.of(arg)) for arg in args]
        eventually(lambda: all(len(self.of(a)) > n + more for a, n in zip(args, before, strict=True)), timeout=10)


def spans(messages):
    """Return the first and the last tradeId of each row."""
    rows = [row for message in messages if "data" in message for row in message["data"]]
    return [(int(row["tradeId"]) - int(row["count"]) + 1, int(row["tradeId"])) for row in rows]


def is_whole(messages):
    """Tell whether no trade is missing, none is there twice, and all are in order."""
    found = spans(messages)
    return all(first == last + 1 for (_, last), (first, _) in zip(found, found[1:]))


def away(exchange, watch, endpoint="public"):
    """Have both links lost, and neither come back while some trades are made; return what stops that."""
    refused = exchange.faults.start("refuse", what="upgrade", endpoint=endpoint)
    exchange.drop(endpoint)
    for _ in range(2):
        watch.wait("disconnected")
    made = [len(exchange.sent(arg)) for arg in TRADES]
    if endpoint == "public":
        eventually(lambda: all(len(exchange.sent(arg)) > n + 5 for arg, n in zip(TRADES, made, strict=True)))
    return refused


def test_what_both_links_missed_is_filled_in_its_place(double):
    """Acceptance 86, over two links: each trade once, in order; one marker a hole, which says: repaired."""
    exchange, ws, watch = double()
    reader = Reader()
    ws.subscribe(TRADES, handler=reader.take)
    reader.fresh(TRADES)
    whole(ws)
    for number in (1, 2):
        refused = away(exchange, watch)
        refused.stop()
        for arg in TRADES:
            watch.wait("repaired", arg=arg)
        reader.fresh(TRADES)
        whole(ws)
        for arg in TRADES:
            got = reader.of(arg)
            assert is_whole(got), spans(got)
            assert [marker["repaired"] for marker in reader.markers(arg)] == [True] * number
            assert any(message.get("backfill") for message in got)
    assert len(watch.of("repaired")) == 4
    told = [(s["gaps"], s["repairs"]) for s in ws.stats()["endpoints"]["public"]["subscriptions"]]
    assert told == [(2, 2), (2, 2)]
    mendings = [joint.mending for pair in pairs_of(ws) for joint in pair.seams.all]
    eventually(lambda: not any(mending.busy for mending in mendings))  # then nothing touches a message again
    assert len(mendings) == 2


def test_without_markers_what_was_missed_comes_all_the_same(double):
    """Only the messages."""
    exchange, ws, watch = double(markers=False)
    reader = Reader()
    ws.subscribe(TRADES, handler=reader.take)
    reader.fresh(TRADES)
    away(exchange, watch).stop()
    for arg in TRADES:
        watch.wait("repaired", arg=arg)
    reader.fresh(TRADES)
    for arg in TRADES:
        assert is_whole(reader.of(arg)) and reader.markers(arg) == []


def test_orders_that_changed_while_neither_link_was_up_are_told(connect):
    """Acceptance 90, over two links."""
    with LocalExchange() as exchange:
        ws = connect(exchange, markers=True, redundancy=2, backoff=QUICK, **exchange.credentials)
        watch, got = Watch(ws), []
        ws.subscribe("orders", instType="ANY", handler=got.append).wait(5)
        order = {
            "instId": "BTC-USDT",
            "tdMode": "cash",
            "side": "buy",
            "ordType": "limit",
            "px": "20000",
            "sz": "0.001",
        }
        ws.place_order(**order, clOrdId="one")
        eventually(lambda: len(got) == 1)
        whole(ws, "private")
        refused = away(exchange, watch, "private")
        ws.rest.post("/api/v5/trade/cancel-order", {"instId": "BTC-USDT", "clOrdId": "one"})
        refused.stop()
        eventually(lambda: len(got) == 3)
        assert got[1]["event"] == "gap" and got[1]["repaired"] is True
        assert got[2]["backfill"] is True and [row["state"] for row in got[2]["data"]] == ["canceled"]
        whole(ws, "private")
        ws.place_order(**order, clOrdId="two")
        eventually(lambda: len(got) == 4)
        assert got[3]["data"][0]["clOrdId"] == "two"


def test_a_rest_that_does_not_answer_holds_up_nothing_for_long(double):
    """After `backfill_timeout` the marker says what is missing, and what waited goes on, in order."""
    exchange, ws, watch = double(backfill_timeout=0.3)
    reader = Reader()
    ws.subscribe(TRADES, handler=reader.take)
    reader.fresh(TRADES)
    exchange.faults.start("slow", what="rest", delay_s=30.0)
    away(exchange, watch).stop()
    reader.fresh(TRADES)
    for arg in TRADES:
        (marker,) = reader.markers(arg)
        assert marker["repaired"] is False and "tradeId from" in marker["missing"]
        got = reader.of(arg)
        at = got.index(marker)
        assert is_whole(got[:at]) and is_whole(got[at + 1 :])


def test_close_lets_go_of_what_waits_for_rest(double):
    """Unrepaired, and within a second; no thread is left."""
    exchange, ws, watch = double(backfill_timeout=60.0)
    reader = Reader()
    ws.subscribe(TRADES, handler=reader.take)
    reader.fresh(TRADES)
    exchange.faults.start("slow", what="rest", delay_s=30.0)
    away(exchange, watch).stop()
    whole(ws)
    pair = pairs_of(ws)[0]
    eventually(lambda: any(joint.mending.busy and joint.mending._hold._held for joint in pair.seams.all))
    assert all(not reader.markers(arg) for arg in TRADES)
    start = time.monotonic()
    ws.close()
    assert time.monotonic() - start < 1
    found = [marker for arg in TRADES for marker in reader.markers(arg)]
    assert found and all(marker["repaired"] is False for marker in found)


def test_both_links_of_a_hand_over_may_be_lost(connect, monkeypatch):
    """What the two have missed is filled over REST once there is a link again."""
    monkeypatch.setattr(pairs, "LAG_S", 60.0)  # it goes on for long
    with LocalExchange(speed=10) as exchange:
        ws = connect(exchange, markers=True, backoff=QUICK)
        watch, reader = Watch(ws), Reader()
        ws.subscribe(TRADES, handler=reader.take)
        reader.fresh(TRADES)
        lines = ws._lines["public"]
        assert ws.rotate() == 1
        eventually(lambda: lines.lines[0].pair is not None and lines.lines[0].pair.second.session.up)
        exchange.drop("public")
        watch.wait("disconnected")
        reader.fresh(TRADES)
        eventually(lambda: lines.lines[0].pair is None, timeout=10)
        reader.fresh(TRADES)
        assert all(is_whole(reader.of(arg)) for arg in TRADES)


def test_a_stall_of_one_link_is_nobodys_loss(double):
    """The other one brings the stream: it is subscribed anew where it stalls; nothing is missing, nor told to be."""
    exchange, ws, watch = double()
    reader = Reader()
    ws.subscribe(TRADES, handler=reader.take, max_silence=0.5)
    reader.fresh(TRADES)
    whole(ws)
    stall = exchange.faults.start("stall", channel="trades", one=True)
    for _ in range(2):
        watch.wait("stalled")
    stall.stop()
    whole(ws)
    reader.fresh(TRADES)
    assert all(is_whole(reader.of(arg)) and not reader.markers(arg) for arg in TRADES)
    assert watch.of("gap") == [] and watch.of("disconnected") == []
    assert [s["gaps"] for s in ws.stats()["endpoints"]["public"]["subscriptions"]] == [0, 0]


def test_polling_begins_when_neither_link_is_up(double):
    """Acceptance 88: not while one is; and it ends with the first that is back."""
    exchange, ws, watch = double(fallback_after=0.2)
    tickers, got = {"channel": "tickers", "instId": "BTC-USDT"}, Reader()
    ws.subscribe(**tickers, handler=got.take).wait(5)
    whole(ws)

    def polled():
        return sum("fallback" in message for message in got.of(tickers))

    refused = exchange.faults.start("refuse", what="upgrade", endpoint="public")
    kill(exchange, links(ws)[0]["conn_id"])
    start = time.monotonic()
    eventually(lambda: time.monotonic() > start + 0.5 and watch.wait("reconnecting"))
    got.fresh([tickers], 2)
    assert polled() == 0
    exchange.drop("public")
    eventually(lambda: polled() >= 2, timeout=10)
    refused.stop()
    whole(ws)
    before = polled()
    got.fresh([tickers])
    assert polled() == before
    times = [int(message["data"][0]["ts"]) for message in got.of(tickers) if "data" in message]
    assert times == sorted(times)


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("redundancy", [1, 2])
def test_a_hand_over_that_is_asked_for_while_a_repair_waits_for_a_handler(connect, redundancy, inline):
    """Acceptance 42, 86: REST is slow, a handler blocks in the midst, links are rotated: each trade once, in order."""
    blocked, go_on = threading.Event(), threading.Event()

    def take(message):
        if message.get("backfill") and not blocked.is_set():
            blocked.set()
            assert go_on.wait(20)
        reader.take(message)

    with LocalExchange(speed=10) as exchange:
        exchange.record()
        ws = connect(exchange, markers=True, redundancy=redundancy, backoff=QUICK)
        watch, reader = Watch(ws), Reader()
        ws.subscribe(TRADES, handler=take, inline=inline)
        reader.fresh(TRADES)
        if redundancy == 2:
            whole(ws)
        refused = exchange.faults.start("refuse", what="upgrade", endpoint="public")
        slow = exchange.faults.start("slow", what="rest", delay_s=0.2)
        exchange.drop("public")
        watch.wait("disconnected")
        made = [len(exchange.sent(arg)) for arg in TRADES]
        eventually(lambda: all(len(exchange.sent(arg)) > n + 5 for arg, n in zip(TRADES, made, strict=True)))
        refused.stop()
        assert blocked.wait(10)
        before = {link["conn_id"] for link in links(ws)}
        for _ in range(3):
            ws.rotate()
            assert not threading.Event().wait(0.1)
        slow.stop()
        go_on.set()
        eventually(
            lambda: before.isdisjoint(link["conn_id"] for link in links(ws)) and len(links(ws)) == redundancy,
            timeout=15,
        )
        reader.fresh(TRADES)
        for arg in TRADES:
            assert is_whole(reader.of(arg)), spans(reader.of(arg))
            assert [marker["repaired"] for marker in reader.markers(arg)] == [True]
        assert len(watch.of("disconnected")) == redundancy
