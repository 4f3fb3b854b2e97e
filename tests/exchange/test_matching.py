"""The matching engine by examples, on a world that stands still."""

from decimal import Decimal

import pytest

from okx_ws.exchange import Account, Position
from okx_ws.exchange.resting import OPEN
from tests.exchange.traders import NOW_MS, Still


@pytest.fixture
def still():
    """BTC-USDT with three levels a side."""
    market = Still()
    market.lay("BTC-USDT", [("99", "1"), ("98", "2"), ("97", "5")], [("101", "1"), ("102", "2"), ("103", "5")])
    return market


def balance(trader, ccy):
    return trader.account.ledger.balances[ccy]


def test_a_limit_order_takes_what_its_limit_allows_and_rests(still):
    """Level by level at their prices; what is left is in the book, and keeps its money."""
    trader = still.traders[0]
    row = trader.order(side="buy", sz="4", px="102")
    assert trader.states() == ["live", "partially_filled", "partially_filled"]
    told = trader.last(row["ordId"])
    assert (told["accFillSz"], told["avgPx"], told["fillPx"], told["fillSz"]) == ("3", "101.6666666667", "102", "2")
    assert [(fill["fillPx"], fill["fillSz"]) for fill in trader.rows("fills")] == [("101", "1"), ("102", "2")]
    assert balance(trader, "USDT") == 50_000 - 101 - 204
    assert balance(trader, "BTC") == 100 + 3 - Decimal("0.003"), "the fee is taken from what comes in"
    assert trader.account.ledger.frozen == {"USDT": 102}
    assert still.px() == "103"


def test_the_world_fills_what_it_reaches(still):
    """A resting order is filled at its own price once the other side has come to it."""
    trader = still.traders[0]
    row = trader.order(side="buy", sz="2", px="100")
    still.lay("BTC-USDT", [("99", "1")], [("100", "1.5"), ("103", "5")])
    still.desk.engine.watch(0, {})
    told = trader.last(row["ordId"])
    assert (told["state"], told["accFillSz"], told["fillPx"], told["execType"]) == (
        "partially_filled",
        "1.5",
        "100",
        "M",
    )
    still.lay("BTC-USDT", [("94", "1")], [("95", "9")])
    still.desk.engine.watch(0, {})
    told = trader.last(row["ordId"])
    assert (told["state"], told["avgPx"], told["fillPx"]) == ("filled", "100", "100")
    assert trader.account.ledger.frozen == {}


def test_a_trade_of_the_world_beyond_a_price_met_the_order_first(still):
    """One at the same price did not: the world's orders were there before."""
    trader = still.traders[0]
    row = trader.order(side="sell", sz="3", px="100")
    market = still.book()
    at = market._take(market.asks, "buy", 10**8, 0)
    still.desk.engine.watch(0, {"BTC-USDT": [at]})
    assert trader.last(row["ordId"])["accFillSz"] == "1" and at.ticks == 1010
    same = trader.order(side="sell", sz="1", px="102")
    at = market._take(market.asks, "buy", 10**8, 0)
    still.desk.engine.watch(0, {"BTC-USDT": [at]})
    assert at.ticks == 1020 and trader.states(same["ordId"]) == ["live"]


def test_own_trades_on_the_tape_fill_nobody_again(still):
    """What accounts traded comes by with the next step; it is no trade of the world's."""
    one, two = still.traders
    one.order(side="sell", sz="1", px="101.5")
    two.order(side="buy", sz="2", px="101.5")
    assert two.states() == ["live", "partially_filled", "filled"]
    resting = one.order(side="sell", sz="1", px="100.5")["ordId"]
    market = still.book()
    tape, market._printed = market._printed, []
    assert [(trade.ticks, trade.count) for trade in tape] == [(1010, 1), (1015, 1)]
    still.desk.engine.watch(0, {"BTC-USDT": tape})
    assert one.states(resting) == ["live"]
    still.desk.engine.watch(0, {"BTC-USDT": tape})  # a second time, they would be the world's
    assert one.states(resting) == ["live", "filled"]


def test_better_prices_go_first_and_at_one_price_who_came_first(still):
    """Price-time priority among accounts; the world's level goes before theirs."""
    one, two = still.traders
    first = two.order(side="sell", sz="1", px="100.5")["ordId"]
    second = two.order(side="sell", sz="1", px="100.5")["ordId"]
    best = two.order(side="sell", sz="1", px="100.2")["ordId"]
    third = two.order(side="sell", sz="1", px="101")["ordId"]
    one.order(side="buy", sz="2.5", px="101")
    assert [row["fillPx"] for row in one.rows("fills")] == ["100.2", "100.5"]
    assert [two.states(id)[-1] for id in (best, first, second, third)] == [
        "filled",
        "filled",
        "partially_filled",
        "live",
    ]
    one.order(side="buy", sz="1.5", px="101")
    assert two.states(second)[-1] == "filled" and two.states(third) == ["live"]
    assert still.px() == "102", "the world's 101 was taken, the account's was behind it"


def test_a_larger_size_or_another_price_loses_the_place_and_a_smaller_size_does_not(still):
    """As on OKX."""
    one, two = still.traders
    ids = [two.order(side="sell", sz="1", px="100.5")["ordId"] for _ in range(3)]
    two.do("amend-order", ordId=ids[0], newSz="2")
    two.do("amend-order", ordId=ids[1], newSz="0.5")
    one.order(side="buy", sz="0.5", px="100.5")
    assert [two.states(id)[-1] for id in ids] == ["live", "filled", "live"]
    one.order(side="buy", sz="1", px="100.5")
    assert [two.states(id)[-1] for id in ids] == ["live", "filled", "filled"]


@pytest.mark.parametrize(
    ("ordType", "sz", "states", "source"),
    [
        ("fok", "3", ["live", "partially_filled", "filled"], ""),
        ("fok", "3.1", ["live", "canceled"], "13"),
        ("ioc", "3.1", ["live", "partially_filled", "partially_filled", "canceled"], "14"),
        ("post_only", "1", ["canceled"], "31"),
    ],
)
def test_orders_that_may_not_rest_or_may_not_take(ordType, sz, states, source, still):
    """okx-protocol 5.4: a post-only order that would cross sends only ``canceled``, with cancelSource 31."""
    trader = still.traders[0]
    row = trader.order(side="buy", ordType=ordType, sz=sz, px="102")
    assert row["sCode"] == "0", "accepted: the outcome is on orders"
    assert trader.states() == states and trader.last(row["ordId"])["cancelSource"] == source
    assert trader.account.ledger.frozen == {} and trader.account.log.open == []


def test_a_post_only_order_that_does_not_cross_rests(still):
    """Told once, as live."""
    trader = still.traders[0]
    trader.order(side="buy", ordType="post_only", sz="1", px="100.9")
    assert trader.states() == ["live"] and len(trader.account.log.open) == 1


def test_a_market_order_in_quote_currency_ends_with_a_push_without_a_fill(still):
    """okx-protocol 5.4: ``filled`` without tradeId, with fillSz "0"."""
    trader = still.traders[0]
    row = trader.order(side="buy", ordType="market", sz="150.5")
    pushes = trader.rows("orders")
    assert [push["state"] for push in pushes] == ["live", "partially_filled", "partially_filled", "filled"]
    assert (pushes[-1]["tradeId"], pushes[-1]["fillSz"], pushes[-1]["sz"]) == ("", "0", "150.5")
    spent = 50_000 - balance(trader, "USDT")
    assert Decimal("150.4999") < spent <= Decimal("150.5")
    assert trader.last(row["ordId"])["accFillSz"] == "1.48529411"


@pytest.mark.parametrize(("side", "tgtCcy", "filled"), [("sell", "", "1.5"), ("buy", "base_ccy", "1.5")])
def test_a_market_order_in_base_currency_ends_with_its_last_fill(side, tgtCcy, filled, still):
    """Sold by size unless it is said otherwise."""
    trader = still.traders[0]
    row = trader.order(side=side, ordType="market", sz="1.5", tgtCcy=tgtCcy)
    told = trader.last(row["ordId"])
    assert (told["state"], told["accFillSz"], told["fillSz"]) == ("filled", filled, "0.5") and told["tradeId"]


def test_a_market_order_stops_at_the_price_limit(still):
    """cancelSource 27, with what it got."""
    trader = still.traders[0]
    still.lay("BTC-USDT", [("99", "1")], [("101", "1"), ("150", "5")])
    row = trader.order(side="buy", ordType="market", sz="2", tgtCcy="base_ccy")
    told = trader.last(row["ordId"])
    assert (told["state"], told["accFillSz"], told["cancelSource"]) == ("canceled", "1", "27")


@pytest.mark.parametrize(
    ("stpMode", "maker", "taker"),
    [
        ("cancel_maker", "canceled", "filled"),
        ("cancel_taker", "live", "canceled"),
        ("cancel_both", "canceled", "canceled"),
    ],
)
def test_nobody_trades_with_himself(stpMode, maker, taker, still):
    """cancelSource 32 for whoever is canceled."""
    trader = still.traders[0]
    resting = trader.order(side="sell", sz="1", px="100")["ordId"]
    taking = trader.order(side="buy", sz="1", px="101", stpMode=stpMode)["ordId"]
    assert (trader.states(resting)[-1], trader.states(taking)[-1]) == (maker, taker)
    sources = {trader.last(id)["cancelSource"] for id in (resting, taking) if trader.states(id)[-1] == "canceled"}
    assert sources == {"32"}
    assert all(row["fillPx"] == "101" for row in trader.rows("fills"))


def test_an_amendment_can_make_an_order_take(still):
    """The amendment is told, with its reqId, before the fill it leads to."""
    trader = still.traders[0]
    ordId = trader.order(side="buy", sz="1", px="90")["ordId"]
    row = trader.do("amend-order", ordId=ordId, newPx="101", newSz="0.5", reqId="r1")
    assert (row["sCode"], row["reqId"], row["ordId"]) == ("0", "r1", ordId)
    live, amended, filled = trader.rows("orders")
    assert (amended["reqId"], amended["amendResult"], amended["px"], amended["sz"]) == ("r1", "0", "101", "0.5")
    assert (filled["state"], filled["reqId"], filled["accFillSz"]) == ("filled", "", "0.5")


@pytest.mark.parametrize(("cxlOnFail", "state", "result"), [(False, "live", "-1"), (True, "canceled", "1")])
def test_an_amendment_that_cannot_be_afforded_fails_in_its_push(cxlOnFail, state, result, still):
    """Accepted, and then not: amendResult -1, or 1 if the order goes with it; the order is as it was."""
    trader = still.traders[0]
    ordId = trader.order(side="buy", sz="1", px="90")["ordId"]
    assert trader.do("amend-order", ordId=ordId, newSz="9999", reqId="r1", cxlOnFail=cxlOnFail)["sCode"] == "0"
    told = trader.last(ordId)
    assert (told["state"], told["amendResult"], told["reqId"], told["code"]) == (state, result, "r1", "51008")
    assert (told["sz"], trader.account.ledger.frozen) == ("1", {} if cxlOnFail else {"USDT": 90})


def test_reduce_only_orders_never_open():
    """Refused without a position, capped at it, and trimmed or canceled when it shrinks."""
    still = Still(Account(positions=[Position("BTC-USDT-SWAP", "3", "64000")]), Account(apiKey="b", uid="2"))
    trader = still.traders[0]
    swap = {"instId": "BTC-USDT-SWAP", "reduceOnly": True}
    assert trader.order(**swap, side="buy", sz="1", px="64000")["sCode"] == "51169"
    px = str(Decimal(still.px("BTC-USDT-SWAP")) + 500)
    capped = trader.order(**swap, side="sell", sz="9", px=px)["ordId"]
    assert [(row["sz"], row["amendSource"]) for row in trader.rows("orders")] == [("3", "4"), ("3", "")]
    trader.order("BTC-USDT-SWAP", side="sell", sz="1", ordType="market")
    assert (trader.last(capped)["sz"], trader.last(capped)["amendSource"]) == ("2", "4")
    trader.order("BTC-USDT-SWAP", side="sell", sz="2", ordType="market")
    assert (trader.last(capped)["state"], trader.last(capped)["cancelSource"]) == ("canceled", "2")
    still.settle()
    (closed,) = [row for row in trader.rows("positions")]
    assert closed["pos"] == "0" and trader.account.ledger.holdings == {}, "told once, then forgotten"


def test_positions_add_up_with_their_fills():
    """Opened, enlarged, turned round and closed: what is realized is in the balance, with the fees."""
    still = Still()
    trader = still.traders[0]
    still.lay("BTC-USDT-SWAP", [("99", "100")], [("100", "10"), ("104", "90")])
    swap = "BTC-USDT-SWAP"
    trader.order(swap, side="buy", sz="20", px="104")
    still.settle()
    (row,) = trader.rows("positions")
    assert (row["pos"], row["avgPx"]) == ("20", "102")
    trader.order(swap, side="sell", sz="30", px="99")
    still.settle()
    row = trader.rows("positions")[-1]
    assert (row["pos"], row["avgPx"], row["pnl"]) == ("-10", "99", "-0.6")
    fees = sum(Decimal(row["fillFee"]) for row in trader.rows("orders"))
    assert fees == -Decimal("0.01") * (10 * 100 + 10 * 104 + 30 * 99) * Decimal("0.0005")
    assert balance(trader, "USDT") == 50_000 - Decimal("0.6") + fees
    (detail,) = trader.rows("account")[-1]["details"]
    assert detail["cashBal"] == f"{balance(trader, 'USDT'):f}".rstrip("0")
    assert trader.rows("balance_and_position")[-1]["posData"][0]["pos"] == "-10"


def test_inverse_contracts_and_options_are_settled_in_coin():
    """A coin's worth of contracts; an option is paid for, and only a short one needs margin."""
    still = Still()
    trader = still.traders[0]
    still.lay("BTC-USD-SWAP", [("50000", "100")], [("50000.1", "100")])
    trader.order("BTC-USD-SWAP", side="sell", sz="50", px="50000")
    assert balance(trader, "BTC") == 100 - 50 * 100 / Decimal(50_000) * Decimal("0.0005")
    option = next(name for name, market in still.world.markets.items() if market.instrument.instType == "OPTION")
    still.lay(option, [("0.02", "10")], [("0.03", "10")])
    before = balance(trader, "BTC")
    trader.order(option, side="buy", sz="2", px="0.03")
    assert before - balance(trader, "BTC") == 2 * Decimal("0.01") * (Decimal("0.03") + Decimal("0.0003"))
    assert trader.account.ledger.holdings[option, "cross", "net"].margin == 0
    trader.order(option, side="sell", sz="5", px="0.02")
    assert trader.account.ledger.holdings[option, "cross", "net"].margin > 0


def test_what_is_over_stays_over(still):
    """51400 and 51503 for it; and its clOrdId may be used again."""
    trader = still.traders[0]
    ordId = trader.order(side="buy", sz="1", px="90", clOrdId="a")["ordId"]
    assert trader.order(side="buy", sz="1", px="90", clOrdId="a")["sCode"] == "51016"
    told = {"clOrdId": "a", "ordId": ordId, "sCode": "0", "sMsg": "", "ts": str(NOW_MS)}
    assert trader.do("cancel-order", clOrdId="a") == told
    assert trader.do("cancel-order", clOrdId="a")["sCode"] == "51400"
    assert trader.do("amend-order", ordId=ordId, newSz="2")["sCode"] == "51503"
    assert trader.states(ordId) == ["live", "canceled"] and trader.last(ordId)["cancelSource"] == "1"
    again = trader.order(side="buy", sz="1", px="90", clOrdId="a")
    assert again["sCode"] == "0" and again["ordId"] != ordId
    assert [order.ordId for order in trader.account.log.open if order.state in OPEN] == [again["ordId"]]


@pytest.mark.parametrize(("stpMode", "states"), [("cancel_taker", ["live", "canceled"]), ("cancel_maker", None)])
def test_all_or_nothing_holds_though_an_own_order_is_in_the_way(stpMode, states, still):
    """A fok that would meet its account's own order half-way takes nothing, unless that one gives way."""
    trader = still.traders[0]
    own = trader.order(side="sell", sz="1", px="101.5")["ordId"]
    row = trader.order(side="buy", ordType="fok", sz="2", px="102", stpMode=stpMode)
    assert trader.states(row["ordId"]) == (states or ["live", "partially_filled", "filled"])
    assert trader.states(own)[-1] == ("live" if states else "canceled")
