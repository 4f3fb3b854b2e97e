"""REST's orders: the same engine as over WebSocket, and the same account."""

import json
import urllib.request
from decimal import Decimal

import pytest

from okx_ws.exchange import Account, LocalExchange
from okx_ws.exchange.rest import RestDesk
from tests.exchange.client import signed, talk
from tests.exchange.traders import NOW_MS, Still

LIMIT = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "px": "90", "sz": "1"}

ALL = "/api/v5/trade/orders-history?instType=ALL"


class Rest:
    """REST and WebSocket of one account on a world that stands still."""

    def __init__(self, strict=False):
        self.still = Still(strict=strict)
        self.still.lay("BTC-USDT", [("99", "1"), ("98", "2")], [("101", "1"), ("102", "2")])
        self.trader = self.still.traders[0]
        self.account = self.trader.account
        by_key = {account.apiKey: account for account in self.still.accounts}
        self.desk = RestDesk(self.still.world, lambda: self.still.now_us // 1000, by_key, strict, self.still.desk)

    def get(self, path):
        target = f"/api/v5/{path}"
        status, answer = self.desk.answer("GET", target, signed(self.account, "GET", target))
        assert status == 200 and answer["code"] == "0", answer
        return answer["data"]

    def post(self, path, asked, **headers):
        """Return status and answer."""
        target, body = f"/api/v5/trade/{path}", json.dumps(asked).encode()
        return self.desk.answer("POST", target, {**signed(self.account, "POST", target, body), **headers}, body)

    def row(self, path, asked):
        (found,) = self.post(path, asked)[1]["data"]
        return found


@pytest.fixture
def rest():
    return Rest()


def test_an_order_is_placed_changed_looked_up_and_canceled(rest):
    """okx-protocol 10.2 and 10.3: the envelope has inTime and outTime; instId names the instrument."""
    status, answer = rest.post("order", {**LIMIT, "clOrdId": "a", "tag": "t"})
    assert status == 200 and list(answer) == ["code", "msg", "data", "inTime", "outTime"] and answer["code"] == "0"
    (row,) = answer["data"]
    ordId = row["ordId"]
    assert (row["clOrdId"], row["tag"], row["sCode"], row["ts"]) == ("a", "t", "0", str(NOW_MS))
    assert rest.row("amend-order", {"instId": "BTC-USDT", "clOrdId": "a", "newSz": "2", "reqId": "r"})["reqId"] == "r"
    (order,) = rest.get(f"trade/order?instId=BTC-USDT&ordId={ordId}")
    assert (order["state"], order["sz"], order["accFillSz"], order["avgPx"]) == ("live", "2", "0", "")
    assert rest.get("trade/order?instId=BTC-USDT&clOrdId=a") == [order] == rest.get("trade/orders-pending")
    assert rest.row("cancel-order", {"instId": "BTC-USDT", "ordId": ordId})["sCode"] == "0"
    assert rest.get("trade/orders-pending") == []
    (order,) = rest.get("trade/orders-history?instType=SPOT")
    assert (order["ordId"], order["state"]) == (ordId, "canceled")
    assert rest.get(f"trade/orders-history?instType=SPOT&begin={order['cTime']}") == [order]
    assert rest.get(f"trade/orders-history?instType=SPOT&begin={int(order['cTime']) + 1}") == []
    assert rest.get(f"trade/orders-history?instType=SPOT&end={int(order['cTime']) - 1}") == []
    assert rest.get(f"trade/orders-history?instType=SPOT&after={int(ordId) + 1}&limit=1") == [order]
    assert (
        rest.get("trade/orders-history-archive?instType=SPOT") == []
    ), "what was canceled unfilled is not kept so long"
    assert rest.desk.answer("GET", ALL, signed(rest.account, "GET", ALL))[1]["code"] == "51000"
    rest.still.settle()
    assert rest.trader.states(ordId) == ["live", "live", "canceled"], "WebSocket hears of it"


def test_several_orders_have_a_row_each(rest):
    """Twenty at the most."""
    poor = {**LIMIT, "sz": "9999"}
    _, answer = rest.post("batch-orders", [LIMIT, poor, LIMIT])
    assert answer["code"] == "2" and [row["sCode"] for row in answer["data"]] == ["0", "51008", "0"]
    ids = [{"instId": "BTC-USDT", "ordId": row["ordId"]} for row in answer["data"] if row["ordId"]]
    assert rest.post("amend-batch-orders", [{**one, "newPx": "91"} for one in ids])[1]["code"] == "0"
    assert rest.post("cancel-batch-orders", ids)[1]["code"] == "0"
    assert rest.post("cancel-batch-orders", ids)[1]["code"] == "1"
    assert rest.post("batch-orders", [LIMIT] * 21)[1]["code"] == "51000"


@pytest.mark.parametrize(
    ("asked", "code", "sCode"),
    [
        ({**LIMIT, "instId": "X-Y"}, "1", "51001"),
        ({**LIMIT, "instId": "DOGE-USDT-SWAP"}, "1", "51021"),
        ({**LIMIT, "instId": None}, "1", "50014"),
        ({**LIMIT, "instIdCode": 1}, "0", "0"),
        ({**LIMIT, "instId": "SOL-USDC-SWAP", "tdMode": "cross", "px": "77"}, "1", "51008"),
        ({**LIMIT, "side": ""}, "1", "50014"),
        ([LIMIT], "50002", None),
        (5, "50002", None),
    ],
)
def test_rest_names_instruments_by_instId(asked, code, sCode, rest):
    """Also one whose code is null: it is the way out."""
    _, answer = rest.post("order", asked)
    assert answer["code"] == code and (sCode is None or answer["data"][0]["sCode"] == sCode)


def test_balance_positions_and_fills_are_the_engines(rest):
    """What is spent is gone, what orders keep is not available, and the fills say why."""
    rest.post("order", {**LIMIT, "px": "102", "sz": "2"})
    rest.post("order", LIMIT)
    (account,) = rest.get("account/balance?ccy=USDT")
    (detail,) = account["details"]
    assert (detail["cashBal"], detail["availBal"], detail["ordFrozen"]) == ("49797", "49707", "90")
    fills = rest.get("trade/fills")
    assert [(fill["fillPx"], fill["fillSz"], fill["fee"]) for fill in fills] == [
        ("102", "1", "-0.001"),
        ("101", "1", "-0.001"),
    ]
    older = rest.get(f"trade/fills?after={fills[0]['billId']}")
    assert older == fills[1:] and rest.get(f"trade/fills?before={fills[1]['billId']}") == fills[:1]
    assert rest.get("trade/fills?instId=ETH-USDT") == [] and rest.get(f"trade/fills?ordId={fills[0]['ordId']}") == fills
    rest.post("order", {**LIMIT, "instId": "ETH-USDT-SWAP", "tdMode": "cross", "ordType": "market", "sz": "1"})
    (position,) = rest.get("account/positions")
    assert (position["instId"], position["pos"]) == ("ETH-USDT-SWAP", "1")
    assert position["tradeId"] == rest.get("trade/fills?limit=1")[0]["tradeId"]


def test_orders_are_paged_and_narrowed(rest):
    """The newest first; by type, instrument, state."""
    ids = [rest.row("order", LIMIT)["ordId"] for _ in range(5)]
    newest = [row["ordId"] for row in rest.get("trade/orders-pending?limit=2")]
    assert newest == ids[:2:-1]
    assert [row["ordId"] for row in rest.get(f"trade/orders-pending?after={newest[-1]}")] == ids[2::-1]
    assert [row["ordId"] for row in rest.get(f"trade/orders-pending?before={ids[2]}")] == ids[:2:-1]
    assert (
        rest.get("trade/orders-pending?instType=SWAP") == rest.get("trade/orders-pending?state=partially_filled") == []
    )
    assert len(rest.get("trade/orders-pending?instType=SPOT&instId=BTC-USDT&ordType=limit,fok&state=live")) == 5


def test_a_late_request_is_refused(rest):
    """okx-protocol 10.1: expTime is a header here; a cancellation has none."""
    assert rest.post("order", LIMIT, exptime=str(NOW_MS - 1))[1]["code"] == "50036"
    ordId = rest.post("order", LIMIT, exptime=str(NOW_MS))[1]["data"][0]["ordId"]
    assert rest.post("cancel-order", {"instId": "BTC-USDT", "ordId": ordId}, exptime="1")[1]["code"] == "0"


def test_limits_are_shared_with_websocket():
    """429 with 50011 here."""
    rest = Rest(strict=True)
    row = {"instIdCode": rest.still.code("BTC-USDT"), "tdMode": "cash", "side": "buy", "ordType": "limit"}
    for _ in range(60):
        assert rest.trader.ask("order", {**row, "px": "90", "sz": "0.001"})["code"] == "0"
    status, answer = rest.post("order", {**LIMIT, "sz": "0.001"})
    assert (status, answer["code"]) == (429, "50011")


def test_the_dead_mans_switch_cancels():
    """In the world's time; again and again from its last call; only a tag's orders, if it has one; 0 disarms it."""
    rest = Rest()
    mine, other = (rest.row("order", {**LIMIT, "tag": tag})["ordId"] for tag in ("me", "you"))
    world = rest.still.world
    for _ in range(3):
        assert rest.post("cancel-all-after", {"timeOut": "10", "tag": "me"})[1]["code"] == "0"
        world.now_ms += 9_900
        rest.still.desk.dead_man.watch(world.ts, {})
    rest.post("cancel-all-after", {"timeOut": "10"})
    rest.post("cancel-all-after", {"timeOut": "0"})
    assert len(rest.account.log.open) == 2
    world.now_ms += 101
    rest.still.desk.dead_man.watch(world.ts, {})
    rest.still.desk.engine.watch(world.ts, {})
    (order,) = rest.get(f"trade/order?instId=BTC-USDT&ordId={mine}")
    assert (order["state"], order["cancelSource"]) == ("canceled", "20")
    assert [row["ordId"] for row in rest.get("trade/orders-pending")] == [other]
    assert rest.trader.last(mine)["state"] == "canceled", "it is told, too"
    tags = [rest.post("cancel-all-after", {"timeOut": "10", "tag": f"t{n}"})[1]["code"] for n in range(21)]
    assert tags == ["0"] * 20 + ["51000"]


def test_a_dead_man_is_noticed_by_a_running_exchange():
    """A world a hundred times faster: 10 s are over soon."""
    with LocalExchange(speed=100, accounts=[Account(positions=[])]) as exchange:
        base = exchange.urls["rest"]

        def post(path, asked):
            body = json.dumps(asked).encode()
            headers = signed(exchange.accounts[0], "POST", path, body, at_ms=exchange._clock_ms())
            request = urllib.request.Request(base + path, body, headers)
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as answer:
                return json.load(answer)

        order = {**LIMIT, "px": "10000", "sz": "0.001", "clOrdId": "d"}
        with talk(exchange, "private") as client:
            client.login(exchange.accounts[0])
            client.subscribe({"channel": "orders", "instType": "ANY"})
            assert post("/api/v5/trade/order", order)["code"] == "0"
            assert post("/api/v5/trade/cancel-all-after", {"timeOut": "10"})["code"] == "0"
            states = [push["data"][0]["state"] for push in client.pushes(2)]
        assert states == ["live", "canceled"] and exchange.truth().order("d")["cancelSource"] == "20"


def test_a_world_that_moves_fills_what_rests():
    """One of two orders around the market is filled in time; the truth says what the pushes say."""
    with LocalExchange(speed=50, accounts=[Account(positions=[])]) as exchange, talk(exchange, "private") as client:
        client.login(exchange.accounts[0])
        client.subscribe({"channel": "orders", "instType": "ANY"})
        market = exchange.world.markets["ETH-USDT"]
        place = market.instrument
        rows = [
            {"instIdCode": place.instIdCode, "tdMode": "cash", "side": side, "ordType": "limit", "px": px, "sz": "0.5"}
            for side, px in (("buy", place.px(market.bids.best - 1)), ("sell", place.px(market.asks.best + 1)))
        ]
        client.send({"id": "1", "op": "batch-orders", "args": rows})
        first = {}
        while first.get("state") != "filled":
            (push,) = client.pushes(1, timeout=20)
            if "arg" in push:  # else it is the reply
                (first,) = push["data"]
        truth = exchange.truth()
        assert truth.orders[first["ordId"]]["state"] == "filled"
        for row in truth.orders.values():
            told = sum(Decimal(fill["fillSz"]) for fill in truth.fills if fill["ordId"] == row["ordId"])
            assert Decimal(row["accFillSz"]) == told
