"""Orders on spreads: matched against the spread's book and each other, settled in both legs, told on two channels."""

import json
from decimal import Decimal

import pytest

from okx_ws import OutcomeUnknown
from okx_ws.exchange import Account, LocalExchange
from okx_ws.exchange.rest import RestDesk
from okx_ws.exchange.spread_markets import BELOW, spread_of
from tests.exchange.client import signed
from tests.exchange.traders import Still

SPREAD = "BTC-USDT_BTC-USDT-SWAP"
SPOT, SWAP = SPREAD.split("_")


@pytest.fixture
def still():
    """Two accounts, coins at 50,000, and a spread of 9.9 to 10.1."""
    names = {"BTC": 10.0, "USDT": 500_000.0}
    still = Still(*(Account(apiKey=n, uid=n, positions=[], balances=dict(names)) for n in "ab"), only=(SPOT, SWAP))
    still.lay(SPOT, [("49999.9", "5")], [("50000.1", "5")])
    lay_spread(still, [("9.9", 200), ("9.8", 300)], [("10.1", 200), ("10.2", 300)])
    return still


def lay_spread(still, bids, asks):
    """Give the spread exactly these levels: [px, lots of 0.01] each."""
    market = spread_of(still.world, SPREAD).market
    for side, levels in ((market.bids, bids), (market.asks, asks)):
        wanted = {int(Decimal(px) * 10) + BELOW: lots for px, lots in levels}
        for ticks, lots in wanted.items():
            side.put(ticks, lots, 1)
        for ticks in [ticks for ticks in side.levels if ticks not in wanted]:
            side.put(ticks, 0, 0)
    return market


def order(trader, side="buy", ordType="limit", **row):
    return trader.ask("sprd-order", {"sprdId": SPREAD, "side": side, "ordType": ordType, "sz": "1", **row})["data"][0]


def states(trader, ordId):
    return [row["state"] for row in trader.rows("sprd-orders") if row["ordId"] == ordId]


def test_a_spread_that_is_bought_buys_the_swap_and_sells_its_coin(still):
    """okx-protocol 5.4: one trade, two legs; balances, position and pushes add up."""
    trader = still.traders[0]
    ordId = order(trader, px="10.2", sz="3", clOrdId="b15", tag="t")["ordId"]
    assert states(trader, ordId) == ["live", "partially_filled", "filled"]
    last = trader.rows("sprd-orders")[-1]
    assert (last["accFillSz"], last["avgPx"], last["pendingFillSz"]) == ("3", "10.1333333333", "0")
    first, second = trader.rows("sprd-trades")
    assert (first["fillPx"], first["fillSz"], first["state"], first["execType"]) == ("10.1", "2", "filled", "T")
    swap, spot = first["legs"]
    assert (swap["instId"], swap["side"], swap["px"], swap["sz"], swap["szCont"]) == (
        SWAP,
        "buy",
        "50010.1",
        "2",
        "200",
    )
    assert (spot["instId"], spot["side"], spot["px"], spot["sz"], spot["szCont"]) == (SPOT, "sell", "50000", "2", "")
    legs = first["legs"] + second["legs"]
    assert len({leg["tradeId"] for leg in legs}) == 4
    ledger = trader.account.ledger
    assert ledger.pos(SWAP, "cross") == 300 and ledger.balances["BTC"] == 7
    assert ledger.balances["USDT"] == 500_000 + 3 * 50_000 + sum(Decimal(leg["fee"]) for leg in legs)
    still.settle()
    assert trader.rows("positions")[-1]["pos"] == "300"
    assert {row["ccy"] for push in trader.rows("account") for row in push["details"]} == {"BTC", "USDT"}
    (told,) = trader.rows("balance_and_position")
    assert {trade["tradeId"] for trade in told["trades"]} == {leg["tradeId"] for leg in legs}


def test_an_order_rests_and_is_filled_when_the_book_comes_to_it(still):
    """Shown in the public book meanwhile; a maker then, at its own price."""
    trader = still.traders[0]
    ordId = order(trader, "sell", px="10.1", sz="0.5")["ordId"]
    market = spread_of(still.world, SPREAD).market
    assert market.rows(market.asks, 1) == [["10.1", "2.5", "0", "2"]] and states(trader, ordId) == ["live"]
    lay_spread(still, [("10.1", 20), ("10", 10)], [("10.4", 100)])
    still.desk._spread_engine.watch(still.world.ts, {})
    assert states(trader, ordId) == ["live", "partially_filled"]
    lay_spread(still, [("10.3", 100)], [("10.4", 100)])
    still.desk._spread_engine.watch(still.world.ts, {})
    assert states(trader, ordId) == ["live", "partially_filled", "filled"]
    assert [row["execType"] for row in trader.rows("sprd-trades")] == ["M", "M"]
    assert {row["fillPx"] for row in trader.rows("sprd-trades")} == {"10.1"}
    assert trader.account.ledger.pos(SWAP, "cross") == -50 and market.asks.guests == {}


def test_two_accounts_trade_with_each_other(still):
    """The better price than the world's: one trade, told to both, with one number."""
    one, two = still.traders
    maker = order(one, "sell", px="10", sz="2")["ordId"]
    taker = order(two, "buy", "ioc", px="10", sz="5")["ordId"]
    assert states(one, maker) == ["live", "filled"] and states(two, taker) == ["live", "partially_filled", "canceled"]
    (made,), (taken,) = one.rows("sprd-trades"), two.rows("sprd-trades")
    assert made["tradeId"] == taken["tradeId"] and (made["execType"], taken["execType"]) == ("M", "T")
    assert two.rows("sprd-orders")[-1]["canceledSz"] == "3" and two.rows("sprd-orders")[-1]["cancelSource"] == "14"
    assert one.account.ledger.pos(SWAP, "cross") == -two.account.ledger.pos(SWAP, "cross") == -200


def test_an_account_does_not_trade_with_itself(still):
    """What rests is canceled."""
    trader = still.traders[0]
    mine = order(trader, "sell", px="10", sz="2")["ordId"]
    order(trader, "buy", px="10", sz="2")
    assert trader.rows("sprd-trades") == [] and states(trader, mine) == ["live", "canceled"]
    assert [row["cancelSource"] for row in trader.rows("sprd-orders") if row["ordId"] == mine][-1] == "32"


def test_post_only_never_takes(still):
    """One that would is only canceled; also when it is changed to."""
    trader = still.traders[0]
    crossing = order(trader, ordType="post_only", px="10.1")["ordId"]
    assert states(trader, crossing) == ["canceled"] and trader.rows("sprd-orders")[-1]["cancelSource"] == "31"
    resting = order(trader, ordType="post_only", px="10")["ordId"]
    trader.ask("sprd-amend-order", {"ordId": resting, "newPx": "10.1"})
    assert states(trader, resting) == ["live", "live", "canceled"] and trader.rows("sprd-trades") == []


def test_a_change_may_trade(still):
    """Its size is the whole one; what is filled stays filled."""
    trader = still.traders[0]
    resting = order(trader, px="9.9", sz="1")["ordId"]
    row = trader.ask("sprd-amend-order", {"ordId": resting, "newPx": "10.1", "newSz": "4", "reqId": "r"})["data"][0]
    assert (row["sCode"], row["reqId"]) == ("0", "r")
    assert states(trader, resting) == ["live", "live", "partially_filled"]
    assert trader.ask("sprd-amend-order", {"ordId": resting, "newSz": "2"})["data"][0]["sCode"] == "51000"
    assert trader.ask("sprd-amend-order", {"ordId": resting})["data"][0]["sCode"] == "50014"


@pytest.mark.parametrize(
    ("change", "sCode"),
    [
        ({"sz": "0.015"}, "51121"),
        ({"px": "10.15"}, "51000"),
        ({"px": "ten"}, "51000"),
        ({"px": "-99999999"}, "51000"),
        ({"px": ""}, "50014"),
        ({"sz": "11"}, "51008"),
        ({"side": "sell", "sz": "40"}, "51008"),
        ({"tag": "a-b"}, "51000"),
        ({"sprdId": ["x"]}, "51001"),
        ({"px": "-5"}, "0"),
    ],
)
def test_what_cannot_be_is_refused(change, sCode, still):
    """Lots, ticks, money; a price may be less than 0."""
    assert order(still.traders[0], **{"px": "9", **change})["sCode"] == sCode


def test_a_trade_that_cannot_be_paid_for_by_then_is_rejected(still):
    """Nothing is kept for an order that rests: it was affordable, and the coins are sold meanwhile."""
    trader = still.traders[0]
    resting = order(trader, px="10", sz="6")["ordId"]
    still.lay(SPOT, [("49999.9", "20")], [("50000.1", "5")])
    assert trader.order(side="sell", ordType="market", sz="8")["sCode"] == "0"
    before = dict(trader.account.ledger.balances)
    for lots in (100, 500):  # one coin of six, and two are left; then five
        lay_spread(still, [("9.8", 100)], [("10", lots), ("12", 1)])
        still.desk._spread_engine.watch(still.world.ts, {})
    assert [row["state"] for row in trader.rows("sprd-trades")] == ["filled", "rejected"]
    assert states(trader, resting)[-1] == "canceled" and trader.rows("sprd-orders")[-1]["code"] == "51008"
    assert trader.account.ledger.balances["BTC"] == before["BTC"] - 1


def test_a_position_that_a_spread_has_changed_trims_what_would_reduce_it(still):
    """A reduce-only order of the swap is never larger than what is there."""
    trader = still.traders[0]
    order(trader, px="10.1", sz="2")
    mark = still.book(SWAP).instrument.px(still.book(SWAP).mark + 500)
    reduce = trader.order(SWAP, side="sell", px=mark, sz="200", reduceOnly=True)["ordId"]
    order(trader, "sell", px="9.9", sz="1.5")
    assert trader.last(reduce)["sz"] == "50"
    order(trader, "sell", px="9.8", sz="0.5")
    assert trader.last(reduce)["state"] == "canceled"


def test_rest_does_the_same(still):
    """The paths of OKX's docs; listed, placed, changed, looked up, canceled."""
    account = still.accounts[0]
    desk = RestDesk(still.world, lambda: still.now_us // 1000, {account.apiKey: account}, True, still.desk)

    def ask(method, path, asked=None):
        target, body = f"/api/v5/sprd/{path}", b"" if asked is None else json.dumps(asked).encode()
        return desk.answer(method, target, signed(account, method, target, body), body)[1]

    (listed,) = ask("GET", "spreads")["data"]
    assert (listed["sprdId"], listed["tickSz"], listed["lotSz"]) == (SPREAD, "0.1", "0.01")
    assert listed["legs"] == [{"instId": SPOT, "side": "sell"}, {"instId": SWAP, "side": "buy"}]
    place = {"sprdId": SPREAD, "side": "buy", "ordType": "limit", "sz": "1", "px": "9", "clOrdId": "x"}
    (placed,) = ask("POST", "order", place)["data"]
    assert placed["sCode"] == "0" and ask("POST", "order", place)["data"][0]["sCode"] == "51016"
    assert ask("POST", "amend-order", {"clOrdId": "x", "newPx": "10.1"})["code"] == "0"
    (row,) = ask("GET", "order?clOrdId=x")["data"]
    assert (row["state"], row["ordId"]) == ("filled", placed["ordId"])
    assert ask("GET", "order?ordId=1")["code"] == "51603" and ask("GET", "order")["code"] == "50014"
    (second,) = ask("POST", "order", {**place, "px": "8"})["data"]
    assert [one["ordId"] for one in ask("GET", "orders-pending")["data"]] == [second["ordId"]]
    assert [one["ordId"] for one in ask("GET", f"orders-history?sprdId={SPREAD}")["data"]] == [placed["ordId"]]
    assert [one["fillPx"] for one in ask("GET", "trades")["data"]] == ["10.1"]
    assert ask("POST", "cancel-order", {"ordId": second["ordId"]})["code"] == "0"
    assert ask("POST", "cancel-order", {"ordId": second["ordId"]})["code"] == "1"
    assert ask("POST", "mass-cancel", {})["data"] == [{"result": True}] and ask("POST", "order", [1])["code"] == "50002"
    assert ask("GET", "orders-pending?limit=x")["code"] == "51000"


def test_a_user_trades_a_spread(connect):
    """Over the socket: replies, pushes, REST and the exchange's own truth agree; a lost reply is resolved."""
    with LocalExchange(accounts=[Account(positions=[])]) as exchange:
        ws = connect(exchange, **exchange.credentials)
        orders = ws.subscribe("sprd-orders", queue=True).wait(5)
        trades = ws.subscribe("sprd-trades", queue=True).wait(5)
        placed = ws.place_spread_order(sprdId=SPREAD, side="buy", ordType="market", sz="0.2", clOrdId="mine")
        told = []
        while not told or told[-1]["state"] != "filled":
            told += orders.get(timeout=5)["data"]
        assert {row["ordId"] for row in told} == {placed.ordId} and told[0]["state"] == "live"
        got = Decimal(0)
        while got < Decimal("0.2"):
            got += sum(Decimal(row["fillSz"]) for row in trades.get(timeout=5)["data"])
        truth = exchange.truth()
        assert truth.positions == {(SWAP, "cross", "net"): Decimal(20)}
        assert truth.spread_orders[placed.ordId]["state"] == "filled"
        assert sum(Decimal(row["fillSz"]) for row in truth.spread_trades) == got == Decimal("0.2")
        assert truth.balances["BTC"] == Decimal("1.3")
        assert ws.rest.get("/api/v5/sprd/order", signed=True, clOrdId="mine")[0]["accFillSz"] == "0.2"
        exchange.orders.delay_s = 0.5
        order = {"sprdId": SPREAD, "side": "sell", "ordType": "limit", "px": "500", "sz": "0.1", "clOrdId": "slow"}
        with pytest.raises(OutcomeUnknown) as caught:
            ws.place_spread_order(**order, timeout=0.2)
        found = caught.value.resolve()
        assert (found.state, found.certain, found.order["state"]) == ("done", True, "live")
        assert exchange.truth().spread_orders[found.order["ordId"]]["clOrdId"] == "slow"
