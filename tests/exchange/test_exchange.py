"""The local exchange as a server: judged with a client made by others (PyPI's websockets), and with plain HTTP."""

import contextlib
import json
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as dial

from okx_ws.exchange import Account, LocalExchange
from tests.exchange.client import get, mute, talk


@pytest.fixture(scope="module")
def fast():
    """An exchange whose world runs fifty times faster."""
    with LocalExchange(speed=50) as running:
        yield running


def test_acks_come_one_per_arg_in_order_with_id_and_conn_id(exchange):
    """okx-protocol 4.2, 14.3: key order too."""
    with talk(exchange) as client:
        args = [{"channel": "tickers", "instId": i} for i in ("BTC-USDT", "ETH-USDT")]
        client.subscribe(*args, id="s17")
        first = client.ws.recv(5)
        assert list(json.loads(first)) == ["id", "event", "arg", "connId"]
        assert json.loads(first)["arg"] == args[0]
        second = next(m for m in iter(client.get, None) if m.get("event"))
        assert second["arg"] == args[1] and second["id"] == "s17"
        assert len(second["connId"]) == 8 and int(second["connId"], 16) >= 0


def test_an_ack_precedes_its_data(exchange):
    """And pushes carry no connId."""
    with talk(exchange) as client:
        client.subscribe({"channel": "books5", "instId": "BTC-USDT"})
        assert client.get()["event"] == "subscribe"
        push = client.get()
        assert list(push) == ["arg", "data"] and len(push["data"][0]["asks"]) == 5


@pytest.mark.parametrize(
    ("text", "code", "msg"),
    [
        ("hello", "60012", "Illegal request: hello"),
        ('{"op":"subscribe","args":[]}', "60012", "Invalid request"),
        ('{"op":"subscribe","args":["x"]}', "60012", "Invalid request"),
        ("[1]", "60012", "Illegal request"),
        ('{"op":"dance","args":[]}', "60019", "Invalid op: dance"),
        (
            '{"op":"subscribe","args":[{"channel":"tickers","instId":"X"}]}',
            "60018",
            "channel:tickers, instId:X doesn't exist",
        ),
        ('{"op":"subscribe","args":[{"channel":"tickers"}]}', "60018", "channel:tickers doesn't exist"),
        ('{"op":"subscribe","args":[{"channel":"tickers","instId":""}]}', "60018", "doesn't exist"),
        ('{"op":"subscribe","args":[{"channel":"candle1m","instId":"BTC-USDT"}]}', "60018", "channel:candle1m"),
        ('{"op":"subscribe","args":[{"channel":"index-tickers","instId":"BTC-USDT-SWAP"}]}', "60018", "index-tickers"),
        ('{"op":"subscribe","args":[{"channel":"books-l2-tbt","instId":"BTC-USDT"}]}', "60011", "Please log in"),
        ('{"op":"subscribe","args":[{"channel":"instruments","instType":"FISH"}]}', "60018", "instType:FISH"),
    ],
)
def test_refusals_are_worded_as_okx_words_them(text, code, msg, exchange):
    """okx-protocol 4.4: no arg; the socket stays usable."""
    with talk(exchange) as client:
        answer = client.ask(text)
        assert list(answer) == ["event", "msg", "code", "connId"]
        assert answer["code"] == code and msg in answer["msg"]
        assert client.ask("ping") == "pong"


def test_one_bad_arg_does_not_cancel_its_siblings(exchange):
    """Refused and acknowledged in the order of the request."""
    with talk(exchange) as client:
        client.subscribe(*({"channel": "trades", "instId": i} for i in ("BTC-USDT", "X", "ETH-USDT")), id="s1")
        events = [message["event"] for message in (client.get() for _ in range(5)) if "event" in message]
        assert events == ["subscribe", "error", "subscribe"]


@pytest.mark.parametrize("echo", [True, False])
def test_the_id_in_an_error_is_a_switch(echo):
    """OKX's docs echo it, captures do not show it."""
    with LocalExchange(echo_error_ids=echo) as exchange, talk(exchange) as client:
        client.subscribe({"channel": "x"}, id="s1")
        assert (client.get().get("id") == "s1") == echo


def test_a_second_subscription_is_acknowledged_and_changes_nothing(exchange):
    """No second snapshot, no doubled pushes."""
    with talk(exchange) as client:
        arg = {"channel": "books", "instId": "BTC-USDT"}
        client.subscribe(arg)
        client.subscribe(arg)
        messages = [client.get() for _ in range(8)]
        assert [m["event"] for m in messages if "event" in m] == ["subscribe", "subscribe"]
        assert [m["action"] for m in messages if "action" in m].count("snapshot") == 1


def test_a_login_is_really_checked(exchange):
    """Signature, time window, passphrase, twice."""
    account = exchange.accounts[0]
    wrong = {
        "60032": Account(apiKey="unknown"),
        "60007": Account(secretKey="wrong"),
        "60024": Account(passphrase="wrong"),
    }
    for code, other in wrong.items():
        with talk(exchange, "private") as client:
            answer = client.login(other)
            assert list(answer) == ["event", "msg", "code", "connId"] and answer["code"] == code
    with talk(exchange, "private") as client:
        client.subscribe({"channel": "account"})
        assert client.get()["code"] == "60011"
        assert client.login(account, at=time.time() - 40)["code"] == "60006"
        answer = client.login(account)
        assert answer == {"event": "login", "code": "0", "msg": "", "connId": answer["connId"]}
        assert client.login(account)["code"] == "60031"
        client.subscribe({"channel": "account", "extraParams": "{}"})
        assert client.get()["arg"] == {"channel": "account"}
        (push,) = client.pushes(1)
        assert push["arg"] == {"channel": "account", "uid": account.uid}
        assert push["eventType"] == "snapshot" and push["lastPage"] is True
        assert {detail["ccy"] for detail in push["data"][0]["details"]} == {"BTC", "ETH", "USDT"}


def test_trades_add_up_and_agree_between_the_two_channels(fast):
    """tradeId grows by count; trades-all shows the single ones."""
    arg = {"channel": "trades", "instId": "BTC-USDT"}
    with talk(fast) as client, talk(fast, "business") as every:
        every.subscribe({**arg, "channel": "trades-all"})
        assert every.get()["event"] == "subscribe"
        client.subscribe(arg)
        rows = [push["data"][0] for push in client.pushes(20)]
        for before, after in zip(rows, rows[1:], strict=False):
            assert int(after["tradeId"]) - int(after["count"]) == int(before["tradeId"])
        wanted = range(int(rows[0]["tradeId"]) - int(rows[0]["count"]) + 1, int(rows[-1]["tradeId"]) + 1)
        singles = {}
        while wanted[-1] not in singles:
            (push,) = every.pushes(1)
            singles[int(push["data"][0]["tradeId"])] = push["data"][0]
        assert all(id in singles for id in wanted)
        for row in rows:
            own = [singles[int(row["tradeId"]) - i] for i in range(int(row["count"]))]
            assert abs(sum(float(s["sz"]) for s in own) - float(row["sz"])) < 1e-9
            assert {s["px"] for s in own} == {row["px"]} and "count" not in own[0]


@pytest.mark.parametrize(
    ("channel", "instId", "fields"),
    [
        ("tickers", "BTC-USDT-SWAP", 16),
        ("mark-price", "ETH-USDT-SWAP", 4),
        ("index-tickers", "BTC-USDT", 8),
        ("funding-rate", "BTC-USDT-SWAP", 16),
        ("open-interest", "BTC-USDT-SWAP", 6),
        ("price-limit", "BTC-USDT", 5),
    ],
)
def test_state_channels_push_their_state_at_once(channel, instId, fields, exchange):
    """With every field OKX documents; numbers are strings."""
    with talk(exchange) as client:
        client.subscribe({"channel": channel, "instId": instId})
        (push,) = client.pushes(1)
        (row,) = push["data"]
        assert len(row) == fields and row["instId"] == instId and row["ts"].isdigit()
        assert all(isinstance(value, (str, bool)) for value in row.values())


def test_every_type_of_instrument_trades(fast):
    """SPOT, SWAP, FUTURES, OPTION."""
    for instType in ("SPOT", "SWAP", "FUTURES", "OPTION"):
        market = next(m for m in fast.world.markets.values() if m.instrument.instType == instType)
        with talk(fast) as client:
            client.subscribe({"channel": "tickers", "instId": market.instrument.instId})
            assert client.pushes(2)[1]["data"][0]["instType"] == instType


def test_idle_connections_are_closed_with_4004():
    """Thirty seconds on OKX; a ping is traffic."""
    with LocalExchange(idle_s=0.4) as exchange, talk(exchange) as client:
        for _ in range(4):
            client.pause(0.2)
            assert client.ask("ping") == "pong"
        with pytest.raises(ConnectionClosed) as caught:
            client.get()
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4004, "No data received in 30s.")


def test_a_request_that_is_too_long_closes_with_1009(exchange):
    """64 kB."""
    with talk(exchange) as client:
        client.send("x" * 70_000)
        with pytest.raises(ConnectionClosed) as caught:
            client.get()
        assert 1009 in (caught.value.rcvd and caught.value.rcvd.code, caught.value.sent and caught.value.sent.code)


def test_a_wrong_path_is_no_websocket(exchange):
    """HTTP 404."""
    with pytest.raises(InvalidStatus, match="404"):
        dial(exchange.urls["public"] + "x", proxy=None)


def test_connections_can_be_dropped_and_closed(exchange):
    """From Python, by endpoint."""
    with talk(exchange) as public, talk(exchange, "business") as business:
        public.ask("ping"), business.ask("ping")
        assert exchange.drop("public") == 1
        with pytest.raises(ConnectionClosed):
            public.get()
        assert exchange.close_all(4006, "abnormal") == 1
        with pytest.raises(ConnectionClosed) as caught:
            business.get()
        assert caught.value.rcvd.code == 4006


def test_a_service_upgrade_is_announced_before_it_closes(exchange):
    """okx-protocol 8: 64008, data goes on, then the close."""
    with talk(exchange) as client, talk(exchange, "business") as other:
        client.subscribe({"channel": "trades", "instId": "BTC-USDT"})
        client.get()
        assert exchange.notice(0.3, "public") == 1
        notice = next(m for m in iter(client.get, None) if m.get("event") == "notice")
        assert list(notice) == ["event", "code", "msg", "connId"] and notice["code"] == "64008"
        with pytest.raises(ConnectionClosed) as caught:
            while True:
                client.get()
        assert caught.value.rcvd.code == 1001
        assert other.ask("ping") == "pong"


def test_a_taken_port_is_an_error(exchange):
    """From `start`, not a hang."""
    port = int(exchange.urls["public"].split(":")[2].split("/")[0])
    with pytest.raises(OSError, match="address already in use"):
        LocalExchange(port=port).start()


def test_rest_tells_the_time(tls_exchange):
    """Milliseconds, a string; skewed if told so; over https."""
    status, body = get(tls_exchange, "/api/v5/public/time")
    assert status == 200 and body["code"] == "0"
    assert abs(int(body["data"][0]["ts"]) / 1000 - time.time()) < 2
    tls_exchange.clock_skew_s = -40
    _, body = get(tls_exchange, "/api/v5/public/time")
    assert -42 < int(body["data"][0]["ts"]) / 1000 - time.time() < -38


def test_rest_lists_the_instruments(exchange):
    """By type; demo and live differ in their codes."""
    _, body = get(exchange, "/api/v5/public/instruments?instType=SWAP")
    assert {row["instType"] for row in body["data"]} == {"SWAP"}
    row = next(row for row in body["data"] if row["instId"] == "BTC-USDT-SWAP")
    assert type(row["instIdCode"]) is int and row["tickSz"] == "0.1" and row["ctVal"] == "0.01"
    with LocalExchange(demo=True) as demo:
        _, other = get(demo, "/api/v5/public/instruments?instType=SWAP&instId=BTC-USDT-SWAP")
        assert other["data"][0]["instIdCode"] != row["instIdCode"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v5/public/instruments", 400, "50014"),
        ("/api/v5/public/instruments?instType=FISH", 200, "51000"),
        ("/api/v5/public/instruments?instType=OPTION", 400, "50014"),
        ("/api/v5/public/instruments?instType=SPOT&instId=NO-SUCH", 200, "51001"),
        ("/api/v5/nothing", 404, "50404"),
    ],
)
def test_rest_refuses_as_okx_does(path, status, code, exchange):
    """The envelope holds the code, whatever the HTTP status."""
    assert (get(exchange, path)[0], get(exchange, path)[1]["code"]) == (status, code)


def test_the_world_is_seeded():
    """The same seed and steps: the same market."""
    from okx_ws.exchange.instruments import make_instruments
    from okx_ws.exchange.markets import World

    def run(seed):
        world = World(make_instruments(1_784_000_000_000, False), 1_784_000_000_000, seed)
        return [(name, trade) for _ in range(50) for name, trades in world.step(100).items() for trade in trades]

    assert run(1) == run(1) != run(2)


def test_prices_stay_near_their_index():
    """Ten minutes of walking: swaps and futures follow, books stay whole."""
    from okx_ws.exchange.instruments import make_instruments
    from okx_ws.exchange.markets import World

    world = World(make_instruments(1_784_000_000_000, False), 1_784_000_000_000, 3)
    for _ in range(600):
        world.step(1000)
    for market in world.markets.values():
        assert market.bids.best < market.asks.best
        assert len(market.asks) == 400 and len(market.bids) <= 400
        if market.instrument.instType != "OPTION":
            index = world.indices[market.instrument.index].price
            assert abs(market.instrument.price(market.last_ticks) / index - 1) < 0.05


@pytest.fixture
def deaf(exchange):
    """A client that reads nothing, with more on the way to it than buffers hold."""
    with mute(exchange) as sock:
        for _ in range(16):
            exchange.say("x" * 1_000_000)
        yield sock


def test_stop_cuts_a_client_that_does_not_read(exchange, deaf):
    """It would never take part in a closing handshake; a half-made handshake is cut as well."""
    half = socket.create_connection(("127.0.0.1", urlsplit(exchange.urls["public"]).port))
    half.sendall(b"GET /ws/v5/public HT")
    start = time.monotonic()
    exchange.stop()
    assert time.monotonic() - start < 3
    with contextlib.suppress(ConnectionResetError):
        assert half.recv(1) == b""
    half.close()


def test_close_all_cuts_a_client_that_does_not_read(exchange, deaf):
    """Within twice the time a closing handshake is given."""
    assert exchange.close_all(4006, "x") == 1
    start = time.monotonic()
    while exchange.hub.lines:
        assert time.monotonic() - start < 3
        threading.Event().wait(0.01)
