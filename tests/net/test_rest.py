"""`ws.rest`: over real sockets, against the local exchange and hostile peers; its policies in a time of their own."""

import itertools
import json
import logging
import os
import random
import ssl
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from decimal import Decimal
from pathlib import Path

import pytest
import requests
import responses
import trustme

from okx_ws import ConnectionLost, ManagerClosed, RestClient, RestError, UsageError
from okx_ws.config import Credentials
from okx_ws.exchange import Account, LocalExchange
from okx_ws.net import rest as transport_module
from okx_ws.net.rest import RestTransport
from okx_ws.net.rest_calls import RestCalls
from tests.watch import Watch, eventually

KEY = {"apiKey": "key-1234567", "secretKey": "secret-1234567", "passphrase": "phrase-1234567"}

TIME = "https://rest.invalid/api/v5/public/time"
PATH = "/api/v5/market/ticker"
BALANCE = "/api/v5/account/balance"


# ---------------------------------------------------------------------- one exchange of HTTP


@pytest.fixture
def transport():
    made = RestTransport("https://rest.invalid", ssl.create_default_context(), proxy=False)
    yield made
    made.close()


@responses.activate
def test_the_time_is_read_from_okxs_envelope(transport):
    """Milliseconds as a string."""
    responses.get(TIME, json={"code": "0", "msg": "", "data": [{"ts": "1779000000123"}]})
    assert transport.server_time_s() == 1779000000.123


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        ({"json": {"code": "50011", "msg": "Too Many Requests", "data": []}, "status": 429}, "50011", "HTTP 429"),
        ({"json": {"code": "50001", "msg": "Service temporarily unavailable"}, "status": 503}, "50001", "unavailable"),
        ({"json": {"msg": "API key doesn't exist", "code": "50119"}, "status": 401}, "50119", "HTTP 401"),
        ({"body": "<html>Bad gateway</html>", "status": 502}, "", "not OKX's.*HTTP 502"),
        ({"body": "<html>hello</html>"}, "", "not OKX's"),
        ({"json": []}, "", "not OKX's"),
        ({"json": {"code": "0", "msg": "", "data": []}}, "", "no time"),
        ({"json": {"code": "0", "msg": "", "data": None}}, "0", "no list of rows"),
        ({"json": {"code": "0", "data": [{"ts": "soon"}]}}, "", "no time"),
        ({"status": 302, "headers": {"Location": "https://elsewhere.invalid/"}}, "", "not OKX's.*HTTP 302"),
    ],
)
@responses.activate
def test_answers_that_are_none_are_typed_errors(answer, code, told, transport):
    """Acceptance 89: 429, 5xx, HTML, empty data, redirects: never a wrong number."""
    responses.get(TIME, **answer)
    with pytest.raises(RestError, match=told) as caught:
        transport.server_time_s()
    assert caught.value.code == code and caught.value.path == "/api/v5/public/time"
    assert len(responses.calls) == 1


@pytest.mark.parametrize("fault", [requests.ConnectionError("refused"), requests.Timeout("too slow")])
@responses.activate
def test_no_answer_is_a_lost_connection(fault, transport):
    """Acceptance 89: a typed error, with the kind and the words of its cause."""
    responses.get(TIME, body=fault)
    with pytest.raises(ConnectionLost, match=str(fault)) as caught:
        transport.server_time_s()
    assert type(caught.value.__cause__) is type(fault)


def http(body, status="200 OK", more=""):
    """Return an HTTP answer as bytes."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n{body}".encode()


GOOD = http('{"code":"0","msg":"","data":[{"last":"1.10"}]}')


def drip(talk):
    """Send a head that never ends, a byte at a time."""
    talk.read_head()
    talk.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        talk.send(b"X: y\r\n")
        talk.pause(0.02)


def drip_body(talk):
    talk.read_head()
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        talk.send(b" ")
        talk.pause(0.02)


def drip_chunks(talk):
    talk.read_head()
    talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        talk.send(b"1\r\n \r\n")
        talk.pause(0.02)


def mute(talk):
    talk.read_head()
    talk.pause(30)


def flood(talk):
    talk.read_head()
    talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        talk.send(b" " * 65_536)


def continue_for_ever(talk):
    talk.read_head()
    while True:
        talk.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        talk.pause(0.02)


@pytest.fixture
def plain(peer):
    """Make a transport to a scripted peer."""
    made = []

    def make(script):
        made.append(RestTransport(f"http://127.0.0.1:{peer(script).port}", ssl.create_default_context()))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("script", [drip, drip_body, drip_chunks, mute, continue_for_ever])
def test_a_server_that_never_finishes_costs_the_deadline(script, plain):
    """Acceptance 89: never a hang; a byte now and then does not keep a call alive, in the head or the body."""
    one = plain(script)
    start = time.monotonic()
    with pytest.raises(ConnectionLost, match="timed out|Read timed out"):
        one.ask("GET", PATH, start + 0.4)
    assert 0.3 < time.monotonic() - start < 1


@pytest.mark.parametrize("script", [drip, drip_body, mute])
def test_the_deadline_holds_over_tls(script, peer):
    """Acceptance 89: the same, of what is encrypted."""
    authority, server, client = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    one = RestTransport(f"https://127.0.0.1:{peer(script, context=server).port}", client)
    start = time.monotonic()
    with pytest.raises(ConnectionLost, match="timed out"):
        one.ask("GET", PATH, start + 0.4)
    assert 0.3 < time.monotonic() - start < 1
    one.close()


def test_a_host_that_cannot_be_reached_costs_the_deadline(black_hole):
    """Acceptance 89: connecting has a bound of its own, and the call's."""
    one = RestTransport(f"http://127.0.0.1:{black_hole}", ssl.create_default_context())
    start = time.monotonic()
    with pytest.raises(ConnectionLost, match="timed out"):
        one.ask("GET", PATH, start + 0.3)
    assert time.monotonic() - start < 1
    one.close()


def test_an_answer_without_end_is_cut(plain, monkeypatch):
    """Acceptance 89: memory is bounded too."""
    monkeypatch.setattr(transport_module, "MAX_ANSWER_BYTES", 1_000_000)
    with pytest.raises(ConnectionLost, match="longer than 1000000 bytes"):
        plain(flood).ask("GET", PATH, time.monotonic() + 5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1, 7\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
def test_an_answer_that_breaks_off_or_breaks_http_is_a_typed_error(data, plain):
    """Acceptance 89: a truncated body is never taken for the whole."""

    def script(talk):
        talk.read_head()
        talk.send(data)

    with pytest.raises((ConnectionLost, RestError)):
        plain(script).ask("GET", PATH, time.monotonic() + 5)


def test_redirects_are_not_followed(plain, peer):
    """Acceptance 89: a signature must not travel to another host."""
    elsewhere = peer(lambda talk: talk.read_head())

    def script(talk):
        talk.read_head()
        talk.send(http("", "302 Found", f"Location: {where}\r\n"))

    for where in (f"http://127.0.0.1:{elsewhere.port}/", "http://[", "/", "ftp://x"):
        with pytest.raises((RestError, ConnectionLost)):
            plain(script).ask("GET", PATH, time.monotonic() + 5)
    assert elsewhere.connections == 0


def test_demo_trading_is_said_and_a_path_before_ours_is_kept(peer):
    """x-simulated-trading on every request; a gateway may serve OKX under a path of its own."""
    heads = []

    def script(talk):
        while True:
            heads.append(talk.read_head().decode())
            talk.send(GOOD)

    server = peer(script)
    one = RestTransport(f"http://127.0.0.1:{server.port}/okx/", ssl.create_default_context(), sandbox=True)
    for _ in range(2):
        assert one.ask("GET", f"{PATH}?instId=X", time.monotonic() + 5) == [{"last": "1.10"}]
    one.close()
    assert len(heads) == 2 and server.connections == 1, "the connection is used again"
    for head in heads:
        assert head.startswith("GET /okx/api/v5/market/ticker?instId=X HTTP/1.1\r\n")
        assert "x-simulated-trading: 1" in head and "Authorization" not in head


def test_rest_verifies_with_the_same_context_as_the_links(tls_exchange):
    """A private authority is trusted alone; without it the certificate is refused."""
    trusting = ssl.create_default_context(cafile=tls_exchange.sslopt["ca_certs"])
    authorities = trusting.cert_store_stats()
    good = RestTransport(tls_exchange.urls["rest"], trusting)
    assert abs(good.server_time_s() - time.time()) < 2
    assert trusting.cert_store_stats() == authorities, "nothing was added to it"
    good.close()
    bad = RestTransport(tls_exchange.urls["rest"], ssl.create_default_context())
    with pytest.raises(ConnectionLost, match="CERTIFICATE_VERIFY_FAILED"):
        bad.server_time_s()
    bad.close()


# ---------------------------------------------------------------------- policies, in a time of their own


class Script:
    """A transport that plays outcomes (the last one for ever), and a time that only waits move."""

    numbers = itertools.count()

    def __init__(self, *outcomes, clock=None, draw=1.0, took=0.0):
        self.url = f"https://rest{next(self.numbers)}.invalid"  # limits are counted per address
        self.outcomes, self.asked, self.waits, self.time = list(outcomes), [], [], 1000.0
        self.took = took
        self.stopped = False
        self.calls = RestCalls(
            self, Credentials(**KEY), clock, now=lambda: self.time, wait=self.wait, draw=lambda: draw
        )

    def wait(self, seconds):
        self.waits.append(round(seconds, 3))
        self.time += seconds
        return self.stopped

    def ask(self, method, target, until, headers=None, body=""):
        self.asked.append((method, target, until, headers, body))
        self.time += self.took
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def get(self, path=PATH, timeout=10.0, **params):
        return self.calls.call("GET", path, params, timeout=timeout)

    def post(self, path="/api/v5/trade/order", body=None, timeout=10.0):
        return self.calls.call("POST", path, {}, body, timeout=timeout)


BUSY = RestError("50001", "Service temporarily unavailable", status=503)
FULL = RestError("50011", "Too Many Requests", status=429)
LATE = RestError("50102", "Timestamp request expired", status=401)
LOST = ConnectionLost("REST /x: reset")
WRONG = RestError("51001", "Instrument ID doesn't exist.", status=200)


@pytest.mark.parametrize("failure", [BUSY, LOST, RestError("", "html", status=502)])
def test_a_question_is_asked_again_with_growing_pauses(failure):
    """Acceptance 89: a bounded retry; the ceiling doubles, up to 4 s."""
    script = Script(*[failure] * 5, [{"last": "1"}])
    assert script.get(timeout=60, instId="X") == [{"last": "1"}]
    assert script.waits == [0.25, 0.5, 1.0, 2.0, 4.0]
    assert [asked[1] for asked in script.asked] == [f"{PATH}?instId=X"] * 6


def test_pauses_have_full_jitter():
    """From none at all to the ceiling, so that a thousand clients do not come back at once."""
    for draw, waits in ((0.0, []), (0.5, [0.125])):
        script = Script(BUSY, [{}], draw=draw)
        script.get()
        assert script.waits == waits


def test_retries_end_with_the_deadline_and_tell_the_last_error():
    """Acceptance 89: a total bound; every attempt gets what is left of it."""
    script = Script(BUSY, took=0.3)
    with pytest.raises(RestError) as caught:
        script.get(timeout=3)
    assert caught.value is BUSY and script.time <= 1003.0
    assert {asked[2] for asked in script.asked} == {1003.0} and len(script.asked) > 2


@pytest.mark.parametrize(
    "failure", [WRONG, RestError("50113", "Invalid Sign", status=401), RestError("", "", status=200)]
)
def test_a_refusal_is_told_at_once(failure):
    """Acceptance 89: what cannot become right is not tried again."""
    script = Script(failure)
    with pytest.raises(RestError) as caught:
        script.get()
    assert caught.value is failure and len(script.asked) == 1


def test_a_certificate_that_was_refused_is_not_tried_again():
    """It would be refused again."""
    lost = ConnectionLost("x")
    lost.__cause__ = requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed")
    script = Script(lost)
    with pytest.raises(ConnectionLost):
        script.get()
    assert len(script.asked) == 1


@pytest.mark.parametrize("failure", [BUSY, FULL, LOST, LATE, RestError("", "html", status=502)])
def test_what_is_posted_is_sent_once(failure):
    """Acceptance 89: never an order twice, whatever the answer."""
    script = Script(failure)
    with pytest.raises((RestError, ConnectionLost)) as caught:
        script.post(body={"instId": "X"})
    assert len(script.asked) == 1 and script.waits == []
    unsure = failure is LOST or failure.status >= 500
    assert ("not known whether OKX has carried it out" in str(caught.value)) == unsure


def test_what_was_never_connected_was_not_carried_out():
    """The doubt is told only where there is one."""
    lost = ConnectionLost("refused")
    lost.__cause__ = requests.ConnectionError("Caused by NewConnectionError: refused")
    with pytest.raises(ConnectionLost) as caught:
        Script(lost).post(body={})
    assert caught.value is lost


def test_a_full_window_is_waited_for():
    """429 or 50011: nothing goes until OKX's window is over, in no other call either."""
    script = Script(FULL, [{}], draw=0.0)
    script.get()
    assert script.waits == [2.2]
    script.get()
    assert script.waits == [2.2]


def test_a_window_that_stays_full_is_the_errors_own():
    """The answer of OKX is told, not a time-out of ours."""
    with pytest.raises(RestError) as caught:
        Script(FULL, draw=0.0).get(timeout=2)
    assert caught.value is FULL


def test_okxs_limits_are_kept_by_waiting():
    """okx-protocol 10.3: twenty tickers in two seconds; the twenty-first waits, if it has the time."""
    script = Script([{}])
    for _ in range(20):
        script.get()
    with pytest.raises(RestError, match="no room before the time is up; nothing was sent"):
        script.get(timeout=2)
    assert len(script.asked) == 20 and script.waits == []
    script.get(timeout=3)
    assert script.waits == [2.2]
    script.get(path="/api/v5/market/books")
    assert script.waits == [2.2], "other endpoints have limits of their own"


def test_posted_fields_count_as_parameters():
    """cancel-all-after is counted by its tag, which stands in the body."""
    script = Script([{}])
    for tag in ("a", "b", "a"):
        script.post("/api/v5/trade/cancel-all-after", {"timeOut": "10", "tag": tag})
    assert script.waits == [1.1]


class Clock:
    """OKX's clock, as far as a call sees it."""

    def __init__(self):
        self.told = []

    def now_s(self):
        return 1607418537.715 + 60 * self.told.count("doubt")

    def want(self):
        self.told.append("want")

    def doubt(self):
        self.told.append("doubt")

    def wait(self, timeout):
        self.told.append(timeout)
        return True


def test_signatures_are_dated_with_okxs_clock_and_anew_each_time():
    """Acceptance 23: the clock is asked for first; each attempt has a timestamp of its own."""
    clock = Clock()
    script = Script(LATE, [{}], clock=clock)
    script.get(BALANCE)
    assert clock.told == ["want", 2.0, "doubt", "want", 2.0]
    stamps = [asked[3]["OK-ACCESS-TIMESTAMP"] for asked in script.asked]
    assert stamps == ["2020-12-08T09:08:57.715Z", "2020-12-08T09:09:57.715Z"]


def test_a_timestamp_is_doubted_once():
    """The second time it is not the clock; without a clock of OKX's, the first time."""
    for clock, attempts in ((Clock(), 2), (None, 1)):
        script = Script(LATE, clock=clock)
        with pytest.raises(RestError) as caught:
            script.get(BALANCE)
        assert caught.value is LATE and len(script.asked) == attempts


def test_only_what_needs_it_is_signed():
    """Market data goes without a key, also where there is one; `signed` overrules."""
    script = Script([{}])
    script.get(PATH)
    script.get(BALANCE)
    script.calls.call("GET", PATH, {}, timeout=1, signed=True)
    script.calls.call("GET", "/api/v5/some/thing", {}, timeout=1, signed=False)
    assert [asked[3] is not None for asked in script.asked] == [False, True, True, False]


def test_a_signed_call_without_a_key_or_in_the_clear_is_refused():
    """Before anything is sent; loopback is not the network."""
    script = Script([{}])
    script.calls._credentials = Credentials()
    with pytest.raises(UsageError, match="needs a login"):
        script.get(BALANCE)
    script = Script([{}])
    script.url = "http://rest.invalid"
    with pytest.raises(UsageError, match="the key would travel in the clear"):
        script.get(BALANCE)
    with pytest.raises(UsageError, match="in the clear"):
        script.post(body={})
    assert script.asked == []
    script.get(PATH)
    script.url = "http://127.0.0.1:8080"
    script.get(BALANCE)
    assert len(script.asked) == 2


def test_a_wait_ends_when_the_client_is_stopped():
    """Within a pause, too."""
    script = Script(BUSY)
    script.stopped = True
    with pytest.raises(ManagerClosed):
        script.get()
    assert len(script.waits) == 1


def test_time_that_is_up_sends_nothing():
    """OKX's clock may take all there is: an order that leaves in the last moment would have an unknown end."""
    clock = Clock()
    script = Script([{}], clock=clock)
    clock.wait = lambda timeout: script.wait(timeout)
    with pytest.raises(RestError, match="before anything was sent"):
        script.post(body={}, timeout=1.5)
    assert script.asked == [] and script.time == 1001.5


def test_a_very_long_time_is_a_day():
    """The system's own waits have a bound; nobody waits for 1e300 seconds."""
    script = Script([{}])
    script.get(timeout=1e300)
    assert script.asked[0][2] == 1000.0 + 86_400


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "1", None])
def test_a_time_out_is_a_number(timeout):
    """There is no call without one."""
    script = Script([{}])
    with pytest.raises(UsageError, match="timeout"):
        script.get(timeout=timeout)
    assert script.asked == []


# ---------------------------------------------------------------------- ws.rest against the local exchange


@pytest.fixture
def fast():
    """A world fifty times as fast, so that there is some history."""
    with LocalExchange(speed=50) as running:
        yield running


def test_market_data_is_what_okx_sends(fast, connect):
    """Every public endpoint; lists of dicts or rows, texts as texts."""
    rest = connect(fast).rest
    assert isinstance(rest, RestClient)
    (first,), (second,) = rest.server_time(), rest.server_time()
    assert 0 <= int(second["ts"]) - int(first["ts"]) < 2000
    (ticker,) = rest.ticker("BTC-USDT")
    assert ticker["instId"] == "BTC-USDT" and isinstance(ticker["last"], str) and isinstance(ticker["ts"], str)
    assert {row["instType"] for row in rest.tickers("SWAP")} == {"SWAP"}
    assert rest.tickers("OPTION", instFamily="ETH-USD") == []
    (book,) = rest.order_book("BTC-USDT", 5)
    assert [len(book[side]) for side in ("asks", "bids")] == [5, 5] and isinstance(book["seqId"], int)
    (book,) = rest.order_book("BTC-USDT")
    assert len(book["asks"]) == 1, "OKX's default"
    rest.candles("BTC-USDT", "1s")
    eventually(lambda: len(rest.candles("BTC-USDT", "1s", limit=300)) > 5)
    rows = rest.candles("BTC-USDT", "1s", limit=5)
    assert [len(row) for row in rows] == [9] * 5 and [row[8] for row in rows] == ["0", "1", "1", "1", "1"]
    older = rest.history_candles("BTC-USDT", "1s", after=rows[2][0], limit=2)
    assert older == rows[3:5]
    trades = eventually(lambda: rest.trades("BTC-USDT", limit=3))
    assert all(isinstance(trade["px"], str) for trade in trades)
    history = rest.history_trades("BTC-USDT", after=int(trades[0]["tradeId"]), limit=2)
    assert all(int(trade["tradeId"]) < int(trades[0]["tradeId"]) for trade in history)
    assert rest.system_status() == []
    assert rest.get("/api/v5/market/ticker", instId="BTC-USDT")[0]["instId"] == "BTC-USDT"


def test_the_account_is_what_okx_sends(exchange, connect):
    """Every signed endpoint, with signatures the exchange has checked; a POST too."""
    rest = connect(exchange, **exchange.credentials).rest
    (account,) = rest.balance("BTC,ETH")
    assert [row["ccy"] for row in account["details"]] == ["BTC", "ETH"]
    assert [row["instId"] for row in rest.positions(instType="SWAP")] == ["BTC-USDT-SWAP", "ETH-USDT-SWAP"]
    assert rest.positions(instId="BTC-USDT-SWAP", posId=1)[0]["pos"] == "12"
    assert rest.account_config()[0]["uid"] == exchange.accounts[0].uid
    assert rest.orders_pending(instType="SWAP", limit=100) == rest.fills(begin=0) == []
    with pytest.raises(RestError, match="51603") as caught:
        rest.order("BTC-USDT", clOrdId="mine")
    assert caught.value.status == 200
    assert rest.post("/api/v5/trade/cancel-all-after", {"timeOut": "0", "tag": "é"[:0]})[0]["triggerTime"] == "0"
    assert len(rest.get("/api/v5/account/instruments", instType="SPOT")) == 4


@pytest.mark.parametrize("text", ["a b", "é/ü", "100%25", "a+b&c=d", "~!*'();:@$,?#[]", "\u4e2d"])
def test_any_text_is_signed_as_it_is_sent(text, exchange, connect):
    """okx-protocol 10.1: the same escaping; the exchange signs the target as it came off the wire."""
    rest = connect(exchange, **exchange.credentials).rest
    assert rest.positions(instId=text) == []
    with pytest.raises(RestError, match="51000"):
        rest.post("/api/v5/trade/cancel-all-after", {"timeOut": text})


def test_demo_and_live_keys_are_told_apart(connect):
    """50101, with its remedy; sandbox=True says it on every request."""
    with LocalExchange(accounts=[Account(demo=True)], demo=True) as exchange:
        assert connect(exchange, sandbox=True, **exchange.credentials).rest.balance()
        with pytest.raises(RestError, match="50101.*sandbox=True"):
            connect(exchange, **exchange.credentials).rest.balance()


@pytest.mark.parametrize(
    ("changed", "code", "told"),
    [
        ({"apiKey": "other"}, "50119", "another region"),
        ({"apiKey": "é"}, "50111", "check OKX_API_KEY"),
        ({"secretKey": "other"}, "50113", "check the secret key"),
        ({"passphrase": "pässphrase"}, "50105", "check the passphrase"),
    ],
)
def test_a_wrong_key_is_refused_with_what_to_do(changed, code, told, exchange, connect):
    """At once, and once."""
    rest = connect(exchange, **{**exchange.credentials, **changed}).rest
    with pytest.raises(RestError, match=told) as caught:
        rest.balance()
    assert caught.value.code == code and exchange.rest.requests.count(f"GET {BALANCE}") == 1


@pytest.mark.parametrize("skew", [-3600, 45])
def test_a_wrong_clock_does_not_matter(skew, exchange, connect):
    """Acceptance 23: signatures are dated with OKX's time, and a clock that goes wrong later is asked anew."""
    exchange.clock_skew_s = skew
    rest = connect(exchange, **exchange.credentials).rest
    assert rest.balance()
    exchange.clock_skew_s = 2 * skew
    assert rest.balance()
    assert exchange.rest.requests.count(f"GET {BALANCE}") == 3


def test_instruments_are_asked_for_once_a_type(exchange, connect):
    """The rows are copies; refresh=True asks again."""
    rest = connect(exchange).rest
    spot = rest.instruments("SPOT")
    spot[0]["instId"] = "changed"
    spot[0]["tradeQuoteCcyList"].append("changed")
    again = rest.instruments("SPOT")
    assert again[0]["instId"] == "BTC-USDT" and "changed" not in again[0]["tradeQuoteCcyList"]
    assert isinstance(again[0]["instIdCode"], int)
    assert {row["instType"] for row in rest.instruments("OPTION", instFamily="BTC-USD")} == {"OPTION"}
    assert len(exchange.rest.requests) == 2
    assert rest.instruments("SPOT", refresh=True) == again and len(exchange.rest.requests) == 3
    with pytest.raises(RestError, match="50014"):
        rest.instruments("OPTION")
    with pytest.raises(UsageError, match="instType must be"):
        rest.instruments(["SPOT"])


def test_an_empty_answer_where_there_must_be_a_row_is_an_error(peer, connect):
    """Acceptance 89: `rest.ticker(…)[0]` never fails with an IndexError; nor are rows of another kind handed out."""
    server = peer(lambda talk: [(talk.read_head(), talk.send(http('{"code":"0","data":[]}'))) for _ in range(9)])
    rest = connect(urls={"rest": f"http://127.0.0.1:{server.port}"}).rest
    for call in (lambda: rest.ticker("X"), lambda: rest.order_book("X"), rest.server_time):
        with pytest.raises(RestError, match="empty"):
            call()
    assert rest.trades("X") == []
    odd = peer(lambda talk: [(talk.read_head(), talk.send(http('{"code":"0","data":[["1"]]}'))) for _ in range(9)])
    rest = connect(urls={"rest": f"http://127.0.0.1:{odd.port}"}).rest
    assert rest.candles("X") == [["1"]]
    with pytest.raises(RestError, match="another kind"):
        rest.ticker("X")


def test_a_connection_that_was_closed_between_calls_is_replaced(peer, connect):
    """A server ends idle connections when it likes."""

    def script(talk):
        talk.read_head()
        talk.send(GOOD)

    server = peer(script)
    rest = connect(urls={"rest": f"http://127.0.0.1:{server.port}"}).rest
    for _ in range(3):
        assert rest.ticker("X") == [{"last": "1.10"}]
    assert server.connections >= 3


def test_a_busy_exchange_is_asked_again(peer, connect):
    """Acceptance 89: HTML with 502, a reset, then the answer; over a real socket."""

    def script(talk):
        talk.read_head()
        if talk.number == 1:
            talk.send(http("<html>Bad gateway</html>", "502 Bad Gateway"))
        elif talk.number == 2:
            talk.reset()
        else:
            talk.send(GOOD)

    server = peer(lambda talk: script(talk))
    rest = connect(urls={"rest": f"http://127.0.0.1:{server.port}"}).rest
    assert rest.ticker("X") == [{"last": "1.10"}] and server.connections == 3


def test_a_strict_exchange_is_never_asked_too_often(connect):
    """okx-protocol 10.3: OKX's counts, kept on our side; two managers of one process share them."""
    with LocalExchange(strict=True) as exchange:
        clients = [connect(exchange).rest for _ in range(2)]
        start = time.monotonic()
        for number in range(21):
            clients[number % 2].ticker("BTC-USDT")
        assert 2.0 < time.monotonic() - start < 4
        assert len(exchange.rest.requests) == 21
        with pytest.raises(RestError, match="no room"):
            for _ in range(30):
                clients[0].ticker("BTC-USDT", timeout=0.5)


def test_many_threads_share_a_client(tls_exchange, connect):
    """Each gets its own answers; connections are as many as calls at a time, and used again."""
    rest = connect(tls_exchange, **tls_exchange.credentials).rest
    names, wrong = ["BTC-USDT", "ETH-USDT", "SOL-USDT", "BTC-USDC"], []

    def work(name):
        for _ in range(8):
            try:
                if rest.trades(name, limit=1)[0]["instId"] != name or rest.orders_pending(instId=name):
                    wrong.append(name)
            except Exception as exc:
                wrong.append(exc)

    for name in names:
        eventually(lambda name=name: rest.trades(name))
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == [] and len(rest._calls._transport._idle) <= 4 + 1


def test_a_call_on_a_links_own_thread_is_refused_at_once(exchange, connect):
    """Every method; an instrument list that is known already, too."""
    ws = connect(exchange)
    ws.rest.instruments("SPOT")
    found = []

    def inline(message):
        for call in (ws.rest.server_time, lambda: ws.rest.instruments("SPOT"), lambda: ws.rest.post("/api/v5/x")):
            try:
                found.append(call())
            except UsageError as exc:
                found.append(str(exc))

    ws.subscribe("tickers", instId="BTC-USDT", handler=inline, inline=True)
    eventually(lambda: len(found) >= 3)
    assert all("link's own thread" in text for text in found[:3])
    assert len(exchange.rest.requests) == 1


def test_the_background_worker_may_ask_too(exchange, connect):
    """A signed question on the thread that asks for the clock does not wait for itself."""
    ws = connect(exchange, **exchange.credentials)
    found, start = [], time.monotonic()
    ws._worker.submit(lambda: found.append(ws.rest.balance()))
    eventually(lambda: found)
    assert time.monotonic() - start < 1 and found[0][0]["details"]


def test_a_handler_may_ask(exchange, connect):
    """It has a thread of its own."""
    ws = connect(exchange)
    found = []
    ws.subscribe("tickers", instId="BTC-USDT", handler=lambda message: found.append(ws.rest.ticker("BTC-USDT")))
    assert eventually(lambda: found)[0][0]["instId"] == "BTC-USDT"


def test_after_close_there_are_no_calls(exchange, connect):
    """ManagerClosed, from what is remembered too."""
    ws = connect(exchange)
    ws.rest.instruments("SPOT")
    ws.close()
    for call in (ws.rest.server_time, lambda: ws.rest.instruments("SPOT"), lambda: ws.rest.get(PATH)):
        with pytest.raises(ManagerClosed):
            call()
    assert ws.rest._calls._transport._idle == []


@pytest.mark.parametrize("why", ["busy", "limit", "clock"])
def test_close_ends_the_waits_of_a_call(why, peer, connect):
    """Of a pause, of room in a limit, of OKX's clock: at once, with ManagerClosed."""

    def script(talk):
        while True:
            head = talk.read_head()
            asked.set()
            if b"/public/time" in head and why == "clock":
                talk.pause(30)
            talk.send(http('{"code":"50011","msg":"","data":[]}', "429 Too Many Requests"))

    asked, failure = threading.Event(), []
    server = peer(script)
    ws = connect(urls={"rest": f"http://127.0.0.1:{server.port}"}, **KEY)

    def work():
        try:
            ws.rest.balance(timeout=30) if why == "clock" else ws.rest.system_status(timeout=30)
        except Exception as exc:
            failure.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    assert asked.wait(5)
    start = time.monotonic()
    ws.close()
    thread.join(5)
    assert time.monotonic() - start < 1.5 and isinstance(failure[0], ManagerClosed)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_is_refused(exchange, connect):
    """Its connections are the parent's; what is remembered is refused as well."""
    ws = connect(exchange)
    ws.rest.instruments("SPOT")
    child = os.fork()
    if not child:
        code = 0
        for call in (ws.rest.server_time, lambda: ws.rest.instruments("SPOT")):
            try:
                call()
                code = 1
            except UsageError as exc:
                code |= 0 if "belongs to process" in str(exc) else 2
        os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert ws.rest.ticker("BTC-USDT")


def held_by(error, frames):
    """Return what an exception and all it is chained to hold: attributes, and the variables of its `frames` of ours."""
    seen, todo, found = set(), [error], []
    while todo:
        exc = todo.pop()
        if exc is None or id(exc) in seen:
            continue
        seen.add(id(exc))
        found.append(f"{exc!r} {exc} {vars(exc)}")
        if frames:
            ours = [frame for frame, _ in traceback.walk_tb(exc.__traceback__) if "okx_ws" in frame.f_code.co_filename]
            found += [repr(frame.f_locals) for frame in ours]
        todo += [exc.__cause__, exc.__context__, *(arg for arg in exc.args if isinstance(arg, BaseException))]
        assert getattr(exc, "request", None) is None and getattr(exc, "response", None) is None
    return found


def repeat(talk):
    """Answer with what was sent, in a page."""
    while True:
        head = talk.read_head().decode("latin-1")
        cut = head.find("OK-ACCESS-KEY") + random.randrange(13)
        talk.send(http(f"<html>{head[cut:]}", "403 Forbidden"))


def repeat_as_okx(talk):
    while True:
        head = talk.read_head().decode("latin-1")
        talk.send(http(json.dumps({"code": "50113", "msg": f"bad request: {head}"}), "401 Unauthorized"))


def hang_up(talk):
    talk.read_head()
    talk.reset()


@pytest.mark.parametrize("script", [repeat, repeat_as_okx, hang_up, mute])
def test_secrets_appear_nowhere(script, peer, connect, caplog):
    """Acceptance 94: not in logs at debug level, reprs, exceptions or what they are chained to; not in the URL."""
    server = peer(script)
    with caplog.at_level(logging.DEBUG):
        ws = connect(urls={"rest": f"http://127.0.0.1:{server.port}"}, clock_sync=False, **KEY)
        signs = []
        real = transport_module.RestTransport.ask
        ws._transport.ask = lambda *args, **kw: (signs.append(args[3]["OK-ACCESS-SIGN"]), real(ws._transport, *args))[1]
        told = []
        for call in (lambda: ws.rest.balance("BTC", timeout=0.3), lambda: ws.rest.post("/api/v5/x", {}, timeout=0.3)):
            with pytest.raises((RestError, ConnectionLost)) as caught:
                call()
            told += held_by(caught.value, frames=script in (hang_up, mute))
        told += [repr(ws), str(vars(ws)), repr(ws.rest), str(vars(ws.rest)), str(vars(ws.rest._calls))]
        told += [str(vars(ws._transport)), json.dumps(ws.stats())]
        ws.close()
    told.append(caplog.text)
    assert f"GET {BALANCE}?ccy=BTC" in caplog.text and signs
    assert [text for text in told for secret in (*KEY.values(), *signs) if secret in text] == []


def test_a_lost_connection_keeps_nothing_of_the_request(peer, connect):
    """Acceptance 94: a crash reporter that walks the frames of requests finds no header of ours."""
    server = peer(hang_up)
    ws = connect(urls={"rest": f"http://127.0.0.1:{server.port}"}, clock_sync=False, **KEY)
    with pytest.raises(ConnectionLost) as caught:
        ws.rest.post("/api/v5/x", {})
    cause = caught.value.__cause__
    assert isinstance(cause, Exception) and cause.__traceback__ is None and cause.__context__ is None
    assert caught.value.__context__ in (None, cause)


def test_a_clock_that_is_known_is_not_asked_again(exchange, connect):
    """A link's login and REST share it."""
    ws = connect(exchange, **exchange.credentials)
    Watch(ws)
    ws.subscribe("account").wait(5)
    ws.rest.balance()
    assert exchange.rest.requests.count("GET /api/v5/public/time") == 3


@pytest.mark.parametrize(
    ("region", "host"),
    [("global", "openapi.okx.com"), ("us", "us.okx.com"), ("eea", "eea.okx.com"), ("tr", "tr.okx.com")],
)
def test_each_region_has_its_host(region, host, connect):
    """okx-protocol 1.1; demo trading too."""
    assert repr(connect(region=region).rest) == repr(connect(region=region, sandbox=True).rest)
    assert repr(connect(region=region).rest) == f"<RestClient of {host}>"


@pytest.mark.parametrize("call", ["ws.rest.ticker('BTC-USDT')", "ws.rest.balance()"])
def test_a_program_that_only_asks_ends_by_itself(call, exchange):
    """Without close: no hang, nothing on stderr."""
    program = f"""
        from okx_ws import OkxWebSocketManager
        ws = OkxWebSocketManager(urls={exchange.urls}, **{exchange.credentials})
        print(len({call}))
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_floats_are_refused_before_anything_is_sent(exchange, connect):
    """A price of 0.1 is not the number that was meant; a Decimal is."""
    rest = connect(exchange, **exchange.credentials).rest
    with pytest.raises(UsageError, match="px must not be a float"):
        rest.get(PATH, px=0.1)
    with pytest.raises(UsageError, match="must not be a float"):
        rest.post("/api/v5/trade/order", [{"px": 0.1}])
    assert exchange.rest.requests == []
    rest.get(PATH, instId="BTC-USDT", px=Decimal("0.10"), on=True)
    assert exchange.rest.requests == [f"GET {PATH}?instId=BTC-USDT&px=0.10&on=true"]


def test_a_manager_that_is_only_asked_starts_no_thread(exchange, connect):
    """Public data wants no clock, and leaves nothing behind."""
    before = threading.active_count()
    ws = connect(exchange)
    ws.rest.ticker("BTC-USDT")
    assert threading.active_count() == before
