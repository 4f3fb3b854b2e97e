"""Odd requests: whatever a client sends, the connection goes on and the answer is OKX's."""

import contextlib
import gc
import logging
import socket
import time
import weakref
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as dial

from okx_ws.exchange import LocalExchange
from okx_ws.exchange.desk import REQUESTS, REQUESTS_PER_H, Desk
from okx_ws.exchange.recent import Recent
from tests.exchange.client import talk
from tests.watch import eventually

BTC = '{"channel":"tickers","instId":"BTC-USDT"}'
LOGIN = '{{"op":"login","args":[{{"apiKey":"local-key","passphrase":"x","timestamp":"{}","sign":"{}"}}]}}'


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"op":"subscribe","args":[{"channel":"tickers","instId":5}]}', "60013"),
        ('{"op":"subscribe","args":[{"channel":"tickers","instId":["BTC-USDT"]}]}', "60013"),
        ('{"op":"subscribe","args":[{"channel":{},"instId":null}]}', "60013"),
        ('{"op":"unsubscribe","args":[{"channel":"tickers","instId":{}}]}', "60013"),
        ('{"op":"subscribe","args":[{"channel":"tickers","instId":' + "[" * 300 + "]" * 300 + "}]}", "60013"),
        ('{"op":"subscribe","args":[{}]}', "60018"),
        ('{"op":' + "[" * 900 + "]" * 900 + "}", "60012"),
        ("[" * 5000, "60012"),
        ('{"op":5,"args":[]}', "60012"),
        ('{"op":["subscribe"],"args":[' + BTC + "]}", "60012"),
        ('{"op":"\\ud800","args":[]}', "60012"),
        ('{"op":"' + "x" * 1000 + '"}', "60019"),
        ('{"op":"subscribe","args":{"channel":"tickers"}}', "60012"),
        ('{"op":"login"}', "60012"),
        ('{"op":"login","args":["x"]}', "60012"),
        ('{"op":"login","args":[{},{}]}', "60031"),
        ('{"op":"login","args":[{"apiKey":{"a":[]}}]}', "60032"),
        (LOGIN.format("nan", "x"), "60004"),
        (LOGIN.format("inf", "x"), "60004"),
        (LOGIN.format("1e9", "x"), "60004"),
        (LOGIN.format("", "x"), "60004"),
        (LOGIN.format("\u0661\u0662", "x"), "60004"),
        (LOGIN.format(int(time.time() * 1000), "x"), "60006"),
    ],
)
def test_an_odd_request_is_refused_and_the_connection_goes_on(text, code, exchange):
    """Never a 1011: values of any type, any depth, any clock."""
    with talk(exchange) as client:
        answer = client.ask(text)
        assert (answer["event"], answer["code"]) == ("error", code) and answer["msg"]
        assert client.ask("ping") == "pong"


@pytest.mark.parametrize("sign", ["\u00e9", "\U0001f600", "", "\\u0000"])
def test_a_signature_of_any_characters_is_only_wrong(sign, exchange):
    """60007, also outside ASCII."""
    with talk(exchange, "private") as client:
        assert client.ask(LOGIN.format(int(time.time()), sign))["code"] == "60007"
        assert client.ask("ping") == "pong"


def test_a_timestamp_may_have_a_fraction(exchange):
    """OKX's own samples send one."""
    with talk(exchange, "private") as client:
        assert client.ask(LOGIN.format(f"{time.time():.3f}", "x"))["code"] == "60007"


@pytest.mark.parametrize("id", ['""', '"a-b"', '"' + "x" * 33 + '"', "5", "{}", '"\u00e9"'])
def test_an_id_is_letters_and_digits(id, exchange):
    """At most 32 of them; else the request is refused, and the id is not repeated."""
    with talk(exchange) as client:
        answer = client.ask('{"id":' + id + ',"op":"subscribe","args":[' + BTC + "]}")
        assert (answer["code"], answer["msg"]) == ("60033", "Parameter id error") and "id" not in answer


def test_binary_frames_are_read_as_text(exchange):
    """Bytes that are no UTF-8 included."""
    with talk(exchange) as client:
        client.ws.send(b"ping")
        assert client.get() == "pong"
        client.ws.send(b'{"op":"\xff\xfe"}')
        assert client.get()["code"] == "60019"


def test_a_bug_of_the_exchange_is_logged_and_answered(exchange, caplog, monkeypatch):
    """64007, and the connection goes on."""
    monkeypatch.setattr(Desk, "_subscribe", lambda self, args, id: 1 / 0)
    with talk(exchange) as client, caplog.at_level(logging.ERROR, "okx_ws.exchange"):
        assert client.ask('{"op":"subscribe","args":[' + BTC + "]}")["code"] == "64007"
        assert client.ask("ping") == "pong"
    assert "failed at a request" in caplog.text and "ZeroDivisionError" in caplog.text


def test_what_is_remembered_of_clients_is_bounded(exchange):
    """The newest requests, like a list."""
    with talk(exchange) as client:
        for number in range(REQUESTS + 10):
            client.send('{"op":"x' + str(number) + '"}')
        client.ask("ping")
        while client.get() != "pong":
            pass
        requests = exchange.desks[0].requests
        assert len(requests) == REQUESTS and requests[-1] == {"op": f"x{REQUESTS + 9}"}
    for record in (requests, exchange.desks, exchange.connects, exchange.rest.requests):
        assert isinstance(record, Recent)


def test_a_desk_is_remembered_without_its_connection(exchange):
    """A thousand remembered sockets would be a leak."""
    with talk(exchange) as client:
        client.ask("ping")
        line = weakref.ref(exchange.hub.lines[0])
    eventually(lambda: not exchange.hub.lines)
    eventually(lambda: gc.collect() is not None and line() is None)
    assert len(exchange.desks) == 1


def test_a_recent_list_is_a_list():
    """Compared, indexed, sliced, concatenated as one."""
    found = Recent(3)
    assert found == []
    for number in range(5):
        found.append(number)
    assert found == [2, 3, 4] and found[0] == 2 and found[1:] + found[:1] == [3, 4, 2]


def test_a_connection_that_never_subscribes_is_closed_as_idle():
    """On each endpoint, with 4004; see okx-protocol 2."""
    with LocalExchange(idle_s=0.2) as exchange:
        for endpoint in ("public", "private", "business"):
            with talk(exchange, endpoint) as client:
                with pytest.raises(ConnectionClosed) as caught:
                    client.get()
                assert caught.value.rcvd.code == 4004


def test_a_failed_login_may_end_the_connection():
    """With 4001, after the error; a switch, since OKX's docs and captures do not agree."""
    with LocalExchange(close_failed_logins=True) as exchange, talk(exchange, "private") as client:
        assert client.ask(LOGIN.format(int(time.time()), "x"))["code"] == "60007"
        with pytest.raises(ConnectionClosed) as caught:
            client.get()
        assert caught.value.rcvd.code == 4001


def test_a_strict_exchange_takes_so_many_requests_an_hour():
    """480 of subscribe, unsubscribe and login, whatever their args; pings are not counted."""
    with LocalExchange(strict=True) as exchange, talk(exchange) as client:
        for _ in range(REQUESTS_PER_H):
            client.send('{"op":"unsubscribe","args":[' + BTC + "]}")
            client.send("ping")
        answers = [client.get() for _ in range(2 * REQUESTS_PER_H)]
        assert {a["event"] for a in answers if a != "pong"} == {"unsubscribe"}
        assert client.ask('{"op":"subscribe","args":[' + BTC + "]}")["code"] == "60014"
        assert client.ask(LOGIN.format(int(time.time()), "x"))["code"] == "60014"
        exchange.clock_skew_s = 3600
        assert client.ask('{"op":"subscribe","args":[' + BTC + "]}")["event"] == "subscribe"


def test_a_strict_exchange_takes_three_connections_a_second():
    """HTTP 429 for more; a second later it is open again."""
    with LocalExchange(strict=True) as exchange, contextlib.ExitStack() as stack:
        for _ in range(3):
            assert stack.enter_context(talk(exchange)).ask("ping") == "pong"  # it is counted by now
        with pytest.raises(InvalidStatus, match="429"), talk(exchange):
            pass
        exchange.call(exchange.connects.clear)
        with talk(exchange) as client:
            assert client.ask("ping") == "pong"


def test_a_path_may_have_a_query(exchange):
    """brokerId of older docs."""
    with dial(exchange.urls["public"] + "?brokerId=9999", proxy=None) as ws:
        ws.send("ping")
        assert ws.recv(5) == "pong"


@pytest.mark.parametrize("path", ["//[", "/", "*", "/ws/v5", "/ws/v5/public/", "/ws/v5/Public"])
def test_an_odd_path_is_not_found(path, exchange):
    """404, whatever it is."""
    with socket.create_connection(("127.0.0.1", urlsplit(exchange.urls["public"]).port), timeout=5) as sock:
        upgrade = f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        sock.sendall(f"{upgrade}Sec-WebSocket-Key: {'A' * 22}==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        assert sock.recv(1000).startswith(b"HTTP/1.1 404")
