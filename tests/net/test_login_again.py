"""`login_again`: a new key without a restart, and what OKX says of the old one meanwhile (4001, 4007)."""

import logging
import threading

import pytest

from okx_ws import AckTimeout, LoginError, ManagerClosed, UsageError, safeguards
from okx_ws.exchange import Account, LocalExchange
from okx_ws.net import handover, pairs
from tests.peer import close_frame
from tests.trading import ORDER, accepted
from tests.watch import Watch, eventually

OLD = {"apiKey": "old-key-123", "secretKey": "old-secret-123", "passphrase": "old-phrase-123"}
#: Nobody listens: that both keys are of one account cannot be shown.
NO_REST = "http://127.0.0.1:9"
NEW = {"apiKey": "new-key-456", "secretKey": "new-secret-456", "passphrase": "new-phrase-456"}


class Keys:
    """A scripted exchange that accepts only the keys in `good`, and closes with 4007 when told."""

    def __init__(self, *good):
        self.good, self.logins, self.talks = set(good), [], []
        self.answer = accepted

    def __call__(self, talk):
        talk.upgrade()
        self.talks.append(talk)
        while True:
            request = talk.read_request()
            if request["op"] == "login":
                self._login(talk, request["args"][0]["apiKey"])
            elif request["op"] == "subscribe":
                talk.ack(request)
                talk.json({"arg": {**request["args"][0], "uid": "1"}, "data": [{"link": talk.number}]})
            elif (reply := self.answer(request)) is not None:
                talk.json(reply)

    def _login(self, talk, key):
        self.logins.append(key)
        if key in self.good:
            talk.json({"event": "login", "code": "0", "msg": "", "connId": "c0"})
        else:
            talk.json({"event": "error", "code": "60005", "msg": "Invalid apiKey", "connId": "c0"})


@pytest.fixture
def keys():
    return Keys(OLD["apiKey"], NEW["apiKey"])


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """On loopback no connection lags behind another for seconds."""
    monkeypatch.setattr(pairs, "ALONE_S", 0.05)
    monkeypatch.setattr(pairs, "LAG_S", 0.05)


@pytest.fixture
def ws(keys, peer, connect, monkeypatch):
    """A manager with the old key, that cannot ask REST whose keys they are, and does not try for long."""
    monkeypatch.setattr(safeguards, "PROOF_S", 0.1)
    return connect(urls={**peer(keys).urls, "rest": NO_REST}, clock_sync=False, **OLD)


def test_a_new_key_takes_over_and_the_streams_go_on(keys, ws):
    """The link is made anew, since OKX knows no second login on one, and the keys may be of two accounts."""
    watch = Watch(ws)
    stream = ws.subscribe("account").wait(5)
    assert ws.get(timeout=5)["data"] == [{"link": 1}]
    ws.login_again(**NEW)
    assert keys.logins == [OLD["apiKey"], NEW["apiKey"]]
    assert ws.get(timeout=5)["data"] == [{"link": 2}] and stream.wait(5).state == "active"
    assert "key was replaced" in watch.wait("disconnected").msg and not watch.of("login_failed")
    assert ws.apiKey == NEW["apiKey"]


def test_a_deleted_key_stops_its_streams_until_there_is_a_new_one(keys, ws):
    """okx-protocol 2.2: 4007 is final for the old key, and for nothing else."""
    watch = Watch(ws)
    stream = ws.subscribe("account").wait(5)
    assert ws.get(timeout=5)["data"] == [{"link": 1}]
    keys.good.remove(OLD["apiKey"])
    keys.talks[-1].send(close_frame(4007, "API key was changed or deleted"))
    assert watch.wait("login_failed").code == "4007"
    with pytest.raises(LoginError, match="4007"):
        stream.wait(5)
    with pytest.raises(LoginError):
        ws.place_order(**ORDER)
    assert len(keys.logins) == 1, "it is not tried again"
    ws.login_again(**NEW)
    assert stream.wait(5).state == "active" and ws.place_order(**ORDER).ok
    assert ws.get(timeout=5)["data"] == [{"link": 2}]


def test_a_refused_key_is_replaced(keys, ws):
    """The first login failed; nobody has to subscribe anew."""
    keys.good.remove(OLD["apiKey"])
    stream = ws.subscribe("account")
    with pytest.raises(LoginError, match="60005"):
        stream.wait(5)
    with pytest.raises(LoginError):
        ws.get(timeout=5)
    ws.login_again(**NEW)
    assert stream.wait(5).state == "active" and ws.get(timeout=5)["data"]


def test_a_new_key_that_okx_refuses_is_an_error(keys, ws):
    """And the next one may do."""
    stream = ws.subscribe("account").wait(5)
    keys.good.discard(NEW["apiKey"])
    with pytest.raises(LoginError, match="60005"):
        ws.login_again(**NEW)
    assert stream.state == "rejected"
    ws.login_again(**OLD)
    assert stream.wait(5).state == "active"


def test_orders_under_way_are_answered_first(keys, ws):
    """Their link is ended only then; new ones wait for the new link."""
    arrived = threading.Event()
    held = []

    def answer(request):
        if not held:
            held.append(request)
            arrived.set()
            return None
        return accepted(request)

    keys.answer = answer
    first = ws.place_order_nowait(**ORDER, timeout=20)
    assert arrived.wait(5)
    with pytest.raises(AckTimeout):
        ws.login_again(**NEW, timeout=0.2)
    second = ws.place_order_nowait(**ORDER, timeout=20)
    assert keys.logins == [OLD["apiKey"]] and not second.done()
    keys.talks[0].json(accepted(held[0]))
    assert first.result(5).ok and second.result(5).ok and keys.logins[-1] == NEW["apiKey"]


def test_what_okx_says_of_the_old_key_does_not_hurt_the_new_one(keys, ws):
    """The old one is deleted while the new one is about to log in."""
    arrived = threading.Event()
    keys.answer = lambda request: arrived.set()
    ws.subscribe("account").wait(5)
    ws.place_order_nowait(**ORDER, timeout=20)
    assert arrived.wait(5)
    with pytest.raises(AckTimeout):
        ws.login_again(**NEW, timeout=0.1)
    keys.talks[0].send(close_frame(4007))
    eventually(lambda: keys.logins == [OLD["apiKey"], NEW["apiKey"]])
    ws.login_again(**NEW)
    assert ws.subscribe("positions", instType="ANY").wait(5)


def two_keys(exchange, uid=None):
    """Give the exchange's account a second key, or another account one; return it."""
    other = exchange.accounts[0] if uid is None else Account(uid=uid)
    exchange.hub.accounts["second-key"] = other
    return {**exchange.credentials, "apiKey": "second-key"}


@pytest.mark.parametrize("redundancy", [1, 2])
def test_a_key_of_the_same_account_takes_over_without_a_hole(redundancy, exchange, connect):
    """Links are handed over, those of public data too, if they are logged in: no loss, no marker, no order refused."""
    ws = connect(exchange, markers=True, redundancy=redundancy, **exchange.credentials)
    watch = Watch(ws)
    orders = ws.subscribe("orders", instType="SPOT", queue=True).wait(5)
    books = ws.subscribe("books-l2-tbt", instId="BTC-USDT", queue=True).wait(5)
    eventually(lambda: books.get(timeout=5)["action"] == "update")
    order = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "px": "50000", "sz": "0.001"}
    over, placed = threading.Event(), []

    def trade():
        while not over.wait(0.02):
            placed.append(ws.place_order(**order).ordId)

    trader = threading.Thread(target=trade)
    trader.start()
    try:
        eventually(lambda: len(placed) > 3)
        ws.login_again(**two_keys(exchange), timeout=20)
        rotated = len(placed)
        eventually(lambda: len(placed) > rotated + 3)
    finally:
        over.set()
        trader.join()
    told = [orders.get(timeout=5) for _ in placed]
    assert [message["data"][0]["ordId"] for message in told] == placed and len(exchange.truth().open) == len(placed)
    assert not watch.of("gap") and not watch.of("disconnected") and not watch.of("login_failed")
    live = [line.desk for line in list(exchange.hub.lines)]
    logins = {desk.requests[0]["args"][0]["apiKey"] for desk in live if desk.account is not None}
    assert logins == {"second-key"}


def test_a_key_of_another_account_is_not_mixed_with_the_old_one(exchange, connect):
    """What two accounts are told must not be merged: the link is made anew, and the hole is told."""
    ws = connect(exchange, **exchange.credentials)
    watch = Watch(ws)
    ws.subscribe("account", queue=True).wait(5)
    ws.login_again(**two_keys(exchange, uid="another"))
    assert "key was replaced" in watch.wait("disconnected").msg and watch.of("gap")


def test_a_hand_over_that_fails_still_changes_the_key(exchange, connect, monkeypatch):
    """Its new link cannot be had in time: the old one is made anew with the new key."""
    monkeypatch.setattr(handover, "HANDOVER_S", 0.3)
    ws = connect(exchange, **exchange.credentials)
    watch = Watch(ws)
    ws.subscribe("account").wait(5)
    fault = exchange.faults.start("refuse", what="upgrade", endpoint="private")
    new = two_keys(exchange)
    with pytest.raises(AckTimeout):
        ws.login_again(**new, timeout=1.0)
    assert "key was replaced" in watch.wait("disconnected").msg
    fault.stop()
    ws.login_again(**new)
    assert ws.subscribe("positions", instType="ANY").wait(5)


def test_an_old_key_that_is_deleted_during_the_hand_over_hurts_nobody(exchange, connect):
    """4007 is about a key that was replaced."""
    ws = connect(exchange, **exchange.credentials)
    watch = Watch(ws)
    stream = ws.subscribe("account").wait(5)
    fault = exchange.faults.start("refuse", what="upgrade", endpoint="private")
    new = two_keys(exchange)
    with pytest.raises(AckTimeout):
        ws.login_again(**new, timeout=0.5)
    exchange.close_all(4007, "API key has been updated or deleted. Please reconnect.", "private")
    fault.stop()
    eventually(lambda: stream.state == "active" and exchange.desks[-1].account is not None)
    assert not watch.of("login_failed") and ws.subscribe("positions", instType="ANY").wait(5)


def test_rest_is_signed_with_the_new_key(connect):
    """Against the local exchange, which checks signatures."""
    with LocalExchange() as exchange:
        ws = connect(exchange, **{**exchange.credentials, "passphrase": "wrong"})
        with pytest.raises(LoginError):
            ws.subscribe("account").wait(5)
        ws.login_again(**exchange.credentials)
        assert ws.rest.balance() and ws.get(timeout=5)["arg"]["channel"] == "account"
        ws.close()


def test_wrong_calls_leave_the_old_key(keys, ws, peer, connect):
    """And nothing is cut."""
    ws.subscribe("account").wait(5)
    for wrong in ({**NEW, "passphrase": ""}, {**NEW, "apiKey": 5}, dict.fromkeys(NEW, "")):
        with pytest.raises(UsageError):
            ws.login_again(**wrong)
    with pytest.raises(UsageError, match="timeout"):
        ws.login_again(**NEW, timeout=0)
    assert ws.apiKey == OLD["apiKey"] and keys.logins == [OLD["apiKey"]]
    with pytest.raises(UsageError, match="no key to replace"):
        connect(urls=peer(keys).urls).login_again(**NEW)
    with pytest.raises(UsageError, match="reconnect=False"):
        connect(urls=peer(keys).urls, reconnect=False, **OLD).login_again(**NEW)
    ws.close()
    with pytest.raises(ManagerClosed):
        ws.login_again(**NEW)


def test_a_manager_without_links_has_the_key_ready(keys, ws):
    """Nothing is connected for it."""
    ws.login_again(**NEW)
    assert ws.stats()["endpoints"] == {}
    ws.subscribe("account").wait(5)
    assert keys.logins == [NEW["apiKey"]]


def test_neither_key_appears_anywhere(keys, ws, caplog):
    """Acceptance 94: OKX may repeat the old one late."""
    with caplog.at_level(logging.DEBUG):
        watch = Watch(ws)
        ws.subscribe("account").wait(5)
        ws.login_again(**NEW)
        keys.talks[-1].json({"event": "error", "code": "60012", "msg": f"Illegal request: {OLD} {NEW}", "connId": "c0"})
        eventually(lambda: any(event.code == "60012" for event in watch.events))
        told = caplog.text + repr(watch.events) + repr(ws) + repr(vars(ws))
    assert not any(secret in told for secret in [*OLD.values(), *NEW.values()])
