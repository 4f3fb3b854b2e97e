"""Logging in for real: against the exchange that checks signatures, and peers that refuse."""

import json
import logging

import pytest

from okx_ws import LoginError, OkxWebSocketManager, SubscribeError, UsageError
from okx_ws.exchange import Account, LocalExchange
from tests.watch import Watch, eventually


def test_a_private_stream_logs_in_and_flows(exchange, connect):
    """The signature is checked by the exchange; login comes first."""
    ws = connect(exchange, **exchange.credentials)
    subscription = ws.subscribe("account").wait(5)
    message = ws.get(timeout=5)
    assert message["arg"] == {"channel": "account", "uid": exchange.accounts[0].uid}
    assert message["data"][0]["details"]
    assert subscription.endpoint == "private"
    assert [request["op"] for request in exchange.desks[0].requests] == ["login", "subscribe"]


def test_no_login_where_none_is_needed(exchange, connect):
    """Public data with a key at hand: the key is not sent."""
    ws = connect(exchange, **exchange.credentials)
    ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    assert [request["op"] for request in exchange.desks[0].requests] == ["subscribe"]


def test_a_vip_book_logs_in_on_the_public_endpoint(exchange, connect):
    """books-l2-tbt wants a login there; what came before it goes on."""
    ws = connect(exchange, **exchange.credentials)
    ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    ws.subscribe("books-l2-tbt", instId="BTC-USDT").wait(5)
    assert [request["op"] for request in exchange.desks[0].requests] == ["subscribe", "login", "subscribe"]


@pytest.mark.parametrize("missing", ["apiKey", "secretKey", "passphrase"])
def test_an_incomplete_key_is_refused_before_anything_is_opened(missing, exchange):
    """Acceptance 19: a configuration error."""
    with pytest.raises(UsageError, match=missing):
        OkxWebSocketManager(**{**exchange.credentials, missing: ""}, urls=exchange.urls)
    assert exchange.connects == []


@pytest.mark.parametrize(
    "arg",
    [{"channel": "account"}, {"channel": "orders-algo", "instType": "ANY"}, {"channel": "rfqs"}],
)
def test_a_private_channel_without_a_key_is_refused_before_anything_is_opened(arg, exchange, connect):
    """Acceptance 19, design 3.4."""
    ws = connect(exchange)
    with pytest.raises(UsageError, match="needs a login"):
        ws.subscribe([{"channel": "tickers", "instId": "BTC-USDT"}, arg])
    assert exchange.connects == [] and ws.stats()["endpoints"] == {}


def test_a_vip_book_without_a_key_is_refused_by_okx_itself(exchange, connect):
    """60011, with what to do; the link stays."""
    ws = connect(exchange)
    with pytest.raises(SubscribeError, match="60011.*apiKey"):
        ws.subscribe("books-l2-tbt", instId="BTC-USDT").wait(5)
    ws.subscribe("books", instId="BTC-USDT").wait(5)
    assert len(exchange.connects) == 1


@pytest.mark.parametrize("host", ["ws.okx.com", "192.168.0.1", "localhost.example.com"])
def test_a_login_over_plain_ws_is_refused_locally(host, connect):
    """Acceptance 95: only loopback may see a key in the clear."""
    ws = connect(urls={"private": f"ws://{host}/ws/v5/private"}, apiKey="k", secretKey="s", passphrase="p")
    with pytest.raises(UsageError, match="wss://"):
        ws.subscribe("account")


WRONG = {
    "60032": {"apiKey": "unknown"},
    "60007": {"secretKey": "wrong"},
    "60024": {"passphrase": "wrong"},
}


@pytest.mark.parametrize("code", WRONG)
def test_a_refused_login_is_an_error_and_is_not_hammered(code, exchange, connect):
    """Acceptance 20: an auth error with code and msg; nothing subscribed; no second attempt."""
    ws = connect(exchange, **{**exchange.credentials, **WRONG[code]})
    watch = Watch(ws)
    subscription = ws.subscribe("account")
    with pytest.raises(LoginError) as caught:
        subscription.wait(5)
    assert caught.value.code == code and caught.value.msg and exchange.urls["private"] in str(caught.value)
    assert watch.wait("login_failed").code == code
    assert subscription.state == "rejected"
    with pytest.raises(LoginError):
        ws.get(timeout=5)  # the only endpoint has ended: nothing can come
    later = ws.subscribe("positions", instType="ANY")
    with pytest.raises(LoginError):
        later.wait(5)
    assert [request["op"] for request in exchange.desks[0].requests] == ["login"] and len(exchange.connects) == 1


def test_a_live_key_on_demo_is_explained(connect):
    """50101: the remedy names the setting."""
    with LocalExchange(demo=True, accounts=[Account(demo=False)]) as demo:
        ws = connect(demo, **demo.credentials)
        with pytest.raises(LoginError, match="50101.*sandbox") as caught:
            ws.subscribe("account").wait(5)
        assert caught.value.code == "50101"
        ws.close()


def test_a_bad_key_leaves_public_streams_of_the_endpoint_alive(exchange, connect):
    """On /business, candles go on when orders-algo cannot log in."""
    ws = connect(exchange, **{**exchange.credentials, "passphrase": "wrong"})
    candles = ws.subscribe("candle1m", instId="BTC-USDT")
    algo = ws.subscribe("orders-algo", instType="ANY")
    with pytest.raises(LoginError):
        algo.wait(5)
    candles.wait(5)
    assert ws.get(timeout=5)["arg"]["channel"] == "candle1m"


def test_each_reconnect_signs_afresh(peer, connect):
    """Acceptance 24: a login payload is never sent twice."""

    def script(talk):
        talk.upgrade()
        login = talk.accept_login()
        talk.ack(talk.read_request("subscribe"))
        if talk.number < 3:
            talk.pause(1.05)  # timestamps are whole seconds
            talk.close(1001)
        else:
            talk.text('{"arg":{"channel":"account","uid":"1"},"data":[]}')
            talk.pause(0.1)
        return login["args"][0]

    server = peer(script)
    ws = connect(urls=server.urls, apiKey="k", secretKey="s", passphrase="p")
    ws.subscribe("account")
    assert ws.get(timeout=10)["data"] == []
    logins = [server.results.get(timeout=5) for _ in range(3)]
    assert len({login["timestamp"] for login in logins}) == len({login["sign"] for login in logins}) == 3
    assert all(login["timestamp"].isdigit() and len(login["timestamp"]) == 10 for login in logins)


def test_secrets_appear_nowhere(peer, connect, caplog):
    """Acceptance 25: not in logs at any level, reprs, events, exceptions, stats; not even when OKX repeats them."""

    def script(talk):
        talk.upgrade()
        text = talk.read_text()
        talk.json({"event": "error", "code": "60012", "msg": f"Illegal request: {text}", "connId": "c0"})
        talk.text(text)
        talk.until_gone()

    key = {"apiKey": "key-1234567", "secretKey": "secret-1234567", "passphrase": "phrase-1234567"}
    with caplog.at_level(logging.DEBUG):
        ws = connect(urls=peer(script).urls, **key)
        watch = Watch(ws)
        subscription = ws.subscribe("account")
        with pytest.raises(LoginError) as caught:
            subscription.wait(5)
        watch.wait("login_failed")
        eventually(lambda: ws.stats()["endpoints"]["private"]["state"] != "up")
        ws.close()
    told = [caplog.text, repr(ws), str(vars(ws)), json.dumps(ws.stats()), repr(subscription), repr(caught.value)]
    told += [str(caught.value), repr(watch.events)]
    assert "60012" in str(caught.value)
    for secret in key.values():
        assert not any(secret in text for text in told)


def test_a_refused_subscription_is_an_error_with_its_arg(exchange, connect):
    """60018, and the link stays."""
    ws = connect(exchange)
    good, bad = ws.subscribe([{"channel": "tickers", "instId": i} for i in ("BTC-USDT", "NO-SUCH")])
    with pytest.raises(SubscribeError) as caught:
        bad.wait(5)
    assert caught.value.code == "60018" and caught.value.arg == bad.arg and "expired" in str(caught.value)
    assert good.wait(5).state == "active" and bad.state == "rejected"
    assert len(exchange.connects) == 1


@pytest.mark.parametrize("endpoint", ["public", "private"])
def test_a_wrong_path_is_refused_not_silent(endpoint, exchange, connect):
    """Acceptance 37: candles asked for elsewhere than on /business."""
    ws = connect(exchange, **exchange.credentials)
    with pytest.raises(SubscribeError, match="60018"):
        ws.subscribe("candle1m", instId="BTC-USDT", endpoint=endpoint).wait(5)
    assert ws.subscribe("candle1m", instId="BTC-USDT").wait(5).endpoint == "business"


KEY = {"apiKey": "key-1234567", "secretKey": "secret-1234567", "passphrase": "phrase-1234567"}


def test_a_close_after_a_busy_login_is_an_ordinary_loss(peer, connect):
    """63999 is worth a retry; that OKX closes with 4001 then does not make the key bad."""

    def script(talk):
        talk.upgrade()
        if talk.number == 1:
            talk.read_request("login")
            talk.json({"event": "error", "code": "63999", "msg": "Login failed, internal error", "connId": "c0"})
            talk.close(4001, "Login failed")
        else:
            talk.accept_login()
            talk.ack(talk.read_request("subscribe"))
            talk.until_gone()

    server = peer(script)
    ws = connect(urls=server.urls, **KEY)
    watch = Watch(ws)
    ws.subscribe("account").wait(10)
    assert watch.wait("disconnected").code == "4001" and server.connections == 2


def test_a_close_4001_out_of_the_blue_is_final(peer, connect):
    """OKX's own word for a failed login, without any other."""

    def script(talk):
        talk.upgrade()
        talk.read_request("login")
        talk.close(4001, "Login failed")

    server = peer(script)
    ws = connect(urls=server.urls, **KEY)
    with pytest.raises(LoginError, match="4001"):
        ws.subscribe("account").wait(5)
    assert server.connections == 1


def test_public_channels_revive_an_endpoint_whose_login_was_refused(exchange, connect):
    """Candles need no login, whenever they are subscribed; and the shared queue serves them."""
    ws = connect(exchange, **{**exchange.credentials, "passphrase": "wrong"})
    with pytest.raises(LoginError):
        ws.subscribe("orders-algo", instType="ANY").wait(5)
    with pytest.raises(LoginError):
        ws.get(timeout=5)
    ws.subscribe("candle1m", instId="BTC-USDT").wait(5)
    assert ws.get(timeout=5)["arg"]["channel"] == "candle1m"
    with pytest.raises(LoginError):
        ws.subscribe("orders-algo", instType="SPOT").wait(5)
    assert sum(request["op"] == "login" for desk in exchange.desks for request in desk.requests) == 1


def test_a_passphrase_with_quotes_appears_nowhere(peer, connect, caplog):
    """Acceptance 94: OKX repeats what it could not read, as a JSON text inside a JSON text."""

    def script(talk):
        talk.upgrade()
        text = talk.read_text()
        talk.json({"event": "error", "code": "60012", "msg": f"Illegal request: {text}", "connId": "c0"})
        talk.until_gone()

    with caplog.at_level(logging.DEBUG):
        ws = connect(urls=peer(script).urls, **{**KEY, "passphrase": 'Pa"ss\\w0rd,"}#Longer'})
        with pytest.raises(LoginError) as caught:
            ws.subscribe("account").wait(5)
        ws.close()
    assert "60012" in str(caught.value)
    for part in ("w0rd", "#Longer", KEY["apiKey"]):
        assert part not in caplog.text + str(caught.value)
