"""`ws.rest`: every endpoint against the local exchange, and what it must never do."""

import json
import logging
import os
import random
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from decimal import Decimal
from pathlib import Path

import pytest

from okx_ws import ConnectionLost, ManagerClosed, RestClient, RestError, UsageError
from okx_ws.exchange import Account, LocalExchange
from okx_ws.net.rest import RestTransport
from tests.watch import Watch, eventually
from tests.web import GOOD, http, mute

KEY = {"apiKey": "key-1234567", "secretKey": "secret-1234567", "passphrase": "phrase-1234567"}

PATH = "/api/v5/market/ticker"
BALANCE = "/api/v5/account/balance"


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
    assert rest.orders_history("SPOT", begin=0, limit=1) == rest.orders_history("SPOT", archive=True) == []
    asked = [line for line in exchange.rest.requests if "orders-history" in line]
    assert asked == [
        "GET /api/v5/trade/orders-history?instType=SPOT&begin=0&limit=1",
        "GET /api/v5/trade/orders-history-archive?instType=SPOT",
    ]
    with pytest.raises(RestError, match="51603") as caught:
        rest.order("BTC-USDT", clOrdId="mine")
    assert caught.value.status == 200
    with pytest.raises(UsageError, match="ordId or a clOrdId"):
        rest.order("BTC-USDT")
    assert rest.post("/api/v5/trade/cancel-all-after", {"timeOut": "0", "tag": "me"})[0]["triggerTime"] == "0"
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


def test_an_empty_listing_is_not_remembered(exchange, connect):
    """Acceptance 89: it may be a lie, and would last until the channel tells of a change."""
    rest = connect(exchange).rest
    exchange.faults.start("rest_error", path="*/instruments", how="empty", times=1)
    assert rest.instruments("SPOT") == [] and rest.instruments("SPOT") != []


def test_the_channel_of_instruments_has_a_listing_asked_for_anew(exchange, connect):
    """Of the type that changed, once; without that channel nothing is asked."""
    ws = connect(exchange)
    changes = ws.subscribe("instruments", instType="SWAP", queue=True).wait()
    spot = ws.rest.instruments("SPOT")
    (before,) = ws.rest.instruments("SWAP", instId="BTC-USDT-SWAP")
    exchange.change_terms("BTC-USDT-SWAP", tickSz="0.5")
    assert changes.get(timeout=5)["data"][0]["tickSz"] == "0.5"
    (after,) = ws.rest.instruments("SWAP", instId="BTC-USDT-SWAP")
    assert before["tickSz"] != after["tickSz"] == "0.5"
    assert ws.rest.instruments("SPOT") == spot and len(exchange.rest.requests) == 3


def test_a_listing_that_is_asked_for_while_the_channel_tells_ends_nothing(exchange, connect):
    """Another thread may do so at any moment: the channel is heard all the same, then and later."""
    rest = connect(exchange).rest
    rest.instruments("SPOT")

    class Meddling(str):
        __hash__ = str.__hash__

        def __eq__(self, other):
            rest.instruments("FUTURES")
            return str.__eq__(self, other)

        def __ne__(self, other):
            return not self == other

    rest.heard({"arg": {"channel": "instruments", "instType": Meddling("SPOT")}, "data": []})
    before = len(exchange.rest.requests)
    rest.instruments("FUTURES")
    assert len(exchange.rest.requests) == before
    rest.instruments("SPOT")
    assert len(exchange.rest.requests) == before + 1


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
        real = RestTransport.ask
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
