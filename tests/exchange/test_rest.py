"""The REST twins of the local exchange: the same world as its feeds, asked instead of pushed; judged with urllib."""

import json
import time
import urllib.parse
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okx_ws.exchange import Account, LocalExchange, trade_log
from okx_ws.exchange.channels import make_feed
from okx_ws.exchange.funding import FUNDING_MS, funding_row
from okx_ws.exchange.instruments import make_instruments
from okx_ws.exchange.markets import World
from okx_ws.exchange.rest import REQUESTS, RestDesk
from okx_ws.exchange.rest_market import MarketPages
from okx_ws.exchange.rows import mark_row
from tests.exchange.client import get, iso, signed, talk
from tests.watch import eventually

NOW_MS = 1_784_000_000_000
MARKET = "/api/v5/market"


@pytest.fixture
def world():
    return World(make_instruments(NOW_MS, False), NOW_MS, 1)


@pytest.fixture
def account():
    return Account()


@pytest.fixture
def desk(world, account):
    return RestDesk(world, lambda: world.ts, {account.apiKey: account})


def rows(desk, target):
    status, answer = desk.answer("GET", target)
    assert (status, answer["code"], answer["msg"]) == (200, "0", ""), answer
    return answer["data"]


def run(world, steps, ms=100):
    for _ in range(steps):
        world.step(ms)


def test_trades_are_those_of_the_feed(exchange):
    """One by one, the newest first, as trades-all pushed them."""
    with talk(exchange, "business") as client:
        client.subscribe({"channel": "trades-all", "instId": "BTC-USDT"})
        pushed = {push["data"][0]["tradeId"]: push["data"][0] for push in client.pushes(10, timeout=30)}
    asked = get(exchange, f"{MARKET}/trades?instId=BTC-USDT&limit=500")[1]["data"]
    ids = [int(row["tradeId"]) for row in asked]
    assert ids == list(range(ids[0], ids[-1] - 1, -1))
    for row in asked:
        if row["tradeId"] in pushed:
            assert {key: value for key, value in row.items() if key != "source"} == pushed.pop(row["tradeId"])
    assert pushed == {}


def test_trades_are_paged_to_the_beginning(world, desk):
    """By tradeId; every trade comes once, and the pages end."""
    run(world, 600)
    newest, found = rows(desk, f"{MARKET}/trades?instId=BTC-USDT&limit=500"), []
    assert len(rows(desk, f"{MARKET}/trades?instId=BTC-USDT")) == 100
    page = rows(desk, f"{MARKET}/history-trades?instId=BTC-USDT&limit=7")
    while page:
        found += page
        page = rows(desk, f"{MARKET}/history-trades?instId=BTC-USDT&limit=7&after={page[-1]['tradeId']}")
    assert found[: len(newest)] == newest[: len(found)]
    ids = [int(row["tradeId"]) for row in found]
    assert ids == sorted(set(ids), reverse=True) and len(ids) > 20
    newer = rows(desk, f"{MARKET}/history-trades?instId=BTC-USDT&before={ids[5]}")
    assert [int(row["tradeId"]) for row in newer] == ids[:5]
    older = rows(desk, f"{MARKET}/history-trades?instId=BTC-USDT&type=2&after={found[9]['ts']}")
    assert older[0] == next(row for row in found if int(row["ts"]) < int(found[9]["ts"]))


def test_trades_of_a_long_run_are_bounded(world, desk, monkeypatch):
    """What is remembered of the past; the newest stay."""
    monkeypatch.setattr(trade_log, "TRADES", 20)
    run(world, 100, 1000)
    found = rows(desk, f"{MARKET}/trades?instId=BTC-USDT&limit=500")
    assert 20 <= len(found) <= 60, "aggregated trades, of three at the most"
    run(world, 20, 1000)
    assert int(rows(desk, f"{MARKET}/trades?instId=BTC-USDT&limit=1")[0]["tradeId"]) > int(found[0]["tradeId"])


def test_candles_are_those_of_the_feed(exchange):
    """The bar that closed on the channel is the one REST has; the open one comes first."""
    with talk(exchange, "business") as client:
        client.subscribe({"channel": "candle1s", "instId": "BTC-USDT"})
        bars = [push["data"][0] for push in client.pushes(6, timeout=10)]
    closed = {bar[0]: bar for bar in bars if bar[8] == "1"}
    asked = get(exchange, f"{MARKET}/candles?instId=BTC-USDT&bar=1s")[1]["data"]
    assert asked[0][8] == "0" and {row[8] for row in asked[1:]} == {"1"}
    assert closed and all(closed[row[0]] == row for row in asked if row[0] in closed)
    assert set(closed) <= {row[0] for row in asked}


def test_candles_are_paged(world, desk):
    """after: older; before: newer; both sides exclusive; history has only what is closed."""
    assert len(rows(desk, f"{MARKET}/candles?instId=BTC-USDT")) == 1, "a series begins when it is first asked for"
    run(world, 400, 10_000)
    bars = rows(desk, f"{MARKET}/candles?instId=BTC-USDT&limit=300")
    times = [int(bar[0]) for bar in bars]
    assert times == list(range(times[0], times[-1] - 1, -60_000)) and len(times) > 60
    assert rows(desk, f"{MARKET}/candles?instId=BTC-USDT&after={times[3]}&limit=2") == bars[4:6]
    assert rows(desk, f"{MARKET}/candles?instId=BTC-USDT&before={times[3]}") == bars[:3]
    assert rows(desk, f"{MARKET}/candles?instId=BTC-USDT&before={times[9]}&after={times[3]}") == bars[4:9]
    assert rows(desk, f"{MARKET}/history-candles?instId=BTC-USDT&limit=3") == bars[1:4]


def test_books_are_on_the_chain_of_the_feed(exchange):
    """Their seqId is one the channel books goes through, and then the levels are the same."""
    with talk(exchange) as client:
        client.subscribe({"channel": "books", "instId": "BTC-USDT"})
        (first,) = client.pushes(1)
        levels = {side: {row[0]: row for row in first["data"][0][side]} for side in ("asks", "bids")}
        seen, matched = {}, None
        asked = [get(exchange, f"{MARKET}/books?instId=BTC-USDT&sz=400")[1]["data"][0]]
        for push in client.pushes(10):
            row = push["data"][0]
            for side in levels:
                for level in row[side]:
                    levels[side].pop(level[0], None)
                    if level[1] != "0":
                        levels[side][level[0]] = level
            seen[row["seqId"]] = {side: dict(known) for side, known in levels.items()}
            asked.append(get(exchange, f"{MARKET}/books?instId=BTC-USDT&sz=400")[1]["data"][0])
    for book in asked:
        if book["seqId"] in seen:
            matched = {side: {row[0]: row for row in book[side]} for side in levels}
            assert matched == seen[book["seqId"]]
    assert matched is not None


def test_books_come_in_other_shapes_too(world, desk):
    """Full: rows of three, no seqId; RPI: the size without retail orders in the middle."""
    (plain,) = rows(desk, f"{MARKET}/books?instId=BTC-USDT&sz=5")
    (full,) = rows(desk, f"{MARKET}/books-full?instId=BTC-USDT&sz=5000")
    (rpi,) = rows(desk, f"{MARKET}/books-rpi?instId=BTC-USDT&sz=5")
    assert list(full) == ["asks", "bids", "ts"] and len(full["asks"]) == 400
    assert full["asks"][:5] == [[px, sz, count] for px, sz, _, count in plain["asks"]]
    assert [(px, sz) for px, sz, *_ in rpi["bids"]] == [(px, sz) for px, sz, *_ in plain["bids"]]
    assert rpi["seqId"] == plain["seqId"] and all(float(less) <= float(sz) for _, sz, less, _ in rpi["bids"])


def test_mark_prices_are_those_of_the_feed(world, desk):
    """Of one instrument or of a type; a spot pair's is asked for as MARGIN."""
    (row,) = rows(desk, "/api/v5/public/mark-price?instType=SWAP&instId=BTC-USDT-SWAP")
    assert {key: value for key, value in row.items() if key != "ts"} == mark_row(world.markets["BTC-USDT-SWAP"])
    assert row in rows(desk, "/api/v5/public/mark-price?instType=SWAP")
    (row,) = rows(desk, "/api/v5/public/mark-price?instType=MARGIN&instId=BTC-USDT")
    assert row["instType"] == "MARGIN"


def test_funding_settles_what_the_channel_forecasts(world, desk):
    """The rate that forms comes close to what is settled; the channel, REST and its history agree."""
    swap, path = world.markets["BTC-USDT-SWAP"], "/api/v5/public/funding-rate"
    world.step(FUNDING_MS - world.ts % FUNDING_MS - 1000)
    before = funding_row(world, swap)
    assert rows(desk, f"{path}?instId=BTC-USDT-SWAP")[0]["fundingRate"] == before["fundingRate"]
    world.step(1000)
    after = funding_row(world, swap)
    newest, *older = rows(desk, f"{path}-history?instId=BTC-USDT-SWAP")
    assert newest["fundingTime"] == before["fundingTime"] and newest["realizedRate"] == after["settFundingRate"]
    assert abs(float(before["fundingRate"]) - float(newest["realizedRate"])) < 1e-7
    times = [int(row["fundingTime"]) for row in (newest, *older)]
    assert times == list(range(times[0], times[-1] - 1, -FUNDING_MS)) and len(times) == 270
    paged = rows(desk, f"{path}-history?instId=BTC-USDT-SWAP&limit=3&after={times[4]}&before={times[9]}")
    assert [int(row["fundingTime"]) for row in paged] == times[5:8]


def test_paging_far_back_is_quick(world, desk):
    """A client that fills a hole does not stop the exchange: a page costs what it holds."""
    run(world, 3000)
    start, found = time.perf_counter(), []
    path = f"{MARKET}/history-trades?instId=BTC-USDT&limit=10"
    page = rows(desk, path)
    while page:
        found += page
        page = rows(desk, f"{path}&after={page[-1]['tradeId']}")
    each = (time.perf_counter() - start) / (len(found) / 10)
    assert len(found) > 1000 and each < 0.005


def test_tickers_are_those_of_the_feed(world, desk):
    """The same row, with the time."""
    (row,) = rows(desk, f"{MARKET}/ticker?instId=BTC-USDT-SWAP")
    assert row["ts"] == str(world.ts) and row in rows(desk, f"{MARKET}/tickers?instType=SWAP")
    families = {row["instId"] for row in rows(desk, f"{MARKET}/tickers?instType=FUTURES&instFamily=BTC-USD")}
    assert len(families) == 1 and rows(desk, f"{MARKET}/tickers?instType=EVENTS") == []


def test_currencies_are_listed_to_accounts(world, desk, account):
    """Those that instruments are traded in."""
    target = "/api/v5/asset/currencies"
    status, answer = desk.answer("GET", target, signed(account, "GET", target, at_ms=world.ts))
    assert status == 200 and {"BTC", "USDT"} <= {row["ccy"] for row in answer["data"]}
    target += "?ccy=BTC,XYZ"
    _, answer = desk.answer("GET", target, signed(account, "GET", target, at_ms=world.ts))
    assert [row["chain"] for row in answer["data"]] == ["BTC-Bitcoin"]


def test_status_tells_what_is_announced(exchange):
    """By default what is not over; by state what was asked for."""
    assert get(exchange, "/api/v5/system/status")[1]["data"] == []
    exchange.announce("upgrade")
    (row,) = get(exchange, "/api/v5/system/status")[1]["data"]
    assert (row["title"], row["state"]) == ("upgrade", "scheduled") and "ts" not in row
    assert get(exchange, "/api/v5/system/status?state=completed")[1]["data"] == []


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (f"{MARKET}/ticker", "50014"),
        (f"{MARKET}/ticker?instId=NO-SUCH", "51001"),
        (f"{MARKET}/tickers", "50014"),
        (f"{MARKET}/tickers?instType=MARGIN", "51000"),
        (f"{MARKET}/books?instId=BTC-USDT&sz=401", "51000"),
        (f"{MARKET}/books?instId=BTC-USDT&sz=0", "51000"),
        (f"{MARKET}/books?instId=BTC-USDT&sz=%C2%B2", "51000"),
        (f"{MARKET}/candles?instId=BTC-USDT&bar=7m", "51000"),
        (f"{MARKET}/candles?instId=BTC-USDT&limit=301", "51000"),
        (f"{MARKET}/candles?instId=BTC-USDT&after=now", "51000"),
        (f"{MARKET}/candles?bar=1m", "50014"),
        (f"{MARKET}/trades?instId=BTC-USDT&limit=501", "51000"),
        (f"{MARKET}/history-trades?instId=BTC-USDT&limit=101", "51000"),
        (f"{MARKET}/history-trades?instId=BTC-USDT&type=3", "51000"),
        (f"{MARKET}/history-trades?instId=BTC-USDT&after=x", "51000"),
        (f"{MARKET}/books-full?instId=BTC-USDT&sz=5001", "51000"),
        (f"{MARKET}/books-rpi?sz=5", "50014"),
        ("/api/v5/public/mark-price?instType=SPOT", "51000"),
        ("/api/v5/public/mark-price?instType=SWAP&instId=BTC-USDT", "51001"),
        ("/api/v5/public/funding-rate?instId=BTC-USDT", "51000"),
        ("/api/v5/public/funding-rate-history?instId=BTC-USDT-SWAP&limit=401", "51000"),
        (f"{MARKET}/history-trades?instId=BTC-USDT&type=2&before=1", "51000"),
        ("/api/v5/system/status?state=odd", "51000"),
        ("/api/v5/public/instruments?instType=EVENTS", "50014"),
    ],
)
def test_what_cannot_be_asked_is_refused(target, code, desk):
    """In OKX's envelope, with its code."""
    status, answer = desk.answer("GET", target)
    assert (answer["code"], answer["data"]) == (code, []) and status == (400 if code == "50014" else 200)


TARGETS = st.builds(
    lambda path, query: f"{path}?{urllib.parse.urlencode(query)}",
    st.sampled_from(["", "//[", *MarketPages(World(make_instruments(NOW_MS, False), NOW_MS, 1), lambda: NOW_MS).paths]),
    st.dictionaries(
        st.sampled_from("instType instId instFamily uly bar limit after before type sz state".split()),
        st.sampled_from(["BTC-USDT", "SPOT", "OPTION", "BTC-USD", "1m", "1Dutc", "1", "400", "0", "-1", "scheduled"])
        | st.text(st.characters(codec="utf-8"), max_size=6),
    ),
)

STATE = World(make_instruments(NOW_MS, False), NOW_MS, 1)


@given(TARGETS)
def test_any_question_has_an_answer(target):
    """Whatever is asked, it is served or refused; it is never our failure (50026)."""
    status, answer = RestDesk(STATE, lambda: NOW_MS).answer("GET", target)
    assert status in (200, 400, 404) and answer["code"] != "50026" and isinstance(answer["data"], list)


BALANCE = "/api/v5/account/balance?ccy=BTC"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"ok_access_key": ""}, "50103"),
        ({"ok_access_passphrase": ""}, "50104"),
        ({"ok_access_sign": ""}, "50106"),
        ({"ok_access_timestamp": ""}, "50107"),
        ({"ok_access_key": "k\u00e9"}, "50111"),
        ({"ok_access_key": "other"}, "50119"),
        ({"x_simulated_trading": "1"}, "50101"),
        ({"timestamp": "1784000000"}, "50112"),
        ({"timestamp": "2026-13-45T00:00:00.000Z"}, "50112"),
        ({"timestamp": iso(NOW_MS - 30_001)}, "50102"),
        ({"timestamp": iso(NOW_MS + 30_001)}, "50102"),
        ({"ok_access_sign": "x"}, "50113"),
        ({"ok_access_sign": "\u00e9"}, "50113"),
        ({"ok_access_passphrase": "x"}, "50105"),
    ],
)
def test_a_signature_is_really_checked(changed, code, desk, account):
    """okx-protocol 10.1, 10.2: each fault has its code, with HTTP 401; a key nobody has comes without data."""
    status, answer = desk.answer("GET", BALANCE, signed(account, "GET", BALANCE, **changed))
    assert (status, answer["code"]) == (401, code)
    assert ("data" in answer) == (code != "50119")


def test_a_signature_is_of_this_request(desk, account):
    """Not of another query, method or body; within 30 s."""
    assert desk.answer("GET", BALANCE, signed(account, "GET", BALANCE, at_ms=NOW_MS - 29_999))[0] == 200
    headers = signed(account, "GET", BALANCE)
    assert desk.answer("GET", BALANCE + "&x=1", headers)[1]["code"] == "50113"
    path, body = "/api/v5/trade/cancel-all-after", b'{"timeOut":"10","tag":"me"}'
    headers = signed(account, "POST", path, body)
    (row,) = desk.answer("POST", path, headers, body)[1]["data"]
    assert row == {"triggerTime": str(NOW_MS // 1000 + 10), "tag": "me", "ts": str(NOW_MS // 1000)}
    assert desk.answer("POST", path, headers, body + b" ")[1]["code"] == "50113"
    assert desk.answer("GET", path, headers)[0] == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "50002"),
        (b"[]", "50002"),
        (b"{", "50002"),
        (b'{"timeOut":"5"}', "51000"),
        (b'{"timeOut":"10","tag":"-"}', "51000"),
    ],
)
def test_a_body_is_checked(body, code, desk, account):
    """50002 for what is no JSON object."""
    path = "/api/v5/trade/cancel-all-after"
    assert desk.answer("POST", path, signed(account, "POST", path, body), body)[1]["code"] == code


def test_the_account_is_the_keys(world):
    """Two keys, two accounts: what the private channels would push."""
    poor = Account(apiKey="poor", secretKey="s", uid="2", balances={"ETH": 1.0}, positions=[], level=1)
    rich = Account()
    desk = RestDesk(world, lambda: world.ts, {account.apiKey: account for account in (poor, rich)})

    def ask(account, target):
        status, answer = desk.answer("GET", target, signed(account, "GET", target))
        assert status == 200, answer
        return answer

    assert [row["ccy"] for row in ask(poor, "/api/v5/account/balance")["data"][0]["details"]] == ["ETH"]
    assert len(ask(rich, "/api/v5/account/balance")["data"][0]["details"]) == 3
    assert ask(poor, "/api/v5/account/positions")["data"] == []
    (row,) = ask(rich, "/api/v5/account/positions?instId=ETH-USDT-SWAP")["data"]
    assert (row["pos"], row["instType"]) == ("-5", "SWAP")
    assert ask(rich, "/api/v5/account/positions?posId=1")["data"][0]["instId"] == "BTC-USDT-SWAP"
    config = ask(poor, "/api/v5/account/config")["data"][0]
    assert (config["uid"], config["level"], config["acctLv"]) == ("2", "Lv1", "2")
    assert ask(poor, "/api/v5/trade/orders-pending")["data"] == ask(poor, "/api/v5/trade/fills?limit=1")["data"] == []
    assert ask(poor, "/api/v5/trade/order?instId=BTC-USDT&ordId=1")["code"] == "51603"
    assert ask(rich, "/api/v5/account/instruments?instType=SWAP")["data"]
    target = "/api/v5/trade/order?instId=BTC-USDT"
    assert desk.answer("GET", target, signed(poor, "GET", target))[0] == 400


def test_a_demo_exchange_wants_the_header():
    """50101 without x-simulated-trading, and for a live key with it."""
    demo = Account(demo=True)
    world = World(make_instruments(NOW_MS, True), NOW_MS, 1)
    desk = RestDesk(world, lambda: world.ts, {demo.apiKey: demo})
    assert desk.answer("GET", BALANCE, signed(demo, "GET", BALANCE))[1]["code"] == "50101"
    assert desk.answer("GET", BALANCE, signed(demo, "GET", BALANCE, x_simulated_trading="1"))[0] == 200


def test_headers_and_body_come_over_http(exchange):
    """A signed POST over a real socket, with another client than ours."""
    account, path = exchange.accounts[0], "/api/v5/trade/cancel-all-after"
    body = json.dumps({"timeOut": "0"}).encode()
    headers = signed(account, "POST", path, body, at_ms=exchange._clock_ms())
    request = urllib.request.Request(exchange.urls["rest"] + path, body, headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as answer:
        assert json.load(answer)["data"][0]["triggerTime"] == "0"


def test_a_strict_exchange_counts():
    """okx-protocol 10.3: 429 with 50011 for one request too many; apart by instType; over when the window is over."""
    with LocalExchange(strict=True) as exchange:
        target = "/api/v5/public/instruments?instType="
        answers = [get(exchange, target + "SPOT") for _ in range(21)]
        assert [status for status, _ in answers] == [200] * 20 + [429]
        assert answers[-1][1] == {"code": "50011", "msg": "Too Many Requests", "data": []}
        assert get(exchange, target + "SWAP")[0] == 200
        eventually(lambda: get(exchange, target + "SPOT")[0] == 200)


def test_requests_that_are_remembered_are_bounded(desk):
    """An exchange that runs for months forgets the oldest."""
    for number in range(REQUESTS + 5):
        desk.answer("GET", f"/x{number}")
    assert len(desk.requests) == REQUESTS and desk.requests[-1] == f"GET /x{REQUESTS + 4}"


def test_trades_of_options_and_spreads_are_those_of_the_feeds(world, desk):
    """The newest first, 100 of an option or a family and 500 of a spread; what cannot be asked is refused."""
    sprdId = "BTC-USDT_BTC-USDT-SWAP"
    option = next(name for name, market in world.markets.items() if market.instrument.instType == "OPTION")
    family = world.markets[option].instrument.instFamily
    feeds = {
        "family": make_feed(world, {"channel": "option-trades", "instType": "OPTION", "instFamily": family}, None),
        "spread": make_feed(world, {"channel": "sprd-public-trades", "sprdId": sprdId}, None),
    }
    pushed = {name: [] for name in feeds}
    for _ in range(2000):
        trades = world.step(100)
        for name, feed in feeds.items():
            pushed[name] += [row for push in feed.due(trades) for row in push["data"]]

    def rows(path):
        status, answer = desk.answer("GET", path)
        assert (status, answer["code"]) == (200, "0"), answer
        return answer["data"]

    assert rows(f"/api/v5/public/option-trades?instFamily={family}") == pushed["family"][:-101:-1] != []
    own = [row for row in pushed["family"] if row["instId"] == option]
    assert rows(f"/api/v5/public/option-trades?instFamily={family}&instId={option}") == own[:-101:-1] != []
    calls = rows(f"/api/v5/public/option-trades?instFamily={family}&optType=C")
    assert {row["optType"] for row in calls} == {"C"}
    assert rows(f"/api/v5/sprd/public-trades?sprdId={sprdId}") == pushed["spread"][:-501:-1] != []
    bars = rows(f"/api/v5/market/sprd-candles?sprdId={sprdId}&bar=1m")
    assert {len(bar) for bar in bars} == {7} and [bar[-1] for bar in bars].count("0") == 1
    assert all(bar[-1] == "1" for bar in rows(f"/api/v5/market/sprd-history-candles?sprdId={sprdId}&bar=1m"))
    for path, code in (
        ("public/option-trades", "50014"),
        ("sprd/public-trades", "50014"),
        ("sprd/public-trades?sprdId=X", "51001"),
        ("market/sprd-candles?sprdId=X", "51001"),
        (f"market/sprd-candles?sprdId={sprdId}&bar=7m", "51000"),
    ):
        assert desk.answer("GET", f"/api/v5/{path}")[1]["code"] == code, path
