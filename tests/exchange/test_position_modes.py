"""Long and short positions apart: what orders have to say, what may be closed, and how a mode is set."""

import json
from decimal import Decimal

import pytest

from okx_ws import OrderRejected, RestError
from okx_ws.exchange import Account, LocalExchange, Position
from okx_ws.exchange.rest import RestDesk
from tests.exchange.client import signed
from tests.exchange.traders import Still
from tests.watch import eventually

SWAP = "BTC-USDT-SWAP"
BOTH = "long_short_mode"


@pytest.fixture
def still():
    """One account that hedges, one that does not, and a book of two levels."""
    still = Still(
        Account(apiKey="a", uid="a", positions=[], balances={"USDT": 50_000.0, "BTC": 1.0}, posMode=BOTH),
        Account(apiKey="b", uid="b", positions=[], balances={"USDT": 50_000.0, "BTC": 1.0}),
    )
    still.lay(SWAP, [("99.9", "50"), ("99.8", "50")], [("100.1", "50"), ("100.2", "50")])
    return still


def market(trader, side, posSide, sz, **more):
    return trader.order(SWAP, side=side, posSide=posSide, ordType="market", sz=sz, **more)


def held(trader):
    trader.market.settle()
    return {
        posSide: pos for (_, _, posSide), pos in sorted((k, h.pos) for k, h in trader.account.ledger.holdings.items())
    }


def test_a_long_and_a_short_position_stand_side_by_side(still):
    """Each opened and closed by itself; told with `pos` never less than 0; the margin of both is kept."""
    trader = still.traders[0]
    assert market(trader, "buy", "long", "10")["sCode"] == market(trader, "sell", "short", "4")["sCode"] == "0"
    assert held(trader) == {"long": 10, "short": -4}
    told = {row["posSide"]: (row["pos"], row["availPos"]) for row in trader.rows("positions")}
    assert told == {"long": ("10", "10"), "short": ("4", "4")}
    assert len({row["posId"] for row in trader.rows("positions")}) == 2
    assert trader.account.ledger.margin("USDT") == sum(h.margin for h in trader.account.ledger.holdings.values()) > 0
    assert {row["posSide"] for row in trader.rows("orders")} == {"long", "short"}
    assert market(trader, "sell", "long", "10")["sCode"] == "0"
    assert held(trader) == {"short": -4} and trader.rows("positions")[-1]["pos"] == "0"


def test_what_is_closed_is_there_and_is_not_being_closed_already(still):
    """51169 without a position, 51112 beyond what is available; a cancellation, a change give it back."""
    trader = still.traders[0]
    assert market(trader, "sell", "long", "1")["sCode"] == "51169"
    market(trader, "buy", "long", "10")
    close = {"side": "sell", "posSide": "long", "px": "101"}
    assert trader.order(SWAP, **close, sz="11")["sCode"] == "51112"
    first = trader.order(SWAP, **close, sz="6")
    still.settle()
    assert trader.rows("positions")[-1]["availPos"] == "4"
    assert trader.order(SWAP, **close, sz="5")["sCode"] == "51112"
    assert market(trader, "sell", "short", "5")["sCode"] == "0", "the other position is another matter"
    assert trader.do("amend-order", SWAP, ordId=first["ordId"], newSz="11")["sCode"] == "0"
    assert trader.last(first["ordId"])["amendResult"] == "-1" and trader.last(first["ordId"])["code"] == "51112"
    assert trader.do("amend-order", SWAP, ordId=first["ordId"], newSz="5")["sCode"] == "0"
    assert trader.order(SWAP, **close, sz="5")["sCode"] == "0"
    trader.do("cancel-order", SWAP, ordId=first["ordId"])
    still.settle()
    assert [row["availPos"] for row in trader.rows("positions") if row["posSide"] == "long"][-1] == "5"


def test_to_close_costs_no_margin(still):
    """Nothing is kept for an order that closes; and reduceOnly says nothing in this mode."""
    trader = still.traders[0]
    market(trader, "sell", "short", "10")
    before = dict(trader.account.ledger.frozen)
    row = trader.order(SWAP, side="buy", posSide="short", px="99", sz="10", reduceOnly=True)
    assert row["sCode"] == "0" and trader.account.ledger.frozen == before
    assert trader.last(row["ordId"])["reduceOnly"] == "false"


@pytest.mark.parametrize(
    ("who", "instId", "posSide", "sCode"),
    [
        (0, SWAP, None, "51000"),
        (0, SWAP, "net", "51000"),
        (0, SWAP, "up", "51000"),
        (1, SWAP, "long", "51000"),
        (1, SWAP, "net", "0"),
        (1, SWAP, None, "0"),
        (0, "BTC-USDT", None, "0"),
        (0, "BTC-USDT", "long", "51000"),
    ],
)
def test_an_order_says_which_position_it_is_about(who, instId, posSide, sCode, still):
    """okx-protocol 7.2: required in long/short mode, and of no use in the other."""
    sz, tdMode = ("0.01", "cash") if instId == "BTC-USDT" else ("1", "cross")
    row = {"px": still.book(instId).instrument.px(still.book(instId).mark - 50), "sz": sz, "tdMode": tdMode}
    named = {} if posSide is None else {"posSide": posSide}
    assert still.traders[who].order(instId, **row, **named)["sCode"] == sCode


def test_an_accounts_first_positions_are_long_or_short():
    """As their sign says."""
    account = Account(posMode=BOTH, positions=[Position(SWAP, "12", "100"), Position("ETH-USDT-SWAP", "-5", "9")])
    assert {key[2]: h.pos for key, h in account.ledger.holdings.items()} == {"long": 12, "short": -5}
    with pytest.raises(ValueError, match="posMode"):
        Account(posMode="both")


def test_the_mode_is_set_while_nothing_is_open(still):
    """59000 while there are positions, or orders on swaps and futures; other words are refused."""
    target = "/api/v5/account/set-position-mode"
    desk = RestDesk(still.world, lambda: still.now_us // 1000, {a.apiKey: a for a in still.accounts}, False, still.desk)
    account, trader = still.accounts[1], still.traders[1]

    def set_mode(body):
        text = json.dumps(body).encode() if not isinstance(body, bytes) else body
        return desk.answer("POST", target, signed(account, "POST", target, text), text)[1]

    assert [set_mode(body)["code"] for body in (b"{", {}, {"posMode": "both"})] == ["50002", "50014", "51000"]
    resting = trader.order(SWAP, px="99", sz="1")
    assert set_mode({"posMode": BOTH})["code"] == "59000" and set_mode({"posMode": "net_mode"})["code"] == "0"
    trader.do("cancel-order", SWAP, ordId=resting["ordId"])
    trader.order(SWAP, ordType="market", sz="1")
    assert set_mode({"posMode": BOTH})["code"] == "59000"
    trader.order(SWAP, ordType="market", sz="1", side="sell")
    assert set_mode({"posMode": BOTH})["data"] == [{"posMode": BOTH}]
    config = "/api/v5/account/config"
    assert desk.answer("GET", config, signed(account, "GET", config))[1]["data"][0]["posMode"] == BOTH
    assert market(trader, "buy", "long", "1")["sCode"] == "0"


def test_a_user_hedges(connect):
    """Over the socket, with REST and the live view agreeing with the exchange's own truth."""
    with LocalExchange(accounts=[Account(positions=[])]) as exchange:
        ws = connect(exchange, **exchange.credentials)
        assert ws.rest.post("/api/v5/account/set-position-mode", {"posMode": BOTH}) == [{"posMode": BOTH}]
        account = ws.account().wait_synced(5)
        order = {"instId": SWAP, "tdMode": "cross", "ordType": "market"}
        with pytest.raises(OrderRejected, match="51000"):
            ws.place_order(**order, side="buy", sz="1")
        ws.place_order(**order, side="buy", posSide="long", sz="3")
        ws.place_order(**order, side="sell", posSide="short", sz="2")
        with pytest.raises(OrderRejected, match="51112"):
            ws.place_order(**order, side="buy", posSide="short", sz="5")
        with pytest.raises(RestError, match="59000"):
            ws.rest.post("/api/v5/account/set-position-mode", {"posMode": "net_mode"})
        truth = exchange.truth()
        assert truth.posMode == BOTH
        assert truth.positions == {(SWAP, "cross", "long"): Decimal(3), (SWAP, "cross", "short"): Decimal(-2)}
        assert {row["posSide"]: row["pos"] for row in ws.rest.positions()} == {"long": "3", "short": "2"}
        assert {row["posSide"] for row in ws.rest.fills()} == {"long", "short"}
        eventually(lambda: len(account.positions(SWAP)) == 2)
        assert [account.position(SWAP, posSide).pos for posSide in ("long", "short")] == ["3", "2"]
