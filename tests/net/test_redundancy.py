"""redundancy=2: every subscription on two links, and the loss of one costs nothing."""

import json
import queue
import random
import socket
import threading
import time

import pytest

from okx_ws import Backoff, ConnectionLost, UsageError
from okx_ws.exchange import LocalExchange
from okx_ws.net import pairs
from tests.net.lines import (
    BOTH,
    CANDLES,
    PUBLIC,
    enough,
    kill,
    limited,
    links,
    lose_both,
    order,
    pairs_of,
    stats,
    tickers,
    whole,
)
from tests.verify import Verifier
from tests.watch import Watch, eventually

SEED = 20261125


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """On loopback no connection lags behind another for a second."""
    monkeypatch.setattr(pairs, "LAG_S", 0.05)


@pytest.fixture
def double(connect):
    """An exchange in motion, a manager with two links a subscription, and who verifies what it delivers."""
    with LocalExchange(speed=10) as exchange:

        def make(args=PUBLIC, **settings):
            ws = connect(exchange, **{"markers": True, "redundancy": 2, **settings})
            verifier, watch = Verifier(), Watch(ws)
            for subscription in ws.subscribe(args, handler=verifier.take):
                subscription.wait(5)
            return exchange, ws, verifier, watch

        yield make


def test_random_kills_cost_nothing(double):
    """Thirty kills of either link: no hole, no double, no disorder; books stay readable, subscriptions active."""
    exchange, ws, verifier, watch = double(PUBLIC + CANDLES)
    book = ws.order_book("SOL-USDT").wait_ready(5)
    subscription = ws.subscribe("trades", instId="SOL-USDT", queue=True)
    subscription.wait(5)
    wrong = []
    stop = threading.Event()

    def look():
        while not stop.is_set():
            if not book.synced or subscription.state != "active":
                wrong.append((book.synced, subscription.state))
            stop.wait(0.001)

    watcher = threading.Thread(target=look)
    watcher.start()
    chance = random.Random(SEED)
    try:
        for _ in range(30):
            endpoint = chance.choice(["public", "public", "business"])
            whole(ws, endpoint)
            stop.wait(chance.random() * 0.05)
            kill(exchange, chance.choice(links(ws, endpoint))["conn_id"])
            watch.wait("disconnected")
    finally:
        stop.set()
        watcher.join()
    enough(verifier, channels=("trades", "tickers", "books", "books5", "candle1s"))
    assert verifier.faults == [] and verifier.markers == [] and wrong == []
    assert set(verifier.snapshots.values()) == {1}
    assert len(watch.of("disconnected")) == 30 and watch.of("gap") == []
    assert ws.stats()["endpoints"]["public"]["state"] == "up"


def test_the_loss_of_both_is_told_once(double):
    """One marker a subscription, in its place, whichever link is back first."""
    exchange, ws, verifier, watch = double()
    whole(ws)
    enough(verifier)
    lose_both(exchange, watch, PUBLIC)
    eventually(lambda: all(s["state"] == "active" for s in stats(ws)) and len(verifier.markers) >= len(PUBLIC))
    enough(verifier)
    whole(ws)
    enough(verifier)
    assert verifier.faults == []
    assert sorted(json.dumps(m["arg"]) for m in verifier.markers) == sorted(json.dumps(arg) for arg in PUBLIC)
    assert {m["cause"] for m in verifier.markers} == {"disconnect"}


def test_orders_are_exact(connect):
    """Each fill once, in order, while links are killed; with nothing to say, nothing is missing."""
    with LocalExchange() as exchange:
        ws = connect(exchange, markers=True, redundancy=2, **exchange.credentials)
        verifier, watch = Verifier(), Watch(ws)
        ws.subscribe("orders", instType="ANY", handler=verifier.take).wait(5)
        chance = random.Random(SEED)
        sent = 0
        for _ in range(8):
            whole(ws, "private")
            for _ in range(chance.choice([0, 0, 1, 20])):
                sent += 1
                exchange.say(order(sent), "private")
            eventually(lambda: len(verifier.rows) == sent)
            kill(exchange, chance.choice(links(ws, "private"))["conn_id"])
            watch.wait("disconnected")
        sent += 1
        exchange.say(order(sent), "private")
        eventually(lambda: len(verifier.rows) >= sent)
        assert verifier.rows == [str(n) for n in range(1, sent + 1)]
        assert verifier.markers == [] and watch.of("gap") == []


def test_a_notice_has_links_dialled_anew_one_by_one(double):
    """Both links are told at once; no `disconnected`, no hole."""
    exchange, ws, verifier, watch = double()
    whole(ws)
    before = {link["conn_id"] for link in links(ws)}
    exchange.notice(close_after_s=20, endpoint="public")
    eventually(lambda: before.isdisjoint(link["conn_id"] for link in links(ws)) and len(links(ws)) == 2, timeout=10)
    whole(ws)
    assert ws.rotate("public") == 2
    eventually(lambda: ws.stats()["endpoints"]["public"]["connects"] == 6, timeout=10)
    whole(ws)
    enough(verifier)
    assert verifier.faults == [] and verifier.markers == [] and watch.of("disconnected") == []
    eventually(lambda: len(watch.of("connected")) == 6)


def test_spread_over_lines_of_two_links_each(double):
    """Each line is doubled; what is unsubscribed is so on both; a spare line ends with both."""
    exchange, ws, verifier, _ = double(subscriptions_per_link=3)
    whole(ws)
    assert [link["subscriptions"] for link in links(ws)] == [3, 3, 3, 3, 2, 2]
    for arg in PUBLIC[2:]:
        ws.unsubscribe(**arg)
    eventually(lambda: len({json.dumps(a) for line in exchange.hub.lines for a in line.desk.args.values()}) == 2)
    again = ws.subscribe(**PUBLIC[4]).wait(5)
    assert again.state == "active"
    assert verifier.faults == []


def test_only_both_links_lost_end_an_endpoint_that_shall_not_reconnect(double):
    """reconnect=False: one may go; with the second goes the endpoint."""
    exchange, ws, verifier, watch = double(reconnect=False)
    whole(ws)
    subscription = ws.subscribe(**PUBLIC[0])
    kill(exchange, links(ws)[0]["conn_id"])
    watch.wait("disconnected")
    enough(verifier)
    assert subscription.state == "active" and verifier.faults == [] and verifier.markers == []
    exchange.drop("public")
    eventually(lambda: subscription.state == "closed")
    with pytest.raises(ConnectionLost):
        subscription.wait(1)


def test_calls_use_one_link_and_the_other_if_it_is_gone(connect, peer):
    """One is asked; while it is down, the other."""
    calls = queue.Queue()
    allowed = threading.Event()
    allowed.set()

    def script(talk):
        if not allowed.is_set():
            return
        talk.upgrade()
        talk.accept_login()
        while True:
            request = talk.read_request()
            if request["op"] == "subscribe":
                talk.ack(request)
                continue
            calls.put((talk, request))
            talk.json({"id": request["id"], "op": request["op"], "code": "0", "msg": "", "data": [{}]})

    server = peer(script)
    ws = connect(urls=server.urls, redundancy=2, apiKey="k", secretKey="s", passphrase="p", clock_sync=False)
    ws.subscribe("account").wait(5)
    whole(ws, "private")
    ws.request("amend-everything", [{"n": "1"}])
    ws.request("amend-everything", [{"n": "2"}])
    (first, _), (same, _) = calls.get(timeout=5), calls.get(timeout=5)
    assert first is same and calls.empty()
    allowed.clear()
    first.sock.shutdown(socket.SHUT_RDWR)
    eventually(lambda: not pairs_of(ws, "private")[0].first.session.up)
    ws.request("amend-everything", [{"n": "3"}])
    assert calls.get(timeout=5)[0] is not first


@pytest.mark.parametrize("code", [4008, 4009])
def test_what_is_too_much_moves_with_both_its_links(peer, connect, code):
    """Halved like a single link; each arg is on two links in the end."""
    server = peer(limited(5, code))
    ws = connect(urls=server.urls, redundancy=2, backoff=Backoff(first_s=0.01, cap_s=0.1))
    subscriptions = ws.subscribe(tickers(8))
    for subscription in subscriptions:
        subscription.wait(5)
    eventually(lambda: sorted(link["subscriptions"] for link in links(ws)) == [4, 4, 4, 4], timeout=10)
    whole(ws)


@pytest.mark.parametrize("crowded", [1, 2])
def test_what_is_too_much_for_one_of_two_links_moves_as_well(peer, connect, crowded):
    """Either of them: the other one is up, and leaves what moves; nothing is tried at the longest delay."""

    def script(talk):
        talk.upgrade()
        args = {}
        while True:
            request = talk.read_request()
            for arg in request["args"]:
                if request["op"] == "subscribe":
                    args[arg["instId"]] = arg
                else:
                    del args[arg["instId"]]
            if talk.number == crowded and len(args) > 5:
                talk.close(4009, "too many")
                return
            left[talk.number] = set(args)
            talk.ack(request)
            for arg in request["args"] if request["op"] == "subscribe" else ():
                talk.json({"arg": arg, "data": [{"n": talk.number, "ts": str(1_700_000_000_000 + talk.number)}]})

    left = {}
    ws = connect(urls=peer(script).urls, redundancy=2, backoff=Backoff(first_s=0.01, cap_s=30.0))
    subscriptions = ws.subscribe(tickers(8))
    for subscription in subscriptions:
        subscription.wait(5)
    eventually(lambda: sorted(link["subscriptions"] for link in links(ws)) == [4, 4, 4, 4], timeout=10)
    whole(ws)
    assert {subscription.state for subscription in subscriptions} == {"active"}
    eventually(lambda: sorted(map(len, left.values()))[-4:] == [4, 4, 4, 4])


def test_close_with_two_links_in_any_state(double):
    """Within a second, and no thread is left."""
    exchange, ws, _, _ = double()
    exchange.drop("public")
    start = time.monotonic()
    ws.close()
    assert time.monotonic() - start < 1


def test_close_tells_of_no_hole(double):
    """What would have come is nobody's business any more, as with one link."""
    _, ws, verifier, watch = double()
    whole(ws)
    enough(verifier)
    ws.close()
    watch.wait("closed")
    assert watch.of("gap") == []


@pytest.mark.parametrize("value", [0, 3, True, "2", 1.5])
def test_other_numbers_are_refused(connect, value):
    """One link or two."""
    with pytest.raises(UsageError, match="redundancy must be 1 or 2"):
        connect(urls={}, redundancy=value)


def test_a_broken_book_is_mended_over_both_links(double):
    """A message left out on both: the book is asked for anew, and readable with the first snapshot."""
    exchange, ws, verifier, watch = double([{"channel": "tickers", "instId": instId} for instId in BOTH])
    book = ws.order_book("BTC-USDT").wait_ready(5)
    whole(ws)
    fault = exchange.faults.start("gap", endpoint="public", channel="books", times=2)
    assert fault.wait(2, timeout=5)
    told = watch.of("gap")
    if told:  # unless the two left out different messages: then nothing is missing
        watch.wait("repaired")
    eventually(lambda: book.synced)
    whole(ws)
    assert verifier.faults == []


def test_calls_in_flight_have_their_replies_before_a_link_goes(connect):
    """Orders whose replies take a while, while each link is dialled anew: no outcome is unknown."""
    with LocalExchange() as exchange:
        ws = connect(exchange, redundancy=2, **exchange.credentials)
        watch = Watch(ws)
        ws.subscribe("orders", instType="SPOT", queue=True).wait(5)
        whole(ws, "private")
        exchange.orders.delay_s = 0.3
        before = {desk.connId for desk in exchange.desks}
        order = {
            "instId": "BTC-USDT",
            "tdMode": "cash",
            "side": "buy",
            "ordType": "limit",
            "px": "50000",
            "sz": "0.001",
        }
        assert ws.rotate("private") == 2
        placed = []

        def go_on():
            placed.append(ws.place_order_nowait(**order, timeout=10))
            return before.isdisjoint([line.desk.connId for line in list(exchange.hub.lines)])

        eventually(go_on, timeout=10)
        assert all(future.result(10).ok for future in placed) and len(exchange.truth().open) == len(placed)
        assert watch.of("disconnected") == []
