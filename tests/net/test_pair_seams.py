"""Two links at once, and what else goes on: repairs that come later, subscriptions that end and begin again."""

import itertools
import json
import socket
import threading
import time

import pytest

from okx_ws import holds
from okx_ws.exchange import LocalExchange
from okx_ws.net import pairs
from okx_ws.protocol import merging
from tests.net.lines import TRADES, conn_id, handed_over, kill, links, order, pairs_of, trade, whole
from tests.verify import Verifier
from tests.watch import Watch, eventually

BOOK = {"channel": "books", "instId": "BTC-USDT"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """On loopback no connection lags behind another for seconds."""
    monkeypatch.setattr(pairs, "ALONE_S", 0.05)
    monkeypatch.setattr(pairs, "LAG_S", 0.05)


def place(ws, clOrdId):
    ws.place_order(
        instId="BTC-USDT", tdMode="cash", side="buy", ordType="limit", px="20000", sz="0.001", clOrdId=clOrdId
    )


def test_a_repair_after_a_hand_over_knows_what_was_open_before_it(connect, monkeypatch):
    """Orders of before and during a hand-over that are canceled while there is no link are told, each once."""
    with LocalExchange() as exchange:
        ws = connect(exchange, markers=True, **exchange.credentials)
        got = []
        ws.subscribe("orders", instType="ANY", handler=got.append).wait(5)
        place(ws, "before")
        eventually(lambda: len(got) == 1)
        first = conn_id(ws, "private")
        monkeypatch.setattr(pairs, "ALONE_S", 1.0)  # time to place one while both live
        assert ws.rotate("private") == 1
        eventually(lambda: ws._lines["private"].lines[0].pair is not None)
        place(ws, "during")
        eventually(lambda: len(got) == 2)
        handed_over(ws, first, "private")
        refused = exchange.faults.start("refuse", what="connect")
        exchange.drop("private")
        eventually(lambda: ws.stats()["endpoints"]["private"]["state"] != "up")
        for clOrdId in ("before", "during"):
            ws.rest.post("/api/v5/trade/cancel-order", {"instId": "BTC-USDT", "clOrdId": clOrdId})
        refused.stop()
        eventually(lambda: any(message.get("event") == "gap" for message in got), timeout=10)
        eventually(lambda: len(got) == 5, timeout=10)
        canceled = [row["clOrdId"] for m in got[3:] for row in m["data"] if row["state"] == "canceled"]
        assert canceled == ["before", "during"]


def test_a_book_that_is_subscribed_again_at_once_begins_with_a_snapshot(connect):
    """On two links, too, of which one may have left, and the other not yet: whoever reads begins anew."""
    with LocalExchange(speed=10) as exchange:
        ws = connect(exchange, markers=True, redundancy=2)
        subscription = ws.subscribe("books", instId="BTC-USDT", queue=True).wait(5)

        def asked():
            return sum(len(desk.requests) for desk in exchange.desks)

        for _ in range(10):
            whole(ws)  # no request of the last round is still to come
            before = asked()
            subscription.unsubscribe()
            eventually(lambda before=before: asked() > before)
            subscription = ws.subscribe("books", instId="BTC-USDT", queue=True).wait(5)
            until = time.monotonic() + 5
            while subscription.get(timeout=5)["action"] != "snapshot":  # the link that never left goes on till then
                assert time.monotonic() < until


def test_a_repaired_instrument_that_stays_silent_does_not_hold_up_a_hand_over(connect, monkeypatch):
    """Acceptance 42, after a loss: nothing waits in the repair, and the new link goes on from what REST had told."""
    monkeypatch.setattr(holds, "LATE_S", 0.3)
    with LocalExchange(speed=10) as exchange:
        ws = connect(exchange, markers=True)
        watch, verifier = Watch(ws), Verifier()
        for instId in ("BTC-USDT", "ETH-USDT"):
            ws.subscribe("trades", instId=instId, handler=verifier.take).wait(5)
        eventually(lambda: verifier.seen["trades"] > 20)
        stall = exchange.faults.start("stall", channel="trades", instId="ETH-USDT")
        exchange.drop("public")
        watch.wait("repaired", timeout=10, arg={"channel": "trades", "instId": "ETH-USDT"})
        first = conn_id(ws)
        assert ws.rotate() == 1
        handed_over(ws, first)
        stall.stop()
        seen = verifier.seen["trades"]
        eventually(lambda: verifier.seen["trades"] > seen + 20)
        # What the exchange left out in the stall nobody can know of; but nothing comes twice, or out of order.
        assert all(key[1] == "ETH-USDT" and int(row["tradeId"]) > last for key, last, row in verifier.faults)


def tell(exchange, text, channel):
    """Send a text to those who have subscribed the channel."""

    def act():
        for line in exchange.hub.lines:
            if any(arg["channel"] == channel for arg in line.desk.args.values()):
                line.send(text)

    exchange.call(act)


def take_away(exchange, conn_id, channel):
    """Have the exchange unsubscribe a channel on one connection, unasked, and say so."""

    def act():
        (line,) = [line for line in exchange.hub.lines if line.desk.connId == conn_id]
        (arg,) = [arg for arg in line.desk.args.values() if arg["channel"] == channel]
        line.desk.take_away(arg)
        line.send(json.dumps({"event": "unsubscribe", "arg": arg, "connId": conn_id}))

    exchange.call(act)


def test_a_link_that_lost_one_subscription_does_not_vouch_for_the_other_link(connect):
    """It is up, and answers pings; but what the other link missed while it was down, it has not brought either."""
    with LocalExchange() as exchange:
        ws = connect(exchange, markers=True, redundancy=2, **exchange.credentials)
        watch, got = Watch(ws), []
        ws.subscribe("orders", instType="ANY", handler=got.append).wait(5)
        whole(ws, "private")
        exchange.say(order(1), "private")
        eventually(lambda: len(got) == 1)
        first, second = (link["conn_id"] for link in links(ws, "private"))
        stream = pairs_of(ws, "private")[0].first.session.subscriptions.find({"channel": "orders", "instType": "ANY"})
        take_away(exchange, first, "orders")
        eventually(lambda: not stream.live)
        kill(exchange, second)
        watch.wait("disconnected")
        eventually(lambda: stream.twin.live)  # the first link asks again a second after it lost it
        tell(exchange, order(3), "orders")
        eventually(lambda: len(got) > 1)
        whole(ws, "private")
        exchange.say(order(4), "private")
        eventually(lambda: got[-1].get("data") and got[-1]["data"][0]["ordId"] == "o4")
        assert [m.get("event") or m["data"][0]["ordId"] for m in got] == ["o1", "gap", "o3", "o4"]


def test_what_is_waited_for_in_vain_does_not_hold_up_a_quiet_stream(peer, connect, monkeypatch):
    """A link is back and brings trade 9; what is missing before it nobody brings, nor anything after it."""
    monkeypatch.setattr(merging, "PATIENCE_MS", 50)
    arg, talks = {"channel": "trades", "instId": "BTC-USDT"}, {}

    def trade(n):
        row = {"instId": "BTC-USDT", "tradeId": str(n), "px": "1", "sz": "1", "side": "buy"}
        return {"arg": arg, "data": [{**row, "ts": str(1_700_000_000_000 + n), "count": "1"}]}

    def script(talk):
        talk.subscribed()
        if talk.number < 3:
            talk.json(trade(1))
        talks[talk.number] = talk
        talk.until_gone()

    ws = connect(urls=peer(script).urls, markers=True, redundancy=2, backfill=False)
    subscription = ws.subscribe(**arg, queue=True)
    assert subscription.get(timeout=5)["data"][0]["tradeId"] == "1"
    whole(ws)
    talks[2].sock.shutdown(socket.SHUT_RDWR)
    eventually(lambda: 3 in talks)
    whole(ws)
    talks[3].json(trade(9))
    assert subscription.get(timeout=5)["event"] == "gap"
    assert subscription.get(timeout=5)["data"][0]["tradeId"] == "9"


def test_a_pong_that_overtakes_data_proves_nothing_soon(connect, monkeypatch):
    """What the first link was still to bring when the second one was back, and then fell with it, is told."""
    monkeypatch.setattr(pairs, "LAG_S", 60.0)
    monkeypatch.setattr(pairs, "SOON_S", 0.001)
    with LocalExchange() as exchange:
        ws = connect(exchange, markers=True, redundancy=2, **exchange.credentials)
        watch, got = Watch(ws), []
        ws.subscribe("orders", instType="ANY", handler=got.append).wait(5)
        pair = pairs_of(ws, "private")[0]
        stream = pair.first.session.subscriptions.find({"channel": "orders", "instType": "ANY"})
        eventually(lambda: stream.live and stream.twin.live)
        tell(exchange, order(1), "orders")
        eventually(lambda: len(got) == 1 and not any(joint.caught_up is False for joint in pair.seams.all))
        slow = exchange.faults.start("slow", what="push", delay_s=60.0)
        first, second = (link["conn_id"] for link in links(ws, "private"))
        kill(exchange, second)
        watch.wait("disconnected")
        tell(exchange, order(2), "orders")
        eventually(lambda: stream.twin.live)
        for _ in range(3):  # whoever asks the first link now, has his answer
            with pair.first.mutex:
                pong = pair.first.session.ping()
            pair.first.wake()
            eventually(lambda pong=pong: pair.first.session.pongs >= pong)
        kill(exchange, first)
        watch.wait("disconnected")
        slow.stop()
        tell(exchange, order(3), "orders")
        eventually(lambda: got[-1].get("data") and got[-1]["data"][0]["ordId"] == "o3")
        assert [m.get("event") or m["data"][0]["ordId"] for m in got] == ["o1", "gap", "o3"]


def test_a_book_that_breaks_while_its_link_is_handed_over_is_mended(connect):
    """Left-out updates on either link, again and again: the link goes, the book is readable, and goes on."""
    with LocalExchange(speed=10) as exchange:
        ws = connect(exchange)
        book = ws.order_book("BTC-USDT").wait_ready(5)
        for _ in range(4):
            first = conn_id(ws)
            gaps = exchange.faults.start("gap", channel="books", times=3)
            assert ws.rotate("public") == 1
            handed_over(ws, first)
            gaps.stop()
            book.wait_ready(15)
            before = book.view(1).seqId
            eventually(lambda before=before: book.view(1, stale_ok=True).seqId != before and book.synced, timeout=15)


def test_unsubscribing_while_two_links_are_merged_leaves_nothing(connect):
    """Whichever link has acknowledged it first: no message after it, no hole for who subscribes again."""
    with LocalExchange(speed=10) as exchange:
        ws = connect(exchange, markers=True, redundancy=2)
        for number in range(6):
            got = []
            subscription = ws.subscribe("trades", instId="BTC-USDT", handler=got.append).wait(5)
            eventually(lambda got=got: len(got) > 5)
            if number % 2:
                whole(ws)
            subscription.unsubscribe()
            assert all("data" in message for message in got), got
        eventually(lambda: not any(line.desk.args for line in exchange.hub.lines))
        pair = pairs_of(ws)[0]
        eventually(lambda: len(pair.first.session.subscriptions) == len(pair.second.session.subscriptions) == 0)


class Trades:
    """Every tradeId that came, in order; without a hole, since REST fills them all."""

    def __init__(self):
        self.ids = []

    def take(self, message):
        """Take a message, or a marker."""
        for row in message.get("data", ()):
            self.ids += range(int(row["tradeId"]) - int(row["count"]) + 1, int(row["tradeId"]) + 1)

    def flow(self):
        """Wait for some more."""
        least = len(self.ids) + 30
        eventually(lambda: len(self.ids) > least, timeout=10)


@pytest.fixture
def traded(connect):
    """An exchange, and a manager that reads trades: one hole of the link was filled already, and all flows."""
    with LocalExchange(speed=10) as exchange:
        ws = connect(exchange, markers=True)
        watch, trades = Watch(ws), Trades()
        ws.subscribe("tickers", instId="BTC-USDT", queue=True).wait(5)
        ws.subscribe("trades", instId="BTC-USDT", handler=trades.take).wait(5)
        trades.flow()
        exchange.drop("public")
        watch.wait("disconnected")
        watch.wait("repaired", timeout=10, arg=TRADES)
        trades.flow()
        yield exchange, ws, watch, trades
        trades.flow()
        ws.close()
        assert trades.ids == list(range(trades.ids[0], trades.ids[-1] + 1))


def test_a_repair_goes_on_from_what_the_new_link_had_delivered(traded):
    """Acceptance 86: the old link falls, and the new one, which lacks something, is given up: nothing comes twice."""
    exchange, ws, watch, trades = traded
    exchange.faults.start("refuse", what="subscribe", code="50001", channel="tickers")
    assert ws.rotate() == 1
    (old,) = ws._lines["public"].lines
    eventually(lambda: any(s.twin is not None and s.twin.sure for s in old.session.subscriptions))
    trades.flow()
    exchange.call(exchange.hub.lines[0].abort)
    watch.wait("disconnected")
    eventually(lambda: old.pair is None)
    exchange.faults.stop()
    watch.wait("repaired", timeout=10, arg=TRADES)


def test_a_loss_right_after_a_hand_over_is_repaired(traded, monkeypatch):
    """Acceptance 86: it is told, and REST is asked; however often the link is lost before it is known to be alone."""
    monkeypatch.setattr(pairs, "ALONE_S", 60.0)
    exchange, ws, watch, trades = traded
    first = conn_id(ws)
    assert ws.rotate() == 1
    eventually(lambda: [link["conn_id"] not in (first, None) for link in links(ws)] == [True], timeout=10)
    trades.flow()
    exchange.drop("public")
    watch.wait("disconnected")
    watch.wait("repaired", timeout=10, arg=TRADES)
    assert ws._lines["public"].lines[0].pair is None


def test_a_new_link_does_not_run_ahead_of_one_whose_acknowledgement_was_lost(connect, peer):
    """Data counts as much as an acknowledgement: what the old link has still to bring goes first."""
    ahead = threading.Event()

    def script(talk):
        talk.upgrade()
        request = talk.read_request("subscribe")
        if talk.number == 2:
            talk.ack(request)
            talk.json(trade(5))
            talk.until_gone()
        talk.json(trade(1))
        assert ahead.wait(10)
        for number in range(2, 7):
            talk.json(trade(number))
        talk.until_gone()

    trades = Trades()
    ws = connect(urls=peer(script).urls, markers=True)
    ws.subscribe("trades", instId="BTC-USDT", handler=trades.take)
    eventually(lambda: trades.ids == [1])
    assert ws.rotate() == 1
    eventually(lambda: [link.session.messages > 1 for link in ws._lines["public"].connections[1:]] == [True])
    ahead.set()
    eventually(lambda: 6 in trades.ids)
    assert trades.ids == [1, 2, 3, 4, 5, 6]


def test_a_book_that_breaks_while_the_other_link_is_still_asked_for_it_is_mended(connect, peer):
    """The snapshot that comes from there meanwhile is of before, and no link that goes on: both are asked anew."""
    broken, numbers = threading.Event(), itertools.count(10, 10)

    def push(talk, action, seqId, prevSeqId):
        row = {"asks": [["2", "1", "0", "1"]], "bids": [], "ts": "1700000000000", "seqId": seqId}
        talk.json({"arg": BOOK, "action": action, "data": [{**row, "prevSeqId": prevSeqId}]})

    def answer(talk):
        request = talk.read_request()
        talk.ack(request)
        if request["op"] == "subscribe":
            push(talk, "snapshot", next(numbers), -1)

    def script(talk):
        talk.upgrade()
        if talk.number == 1:
            answer(talk)
            push(talk, "update", 5, 4)  # at once it is subscribed anew
            answer(talk)
            answer(talk)
            push(talk, "update", 5, 4)  # a second later
        else:
            assert broken.wait(10)
        while True:
            answer(talk)

    ws = connect(urls=peer(script).urls, redundancy=2)
    watch = Watch(ws)
    book = ws.order_book("BTC-USDT")
    eventually(lambda: len([gap for gap in watch.of("gap") if gap.data is None]) == 2)
    assert not book.synced
    broken.set()
    eventually(lambda: book.synced, timeout=10)
