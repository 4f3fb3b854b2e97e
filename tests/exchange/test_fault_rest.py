"""Faults of REST: judged with urllib and a bare socket."""

import http.client
import json
import socket
import time
import urllib.error
from urllib.parse import urlsplit

import pytest

from tests.exchange.client import get

TIME, TRADES = "/api/v5/public/time", "/api/v5/market/trades?instId=BTC-USDT"


def test_an_error_has_a_status_and_a_code(exchange):
    """okx-protocol 10.2; once, then the truth."""
    exchange.faults.start("rest_error", status=429, code="50011", msg="Too Many Requests", path="*/time")
    assert get(exchange, TRADES)[0] == 200
    assert get(exchange, TIME) == (429, {"code": "50011", "msg": "Too Many Requests", "data": []})
    assert get(exchange, TIME)[0] == 200
    assert exchange.faults.log[0].text == f"status: GET {TIME}"


def test_an_error_may_be_a_code_alone(exchange):
    """With HTTP 200; as often as it is told."""
    exchange.faults.start("rest_error", how="code", code="50026", times=2)
    assert [get(exchange, TIME)[1]["code"] for _ in range(3)] == ["50026", "50026", "0"]


def test_an_answer_may_be_a_page_for_people(exchange):
    """Of a proxy in between."""
    exchange.faults.start("rest_error", how="html", status=502)
    with pytest.raises(json.JSONDecodeError):
        get(exchange, TIME)


@pytest.mark.parametrize("how", ["cut", "broken"])
def test_an_answer_may_be_none_or_half(how, exchange):
    """The connection ends; or the JSON does."""
    exchange.faults.start("rest_error", how=how)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError, urllib.error.URLError, json.JSONDecodeError)):
        get(exchange, TIME)
    assert get(exchange, TIME)[0] == 200


def test_an_answer_may_never_come(exchange):
    """Until the server gives up."""
    exchange.faults.start("rest_error", how="timeout", delay_s=0.3)
    with socket.create_connection(("127.0.0.1", urlsplit(exchange.urls["rest"]).port), timeout=5) as sock:
        start = time.monotonic()
        sock.sendall(f"GET {TIME} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        try:
            assert sock.recv(100) == b""
        except ConnectionResetError:
            pass
        assert 0.25 < time.monotonic() - start < 3


def test_an_exchange_ends_while_an_answer_is_awaited(exchange):
    """At once."""
    fault = exchange.faults.start("rest_error", how="timeout")
    with socket.create_connection(("127.0.0.1", urlsplit(exchange.urls["rest"]).port), timeout=5) as sock:
        sock.sendall(f"GET {TIME} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert fault.wait()
        start = time.monotonic()
        exchange.stop()
        assert time.monotonic() - start < 3


def test_an_answer_may_be_empty_or_a_lie(exchange):
    """Nothing, or the truth about another instrument."""
    exchange.faults.start("rest_error", how="empty")
    assert get(exchange, "/api/v5/market/ticker?instId=BTC-USDT")[1]["data"] == []
    exchange.faults.start("rest_error", how="lie", times=3)
    assert get(exchange, TIME)[1]["data"] != []
    (row,) = get(exchange, "/api/v5/market/ticker?instId=BTC-USDT")[1]["data"]
    assert row["instId"] == "ETH-USDT"


def test_rest_may_be_slow(exchange):
    """Alone, or with everything else."""
    for what in ("rest", "all"):
        fault = exchange.faults.start("slow", what=what, delay_s=0.3)
        start = time.monotonic()
        assert get(exchange, TIME)[0] == 200
        assert time.monotonic() - start > 0.25
        fault.stop()
    exchange.faults.start("slow", delay_s=5, channel="books")
    start = time.monotonic()
    assert get(exchange, TIME)[0] == 200
    assert time.monotonic() - start < 4
