"""`callbacks`: the older class's callbacks are called for what happens, each with the arguments it takes."""

import json
import queue
import threading

import pytest

from okx_ws import ConnectionLost, LoginError, OkxWebSocketManager, SubscribeError
from okx_ws.callbacks import Callback
from tests.peer import PONG, frame
from tests.watch import Watch


class Told(OkxWebSocketManager):
    """Collects what its callbacks are told."""

    def _prepare(self):
        super()._prepare()
        self.told = queue.Queue()

    def on_open(self, ws):
        self.told.put(("open", ws))

    def on_error(self, ws, error):
        self.told.put(("error", error))

    def on_close(self, ws, code, msg):
        self.told.put(("close", code))

    def on_pong(self, ws, payload):
        self.told.put(("pong", payload))


def test_on_open_on_error_and_on_close_fire_per_link(exchange, older):
    """At each loss, and at the close."""
    ws = older(Told, exchange)
    ws.public_subscribe("btc")
    assert ws.told.get(timeout=5) == ("open", ws.ws)
    exchange.drop()
    kind, error = ws.told.get(timeout=5)
    assert kind == "error" and isinstance(error, ConnectionLost)
    assert ws.told.get(timeout=5) == ("close", 1006)
    assert ws.told.get(timeout=5) == ("open", ws.ws)
    exchange.close_all(1000)
    assert ws.told.get(timeout=5) == ("close", 1000)
    assert ws.told.get(timeout=5) == ("open", ws.ws)
    ws.close()
    assert ws.told.get(timeout=5) == ("close", 1000)
    assert ws.told.empty()


def test_on_error_tells_what_cannot_be_reached_and_what_is_refused(exchange, older):
    """Failed attempts, refused channels, refused logins."""
    ws = older(Told, exchange=None, urls={**exchange.urls, "business": "ws://127.0.0.1:9/ws/v5/business"})
    ws.channels = [{"channel": "candle1m", "instId": "BTC-USDT"}]
    threading.Thread(target=ws.listenStreams, daemon=True).start()
    kind, error = ws.told.get(timeout=5)
    assert kind == "error" and "127.0.0.1 port 9" in str(error)
    ws.close()
    ws = older(Told, exchange)
    ws.ws.send(json.dumps({"op": "subscribe", "args": [{"channel": "tickers", "instId": "NO-SUCH"}]}))
    assert ws.told.get(timeout=5)[0] == "open"
    kind, error = ws.told.get(timeout=5)
    assert isinstance(error, SubscribeError) and error.arg["instId"] == "NO-SUCH"
    ws.close()
    ws = older(Told, exchange, **{**exchange.credentials, "passphrase": "wrong"})
    ws.private_subscribe()
    errors = [ws.told.get(timeout=5) for _ in range(2)]
    assert any(isinstance(error, LoginError) for _, error in errors)


def test_on_pong_gets_control_pongs(peer, older):
    """The text pong is OKX's own matter."""

    def script(talk):
        talk.subscribed()
        talk.send(frame(b"abc", PONG))
        talk.until_gone()

    ws = older(Told, exchange=None, urls=peer(script).urls)
    ws.public_subscribe("btc")
    assert [ws.told.get(timeout=5)[0] for _ in range(2)] == ["open", "pong"]


def test_a_callback_that_raises_harms_nobody(exchange, older):
    """It is told with its name; the others are called all the same."""

    class Bad(Told):
        def on_error(self, ws, error):
            raise ZeroDivisionError

    ws = older(Bad, exchange)
    watch = Watch(ws)
    ws.public_subscribe("btc")
    assert ws.told.get(timeout=5)[0] == "open"
    exchange.drop()
    assert ws.told.get(timeout=5) == ("close", 1006)
    assert "Bad.on_error" in watch.wait("handler_error").msg


@pytest.mark.parametrize(
    ("function", "gets"),
    [
        (lambda: (), ()),
        (lambda msg: (msg,), ("msg",)),
        (lambda ws, msg: (ws, msg), ("ws", "msg")),
        (lambda *args: args, ("ws", "msg")),
        (lambda a, b, c=None: (a, b), ("ws", "msg")),
        (lambda msg, *, key=None: (msg,), ("msg",)),
    ],
)
def test_a_callback_gets_the_last_arguments_it_takes(function, gets):
    """Design 3.6."""
    assert Callback("ws", function)("msg") == gets


def test_the_older_way_to_reconnect_is_harmless(exchange, older):
    """`listenStreams` from `on_close`: links are back by themselves, and callbacks go on."""

    class Again(Told):
        def on_close(self, ws, code, msg):
            super().on_close(ws, code, msg)
            self.listenStreams()

    ws = older(Again, exchange)
    ws.public_subscribe("btc")
    assert ws.told.get(timeout=5)[0] == "open"
    for _ in range(2):
        exchange.drop()
        assert [ws.told.get(timeout=5)[0] for _ in range(3)] == ["error", "close", "open"]
    ws.close()
    assert ws.told.get(timeout=5) == ("close", 1000)
