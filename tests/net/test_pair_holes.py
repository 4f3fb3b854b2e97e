"""Two links at once: what neither brings is told, at its place."""

import threading

import pytest

from okx_ws.net import handover, pairs
from tests.net.lines import TRADES, trade
from tests.peer import Gone
from tests.watch import Watch, eventually


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """On loopback no connection lags behind another for seconds."""
    monkeypatch.setattr(pairs, "ALONE_S", 0.05)
    monkeypatch.setattr(pairs, "LAG_S", 0.05)


def test_a_hole_that_no_message_has_told_is_told_after_the_hand_over(connect, peer):
    """Acceptance 86: the old link is lost in the midst, and the new one stays silent until it is known to be alone."""
    cut, talks = threading.Event(), []

    def script(talk):
        talks.append(talk)
        talk.subscribed()
        if talk.number == 2:
            talk.until_gone()
        talk.json(trade(1))
        assert cut.wait(10)  # the ping that would prove that nothing is under way here is not answered

    got = []
    ws = connect(urls=peer(script).urls, markers=True, backfill=False)
    ws.subscribe("trades", instId="BTC-USDT", handler=got.append)
    eventually(lambda: len(got) == 1)
    assert ws.rotate() == 1
    (old,) = ws._lines["public"].lines
    eventually(lambda: [s.twin is not None and s.twin.live for s in old.session.subscriptions] == [True])
    cut.set()
    eventually(lambda: [line.pair for line in ws._lines["public"].connections] == [None])
    talks[1].json(trade(5))
    eventually(lambda: len(got) == 3)
    assert got[1]["event"] == "gap" and got[1]["cause"] == "disconnect"
    assert (got[1]["since_ms"], got[1]["until_ms"]) == (1_700_000_000_001, 1_700_000_000_005)


def test_what_the_new_link_lacks_is_told_when_the_old_one_leaves(connect, peer):
    """Acceptance 41, 42: the server ends the new subscription while the old link, which covers it, is closed."""
    closing, dropped, talks = threading.Event(), threading.Event(), []

    def script(talk):
        talk.subscribed()
        if talk.number == 1:
            talk.json(trade(1))
            with pytest.raises(Gone):
                talk.until_gone()
            closing.set()
            assert dropped.wait(10)
            return
        talks.append(talk)
        talk.ack(talk.read_request("subscribe"))
        talk.json(trade(5))
        talk.until_gone()

    got = []
    ws = connect(urls=peer(script).urls, markers=True, backfill=False)
    ws.subscribe("trades", instId="BTC-USDT", handler=got.append)
    eventually(lambda: len(got) == 1)
    assert ws.rotate() == 1
    assert closing.wait(5)
    (stream,) = ws._lines["public"].connections[1].session.subscriptions
    talks[0].json({"event": "unsubscribe", "arg": TRADES, "connId": "a4d3ae55"})
    eventually(lambda: stream.wire == "off")
    dropped.set()
    eventually(lambda: len(got) == 3)
    assert got[1]["event"] == "gap"
    assert (got[1]["since_ms"], got[1]["until_ms"]) == (1_700_000_000_001, 1_700_000_000_005)


def test_a_pong_proves_nothing_of_what_the_old_link_lacks(connect, peer):
    """Acceptance 41, 42: what came before the new subscription, and after the server had ended the old one, is told."""
    arg, talks, dropped = {"channel": "liquidation-orders", "instType": "SWAP"}, [], threading.Event()

    def liquidation(number):
        return {"arg": arg, "data": [{"instId": "BTC-USDT-SWAP", "details": [{"ts": str(1_700_000_000_000 + number)}]}]}

    def script(talk):
        talks.append(talk)
        talk.upgrade()
        assert talk.number == 1 or dropped.wait(10)
        talk.ack(talk.read_request("subscribe"))
        talk.json(liquidation(1 if talk.number == 1 else 5))
        talk.until_gone()

    got = []
    ws = connect(urls=peer(script).urls, markers=True)
    ws.subscribe([arg], handler=got.append)
    eventually(lambda: len(got) == 1)
    (old,) = ws._lines["public"].lines
    (stream,) = old.session.subscriptions
    stream.attempts = 5  # it will not be asked for again so soon
    assert ws.rotate() == 1
    eventually(lambda: stream.twin is not None)
    talks[0].json({"event": "unsubscribe", "arg": arg, "connId": "a4d3ae55"})
    eventually(lambda: stream.wire == "off")
    dropped.set()
    eventually(lambda: len(got) > 1 and got[-1]["data"][0]["details"][0]["ts"].endswith("5"))
    assert [message.get("event") for message in got] == [None, "gap", None]
    assert (got[1]["since_ms"], got[1]["until_ms"]) == (1_700_000_000_001, 1_700_000_000_005)


def test_what_a_blocked_handler_holds_goes_first_though_the_other_link_is_lost(connect, peer, monkeypatch):
    """Acceptance 42: the new link is given up while its thread is in a handler; the old one comes back meanwhile."""
    monkeypatch.setattr(handover, "PART_S", 0.05)
    blocked, go_on, more, cut = (threading.Event() for _ in range(4))

    def script(talk):
        talk.upgrade()
        request = talk.read_request("subscribe")
        if talk.number == 2:  # which never has it all
            talk.ack(request, TRADES)
            talk.json(trade(1))
            talk.json(trade(2))
            talk.until_gone()
        talk.ack(request)
        talk.json(trade(1 if talk.number == 1 else 9))
        if talk.number == 1:
            assert more.wait(10)
            for number in (2, 3, 4):
                talk.json(trade(number))
            assert cut.wait(10)
        else:
            talk.until_gone()

    got, inside = [], []

    def handle(message):
        inside.append(message)
        if "data" in message and message["data"][0]["tradeId"] == "2":
            blocked.set()
            assert go_on.wait(10)
        got.append((message.get("event") or message["data"][0]["tradeId"], len(inside)))
        inside.remove(message)

    ws = connect(urls=peer(script).urls, markers=True, backfill=False)
    ws.subscribe("tickers", instId="BTC-USDT", queue=True)
    ws.subscribe("trades", instId="BTC-USDT", handler=handle, inline=True)
    eventually(lambda: got == [("1", 1)])
    assert ws.rotate() == 1
    assert blocked.wait(5)
    (old,) = ws._lines["public"].lines
    stream = old.session.subscriptions.find(TRADES)
    for step, messages in ((more, 4), (cut, 5)):
        step.set()
        eventually(lambda messages=messages: stream.messages == messages)
    go_on.set()
    eventually(lambda: len(got) == 6)
    assert got == [("1", 1), ("2", 1), ("3", 1), ("4", 1), ("gap", 1), ("9", 1)]
    eventually(lambda: old.pair is None)


def test_what_is_left_and_wanted_again_while_the_old_link_goes_begins_anew(connect, peer):
    """It is active when the new link has it, and had no hole: what the old one was to bring was for somebody else."""
    closing, gone, talks = threading.Event(), threading.Event(), {}

    def script(talk):
        talks[talk.number] = talk
        talk.subscribed()
        if talk.number == 1:
            talk.json(trade(1))
            with pytest.raises(Gone):
                talk.until_gone()
            closing.set()
            assert gone.wait(10)
            return
        talk.ack(talk.read_request("unsubscribe"))
        request = talk.read_request("subscribe")
        assert gone.wait(10)
        talk.ack(request)
        talk.json(trade(5))
        talk.until_gone()

    got, again = [], []
    ws = connect(urls=peer(script).urls, markers=True, backfill=False)
    watch = Watch(ws)
    ws.subscribe("tickers", instId="BTC-USDT", queue=True)
    subscription = ws.subscribe("trades", instId="BTC-USDT", handler=got.append)
    eventually(lambda: len(got) == 1)
    assert ws.rotate() == 1
    assert closing.wait(5)
    subscription.unsubscribe()
    twin = ws._lines["public"].connections[1].session.subscriptions.find(TRADES)
    eventually(lambda: twin.wire == "off" or twin not in ws._lines["public"].connections[1].session.subscriptions)
    second = ws.subscribe("trades", instId="BTC-USDT", handler=again.append)
    assert second.state == "pending"
    gone.set()
    second.wait(5)
    eventually(lambda: len(again) == 1)
    eventually(lambda: [line.pair for line in ws._lines["public"].connections] == [None])
    assert "data" in again[0] and watch.of("gap") == []
