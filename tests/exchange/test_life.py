"""The local exchange's own life: starting, stopping, failing in the open, falling asleep; and odd HTTP."""

import collections
import json
import logging
import socket
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed

from okx_ws.exchange import Account, LocalExchange
from tests.exchange.client import get, talk
from tests.watch import eventually


def test_starting_twice_is_starting_once(exchange):
    """`with` after `start` included."""
    urls = exchange.urls
    with exchange.start() as same:
        assert same is exchange and exchange.urls == urls
        with talk(exchange) as client:
            assert client.ask("ping") == "pong"


def test_before_it_runs_it_has_no_addresses_and_says_so():
    """A port of 0 would be refused as an address, far from the cause."""
    with pytest.raises(RuntimeError, match="does not run yet.*start"):
        LocalExchange().urls  # noqa: B018


def test_two_accounts_cannot_share_a_key():
    """One of them would be out of reach, and nobody would know."""
    with pytest.raises(ValueError, match="two accounts have one apiKey.*Account.apiKey"):
        LocalExchange(accounts=[Account(), Account(uid="2")])


def test_a_stopped_exchange_says_that_it_runs_once(exchange):
    """Not a hang, and nothing half alive."""
    exchange.stop()
    exchange.stop()
    with pytest.raises(RuntimeError, match="make another one"):
        exchange.start()


def test_a_certificate_is_only_there_while_the_exchange_runs(tls_exchange):
    """A path to a file that is gone would fail later, and elsewhere."""
    assert tls_exchange.sslopt
    tls_exchange.stop()
    with pytest.raises(RuntimeError, match="does not run"):
        tls_exchange.sslopt  # noqa: B018
    with pytest.raises(RuntimeError, match="does not run"):
        LocalExchange(tls=True).sslopt  # noqa: B018
    assert LocalExchange().sslopt is None


def test_a_broken_world_ends_the_exchange_in_the_open(monkeypatch, caplog):
    """Logged at once, connections closed, and told by `stop`: it must not look like a quiet market."""
    with caplog.at_level(logging.CRITICAL, "okx_ws.exchange"):
        exchange = LocalExchange().start()
        with talk(exchange) as client:
            client.ask("ping")
            monkeypatch.setattr(exchange.world, "step", lambda dt_ms: 1 / 0)
            with pytest.raises(ConnectionClosed):
                client.get()
        eventually(lambda: "ended by itself" in caplog.text)
    with pytest.raises(RuntimeError, match="ended by itself") as caught:
        exchange.stop()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    exchange.stop()
    with pytest.raises(ConnectionRefusedError), talk(exchange):
        pass


def test_a_broken_world_does_not_hide_what_the_block_raised(monkeypatch):
    """The nearer failure is the one to see."""
    with pytest.raises(KeyError), LocalExchange() as exchange:
        monkeypatch.setattr(exchange.world, "step", lambda dt_ms: 1 / 0)
        eventually(lambda: not exchange._running.alive)
        raise KeyError


def test_waking_up_from_a_long_sleep_makes_no_flood(exchange):
    """Six hours pass in one step: each channel goes on from the present."""
    args = [
        {"channel": channel, "instId": "BTC-USDT"}
        for channel in ("tickers", "books", "bbo-tbt", "trades", "mark-price", "price-limit")
    ]
    with talk(exchange) as client, talk(exchange, "business") as bars:
        client.subscribe(*args)
        bars.subscribe({"channel": "candle1s", "instId": "BTC-USDT"}, {"channel": "candle1m", "instId": "BTC-USDT"})
        client.pushes(len(args)), bars.pushes(2)
        counts = collections.Counter()

        def sleep():
            for desk in exchange.desks:
                desk.send = lambda text: counts.update([json.loads(text)["arg"]["channel"]])
            exchange.hub.step(6 * 3_600_000)
            for desk in exchange.desks:
                desk.send = lambda text: None

        exchange.call(sleep)
        assert counts.pop("candle1s") <= 101 and counts.pop("candle1m") <= 101
        assert counts.pop("trades", 0) <= 5  # one sweep
        assert counts and all(count == 1 for count in counts.values())


def raw(exchange, request):
    """Send an HTTP request as it is; return what comes back until the body's end."""
    with socket.create_connection(("127.0.0.1", urlsplit(exchange.urls["rest"]).port), timeout=5) as sock:
        sock.sendall(request)
        found = b""
        while not found.endswith(b"}"):
            part = sock.recv(65_536)
            assert part, found
            found += part
    return found.decode()


@pytest.mark.parametrize("target", ["//[", "//[/api/v5/public/time", "http://[", "?", "*", "/%ff%00?%ff=%00"])
def test_an_odd_target_is_not_found(target, exchange):
    """404, in OKX's envelope."""
    answer = raw(exchange, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.startswith("HTTP/1.1 404") and json.loads(answer.partition("\r\n\r\n")[2])["code"] == "50404"


def test_a_client_that_asks_to_go_on_is_told_to(exchange):
    """Expect: 100-continue, as curl sends it with a body."""
    with socket.create_connection(("127.0.0.1", urlsplit(exchange.urls["rest"]).port), timeout=5) as sock:
        sock.sendall(b"POST /api/v5/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 100")
        sock.sendall(b"{}")
        assert sock.recv(1000).startswith(b"HTTP/1.1 404")


def test_a_bug_at_a_rest_request_is_logged_and_answered(exchange, caplog, monkeypatch):
    """50026 with 500, and the server goes on."""
    monkeypatch.setattr(exchange.rest, "_clock_ms", lambda: 1 / 0)
    with caplog.at_level(logging.ERROR, "okx_ws.exchange"):
        status, body = get(exchange, "/api/v5/public/time")
    assert (status, body["code"]) == (500, "50026") and "ZeroDivisionError" in caplog.text
    assert get(exchange, "/api/v5/public/instruments?instType=SPOT")[0] == 200
