"""Faults of what is sent: judged with a client of another make."""

import json
import time

import pytest
from websockets.exceptions import ConnectionClosed

from okx_ws.config import Credentials
from okx_ws.exchange import LocalExchange
from okx_ws.protocol.auth import login_request
from tests.exchange.client import talk
from tests.watch import eventually

TICKERS = {"channel": "tickers", "instId": "BTC-USDT"}
TRADES = {"channel": "trades", "instId": "BTC-USDT"}
BOOKS = {"channel": "books", "instId": "BTC-USDT"}


@pytest.fixture
def busy():
    """An exchange whose world runs ten times faster."""
    with LocalExchange(speed=10) as running:
        yield running


def channels(client, seconds):
    """Return which channels push within a time."""
    found, end = set(), time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            found.add(client.pushes(1, timeout=0.1)[0]["arg"]["channel"])
        except TimeoutError:
            pass
    return found


def test_a_stall_is_of_the_channel_that_is_named(busy):
    """On a link that is up and answers; and it ends."""
    with talk(busy) as client:
        client.subscribe(TICKERS, BOOKS)
        client.pushes(2)
        fault = busy.faults.start("stall", channel="book*")
        client.pushes(3)
        assert channels(client, 0.3) == {"tickers"}
        assert client.ws.ping().wait(5)
        fault.stop()
        eventually(lambda: client.pushes(1)[0]["arg"]["channel"] == "books")


def test_a_gap_breaks_the_chain_of_a_book(busy):
    """One update is not sent; the log says which."""
    with talk(busy) as client:
        client.subscribe(BOOKS)
        last = client.pushes(1)[0]["data"][0]["seqId"]
        busy.faults.start("gap", channel="books")
        while (row := client.pushes(1)[0]["data"][0])["prevSeqId"] == last:
            last = row["seqId"]
        (strike,) = busy.faults.log
        assert strike.text == f"push books BTC-USDT prevSeqId {last} seqId {row['prevSeqId']}"


def test_a_gap_leaves_a_trade_out(busy):
    """Its tradeId is missing."""
    with talk(busy, "business") as client:
        client.subscribe({**TRADES, "channel": "trades-all"})
        last = int(client.pushes(1)[0]["data"][0]["tradeId"])
        busy.faults.start("gap", instId="BTC-USDT")
        while (id := int(client.pushes(1)[0]["data"][0]["tradeId"])) == last + 1:
            last = id
        assert id == last + 2 and f"tradeId {last + 1}" in busy.faults.log[0].text


def test_a_gap_spares_snapshots(busy):
    """There a lost one is another fault."""
    busy.faults.start("gap", channel="books", times=3)
    with talk(busy) as client:
        client.subscribe(BOOKS)
        assert client.pushes(1)[0]["action"] == "snapshot"


@pytest.mark.parametrize("how", ["json", "empty", "other", "binary"])
def test_a_corrupt_push_is_no_message(how, busy):
    """And the link goes on."""
    with talk(busy) as client:
        client.subscribe(TICKERS)
        client.pushes(1)
        busy.faults.start("corrupt", how=how)
        found = None
        while found is None:
            data = client.ws.recv(5)
            try:
                message = json.loads(data) if isinstance(data, str) else None
            except ValueError:
                message = None
            if not isinstance(message, dict) or "data" not in message:
                found = data
        assert isinstance(found, bytes) == (how == "binary") and (found == "") == (how == "empty")
        assert client.pushes(1)


def test_a_push_that_is_no_utf8_is_a_text_frame(busy):
    """A client of another make closes it with 1007."""
    with talk(busy) as client:
        client.subscribe(TICKERS)
        client.pushes(1)
        busy.faults.start("corrupt", how="utf8")
        with pytest.raises(ConnectionClosed) as caught:
            client.pushes(100)
        assert caught.value.sent.code == 1007


def test_a_push_and_an_ack_may_come_twice(exchange):
    """duplicate."""
    exchange.faults.start("duplicate", what="ack")
    exchange.faults.start("duplicate")
    with talk(exchange) as client:
        client.subscribe(TICKERS)
        first, second, push, again = (client.get() for _ in range(4))
        assert first == second and first["event"] == "subscribe"
        assert push == again and push["arg"] == TICKERS


def test_pushes_may_come_in_another_order(busy):
    """The held one right after the next one of its arg."""
    with talk(busy, "business") as client:
        client.subscribe({**TRADES, "channel": "trades-all"})
        client.pushes(1)
        assert busy.faults.start("reorder").wait()
        ids = [int(client.pushes(1)[0]["data"][0]["tradeId"]) for _ in range(2)]
        while ids[-1] > ids[-2]:
            ids.append(int(client.pushes(1)[0]["data"][0]["tradeId"]))
        assert ids[-2:] == [ids[-1] + 1, ids[-1]] and ids[:-2] == list(range(ids[0], ids[-1]))
        assert int(client.pushes(1)[0]["data"][0]["tradeId"]) == ids[-2] + 1


def test_a_held_push_comes_if_nothing_follows(exchange):
    """hold_s."""
    exchange.faults.start("reorder", hold_s=0.2)
    with talk(exchange) as client:
        client.subscribe({"channel": "index-tickers", "instId": "BTC-USDT"})
        exchange.world.step = lambda dt_ms: {}  # nothing happens any more
        assert client.pushes(1, timeout=3)


def test_the_answer_to_an_order_may_come_after_its_push(exchange):
    """The hook that order matching meets: a reply is held until the next push or reply."""
    with talk(exchange, "private") as client:
        client.ask("ping")
        exchange.faults.start("reorder", what="reply")
        exchange.say('{"id":"o1","op":"order","code":"0","msg":"","data":[]}')
        exchange.say('{"arg":{"channel":"orders","instType":"ANY","uid":"1"},"data":[{"ordId":"7"}]}')
        assert [client.get().get("op") for _ in range(2)] == [None, "order"]


@pytest.mark.parametrize("what", ["pong", "ack", "login", "push", "all"])
def test_what_is_slow_comes_late_and_in_order(what, exchange):
    """Everything, or only one kind."""
    exchange.faults.start("slow", what=what, delay_s=0.4, spread=0.2)
    with talk(exchange, "private") as client:
        start = time.monotonic()
        client.send("ping")
        assert client.get() == "pong"
        assert (time.monotonic() - start > 0.3) == (what in ("pong", "all"))
        start = time.monotonic()
        assert client.login(exchange.accounts[0])["event"] == "login"
        assert (time.monotonic() - start > 0.3) == (what in ("login", "all"))
        start = time.monotonic()
        client.subscribe({"channel": "balance_and_position"})
        messages = [client.get() for _ in range(3)]
        times = time.monotonic() - start
        kinds = [message.get("event", "push") for message in messages]
        late_ack = ["channel-conn-count", "push", "subscribe"]
        assert kinds == (late_ack if what == "ack" else ["subscribe", "channel-conn-count", "push"])
        assert (times > 0.3) == (what in ("ack", "push", "all"))


def test_what_follows_something_slow_does_not_overtake_it(exchange):
    """Not even what was not struck."""
    exchange.faults.start("slow", what="push", delay_s=0.5, times=1)
    with talk(exchange) as client:
        client.subscribe(BOOKS)
        rows = [push["data"][0] for push in client.pushes(8)]
        assert [row["prevSeqId"] for row in rows] == [-1, *(row["seqId"] for row in rows[:-1])]


def test_a_login_may_be_met_with_silence(exchange):
    """Acceptance 21; it has worked all the same."""
    exchange.faults.start("login_silence")
    with talk(exchange, "private") as client:
        client.send(login_request(Credentials(**exchange.credentials), time.time()))
        assert client.ask("ping") == "pong"
        assert exchange.desks[0].account is exchange.accounts[0]


@pytest.mark.parametrize("what", ["subscribe", "unsubscribe"])
def test_an_ack_may_be_lost(what, exchange):
    """What was asked for is done."""
    exchange.faults.start("ack_lost", what=what)
    with talk(exchange) as client:
        client.subscribe(TICKERS)
        first = client.get()
        assert ("event" in first) == (what == "unsubscribe")
        client.send({"op": "unsubscribe", "args": [TICKERS]})
        client.send({"op": "unsubscribe", "args": [BOOKS]})
        told = []
        while BOOKS not in told:
            message = client.get()
            told += [message["arg"]] if message.get("event") == "unsubscribe" else []
        assert told == ([BOOKS] if what == "unsubscribe" else [TICKERS, BOOKS])
        assert exchange.desks[0].args == {}


def test_faults_act_upon_each_other(exchange):
    """Twice, and late."""
    exchange.faults.start("duplicate")
    exchange.faults.start("slow", what="push", delay_s=0.3)
    with talk(exchange) as client:
        start = time.monotonic()
        client.subscribe(TICKERS)
        first, second = client.pushes(2)
        assert first == second and time.monotonic() - start > 0.25
