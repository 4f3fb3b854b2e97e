"""What accounts are told: at once, in groups, and to whom."""

import json

import pytest

from okx_ws.exchange import Account, LocalExchange, Position
from tests.exchange.client import get, talk
from tests.exchange.traders import Still, Trader


@pytest.fixture
def still():
    market = Still(Account(positions=[Position("BTC-USDT-SWAP", "3", "64000")]), Account(apiKey="b", uid="2"))
    market.lay("BTC-USDT", [("99", "1"), ("98", "2")], [("101", "1"), ("102", "2")])
    return market


def test_what_changes_in_one_group_is_told_once(still):
    """okx-protocol 5.2: events are added up for about 50 ms; each channel tells only what changed."""
    trader = still.traders[0]
    trader.order(side="buy", px="101", sz="0.5")
    trader.order(side="buy", px="101", sz="0.5")
    assert trader.rows("account") == [] and len(still.waiting) == 1
    still.settle()
    (push,) = [m for m in trader.sent if m.get("arg", {}).get("channel") == "account"]
    assert list(push) == ["arg", "eventType", "data"] and push["eventType"] == "event_update"
    assert [detail["ccy"] for detail in push["data"][0]["details"]] == ["BTC", "USDT"]
    (row,) = trader.rows("balance_and_position")
    assert (row["eventType"], row["posData"]) == ("filled", [])
    assert [trade["tradeId"] for trade in row["trades"]] == [fill["tradeId"] for fill in trader.rows("fills")]
    assert trader.rows("positions") == []


def test_an_order_that_rests_changes_what_is_available_and_nothing_else(still):
    """A push of ``account``, none of ``balance_and_position``: no balance has changed."""
    trader = still.traders[0]
    trader.order(side="buy", px="90", sz="1")
    still.settle()
    ((detail,),) = [row["details"] for row in trader.rows("account")]
    assert (detail["ccy"], detail["ordFrozen"], detail["cashBal"]) == ("USDT", "90", "50000")
    assert trader.rows("balance_and_position") == []


def test_a_position_that_is_closed_is_told_once_with_nothing(still):
    """okx-protocol 5.2: pos "0", with what it brought; then it is in no state any more."""
    trader = still.traders[0]
    trader.order("BTC-USDT-SWAP", side="sell", ordType="market", sz="3")
    still.settle()
    (row,) = trader.rows("positions")
    assert (row["instId"], row["pos"], row["posId"]) == ("BTC-USDT-SWAP", "0", "1")
    assert float(row["realizedPnl"]) == pytest.approx(float(row["pnl"]) + float(row["fee"]))
    trader.order("ETH-USDT-SWAP", side="buy", ordType="market", sz="1")
    still.settle()
    assert [row["instId"] for row in trader.rows("positions")[1:]] == ["ETH-USDT-SWAP"]
    trader.order("BTC-USDT-SWAP", side="buy", ordType="market", sz="1")
    still.settle()
    assert trader.rows("positions")[-1]["posId"] == "1", "opened again, it has the number it had"


def test_pushes_go_to_those_who_ask_for_them(still):
    """By account, type, family, instrument, currency."""
    args = {
        "spot": {"channel": "orders", "instType": "SPOT"},
        "swap": {"channel": "orders", "instType": "SWAP"},
        "family": {"channel": "orders", "instType": "ANY", "instFamily": "BTC-USDT"},
        "other": {"channel": "fills", "instId": "ETH-USDT"},
        "fills": {"channel": "fills", "instId": "BTC-USDT-SWAP"},
        "btc": {"channel": "account", "ccy": "BTC"},
        "usdt": {"channel": "account", "ccy": "USDT"},
        "positions": {"channel": "positions", "instType": "FUTURES"},
        "greeks": {"channel": "account-greeks", "ccy": "USDT"},
    }
    watchers = {name: Trader(still, still.accounts[0]) for name in args}
    for name, watcher in watchers.items():
        watcher.args = {name: args[name]}
    still.traders += watchers.values()
    stranger = still.traders[1]
    still.traders[0].order("BTC-USDT-SWAP", side="sell", ordType="market", sz="1")
    still.settle()
    heard = {name for name, watcher in watchers.items() if watcher.sent}
    assert heard == {"swap", "family", "fills", "usdt", "greeks"} and stranger.sent == []


def test_events_come_over_a_socket_between_the_pages():
    """With the uid, without pages; the next timed page says the same."""
    with LocalExchange(speed=100) as exchange, talk(exchange, "private") as client:
        client.login(exchange.accounts[0])
        client.subscribe({"channel": "positions", "instType": "SWAP", "instId": "ETH-USDT-SWAP"})
        (page,) = client.pushes(1)
        assert page["eventType"] == "snapshot" and page["data"][0]["pos"] == "-5"
        code = exchange.world.markets["ETH-USDT-SWAP"].instrument.instIdCode
        order = {"instIdCode": code, "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "2"}
        client.send({"id": "1", "op": "order", "args": [order]})
        pushes = [push for push in client.pushes(12) if "arg" in push]
        (event,) = [push for push in pushes if push["eventType"] == "event_update"]
        assert list(event) == ["arg", "eventType", "data"] and event["arg"]["uid"] == exchange.accounts[0].uid
        assert event["data"][0]["pos"] == "-3"
        assert all(push["data"][0]["pos"] == "-3" for push in pushes[pushes.index(event) :])


def test_one_instrument_has_no_code_yet_and_one_is_not_traded_yet():
    """okx-protocol 14.12; demo trading has codes of its own."""
    codes = []
    for demo in (False, True):
        with LocalExchange(demo=demo) as exchange:
            rows = get(exchange, "/api/v5/public/instruments?instType=SWAP")[1]["data"]
        assert [row["instId"] for row in rows if row["instIdCode"] is None] == ["SOL-USDC-SWAP"]
        (young,) = [row for row in rows if row["state"] == "preopen"]
        assert (young["instId"], young["tickSz"], young["ctVal"]) == ("DOGE-USDT-SWAP", "", "")
        codes.append({row["instIdCode"] for row in rows} - {None})
    assert not codes[0] & codes[1] and all(json.dumps(code).isdigit() for code in codes[0] | codes[1])
